"""KSM's counters as pictures: what sysfs says is saved beside what is, and the pages it tracks."""

from typing import TYPE_CHECKING

import numpy as np

from sharesim.results import style
from sharesim.results.areas import Layer, stack
from sharesim.results.load import TimelineSeries
from sharesim.results.style import EndLabel, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The states of a tracked page, bottom to top; together they are rmap_items.
STATES = (
    ("pages_shared", "shared", style.BLUE),
    ("pages_sharing", "sharing", style.GREEN),
    ("pages_unshared", "unshared", style.ORANGE),
    ("pages_volatile", "volatile", style.PALE),
)


def ksm_of(series: TimelineSeries) -> str | None:
    """The policy of a timeline that has KSM's counters, if one has."""
    for policy in series.policies:
        if all(series.has(policy, column) for column, _, _ in STATES):
            return policy
    return None


def _counter(series: TimelineSeries, column: str) -> Floats:
    """A counter at the policy's samples; zeros where it is not recorded."""
    policy = ksm_of(series) or ""
    times, _ = series.samples(policy, "pages_sharing")
    return np.nan_to_num(series.at(policy, column, times))


def draw_counted_saving(axes: "Axes", series: TimelineSeries) -> None:
    """``pages_sharing + ksm_zero_pages`` over time, the true saving, and the area between them."""
    title = "Saved as KSM counts it, and really"
    times, sharing = series.samples(ksm_of(series) or "", "pages_sharing")
    counted = sharing + _counter(series, "ksm_zero_pages")
    saved = np.nan_to_num(series.at("host", "saved_pages", times))
    highest = float(max(counted.max(initial=0.0), saved.max(initial=0.0)))
    if highest <= 0:
        style.heading(axes, title)
        return style.note(axes, "nothing merged")
    unit = style.memory_unit(highest)
    style.heading(axes, title, _difference(times, counted - saved), unit.name)
    over, under = counted / unit.raw, saved / unit.raw
    for more, colour in ((over > under, style.VERMILLION), (over < under, style.SKY)):
        axes.fill_between(times, over, under, where=more, color=colour, alpha=0.35, lw=0,
                          interpolate=True)  # fmt: skip
    axes.plot(times, over, color=style.VERMILLION, linewidth=1.2)
    axes.plot(times, under, color=style.INK, linewidth=1.4)
    axes.set_ylim(0, 1.08 * highest / unit.raw)
    style.end_labels(
        axes,
        [
            EndLabel(float(over[-1]), f"counted {style.number(over[-1])}", style.VERMILLION),
            EndLabel(float(under[-1]), f"really saved {style.number(under[-1])}", style.INK),
        ],
    )


def _difference(times: Floats, excess: Floats) -> str:
    """Where the counters are off most, in words."""
    at = int(np.argmax(np.abs(excess)))
    if not excess[at]:
        return "counted: pages_sharing + ksm_zero_pages"
    size = abs(float(excess[at]))
    side = "over" if excess[at] > 0 else "under"
    off = f"{style.amount(size, style.memory_unit(size))} {side} at {style.number(times[at])} s"
    return f"counted: pages_sharing + ksm_zero_pages   ·   most off: {off}"


def draw_tracked_pages(axes: "Axes", series: TimelineSeries) -> None:
    """The pages that ksmd has met, by what its counters call them."""
    title = "Pages that ksmd tracks, as it counts them"
    times, _ = series.samples(ksm_of(series) or "", "pages_sharing")
    layers = [_counter(series, column) for column, _, _ in STATES]
    total: Floats = np.sum(layers, axis=0)
    if not total.max(initial=0.0) > 0:
        style.heading(axes, title)
        return style.note(axes, "ksmd has met no page")
    unit = style.memory_unit(float(total.max()))
    scans = _counter(series, "full_scans")
    style.heading(axes, title, f"full_scans: {scans[-1]:,.0f}", unit.name)
    named = zip(layers, STATES, strict=True)
    labels = stack(
        axes, times, [Layer(name, layer / unit.raw, colour) for layer, (_, name, colour) in named]
    )
    axes.plot(times, total / unit.raw, color=style.MUTED, linewidth=0.8)
    axes.set_ylim(0, 1.03 * float(total.max()) / unit.raw)
    style.end_labels(axes, labels)
