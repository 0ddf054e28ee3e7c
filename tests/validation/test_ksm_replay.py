"""Recorded cases as scenarios of the ordinary engine, and the command that validates them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharesim.cli import main
from sharesim.content.ksm_case import Case, open_case
from sharesim.content.ksm_repeat import COUNTERS, Repeat
from sharesim.resolve import resolve
from sharesim.spec.scenario import Scenario
from sharesim.validation.ksm_replay import Circumstances, case_scenario, replay, sample_times
from tests.content.ksm_files import process, write_case, write_repeat

Command = Callable[..., tuple[int, str, str]]
TICK_MS = 4


@pytest.fixture
def sharesim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command in an empty folder: status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def ms(*times: float) -> np.ndarray:
    return np.round(np.array(times) * 1e6).astype(np.int64)


def lively(folder: Path) -> Case:
    """Arrival, exit, writes and madvise calls in one."""
    path = write_case(
        folder,
        init=["0,0,4,10,1", "1,0,4,10,1", "2,0,4,10,1"],
        writes=["200,0,1,99", "250,2,0,11"],
        processes=[process("a"), process("b", leave=320), process("c", arrive=110)],
        events=[{"t_ms": 300, "proc": 0, "op": "unmergeable", "page0": 0, "npages": 4}],
    )
    return open_case(path)


def counters(scenario: Scenario, times_ns: np.ndarray) -> dict[str, list[int]]:
    series = replay(scenario, times_ns).series
    return {name: line.tolist() for name, line in series.counters.items()}


def test_a_case_is_a_scenario_of_the_ordinary_engine(tmp_path: Path) -> None:
    case = lively(tmp_path)
    there = Circumstances(hz=100, cpu_before_ns=5, checksum_first=False)
    scenario = case_scenario(case, there)
    assert Scenario.from_json(scenario.to_json()) == scenario
    assert [vm.name for vm in scenario.vms] == ["a", "b", "c"]
    assert [vm.mergeable for vm in scenario.vms] == [True, True, False]
    assert [vm.stop for vm in scenario.vms] == [None, 320_000_000, None]
    (arrival,), (leave,) = scenario.vms[2].advice, scenario.vms[0].advice
    assert (arrival.at, arrival.advice, arrival.size) == (110_000_000, "mergeable", None)
    assert (leave.at, leave.advice, leave.start, leave.size) == (300_000_000, "unmergeable", 0, 4)
    assert scenario.host.hz == 100
    policy: Any = scenario.sharing.policy if scenario.sharing else None
    assert (policy.pages_to_scan, policy.smart_scan, policy.sleep_millisecs) == (4, False, 20)
    assert (policy.ksmd_cpu_before, policy.checksum_first) == (5, False)
    assert resolve(scenario).host.memory


def test_circumstances_are_those_of_the_repeat() -> None:
    def of(**meta: Any) -> Circumstances:
        return Circumstances.of(Repeat("r1", {}, meta))

    assert of() == Circumstances(hz=250, cpu_before_ns=0, checksum_first=True)
    assert of(hz=1000, ksmd_cpu_ns_at_start=7) == Circumstances(hz=1000, cpu_before_ns=7)
    assert of(kernel="6.11.0-rc1").checksum_first
    assert of(kernel="7.0").checksum_first
    assert not of(kernel="6.10.14-amd64").checksum_first
    assert not of(kernel="5.19").checksum_first


def test_two_processes_alike_worked_out_by_hand(tmp_path: Path) -> None:
    """Four pages a batch, a batch in 24 ms, two times four pages with equal contents.

    Batches 1 and 2 take all checksums. Batch 3 finds that the scan is over. Batch 4 puts a's pages
    in the unstable tree, batch 5 merges b's with them, batch 6 ends the second scan.
    """
    case = open_case(write_case(tmp_path))
    half = TICK_MS / 2
    seen = counters(case_scenario(case), ms(*(half + 24 * batch for batch in range(6))))
    assert seen["pages_scanned"] == [4, 8, 8, 12, 16, 16]
    assert seen["full_scans"] == [0, 0, 1, 1, 1, 2]
    assert seen["pages_volatile"] == [4, 8, 8, 4, 0, 0]
    assert seen["pages_unshared"] == [0, 0, 0, 4, 0, 0]
    assert seen["pages_shared"] == [0, 0, 0, 0, 4, 4]
    assert seen["pages_sharing"] == [0, 0, 0, 0, 4, 4]
    assert seen["general_profit"][-1] == 4 * 4096 - 8 * 64


def test_reading_changes_nothing(tmp_path: Path) -> None:
    scenario = case_scenario(lively(tmp_path))
    few = ms(130, 270, 400)
    many = np.union1d(few, ms(*np.arange(0, 400, 0.7)))
    often = counters(scenario, many)
    at = np.isin(many, few)
    for name, values in counters(scenario, few).items():
        assert np.array(often[name])[at].tolist() == values, name


def test_sample_times_hold_each_repeat_and_the_end_of_each_batch(tmp_path: Path) -> None:
    case = lively(tmp_path)
    repeat = Repeat("r1", {"t_ms": np.array([-1.0, 25.3, 399.0, 900.0])})
    times = sample_times(case, [repeat])
    assert {25_300_000, 399_000_000} <= set(times.tolist())
    assert times.min() == 0
    assert times.max() <= 500_000_000
    assert np.diff(times).max() <= 12_000_000  # ksmd wakes every 24 ms


def record(case: Case, number: int = 1) -> None:
    """A repeat that is as the simulation has it."""
    times = np.arange(25, 400, 25)
    seen = counters(case_scenario(case), ms(*times))
    write_repeat(case.path, number, times.tolist(), seen)


def test_validate_what_is_as_simulated(sharesim: Command, tmp_path: Path) -> None:
    record(lively(tmp_path))
    status, out, _ = sharesim("validate", "ksm", "small.json", "--strict", "--out", "o")
    assert status == 0
    assert "1 case: 1 within all limits" in out
    assert (tmp_path / "o" / "small.png").read_bytes().startswith(b"\x89PNG")


def test_validate_as_json(sharesim: Command, tmp_path: Path) -> None:
    record(lively(tmp_path), 1)
    record(lively(tmp_path), 2)
    status, out, _ = sharesim("validate", "ksm", *sorted(tmp_path.glob("*.json")), "--json")
    assert status == 0
    (case,) = json.loads(out)["cases"]
    assert case["case"] == "small"
    for name in (*COUNTERS, "pages_unshared+pages_volatile"):
        found = case["counters"][name]
        assert (found["error"], found["nearest"], found["spread"]) == (0, 0, 0), name
        assert found["by_progress"] == pytest.approx(0, abs=1e-12), name
        assert found["final_recorded"] == [found["final_simulated"]] * 2


def test_misses_can_be_an_exit_status(sharesim: Command, tmp_path: Path) -> None:
    case = lively(tmp_path)
    write_repeat(case.path, 1, [25, 50], {"pages_shared": [7, 7], "pages_scanned": [4, 8]})
    status, out, _ = sharesim("validate", "ksm", "small.json", "--no-plot")
    assert (status, "miss: pages_shared" in out) == (0, True)
    status, _, _ = sharesim("validate", "ksm", "small.json", "--no-plot", "--strict", "--quiet")
    assert status == 1
    assert not (tmp_path / "out").exists()


def test_bad_input_is_one_message(sharesim: Command, tmp_path: Path) -> None:
    path = write_case(tmp_path)
    for arguments, wanted in (
        (("ksm",), "give the cases, CASE.json ..., or --live"),
        (("kms",), "kms"),
        (("ksm", "none.json"), "none.json: no such file"),
        (("ksm", path), "no recording lies beside it (small.r1.csv.gz)"),
        (("ksm", path, path), "another case is named 'small'"),
        (("ksm", "--live", "--repeats", "0", path), "--repeats 0"),
        (("ksm", path, "--costs", "linux-6.81"), "did you mean 'linux-6.18'?"),
    ):
        status, out, errors = sharesim("validate", *arguments)
        assert (status, out) == (2, "")
        assert errors.startswith("sharesim: ")
        assert wanted in errors


def test_meta_files_are_passed_over(sharesim: Command, tmp_path: Path) -> None:
    record(lively(tmp_path))
    status, _, errors = sharesim("validate", "ksm", "small.r1.meta.json")
    assert status == 2
    assert "tells how a repeat was taken" in errors
