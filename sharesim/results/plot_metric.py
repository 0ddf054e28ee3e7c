"""Any column of a timeline as a picture: an amount, a rate, or a share of a CPU."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sharesim.results import style
from sharesim.results.load import TimelineSeries
from sharesim.results.plot_activity import MOST_INTERVALS, lateness_ms
from sharesim.results.style import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAUGES = (
    "pages_in_pass", "table_entries", "pages_shared", "pages_sharing", "pages_unshared",
    "pages_volatile", "stable_node_chains", "stable_node_dups", "general_profit", "pages_to_scan",
    "rmap_items",
)  # fmt: skip
COUNTED_PAGES = ("corrupted_pages", "requested_pages")
MOST_SAMPLES = 4_000


def _is_gauge(series: TimelineSeries, metric: str, entities: Sequence[str]) -> bool:
    """Whether a column is an amount at an instant, not a counter since time 0."""
    if metric in GAUGES:
        return True
    if metric.endswith("_pages"):
        return metric not in COUNTED_PAGES
    values = [series.samples(name, metric)[1] for name in entities]
    return any(bool((np.diff(line) < 0).any()) for line in values)


def draw_metric(axes: "Axes", series: TimelineSeries, metric: str, entities: Sequence[str]) -> None:
    names = {name: name for name in entities}
    if _is_gauge(series, metric, entities):
        lines, unit = _gauge_lines(series, metric, entities)
        style.heading(axes, metric, "", unit)
        return style.draw_lines(axes, lines, series.edges(MOST_SAMPLES), names, series.entities)
    edges = series.edges(2 * MOST_INTERVALS)
    if metric == "lateness_ns":
        unit = "ms per operation"
        rates = {name: lateness_ms(series, name, edges) for name in entities}
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
