"""R31 as a study, made small: it passes its rows, and judges none that expects too little."""

import numpy as np
import pytest

from sharesim.content.digests import seed_of, simulated_digest
from sharesim.guest.layout import lay_out
from sharesim.reproductions.collisions import (
    Case,
    Collisions,
    counted,
    guests_in_turn,
    judged,
    study,
    unlike_pages,
)
from sharesim.results.run import Run
from sharesim.simulate import simulate

SMALL = Collisions(
    cases=(Case("sfh", 14, pages=1 << 13), Case("mmh3", 18, 4, pages=1 << 13)),
    apart=Case("", 14, pages=1 << 12),
    turns=(20, 20),
)


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {name: simulate(scenario) for name, scenario in SMALL.runs().items()}


def test_nothing_misses(runs: dict[str, Run]) -> None:
    rows = SMALL.rows(runs)
    assert [row for row in rows if row.verdict == "miss"] == []
    # Too few guests ran in turn for their chance to be judged.
    assert sum(row.verdict == "pass" for row in rows) == 10
    chances = [row for row in rows if row.source.endswith("chance of a collision")]
    assert [row.verdict for row in chances] == ["shown"] * 3


def test_as_shipped_each_law_is_judged() -> None:
    shipped = study()
    assert isinstance(shipped, Collisions)
    laws = [(case.law, case.guests) for case in shipped.cases]
    laws.append((shipped.apart.law, 1))
    assert all(law.pairs * guests >= 400 * (1 - 1e-5) for law, guests in laws)
    first = shipped.cases[0].law
    assert (round(first.pairs), round(first.repeats)) == (524_287, 297_621)
    names = list(shipped.runs())
    assert len(names) == len({name.lower() for name in names}) == 25


def test_pairs_are_those_of_equal_digests() -> None:
    run = simulate(unlike_pages(300, bits=10))
    contents = lay_out(run.scenario.vms[0], "4 KiB").contents
    digests = np.array([simulated_digest(one, np.uint64(seed_of("sfh")), 10) for one in contents])
    equal = (digests[:, None] == digests[None, :]).sum()
    pairs, repeats = counted(run)
    assert pairs == (equal - 300) // 2 > 20
    assert repeats == run.summary["counters"]["wrong_merges"]


def test_guests_in_turn_do_not_meet() -> None:
    """Each is scanned, alone: together they would collide, for there are few digests."""
    run = simulate(guests_in_turn(30, 8, 8))
    last = run.timeline.groupby("entity").merged.max()
    assert run.summary["scanner"]["passes"] >= 30
    assert run.summary["scanner"]["pages_hashed"] >= 30 * 8
    assert last.sum() == run.summary["counters"]["merges"] < 30
    together = simulate(unlike_pages(30 * 8, bits=8)).summary["counters"]["merges"]
    assert together > 60


def test_a_figure_is_judged_only_where_enough_is_expected() -> None:
    assert judged("source", "few", 399, 600, 20, pairs_expected=399).verdict == "shown"
    assert judged("source", "many", 400, 481, 20, pairs_expected=400).verdict == "miss"
    assert judged("source", "many", 400, 479, 20, pairs_expected=400).verdict == "pass"
    assert judged("source", "unfinished", 400, None, 20, pairs_expected=400).verdict == "miss"
    assert (
        judged("source", "certain", 1e5 * (1 + 1e-15), 1e5, 0.0, pairs_expected=1e9).verdict
        == "pass"
    )
