"""The picture of a replayed KSM case: each counter, simulated over all recorded repeats."""

from typing import TYPE_CHECKING

import numpy as np

from sharesim.results import style
from sharesim.validation.ksm_outcome import KsmOutcome, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = (
    "pages_shared",
    "pages_sharing",
    "pages_unshared",
    "pages_volatile",
    "pages_scanned",
    "pages_skipped",
    "full_scans",
    "ksm_zero_pages",
    "cow_ksm",
    "stable_node_dups",
    "pages_to_scan",
    "ksmd_cpu_ns",
)
"""Counters as read from left to right; what never moves is left out."""
COLUMNS = 2
RECORDED, SIMULATED = style.ORANGE, style.BLUE
WIDTH, HEIGHT = 11.5, 1.55  # inches, of the figure and of a panel
TOP, BOTTOM, ROW_GAP = 1.0, 0.55, 0.5
LEFT, RIGHT, COLUMN_GAP = 0.75, 0.3, 0.75


def overlay(outcome: KsmOutcome) -> "Figure":
    """Small multiples of the counters over time: recorded broad, simulated thin on top of it."""
    from matplotlib.figure import Figure

    moving = [panel for panel in PANELS if _moves(outcome, panel)] or list(PANELS[:1])
    rows = -(-len(moving) // COLUMNS)
    total = TOP + rows * HEIGHT + (rows - 1) * ROW_GAP + BOTTOM
    width = (WIDTH - LEFT - RIGHT - (COLUMNS - 1) * COLUMN_GAP) / COLUMNS
    with style.settings():
        figure = Figure(figsize=(WIDTH, total), facecolor="white")
        for place, counter in enumerate(moving):
            row, column = divmod(place, COLUMNS)
            left = LEFT + column * (width + COLUMN_GAP)
            bottom = total - TOP - HEIGHT - row * (HEIGHT + ROW_GAP)
            box = (left / WIDTH, bottom / total, width / WIDTH, HEIGHT / total)
            axes = figure.add_axes(box)
            _draw(axes, outcome, counter)
            if place + COLUMNS < len(moving):
                axes.tick_params(labelbottom=False)
            else:
                axes.set_xlabel("s")
        _head(figure, outcome, total)
    return figure


def _moves(outcome: KsmOutcome, counter: str) -> bool:
    lines = [one[counter] for one in (outcome.simulated, *outcome.recorded.values())]
    return any(float(np.ptp(line)) > 0 for line in lines)


def _draw(axes: "Axes", outcome: KsmOutcome, counter: str) -> None:
    scale = 1e9 if counter.endswith("_ns") else 1.0
    errors = outcome.errors[counter]
    name = counter.replace("_ns", ", s")
    remark = f"error {percent(errors.error)}"
    if errors.spread is not None:
        remark += f", repeats differ by {percent(errors.spread)}"
    style.heading(axes, name, remark)
    for one in outcome.recorded.values():
        axes.plot(one.times / 1e9, one[counter] / scale, color=RECORDED, alpha=0.55, linewidth=3.2)
    simulated = outcome.simulated
    axes.plot(simulated.times / 1e9, simulated[counter] / scale, color=SIMULATED, linewidth=1.0)
    axes.set_xlim(0, outcome.recorded_case.duration_ns / 1e9)
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))


def _head(figure: "Figure", outcome: KsmOutcome, height: float) -> None:
    case = outcome.recorded_case
    missed = f"{outcome.misses} beyond their limits" if outcome.misses else "all within limits"
    count = len(outcome.recorded)
    repeats = "1 repeat" if count == 1 else f"{count} repeats"
    left, words = LEFT / WIDTH, f"{case.title}   ·   {missed}"
    figure.text(left, 1 - 0.33 / height, case.name, fontsize=15, fontweight="bold", color=style.INK)
    figure.text(left, 1 - 0.58 / height, words, fontsize=9.5, color=style.MUTED)
    right, line = 1 - RIGHT / WIDTH, 1 - 0.33 / height
    for text, colour in ((f"recorded, {repeats}", RECORDED), ("simulated", SIMULATED)):
        ink = style.TEXT_COLOURS.get(colour, colour)
        figure.text(right, line, text, ha="right", fontweight="bold", color=ink)
        line -= 0.2 / height
