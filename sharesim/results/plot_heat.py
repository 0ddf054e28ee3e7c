"""Draws a metric over two parameters of a sweep: a coloured cell for each pair of values."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.errors import UserError
from sharesim.results import style
from sharesim.results.sizes import PAGE, Size, inches_of
from sharesim.results.style import Floats
from sharesim.results.sweep_axes import (
    HEADING,
    Shown,
    one_panel,
    place_slots,
    shown_as,
    tick_inches,
    tick_words,
)
from sharesim.results.sweep_points import Levels, Points, Where, counts_words
from sharesim.results.titled import Head
from sharesim.sweep.metrics import Metric
from sharesim.sweep.sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

LEAST_FILLED = 1 / 3
"""Share of cells with a value below which the parameters were not crossed."""
SCALE = 0.75
"""Inches right of the panel for the scale of colours."""
LEAST_TICK = 0.14
"""Inches of height that the name of a row needs."""
LEAST_SIGNED = 0.1
"""Smaller part of a range around zero from which on its two sides have colours of their own."""


@dataclass(frozen=True)
class Cells:
    """Means by row and column, from the lower left, half widths of their intervals, as shown."""

    mean: Floats
    half: Floats
    shown: Shown


def plot_heat(
    sweep: Sweep,
    metric: str,
    x: str | None = None,
    y: str | None = None,
    *,
    where: Where | None = None,
    size: Size | None = None,
    title: str | None = None,
) -> "Figure":
    """A figure of a metric by the parameters ``x`` and ``y``, by default the first two.

    Cells hold means over replicates, and over what else varies, which the picture says; where
    there is room they are written into them. ``where``, ``size``, ``title`` as of ``plot_sweep``.

    Raises UserError on unknown names, and where the two parameters were not crossed.
    """
    size = size or PAGE
    points = Points(sweep, where)
    found = points.metric(metric, "--heat")
    across, along = _two(points, x, y)
    cells, remarks = _cells(points, found, across, along)
    with style.settings(size):
        head = Head(size, points.title if title is None else title, remarks, below=HEADING)
        slots = max(min(0.36 * len(along.values), 4.2), 1.2)
        letters = style.small()
        left = max(inches_of(word, letters) for word in tick_words(along)) + 0.45
        turned = tick_inches(across, size.width - left - SCALE) - tick_inches(along, math.inf)
        figure, axes = one_panel(size, head.inches, slots, across.label, left=left, right=SCALE,
                                 foot=turned)  # fmt: skip
        style.heading(axes, cells.shown.both)
        _draw(axes, cells, found)
        _place(axes, across, along)
        head.write(figure)
        return style.showable(figure)


def _two(points: Points, x: str | None, y: str | None) -> tuple[Levels, Levels]:
    chosen = [points.level(name, option) if name else None
              for name, option in ((x, "--x"), (y, "--y"))]  # fmt: skip
    rest = [one for one in points.levels.values() if one not in chosen]
    found = [one or (rest.pop(0) if rest else None) for one in chosen]
    across, along = found
    if across is None or along is None:
        raise UserError(f"{points.sweep.folder}: a heat map needs two parameters that vary")
    if across.name == along.name:
        raise UserError(f"--x {across.name} --y {along.name}: two different parameters are needed")
    return across, along


def _cells(
    points: Points, metric: Metric, across: Levels, along: Levels
) -> tuple[Cells, list[str]]:
    """The figures of the cells, and what must be said of them."""
    table = points.estimates([metric], [across.name, along.name])
    shown = shown_as(metric, table[metric.name])
    shape = (len(along.values), len(across.values))
    mean, half = np.full(shape, np.nan), np.full(shape, np.nan)
    rows = {value: at for at, value in enumerate(along.values)}
    columns = {value: at for at, value in enumerate(across.values)}
    for _, one in table.iterrows():
        at = rows[one[along.column]], columns[one[across.column]]
        mean[at] = shown.scale * one[metric.name]
        half[at] = shown.scale * (one[f"{metric.name}.high"] - one[metric.name])
    filled = int(np.isfinite(mean).sum())
    if filled < LEAST_FILLED * mean.size:
        raise UserError(
            f"{points.sweep.folder}: {across.name} and {along.name} were not crossed: there are"
            f" figures for {filled} of {mean.size} pairs of values; try --x {across.name}"
            f" --color {along.name}, or --frontier"
        )
    return Cells(mean, half, shown), _remarks(points, table[f"{metric.name}.count"], across, along)


def _remarks(points: Points, counts: Any, across: Levels, along: Levels) -> list[str]:
    words = [points.fixed(), counts_words(counts).replace("with 95 %", "± 95 %")]
    over = [one.words() for one in points.levels.values() if one not in (across, along)]
    if over:
        words.append(f"mean over {' and '.join(over)}")
    words.append(points.left_out())
    if points.incomplete:
        words.append(f"{points.incomplete} incomplete means left out")
    return ["   ·   ".join(word for word in words if word)]


# --- the panel ------------------------------------------------------------------------------


def _colours(cells: Cells, metric: Metric) -> "tuple[Colormap, Normalize]":
    """A scale from dark to bright; one from blue to red through white where the sign matters."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    low, high = float(np.nanmin(cells.mean)), float(np.nanmax(cells.mean))
    most = max(abs(low), abs(high))
    if low < 0 < high and min(-low, high) >= LEAST_SIGNED * most:
        name = "RdBu" if metric.better == "high" else "RdBu_r"  # what is good is blue
        return colormaps[name], Normalize(-most, most)
    return colormaps["cividis"], Normalize(low, high if high > low else low + 1)


def _draw(axes: "Axes", cells: Cells, metric: Metric) -> None:
    from matplotlib.patches import Rectangle

    colours, norm = _colours(cells, metric)
    rows, columns = cells.mean.shape
    for (row, column), value in np.ndenumerate(cells.mean):
        known = np.isfinite(value)
        face = colours(norm(value)) if known else "white"
        cell = Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, edgecolor="white", lw=0.8)
        if not known:
            cell.set(hatch="////", edgecolor=style.FAINT)
        axes.add_patch(cell)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5))
    _write_cells(axes, cells, colours, norm)
    _draw_scale(axes, colours, norm)


def _write_cells(axes: "Axes", cells: Cells, colours: "Colormap", norm: "Normalize") -> None:
    """Means in the cells, with half their interval below, as far as there is room."""
    letters = style.small() - 0.5
    width, height = (one / count for one, count in
                     zip(style.inches(axes), reversed(cells.mean.shape), strict=True))  # fmt: skip
    known = np.isfinite(cells.mean)
    means = {at: style.number(cells.mean[at]) for at in zip(*np.nonzero(known), strict=True)}
    halves = {at: f"± {_short(cells.half[at])}" for at in means if np.isfinite(cells.half[at])}
    line = 1.3 * letters / 72
    if any(inches_of(one, letters) > width - 0.08 for one in means.values()) or line > height:
        return
    fits = 2 * line < height - 0.04
    fits &= all(inches_of(one, letters - 1) < width - 0.08 for one in halves.values())
    for (row, column), text in means.items():
        red, green, blue, _ = colours(norm(cells.mean[row, column]))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        ink = "white" if dark else style.INK
        half = halves.get((row, column), "") if fits else ""
        words: dict[str, Any] = {"ha": "center", "va": "center", "color": ink,
                                 "textcoords": "offset points"}  # fmt: skip
        rise = 0.6 * letters if half else 0.0
        axes.annotate(text, (column, row), (0, rise), fontsize=letters, **words)
        axes.annotate(half, (column, row), (0, -rise), fontsize=letters - 1, **words)


def _short(half: float) -> str:
    """Two digits: more of an interval means nothing."""
    return style.number(float(f"{half:.1e}"))


def _draw_scale(axes: "Axes", colours: "Colormap", norm: "Normalize") -> None:
    """The colours and what they stand for, right of the panel."""
    from matplotlib.cm import ScalarMappable

    figure = axes.figure
    width, _ = style.inches(axes)
    box = axes.get_position()
    inch = box.width / width
    place = figure.add_axes((box.x1 + 0.12 * inch, box.y0, 0.11 * inch, box.height))
    bar = figure.colorbar(ScalarMappable(norm, colours), cax=place)
    bar.outline.set_visible(False)
    place.tick_params(length=2, labelsize=style.small() - 0.5)
    place.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")


def _place(axes: "Axes", across: Levels, along: Levels) -> None:
    letters = style.small()
    place_slots(axes, across)
    names = tick_words(along)
    step = math.ceil(len(names) * LEAST_TICK / style.inches(axes)[1])
    axes.set_yticks(range(0, len(names), step), names[::step])
    fits = inches_of(along.label, letters) < style.inches(axes)[1]
    axes.set_ylabel(along.label if fits else along.name)
    left = axes.get_position().x0 / axes.get_position().width  # in widths of the panel
    axes.yaxis.set_label_coords(0.2 / style.inches(axes)[0] - left, 0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(False)
