"""The folders that all tests of reports look at, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.folders import made_run, made_sweep


@pytest.fixture(scope="session")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="session")
def swept(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Path:
    """The folder of a sweep."""
    return made_sweep(tmp_path_factory.mktemp("swept"), patch)


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Path:
    """A run folder."""
    return made_run(tmp_path_factory.mktemp("ran"), patch)
