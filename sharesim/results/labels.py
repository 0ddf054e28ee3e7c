"""Labels beside points of a panel, where nothing else is drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sharesim.results import style
from sharesim.results.places import Point, Rectangles, place_labels
from sharesim.results.sizes import POINTS_PER_INCH, inches_of
from sharesim.results.style import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DISTANCES = (0.07, 0.12, 0.2, 0.3, 0.45, 0.65, 0.9)
"""Inches from a point at which its label may stand."""
HALF_DOT = 0.035
"""Inches around a line or the middle of a dot where no label may be."""
ASIDE = 0.03
"""Inches left and right of a label that stay empty."""
LEAST_LINE = 0.15
"""Inches between point and label from which a thin line joins them."""


def label_points(
    axes: "Axes", points: Floats, texts: Sequence[str], towards: Point, letters: float
) -> None:
    """Write a text beside each of float[n, 2] points, if possible in the direction ``towards``.

    Call it when the limits of the axes are final, and all else is drawn.
    """
    anchors = [(float(x), float(y)) for x, y in _inches(axes, points)]
    line = 1.25 * letters / POINTS_PER_INCH
    sizes = [
        (inches_of(text, letters) + 2 * ASIDE, line * (text.count("\n") + 1)) for text in texts
    ]
    width, height = style.inches(axes)
    inside = (width - 0.02, height - 0.02)
    places = place_labels(anchors, sizes, inside, _drawn(axes), towards, DISTANCES)
    for anchor, place, size, text in zip(anchors, places, sizes, texts, strict=True):
        _join(axes, anchor, place, size)
        axes.text((place[0] + ASIDE) / width, (place[1] + size[1] / 2) / height, text, va="center",
                  transform=axes.transAxes, fontsize=letters, linespacing=1.1, color=style.INK,
                  zorder=6)  # fmt: skip


def _join(axes: "Axes", anchor: Point, place: Point, size: Point) -> None:
    """A thin line from a point to a label that stands away from it."""
    end = np.clip(anchor, place, np.add(place, size))
    if np.hypot(*(end - anchor)) > LEAST_LINE:
        xs, ys = np.transpose([anchor, end] / np.asarray(style.inches(axes)))
        axes.plot(xs, ys, color=style.MUTED, lw=0.4, transform=axes.transAxes, zorder=2.5)


def _inches(axes: "Axes", points: Floats) -> Floats:
    """Data as inches from the lower left corner of a panel."""
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    return np.asarray((points - low) / (high - low) * style.inches(axes))


def _drawn(axes: "Axes") -> Rectangles:
    """What is drawn in a panel, as small squares: dots, intervals, and pieces of lines."""
    places = []
    for line in axes.lines:
        points = np.column_stack([np.asarray(data, dtype=np.float64) for data in line.get_data()])
        is_line = line.get_linestyle() != "None"
        shape = _corners(points, line.get_drawstyle()) if is_line else points
        places.append(_pieces(_inches(axes, shape)) if is_line else _inches(axes, shape))
    for bars in axes.collections:
        places += [_pieces(_inches(axes, np.asarray(path.vertices))) for path in bars.get_paths()]
    middle = np.vstack([np.empty((0, 2)), *places])
    middle = middle[np.isfinite(middle).all(axis=1)]
    return np.hstack([middle - HALF_DOT, middle + HALF_DOT])


def _pieces(points: Floats) -> Floats:
    """Points close to one another all along a line."""
    way = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.linspace(0.0, way[-1], int(way[-1] / HALF_DOT) + 2)
    return np.column_stack([np.interp(at, way, column) for column in points.T])


def _corners(points: Floats, drawn_as: str) -> Floats:
    """A staircase with its corners; any other line as it is."""
    xs, ys = (np.repeat(column, 2) for column in points.T)
    if drawn_as == "steps-post":
        return np.column_stack([xs[1:], ys[:-1]])
    return np.column_stack([xs[:-1], ys[1:]]) if drawn_as == "steps-pre" else points
