"""The pictures of a sweep's report, with what they show in words."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sharesim.errors import UserError
from sharesim.report.blocks import Block
from sharesim.report.estimates import GAIN, Points
from sharesim.report.picture import picture
from sharesim.report.setup import note
from sharesim.results.run import Run
from sharesim.sweep.manifest import Axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOTTED = ("scanner_cpu", "throughput")
"""Metrics drawn against what was varied, after memory saved and what it costs."""

MOST_CELLS = 600
"""Of a heat map."""


def answer_pictures(points: Points) -> Iterator[Block]:
    """Main metrics against what was varied, the trade-off, and heat maps of two parameters."""
    if len(points.settings) < 2 or not points.sweep.parameters:
        return
    yield from _sweep_picture(points)
    yield from _frontier_picture(points)
    yield from _heat_pictures(points)


def _sweep_picture(points: Points) -> Iterator[Block]:
    from sharesim.results.plot_sweep import plot_sweep

    known = [one.name for one in points.metrics]
    cost = [] if points.cost is None else [points.cost.name]
    chosen = [name for name in dict.fromkeys([GAIN, *cost, *PLOTTED]) if name in known]
    names = ", ".join(points.sweep.metric(name).label.lower() for name in chosen)
    varied = " and ".join(axis.name for axis in points.sweep.parameters)
    yield from _drawn(
        lambda: plot_sweep(points.sweep, y=tuple(chosen)),
        "sweep",
        f"Charts against {varied}: {names}. The same figures are in the table of all points.",
        "Means over the replicates; bars are 95 % intervals."
        if points.replicated
        else "Single runs, so there are no intervals.",
    )


def _frontier_picture(points: Points) -> Iterator[Block]:
    from sharesim.results.plot_frontier import plot_frontier

    cost = points.cost
    if cost is None or len(points.settings) < 3:
        return
    yield from _drawn(
        lambda: plot_frontier(points.sweep, GAIN, cost.name),
        "frontier",
        f"Scatter chart of memory saved against {cost.label.lower()}, a mark for each point;"
        f" {len(points.frontier)} points form the frontier.",
        "The trade-off: points on the line are beaten by no other in both.",
    )


def _heat_pictures(points: Points) -> Iterator[Block]:
    from sharesim.results.plot_heat import plot_heat

    axes = [axis for axis in points.sweep.parameters if _is_numeric(axis)]
    if len(axes) < 2 or not _is_grid(axes[0], axes[1], len(points.settings)):
        return
    x, y = axes[0].name, axes[1].name
    for name in [GAIN] + ([points.cost.name] if points.cost else []):
        metric = points.sweep.metric(name)
        yield from _drawn(
            lambda name=name: plot_heat(points.sweep, name, x, y),  # type: ignore[misc]
            f"heat-{name}",
            f"Heat map of {metric.label.lower()} over {x} and {y}.",
            f"{metric.label} over both parameters.",
        )


def _is_grid(x: Axis, y: Axis, points: int) -> bool:
    """Whether points fill a map of two parameters that is worth one, and can be read."""
    columns, rows = len(x.values), len(y.values)
    return max(columns, rows) >= 3 and columns * rows <= min(MOST_CELLS, 2 * points)


def _is_numeric(axis: Axis) -> bool:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in axis.values)
    return numbers and len(axis.values) > 1


def point_pictures(points: Points, point: int, run: Run) -> Iterator[Block]:
    """One run of one point over its simulated time."""
    yield note(f"One replicate of {points.name(point)}.")
    yield from run_pictures(run)


def run_pictures(run: Run) -> Iterator[Block]:
    """The timeline of a run, and where the time of its vCPUs went."""
    yield from _drawn(
        run.plot,
        "timeline",
        "Timeline of the run: memory by what backs it, memory saved against what perfect sharing"
        " would save, activity of the scanner, and throughput.",
        "The run from its start to its end.",
    )
    yield from _drawn(
        lambda: run.plot(view="time"),
        "time",
        "Where the time of the guests’ vCPUs went, by cause.",
        "Where the time of the vCPUs went.",
    )


def _drawn(draw: "Callable[[], Figure]", name: str, alt: str, caption: str) -> Iterator[Block]:
    """The picture; a note where there is nothing that it could show."""
    try:
        yield picture(draw, name, alt, caption)
    except UserError as error:
        yield note(f"{caption} Not drawn: {error}")
