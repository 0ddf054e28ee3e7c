"""Draws a run's timeline: the picture a user looks at first, or any metric asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError, nearest
from sharesim.results import style
from sharesim.results.load import TimelineSeries
from sharesim.results.plot_activity import (
    draw_activity,
    draw_lateness,
    draw_throughput,
    is_paced,
)
from sharesim.results.plot_ksm import draw_counted_saving, draw_tracked_pages, ksm_of
from sharesim.results.plot_memory import (
    draw_frames,
    draw_memory,
    draw_opportunity,
    draw_saving,
)
from sharesim.results.plot_metric import draw_metric
from sharesim.results.plot_time import (
    BAR_INCHES,
    bars_of,
    draw_bars,
    draw_causes,
    draw_costs,
    draw_cpus,
)
from sharesim.results.sizes import SCREEN, Size
from sharesim.results.style import save_timeline
from sharesim.results.titled import Head

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["VIEWS", "plot_timeline", "save_timeline"]


@dataclass(frozen=True)
class Panel:
    """Inches of height, what draws it, and whether its horizontal axis is the figure's time."""

    height: float
    draw: Callable[["Axes", TimelineSeries], None]
    timed: bool = True


def plot_timeline(
    timeline: "pandas.DataFrame",
    summary: dict[str, Any] | None = None,
    *,
    view: str | None = None,
    metrics: list[str] | None = None,
    vms: list[str] | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    size: Size = SCREEN,
    title: str | None = None,
) -> "Figure":
    """A figure of the timeline between ``start_s`` and ``end_s`` simulated seconds.

    ``view`` is one of VIEWS. ``overview``, which is the default: memory by what backs it, saving
    under the opportunity line, activity of scanner and hypervisor, throughput per VM, and lateness
    where a VM is paced; under KSM its counters beside the true saving. ``memory``: guests' pages,
    the host's frames and the opportunity, by kind. ``time``: where the vCPUs' time went.
    With ``metrics`` instead: one panel for each; counters as rates per second, ``_pages`` in memory
    units, ``_ns`` as the share of one CPU's time. ``vms`` narrows what is drawn per VM.
    ``summary`` gives the scenario's name and whether the run is partial; ``title`` stands in its
    place, and the empty one leaves it out.

    Raises UserError on an unknown view, metric or VM, an empty window, or too small a size.
    """
    series = TimelineSeries(timeline, start_s, end_s)
    panels = _panels(series, view, metrics, vms)
    facts = dict(summary or {})
    heading = str(facts.get("scenario") or "sharesim run") if title is None else title
    with style.settings(size):
        drawable = len(series.edges(1)) >= 2
        heights = [panel.height for panel in panels] if drawable else [2.0]
        head = Head(size, heading, [_subtitle(series)] if heading else [], _warnings(series, facts))
        timed = [panel.timed for panel in panels] if drawable else [True]
        figure, grid = style.stacked_figure(heights, size, head.inches, timed)
        if not drawable:
            _say_why_empty(grid[0], series)
        for axes, panel in zip(grid, panels if drawable else (), strict=False):
            panel.draw(axes, series)
        head.write(figure)
        _share_time(grid, timed, series)
        return figure


def _panels(
    series: TimelineSeries, view: str | None, metrics: list[str] | None, vms: list[str] | None
) -> list[Panel]:
    for name in vms or ():
        series.require_entity(name)
    if view is not None and view not in VIEWS:
        raise UserError(f"no view '{view}'{nearest(view, VIEWS)}")
    if metrics and view is not None:
        raise UserError("a view draws what it does; give either a view or metrics")
    return (
        _metric_panels(series, metrics, vms) if metrics else VIEWS[view or "overview"](series, vms)
    )


# --- views ----------------------------------------------------------------------------------


def _overview(series: TimelineSeries, vms: list[str] | None) -> list[Panel]:
    chosen = [name for name in series.vms if vms is None or name in vms]
    panels = [Panel(2.3, draw_memory), Panel(1.7, draw_saving)]
    if ksm_of(series) is not None:
        panels += [Panel(1.5, draw_counted_saving), Panel(1.5, draw_tracked_pages)]
    panels += [Panel(1.7, draw_activity), Panel(1.4, partial(draw_throughput, vms=chosen))]
    paced = [name for name in chosen if is_paced(series, name)]
    if paced:
        panels.append(Panel(1.3, partial(draw_lateness, vms=paced, among=chosen)))
    return panels


def _memory(series: TimelineSeries, vms: list[str] | None) -> list[Panel]:
    if vms:
        raise UserError("the view 'memory' is of the whole host; its VMs: --metric populated_pages")
    panels = [Panel(2.3, draw_memory), Panel(2.0, draw_frames), Panel(1.7, draw_saving)]
    return [*panels, Panel(1.7, draw_opportunity)]


def _time(series: TimelineSeries, vms: list[str] | None) -> list[Panel]:
    chosen = [name for name in series.vms if vms is None or name in vms]
    bars = len(bars_of(series, chosen)) + (len(chosen) > 1)
    return [
        Panel(max(BAR_INCHES * bars, 0.6), partial(draw_bars, vms=chosen), timed=False),
        Panel(1.8, partial(draw_causes, vms=chosen)),
        Panel(1.5, partial(draw_costs, vms=chosen)),
        Panel(1.5, draw_cpus),
    ]


VIEWS: dict[str, Callable[[TimelineSeries, list[str] | None], list[Panel]]] = {
    "overview": _overview,
    "memory": _memory,
    "time": _time,
}


def _metric_panels(
    series: TimelineSeries, metrics: list[str], vms: list[str] | None
) -> list[Panel]:
    panels: list[Panel] = []
    for metric in dict.fromkeys(metrics):
        if metric not in series.column_names():
            hint = nearest(metric, series.column_names())
            raise UserError(f"no metric '{metric}' in this timeline{hint}")
        holders = [name for name in series.entities if series.has(name, metric)]
        shown = [name for name in holders if vms is None or name in vms]
        if not shown and any(name in series.vms for name in holders):
            raise UserError(f"metric '{metric}' is not recorded for {', '.join(vms or holders)}")
        drawn = shown or holders  # a metric of the host or a policy: no VM to narrow it to
        panels.append(Panel(2.6, partial(draw_metric, metric=metric, entities=drawn)))
    return panels


# --- the figure -----------------------------------------------------------------------------


def _say_why_empty(axes: "Axes", series: TimelineSeries) -> None:
    style.heading(axes, "Timeline")
    count = len(series.edges(1))
    style.note(axes, "one sample only: nothing to draw yet" if count else "no samples recorded")


def _share_time(grid: list["Axes"], timed: list[bool], series: TimelineSeries) -> None:
    """One time axis for all panels that have it, written below the last."""
    panels = [axes for axes, is_timed in zip(grid, timed, strict=True) if is_timed]
    for axes in panels[:-1]:
        axes.tick_params(labelbottom=False)
    panels[-1].set_xlabel("simulated time, s")
    if series.end_s > series.start_s:
        panels[-1].set_xlim(series.start_s, series.end_s)
    else:
        panels[-1].set_xticks([])


def _warnings(series: TimelineSeries, facts: dict[str, Any]) -> list[str]:
    """What nobody may overlook: the run stopped early, or guests read what they never wrote."""
    words = []
    if facts.get("partial"):
        last_s = float(series.table["time_ns"].max()) / 1e9 if len(series.table) else 0.0
        words.append(f"partial run: stopped at {style.number(last_s)} s")
    _, corrupted = series.samples("host", "corrupted_pages")
    if corrupted.any():
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
        of_it = f", {style.amount(zero[-1], unit)} of it zero pages" if zero[-1:].any() else ""
        gain = f"{style.amount(saved[-1], unit)} saved" if saved[-1] else "nothing saved"
        words.append(f"at {style.number(times[-1])} s {gain}{of_it}")
    return "   ·   ".join(words)
