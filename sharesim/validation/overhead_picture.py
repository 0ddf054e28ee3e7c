"""The picture of overhead cases: throughput and scanner share, simulated beside recorded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sharesim.results import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sharesim.validation.overhead_outcome import Comparison, OverheadOutcome

WIDTH = 10.0  # inches
ROW = 0.26
TOP, BOTTOM, RIGHT = 0.85, 0.4, 0.3
LETTER = 0.075
"""Inches of a letter of the rows' names."""
RECORDED, SIMULATED, TERM = style.ORANGE, style.BLUE, style.GREEN
MARK: dict[str, Any] = {
    "marker": "|",
    "markersize": 11,
    "markeredgewidth": 1.8,
    "linestyle": "",
    "zorder": 5,
}
PALE = 0.45
"""Opacity of what is shown, but not judged."""


def overview(outcomes: Sequence["OverheadOutcome"]) -> "Figure":
    """A line for each variant: relative throughput with its limit, and ksmd's share of a CPU."""
    from matplotlib.figure import Figure

    rows = [one for outcome in outcomes for one in outcome.comparisons]
    names = [_name(one, several=len(outcomes) > 1) for one in rows]
    height, left = TOP + BOTTOM + ROW * len(rows), 0.4 + LETTER * max(map(len, names))
    with style.settings():
        figure = Figure(figsize=(WIDTH, height), facecolor="white")
        room = (WIDTH - left - RIGHT) / WIDTH
        place = (left / WIDTH, BOTTOM / height, 0.62 * room, ROW * len(rows) / height)
        throughput = figure.add_axes(place)
        place = (place[0] + 0.68 * room, place[1], 0.32 * room, place[3])
        share = figure.add_axes(place)
        _draw_throughput(throughput, rows)
        _draw_share(share, rows)
        _name_rows(throughput, rows, names)
        _key(figure, left, height, rows)
    return figure


def _name(one: "Comparison", *, several: bool) -> str:
    return style.shortened(f"{one.case}, {one.variant}" if several else one.variant, 34)


def _draw_throughput(axes: "Axes", rows: Sequence["Comparison"]) -> None:
    style.heading(axes, "throughput, without scanning = 1", "bars: what is tolerated")
    for at, one in enumerate(rows):
        judged = one.verdict != "shown"
        if one.recorded is not None and one.limit is not None:
            axes.errorbar(
                one.recorded.rel, at, xerr=one.limit, fmt="o", color=RECORDED, markersize=5,
                elinewidth=4, alpha=1.0 if judged else PALE,
            )  # fmt: skip
        if one.with_term is not None:
            axes.plot(one.with_term.rel, at, color=TERM, **MARK)
        axes.plot(one.simulated.rel, at, color=SIMULATED, **MARK)
    axes.axvline(1.0, color=style.FAINT, linewidth=0.8, zorder=0)
    _rows(axes, len(rows))


def _draw_share(axes: "Axes", rows: Sequence["Comparison"]) -> None:
    style.heading(axes, "ksmd's share of a CPU")
    for at, one in enumerate(rows):
        if one.recorded is not None:
            axes.plot(one.recorded.ksmd_share, at, "o", color=RECORDED, markersize=5)
        axes.plot(one.simulated.ksmd_share, at, color=SIMULATED, **MARK)
    axes.set_xlim(left=0)
    _rows(axes, len(rows))
    axes.tick_params(labelleft=False)


def _rows(axes: "Axes", count: int) -> None:
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_yticks(range(count))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)


def _name_rows(axes: "Axes", rows: Sequence["Comparison"], names: Sequence[str]) -> None:
    for label, one in zip(axes.set_yticklabels(names), rows, strict=True):
        if one.verdict == "miss":
            label.set_color(style.TEXT_COLOURS[style.VERMILLION])
            label.set_fontweight("bold")


def _key(figure: "Figure", left: float, height: float, rows: Sequence["Comparison"]) -> None:
    """What the colours are, as coloured words above the axes."""
    recorded = "recorded"
    if any(one.verdict == "shown" for one in rows):
        recorded += " (pale: not judged)"
    words = [(SIMULATED, "simulated"), (RECORDED, recorded)]
    if any(one.with_term is not None for one in rows):
        words.append((TERM, "simulated with the term for evicted cache lines"))
    for colour, text in words:
        shown = style.TEXT_COLOURS.get(colour, colour)
        place = (left / WIDTH, 1 - 0.25 / height)
        figure.text(*place, text, color=shown, fontsize=9, fontweight="bold")
        left += 0.35 + LETTER * 1.1 * len(text)
