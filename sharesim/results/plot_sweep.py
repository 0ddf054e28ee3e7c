"""Draws what a sweep found: figures over a parameter, with intervals, one line for each value of
another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.errors import UserError
from sharesim.results import style
from sharesim.results.sizes import PAGE, Size, inches_of
from sharesim.results.style import EndLabel, Floats
from sharesim.results.sweep_axes import (
    HEADING,
    Grid,
    Shown,
    colours_of,
    place_parameter,
    places_of,
    shown_as,
    sweep_grid,
    value_limits,
)
from sharesim.results.sweep_points import Levels, Points, Where, counts_words, value_words
from sharesim.results.titled import Head
from sharesim.sweep.metrics import Metric
from sharesim.sweep.sweep import Sweep

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 12
MOST_MULTIPLES = 4
MOST_BARS = 24
"""Values of x from which on an interval is a band."""


@dataclass(frozen=True)
class Plan:
    """What goes where in the picture."""

    x: Levels
    metrics: tuple[Metric, ...]
    color: Levels | None
    multiples: Levels | None
    """A panel for each of its values."""
    mean_over: tuple[Levels, ...]
    unseen: tuple[Levels, ...]
    """Parameters that vary along with those shown: each dot has its own value of them."""

    @property
    def by(self) -> list[str]:
        """The parameters by which points are told apart."""
        shown = (self.x, self.color, self.multiples)
        return [one.name for one in shown if one is not None]


def plot_sweep(
    sweep: Sweep,
    x: str | None = None,
    y: Sequence[str] = (),
    color: str | None = None,
    *,
    where: Where | None = None,
    size: Size | None = None,
    title: str | None = None,
) -> "Figure":
    """A figure of the metrics ``y`` over the parameter ``x``: means over replicates, with 95 %
    t-intervals, and a line for each value of the parameter ``color``.

    By default x is the first parameter of numbers, y the overhead (or what was saved, where no
    overhead is known) and color the next parameter. Over what else varies there are small
    multiples, or means; the picture says which. ``where`` chooses values of parameters. Without a
    ``title`` there is the sweep's; an empty one leaves it out.

    Raises UserError on unknown parameters and metrics, and where there is nothing to draw.
    """
    size = size or PAGE
    points = Points(sweep, where)
    plan = _plan(points, x, y, color, size)
    table = points.estimates(plan.metrics, plan.by)
    with style.settings(size):
        heading = points.title if title is None else title
        above = HEADING + (0.2 if plan.multiples else 0.0)
        head = Head(size, heading, _remarks(points, plan, table), below=above)
        shape = (len(plan.metrics), len(plan.multiples.values) if plan.multiples else 1)
        grid = sweep_grid(size, head.inches, plan.x, shape, above, _label_inches(plan))
        for row, metric in enumerate(plan.metrics):
            _draw_row(grid, row, metric, plan, table)
        head.write(grid.figure)
        return style.showable(grid.figure)


# --- the plan -------------------------------------------------------------------------------


def _plan(points: Points, x: str | None, y: Sequence[str], color: str | None, size: Size) -> Plan:
    if not points.levels:
        raise UserError(f"{points.sweep.folder}: nothing varies in what is drawn")
    over = points.level(x, "--x") if x else _default_x(points)
    metrics = tuple(points.metric(name, "--y") for name in y or [_default_y(points)])
    lines = points.level(color, "--color") if color else _default_color(points, over)
    if lines is not None and lines.name == over.name:
        raise UserError(f"--color {lines.name}: it is on the x axis already")
    if lines is not None and len(lines.values) > MOST_LINES:
        raise UserError(
            f"--color {lines.name}: it has {len(lines.values)} values, and at most {MOST_LINES}"
            " lines can be told apart; choose some with --where"
        )
    rest = [one for one in points.levels.values() if one not in (over, lines)]
    if not points.is_crossed([one.name for one in (over, lines) if one is not None]):
        return Plan(over, metrics, lines, None, (), tuple(rest))
    fits = len(rest) == 1 and len(rest[0].values) <= MOST_MULTIPLES and not size.is_narrow
    if fits:
        return Plan(over, metrics, lines, rest[0], (), ())
    return Plan(over, metrics, lines, None, tuple(rest), ())


def _default_x(points: Points) -> Levels:
    levels = list(points.levels.values())
    return next((one for one in levels if one.is_numeric), levels[0])


def _default_y(points: Points) -> str:
    return "overhead" if points.table["overhead"].notna().any() else "saved_mib"


def _default_color(points: Points, x: Levels) -> Levels | None:
    """The next parameter, unless a sample gave nearly every point a value of its own."""
    others = [one for one in points.levels.values() if one != x]
    return next((one for one in others if len(one.values) <= style.MOST_LINES), None)


def _label_inches(plan: Plan) -> float:
    if plan.color is None:
        return 0.0
    letters = style.small()
    words = [plan.color.name, *(_line_name(value) for value in plan.color.values)]
    return max(inches_of(one, letters) for one in words) + 0.18


def _line_name(value: Any) -> str:
    return style.shortened(value_words(value), 16)


def _remarks(points: Points, plan: Plan, table: "pandas.DataFrame") -> list[str]:
    """Below the title: what the dots are, and what is not to be seen."""
    counts = [count for one in plan.metrics for count in table[f"{one.name}.count"]]
    words = [points.fixed(), counts_words(counts)]
    if plan.mean_over:
        words.append(f"mean over {' and '.join(one.words() for one in plan.mean_over)}")
    if plan.unseen:
        names = ", ".join(one.name for one in plan.unseen)
        words.append(f"{names} {'varies' if len(plan.unseen) == 1 else 'vary'} from dot to dot")
    words.append(points.left_out())
    if points.incomplete:
        words.append(f"{points.incomplete} incomplete means left out")
    return ["   ·   ".join(word for word in words if word)]


# --- panels ---------------------------------------------------------------------------------


def _draw_row(grid: Grid, row: int, metric: Metric, plan: Plan, table: "pandas.DataFrame") -> None:
    """One metric: a panel, or one for each value of the parameter of the multiples."""
    shown = shown_as(metric, table[metric.name])
    values = plan.multiples.values if plan.multiples else (None,)
    for column, value in enumerate(values):
        axes = grid.panels[row][column]
        mine = table if plan.multiples is None else table[table[plan.multiples.column] == value]
        _head_panel(axes, shown, plan, column, value)
        place_parameter(axes, plan.x)
        axes.tick_params(labelbottom=row == len(plan.metrics) - 1)
        low, high = value_limits(table, metric.name, shown.scale)
        axes.set_ylim(low, high)
        labels = _draw_lines(axes, metric, shown, plan, mine)
        if plan.color is not None and column == len(values) - 1:
            _name_lines(axes, plan.color, labels)


def _head_panel(axes: "Axes", shown: Shown, plan: Plan, column: int, value: Any) -> None:
    """What is drawn: the metric, and of several multiples which."""
    if plan.multiples is None:
        return style.heading(axes, shown.label, "", shown.unit)
    words = f"{plan.multiples.name} = {value_words(value)}"
    first = column == 0
    style.heading(axes, shown.label if first else "", words, shown.unit if first else "",
                  beneath=True)  # fmt: skip
    axes.tick_params(labelleft=first)


def _draw_lines(
    axes: "Axes", metric: Metric, shown: Shown, plan: Plan, table: "pandas.DataFrame"
) -> list[EndLabel]:
    """Dots, intervals, and lines where x has an order; returns what to write at their ends."""
    labels: list[EndLabel] = []
    values: tuple[Any, ...] = plan.color.values if plan.color else (None,)
    for at, (value, colour) in enumerate(zip(values, colours_of(plan.color), strict=True)):
        mine = table if plan.color is None else table[table[plan.color.column] == value]
        places, kept = places_of(plan.x, mine, at, len(values), joined=not plan.unseen)
        parts = [f"{metric.name}{part}" for part in ("", ".low", ".high")]
        mean, low, high = (shown.scale * kept[part].to_numpy(float) for part in parts)
        joined = plan.x.is_numeric and not plan.unseen
        _draw_line(axes, places, (mean, low, high), colour, joined)
        known = mean[np.isfinite(mean)]
        if len(known):
            labels.append(EndLabel(float(known[-1]), _line_name(value), colour))
    return labels


def _draw_line(
    axes: "Axes", x: Floats, estimates: tuple[Floats, Floats, Floats], colour: str, joined: bool
) -> None:
    mean, low, high = estimates
    line = "-" if joined else "none"
    if joined and len(x) > MOST_BARS:
        axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(x, mean, line, color=colour, linewidth=1.2)
        return
    axes.vlines(*np.array([x, low, high])[:, np.isfinite(low)], color=colour, linewidth=0.9)
    axes.plot(x, mean, color=colour, linestyle=line, marker="o", markersize=3.2, linewidth=1.1,
              clip_on=False, zorder=3)  # fmt: skip


def _name_lines(axes: "Axes", color: Levels, labels: list[EndLabel]) -> None:
    """The values at the ends of the lines, below the name of their parameter."""
    style.end_labels(axes, labels)
    axes.annotate(color.name, (1, 1), (9, 5), "axes fraction", "offset points",
                  color=style.MUTED, fontsize=style.small(), annotation_clip=False)  # fmt: skip
