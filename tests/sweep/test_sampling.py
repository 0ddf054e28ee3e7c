"""Points drawn from ranges: reproducible, within bounds, and as even as the method promises."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharesim.errors import UserError
from sharesim.sweep.sampling import METHODS, from_unit, sample
from sharesim.sweep.vary import Range, Values

RATE = Range("rate", 100, 100_000, log=True, integer=True)
SHARE = Range("share", 0.0, 1.0, log=False, integer=False)
COUNT = Range("count", 3, 6, log=False, integer=True)
NAME = Values("name", ("a", "b", "c"), "category")
AXES = (RATE, SHARE, COUNT, NAME)


def units(number: int) -> list[float]:
    """The middles of equal parts of 0 to 1."""
    return [(one + 0.5) / number for one in range(number)]


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_draws_the_same_points(method: str) -> None:
    points = sample(AXES, 7, seed=1, method=method)
    assert points == sample(AXES, 7, seed=1, method=method)
    assert points != sample(AXES, 7, seed=2, method=method)
    assert len(points) == 7
    assert all(list(one) == ["rate", "share", "count", "name"] for one in points)


@pytest.mark.parametrize("method", METHODS)
def test_points_are_plain_values_within_their_ranges(method: str) -> None:
    for point in sample(AXES, 50, seed=3, method=method):
        assert [type(one) for one in point.values()] == [int, float, int, str]
        assert 100 <= point["rate"] <= 100_000
        assert 0 <= point["share"] <= 1
        assert 3 <= point["count"] <= 6
        assert point["name"] in NAME.values


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_more_points_begin_with_the_fewer(method: str) -> None:
    assert sample(AXES, 21, seed=5, method=method)[:6] == sample(AXES, 6, seed=5, method=method)


def test_a_latin_hypercube_has_one_point_in_each_part_of_each_range() -> None:
    points = sample(AXES, 12, seed=1, method="lhs")
    assert sorted(int(one["share"] * 12) for one in points) == list(range(12))
    parts = [int(np.log(one["rate"] / 100) / np.log(100_001 / 100) * 12) for one in points]
    assert len(set(parts)) >= 11  # rounding down may take one across an edge
    assert Counter(one["name"] for one in points) == {"a": 4, "b": 4, "c": 4}
    assert Counter(one["count"] for one in points) == {3: 3, 4: 3, 5: 3, 6: 3}


def test_sobol_points_are_even_in_powers_of_two() -> None:
    points = sample((SHARE, COUNT), 16, seed=9, method="sobol")
    assert sorted(int(one["share"] * 16) for one in points) == list(range(16))
    assert Counter(one["count"] for one in points) == {3: 4, 4: 4, 5: 4, 6: 4}
    quarters = Counter((int(one["share"] * 4), one["count"]) for one in points)
    assert set(quarters.values()) == {1}


def test_random_points_are_drawn_evenly() -> None:
    points = sample((NAME, COUNT), 3000, seed=1, method="random")
    for column, each in (("name", 1000), ("count", 750)):
        counts = Counter(one[column] for one in points)
        assert all(abs(found - each) < 5 * each**0.5 for found in counts.values())


@pytest.mark.parametrize(
    ("axis", "u", "value"),
    [
        (COUNT, 0.0, 3),
        (COUNT, 0.2499, 3),
        (COUNT, 0.25, 4),
        (COUNT, 1.0, 6),
        (SHARE, 0.0, 0.0),
        (SHARE, 0.25, 0.25),
        (SHARE, 1.0, 1.0),
        (Range("x", 0.1, 10.0, log=True, integer=False), 0.5, 1.0),
        (RATE, 0.0, 100),
        (RATE, 1.0, 100_000),
        (Range("x", 10, 999, log=True, integer=True), 0.5, 100),
        (NAME, 0.0, "a"),
        (NAME, 0.5, "b"),
        (NAME, 1.0, "c"),
    ],
)
def test_a_place_has_a_value(axis: Any, u: float, value: Any) -> None:
    found = from_unit(axis, u)
    assert found == value
    assert type(found) is type(value)


@given(st.integers(-100, 100), st.integers(1, 30), st.integers(1, 5))
def test_each_whole_number_is_as_likely(low: int, width: int, each: int) -> None:
    axis = Range("x", low, low + width, log=False, integer=True)
    counts = Counter(from_unit(axis, u) for u in units((width + 1) * each))
    assert counts == dict.fromkeys(range(low, low + width + 1), each)


def test_octaves_of_a_logarithmic_range_are_as_likely() -> None:
    axis = Range("x", 1, 1023, log=True, integer=True)
    counts = Counter(from_unit(axis, u).bit_length() for u in units(10_000))
    assert all(abs(found - 1000) <= 1 for found in counts.values())
    assert len(counts) == 10


@given(
    st.floats(1e-3, 1e3), st.floats(1e-3, 1e6), st.booleans(), st.lists(st.floats(0, 1), min_size=2)
)
def test_values_rise_with_their_place(
    low: float, width: float, log: bool, places: list[float]
) -> None:
    axis = Range("x", low, low + width, log=log, integer=False)
    found = [from_unit(axis, u) for u in sorted(places)]
    assert found == sorted(found)
    assert low <= found[0] and found[-1] <= low + width


@pytest.mark.parametrize(
    ("count", "method", "axes", "words"),
    [
        (5, "lsh", AXES, "--sampler lsh: there is no such sampler; did you mean 'lhs'?"),
        (0, "lhs", AXES, "--sample 0: a number from 1 to 1,000,000 is needed"),
        (2_000_000, "lhs", AXES, "--sample 2000000"),
        (5, "lhs", (), "--sample: nothing to draw from; give --vary"),
    ],
)
def test_what_is_refused(count: int, method: str, axes: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        sample(axes, count, seed=1, method=method)
    assert words in str(caught.value)
