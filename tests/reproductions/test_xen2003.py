"""The rows of the Xen paper come out of runs, and what is fitted is what the study says."""

import re
from functools import partial
from pathlib import Path

import pytest
from matplotlib.patches import Rectangle

from analysis.calibrate_xen2003 import SWITCHES, calibrated, predictions
from sharesim.errors import UserError
from sharesim.reproductions.lmbench import CALIBRATING, OPERATIONS, PREDICTED, lmbench
from sharesim.reproductions.xen2003 import MODES, TOLERANCE, Xen2003, batch, shrinking, study
from sharesim.results import style
from sharesim.results.run import Run
from sharesim.simulate import simulate
from sharesim.spec.costs import load_targets
from sharesim.spec.paging import Direct, Nested, Shadow
from sharesim.spec.scenario import Scenario
from sharesim.spec.script import load_target
from sharesim.study import Row

ROOT = Path(__file__).parents[2]
EXCESS = "excess over native"
EXACT = 0.002
"""Of the excess: what an operation at the edges of a run may add or take."""
simulated = partial(pytest.approx, rel=EXACT)


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {name: simulate(scenario) for name, scenario in study().runs().items()}


@pytest.fixture(scope="module")
def rows(runs: dict[str, Run]) -> list[Row]:
    return study().rows(runs)


def of(rows: list[Row], source: str, title: str = "") -> list[Row]:
    """Rows whose source contains some words, and whose figure begins with others."""
    return [row for row in rows if source in row.source and row.figure.startswith(title)]


def excess(rows: list[Row], row: str, mode: str) -> Row:
    operation = OPERATIONS[row]
    return of(rows, f"{operation.where}: {EXCESS}", f"{operation.title}, {mode}")[0]


# R18


def test_ten_excesses_are_judged_and_come_out(rows: list[Row]) -> None:
    judged = [row for row in of(rows, "R18") if row.judged]
    assert len(judged) == 10
    assert {row.tolerance for row in judged} == {TOLERANCE} == {0.10}
    assert {row.verdict for row in judged} == {"pass"}
    assert judged == [excess(rows, row, mode) for row in PREDICTED for mode in MODES]


def test_they_are_the_published_ones(rows: list[Row]) -> None:
    published = {row: tuple(excess(rows, row, mode).published for mode in MODES)
                 for row in PREDICTED}  # fmt: skip
    assert published == {
        "mmap": (71, 552),
        "fork": (88, 764),
        "exec": (238, 1_770),
        "sh": (800, 6_000),
        "linux_build": (8, 71),
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", PREDICTED)
def test_runs_agree_with_the_arithmetic(rows: list[Row], row: str, mode: str) -> None:
    one = PREDICTED[row]
    expected = calibrated(mode).excess(one.faults, one.switches)
    unit = 1e9 if row == "linux_build" else 1e3
    assert excess(rows, row, mode).simulated == simulated(expected / unit)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("row", CALIBRATING)
def test_what_calibrates_comes_out_and_is_not_judged(rows: list[Row], row: str, mode: str) -> None:
    one = excess(rows, row, mode)
    assert one.verdict == "shown"
    assert one.note.startswith("calibrated")
    assert one.simulated == simulated(one.published)


def test_counts_are_the_fitted_ones() -> None:
    fitted = {one.row.removeprefix("lmbench_"): one.count for one in predictions()}
    assert fitted.keys() == PREDICTED.keys()
    for row, operation in PREDICTED.items():
        assert operation.faults == operation.updates
        assert operation.switches == SWITCHES[operation.target]
        assert operation.faults == pytest.approx(fitted[row], rel=0.001)
        if row != "linux_build":
            assert operation.faults == fitted[row]


@pytest.mark.parametrize("row", OPERATIONS)
def test_every_mode_does_the_same_work(runs: dict[str, Run], row: str) -> None:
    one, slices = OPERATIONS[row], OPERATIONS[row].slices
    assert one.workload().op_time * slices == one.published("native").ns
    for mode in ("native", *MODES):
        run = runs[f"{row}-{mode}"]
        assert [vm.workload for vm in run.scenario.vms] == [one.workload()]
        counters = run.summary["counters"]
        done = run.timeline.query("entity == 'guest'").operations.iloc[-1]
        for counter, count in (
            ("guest_faults", one.faults),
            ("pt_updates", one.updates),
            ("pt_switches", one.switches),
        ):
            each = count // slices
            assert each * slices == count
            assert done * each <= counters[counter] <= (done + 1) * each


def test_paging_is_all_that_is_added(runs: dict[str, Run]) -> None:
    for name in ("fork-direct", "fork-shadow"):
        ledger = runs[name].summary["guests"]["guest"]["ledger_ns"]
        assert {cause for cause, spent in ledger.items() if spent} == {"work", "paging"}
    assert runs["fork-native"].summary["guests"]["guest"]["ledger_ns"]["paging"] == 0


def test_ratios_are_those_usually_quoted(rows: list[Row]) -> None:
    found = {row.figure: round(row.published or 0, 2) for row in of(rows, "ratio to native")}
    assert found["page fault, direct"] == 1.92
    assert found["page fault, shadow"] == 8.73
    assert found["protection fault, shadow"] == 7.10
    assert found["fork, shadow"] == 7.95
    assert found["OSDB-OLTP, shadow"] == 8.61
    assert all(row.verdict == "shown" for row in of(rows, "ratio to native"))


def test_every_row_of_the_paper_is_shown(rows: list[Row]) -> None:
    published = {name.rsplit("_", 1)[0] for name in load_targets()
                 if name.endswith(("_direct", "_shadow"))}  # fmt: skip
    compared = [*of(rows, EXCESS), *of(rows, "figure 3: ratio")]
    assert len({row.figure for row in compared}) == len(compared) == 2 * len(published)
    assert all(row.judged or row.note for row in compared)


def test_a_wrong_cost_misses() -> None:
    """With shadow tables at half their price the rows under shadow paging fail, and only those."""
    cheap = Xen2003(length=2_000)
    scenarios = cheap.runs()
    for row in OPERATIONS:
        scenarios[f"{row}-shadow"] = lmbench(row, Shadow(scale=0.5), 2_000)
    found = cheap.rows({name: simulate(scenario) for name, scenario in scenarios.items()})
    missed = {row.figure for row in found if row.verdict == "miss"}
    assert missed == {f"{one.title}, shadow" for one in PREDICTED.values()}


def test_degrees_of_freedom_are_told(runs: dict[str, Run]) -> None:
    notes = " ".join(study().notes(runs))
    assert "5 taken, 5 left" in notes
    assert "mmap 52, fork 66, exec 168, sh 572, Linux build 6,280,000" in notes


# R19


def test_a_domain_shrinks_to_what_is_pinned(rows: list[Row]) -> None:
    shrunk = of(rows, "R19", "told to shrink")
    assert [row.published for row in shrunk] == [6.2, 4.2]
    for row in shrunk:
        assert row.simulated == pytest.approx(row.published, abs=1 / 256)
        assert row.verdict == "shown"
        assert "by construction" in row.note


def test_a_shrunk_domain_gives_its_frames_back() -> None:
    run = simulate(shrinking(swap=True).model_copy(update={"check": True}))
    host = run.timeline.query("entity == 'host'")
    given = host.free_pages.iloc[-1] - host.free_pages.iloc[0]
    assert given == run.summary["memory"]["ballooned_pages"] == 64 * 256 - round(4.2 * 256)


def test_state_of_a_domain_is_an_input(rows: list[Row]) -> None:
    direct, shadow = of(rows, "R19", "the hypervisor's state")
    assert direct.simulated == direct.published == 20
    assert (shadow.simulated or 0) > 100 * 20
    assert {direct.verdict, shadow.verdict} == {"shown"}


# R20


def test_a_hypercall_takes_so_many_updates(rows: list[Row]) -> None:
    judged = [row for row in of(rows, "R20") if row.judged]
    assert [row.simulated for row in judged] == [1, 2, 2_048, 8]
    assert {row.verdict for row in judged} == {"pass"}
    assert {row.relation for row in judged} == {"equal"}


@pytest.mark.parametrize(
    ("entries", "size", "calls"), [(1, 2_048, 1), (4_096, 2_048, 2), (4_097, 2_048, 3), (10, 3, 4)]
)
def test_batches_are_filled(entries: int, size: int, calls: int) -> None:
    run = simulate(batch(entries, Direct(batch=size), operations=7))
    counters, guest = run.summary["counters"], run.summary["guests"]["guest"]
    assert guest["operations"] == 7
    assert counters["pt_updates"] == 7 * entries
    assert counters["pt_hypercalls"] == 7 * calls
    assert guest["ledger_ns"]["paging"] == 7 * (655 * calls + 315 * entries)


# What users see


def test_rows_have_a_picture(runs: dict[str, Run], rows: list[Row]) -> None:
    with style.settings():
        figure = study().picture(runs, rows)
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    bars = sorted(bar.get_bbox().height for bar in axes.patches if isinstance(bar, Rectangle))
    assert len(bars) == 4 * (len(CALIBRATING) + len(PREDICTED))
    assert bars[-1] == pytest.approx(71_000)
    words = [text.get_text() for text in axes.texts]
    errors = [f"{100 * row.error:+.1f} %" for row in rows if row.error and row.tolerance]
    assert sorted(word.replace("−", "-") for word in words if "%" in word) == sorted(errors)


def test_the_script_builds_the_same_runs() -> None:
    script = load_target(ROOT / "scenarios" / "lmbench.py")
    settings = script.parse(["row=sh", "paging=direct"])
    assert script.build(settings) == lmbench("sh", "direct") == study().runs()["sh-direct"]
    with pytest.raises(UserError, match="there is no 'forl'; did you mean 'fork'"):
        script.build({"row": "forl"})


def test_a_row_runs_under_any_mode() -> None:
    scenario = lmbench("fork", Nested(), 200)
    assert isinstance(scenario, Scenario)
    assert simulate(scenario).summary["counters"]["guest_faults"] > 100 * 66


def test_the_documentation_has_these_figures(rows: list[Row]) -> None:
    text = (ROOT / "docs" / "xen2003.md").read_text(encoding="utf-8").replace("−", "-")
    for row, one in PREDICTED.items():
        line = re.search(rf"^\| {one.title} \| (.+) \|$", text, re.MULTILINE)
        assert line, row
        faults, switches, *figures = line[1].replace(",", "").split(" | ")
        assert (int(faults), int(switches)) == (one.faults, one.switches)
        for mode, (published, ran, error) in zip(MODES, (figures[:3], figures[3:]), strict=True):
            judged = excess(rows, row, mode)
            assert f"{judged.published:g} {judged.unit}" == published
            number, unit = ran.split()
            assert float(number) == pytest.approx(judged.simulated, rel=0.006)
            assert unit == judged.unit
            assert error == f"{100 * (judged.error or 0):+.1f} %"
