"""Draws the trade-off of two metrics: each point of a sweep, and those that no other one beats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.errors import UserError, nearest
from sharesim.results import style
from sharesim.results.frontier import Bools, non_dominated
from sharesim.results.labels import label_points
from sharesim.results.sizes import PAGE, Size, inches_of
from sharesim.results.style import Floats
from sharesim.results.sweep_axes import HEADING, Shown, one_panel, shown_as, value_limits
from sharesim.results.sweep_points import Levels, Points, Where, counts_words, value_words
from sharesim.results.titled import MARGIN, Head
from sharesim.sweep.metrics import Metric
from sharesim.sweep.sweep import Sweep

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIRECTIONS = ("high", "low")
MOST_LABELS = 12
"""Points of the frontier that are labelled; of more, some of them all along it."""
MOST_WRITTEN = 2
"""Parameters that are written beside a point; of more, a key at the foot has the values."""
ROOM = 0.08
"""Share of an axis that is added where no point can be."""
LINE = 0.16
"""Inches of height of a line of the key."""


@dataclass(frozen=True)
class Aim:
    """A metric, which way it is better, and how it is shown."""

    metric: Metric
    better: str
    shown: Shown

    @property
    def column(self) -> str:
        """Its name and unit, as the head of a column."""
        return f"{self.metric.name}, {self.shown.unit}" if self.shown.unit else self.metric.name

    def values(self, table: "pandas.DataFrame", part: str = "") -> Floats:
        """The metric of the rows of a table, as shown."""
        return np.asarray(self.shown.scale * table[self.metric.name + part].to_numpy(float))


def plot_frontier(
    sweep: Sweep,
    first: str,
    second: str,
    *,
    where: Where | None = None,
    size: Size | None = None,
    title: str | None = None,
) -> "Figure":
    """A figure of each point's two metrics, with their 95 % t-intervals.

    The points that no other one beats in both, by their means, are joined, and labelled with their
    parameters. Which way a metric is better follows from what it is, or from its name:
    ``counters.merges:high``. ``where``, ``size`` and ``title`` as of ``plot_sweep``.

    Raises UserError on unknown metrics, equal ones, and those without a known direction.
    """
    size = size or PAGE
    points = Points(sweep, where)
    (one, better), (two, also) = (_aim(points, name) for name in (first, second))
    if one.name == two.name:
        raise UserError(f"--frontier {first} {second}: a trade-off needs two different metrics")
    table = points.estimates([one, two], list(points.levels) or list(points.all_levels))
    aims = (
        Aim(one, better, shown_as(one, table[one.name])),
        Aim(two, also, shown_as(two, table[two.name])),
    )
    best = non_dominated(table[[one.name, two.name]].to_numpy(float), [better, also])
    front = _labelled(table[best], aims[0])
    key = _key(points, table[best])
    with style.settings(size):
        heading = points.title if title is None else title
        head = Head(size, heading, _remarks(points, aims, table, best, key), below=HEADING)
        foot = LINE * len(key.lines(front, aims))
        figure, axes = one_panel(size, head.inches, 3.2, aims[0].shown.both, foot=foot)
        style.heading(axes, aims[1].shown.both)
        _draw(axes, aims, table, best)
        if key.parameters:
            _label(axes, aims, front, key)
            _write_key(figure, aims, front, key)
        head.write(figure)
        return style.showable(figure)


def _aim(points: Points, text: str) -> tuple[Metric, str]:
    """A metric and which way is better; ``NAME:high`` or ``NAME:low`` says it."""
    name, colon, asked = text.partition(":")
    if colon and asked not in DIRECTIONS:
        raise UserError(f"--frontier {text}: found '{asked}'{nearest(asked, DIRECTIONS)}")
    metric = points.metric(name, "--frontier")
    better = asked or metric.better
    if not better:
        raise UserError(
            f"--frontier {text}: whether much or little of it is better is not known;"
            f" write {name}:high or {name}:low"
        )
    return metric, better


# --- words ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """How the best points are named: by the values of one or two parameters, or by numbers."""

    parameters: tuple[Levels, ...]
    """Those in which they differ."""

    @property
    def is_numbered(self) -> bool:
        """Whether their parameters are too many to be written beside them."""
        return len(self.parameters) > MOST_WRITTEN

    def labels(self, front: "pandas.DataFrame") -> list[str]:
        """What is written beside each."""
        if self.is_numbered:
            return [str(number) for number in range(1, len(front) + 1)]
        columns = [[value_words(value) for value in front[one.column]] for one in self.parameters]
        return [" · ".join(row) for row in zip(*columns, strict=True)]

    def lines(self, front: "pandas.DataFrame", aims: Sequence[Aim]) -> list[list[str]]:
        """A header, and a line for each numbered point; none where the labels say it all."""
        if not self.is_numbered:
            return []
        header = ["", *(one.name for one in self.parameters), *(aim.column for aim in aims)]
        columns = [self.labels(front)]
        columns += [[value_words(value) for value in front[one.column]] for one in self.parameters]
        columns += [[style.number(value) for value in aim.values(front)] for aim in aims]
        return [header, *(list(row) for row in zip(*columns, strict=True))]


def _key(points: Points, front: "pandas.DataFrame") -> Key:
    levels = points.levels.values()
    return Key(tuple(one for one in levels if front[one.column].map(str).nunique() > 1))


def _labelled(front: "pandas.DataFrame", aim: Aim) -> "pandas.DataFrame":
    """The best points from left to right; of very many, some all along."""
    ordered = front.sort_values(aim.metric.name)
    if len(ordered) <= MOST_LABELS:
        return ordered
    return ordered.iloc[np.linspace(0, len(ordered) - 1, MOST_LABELS).round().astype(int)]


def _remarks(
    points: Points,
    aims: tuple[Aim, Aim],
    table: "pandas.DataFrame",
    best: Bools,
    key: Key,
) -> list[str]:
    counts = [count for aim in aims for count in table[f"{aim.metric.name}.count"]]
    front = table[best]
    words = [
        points.fixed(),
        counts_words(counts),
        f"joined: {len(front)} of {len(table)} points that none beats in both",
    ]
    same = [one for one in points.levels.values() if one not in key.parameters and len(front)]
    alike = ", ".join(f"{one.name} = {value_words(front[one.column].iloc[0])}" for one in same)
    if alike:
        words.append(f"all of these: {alike}" if len(front) > 1 else f"it has {alike}")
    if key.parameters and not key.is_numbered:
        some = f" ({MOST_LABELS} of {len(front)} points)" if len(front) > MOST_LABELS else ""
        words.append(f"labels{some}: {' · '.join(one.name for one in key.parameters)}")
    words.append(points.left_out())
    return ["   ·   ".join(word for word in words if word)]


# --- the panel ------------------------------------------------------------------------------


def _draw(axes: "Axes", aims: tuple[Aim, Aim], table: "pandas.DataFrame", best: Bools) -> None:
    (x, left, right), (y, lower, upper) = (
        (aim.values(table), aim.values(table, ".low"), aim.values(table, ".high")) for aim in aims
    )
    axes.set(xlim=_limits(aims[0], table), ylim=_limits(aims[1], table))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    for chosen, colour, order in ((~best, style.FAINT, 2), (best, style.BLUE, 4)):
        if not chosen.any():
            continue
        bars = np.array([x, left, right, y, lower, upper])[:, chosen & np.isfinite(left + lower)]
        thin: dict[str, Any] = {"color": colour, "linewidth": 0.8, "zorder": order}
        axes.hlines(bars[3], bars[1], bars[2], **thin)
        axes.vlines(bars[0], bars[4], bars[5], **thin)
        axes.plot(x[chosen], y[chosen], "o", color=colour, markersize=4, clip_on=False,
                  zorder=order + 0.1)  # fmt: skip
    _draw_stairs(axes, aims, x[best], y[best])


def _limits(aim: Aim, table: "pandas.DataFrame") -> tuple[float, float]:
    """Ends of an axis, with some room for labels on the better side."""
    low, high = value_limits(table, aim.metric.name, aim.shown.scale)
    room = ROOM * (high - low)
    return (low - room, high) if aim.better == "low" else (low, high + room)


def _draw_stairs(axes: "Axes", aims: tuple[Aim, Aim], x: Floats, y: Floats) -> None:
    """The border of what the best points beat: a staircase through them."""
    order = np.lexsort((y, x))
    # The corner between two points is reached by neither: it has the worse of both.
    rises_late = aims[0].better == "low"
    axes.step(
        x[order],
        y[order],
        where="post" if rises_late else "pre",
        color=style.BLUE,
        linewidth=0.9,
        zorder=3,
    )


def _label(axes: "Axes", aims: tuple[Aim, Aim], front: "pandas.DataFrame", key: Key) -> None:
    """Labels of the best points, on the side where no other point can be."""
    points = np.column_stack([aim.values(front) for aim in aims])
    first, second = (1.0 if aim.better == "high" else -1.0 for aim in aims)
    label_points(axes, points, key.labels(front), (first, second), style.small() - 1)


def _write_key(
    figure: "Figure", aims: tuple[Aim, Aim], front: "pandas.DataFrame", key: Key
) -> None:
    """A row for each numbered point at the foot of the picture."""
    lines = key.lines(front, aims)
    if not lines:
        return
    letters = style.small() - 0.5
    width, height = figure.get_size_inches()
    gaps = [
        max(inches_of(cell, letters) for cell in column) + 0.16
        for column in zip(*lines, strict=True)
    ]
    while len(gaps) > 2 and sum(gaps) > (1 - 2 * MARGIN) * width:
        gaps.pop()  # the figures, which can be seen
    starts = MARGIN * width + np.concatenate([[0.0], np.cumsum(gaps)])
    for row, cells in enumerate(lines):
        up = (0.08 + LINE * (len(lines) - 1 - row)) / height
        for left, cell in zip(starts, cells[: len(gaps)], strict=False):
            colour = style.INK if row else style.MUTED
            figure.text(left / width, up, cell, fontsize=letters, color=colour)
