"""At the default sync quantum every headline figure is within 1 % of exact mode.

The table over twenty seeds is in the docs; ``python -m analysis.mode_error`` makes it.
"""

import pytest

from analysis.mode_error import FIGURES, errors, figures, scenario
from sharesim.resolve import resolve
from sharesim.simulate import simulate

SEEDS = (1, 2, 3)


def test_the_default_quantum_is_within_one_percent_of_exact_mode() -> None:
    error, half = errors(SEEDS)
    for name, value, width in zip(FIGURES, error, half, strict=True):
        assert abs(value) + width < 0.01, name


def test_the_comparison_has_enough_merges_and_breaks_to_show_an_error() -> None:
    found = dict(zip(FIGURES, figures(1), strict=True))
    assert found["breaks"] >= 1_000
    assert found["merges"] >= 1_000


def test_the_default_quantum_is_at_most_a_hundredth_of_every_interval() -> None:
    resolved = resolve(scenario(1))
    assert resolved.sync_quantum is not None
    assert resolved.sync_quantum <= resolved.host.time_slice / 100


@pytest.mark.parametrize("quantum", [20_000, 500_000])
def test_one_actor_gives_the_same_run_whatever_the_quantum(quantum: int) -> None:
    alone = scenario(1, quantum)
    alone = alone.model_copy(update={"vms": alone.vms[:1], "sharing": None, "events": True})
    exact = alone.model_copy(update={"mode": "exact"})
    ours, theirs = simulate(alone), simulate(exact)
    assert ours.events.equals(theirs.events)
    assert ours.summary["guests"] == theirs.summary["guests"]
