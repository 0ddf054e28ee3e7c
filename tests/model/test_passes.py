"""Passes over hash intervals: the same coverage, later, for more hashing and a smaller table."""

import numpy as np
import pytest

from sharesim.reproductions.passes import PAIRS, PERIOD_NS, mean_delay, merge_times, two_guests
from sharesim.results.run import Run
from sharesim.simulate import simulate
from sharesim.spec.policies import Cbps


def pairs_run(passes: int) -> Run:
    """Two idle guests, each page of one equal to a page of the other, scanned in random order."""
    return simulate(two_guests(passes, round((passes + 0.02) * PERIOD_NS), events=True))


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_pairs_are_all_found_after_k_passes_and_after_the_delay_of_theory(passes: int) -> None:
    run = pairs_run(passes)
    merges = merge_times(run)
    assert run.summary["memory"]["saved_pages"] == len(merges) == PAIRS
    assert merges.mean() == pytest.approx(mean_delay(passes), rel=0.03)


@pytest.mark.parametrize("passes", [2, 5])
def test_each_interval_is_merged_within_its_own_pass(passes: int) -> None:
    in_pass = np.bincount(merge_times(pairs_run(passes)).astype(int), minlength=passes)[:passes]
    assert in_pass.sum() >= 0.99 * PAIRS
    spread = np.sqrt(PAIRS / passes * (1 - 1 / passes))
    assert np.abs(in_pass - PAIRS / passes).max() < 5 * spread


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_covering_unshared_memory_once_hashes_k_fold(passes: int) -> None:
    before_the_next_wake_up = passes * PERIOD_NS - 1_000_000
    scanner = simulate(two_guests(passes, before_the_next_wake_up, equal=False)).summary["scanner"]
    assert scanner["pages_scanned"] == scanner["pages_hashed"] == 2 * PAIRS * passes


def test_the_table_of_k_passes_is_k_times_smaller() -> None:
    sizes = [Cbps(passes=passes).held_bytes(1 << 20) for passes in (1, 4)]
    assert sizes[0] / sizes[1] == pytest.approx(4, rel=0.02)
