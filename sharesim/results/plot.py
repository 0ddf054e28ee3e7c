"""Draws a run's timeline: the picture a user looks at first, or any metric asked for."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.errors import UserError, nearest
from sharesim.results import style
from sharesim.results.load import TimelineSeries
from sharesim.results.plot_ksm import draw_counted_saving, draw_tracked_pages, ksm_of
from sharesim.results.style import EndLabel, Floats, save_timeline
from sharesim.results.table import HELD

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_timeline", "save_timeline"]

# What backs the guests' pages, bottom to top: frames in use first, then what occupies none.
BACKING = (
    ("private_pages", "private", "#9AA5AF"),
    ("shared_frames_pages", "shared frames", style.BLUE),
    ("saved_nonzero", "saved, non-zero", style.GREEN),
    ("saved_zero_pages", "saved, zero", style.LIGHT_GREEN),
    ("ballooned_pages", "ballooned", style.ORANGE),
    ("unpopulated_pages", "unpopulated", style.PALE),
)
IN_USE = 2  # the first entries of BACKING that occupy frames
DASHES = (0, (4, 3))
GAUGES = (
    "pages_in_pass", "table_entries", "pages_shared", "pages_sharing", "pages_unshared",
    "pages_volatile", "stable_node_chains", "stable_node_dups", "general_profit", "pages_to_scan",
    "rmap_items",
)  # fmt: skip
COUNTED_PAGES = ("corrupted_pages", "requested_pages")
MOST_PASS_TICKS = 60
MOST_INTERVALS = 60
MOST_SAMPLES = 4_000
OPERATIONS_PER_INTERVAL = 20


def plot_timeline(
    timeline: "pandas.DataFrame",
    summary: dict[str, Any] | None = None,
    *,
    metrics: list[str] | None = None,
    vms: list[str] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
) -> "Figure":
    """A figure of the timeline between ``start_s`` and ``end_s`` simulated seconds.

    Without ``metrics``: memory by what backs it, saving under the opportunity line, activity of
    scanner and hypervisor, throughput per VM, and lateness where a VM is paced; under KSM its
    counters beside the true saving. With ``metrics``: one panel for each; counters as rates per
    second, ``_pages`` in memory units, ``_ns`` as the share of one CPU's time. ``vms`` narrows
    what is drawn per VM.
    ``summary`` gives the scenario's name and whether the run is partial.

    Raises UserError on an unknown metric or VM, or an empty window.
    """
    series = TimelineSeries(timeline, start_s, end_s)
    for name in vms or ():
        series.require_entity(name)
    for metric in metrics or ():
        if metric not in series.column_names():
            raise UserError(
                f"no metric '{metric}' in this timeline{nearest(metric, series.column_names())}"
            )
    with style.settings():
        if len(series.edges(1)) < 2:
            return _finished(*_empty_figure(series), series, summary)
        panels = _metric_panels(series, metrics, vms) if metrics else _overview(series, vms)
        figure, grid = style.stacked_figure([height for height, _ in panels])
        for axes, (_, draw) in zip(grid, panels, strict=True):
            draw(axes, series)
        return _finished(figure, grid, series, summary)


Panel = tuple[float, Any]  # height in inches, and what draws it: (axes, series) -> None


def _overview(series: TimelineSeries, vms: list[str] | None) -> list[Panel]:
    chosen = [name for name in series.vms if vms is None or name in vms]
    panels: list[Panel] = [
        (2.3, _draw_memory),
        (1.7, _draw_saving),
    ]
    if ksm_of(series) is not None:
        panels += [(1.5, draw_counted_saving), (1.5, draw_tracked_pages)]
    panels += [(1.7, _draw_activity), (1.4, partial(_draw_throughput, vms=chosen))]
    paced = [name for name in chosen if _is_paced(series, name)]
    if paced:
        panels.append((1.3, partial(_draw_lateness, vms=paced, among=chosen)))
    return panels


def _metric_panels(
    series: TimelineSeries, metrics: list[str], vms: list[str] | None
) -> list[Panel]:
    panels: list[Panel] = []
    for metric in dict.fromkeys(metrics):
        holders = [name for name in series.entities if series.has(name, metric)]
        shown = [name for name in holders if vms is None or name in vms]
        if not shown and any(name in series.vms for name in holders):
            raise UserError(f"metric '{metric}' is not recorded for {', '.join(vms or holders)}")
        drawn = shown or holders  # a metric of the host or a policy: no VM to narrow it to
        panels.append((2.6, partial(_draw_metric, metric=metric, entities=drawn)))
    return panels


# --- the figure -----------------------------------------------------------------------------


def _empty_figure(series: TimelineSeries) -> tuple["Figure", list["Axes"]]:
    figure, grid = style.stacked_figure([2.0])
    style.heading(grid[0], "Timeline")
    count = len(series.edges(1))
    style.note(grid[0], "one sample only: nothing to draw yet" if count else "no samples recorded")
    return figure, grid


def _finished(
    figure: "Figure", grid: list["Axes"], series: TimelineSeries, summary: dict[str, Any] | None
) -> "Figure":
    """Puts title, marks and the time axis on a figure."""
    facts = summary or {}
    height = figure.get_size_inches()[1]
    name = style.shortened(str(facts.get("scenario") or "sharesim run"), 60)
    figure.text(0.035, 1 - 0.33 / height, name, fontsize=15, fontweight="bold", color=style.INK)
    figure.text(0.035, 1 - 0.56 / height, _subtitle(series), fontsize=9.5, color=style.MUTED)
    for line, words in enumerate(_warnings(series, facts)):
        where = (0.965, 1 - (0.33 + 0.2 * line) / height)
        figure.text(*where, words, ha="right", color=style.VERMILLION, fontweight="bold")
    for axes in grid[:-1]:
        axes.tick_params(labelbottom=False)
    grid[-1].set_xlabel("simulated time, s")
    if series.end_s > series.start_s:
        grid[-1].set_xlim(series.start_s, series.end_s)
    else:
        grid[-1].set_xticks([])
    return figure


def _warnings(series: TimelineSeries, facts: dict[str, Any]) -> list[str]:
    """What nobody may overlook: the run stopped early, or guests read what they never wrote."""
    words = []
    if facts.get("partial"):
        last_s = float(series.table["time_ns"].max()) / 1e9 if len(series.table) else 0.0
        words.append(f"partial run: stopped at {style.number(last_s)} s")
    _, corrupted = series.samples("host", "corrupted_pages")
    if _any(corrupted):
        words.append(f"corrupted pages: {corrupted.max():,.0f}")
    return words


def _subtitle(series: TimelineSeries) -> str:
    count = len(series.vms)
    words = [f"{count} VM" if count == 1 else f"{count} VMs"]
    _, memory = series.samples("host", "memory_pages")
    if len(memory):
        words.append(f"host of {style.amount(memory[-1], style.memory_unit(memory[-1]))}")
    times, saved = series.samples("host", "saved_pages")
    _, zero = series.samples("host", "saved_zero_pages")
    if len(saved):
        unit = style.memory_unit(saved[-1])
        of_it = f", {style.amount(zero[-1], unit)} of it zero pages" if _any(zero[-1:]) else ""
        gain = f"{style.amount(saved[-1], unit)} saved" if saved[-1] else "nothing saved"
        words.append(f"at {style.number(times[-1])} s {gain}{of_it}")
    return "   ·   ".join(words)


def _any(values: Floats) -> bool:
    return bool(np.any(values > 0))


# --- memory ---------------------------------------------------------------------------------


def _host(series: TimelineSeries, column: str) -> Floats:
    """A memory column of the host at its own samples; zeros where it is not recorded."""
    times, _ = series.samples("host", "private_pages")
    if column == "saved_nonzero":
        return _host(series, "saved_pages") - _host(series, "saved_zero_pages")
    return np.nan_to_num(series.at("host", column, times))


def _draw_memory(axes: "Axes", series: TimelineSeries) -> None:
    times, _ = series.samples("host", "private_pages")
    layers = [_host(series, column) for column, _, _ in BACKING]
    total = np.sum(layers, axis=0)
    if not _any(total):
        style.heading(axes, "Guest memory, by what backs it")
        return style.note(axes, "no memory recorded")
    unit = style.memory_unit(float(total.max()))
    style.heading(axes, "Guest memory, by what backs it", _host_remark(series), unit.name)
    floor = np.zeros(len(times))
    labels = []
    for layer, (_, name, colour) in zip(layers, BACKING, strict=True):
        if _any(layer):
            under, over = floor / unit.raw, (floor + layer) / unit.raw
            axes.fill_between(times, under, over, color=colour, lw=0)
            words = f"{name} {style.number(layer[-1] / unit.raw)}"
            labels.append(EndLabel(float(under[-1] + over[-1]) / 2, words, style.INK, colour))
        floor = floor + layer
    in_use = np.sum(layers[:IN_USE], axis=0)
    axes.plot(times, in_use / unit.raw, color=style.INK, linewidth=1.3)
    labels.append(_level("— in use", in_use, unit, style.INK))
    perfect = in_use + _host(series, "saved_pages") - _host(series, "opportunity_pages")
    if _any(_host(series, "opportunity_pages")):
        axes.plot(times, perfect / unit.raw, color=style.INK, linewidth=1.1, linestyle=DASHES)
        labels.append(_level("- - in use if perfect", perfect, unit, style.INK))
    axes.set_ylim(0, float(total.max()) * 1.02 / unit.raw)
    style.end_labels(axes, labels)


def _host_remark(series: TimelineSeries) -> str:
    """What of the host's memory backs no guest: free, and held by the hypervisor."""
    remarks = []
    _, free = series.samples("host", "free_pages")
    if len(free):
        unit = style.memory_unit(float(free.max()))
        span = f"{style.number(free[0] / unit.raw)} → {style.amount(free[-1], unit)}"
        remarks.append(f"free on the host: {span}")
    held = {kind: float(_host(series, f"{kind}_pages")[-1]) for kind in HELD}
    if any(pages for kind, pages in held.items() if kind != "policy_table"):
        total = sum(held.values())
        amount = style.amount(total, style.memory_unit(total))
        remarks.append(f"held by the hypervisor: {amount}")
    return "   ·   ".join(remarks)


def _draw_saving(axes: "Axes", series: TimelineSeries) -> None:
    times, _ = series.samples("host", "private_pages")
    saved, zero = _host(series, "saved_pages"), _host(series, "saved_zero_pages")
    perfect, net = _host(series, "opportunity_pages"), _host(series, "net_saved_pages")
    title = "Saved, against instant perfect sharing"
    highest = float(max((line.max() for line in (saved, perfect) if len(line)), default=0.0))
    if highest <= 0:
        style.heading(axes, title)
        return style.note(axes, "nothing to share, and nothing shared")
    unit = style.memory_unit(highest)
    style.heading(axes, title, _realised_remark(saved, perfect), unit.name)
    axes.fill_between(times, 0, (saved - zero) / unit.raw, color=style.GREEN, lw=0)
    nonzero = saved - zero
    level = float(nonzero[-1]) / unit.raw
    words = f"saved, non-zero {style.number(level)}"
    labels = [EndLabel(level / 2, words, style.INK, style.GREEN)]
    if _any(zero):
        over, under = saved / unit.raw, nonzero / unit.raw
        axes.fill_between(times, under, over, color=style.LIGHT_GREEN, lw=0)
        words = f"saved, zero {style.number(zero[-1] / unit.raw)}"
        labels.append(
            EndLabel(float(over[-1] + under[-1]) / 2, words, style.INK, style.LIGHT_GREEN)
        )
    for name, line, linestyle, colour in _saving_lines(series, saved):
        axes.plot(times, line / unit.raw, color=colour, linestyle=linestyle, linewidth=1.3)
        labels.append(_level(name, line, unit, colour))
    axes.set_ylim(min(0.0, float(net.min()) / unit.raw), highest * 1.08 / unit.raw)
    style.end_labels(axes, labels)


def _saving_lines(series: TimelineSeries, saved: Floats) -> list[tuple[str, Floats, Any, str]]:
    """The lines over the saved areas that differ enough to be seen: name, pages, dashes, colour."""
    perfect, net = _host(series, "opportunity_pages"), _host(series, "net_saved_pages")
    zero = _host(series, "opportunity_zero_pages")
    visible = float(max(perfect.max(), saved.max())) / 50
    lines: list[tuple[str, Floats, Any, str]] = []
    if _any(perfect):
        lines.append(("opportunity", perfect, DASHES, style.INK))
    if float(zero.max()) > visible and _any(perfect - zero):
        lines.append(("of it non-zero", perfect - zero, DASHES, style.MUTED))
    if series.has("host", "net_saved_pages") and float(np.abs(saved - net).max()) > visible:
        lines.append(("net of what is held", net, ":", style.INK))
    return lines


def _level(name: str, values: Floats, unit: style.Unit, colour: str) -> EndLabel:
    last = float(values[-1]) / unit.raw
    return EndLabel(last, f"{name} {style.number(last)}", colour)


def _realised_remark(saved: Floats, perfect: Floats) -> str:
    if not _any(perfect):
        return ""
    return f"{100 * saved.sum() / perfect.sum():.0f} % of the opportunity realised in this window"


# --- activity -------------------------------------------------------------------------------


def _draw_activity(axes: "Axes", series: TimelineSeries) -> None:
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


# --- guests ---------------------------------------------------------------------------------


def _draw_throughput(axes: "Axes", series: TimelineSeries, vms: Sequence[str]) -> None:
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


def _is_paced(series: TimelineSeries, name: str) -> bool:
    _, late = series.samples(name, "lateness_ns")
    return _any(late)


def _draw_lateness(
    axes: "Axes", series: TimelineSeries, vms: Sequence[str], among: Sequence[str]
) -> None:
    edges = _operation_edges(series, vms)
    late = {name: _lateness_ms(series, name, edges) for name in vms}
    style.heading(axes, "Lateness of paced VMs", "mean of finished operations", "ms")
    style.draw_lines(axes, late, edges, {name: name for name in vms}, among)


def _lateness_ms(series: TimelineSeries, name: str, edges: Floats) -> Floats:
    finished = series.growth(name, "operations", edges)
    late = series.growth(name, "lateness_ns", edges) / 1e6
    return np.divide(late, finished, out=np.full(len(late), np.nan), where=finished > 0)


# --- any metric -----------------------------------------------------------------------------


def _is_gauge(series: TimelineSeries, metric: str, entities: Sequence[str]) -> bool:
    """Whether a column is an amount at an instant, not a counter since time 0."""
    if metric in GAUGES:
        return True
    if metric.endswith("_pages"):
        return metric not in COUNTED_PAGES
    values = [series.samples(name, metric)[1] for name in entities]
    return any(bool((np.diff(line) < 0).any()) for line in values)


def _draw_metric(
    axes: "Axes", series: TimelineSeries, metric: str, entities: Sequence[str]
) -> None:
    names = {name: name for name in entities}
    if _is_gauge(series, metric, entities):
        lines, unit = _gauge_lines(series, metric, entities)
        style.heading(axes, metric, "", unit)
        return style.draw_lines(axes, lines, series.edges(MOST_SAMPLES), names, series.entities)
    edges = series.edges(2 * MOST_INTERVALS)
    if metric == "lateness_ns":
        unit = "ms per operation"
        rates = {name: _lateness_ms(series, name, edges) for name in entities}
    else:
        unit, scale = ("% of one CPU", 1e-7) if metric.endswith("_ns") else ("per second", 1.0)
        rates = {name: scale * series.rate([name], metric, edges) for name in entities}
    style.heading(axes, metric, "", unit)
    style.draw_lines(axes, rates, edges, names, series.entities)


def _gauge_lines(
    series: TimelineSeries, metric: str, entities: Sequence[str]
) -> tuple[dict[str, Floats], str]:
    """Values of an instantaneous metric at common times, NaN where absent, and their unit."""
    times = series.edges(MOST_SAMPLES)
    lines = {name: series.at(name, metric, times) for name in entities}
    if not metric.endswith("_pages"):
        return lines, ""
    highest = max(float(np.nanmax(line, initial=0.0)) for line in lines.values())
    unit = style.memory_unit(highest)
    return {name: line / unit.raw for name, line in lines.items()}, unit.name
