"""The thesis's study: its verdict comes out of the timelines again, and can be a miss."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sharesim.conduct import conduct, scenarios_of
from sharesim.errors import UserError
from sharesim.reproductions import load
from sharesim.reproductions.losses import Cell, Loss, Window, crossing, ledger, window
from sharesim.reproductions.thesis import study
from sharesim.reproductions.thesis_outcome import Outcome
from sharesim.reproductions.thesis_picture import picture
from sharesim.reproductions.thesis_rows import bound_row, shown_row
from sharesim.results.folder import Folder, load_run
from sharesim.results.run import Run
from sharesim.results.style import figure_bytes, settings
from sharesim.spec.costs import load_profile
from sharesim.study import Study

SMALL: dict[str, Any] = {
    "scan_rates": (20_000.0,),
    "write_rates": (30_000.0,),
    "shadow_scales": (0.5,),
    "memory": "1 MiB",
    "duration": "1500 ms",
    "warmup": "300 ms",
}
PROFILE = load_profile("xen-2006-p4").table()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small study."""
    place = tmp_path_factory.mktemp("thesis")
    small = study(**SMALL)
    conduct(small, scenarios_of(small), Folder(place, place), pictures=False)
    return place


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[tuple[str, str], Any]:
    """Rows of ``study.json`` by source and figure."""
    rows = json.loads((folder / "study.json").read_text(encoding="utf-8"))["rows"]
    return {(row["source"].partition(":")[2].strip() or row["source"], row["figure"]): row
            for row in rows}  # fmt: skip


# From the timelines alone, with nothing of sharesim


class Timelines:
    """What pandas finds in the folder of a study."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, run: str, pair: str = "") -> pd.DataFrame:
        return pd.read_parquet(self.folder / "runs" / run / f"timeline{pair}.parquet")

    def warmup(self, run: str) -> int:
        text = (self.folder / "runs" / run / "scenario.json").read_text(encoding="utf-8")
        warmup: int = json.loads(text)["warmup"]
        return warmup

    def operations(self, run: str, pair: str = "") -> float:
        """Of all guests in the window."""
        table = self.read(run, pair).dropna(subset="operations")
        sums = table.groupby("time_ns").operations.sum()
        return float(sums.iloc[-1] - sums.loc[self.warmup(run)])

    def host(self, run: str, column: str) -> pd.Series:
        table = self.read(run)
        return table[table.entity == "host"].set_index("time_ns")[column]


def loss(with_it: float, without: float) -> float:
    return 100 * (1 - with_it / without)


def test_every_verdict_comes_out_of_the_timelines(
    folder: Path, found: dict[tuple[str, str], Any]
) -> None:
    """Judged by pandas, row by row: equal figures, equal verdicts, and no row is left out."""
    lines = Timelines(folder)
    judged = {figure: row for (_, figure), row in found.items() if row["verdict"] != "shown"}
    mine: dict[str, tuple[float, bool]] = {}
    totals = {}
    for name, label in (("shadow", "shadow + transparent"), ("direct", "direct + paravirtual")):
        for kind in ("good", "bad", "synthetic"):
            run = f"{kind}-{name}"
            x0, x1, x2 = (lines.operations(run, pair) for pair in ("-P0", "-P1", ""))
            totals[kind, name] = loss(x2, x0)
            if name == "shadow":
                share = 100 * (x0 - x1) / (x0 - x2)
                mine[f"{kind}, {label}: paging's share of the loss"] = share, share >= 80
            if kind == "good":
                alone = loss(x2, x1)
                mine[f"good, {label}: loss by sharing alone"] = alone, alone <= 1
                spent = lines.host(run, "cpu_scanner_ns")
                cpu = spent.iloc[-1] - spent.loc[lines.warmup(run)]
                share = 100 * cpu / (spent.index[-1] - lines.warmup(run))
                mine[f"good, {label}: scanner, of a CPU"] = share, share <= 5
                saved, best = (
                    lines.host(run, f"{what}_pages") for what in ("saved", "opportunity")
                )
                share = 100 * saved.iloc[-1] / best.iloc[-1]
                mine[f"good, {label}: memory saved, of what could be"] = share, share >= 90
    for kind in ("good", "bad", "synthetic"):
        times = totals[kind, "shadow"] / totals[kind, "direct"]
        words = f"{kind}: total loss of shadow + transparent, over that of direct + paravirtual"
        mine[words] = times, times >= 2
    assert set(mine) == set(judged)
    for figure, (value, holds) in mine.items():
        assert judged[figure]["simulated"] == pytest.approx(value, rel=1e-9), figure
        assert judged[figure]["verdict"] == ("pass" if holds else "miss"), figure


def test_the_sweeps_come_out_of_the_timelines(
    folder: Path, found: dict[tuple[str, str], Any]
) -> None:
    lines = Timelines(folder)
    for name, label in (("shadow", "shadow + transparent"), ("direct", "direct + paravirtual")):
        off = lines.operations(f"good-{name}", "-P1")
        scan = f"the scan rate, good conditions, {label}"
        points = {
            5_000: loss(lines.operations(f"good-{name}"), off),
            20_000: loss(lines.operations(f"scan-20000-{name}"), off),
        }
        for rate, value in points.items():
            row = found[scan, f"{rate:,} pages/s: loss by sharing alone"]
            assert row["simulated"] == pytest.approx(value, rel=1e-9)
        write = f"the write rate, synthetic conditions, {label}"
        pair = [lines.operations(f"write-30000-{name}-{which}") for which in ("on", "off")]
        row = found[write, "30,000 pages/s: loss by sharing alone"]
        assert row["simulated"] == pytest.approx(loss(*pair), rel=1e-9)
    for kind in ("good", "bad", "synthetic"):
        native = lines.operations(f"{kind}-shadow", "-P0")
        off, on = (lines.operations(f"scale-0.5-{kind}-{which}") for which in ("off", "on"))
        source = "shadow_scale, which multiplies the cost of keeping shadow tables"
        row = found[source, f"{kind}, 0.5: paging's share of the loss"]
        share = 100 * (native - off) / (native - on)
        assert row["simulated"] == pytest.approx(share, rel=1e-9)


# What the runs are


def test_runs_that_are_compared_differ_in_nothing_else() -> None:
    runs = study(**SMALL).runs()
    for name, scenario in runs.items():
        if not name.endswith("-on"):
            continue
        other = runs[f"{name[:-3]}-off"]
        assert scenario.shares and not other.shares
        assert scenario.model_copy(update={"sharing": None, "title": ""}) == other.model_copy(
            update={"sharing": None, "title": ""}
        )
    for name, scenario in runs.items():
        vcpus = sum(vm.vcpus for vm in scenario.vms)
        assert vcpus >= scenario.host.cpus, name
        assert scenario.baseline == (not name.startswith(("scan", "write", "scale"))), name
    assert len(runs) == 6 + 2 + 4 + 6


def test_pairs_of_both_designs_have_one_native_run(folder: Path) -> None:
    lines = Timelines(folder)
    for kind in ("good", "bad", "synthetic"):
        shadow, direct = (
            lines.read(f"{kind}-{name}", "-P0").dropna(subset="operations")
            for name in ("shadow", "direct")
        )
        columns = ["time_ns", "entity", "operations", "work_ns"]
        pd.testing.assert_frame_equal(shadow[columns], direct[columns])


@pytest.mark.parametrize(
    ("name", "pair", "keys", "scale"),
    [
        ("good-shadow", "-P1", ("bounce_shadow", "pt_sync", "switch_shadow"), 1.0),
        ("scale-0.5-good-off", "", ("bounce_shadow", "pt_sync", "switch_shadow"), 0.5),
        (
            "good-direct", "-P1",
            ("bounce_direct", "hypercall", "pt_validate", "switch_direct"), 1.0,
        ),
    ],
)  # fmt: skip
def test_paging_costs_what_the_activity_of_a_request_costs(
    folder: Path, name: str, pair: str, keys: tuple[str, ...], scale: float
) -> None:
    """Two faults, each with its update, and two switches in a millisecond of work."""
    added = 2 * scale * sum(PROFILE[key] for key in keys)
    lines = Timelines(folder)
    off, native = lines.operations(name, pair), lines.operations("good-shadow", "-P0")
    # A whole operation more or less on each CPU at both ends, and first uses of pages.
    assert loss(off, native) == pytest.approx(100 * added / (1_000_000 + added), abs=0.25)


# The study and its rows


def test_losses_are_those_of_the_summaries(folder: Path) -> None:
    outcome = outcome_of(study(**SMALL), folder)
    for (conditions, design), cell in outcome.cells.items():
        summary = outcome.runs[f"{conditions}-{design.name}"].summary["host"]["overhead"]
        for what, mine in (
            ("paging", cell.paging),
            ("sharing", cell.sharing),
            ("total", cell.total),
        ):
            assert mine.percent == pytest.approx(100 * summary[what]["value"], abs=1e-9)
        causes = ledger(cell.on, cell.off)
        theirs = summary["attributed"]["causes"]
        assert causes == pytest.approx({cause: 100 * share for cause, share in theirs.items()})
        assert cell.residual("sharing") == pytest.approx(
            100 * summary["attributed"]["residual"], abs=1e-9
        )


def outcome_of(small: Study, folder: Path) -> Outcome:
    runs: dict[str, Run] = {name: load_run(folder / "runs" / name) for name in small.runs()}
    return Outcome(small, runs)  # type: ignore[arg-type]


def test_what_is_off_and_on_is_told_with_its_rates(folder: Path) -> None:
    notes = json.loads((folder / "study.json").read_text(encoding="utf-8"))["notes"]
    assert any("natively" in note and "with sharing off" in note for note in notes)


def test_it_has_a_picture(folder: Path) -> None:
    with settings():
        drawn = picture(outcome_of(study(**SMALL), folder))
        words = {text.get_text() for axes in drawn.axes for text in axes.texts}
    assert figure_bytes(drawn).startswith(b"\x89PNG")
    assert {"good conditions", "bad conditions", "synthetic conditions", "synthetic"} <= words


def test_it_is_a_reproduction_too() -> None:
    assert list(load("thesis").runs()) == list(study().runs())


@pytest.mark.parametrize(
    ("found", "verdict", "told"),
    [
        (Loss(0.5, 0.1), "pass", ""),
        (Loss(0.95, 0.1), "pass", "not distinguishable from the bound"),
        (Loss(1.05, 0.1), "miss", "not distinguishable from the bound"),
        (Loss(1.5, 0.1), "miss", ""),
        (Loss(1.5), "miss", ""),
        (Loss(None), "miss", ""),
    ],
)
def test_a_bound_can_be_missed(found: Loss, verdict: str, told: str) -> None:
    row = bound_row("source", "figure", "at most", 1.0, found)
    assert row.verdict == verdict
    assert ("not distinguishable" in row.note) == bool(told)


def test_a_loss_inside_its_interval_is_called_that() -> None:
    assert "not distinguishable from none" in shown_row("source", "figure", Loss(-0.1, 0.2)).note
    assert "not distinguishable" not in shown_row("source", "figure", Loss(-0.3, 0.2)).note
    assert shown_row("source", "figure", Loss(0.3)).note == ""


@pytest.mark.parametrize("name", ["scan_rates", "write_rates", "shadow_scales"])
def test_nothing_is_swept_down_to_zero(name: str) -> None:
    with pytest.raises(UserError, match=f"{name[:-1]}: found 0; to be swept it must be above 0"):
        study(**{name: (0.5, 0.0)})


# Measuring


def timeline() -> pd.DataFrame:
    """Two guests that do 10 and 20 operations in each second, and a host."""
    rows = []
    for second in range(5):
        ledger_ns = {f"{cause}_ns": 0 for cause in ("paging", "sharing", "reclaim", "interference",
                     "interrupted", "ready", "blocked", "idle")}  # fmt: skip
        for name, rate in (("a", 10), ("b", 20)):
            done = {"operations": rate * second, "work_ns": rate * second * 1_000_000}
            rows.append({"time_ns": second * 10**9, "entity": name, **ledger_ns, **done})
        rows.append({"time_ns": second * 10**9, "entity": "host", "operations": math.nan})
    return pd.DataFrame(rows)


def test_a_window_counts_what_grew_between_its_ends() -> None:
    whole = window(timeline(), 0)
    assert whole.rate == 30 and whole.operations.sum() == 120 and whole.seconds == 4
    part = window(timeline(), 10**9, 3 * 10**9, vms=["b"])
    assert part.operations.tolist() == [20, 20]
    assert part.ledger["work"] == 40 * 1_000_000


def cell(native: float, off: float, on: float) -> Cell:
    """Of runs that do so much in each of ten batches."""
    return Cell(*(Window(np.full(10, rate), {}, 10.0) for rate in (native, off, on)))


def test_losses_multiply_and_shares_add_up() -> None:
    one = cell(100, 80, 60)
    assert one.paging.percent == pytest.approx(20)
    assert one.sharing.percent == pytest.approx(25)
    assert one.total.percent == pytest.approx(40)
    assert one.paging_share.percent == pytest.approx(50)
    assert cell(100, 100, 100).paging_share.percent is None


def test_a_level_is_crossed_between_two_points() -> None:
    straight = [(10.0, 0.1), (1_000.0, 10.0)]  # y = x / 100
    assert crossing(straight, 1.0).at == pytest.approx(100)
    assert crossing(straight, 5.0).at == pytest.approx(500)
    assert crossing([(10.0, -1.0), (1_000.0, 3.0)], 1.0).at == pytest.approx(100)
    assert crossing([(1.0, 0.5), (2.0, 1.5), (4.0, 0.7), (8.0, 9.0)], 1.0).at < 2


def test_a_level_that_is_not_crossed_is_said_to_be() -> None:
    below = crossing([(10.0, 0.1), (100.0, 0.9), (1_000.0, 0.4)], 1.0, " pages/s")
    assert below.at is None
    assert below.note == "not reached up to 1,000 pages/s; at most 0.9, at 100 pages/s"
    above = crossing([(10.0, 2.0), (100.0, 9.0)], 1.0)
    assert above.at == 10 and "or below" in above.note
