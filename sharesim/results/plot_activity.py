"""What a run does as pictures: scanning, merging and faults, and what guests get done."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sharesim.results import style
from sharesim.results.load import TimelineSeries
from sharesim.results.style import EndLabel, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PASS_TICKS = 60
MOST_INTERVALS = 60
"""Of a window, for rates: a coarser grid is an exact mean."""
OPERATIONS_PER_INTERVAL = 20


def _any(values: Floats) -> bool:
    return bool(np.any(values > 0))


def draw_activity(axes: "Axes", series: TimelineSeries) -> None:
    edges = series.edges(MOST_INTERVALS)
    lines = (
        ("requested scan", series.rate(series.policies, "requested_pages", edges), style.MUTED),
        ("pages scanned", series.rate(series.policies, "pages_scanned", edges), style.BLUE),
        ("merges", series.rate(["host"], "merges", edges), style.GREEN),
        ("COW breaks", series.rate(["host"], "cow_breaks", edges), style.VERMILLION),
        ("faults", series.rate(series.vms, "faults", edges), style.PURPLE),
    )
    remark = f"{_pass_ticks(axes, series)}numbers: means"
    style.heading(axes, "Scanner and faults", remark, "per second, log")
    positive = np.concatenate([rate[rate > 0] for _, rate, _ in lines])
    if not len(positive):
        return style.note(axes, "no scanning, no merges, no faults")
    style.log_with_zero(axes, float(positive.min()), float(positive.max()))
    labels = []
    for name, rate, colour in lines:
        if not _any(rate):
            continue
        dashes = (0, (2, 1.5)) if name.startswith("requested") else "-"
        axes.stairs(rate, edges, baseline=None, color=colour, linestyle=dashes, linewidth=1.3)
        last = float(rate[np.isfinite(rate)][-1])
        mean = float(np.nansum(rate * np.diff(edges)) / np.diff(edges)[np.isfinite(rate)].sum())
        labels.append(EndLabel(last, f"{name} {style.number(mean)}/s", colour))
    style.end_labels(axes, labels)


def _pass_ticks(axes: "Axes", series: TimelineSeries) -> str:
    """Marks the ends of scan passes on the time axis; returns how many there were."""
    ends: list[float] = []
    count = 0.0
    for policy in series.policies:
        times, passes = series.samples(policy, "passes")
        steps = np.diff(passes)
        ends += [float(time) for time in times[1:][steps > 0]]
        count += float(steps.sum())
    if 0 < len(ends) <= MOST_PASS_TICKS:
        transform = axes.get_xaxis_transform()
        axes.plot(ends, [1.0] * len(ends), "v", color=style.INK, markersize=4.5,
                  transform=transform, clip_on=False)  # fmt: skip
        return f"▼ end of a scan pass ({count:.0f})   ·   "
    return f"{count:,.0f} scan passes   ·   " if ends else ""


def draw_throughput(axes: "Axes", series: TimelineSeries, vms: Sequence[str]) -> None:
    edges = _operation_edges(series, vms)
    rates = {name: series.rate([name], "operations", edges) for name in vms}
    busy = {name: rate for name, rate in rates.items() if _any(rate)}
    still = [name for name in vms if name not in busy]
    remark = f"no operations: {style.shortened(', '.join(still), 50)}" if still else ""
    if not busy:
        style.heading(axes, "Throughput per VM", "", "")
        return style.note(axes, "no operations finished")
    medians = {name: float(np.median(rate[rate > 0])) for name, rate in busy.items()}
    names = {name: f"{style.shortened(name, 13)}  {style.number(medians[name])}/s" for name in busy}
    if len(busy) == 1:
        style.heading(axes, "Throughput", remark, "operations/s")
        return style.draw_lines(axes, busy, edges, names)
    relative = {name: rate / medians[name] for name, rate in busy.items()}
    if len(busy) <= style.MOST_LINES:
        remark = remark or "numbers: the VM's median"
    style.heading(axes, "Throughput per VM, relative to its own median", remark, "× median")
    style.draw_lines(axes, relative, edges, names, vms)


def _operation_edges(series: TimelineSeries, vms: Sequence[str]) -> Floats:
    """Intervals long enough for some tens of operations, so that the lines show no rounding."""
    whole = series.edges(1)
    counts = [series.growth(name, "operations", whole)[0] for name in vms]
    fewest = min((count for count in counts if count > 0), default=0.0)
    most = int(np.clip(fewest / OPERATIONS_PER_INTERVAL, 12, MOST_INTERVALS))
    return series.edges(most)


def is_paced(series: TimelineSeries, name: str) -> bool:
    _, late = series.samples(name, "lateness_ns")
    return _any(late)


def draw_lateness(
    axes: "Axes", series: TimelineSeries, vms: Sequence[str], among: Sequence[str]
) -> None:
    edges = _operation_edges(series, vms)
    late = {name: lateness_ms(series, name, edges) for name in vms}
    style.heading(axes, "Lateness of paced VMs", "mean of finished operations", "ms")
    style.draw_lines(axes, late, edges, {name: name for name in vms}, among)


def lateness_ms(series: TimelineSeries, name: str, edges: Floats) -> Floats:
    finished = series.growth(name, "operations", edges)
    late = series.growth(name, "lateness_ns", edges) / 1e6
    return np.divide(late, finished, out=np.full(len(late), np.nan), where=finished > 0)
