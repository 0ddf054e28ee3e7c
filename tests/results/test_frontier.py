"""The frontier of several aims, against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharesim.results.frontier import non_dominated

NUMBERS = st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, float("nan"), float("inf")])


def beats(one: np.ndarray, other: np.ndarray, better: list[str]) -> bool:
    """By the definition: better in one aim, and worse in none."""
    signs = np.array([1.0 if word == "high" else -1.0 for word in better])
    gain = (one - other) * signs
    return bool((gain >= 0).all() and (gain > 0).any())


@given(
    rows=st.integers(1, 3).flatmap(
        lambda aims: st.tuples(
            st.lists(st.lists(NUMBERS, min_size=aims, max_size=aims), max_size=14),
            st.lists(st.sampled_from(["high", "low"]), min_size=aims, max_size=aims),
        )
    )
)
def test_best_points_are_those_that_none_beats(rows: tuple[list[list[float]], list[str]]) -> None:
    points, better = rows
    values = np.array(points, dtype=np.float64).reshape(len(points), len(better))
    known = np.isfinite(values).all(axis=1)
    expected = [
        bool(known[at])
        and not any(beats(values[other], values[at], better) for other in np.flatnonzero(known))
        for at in range(len(values))
    ]
    assert non_dominated(values, better).tolist() == expected


def test_equal_points_are_both_best_and_order_does_not_matter() -> None:
    values = np.array([[3.0, 1.0], [1.0, 0.0], [3.0, 1.0], [2.0, 1.0]])
    assert non_dominated(values, ["high", "low"]).tolist() == [True, True, True, False]
    assert non_dominated(values[::-1], ["high", "low"]).tolist() == [False, True, True, True]


def test_directions_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        non_dominated(np.zeros((2, 2)), ["high"])
    with pytest.raises(ValueError, match="do not fit"):
        non_dominated(np.zeros((2, 2)), ["high", "up"])
