"""The picture of the thesis's study: losses of the grid as bars, beside the sweeps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sharesim.reproductions.losses import Cell
from sharesim.reproductions.thesis_outcome import DESIGNS, DIRECT, SHADOW, Design, Outcome
from sharesim.reproductions.thesis_rows import LEVELS, PAGING_CARRIES, sweeps
from sharesim.reproductions.two_designs import CONDITIONS
from sharesim.results.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    TEXT_COLOURS,
    VERMILLION,
    EndLabel,
    end_labels,
    heading,
    number,
)
from sharesim.results.titled import titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_COLOURS = {SHADOW: BLUE, DIRECT: ORANGE}
_PAGING, _SHARING = SKY, VERMILLION
_LABELS = {SHADOW: "shadow,\ntransparent", DIRECT: "direct,\nparavirtual"}
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
"""Percent, of a log axis."""


def picture(outcome: Outcome) -> "Figure":
    """Bars of both designs under all conditions at the left, the three sweeps at the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 7.4), facecolor="white")
    columns = figure.add_gridspec(
        1, 2, left=0.075, right=0.885, top=0.855, bottom=0.085, width_ratios=(1, 1.15), wspace=0.24
    )
    right = columns[1].subgridspec(3, 1, hspace=0.62)
    titled(
        figure,
        "What paging costs, and what sharing costs",
        "Throughput lost under shadow paging with transparent sharing, and under direct paging with"
        " paravirtual sharing. Costs are estimates for a machine of 2006",
    )
    _bars(figure.add_subplot(columns[0]), outcome)
    for row, sweep in enumerate(sweeps(outcome)):
        axes = figure.add_subplot(right[row])
        heading(axes, f"{sweep.what.capitalize()}, {sweep.conditions} conditions")
        lines = {
            design: [(rate, found.percent) for rate, found in points]
            for design, points in sweep.points.items()
        }
        _losses(axes, lines)
        axes.set_xlabel("pages/s")
        axes.set_ylabel("% lost by sharing")
    _scales(figure.add_subplot(right[2]), outcome)
    return figure


def _bars(axes: "Axes", outcome: Outcome) -> None:
    """Of the native throughput, what paging takes, and on top of it what sharing takes."""
    heading(axes, "Lost of native throughput", unit="%")
    axes.grid(False, axis="x")
    places, names = [], []
    for group, conditions in enumerate(CONDITIONS):
        for at, design in enumerate(DESIGNS):
            place = 2.6 * group + at
            _bar(axes, place, outcome.cells[conditions, design])
            places.append(place)
            names.append(design.name)
        axes.annotate(
            f"{conditions} conditions", (2.6 * group + 0.5, 0), xytext=(0, -30), ha="center",
            xycoords="data", textcoords="offset points", color=INK, annotation_clip=False,
        )  # fmt: skip
    axes.set_xticks(places, names)
    axes.tick_params(axis="x", length=0)
    highest = max(cell.total.percent or 0.0 for cell in outcome.cells.values())
    axes.set_ylim(0, max(highest, 1.0) * 1.2)
    for row, (words, colour) in enumerate((("paging", _PAGING), ("sharing", _SHARING))):
        height = 0.94 - 0.045 * row
        axes.text(0.02, height, "■", color=colour, transform=axes.transAxes)
        axes.text(
            0.06, height, f"lost by {words}", color=TEXT_COLOURS[colour], transform=axes.transAxes
        )


def _bar(axes: "Axes", place: float, cell: Cell) -> None:
    total, share = cell.total.percent or 0.0, cell.paging_share.percent
    paging = total * (100.0 if share is None else share) / 100
    axes.bar(place, paging, 0.8, color=_PAGING)
    axes.bar(place, total - paging, 0.8, bottom=paging, color=_SHARING)
    axes.annotate(
        f"{number(paging)} +\n{number(total - paging)}", (place, total), xytext=(0, 3), ha="center",
        textcoords="offset points", color=MUTED, fontsize=8,
    )  # fmt: skip


def _losses(axes: "Axes", lines: Mapping[Design, Sequence[tuple[float, float | None]]]) -> None:
    """Log over log, with the levels that are looked for."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    shown = [percent for points in lines.values() for _, percent in points if percent]
    axes.set_ylim(min([*shown, LEVELS[0]]) / 1.4, max([*shown, LEVELS[-1]]) * 1.4)
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in _TICKS if low <= tick <= high])
    rates = sorted({rate for points in lines.values() for rate, _ in points})
    axes.set_xticks(rates)
    _plain(axes.xaxis)
    _plain(axes.yaxis)
    for level in LEVELS:
        axes.axhline(level, color=INK, lw=0.8, ls=(0, (4, 3)))
    labels = []
    for design, points in lines.items():
        above = [(rate, percent) for rate, percent in points if percent is not None and percent > 0]
        if above:
            axes.plot(*zip(*above, strict=True), "o-", color=_COLOURS[design], ms=3.5)
            labels.append(EndLabel(above[-1][1], _LABELS[design], _COLOURS[design]))
    end_labels(axes, labels)


def _plain(axis: "Axis") -> None:
    """Numbers without exponents, and none at the minor ticks."""
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.set_minor_formatter(lambda _value, _: "")


def _scales(axes: "Axes", outcome: Outcome) -> None:
    """Paging's share of the shadow design's loss, against what multiplies the cost of tables."""
    heading(axes, "Cost of shadow tables", "shadow + transparent")
    axes.axhline(PAGING_CARRIES, color=INK, lw=0.8, ls=(0, (4, 3)))
    labels = []
    for conditions, colour in zip(CONDITIONS, (GREEN, PURPLE, INK), strict=True):
        shares = [(at, cell.paging_share.percent) for at, cell in outcome.scales[conditions]]
        known = [(at, share) for at, share in shares if share is not None]
        if known:
            axes.plot(*zip(*known, strict=True), "o-", color=colour, ms=3.5)
            labels.append(EndLabel(known[-1][1], conditions, colour))
    axes.set_ylim(0, 104)
    axes.set_xlabel("shadow_scale (1: as VMware Workstation, 2003)")
    axes.set_ylabel("% by paging")
    axes.axvline(1.0, color=FAINT, lw=0.8, zorder=0)
    end_labels(axes, labels)
