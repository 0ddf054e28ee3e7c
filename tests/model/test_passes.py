"""Passes over hash intervals: the same coverage, later, for more hashing and a smaller table."""

import numpy as np
import pytest

from sharesim.results.run import Run
from sharesim.simulate import simulate
from sharesim.spec.images import Segment, Segments
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Host, Scenario, Sharing

PAIRS = 8_000
RATE = 20_000
PERIOD_NS = 2 * PAIRS * 1_000_000_000 // RATE
"""A scan period: every page once."""


def pairs_run(passes: int, *, periods: float | None = None) -> Run:
    """Two idle guests, each page of one equal to a page of the other, scanned in random order."""
    image = Segments(segments=(Segment(size=PAIRS, shared_as="pairs"),))
    scenario = Scenario(
        duration=round((periods or passes + 0.02) * PERIOD_NS),
        host=Host(cpus=1),
        events=True,
        vms=[VM(name="left", image=image), VM(name="right", image=image)],
        sharing=Sharing(
            policy=Cbps(scan_rate=RATE, order="random", passes=passes, wake_period="5 ms")
        ),
    )
    return simulate(scenario)


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_pairs_are_all_found_after_k_passes_and_after_the_delay_of_theory(passes: int) -> None:
    run = pairs_run(passes)
    events = run.events
    merges = events.loc[events.kind == "merge", "time_ns"].to_numpy()
    assert run.summary["memory"]["saved_pages"] == len(merges) == PAIRS
    # The interval's own pass is one of k, equally likely; within it the second page of a pair in
    # random order comes at 2/3 on average.
    expected = (passes - 1) / 2 + 2 / 3
    assert merges.mean() / PERIOD_NS == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("passes", [2, 5])
def test_each_interval_is_merged_within_its_own_pass(passes: int) -> None:
    events = pairs_run(passes).events
    merges = events.loc[events.kind == "merge", "time_ns"].to_numpy()
    in_pass = np.bincount(merges // PERIOD_NS, minlength=passes)[:passes]
    assert in_pass.sum() >= 0.99 * PAIRS
    spread = np.sqrt(PAIRS / passes * (1 - 1 / passes))
    assert np.abs(in_pass - PAIRS / passes).max() < 5 * spread


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_covering_unshared_memory_once_hashes_k_fold(passes: int) -> None:
    image = Segments(segments=(Segment(size=PAIRS),))
    scenario = Scenario(
        duration=passes * PERIOD_NS - 1_000_000,  # before the next wake-up
        host=Host(cpus=1),
        vms=[VM(name="left", image=image), VM(name="right", image=image)],
        sharing=Sharing(policy=Cbps(scan_rate=RATE, passes=passes)),
    )
    scanner = simulate(scenario).summary["scanner"]
    assert scanner["pages_scanned"] == scanner["pages_hashed"] == 2 * PAIRS * passes


def test_the_table_of_k_passes_is_k_times_smaller() -> None:
    sizes = [Cbps(passes=passes).held_bytes(1 << 20) for passes in (1, 4)]
    assert sizes[0] / sizes[1] == pytest.approx(4, rel=0.02)
