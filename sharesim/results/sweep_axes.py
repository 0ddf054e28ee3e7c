"""Axes of the pictures of sweeps: panels, parameters as axes, metrics in units that read well."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.results import style
from sharesim.results.sizes import Size, balanced, inches_of
from sharesim.results.style import Floats
from sharesim.results.sweep_points import Levels, value_words
from sharesim.sweep.metrics import Metric

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BETWEEN = 0.34
"""Inches between panels that share the y axis."""
OVERHANG = 0.12
"""Inches right of panels without labels there, for half of the last tick's number."""
HEADING = 0.36
"""Inches above a panel for its heading."""


@dataclass(frozen=True)
class Grid:
    """A figure and its panels, by row and column."""

    figure: "Figure"
    panels: list[list["Axes"]]


def sweep_grid(
    size: Size, top: float, x: Levels, shape: tuple[int, int], heading: float, labels: float
) -> Grid:
    """Panels over ``x``, with its name below them: a row for each metric, and columns.

    ``top``, ``heading`` and ``labels`` are inches above all panels, above those of further rows,
    and right of the last column. Raises UserError where the panels do not fit into the height of
    ``size``.
    """
    from matplotlib.figure import Figure

    rows, columns = shape
    left = size.margins.left
    room = size.width - left - max(labels, OVERHANG) - 0.06
    width = (room - BETWEEN * (columns - 1)) / columns
    usual = (2.3 if rows == 1 else 1.7) * (0.8 if size.is_narrow else 1.0)
    name = balanced(x.label, size.text, room + 0.3)
    below = tick_inches(x, width) + (name.count("\n") + 1) * 1.35 * size.text / 72 + 0.06
    around = top + below + (heading + 0.08) * (rows - 1)
    height = size.stretch([usual] * rows, around) * usual
    total = around + height * rows
    figure = Figure(figsize=(size.width, total), facecolor="white")
    panels: list[list[Axes]] = []
    for row in range(rows):
        lower = total - top - height * (row + 1) - (heading + 0.08) * row
        boxes = [(left + (width + BETWEEN) * column, lower) for column in range(columns)]
        panels.append([
            figure.add_axes((one / size.width, two / total, width / size.width, height / total))
            for one, two in boxes
        ])  # fmt: skip
    middle = (left + room / 2) / size.width
    figure.text(middle, 0.06 / total, name, ha="center", color=style.MUTED, linespacing=1.15)
    return Grid(figure, panels)


def one_panel(
    size: Size,
    top: float,
    height: float,
    x: str,
    *,
    left: float = 0.0,
    right: float = OVERHANG,
    foot: float = 0.0,
) -> "tuple[Figure, Axes]":
    """A panel of a usual ``height`` whose horizontal axis is named ``x``, and room below it; all
    in inches.

    Raises UserError where it does not fit into the height of ``size``.
    """
    from matplotlib.figure import Figure

    left = left or size.margins.left
    width = size.width - left - right - 0.06
    words = balanced(x, size.text, width + 0.3)
    bottom = foot + 0.38 + (words.count("\n") + 1) * 1.35 * size.small / 72
    inside = height * (0.8 if size.is_narrow else 1.0)
    inside *= size.stretch([inside], top + bottom)
    total = top + inside + bottom
    figure = Figure(figsize=(size.width, total), facecolor="white")
    box = (left / size.width, bottom / total, width / size.width, inside / total)
    axes = figure.add_axes(box)
    axes.set_xlabel(words, linespacing=1.1)
    return figure, axes


# Metrics


@dataclass(frozen=True)
class Shown:
    """How a metric is written: its label, the unit of the axis, and by what it is multiplied."""

    label: str
    unit: str
    scale: float

    @property
    def both(self) -> str:
        """Label and unit in one."""
        return f"{self.label}, {self.unit}" if self.unit else self.label


def shown_as(metric: Metric, values: "pandas.Series | Sequence[float]") -> Shown:
    """A metric in the unit in which its values read well: %, MiB, ms."""
    known = np.asarray(values, dtype=np.float64)
    known = np.abs(known[np.isfinite(known)])
    highest = float(known.max(initial=0.0))
    if metric.percent:
        return Shown(metric.label, "%", 100.0)
    if metric.unit == "pages":
        unit = style.memory_unit(highest)
        return Shown(metric.label, unit.name, 1 / unit.raw)
    if metric.unit == "ns":
        name, raw = next(
            (pair for pair in (("s", 1e9), ("ms", 1e6), ("us", 1e3)) if highest >= pair[1]),
            ("ns", 1.0),
        )
        return Shown(metric.label, name, 1 / raw)
    for name, raw in (("billion", 1e9), ("million", 1e6)):
        if highest >= raw:
            return Shown(metric.label, f"{name} {metric.unit}".strip(), 1 / raw)
    return Shown(metric.label, metric.unit, 1.0)


FARTHEST = 1.5
"""How far beyond the means an axis follows their intervals, in spans of the means."""


def value_limits(table: "pandas.DataFrame", name: str, scale: float) -> tuple[float, float]:
    """Ends of an axis that holds the means, and their intervals unless these are much wider.

    It begins at zero where that is not far away.
    """
    mean = scale * table[name].to_numpy(float)
    mean = mean[np.isfinite(mean)]
    least, most = float(mean.min()), float(mean.max())
    span = most - least or 0.2 * max(abs(least), abs(most)) or 1.0
    ends = scale * table[[f"{name}.low", f"{name}.high"]].to_numpy(float)
    ends = ends[np.isfinite(ends)]
    low = max(float(ends.min(initial=least)), least - FARTHEST * span)
    high = min(float(ends.max(initial=most)), most + FARTHEST * span)
    if 0 <= least <= 0.6 * most:
        low = min(low, 0.0)
    if most <= 0:
        high = max(high, 0.0)
    room = 0.06 * (high - low) or span / 2
    return (0.0 if low == 0 else low - room), (0.0 if high == 0 and most < 0 else high + room)


# Parameters


def colours_of(color: Levels | None) -> list[str]:
    """A colour for each line: of seven well known ones, or in order of a scale for more."""
    if color is None:
        return [style.BLUE]
    count = len(color.values)
    if count <= style.MOST_LINES:
        return list(style.LINE_COLOURS[:count])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["cividis"](at)) for at in np.linspace(0.0, 0.92, count)]


def places_of(
    x: Levels, table: "pandas.DataFrame", at: int, count: int, *, joined: bool
) -> tuple[Floats, "pandas.DataFrame"]:
    """Where the rows of a table lie along the x axis, and the rows in that order.

    Numbers are their own places; with ``joined`` those without a row get an empty one, at which a
    line breaks. Other values have places 0, 1, ..., and the lines, of which this is number ``at``
    of ``count``, stand side by side.
    """
    import pandas as pd

    if x.is_numeric and not joined:
        rows = table.sort_values(x.column)
        return rows[x.column].to_numpy(float), rows
    order = pd.DataFrame({x.column: list(x.values)}).astype({x.column: table[x.column].dtype})
    rows = order.merge(table, on=x.column, how="left")
    if x.is_numeric:
        return rows[x.column].to_numpy(float), rows
    index = {value: place for place, value in enumerate(x.values)}
    places = rows[x.column].map(index).to_numpy(float)
    return places + min(0.12, 0.6 / count) * (at - (count - 1) / 2), rows


def tick_inches(levels: Levels, width: float) -> float:
    """Height of the ticks below panels that are ``width`` inches wide."""
    if levels.is_numeric or not _is_crowded(levels, width):
        return 0.24
    return 0.24 + 0.5 * max(inches_of(word, style.small()) for word in tick_words(levels))


def tick_words(levels: Levels) -> list[str]:
    """The values of a parameter as ticks of an axis."""
    return [style.shortened(value_words(value), 14) for value in levels.values]


def _is_crowded(levels: Levels, width: float) -> bool:
    """Whether words below an axis would touch if they were level."""
    words = tick_words(levels)
    slot = width / len(words) - 0.08
    return any(inches_of(word, style.small()) > slot for word in words)


def place_parameter(axes: "Axes", levels: Levels) -> None:
    """A parameter as the horizontal axis of a panel: ticks at its values where they fit."""
    width = style.inches(axes)[0]
    axes.grid(levels.is_numeric, axis="x", which="major")
    if levels.is_numeric:
        return _place_numbers(axes, levels, width)
    place_slots(axes, levels)


def place_slots(axes: "Axes", levels: Levels) -> None:
    """A place of its own for each value: 0, 1, ...; where their words would touch they are turned,
    and of numbers some are left out."""
    words = tick_words(levels)
    width = style.inches(axes)[0]
    crowded = _is_crowded(levels, width)
    turned = crowded and not levels.is_numeric
    widest = max(inches_of(word, style.small()) for word in words) + 0.08
    step = math.ceil(widest * len(words) / width) if crowded and not turned else 1
    axes.set_xticks(range(0, len(words), step), words[::step], rotation=30 if turned else 0,
                    ha="right" if turned else "center", rotation_mode="anchor")  # fmt: skip
    axes.set_xlim(-0.5, len(words) - 0.5)


def _place_numbers(axes: "Axes", levels: Levels, width: float) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter

    values = np.asarray(levels.values, dtype=np.float64)
    places = np.log10(values) if levels.is_log else values
    margin = 0.04 * float(np.ptp(places))
    low, high = float(places.min()) - margin, float(places.max()) + margin
    if levels.is_log:
        axes.set_xscale("log")
        axes.set_xlim(10**low, 10**high)
    else:
        axes.set_xlim(low, high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: value_words(value)))
    ticks = fitting_ticks(levels, width / (high - low), style.small())
    if ticks is not None:
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(FixedLocator([]))


def fitting_ticks(levels: Levels, inches: float, letters: float) -> list[float] | None:
    """The values themselves if their numbers fit beside one another, at ``inches`` for a unit (or
    a decade) of the axis; else whole decades, or as many of the values as fit; None for an axis
    without decades, which finds round numbers itself."""
    if _fit(levels.values, levels.is_log, inches, letters):
        return [float(value) for value in levels.values]
    if not levels.is_log:
        return None
    low, high = (float(np.log10(value)) for value in (levels.values[0], levels.values[-1]))
    decades = [10.0**power for power in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
    for step in (1, 2, 3):
        if len(decades[::step]) >= 2 and _fit(decades[::step], True, inches, letters):
            return decades[::step]
    chosen = [float(levels.values[0])]
    for value in levels.values[1:]:
        if _fit([chosen[-1], value], True, inches, letters):
            chosen.append(float(value))
    return chosen


def _fit(values: Sequence[Any], is_log: bool, inches: float, letters: float) -> bool:
    numbers = np.asarray(values, dtype=np.float64)
    places = inches * (np.log10(numbers) if is_log else numbers)
    widths = np.array([inches_of(value_words(value), letters) for value in values])
    return bool((np.diff(places) > (widths[1:] + widths[:-1]) / 2 + 0.08).all())
