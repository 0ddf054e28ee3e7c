"""What moves a result most, as a table and as bars."""

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from sharesim.results import style
from sharesim.statistics import Estimate
from sharesim.sweep.metrics import Metric
from sharesim.sweep.sensitivity import METHODS, Design, Findings, Influence
from sharesim.sweep.tune_report import with_interval, with_unit
from sharesim.sweep.vary import Values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 100
UNEVEN = 0.5
"""Effects that spread by more than this share of their mean size are not the same everywhere."""
BAR = 0.42
"""Inches of a bar with its gap."""
HEAD = 0.55
"""Inches above the bars, for title and remark."""


def findings_text(found: Findings, plan: Design, of: Metric) -> str:
    """The ranking with intervals, and what can and cannot be concluded from it."""
    from sharesim.commands.list import aligned

    used = f"{found.used} of {plan.samples}" if found.used < plan.samples else f"{plan.samples}"
    head = f"What moves {of.name} most ({METHODS[plan.method]}, {used} x {plan.block} points)"
    rows = _morris_rows(found, plan, of) if plan.method == "morris" else _sobol_rows(found)
    lines = [head, "", *aligned(rows), ""]
    for remark in remarks(found, plan, of):
        lines += textwrap.wrap(remark, WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def _morris_rows(found: Findings, plan: Design, of: Metric) -> list[list[str]]:
    words = {one.name for one in plan.axes if isinstance(one, Values) and one.scale == "category"}
    rows = [["parameter", "over its range it moves it by", "spread", ""]]
    for one in found.influences:
        spread = one.other if one.other > 1e-9 * one.strength else 0.0  # rounding errors
        cells = [one.name, _amount(one, of), with_unit(of, spread), _kind(one, one.name in words)]
        rows.append(cells)
    return rows


def _amount(one: Influence, of: Metric) -> str:
    return with_interval(of, Estimate(one.strength, one.half_width, 0, 0.95))


def _kind(one: Influence, is_word: bool) -> str:
    """What sign and spread of the effects say; words have no direction."""
    if one.strength == 0:
        return "nothing"
    if one.low <= 0:
        return "not told apart from nothing"
    mean = one.mean or 0.0
    both = abs(mean) < UNEVEN * one.strength
    direction = "up or down" if both else "up" if mean > 0 else "down"
    uneven = both or one.other > UNEVEN * one.strength
    remark = "by how much depends on the other parameters or on where it is" if uneven else ""
    return "; ".join(filter(None, ["" if is_word else direction, remark]))


def _sobol_rows(found: Findings) -> list[list[str]]:
    rows = [["parameter", "share of the variance with others", "alone"]]
    rows += [
        [one.name, _share(one.strength, one.half_width), _share(one.other, one.other_half_width)]
        for one in found.influences
    ]
    return rows


def _share(value: float, half: float | None) -> str:
    interval = "" if half is None else f" ± {half * 100:.0f}"
    return f"{value * 100:.0f}{interval} %"


def remarks(found: Findings, plan: Design, of: Metric) -> list[str]:
    """How far the ranking can be trusted."""
    lines = []
    ties = _ties(found.influences)
    if found.influences[0].strength == 0:
        lines.append(f"{of.name} is the same at all points: nothing moves it there")
    elif ties:
        lines.append(f"their order is not certain, the intervals overlap: {'; '.join(ties)}")
    if found.noise is None:
        lines.append("one replicate: chance counts as an effect here; give --replicates")
    else:
        lines.append(
            f"a point's own 95 % interval is ± {with_unit(of, found.noise)} (median)"
            " over its replicates: what moves the result by less is not an effect"
        )
    if found.failed:
        lost = plan.samples - found.used
        lines.append(
            f"left out, as points of them failed: {lost} of {plan.samples} blocks"
            f" ({found.failed[0]})"
        )
    return lines


def _ties(influences: Sequence[Influence]) -> list[str]:
    """Neighbours in the ranking whose intervals overlap."""
    return [
        f"{one.name} and {other.name}"
        for one, other in pairwise(influences)
        if one.strength > 0 and one.low < other.high
    ]


def plot_findings(found: Findings, plan: Design, of: Metric) -> "Figure":
    """A bar for each parameter with its interval, the most important on top.

    Draw within :func:`sharesim.results.style.settings`.
    """
    count = len(found.influences)
    figure, (axes,) = style.stacked_figure([BAR * count + 0.2], top=HEAD)
    scale, unit = _scale(plan, of)
    places = list(range(count, 0, -1))
    strengths = [one.strength * scale for one in found.influences]
    axes.barh(places, strengths, height=0.62, color=style.SKY, zorder=2)
    axes.errorbar(
        strengths,
        places,
        xerr=[one.half_width * scale for one in found.influences],
        fmt="none",
        ecolor=style.INK,
        elinewidth=1.0,
        capsize=3,
        zorder=3,
    )
    if plan.method == "sobol":
        alone = [one.other * scale for one in found.influences]
        axes.plot(alone, places, "o", color=style.BLUE, markersize=5, zorder=4)
    remark = "± 95 % interval" + ("; dots: each by itself" if plan.method == "sobol" else "")
    style.heading(axes, f"What moves {of.label[0].lower()}{of.label[1:]} most", remark)
    axes.set_yticks(places, [style.shortened(one.name, 14) for one in found.influences])
    axes.set_xlabel(unit)
    axes.set_xlim(left=min(0.0, *(one.low * scale for one in found.influences)))
    axes.grid(False, axis="y")
    return figure


def _scale(plan: Design, of: Metric) -> tuple[float, str]:
    if plan.method == "sobol":
        return 100.0, "Share of the variance (%)"
    unit = "%" if of.percent else of.unit
    label = "Mean change over the parameter's range"
    return (100.0 if of.percent else 1.0), f"{label} ({unit})" if unit else label
