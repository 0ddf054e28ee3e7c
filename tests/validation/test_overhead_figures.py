"""Windows, worked out by hand: relative throughput, errors, batches; and the files beside cases."""

import json
import math
from pathlib import Path

import pytest

from sharesim.content.overhead_case import read_cases
from sharesim.errors import UserError
from sharesim.validation.overhead_figures import Figures, Result, results
from sharesim.validation.overhead_recorded import (
    RESULT_COLUMNS,
    SUMMARY_COLUMNS,
    Recordings,
    read_recordings,
)
from tests.content.overhead_files import case, variant, worker, write_cases


def off(operations: float) -> Figures:
    return Figures("off", operations)


def on(operations: float, **more: float) -> Figures:
    return Figures("p1000", operations, **more)


def test_throughput_is_relative_to_the_off_windows_around() -> None:
    (found,) = results([off(100), on(90), off(120), on(99), off(100)]).values()
    first, second = 90 / 110, 99 / 110
    assert found.rel == pytest.approx((first + second) / 2)
    spread = math.sqrt((first - second) ** 2 / 2)
    null = 120 / 100 - 1  # the off window in the middle against its neighbours
    assert null > spread
    assert found.rel_se == pytest.approx(null / math.sqrt(2))


def test_two_variants_share_their_off_windows() -> None:
    windows = [off(100), on(50), Figures("p5", 80), off(300)]
    found = results(windows)
    assert found["p1000"].rel == pytest.approx(0.25) and found["p5"].rel == pytest.approx(0.4)
    assert found["p5"].rel_se is None and found["p5"].windows == 1


def test_a_batch_runs_waits_and_sleeps_for_its_period() -> None:
    window = on(1, ksmd_share=0.1, ksmd_wait_share=0.3, batches_s=20, pages_scanned_s=4e5)
    (found,) = results([off(1), window, off(1)]).values()
    assert found.run_ms == pytest.approx(5) and found.wait_ms == pytest.approx(15)
    assert found.sleep_ms == pytest.approx(30)
    assert found.ns_per_page == pytest.approx(0.1e9 / 4e5)


def test_what_is_lost_is_more_than_in_the_off_windows() -> None:
    quiet = Figures("off", 2, lost={"ready": 0.5, "sharing": 0.0})
    busy = Figures("p1000", 1, lost={"ready": 0.75, "sharing": 0.125})
    assert results([quiet, busy, quiet])["p1000"].lost == {"ready": 0.25, "sharing": 0.125}


def write_results(folder: Path, *lines: str) -> None:
    (folder / "results.csv").write_text("\n".join([",".join(RESULT_COLUMNS), *lines, ""]))


def recordings(folder: Path, *cases: dict[str, object]) -> tuple[Recordings, object]:
    path = write_cases(folder, *cases)
    known = read_cases(path)
    return read_recordings(path, known), known[0]


TWO = case(workers=[worker(), worker(k=500)])


def test_windows_are_read_from_results(tmp_path: Path) -> None:
    write_results(
        tmp_path,
        "c1-small,off,0,1000,0.5,0,0,0,0,0",
        "c1-small,off,1,2000,1.0,0,0,0,0,0",
        "c1-small,off,all,3000,1.5,0,0,0,0,0",
        "other,off,all,5,1.5,0,0,0,0,0",
        "c1-small,p1000,all,2700,1.4,0.1,0.2,20000,1,7",
        "c1-small,off,all,3000,1.5,0,0,0,0,0",
    )
    found, one = recordings(tmp_path, TWO)
    result = found.of(one)["p1000"]
    assert result.rel == pytest.approx(0.9) and result.breaks_s == 7
    # 20 whole batches a second, and one cut short in the 0.2 s that are measured
    assert result.run_ms == pytest.approx(100 / 25)
    times, origin = found.operation_ns(one, 512)
    assert times == [500_000, 500_000] and origin == "off windows of results.csv"


def test_a_summary_goes_before_results(tmp_path: Path) -> None:
    write_results(tmp_path, "c1-small,off,0,1,1,0,0,0,0,0")
    line = "c1-small,p1000,5,0.9,0.01,0.1,1e4,,,21,0,0.9"
    (tmp_path / "summary.csv").write_text("\n".join([",".join(SUMMARY_COLUMNS), line]))
    found, one = recordings(tmp_path)
    assert found.of(one)["p1000"] == Result(0.9, 0.01, 5, 0.9, 0.1, 0, 1e4, None, None, 21)


def test_costs_tell_what_an_operation_takes(tmp_path: Path) -> None:
    costs = {
        "machine": {"cpus": 4, "l2_per_cpu_mib": 1},
        "primitive": {"lcg_iteration_ns_min": 2},
        "ns_per_operation_without_ksm": {"c1-small": 226.9},
    }
    (tmp_path / "costs.json").write_text(json.dumps(costs))
    found, one = recordings(tmp_path)
    assert found.operation_ns(one, 512) == ([227], "costs.json")
    assert found.machine.cpus == 4 and found.machine.cache_pages == 256
    found, two = recordings(tmp_path, TWO)  # one figure is not enough for workers that differ
    assert found.operation_ns(two, 512) == ([415, 1015], "estimate")


def test_without_files_an_operation_is_estimated(tmp_path: Path) -> None:
    found, one = recordings(tmp_path)
    assert found.of(one) == {} and found.operation_ns(one, 512) == ([225], "estimate")
    found, one = recordings(tmp_path, case(workers=[worker(an=200)]))
    assert found.operation_ns(one, 100)[0] == [410]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.csv", "case,variant\nx,y\n", "line 1: no column worker, ops_s"),
        ("summary.csv", "", "line 1: holds no line"),
        ("costs.json", "[]", "holds list, not an object"),
        ("costs.json", '{"machine": 3}', "machine is 3, expected an object"),
        (
            "costs.json",
            '{"ns_per_operation_without_ksm": {"a": 0}}',
            "'ns_per_operation_without_ksm.a' is 0, expected ns above 0",
        ),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as error:
        recordings(tmp_path, case(variants=[variant()]))
    assert message in str(error.value) and name in str(error.value)


def test_a_figure_that_is_none_is_found_by_its_line(tmp_path: Path) -> None:
    write_results(tmp_path, "c1-small,off,0,fast,1,0,0,0,0,0")
    with pytest.raises(UserError, match=r"results.csv, line 2: ops_s is 'fast', expected a number"):
        recordings(tmp_path)
