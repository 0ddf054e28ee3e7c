"""The study of compare-by-hash: corruption follows the law, and comparing bytes prevents it."""

from pathlib import Path
from typing import Any

import pytest

from sharesim.errors import UserError
from sharesim.results.run import Run
from sharesim.results.style import figure_bytes
from sharesim.simulate import simulate
from sharesim.spec.script import load_target
from sharesim.study import Study

SCRIPT = Path(__file__).parents[2] / "scenarios" / "compare_by_hash.py"


def small(**settings: Any) -> Study:
    chosen = {"memory": ("8 MiB", "32 MiB"), "bits": (12, 16), **settings}
    return load_target(SCRIPT).build_study(chosen)


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {name: simulate(scenario) for name, scenario in small().runs().items()}


def test_trusting_follows_the_law_and_comparing_corrupts_nothing(runs: dict[str, Run]) -> None:
    rows = small().rows(runs)
    assert [row for row in rows if row.verdict == "miss"] == []
    by_source: dict[str, list[float | None]] = {}
    for row in rows:
        by_source.setdefault(row.source, []).append(row.simulated)
    law, bound, compared = by_source.values()
    assert law == bound  # nobody writes: each wrong merge leaves a page corrupted
    assert min(filter(None, law)) > 10
    assert compared == [0, 0]
    # Of 8 MiB, 16 bits: 32 pairs expected, too few to judge.
    assert [row.verdict for row in rows[:4]] == ["pass", "shown", "pass", "pass"]


def test_what_the_scanner_did_not_get_through_is_not_judged(runs: dict[str, Run]) -> None:
    unfinished = dict(runs)
    for name in ("trust-8MiB-12", "verify-32MiB-12"):
        run = runs[name]
        scanner = {**run.summary["scanner"], "passes": 0}
        unfinished[name] = Run(run.scenario, {**run.summary, "scanner": scanner})
    rows = small().rows(unfinished)
    assert [row.figure for row in rows if row.verdict == "miss"] == [
        "8 MiB, 12 bits", "32 MiB, all widths",
    ]  # fmt: skip
    assert "trust-8MiB-12, verify-32MiB-12" in small().notes(unfinished)[-1]
    assert figure_bytes(small().picture(unfinished, rows)).startswith(b"\x89PNG")


def test_one_size_and_one_width_can_be_drawn(runs: dict[str, Run]) -> None:
    study = small(memory=("8 MiB",), bits=(12,))
    assert figure_bytes(study.picture(runs, [])).startswith(b"\x89PNG")


def test_other_contents_give_another_sample() -> None:
    name = "trust-8MiB-16"
    one, two = (
        simulate(small(contents=number).runs()[name]).summary["counters"]["wrong_merges"]
        for number in (1, 2)
    )
    assert one != two


@pytest.mark.parametrize(
    "settings",
    [{"memory": ("much",)}, {"memory": ()}, {"bits": ()}, {"bits": (1,)}, {"bits": (40,)}],
    ids=str,
)
def test_what_makes_no_sense_is_a_user_error(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        small(**settings).runs()
