"""Overhead cases as scenarios: which windows, which workloads, what is judged, and a whole run."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sharesim.cli import main
from sharesim.content.overhead_case import OverheadCase, Variant, read_cases
from sharesim.errors import UserError
from sharesim.spec.ksm import Knobs, Ksm
from sharesim.spec.scenario import Costs
from sharesim.spec.workloads import Idle, Phases, RandomAccess, TwoRegions
from sharesim.validation.outcome import How
from sharesim.validation.overhead import outcomes, with_interference
from sharesim.validation.overhead_figures import Result
from sharesim.validation.overhead_outcome import Comparison
from sharesim.validation.overhead_recorded import SUMMARY_COLUMNS
from sharesim.validation.overhead_rules import cache_effect
from sharesim.validation.overhead_session import Session, build_session, order_of, settings
from tests.content.overhead_files import case, variant, worker, write_cases


def read(folder: Path, **changes: Any) -> OverheadCase:
    return read_cases(write_cases(folder, case(**changes)))[0]


def session(one: OverheadCase, rounds: int = 1) -> Session:
    times = [200] * len(one.workers)
    return build_session(one, times, variants=one.variants, rounds=rounds)


def test_an_off_window_stands_before_every_one_or_two_others() -> None:
    three = [Variant(name) for name in "abc"]
    order = ["off", "a", "b", "off", "c", "off", "a", "b", "off", "c", "off"]
    assert list(order_of(three, 2)) == order


def test_windows_follow_one_another_after_all_memory_was_scanned(tmp_path: Path) -> None:
    made = session(read(tmp_path))
    assert [window.variant for window in made.windows] == ["off", "p1000", "off"]
    # 200 pages of 10 us each, scanned prewarm_scans + 1 = 2 times, with as long a sleep after each
    assert made.windows[0].start == 2 * 2 * 2_000_000
    first, second, third = made.windows
    assert first.end == second.start and second.end == third.start
    assert third.end == made.scenario.duration
    assert second.measured - second.start == 100_000_000
    assert second.end - second.start == 300_000_000


def test_workers_and_ksmd_are_what_the_case_says(tmp_path: Path) -> None:
    made = session(read(tmp_path, workers=[worker(w=0.5), worker(cpu=-1)], ksmd_cpus=[0]))
    pinned, floating = made.scenario.vms
    assert pinned.affinity == (1,) and floating.affinity is None and pinned.weight == 1024
    assert isinstance(pinned.workload, Phases)
    idle, accesses = pinned.workload.phases
    assert isinstance(idle, Idle) and idle.for_ == made.windows[0].start
    assert isinstance(accesses, RandomAccess)
    assert (accesses.region, accesses.region_start, accesses.op_time) == (8, 0, 200)
    assert accesses.write_fraction == 0.5 and accesses.new_content == "same"
    assert made.scenario.sharing is not None
    scanner = made.scenario.sharing.scanner
    assert (scanner.weight, scanner.affinity) == (335, (0,))


def test_two_regions_and_the_second_alone(tmp_path: Path) -> None:
    both, other = worker(pa=0.75, b0=50, bn=20), worker(pa=0, b0=50, bn=20)
    made = session(read(tmp_path, workers=[both, other]))
    first, second = (vm.workload.phases[1] for vm in made.scenario.vms)  # type: ignore[attr-defined]
    assert isinstance(first, TwoRegions)
    assert (first.region, first.share, first.other_start, first.other) == (8, 0.75, 50, 20)
    assert isinstance(second, RandomAccess)
    assert (second.region_start, second.region) == (50, 20)


def changes(made: Session) -> tuple[tuple[int, Knobs], ...]:
    assert made.scenario.sharing is not None
    policy = made.scenario.sharing.policy
    assert isinstance(policy, Ksm)
    return policy.changes


def test_knobs_are_written_at_the_edges_of_windows(tmp_path: Path) -> None:
    made = session(read(tmp_path, off="unmerge"))
    assert [(time, knobs.run) for time, knobs in changes(made)] == [
        (window.start, 1 if window.variant == "p1000" else 2) for window in made.windows
    ]
    knobs = changes(made)[1][1]
    assert (knobs.pages_to_scan, knobs.sleep_millisecs, knobs.smart_scan) == (1000, 20, False)


def test_knobs_that_a_variant_does_not_set_get_their_defaults() -> None:
    advised = Variant("a", {"advisor_mode": "scan-time", "pages_to_scan": 7})
    plain = Variant("b", {"pages_to_scan": 7})
    touched = {"advisor_mode", "pages_to_scan", "max_page_sharing"}
    first, second = settings(advised, touched)
    assert first == {"advisor_mode": "scan-time"} and "pages_to_scan" not in second
    first, second = settings(plain, touched)
    assert first == {"advisor_mode": "none"} and second["max_page_sharing"] == 256
    assert second["pages_to_scan"] == 7 and list(second)[-1] == "run"


def test_the_control_computes_in_its_windows_on_a_free_cpu(tmp_path: Path) -> None:
    made = session(read(tmp_path, variants=[variant(), {"name": "hog"}]), rounds=2)
    hog = made.scenario.vm("hog")
    assert hog.affinity == (0,) and isinstance(hog.workload, Phases)
    time, busy = 0, []
    for phase in hog.workload.phases[:-1]:
        if not isinstance(phase, Idle):
            busy.append((time, time + (phase.for_ or 0)))
        time += phase.for_ or 0
    windows = [window for window in made.windows if window.variant == "hog"]
    assert busy == [(window.start, window.end) for window in windows] and len(busy) == 2
    with pytest.raises(UserError, match="'hog' computes on a CPU without a worker"):
        workers = [worker(cpu=0), worker(cpu=1)]
        session(read(tmp_path, workers=workers, variants=[{"name": "hog"}]))


SAME = "0:200:1:0"
EFFECTS: list[tuple[str, dict[str, Any], Sequence[int], int, str | None]] = [
    ("a working set that the first cache holds", {}, [0], 200, None),
    ("computing that hides each access", {"an": 200, "fill": SAME}, [1], 100_000, None),
    ("merged pages are read", {"an": 200, "fill": SAME}, [1], 400, "read faster"),
    ("merged pages are only written", {"an": 200, "fill": SAME, "w": 1}, [1], 400, "evicts"),
    ("not mergeable", {"an": 200, "fill": SAME, "mergeable": 0}, [1], 400, "evicts"),
    ("unique pages are read", {"an": 200}, [1], 400, "evicts"),
    ("a region much larger than the cache", {"an": 161}, [1], 400, None),
    ("the scanner elsewhere", {"an": 161}, [0], 400, "another CPU"),
    ("the scanner anywhere", {"an": 161}, [0, 1], 400, "another CPU"),
    ("a floating worker", {"an": 161, "cpu": -1}, [1], 400, "another CPU"),
]


@pytest.mark.parametrize(
    ("changes", "cpus", "ns", "effect"),
    [one[1:] for one in EFFECTS],
    ids=[one[0] for one in EFFECTS],
)
def test_where_caches_have_a_part(
    tmp_path: Path, changes: dict[str, Any], cpus: list[int], ns: int, effect: str | None
) -> None:
    one = read(tmp_path, workers=[worker(**changes)], ksmd_cpus=cpus)
    cache = 10 if changes.get("an") == 161 else 512
    found = cache_effect(one, [ns], cache)
    assert found is None if effect is None else found is not None and effect in found


def result(rel: float, se: float | None = None) -> Result:
    return Result(rel, se, 5, 1.0, 0.1, 0.0, 0.0, None, None, None)


def test_verdicts() -> None:
    def verdict(*arguments: Any) -> str:
        return Comparison("c", "v", *arguments).verdict

    assert verdict(result(0.9), result(0.914, 0.001)) == "pass"
    assert verdict(result(0.9), result(0.916, 0.001)) == "miss"
    assert verdict(result(0.9), result(0.919, 0.01)) == "pass"
    assert verdict(result(0.9), result(0.93), "caches") == "shown"
    assert verdict(result(0.9), None) == "shown"


def test_what_is_no_number_is_null_and_misses() -> None:
    stalled = Comparison("c", "v", result(math.nan, math.nan), result(0.9, 0.01))
    assert stalled.verdict == "miss"
    assert stalled.to_json()["rel_simulated"] is None
    json.dumps(stalled.to_json(), allow_nan=False)


def test_interference_is_added_where_costs_have_none() -> None:
    plain = with_interference(Costs(profile="linux-6.18"))
    assert plain.override == {"interference_page": 4160}
    given = Costs(profile="linux-6.18", override={"interference_page": 7})
    assert with_interference(given).override == {"interference_page": 7}
    table = Costs(table={"interference_page": 0})
    assert with_interference(table).table == {"interference_page": 4160}


def test_a_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = worker(fill="0:200:1:0", an=200, w=1, k=9_500)
    cases = [
        case("c1-scan", workers=[worker(pages=2_000, fill="0:2000:1:1")]),
        case("c2-breaks", workers=[same], off="unmerge"),
    ]
    path = write_cases(tmp_path, *cases)
    (tmp_path / "costs.json").write_text(
        json.dumps({"ns_per_operation_without_ksm": {"c1-scan": 227, "c2-breaks": 20_000}})
    )
    line = "c1-scan,p1000,5,0.2,0.01,0.1,1e4,,,21,0,0.9"
    (tmp_path / "summary.csv").write_text("\n".join([",".join(SUMMARY_COLUMNS), line]))
    command = ["validate", "overhead", str(path), "--out", str(tmp_path / "out"), "--rounds", "1"]
    assert main([*command, "--json", "--strict"]) == 1
    found = json.loads(capsys.readouterr().out)
    scan, breaks = found["cases"]
    assert (scan["case"], scan["variant"], scan["verdict"]) == ("c1-scan", "p1000", "miss")
    assert scan["rel_recorded"] == 0.2 and scan["limit"] == 0.02 and found["missed"] == 1
    # What the worker lost is what ksmd had of its CPU, and nothing else.
    assert 0.02 < scan["ksmd_share_simulated"] < 0.15 and scan["breaks_s_simulated"] == 0
    assert 1 - scan["rel_simulated"] == pytest.approx(scan["ksmd_share_simulated"], abs=0.004)
    assert scan["run_ms_simulated"] + scan["wait_ms_simulated"] > 0
    assert 19 < scan["sleep_ms_simulated"] < 25
    # Each page is merged and broken over and over; nothing is recorded of it.
    assert breaks["verdict"] == "shown" and breaks["rel_recorded"] is None
    assert breaks["breaks_s_simulated"] > 1_000 and breaks["lost"]["sharing"] > 0.002
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "c1-scan.png", "c2-breaks.png", "overview.png",
    }  # fmt: skip
    assert main([*command, "--case", "c1", "--no-plot"]) == 0
    shown = capsys.readouterr().out
    assert "c1-scan: 1 worker, 2,000 pages, 227 ns an operation (costs.json)" in shown
    assert "p1000: workers lost: ready" in shown and "1 figures beyond theirs" in shown


def test_what_is_asked_for_must_exist(tmp_path: Path) -> None:
    path = str(write_cases(tmp_path))
    with pytest.raises(UserError, match="give a file of cases"):
        list(outcomes([], How()))
    with pytest.raises(UserError, match="no variant 'p100'; did you mean 'p1000'"):
        list(outcomes([path], How(variants=("p100",))))
