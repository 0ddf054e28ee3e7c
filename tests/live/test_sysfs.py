"""Settings of KSM: what is written, in which order, and that all of it is put back."""

import os
import signal
from pathlib import Path

import pytest

from sharesim.errors import UserError
from sharesim.live.sysfs import DEFAULTS, Ksm
from tests.live.kernel import FakeKsm


def test_a_machine_without_ksm(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this machine has no KSM"):
        Ksm(tmp_path)


def test_reading(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path, advisor_mode="scan-time", pages_to_scan=70)
    assert ksm.read("pages_to_scan") == "70"
    assert ksm.read("advisor_mode") == "scan-time"
    assert ksm.settings() == DEFAULTS | {"advisor_mode": "scan-time", "pages_to_scan": "70"}
    with pytest.raises(UserError, match="nothing_such cannot be read: No such file"):
        ksm.read("nothing_such")


def test_a_refused_value_is_named(tmp_path: Path) -> None:
    ksm = Ksm(FakeKsm(tmp_path).folder)
    with pytest.raises(UserError, match=r"ksm/nowhere/x cannot be set to 5: No such file"):
        ksm.write("nowhere/x", 5)


def test_configure_starts_from_the_defaults_with_nothing_merged(tmp_path: Path) -> None:
    ksm = FakeKsm(
        tmp_path, run=1, smart_scan=0, pages_shared=9, advisor_mode="scan-time", pages_to_scan=800
    )
    ksm.configure({"max_page_sharing": 8, "pages_to_scan": 400})
    assert ksm.settings() == DEFAULTS | {"max_page_sharing": "8", "pages_to_scan": "400"}
    assert ksm.written[:2] == [("run", "2"), ("run", "0")]
    assert ("smart_scan", "1") in ksm.written


def test_configure_cuts_a_sleep_of_ksmd_short(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path, sleep_millisecs=20)
    ksm.configure({"sleep_millisecs": 20})
    sleeps = [value for name, value in ksm.written if name == "sleep_millisecs"]
    assert sleeps == ["1", "20"]


def test_an_advisor_begins_with_its_own_least(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path)
    wanted = {"pages_to_scan": 100, "advisor_mode": "scan-time", "advisor_min_pages_to_scan": 120}
    ksm.configure(wanted)
    assert ksm.read("pages_to_scan") == "120"


@pytest.mark.parametrize("advisor", ["none", "scan-time"])
@pytest.mark.parametrize("error", [None, UserError, ValueError, KeyboardInterrupt, SystemExit])
def test_everything_is_put_back(
    tmp_path: Path, advisor: str, error: type[BaseException] | None
) -> None:
    found = {"run": 1, "sleep_millisecs": 7, "max_page_sharing": 31, "merge_across_nodes": 0}
    ksm = FakeKsm(tmp_path, **found, advisor_mode=advisor, pages_to_scan=333)
    before = ksm.settings()
    try:
        with ksm.restored():
            ksm.configure({"max_page_sharing": 2, "pages_to_scan": 9, "advisor_mode": "scan-time"})
            (ksm.folder / "pages_shared").write_text("4\n")  # so that limits cannot be written
            if error is not None:
                raise error
    except BaseException as raised:
        assert type(raised) is error
    assert ksm.settings() == before
    assert ksm.written[-1] == ("run", "1")


def test_other_things_are_undone_before(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path)
    with ksm.restored() as undo:
        undo.callback(lambda: ksm.written.append(("ended", "")))
        ksm.write("smart_scan", 0)
    assert ksm.written.index(("ended", "")) < ksm.written.index(("run", "2"))


def test_one_failure_does_not_keep_the_rest_from_being_put_back(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path, max_page_sharing=31)
    with pytest.raises(UserError, match=r"not as it was found.*max_page_sharing"), ksm.restored():
        ksm.configure({"smart_scan": 0})
        (ksm.folder / "max_page_sharing").unlink()
        (ksm.folder / "max_page_sharing").mkdir()
    assert ksm.read("smart_scan") == "1"


@pytest.mark.parametrize(
    ("number", "error", "status"),
    [
        (signal.SIGINT, KeyboardInterrupt, None),
        (signal.SIGTERM, SystemExit, 143),
        (signal.SIGHUP, SystemExit, 129),
    ],
)
def test_signals_are_errors_that_put_back(
    tmp_path: Path, number: int, error: type[BaseException], status: int | None
) -> None:
    ksm = FakeKsm(tmp_path, sleep_millisecs=7)
    handler = signal.getsignal(number)
    with pytest.raises(error) as caught, ksm.restored():
        ksm.write("sleep_millisecs", 50)
        os.kill(os.getpid(), number)
    assert ksm.read("sleep_millisecs") == "7"
    assert status is None or caught.value.args == (status,)
    assert signal.getsignal(number) is handler


def test_a_second_signal_does_not_disturb_the_putting_back(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path, sleep_millisecs=7)
    with pytest.raises(KeyboardInterrupt), ksm.restored() as undo:
        undo.callback(os.kill, os.getpid(), signal.SIGINT)
        ksm.write("sleep_millisecs", 50)
        os.kill(os.getpid(), signal.SIGINT)
    assert ksm.read("sleep_millisecs") == "7"


def test_a_signal_while_all_is_put_back_comes_afterwards(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path, sleep_millisecs=7)
    with pytest.raises(KeyboardInterrupt), ksm.restored() as undo:
        undo.callback(os.kill, os.getpid(), signal.SIGINT)
        ksm.write("sleep_millisecs", 50)
    assert ksm.read("sleep_millisecs") == "7"


def test_only_one_sharesim_at_a_time(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path)
    with ksm.claimed(), pytest.raises(UserError, match="another sharesim"), ksm.claimed():
        raise AssertionError("claimed twice")
    with ksm.claimed():
        pass


def test_settings_that_a_kernel_lacks(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path)
    ksm.kernel = "6.5.0"
    for name in ("smart_scan", "advisor_mode", "advisor_max_cpu"):
        (ksm.folder / name).unlink()
    ksm.check_knows({"smart_scan": 0, "advisor_mode": "none", "pages_to_scan": 5}, "CASE.json")
    with pytest.raises(UserError, match=r"CASE.json sets smart_scan=1.*6\.5\.0.*since Linux 6\.7"):
        ksm.check_knows({"smart_scan": 1}, "CASE.json")
    with pytest.raises(UserError, match=r"advisor_max_cpu=20.*since Linux 6\.8"):
        ksm.check_knows({"advisor_max_cpu": 20}, "CASE.json")
    ksm.configure({"smart_scan": 0})
    assert "smart_scan" not in ksm.settings()


def test_settings_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ksm = FakeKsm(tmp_path)
    ksm.check_writable()
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match="that takes root"):
        ksm.check_writable()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(UserError, match="read-only"):
        ksm.check_writable()


def test_settings_are_put_back_even_if_this_process_is_killed(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path, sleep_millisecs=7, smart_scan=0)
    before = ksm.settings()
    gone, held = os.pipe()  # ends when the process that is killed and its guardian are gone
    killed = os.fork()
    if not killed:
        with ksm.restored():
            ksm.configure({"sleep_millisecs": 50})
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(held)
    _, status = os.waitpid(killed, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert os.read(gone, 1) == b""
    os.close(gone)
    assert ksm.settings() == before
