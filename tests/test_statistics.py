"""Intervals, differences, warm-up and numbers of replicates, against figures made by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharesim.errors import UserError
from sharesim.statistics import (
    Estimate,
    Precision,
    mean_interval,
    mser5,
    paired_difference,
    parse_precision,
    precise,
    replicates_needed,
)

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20)

# Intervals


def test_an_interval_made_by_hand() -> None:
    """1 to 5: s = sqrt(10 / 4); t of 4 degrees of freedom 2.7764, from a printed table."""
    found = mean_interval([1, 2, 3, 4, 5])
    assert (found.mean, found.count, found.confidence) == (3.0, 5, 0.95)
    assert found.half_width == pytest.approx(2.7764 * math.sqrt(2.5) / math.sqrt(5), rel=2e-5)
    assert found.low == pytest.approx(3 - 1.9632, abs=1e-4)
    assert found.high == pytest.approx(3 + 1.9632, abs=1e-4)


@pytest.mark.parametrize(("confidence", "t"), [(0.9, 1.833), (0.95, 2.262), (0.99, 3.250)])
def test_the_confidence_decides_on_students_t(confidence: float, t: float) -> None:
    """Of 9 degrees of freedom, from a printed table."""
    values = [-1.0] * 5 + [1.0] * 5  # s^2 = 10 / 9, so s / sqrt(10) = 1 / 3
    found = mean_interval(values, confidence)
    assert found.half_width == pytest.approx(t / 3, abs=2e-4)


def test_a_single_value_has_no_interval() -> None:
    assert mean_interval([7.5]) == Estimate(7.5, None, 1, 0.95)
    assert mean_interval([7.5]).low is None
    assert mean_interval([7.5]).high is None


@pytest.mark.parametrize("value", [0.1, 1e-300, 1e17, -3.3])
def test_equal_values_have_an_interval_of_nothing(value: float) -> None:
    """And no rounding: 0.1 + 0.1 + 0.1 is not 0.3 for a computer."""
    found = mean_interval([value] * 7)
    assert (found.mean, found.half_width) == (value, 0.0)


@given(NUMBERS, st.randoms())
def test_the_order_of_values_changes_nothing(values: list[float], random: "object") -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert mean_interval(shuffled) == mean_interval(np.array(values))


@given(NUMBERS)
def test_an_interval_as_scipy_has_it(values: list[float]) -> None:
    from scipy import stats

    found = mean_interval(values, 0.9)
    scale = float(stats.sem(values))
    assert found.half_width == pytest.approx(
        float(stats.t.ppf(0.95, len(values) - 1)) * scale, rel=1e-6, abs=1e-6
    )


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    found = [mean_interval(generator.normal(3.0, 2.0, 4), 0.8) for _ in range(2000)]
    held = sum(one.low <= 3.0 <= one.high for one in found if one.low and one.high)
    assert abs(held / 2000 - 0.8) < 4 * math.sqrt(0.8 * 0.2 / 2000)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_what_has_no_mean_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="one finite value or more"):
        mean_interval(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0, math.nan])
def test_a_confidence_is_between_0_and_1(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([1.0, 2.0], confidence)


# Paired differences


def test_a_paired_difference_made_by_hand() -> None:
    """Differences 1, 0.5, 1: mean 5/6, s = sqrt(1/12); t of 2 degrees of freedom 4.30265."""
    found = paired_difference([10, 12, 11], [9, 11.5, 10])
    assert found.mean == pytest.approx(5 / 6)
    assert found.half_width == pytest.approx(4.30265 / 6, rel=1e-5)
    assert found.count == 3


@given(NUMBERS, st.floats(-10, 10))
def test_what_two_points_have_in_common_goes_out(values: list[float], by: float) -> None:
    common = np.array(values)
    found = paired_difference(common + by, common)
    assert found.mean == pytest.approx(by, abs=1e-8)
    assert found.half_width == pytest.approx(0.0, abs=1e-8)


def test_pairs_need_as_many_values() -> None:
    with pytest.raises(ValueError, match="found 2 and 3"):
        paired_difference([1, 2], [1, 2, 3])


# Warm-up


def series_of(means: Sequence[float]) -> np.ndarray:
    """A series whose batches of five have these means, and are not constant."""
    wiggle = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    return np.concatenate([mean + wiggle for mean in means])


def test_a_warm_up_found_by_hand() -> None:
    """Of 11 batches the first is 12, the others are 3 and 1 in turn, 2 on average.

    All of them: squares 194, minus 32^2 / 11, over 11^2: 0.834. Without the first: 10 / 10^2 = 0.1.
    Without the second as well: (41 - 17^2 / 9) / 9^2 = 0.1097, and so on: more each time.
    """
    found = mser5(series_of([12, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]))
    assert (found.index, found.kept, found.settled) == (5, 50, True)
    assert found.statistic == pytest.approx(0.1)


def naive(means: Sequence[float]) -> list[float]:
    """Sum of squared deviations over n^2, for each number of batches left out."""
    found = []
    for cut in range(len(means) - 4):
        left = means[cut:]
        mean = sum(left) / len(left)
        found.append(sum((one - mean) ** 2 for one in left) / len(left) ** 2)
    return found


@given(st.lists(st.integers(-1000, 1000), min_size=10, max_size=40))
def test_warm_up_as_the_definition_has_it(means: list[int]) -> None:
    wanted = naive(means)
    found = mser5(series_of(means))
    half = wanted[: len(means) // 2 + 1]
    assert found.index % 5 == 0
    assert found.statistic == pytest.approx(min(half), abs=1e-6)
    assert half[found.index // 5] == pytest.approx(min(half), abs=1e-6)
    assert found.index + found.kept == 5 * len(means)
    if abs(min(half) - min(wanted)) > 1e-6 or min(half) == min(wanted):
        assert found.settled == (min(half) == min(wanted))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_series_has_no_warm_up(value: float) -> None:
    found = mser5([value] * 63)
    assert (found.index, found.kept, found.statistic, found.settled) == (0, 60, 0.0, True)


def test_a_step_is_left_out_to_the_end_of_its_batch() -> None:
    found = mser5([5.0] * 37 + [0.1] * 100)
    assert (found.index, found.kept, found.settled) == (40, 95, True)


def test_a_series_that_grows_to_its_end_is_too_short() -> None:
    found = mser5(np.arange(200.0))
    assert not found.settled
    assert found.index == 100


def test_an_exponential_warm_up_is_found_in_noise() -> None:
    generator = np.random.default_rng(3)
    times = np.arange(1000)
    series = 100.0 - 40.0 * np.exp(-times / 50.0) + generator.normal(0.0, 2.0, 1000)
    found = mser5(series)
    assert found.settled
    assert 100 <= found.index <= 300  # what is left of it there: 5.4 to 0.1
    assert series[found.index :].mean() == pytest.approx(100.0, abs=0.5)


def test_nine_batches_tell_nothing() -> None:
    found = mser5([1.0] * 49)
    assert (found.index, found.kept, found.settled) == (0, 45, False)
    assert math.isnan(found.statistic)
    assert mser5([]).kept == 0


@given(st.lists(st.floats(-100, 100), min_size=50, max_size=120), st.sampled_from([0.25, 8.0]))
def test_the_unit_of_a_series_changes_nothing(series: list[float], scale: float) -> None:
    found, scaled = mser5(series), mser5(np.array(series) * scale)
    assert (found.index, found.settled) == (scaled.index, scaled.settled)


def test_a_series_is_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        mser5([1.0] * 60 + [math.nan])


# Enough replicates


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("5%", Precision(relative=0.05)),
        (" 0.5 % ", Precision(relative=0.005)),
        ("0.01", Precision(absolute=0.01)),
        ("2", Precision(absolute=2.0)),
        ("1e-3", Precision(absolute=0.001)),
    ],
)
def test_a_precision_is_a_share_or_a_number(text: str, wanted: Precision) -> None:
    assert parse_precision(text) == wanted


@pytest.mark.parametrize("text", ["", "%", "five", "0", "0%", "-1", "inf", "nan", "5%%", "5 MiB"])
def test_what_is_no_precision(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_precision(text)
    assert f"--until-precision {text}: a share of the mean is needed" in str(caught.value)


def test_enough_by_hand() -> None:
    """Half the interval of 1 to 5 is 1.9632, 65 % of their mean."""
    values = [1, 2, 3, 4, 5]
    assert precise(values, Precision(absolute=1.97))
    assert not precise(values, Precision(absolute=1.96))
    assert precise(values, Precision(relative=0.66))
    assert not precise(values, Precision(relative=0.65))
    assert precise([-one for one in values], Precision(relative=0.66))


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0]])
def test_two_values_are_never_enough(values: list[float]) -> None:
    assert not precise(values, Precision(absolute=1e9))
    assert replicates_needed(values, Precision(absolute=1e9)) == 1
    assert precise([3.0, 3.0, 3.0], Precision(absolute=1e-9))


def test_a_share_of_nothing_is_reached_by_no_spread_only() -> None:
    assert not precise([-1.0, 0.0, 1.0], Precision(relative=0.5))
    assert replicates_needed([-1.0, 0.0, 1.0], Precision(relative=0.5)) == 3
    assert precise([0.0, 0.0, 0.0], Precision(relative=0.5))


@pytest.mark.parametrize(
    ("limit", "more"),
    [
        (3.0, 1),  # small enough already
        (1.9, 1),  # 5 (1.9632 / 1.9)^2 = 5.34
        (1.7, 2),  # 6.67
        (1.5, 4),  # 8.56
        (1.4, 5),  # 9.83
        (1.3, 5),  # 11.4: as many again at most
        (0.01, 5),
    ],
)
def test_more_replicates_by_hand(limit: float, more: int) -> None:
    assert replicates_needed([1, 2, 3, 4, 5], Precision(absolute=limit)) == more


@given(NUMBERS, st.floats(1e-6, 1e6))
def test_replicates_grow_by_one_at_least_and_double_at_most(
    values: list[float], limit: float
) -> None:
    assert 1 <= replicates_needed(values, Precision(absolute=limit)) <= len(values)


def search(generator: np.random.Generator, spread: float, precision: Precision) -> list[float]:
    """Draws around 1, beginning with five, until their mean is precise."""
    values = list(generator.normal(1.0, spread, 5))
    while not precise(values, precision):
        values += list(generator.normal(1.0, spread, replicates_needed(values, precision)))
    return values


def test_searches_end_near_the_number_that_is_needed() -> None:
    """s = 0.2 and a limit of 0.1 need n = (t s / 0.1)^2, which is 18 with t of 17 degrees."""
    generator = np.random.default_rng(1)
    found = [search(generator, 0.2, Precision(relative=0.1)) for _ in range(200)]
    assert 15 <= np.median([len(values) for values in found]) <= 21


def test_searches_find_the_truth_about_as_often_as_they_say() -> None:
    """Nearly, for stopping at a small interval favours small ones."""
    generator = np.random.default_rng(2)
    ends = [mean_interval(search(generator, 0.05, Precision(relative=0.05))) for _ in range(1000)]
    held = sum(abs(one.mean - 1.0) <= (one.half_width or 0.0) for one in ends)
    assert 0.92 <= held / 1000 <= 0.97
