"""Each golden scenario gives its text, in the compiled and in the array form of its policy."""

from pathlib import Path

import pytest

from tests.golden.cases import CASES
from tests.golden.render import text_of

FOLDER = Path(__file__).parent


def _expected(name: str) -> list[str]:
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", list(CASES))
def test_golden(name: str) -> None:
    assert text_of(CASES[name]).splitlines() == _expected(name)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.build().shares])
def test_the_array_form_of_the_policy_does_the_same(name: str) -> None:
    assert text_of(CASES[name], compiled=False).splitlines() == _expected(name)


def test_no_text_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(CASES)
