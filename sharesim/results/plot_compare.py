"""Draws runs over each other: one colour for each, named at the ends of its lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.errors import UserError
from sharesim.results import style
from sharesim.results.compare import Comparison
from sharesim.results.load import Floats, TimelineSeries
from sharesim.results.sides import Side
from sharesim.results.style import EndLabel
from sharesim.results.titled import titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_RUNS = style.MOST_LINES
MOST_INTERVALS = 60
OPERATIONS_PER_INTERVAL = 20
LONGEST_LABEL = 18
DASHES = (0, (4, 3))

Draw = Callable[["Axes", "Sequence[Drawn]"], None]


@dataclass(frozen=True)
class Drawn:
    """A run, its timeline over the seconds shown, and its colour."""

    side: Side
    series: TimelineSeries
    pair: TimelineSeries | None
    colour: str
    width: float
    """Of its lines: the first run's are wider, so that it is seen below one that equals it."""

    @property
    def name(self) -> str:
        """As it is written beside lines."""
        return style.shortened(self.side.label, LONGEST_LABEL)


def plot_comparison(comparison: Comparison) -> "Figure":
    """Saved memory, throughput, loss by sharing, the scanner's CPU and COW breaks over time.

    Over the seconds that all runs simulated; a panel is left out where there is nothing to show.
    Raises UserError for more than MOST_RUNS runs.
    """
    if len(comparison.sides) > MOST_RUNS:
        raise UserError(f"found {len(comparison.sides)} runs; a picture tells {MOST_RUNS} apart")
    with style.settings():
        runs = _drawn(comparison.sides)
        panels = _panels(runs)
        figure, grid = style.stacked_figure([height for height, _ in panels])
        for axes, (_, draw) in zip(grid, panels, strict=True):
            draw(axes, runs)
        for axes in grid[:-1]:
            axes.tick_params(labelbottom=False)
        grid[-1].set_xlabel("simulated time, s")
        grid[-1].set_xlim(0, max(_end(comparison.sides), 1e-9))
        titled(figure, _title(comparison), _subtitle(comparison))
    return figure


def _end(sides: Sequence[Side]) -> float:
    """Where the shortest of the runs ends."""
    return float(min(side.summary["simulated_ns"] for side in sides) / 1e9)


def _drawn(sides: Sequence[Side]) -> list[Drawn]:
    end = _end(sides)
    until = end if end > 0 else None
    runs = []
    for number, (side, colour) in enumerate(zip(sides, style.LINE_COLOURS, strict=False)):
        pair = side.pair_series(0.0, end) if until else None
        runs.append(Drawn(side, side.series(0.0, until), pair, colour, 1.2 if number else 2.6))
    return runs


def _title(comparison: Comparison) -> str:
    first, *others = (style.shortened(label, 24) for label in comparison.labels)
    return style.shortened(f"{first} against {', '.join(others)}", 90)


def _subtitle(comparison: Comparison) -> str:
    names = list(dict.fromkeys(str(side.summary["scenario"]) for side in comparison.sides))
    seeds = list(dict.fromkeys(str(side.summary["seed"]) for side in comparison.sides))
    words = [style.shortened(" / ".join(names), 70)]
    words.append(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}")
    partial_runs = [side.label for side in comparison.sides if side.summary["partial"]]
    if partial_runs:
        words.append(f"partial: {style.shortened(', '.join(partial_runs), 30)}")
    return "   ·   ".join(words)


def _panels(runs: Sequence[Drawn]) -> list[tuple[float, Draw]]:
    panels: list[tuple[float, Draw]] = [(2.4, _draw_saved)]
    guests = _common_guests(runs)
    if guests:
        panels.append((1.6, partial(_draw_throughput, guests=guests)))
        if any(run.pair is not None for run in runs):
            panels.append((1.6, partial(_draw_loss, guests=guests)))
    return [*panels, (1.5, _draw_scanner), (1.5, _draw_breaks)]


def _common_guests(runs: Sequence[Drawn]) -> list[str]:
    """Guests in a closed loop that work in all of the runs."""
    known = [run.side.summary.get("guests", {}) for run in runs]
    return [
        name
        for name in known[0]
        if all(name in one and not one[name]["paced"] and one[name]["operations"] for one in known)
    ]


# Panels


def _draw_saved(axes: "Axes", runs: Sequence[Drawn]) -> None:
    lines = [run.series.samples("host", "saved_pages") for run in runs]
    best = [run.series.samples("host", "opportunity_pages") for run in runs]
    highest = max((float(pages.max(initial=0.0)) for _, pages in lines + best), default=0.0)
    if highest <= 0:
        style.heading(axes, "Memory saved")
        return style.note(axes, "nothing was shared")
    unit = style.memory_unit(highest)
    remark = "dashed: what perfect sharing would save" if any(len(p) for _, p in best) else ""
    style.heading(axes, "Memory saved", remark, unit.name)
    axes.set_ylim(0, 1.05 * highest / unit.raw)
    labels = []
    for run, (times, pages), (at, possible) in zip(runs, lines, best, strict=True):
        axes.plot(at, possible / unit.raw, color=run.colour, linestyle=DASHES, linewidth=0.9)
        axes.plot(times, pages / unit.raw, color=run.colour, linewidth=run.width)
        if len(pages):
            last = float(pages[-1]) / unit.raw
            labels.append(EndLabel(last, f"{run.name}  {style.number(last)}", run.colour))
    style.end_labels(axes, labels)


def _edges(runs: Sequence[Drawn], guests: Sequence[str] = ()) -> list[Floats]:
    """Of each run its own sample times, far enough apart for some tens of operations."""
    most = MOST_INTERVALS
    for run in runs if guests else ():
        done = np.nansum([run.series.growth(n, "operations", run.series.edges(1)) for n in guests])
        most = int(np.clip(done / OPERATIONS_PER_INTERVAL, 8, most))
    return [run.series.edges(most) for run in runs]


def _draw_throughput(axes: "Axes", runs: Sequence[Drawn], *, guests: Sequence[str]) -> None:
    words = guests[0] if len(guests) == 1 else f"{len(guests)} guests in a closed loop"
    style.heading(axes, "Throughput", f"{words}   ·   numbers: means", "operations/s")
    edges = _edges(runs, guests)
    rates = [run.series.rate(guests, "operations", at) for run, at in zip(runs, edges, strict=True)]
    _draw_steps(axes, runs, edges, rates, lambda mean: f"{style.number(mean)}/s")


def _draw_loss(axes: "Axes", runs: Sequence[Drawn], *, guests: Sequence[str]) -> None:
    style.heading(axes, "Throughput lost to sharing", "against the same run without", "%")
    edges = _edges(runs, guests)
    losses = [_loss(run, guests, at) for run, at in zip(runs, edges, strict=True)]
    _draw_steps(axes, runs, edges, losses, lambda mean: f"{style.number(mean)} %", zero=True)


def _loss(run: Drawn, guests: Sequence[str], edges: Floats) -> Floats:
    """Per cent in each interval; NaN where the run has no pair."""
    if run.pair is None:
        return np.full(max(len(edges) - 1, 0), np.nan)
    ours = run.series.rate(guests, "operations", edges)
    alone = run.pair.rate(guests, "operations", edges)
    share = np.divide(ours, alone, out=np.full(len(ours), np.nan), where=alone > 0)
    return np.asarray(100 * (1 - share))


def _draw_scanner(axes: "Axes", runs: Sequence[Drawn]) -> None:
    style.heading(axes, "Scanner", "numbers: means", "% of one CPU")
    edges = _edges(runs)
    rates = [
        1e-7 * run.series.rate(["host"], "cpu_scanner_ns", at)
        for run, at in zip(runs, edges, strict=True)
    ]
    _draw_steps(axes, runs, edges, rates, lambda mean: f"{style.number(mean)} %")


def _draw_breaks(axes: "Axes", runs: Sequence[Drawn]) -> None:
    style.heading(axes, "COW breaks", "numbers: means", "per second")
    edges = _edges(runs)
    rates = [
        run.series.rate(["host"], "cow_breaks", at) for run, at in zip(runs, edges, strict=True)
    ]
    _draw_steps(axes, runs, edges, rates, lambda mean: f"{style.number(mean)}/s")


def _draw_steps(
    axes: "Axes",
    runs: Sequence[Drawn],
    edges: Sequence[Floats],
    rates: Sequence[Floats],
    words: Callable[[float], str],
    *,
    zero: bool = False,
) -> None:
    """A rate of each run in steps, with its mean; ``zero`` marks none, below which a gain lies."""
    known = [rate[np.isfinite(rate)] for rate in rates]
    if not any(len(rate) and np.any(rate != 0) for rate in known):
        return style.note(axes, "none in any of the runs")
    _limits(axes, np.concatenate(known))
    labels = []
    for run, at, rate in zip(runs, edges, rates, strict=True):
        here = np.isfinite(rate)
        if not here.any():
            continue
        axes.stairs(rate, at, baseline=None, color=run.colour, linewidth=run.width)
        mean = float(np.sum((rate * np.diff(at))[here]) / np.diff(at)[here].sum())
        labels.append(EndLabel(float(rate[here][-1]), f"{run.name}  {words(mean)}", run.colour))
    if zero:
        axes.axhline(0, color=style.MUTED, linewidth=0.7)
    style.end_labels(axes, labels)


def _limits(axes: "Axes", values: Any) -> None:
    low, high = float(values.min()), float(values.max())
    axes.set_ylim(min(low * 1.08, 0.0), high * 1.08 if high > 0 else 1.0)
