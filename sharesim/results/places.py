"""Where labels go so that they do not lie on one another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def spread(wanted: Sequence[float], gaps: Sequence[float], low: float, high: float) -> list[float]:
    """Positions nearest to ``wanted`` (ascending) that keep ``gaps`` between neighbours.

    ``gaps`` has one entry fewer than ``wanted``. All lie in [low, high] where they fit at all.
    """
    offsets = np.concatenate(([0.0], np.cumsum(gaps)))[: len(wanted)]
    blocks: list[tuple[float, int]] = []  # mean of (wanted - offset), members: an isotonic fit
    for value in np.asarray(wanted, dtype=np.float64) - offsets:
        mean, members = float(value), 1
        while blocks and blocks[-1][0] > mean:
            earlier, count = blocks.pop()
            mean = (mean * members + earlier * count) / (members + count)
            members += count
        blocks.append((mean, members))
    fitted = np.repeat([mean for mean, _ in blocks], [members for _, members in blocks])
    highest = max(high - float(offsets[-1]), low) if len(wanted) else low
    return [float(place) for place in np.clip(fitted, low, highest) + offsets]


Point = tuple[float, float]
Rectangles = NDArray[np.float64]
"""float[n, 4]: left, lower, right, upper, in any unit."""
OVERLAP, CROSSING = 1e6, 0.03
"""How bad an area on top of others is, and each part of a line that crosses them, in distances."""


def place_labels(
    anchors: Sequence[Point],
    sizes: Sequence[Point],
    inside: Point,
    taken: Rectangles,
    towards: Point,
    distances: Sequence[float],
) -> list[Point]:
    """Lower left corners of labels of some ``sizes`` (width, height), one near each anchor.

    One after the other takes, of places at ``distances`` from its anchor and in directions around
    ``towards``, the nearest that lies between (0, 0) and ``inside``, and on nothing that is taken
    or placed before it; or the one that is least bad.
    """
    places: list[Point] = []
    page = np.array([[0.0, 0.0, *inside]])
    for anchor, size in zip(anchors, sizes, strict=True):
        boxes, far = _places_near(anchor, size, towards, distances)
        near = _within(taken, np.append(boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)))
        bad = size[0] * size[1] - _overlaps(boxes, page) + _overlaps(boxes, near)
        chosen = boxes[np.argmin(OVERLAP * bad + CROSSING * _crossed(anchor, boxes, near) + far)]
        taken = np.vstack([taken, chosen])
        places.append((float(chosen[0]), float(chosen[1])))
    return places


def _places_near(
    anchor: Point, size: Point, towards: Point, distances: Sequence[float]
) -> tuple[Rectangles, NDArray[np.float64]]:
    """Boxes around an anchor, and how far from ideal each is."""
    turns = np.linspace(-np.pi, np.pi, 24, endpoint=False)
    distance, turn = (grid.ravel() for grid in np.meshgrid(distances, turns, indexing="ij"))
    angle = np.arctan2(towards[1], towards[0]) + turn
    # The side that is nearest to the anchor touches the end of the arm.
    left = anchor[0] + distance * np.cos(angle) - size[0] * (1 - np.cos(angle)) / 2
    lower = anchor[1] + distance * np.sin(angle) - size[1] * (1 - np.sin(angle)) / 2
    boxes = np.column_stack([left, lower, left + size[0], lower + size[1]])
    return boxes, distance * (1 + np.abs(turn) / np.pi)


def _within(boxes: Rectangles, around: NDArray[np.float64]) -> Rectangles:
    """Those boxes that reach into a rectangle."""
    inside = (boxes[:, 2:] > around[:2]) & (boxes[:, :2] < around[2:])
    return boxes[inside.all(axis=1)]


def _overlaps(boxes: Rectangles, others: Rectangles) -> NDArray[np.float64]:
    """The area that each box has in common with all others."""
    least = np.maximum(boxes[:, None, :2], others[None, :, :2])
    most = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.asarray(np.clip(most - least, 0.0, None).prod(axis=2).sum(axis=1))


def _crossed(anchor: Point, boxes: Rectangles, taken: Rectangles) -> NDArray[np.float64]:
    """How much of the line from the anchor to each box, if it needs one, lies on what is taken."""
    ends = np.clip(anchor, boxes[:, :2], boxes[:, 2:])
    needed = np.hypot(*(ends - anchor).T) > 0.1
    found = np.zeros(len(boxes))
    for part in np.linspace(0.3, 1.0, 6):
        points = np.asarray(anchor) + part * (ends - anchor)
        inside = (points[:, None] > taken[None, :, :2]) & (points[:, None] < taken[None, :, 2:])
        found += inside.all(axis=2).any(axis=1)
    return np.asarray(found * needed)
