"""This machine's KSM for tests that use it, one at a time; they skip where it cannot be."""

import fcntl
from collections.abc import Iterator

import pytest

from sharesim.errors import UserError
from sharesim.live.sysfs import FOLDER, Ksm
from sharesim.live.users import check_unused


@pytest.fixture
def live_ksm() -> Iterator[Ksm]:
    """KSM of this machine, held against other tests, even of other processes."""
    try:
        ksm = Ksm()
        ksm.check_writable()
    except UserError as error:
        pytest.skip(str(error))
    with FOLDER.joinpath("full_scans").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            with ksm.claimed():
                check_unused(ksm)
        except UserError as error:
            pytest.skip(str(error))
        yield ksm
