"""This machine's KSM for tests that use it, one at a time; they skip where it cannot be."""

import fcntl
import signal
from collections.abc import Iterator

import pytest

from sharesim.errors import UserError
from sharesim.live.sysfs import FOLDER, Ksm
from sharesim.live.users import check_unused


@pytest.fixture(autouse=True)
def signals_as_in_a_terminal() -> Iterator[None]:
    """Tests may run in the background of a shell, where signals are ignored from the start."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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
