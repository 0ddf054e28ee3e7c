"""Where time went as pictures: the causes of the vCPUs' ledger, and what the host's CPUs did."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from sharesim.results import style
from sharesim.results.areas import Layer, stack
from sharesim.results.load import TimelineSeries
from sharesim.results.plot_activity import MOST_INTERVALS
from sharesim.results.style import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The causes of the ledger, left to right and bottom to top: work, what it pays for, waiting.
CAUSE_COLOURS = {
    "work": "#9AA5AF",
    "paging": style.PURPLE,
    "sharing": style.BLUE,
    "reclaim": style.ORANGE,
    "interference": style.SKY,
    "interrupted": style.VERMILLION,
    "ready": "#EAD98B",
    "blocked": style.BLACK,
    "idle": style.PALE,
}
COSTS = ("paging", "sharing", "reclaim", "interference", "interrupted")
"""Causes that a guest on a machine of its own would not meet."""
CPU_USES = (
    ("cpu_vcpu_ns", "vCPUs", CAUSE_COLOURS["work"]),
    ("cpu_scanner_ns", "scanner", style.GREEN),
    ("cpu_switch_ns", "switching", style.VERMILLION),
    ("cpu_idle_ns", "idle", style.PALE),
)
MOST_BARS = 12
BAR_INCHES = 0.19
LEAST_WRITTEN = 0.07
"""Share of a bar from which it is written into it."""
LEAST_LABELLED = 0.003
"""Share of an axis that an area must reach somewhere to be named."""


def bars_of(series: TimelineSeries, vms: Sequence[str]) -> list[str]:
    """The VMs that get a bar: those that pay most, where there are many; in their own order."""
    if len(vms) <= MOST_BARS:
        return list(vms)
    paid = {name: sum(_shares(series, [name])[cause] for cause in COSTS) for name in vms}
    chosen = sorted(vms, key=lambda name: -paid[name])[:MOST_BARS]
    return [name for name in vms if name in chosen]


def _shares(series: TimelineSeries, vms: Sequence[str]) -> dict[str, float]:
    """The share of each cause in the vCPUs' time over the window."""
    edges = series.edges(1)
    spent = {
        cause: float(np.nansum([series.growth(name, f"{cause}_ns", edges) for name in vms]))
        for cause in CAUSE_COLOURS
    }
    whole = sum(spent.values())
    return {cause: ns / whole if whole else 0.0 for cause, ns in spent.items()}


def draw_bars(axes: "Axes", series: TimelineSeries, vms: Sequence[str]) -> None:
    """One bar for all VMs together and one for each, divided by cause."""
    shown = bars_of(series, vms)
    left_out = len(vms) - len(shown)
    remark = "paid: for paging, sharing and interruptions"
    remark += f"   ·   {left_out} VMs that pay less are left out" if left_out else ""
    style.heading(axes, "Where the vCPUs' time went", remark)
    rows = [("all", list(vms))] if len(vms) > 1 else []
    rows += [(name, [name]) for name in shown]
    for at, (_, members) in enumerate(rows):
        shares = _shares(series, members)
        _draw_bar(axes, at, shares)
        paid = 100 * sum(shares[cause] for cause in COSTS)
        words = f"{style.number(paid)} % paid" if any(shares.values()) else "no time"
        axes.annotate(words, (1.0, at), (9, 0), textcoords="offset points", va="center",
                      fontsize=style.small(), color=style.INK, annotation_clip=False)  # fmt: skip
    axes.set_yticks(range(len(rows)), [style.shortened(name, 11) for name, _ in rows])
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5))
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.grid(False)


def _draw_bar(axes: "Axes", at: int, shares: dict[str, float]) -> None:
    left = 0.0
    for cause, share in shares.items():
        axes.barh(at, share, 0.78, left, color=CAUSE_COLOURS[cause])
        if share >= LEAST_WRITTEN:
            dark = cause in ("sharing", "blocked", "interrupted")
            axes.text(left + share / 2, at, f"{100 * share:.0f} %", ha="center", va="center",
                      color="white" if dark else style.INK, fontsize=style.small())  # fmt: skip
        left += share


def _over_time(
    series: TimelineSeries, vms: Sequence[str], causes: Sequence[str]
) -> tuple[Floats, list[Layer]]:
    """Edges, and the percentage of all vCPU time in each interval that went to each cause."""
    edges = series.edges(MOST_INTERVALS)
    rates = {cause: series.rate(vms, f"{cause}_ns", edges) for cause in CAUSE_COLOURS}
    whole: Floats = np.nansum(list(rates.values()), axis=0)
    parts = {
        cause: np.divide(100 * rates[cause], whole, out=np.zeros(len(whole)), where=whole > 0)
        for cause in causes
    }
    return edges, [Layer(cause, np.nan_to_num(parts[cause]), CAUSE_COLOURS[cause])
                   for cause in causes]  # fmt: skip


def _mean(layer: Layer, edges: Floats) -> float:
    return float(np.average(layer.values, weights=np.diff(edges)))


def _mean_words(layer: Layer, edges: Floats) -> str:
    return f"{layer.name} {style.number(_mean(layer, edges))}"


def draw_causes(axes: "Axes", series: TimelineSeries, vms: Sequence[str]) -> None:
    """The time of all vCPUs by cause, over time; colours as in the bars."""
    edges, layers = _over_time(series, vms, list(CAUSE_COLOURS))
    style.heading(axes, "All vCPUs over time", "numbers: means", "% of their time")
    axes.set_ylim(0, 100)
    _finish(axes, edges, layers)


def draw_costs(axes: "Axes", series: TimelineSeries, vms: Sequence[str]) -> None:
    """Of that, what the guests pay for: too thin a layer to be seen beside their work."""
    edges, layers = _over_time(series, vms, COSTS)
    title = "Of it, paid for paging, sharing and interruptions"
    highest = float(np.sum([layer.values for layer in layers], axis=0).max(initial=0.0))
    if highest <= 0:
        style.heading(axes, title)
        return style.note(axes, "nothing paid")
    style.heading(axes, title, "numbers: means", "% of vCPU time")
    axes.set_ylim(0, 1.08 * highest)
    _finish(axes, edges, layers)


def draw_cpus(axes: "Axes", series: TimelineSeries) -> None:
    """What the host's CPUs did."""
    edges = series.edges(MOST_INTERVALS)
    rates = [series.rate(["host"], column, edges) for column, _, _ in CPU_USES]
    whole: Floats = np.nansum(rates, axis=0)
    title = "The host's CPUs"
    if not whole.any():
        style.heading(axes, title)
        return style.note(axes, "not recorded")
    cpus = round(float(np.median(whole[whole > 0])) / 1e9)
    style.heading(axes, f"{title} ({cpus})", "numbers: means", "% of their time")
    parts = [np.divide(100 * rate, whole, out=np.zeros(len(whole)), where=whole > 0)
             for rate in rates]  # fmt: skip
    layers = [Layer(name, np.nan_to_num(part), colour)
              for part, (_, name, colour) in zip(parts, CPU_USES, strict=True)]  # fmt: skip
    axes.set_ylim(0, 100)
    _finish(axes, edges, layers)


def _finish(axes: "Axes", edges: Floats, layers: list[Layer]) -> None:
    """Areas up to the top of the axis; those too thin to be seen get no label."""
    words = partial(_mean_words, edges=edges)
    thin = LEAST_LABELLED * axes.get_ylim()[1]
    seen = {words(layer) for layer in layers if layer.values.max() >= thin}
    style.end_labels(axes, [one for one in stack(axes, edges, layers, words) if one.text in seen])
