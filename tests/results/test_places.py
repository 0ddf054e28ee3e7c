"""Labels find places inside, on nothing that is taken, and near their points."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sharesim.results.places import place_labels

INSIDE = (5.0, 3.0)
SIZE = (0.5, 0.13)
DISTANCES = (0.07, 0.15, 0.3, 0.6, 0.9)


def boxes(places: list[tuple[float, float]]) -> np.ndarray:
    corners = np.array(places)
    return np.hstack([corners, corners + SIZE])


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    return float(np.clip(sides, 0, None).prod())


@given(
    points=st.lists(
        st.tuples(st.floats(0.0, INSIDE[0]), st.floats(0.0, INSIDE[1])), min_size=1, max_size=8
    ),
    right=st.booleans(),
)
def test_labels_of_a_few_points_lie_inside_and_apart(
    points: list[tuple[float, float]], right: bool
) -> None:
    dots = np.array([[x - 0.03, y - 0.03, x + 0.03, y + 0.03] for x, y in points])
    towards = (1.0 if right else -1.0, -1.0)
    found = boxes(place_labels(points, [SIZE] * len(points), INSIDE, dots, towards, DISTANCES))
    assert (found[:, :2] >= -1e-9).all() and (found[:, 2:] <= np.add(INSIDE, 1e-9)).all()
    for at, box in enumerate(found):
        assert all(overlap(box, dot) < 1e-9 for dot in dots)
        assert all(overlap(box, other) < 1e-9 for other in found[:at])
        nearest = np.clip(points[at], box[:2], box[2:])
        assert np.hypot(*(nearest - points[at])) <= max(DISTANCES) + 1e-9


def test_a_lone_label_stands_where_it_is_wanted() -> None:
    nothing = np.empty((0, 4))
    for towards in ((1.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)):
        (place,) = place_labels([(2.5, 1.5)], [SIZE], INSIDE, nothing, towards, DISTANCES)
        middle = np.add(place, np.divide(SIZE, 2)) - (2.5, 1.5)
        assert (np.sign(middle) == towards).all()
