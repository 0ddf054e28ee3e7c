"""Calibrating for real: the measurements on this machine, though briefly, and the command."""

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sharesim.cli import main
from sharesim.errors import UserError
from sharesim.kernel import JIT
from sharesim.live import calibrate as calibrating
from sharesim.live.calibrate import Calibration, calibrate
from sharesim.live.calibrate_areas import Area
from sharesim.live.calibrate_cpu import measure_switches
from sharesim.live.calibrate_faults import measure_faults
from sharesim.live.calibrate_figures import Effort, Measured
from sharesim.live.calibrate_fit import Stretch
from sharesim.live.calibrate_flushes import measure_flushes
from sharesim.live.calibrate_ksmd import LiveRig, measure_breaks, on_the_bench
from sharesim.live.calibrate_memory import measure_digests, measure_memory
from sharesim.live.sysfs import Ksm
from sharesim.live.users import check_unused
from sharesim.spec.costs import DEFAULT_PROFILE, find_profile, load_profile

TINY = Effort(repeats=1, pages=64, cold_bytes=4 << 20, switches=20)

timing = pytest.mark.skipif(
    platform.system() != "Linux" or not JIT, reason="calibrating takes Linux and compiled loops"
)


# What takes no rights


@timing
@pytest.mark.parametrize(
    ("measure", "some"),
    [
        (measure_switches, {"syscall", "switch", "timer_wakeup"}),
        (measure_faults, {"first_write", "first_read", "zero_write", "fork_break", "unmap"}),
        (measure_memory, {"copy_cold", "zero_fill_hot", "compare_equal_cold", "zero_check_hot"}),
        (measure_digests, {"digest_sfh_cold", "digest_xxh64_hot", "digest_sha1_cold"}),
    ],
)
def test_a_brief_look_at_this_machine(measure: object, some: set[str]) -> None:
    figures = measure(TINY)  # type: ignore[operator]
    assert some <= figures.keys()
    for key, figure in figures.items():
        assert 0 <= figure.value < 1e8, key
        assert figure.how, key
        assert len(figure.samples) == 1, key


@timing
def test_faults_take_longer_than_writes() -> None:
    """What is timed is what it says: a page fault is no mere write, a page no mere word."""
    faults, memory = measure_faults(TINY), measure_memory(TINY)
    assert faults["first_write"].value > 5 * memory["compare_differ_hot"].value
    assert memory["copy_cold"].value > memory["compare_differ_hot"].value


@timing
def test_flushes_take_two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    if len(os.sched_getaffinity(0)) > 1:
        assert measure_flushes(TINY).keys() == {"flush", "flush_loss"}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0})
    assert measure_flushes(TINY) == {}


def test_an_area_stays_while_it_is_looked_at() -> None:
    with Area(2) as area:
        view = area.words
        view[1, 511] = 5
    assert view[1, 511] == 5


# What stands in the way


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibrating without a measurement."""
    plain = {"copies": lambda _effort: {"copy_cold": Measured((600.0, 620.0, 900.0), "memcpy")}}
    monkeypatch.setattr(calibrating, "_PLAIN", plain)
    monkeypatch.setattr(calibrating, "_check_machine", lambda: None)
    monkeypatch.setattr(calibrating, "_machine", lambda: "Some CPU")


def ksm_reason(*, ksm: bool = True) -> str:
    found = calibrate(quick=True, ksm=ksm, force=False, tell=lambda _what: None)
    assert "copy_cold" in found.found
    assert not [key for key in found.found if key.startswith("ksm_")]
    return found.why_not["ksm_"]


@pytest.mark.usefixtures("brief")
def test_without_root_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("0\n")
    monkeypatch.setattr(calibrating, "Ksm", lambda: Ksm(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "takes root" in ksm_reason()
    assert ksm_reason(ksm=False) == "--no-ksm was given"


@pytest.mark.usefixtures("brief")
def test_without_ksm_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(calibrating, "Ksm", lambda: Ksm(tmp_path / "none"))
    assert "has no KSM" in ksm_reason()


@pytest.mark.usefixtures("brief")
def test_a_ksm_in_use_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def busy(_ksm: Ksm) -> None:
        raise UserError("this machine's KSM is in use")

    (tmp_path / "run").write_text("1\n")
    monkeypatch.setattr(calibrating, "Ksm", lambda: Ksm(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(calibrating, "check_unused", busy)
    assert ksm_reason() == "this machine's KSM is in use"


@pytest.mark.usefixtures("brief")
def test_noise_is_a_warning() -> None:
    found = calibrate(quick=True, ksm=False, force=False, tell=lambda _what: None)
    noise = [one for one in found.warnings if "spread" in one]
    assert len(noise) == 1  # (760 - 610) / 620 = 24 %
    assert "copy_cold" in noise[0]


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(UserError, match="this is Darwin"):
        calibrate(quick=True, ksm=False, force=False, tell=lambda _what: None)


# The command


@pytest.fixture
def calibrated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Calibration]:
    """The command in an empty folder, with measurements that are made up."""
    figures = {"copy_cold": Measured((620.0,), "memcpy"), "syscall": Measured((80.0,), "getppid")}
    found = Calibration("Some CPU", figures, {"ksm_": "no root here"}, ("it was noisy",))

    def instead(**_options: object) -> Calibration:
        return found

    monkeypatch.setattr(calibrating, "calibrate", instead)
    monkeypatch.chdir(tmp_path)
    yield found


@pytest.mark.usefixtures("calibrated")
def test_the_command_writes_a_profile(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["calibrate", "--out", "host.toml"]) == 0
    out, err = capsys.readouterr()
    assert "copy_cold" in out
    assert "host.toml" in out
    assert "it was noisy" in err
    assert "no root here" in err
    assert find_profile("host.toml").ns("copy_cold") == 620
    assert [path.name for path in tmp_path.iterdir()] == ["host.toml"]


@pytest.mark.usefixtures("calibrated")
def test_the_command_prints_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["calibrate", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["figures"]["copy_cold"]["ns"] == 620
    assert data["also"]["syscall"]["ns"] == 80
    assert "ksm_visit" in data["not_measured"]["no root here"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("calibrated")
@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("host.json", "ends in .toml"),
        (f"{DEFAULT_PROFILE}.toml", "a shipped one"),
        ("taken.toml", "--force replaces it"),
        ("nowhere/host.toml", "there is no folder nowhere"),
    ],
)
def test_a_file_that_cannot_be_is_refused_first(
    out: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(**_options: object) -> Calibration:
        raise AssertionError("measured in vain")

    monkeypatch.setattr(calibrating, "calibrate", never)
    Path("taken.toml").write_text("before")
    assert main(["calibrate", "--out", out]) == 2
    assert message in capsys.readouterr().err
    assert Path("taken.toml").read_text() == "before"


@pytest.mark.usefixtures("calibrated")
def test_force_replaces_a_file() -> None:
    Path("taken.toml").write_text("before")
    assert main(["calibrate", "--out", "taken.toml", "--force", "--quiet"]) == 0
    assert find_profile("taken.toml").ns("copy_cold") == 620


SCENARIO = """
from sharesim import VM, Host, RandomAccess, Scenario, Sharing


def scenario() -> Scenario:
    guest = VM(name="guest", memory="64 KiB", workload=RandomAccess(op_time="50 us"))
    return Scenario(duration="5 ms", host=Host(cpus=1), vms=[guest], sharing=Sharing())
"""


@pytest.mark.usefixtures("calibrated")
def test_a_run_takes_the_measured_costs() -> None:
    assert main(["calibrate", "--out", "host.toml", "--quiet"]) == 0
    Path("small.py").write_text(SCENARIO)
    options = ["--costs", "host.toml", "--out", "o", "--quiet", "--no-plot"]
    assert main(["run", "small.py", *options]) == 0
    costs = json.loads(Path("o/scenario.json").read_text())["host"]["costs"]
    assert costs["profile"] == "host"
    assert costs["table"]["copy_cold"] == 620
    assert costs["marks"]["copy_cold"] == "measured, host: memcpy"
    shipped = load_profile("linux-6.18")
    assert costs["table"]["ksm_visit"] == shipped.ns("ksm_visit")


# ksmd itself


@pytest.fixture
def rig() -> Iterator[LiveRig]:
    """This machine's KSM, all of it put back afterwards."""
    if not JIT:
        pytest.skip("nothing is compiled")
    if os.geteuid() != 0:
        pytest.skip("changing KSM's settings takes root")
    try:
        ksm = Ksm()
        check_unused(ksm)
        before = ksm.settings()
        bench = on_the_bench(ksm, warm_pages=800.0)
        rig = bench.__enter__()
    except UserError as error:
        pytest.skip(str(error))
    try:
        yield rig
    finally:
        bench.__exit__(None, None, None)
    assert ksm.settings() == before


def test_ksmd_does_what_it_is_told(rig: LiveRig) -> None:
    """Two visits to merge two of each page, one scan at a time."""
    contents = np.arange(1, 51, dtype=np.uint64)
    rig.fresh(100)
    rig.fill(0, contents)
    rig.fill(50, contents)
    first = Stretch(100, {"ksm_first_visit": 100})
    rig.scan("first", first)
    rig.scan("second", Stretch(100, {"ksm_visit": 100}), batch=30)
    rig.scan("third", Stretch(100, {"ksm_merged_visit": 100}))
    rig.end_repeat()
    assert Ksm().read("pages_sharing") == "50"
    scans = {scan.title: scan for scan in rig.scans()}
    assert all(scan.cpu_ns[0] > 0 for scan in scans.values())
    assert scans["second"].counts["ksm_wakeup"] == 4


def test_a_scan_of_something_else_is_noticed(rig: LiveRig) -> None:
    rig.fresh(10)
    rig.fill(0, np.arange(1, 6, dtype=np.uint64))
    with pytest.raises(UserError, match="examined 5 pages where 10 were expected"):
        rig.scan("too many", Stretch(10, {"ksm_first_visit": 10}))


def test_breaks_of_merged_pages(rig: LiveRig) -> None:
    figures = measure_breaks(rig, Effort(repeats=1, pages=128, cold_bytes=0, switches=0))
    assert figures.keys() == {"ksm_break", "ksm_zero_break", "ksm_unmap"}
    assert figures["ksm_break"].value > figures["ksm_unmap"].value > 0
