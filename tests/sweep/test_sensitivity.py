"""Which parameter matters: on formulas with known answers, and of a tiny scenario."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharesim.cli import main
from sharesim.errors import UserError
from sharesim.results import style
from sharesim.sweep.evaluate import Outcome, Settings
from sharesim.sweep.metrics import metric
from sharesim.sweep.sensitivity import Design, Findings, analyse, design, runs_of
from sharesim.sweep.sensitivity_report import findings_text, plot_findings
from sharesim.sweep.sweep import load_sweep
from sharesim.sweep.vary import Axis, Range, Values
from tests.sweep.tiny import script

Captured = pytest.CaptureFixture[str]
SAVED = metric("saved_mib")


def continuous(name: str, low: float = 0.0, high: float = 1.0, *, log: bool = False) -> Range:
    return Range(name, low, high, log=log, integer=False)


ABC: tuple[Axis, ...] = (continuous("a"), continuous("b"), continuous("c"))


def found(
    plan: Design, formula: Callable[[Settings], float], replicates: int = 1, noise: float = 0.0
) -> Findings:
    """What a design finds of a formula."""
    outcomes = []
    for number, point in enumerate(plan.points, 1):
        random = np.random.default_rng(number)
        values = [formula(point) + noise * float(random.normal()) for _ in range(replicates)]
        outcomes.append(Outcome(number, {"saved_mib": tuple(values)}))
    return analyse(plan, outcomes, "saved_mib")


def test_of_a_plane_morris_finds_the_slopes_exactly() -> None:
    """Effects over a whole range are slope x range, the same everywhere."""
    axes = (continuous("a", 0, 10), continuous("b", -1, 1), continuous("c"))
    result = found(design(axes, "morris", 4, 1), lambda p: 5 * p["a"] - 4 * p["b"] + 0 * p["c"])
    told = {one.name: one for one in result.influences}
    assert [one.name for one in result.influences] == ["a", "b", "c"]
    assert told["a"].strength == pytest.approx(50) and told["a"].mean == pytest.approx(50)
    assert told["b"].strength == pytest.approx(8) and told["b"].mean == pytest.approx(-8)
    assert told["c"].strength == 0.0
    assert all(one.other == pytest.approx(0, abs=1e-9) for one in result.influences)


def test_a_log_range_counts_in_ratios() -> None:
    axes = (continuous("a", 1, 1000, log=True), continuous("b"))
    result = found(design(axes, "morris", 4, 1), lambda p: math.log10(p["a"]))
    assert result.influences[0].strength == pytest.approx(3)


def test_effects_that_differ_from_place_to_place_have_a_spread() -> None:
    result = found(design(ABC, "morris", 20, 1), lambda p: p["a"] + 10 * p["b"] * p["c"])
    told = {one.name: one for one in result.influences}
    assert told["a"].other == pytest.approx(0, abs=1e-9)
    assert told["b"].other > 2 and told["c"].other > 2


def test_of_ishigamis_function_sobol_finds_the_published_shares() -> None:
    """First order 0.314, 0.442, 0; total 0.558, 0.442, 0.244 (Saltelli et al., 2008)."""
    axes = tuple(continuous(name, -math.pi, math.pi) for name in "abc")

    def ishigami(p: Settings) -> float:
        a, b, c = p["a"], p["b"], p["c"]
        return math.sin(a) + 7 * math.sin(b) ** 2 + 0.1 * c**4 * math.sin(a)

    result = found(design(axes, "sobol", 1024, 3), ishigami)
    told = {one.name: one for one in result.influences}
    for name, first, total in (("a", 0.314, 0.558), ("b", 0.442, 0.442), ("c", 0.0, 0.244)):
        assert told[name].strength == pytest.approx(total, abs=0.04), name
        assert told[name].other == pytest.approx(first, abs=0.06), name
        assert told[name].low < total < told[name].high, name


@pytest.mark.parametrize("method", ["morris", "sobol"])
def test_a_larger_design_begins_with_the_smaller(method: Any) -> None:
    small, large = design(ABC, method, 8, 5), design(ABC, method, 16, 5)
    assert large.points[: len(small.points)] == small.points
    assert design(ABC, method, 8, 6).points != small.points
    assert small.block == (4 if method == "morris" else 5)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_all_values_of_a_list_and_all_small_numbers_are_met(count: int) -> None:
    words = Values("word", tuple("abcde"[:count]), "category")
    numbers = Range("number", 1, count, log=False, integer=True)
    plan = design((words, numbers), "morris", 40, 1)
    assert {point["word"] for point in plan.points} == set(words.values)
    assert {point["number"] for point in plan.points} == set(range(1, count + 1))
    result = found(plan, lambda p: 7.0 * (p["word"] == "a"))
    assert result.influences[0].name == "word" and result.influences[1].strength == 0.0


def test_in_a_trajectory_one_parameter_moves_at_a_time() -> None:
    plan = design(ABC, "morris", 6, 1)
    for start in range(0, len(plan.unit), plan.block):
        steps = np.diff(plan.unit[start : start + plan.block], axis=0)
        assert ((steps != 0).sum(axis=1) == 1).all()


def test_blocks_with_failed_points_are_left_out() -> None:
    plan = design(ABC, "morris", 8, 1)
    outcomes = [Outcome(n, {"saved_mib": (5 * p["a"],)}) for n, p in enumerate(plan.points, 1)]
    outcomes[6] = Outcome(7, error="too much")
    result = analyse(plan, outcomes, "saved_mib")
    assert result.used == 7 and result.failed == ("too much",)
    assert result.influences[0].strength == pytest.approx(5)
    assert "left out, as points of them failed: 1 of 8 blocks" in findings_text(result, plan, SAVED)
    with pytest.raises(UserError, match=r"only 0 of 8 blocks .* first failure: no figure"):
        analyse(plan, [Outcome(n) for n in range(1, 33)], "saved_mib")


def test_replicates_tell_chance_from_effects() -> None:
    result = found(design(ABC, "morris", 6, 1), lambda p: p["a"], replicates=5, noise=0.1)
    assert result.noise == pytest.approx(2.78 * 0.1 / math.sqrt(5), rel=0.3)
    assert found(design(ABC, "morris", 6, 1), lambda p: p["a"]).noise is None


@pytest.mark.parametrize("method", ["morris", "sobol"])
def test_nothing_moves_a_constant(method: Any) -> None:
    plan = design(ABC, method, 4, 1)
    result = found(plan, lambda p: 3.0)
    assert all(one.strength == 0 for one in result.influences)
    assert "nothing moves it" in findings_text(result, plan, SAVED)


@pytest.mark.parametrize("method", ["morris", "sobol"])
def test_report_and_picture(method: Any) -> None:
    plan = design(ABC, method, 16, 1)
    result = found(plan, lambda p: 50 * p["a"] - 10 * p["b"])
    lines = findings_text(result, plan, SAVED).splitlines()
    assert lines[3].startswith("a ") and lines[4].startswith("b ")
    assert ("50.0 ± 0 MiB" in lines[3]) == (method == "morris")
    assert ("down" in lines[4]) == (method == "morris")
    assert "up" not in lines[4]
    with style.settings():
        assert style.figure_bytes(plot_findings(result, plan, SAVED))[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("axes", "method", "samples", "told"),
    [
        (ABC[:1], "morris", 10, "found 1 parameter to vary"),
        (ABC, "morris", 3, "--samples 3: at least 4"),
        (ABC, "sobol", 100, "needs a power of two, such as 64 or 128"),
        ((*ABC, Values("d", (1,), "linear")), "morris", 10, "--vary d: found a single value"),
    ],
)
def test_designs_that_cannot_be(axes: Any, method: Any, samples: int, told: str) -> None:
    with pytest.raises(UserError, match=told):
        design(axes, method, samples, 1)


def test_runs_are_counted_before() -> None:
    axes = (Values("a", (1, 2), "linear"), Values("b", (1, 2), "linear"))
    assert runs_of(design(axes, "morris", 10, 1)) == (30, 4)


# The command

WORDS = ("--vary", "rate=1000:100000:log", "--vary", "write=0.05:0.5", "--vary", "guests=1,2")


def sensitivity(folder: Path, *words: str, jobs: int = 1) -> int:
    path = script(folder)
    given = [*WORDS, "--samples", "4", *words, "--jobs", str(jobs), "--out", str(folder / "out")]
    return main(["sensitivity", str(path), *given])


def stored(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "out" / "sensitivity.json").read_text())
    return data


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sensed")
    assert sensitivity(folder, "--quiet") == 0
    return folder


def test_a_design_is_an_ordinary_sweep(done: Path) -> None:
    sweep = load_sweep(done / "out")
    assert len(sweep.done) == len(sweep.cells) <= 16
    assert sweep.manifest.made_by == "sensitivity"
    assert {row["name"] for row in stored(done)["parameters"]} == {"rate", "write", "guests"}
    assert (done / "out" / "sensitivity.png").exists()


def test_again_and_further_only_what_is_new_is_run(
    done: Path, tmp_path: Path, capsys: Captured
) -> None:
    shutil.copytree(done / "out", tmp_path / "out")
    before = {path.name for path in (tmp_path / "out" / "runs").iterdir()}
    assert sensitivity(tmp_path, "--quiet", "--samples", "6", jobs=2) == 0
    after = {path.name for path in (tmp_path / "out" / "runs").iterdir()}
    assert before < after
    capsys.readouterr()
    assert sensitivity(tmp_path, "--json", "--samples", "4") == 0
    assert json.loads(capsys.readouterr().out) == stored(done)


def test_it_says_first_what_it_will_take(tmp_path: Path, capsys: Captured) -> None:
    assert sensitivity(tmp_path, "--no-plot", "--of", "overhead", "--replicates", "2") == 0
    out, err = capsys.readouterr()
    assert err.startswith("sharesim: Morris: 4 places")
    assert "16 points" in err and "2 replicates of each" in err
    assert "What moves overhead most (Morris, 4 x 4 points)" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--method", "mores"), "did you mean 'morris'?"),
        (("--of", "saved_mb"), "--of saved_mb: no metric"),
        (("--set", "rate=5"), "it is varied"),
        (("--samples", "few"), "a whole number is needed"),
    ],
)
def test_wrong_options(words: tuple[str, ...], told: str, tmp_path: Path, capsys: Captured) -> None:
    assert sensitivity(tmp_path, *words) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_question_is_refused(done: Path, capsys: Captured) -> None:
    assert sensitivity(done, "--method", "sobol") == 2
    assert "method morris, now sobol" in capsys.readouterr().err
