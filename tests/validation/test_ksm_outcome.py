"""What is said of a replayed case: data, table and picture."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharesim.content.ksm_case import open_case
from sharesim.content.ksm_repeat import COUNTERS
from sharesim.results.style import figure_bytes
from sharesim.validation.errors import SUMS, Series, compare
from sharesim.validation.ksm_outcome import KsmOutcome, percent
from tests.content.ksm_files import write_case


def counters(**known: list[int]) -> Series:
    """Three samples; counters that are not given are 0."""
    lines = {name: np.array(known.get(name, [0, 0, 0])) for name in COUNTERS}
    return Series(np.array([0, 100, 200]) * 1_000_000, lines)


def outcome(folder: Path, simulated: Series, *recorded: Series) -> KsmOutcome:
    case = open_case(write_case(folder, writes=["1,0,0,1"]))
    errors = {name: compare(simulated, recorded, name) for name in (*COUNTERS, *SUMS)}
    names = {f"r{number}": one for number, one in enumerate(recorded, 1)}
    return KsmOutcome(case, simulated, names, errors, wall_seconds=0.02, scan_cpu_seconds=0.01)


SCANNED: dict[str, list[int]] = {"pages_scanned": [0, 50, 100], "ksmd_cpu_ns": [0, 50_000, 100_000]}


@pytest.fixture
def good(tmp_path: Path) -> KsmOutcome:
    same = counters(**SCANNED, pages_shared=[0, 0, 1_000])
    return outcome(tmp_path, same, same, same)


@pytest.fixture
def bad(tmp_path: Path) -> KsmOutcome:
    simulated = counters(**SCANNED, pages_shared=[0, 0, 1_100], cow_ksm=[0, 0, 1])
    return outcome(tmp_path, simulated, counters(**SCANNED, pages_shared=[0, 0, 1_000]))


def test_all_is_well(good: KsmOutcome) -> None:
    assert (good.case, good.misses) == ("small", 0)
    text = good.text()
    assert "miss:" not in text
    assert "8 pass, 0 miss, 7 shown" in text
    (row,) = [line for line in text.splitlines() if line.startswith("pages_shared ")]
    assert row.split() == [
        "pages_shared", "0.00", "%", "0.00", "%", "0.00", "%", "2.00", "%", "0.00", "%",
        "1,000", "1,000", "pass",
    ]  # fmt: skip
    assert "0 all the time, simulated and recorded: pages_sharing" in text


def test_misses_are_named(bad: KsmOutcome) -> None:
    text = bad.text()
    assert "miss: pages_shared by time: 10.00 %, wanted ≤ 2.00 %" in text
    assert "miss: cow_ksm by time: not 0, wanted 0 as recorded" in text
    assert bad.verdict("pages_shared") == "miss"
    assert bad.verdict("pages_skipped") == "shown"
    assert bad.misses == 3  # the first by progress, too


def test_speed(good: KsmOutcome) -> None:
    speed = good.speed
    assert speed.real_time == pytest.approx(0.2 / 0.02)
    assert speed.pages_per_cpu_second == pytest.approx(100 / 0.01)
    assert speed.ksmd_pages_per_cpu_second == pytest.approx(100 / 100_000e-9)
    assert speed.times_ksmd == pytest.approx(0.01)


def test_json(bad: KsmOutcome) -> None:
    data: dict[str, Any] = json.loads(json.dumps(bad.to_json(), allow_nan=False))
    assert data["case"] == "small"
    assert set(data["counters"]) == {*COUNTERS, *SUMS}
    shared = data["counters"]["pages_shared"]
    assert shared["error"] == shared["nearest"] == shared["by_progress"] == pytest.approx(0.1)
    assert (shared["final_simulated"], shared["final_recorded"]) == (1_100, [1_000])
    assert (shared["limit"], shared["verdict"]) == (0.02, "miss")
    assert data["counters"]["cow_ksm"]["error"] is None
    assert data["counters"]["full_scans"]["spread"] is None
    missed = [(one["counter"], one["kind"]) for one in data["missed"]]
    assert sorted(missed) == [
        ("cow_ksm", "error"),
        ("pages_shared", "by_progress"),
        ("pages_shared", "error"),
    ]


def test_picture_has_a_panel_for_each_counter_that_moves(bad: KsmOutcome) -> None:
    figure = bad.picture()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["pages_shared", "pages_scanned", "cow_ksm", "ksmd_cpu, s"]
    recorded, simulated = figure.axes[0].lines
    assert recorded.get_ydata()[-1] == 1_000
    assert simulated.get_ydata()[-1] == 1_100
    assert figure.axes[0].get_title(loc="right") == "error 10.0 %"
    assert figure_bytes(figure) == figure_bytes(bad.picture())


def test_percent() -> None:
    assert [percent(one) for one in (None, 0.0, 0.0049, 0.5)] == ["-", "0.00 %", "0.49 %", "50.0 %"]
