"""Errors of simulated counters against recorded ones, worked out by hand."""

import numpy as np
import pytest

from sharesim.validation.errors import (
    Series,
    at_progress,
    at_times,
    compare,
    nearest_in_time,
    weighted_error,
)


def series(times: list[int], **counters: list[int]) -> Series:
    """Counters that are not given are 0."""
    zeros = [0] * len(times)
    known = {"pages_scanned": zeros, "pages_skipped": zeros} | counters
    return Series(np.array(times), {name: np.array(line) for name, line in known.items()})


def test_weighted_error() -> None:
    recorded = np.array([0.0, 10.0, -30.0])
    assert weighted_error(np.array([1.0, 12.0, -29.0]), recorded) == pytest.approx(4 / 40)
    assert weighted_error(np.zeros(3), np.zeros(3)) == 0.0
    assert weighted_error(np.array([0.0, 1.0, 0.0]), np.zeros(3)) is None


def test_values_hold_until_the_next_sample() -> None:
    simulated = series([10, 20, 30], full_scans=[1, 2, 3])
    recorded = series([5, 10, 19, 20, 99], full_scans=[0] * 5)
    assert at_times(simulated, recorded, "full_scans").tolist() == [0, 1, 1, 2, 3]


def test_repeats_are_compared_at_samples_of_about_one_time() -> None:
    one = series([10, 21, 30], full_scans=[1, 2, 3])
    other = series([9, 20, 20, 31, 40], full_scans=[0] * 5)
    assert nearest_in_time(one, other, "full_scans").tolist() == [1, 2, 2, 3, 3]
    assert nearest_in_time(series([7], full_scans=[4]), other, "full_scans").tolist() == [4] * 5


def test_progress_takes_time_out() -> None:
    """The simulated scan is a sample ahead, yet at each progress it has found the same."""
    found = {"pages_scanned": [5, 10, 15, 20], "pages_shared": [1, 4, 5, 9]}
    simulated = series([0, 10, 20, 30], **found)
    recorded = series([10, 20, 30, 40], **found)
    errors = compare(simulated, [recorded], "pages_shared")
    assert errors.error == pytest.approx((3 + 1 + 4 + 0) / 19)
    assert errors.by_progress == 0.0


def test_skipped_pages_are_progress() -> None:
    simulated = series([0, 10], pages_scanned=[4, 4], pages_skipped=[0, 3], full_scans=[1, 2])
    recorded = series([9], pages_scanned=[6], pages_skipped=[1], full_scans=[7])
    assert at_progress(simulated, recorded, "full_scans").tolist() == [2]


def test_while_the_scan_stands_still_the_nearest_time_counts() -> None:
    simulated = series([0, 10, 20, 30, 40], pages_scanned=[0, 5, 5, 5, 9], cow_ksm=[0, 1, 2, 3, 9])
    recorded = series([0, 19, 27, 99], pages_scanned=[5, 5, 5, 5], cow_ksm=[0] * 4)
    assert at_progress(simulated, recorded, "cow_ksm").tolist() == [1, 2, 3, 3]


def test_in_the_middle_of_a_batch_counters_move_evenly() -> None:
    simulated = series([0, 10, 20, 30], pages_scanned=[0, 10, 10, 30], pages_shared=[0, 1, 2, 12])
    recorded = series([25, 26], pages_scanned=[15, 40], pages_shared=[0, 0])
    assert at_progress(simulated, recorded, "pages_shared").tolist() == [2 + 10 / 4, 12]


def test_what_a_slow_scan_has_not_reached_is_not_compared() -> None:
    simulated = series([0, 10], pages_scanned=[5, 10], pages_shared=[1, 2])
    recorded = series([0, 10, 20], pages_scanned=[5, 10, 99], pages_shared=[1, 2, 50])
    assert compare(simulated, [recorded], "pages_shared").by_progress == 0.0


def test_mean_nearest_and_spread() -> None:
    simulated = series([0, 10], full_scans=[10, 30])
    first = series([0, 10], full_scans=[10, 30])
    second = series([0, 10], full_scans=[20, 30])
    errors = compare(simulated, [first, second], "full_scans")
    assert errors.error == pytest.approx((0 + 10 / 50) / 2)
    assert errors.nearest == 0.0
    assert errors.spread == pytest.approx((10 / 50 + 10 / 40) / 2)
    assert errors.final_simulated == 30
    assert errors.final_recorded == (30, 30)


def test_one_repeat_has_no_spread() -> None:
    only = series([0, 10], full_scans=[1, 2])
    errors = compare(only, [only], "full_scans")
    assert (errors.error, errors.spread) == (0.0, None)


def test_what_was_never_recorded_has_no_relative_error() -> None:
    simulated = series([0, 10], ksm_zero_pages=[0, 4])
    recorded = series([0, 10], ksm_zero_pages=[0, 0])
    errors = compare(simulated, [recorded, recorded], "ksm_zero_pages")
    assert (errors.error, errors.nearest, errors.spread) == (None, None, 0.0)


def test_sums_of_counters() -> None:
    simulated = series([0], pages_unshared=[3], pages_volatile=[4])
    recorded = series([0], pages_unshared=[4], pages_volatile=[3])
    assert compare(simulated, [recorded], "pages_unshared").error == 0.25
    assert compare(simulated, [recorded], "pages_unshared+pages_volatile").error == 0.0


def test_the_end_is_that_of_the_recordings() -> None:
    simulated = series([0, 10, 20], full_scans=[1, 2, 3])
    recorded = series([0, 12], full_scans=[1, 2])
    assert compare(simulated, [recorded], "full_scans").final_simulated == 2
