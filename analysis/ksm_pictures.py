"""The picture of docs/ksm-published.md: what KSM's counters say of a host, and what is saved."""

from pathlib import Path
from typing import TYPE_CHECKING

from sharesim import Run, simulate
from sharesim.results import style
from sharesim.results.load import TimelineSeries
from sharesim.results.plot_ksm import draw_counted_saving, draw_tracked_pages
from sharesim.results.titled import titled
from sharesim.spec.script import load_target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCRIPT = Path(__file__).parents[1] / "scenarios" / "ksm_host.py"
SLOW = {"pages_to_scan": 300}
"""A scan takes some 15 s: long enough for much to change behind ksmd's back."""


def host() -> Run:
    """The host of ``scenarios/ksm_host.py`` under a slow ksmd."""
    return simulate(load_target(SCRIPT).build(SLOW))


def draw_ksm_host() -> "Figure":
    """Saving as counted and as it is, and the pages that ksmd tracks."""
    run = host()
    series = TimelineSeries(run.timeline)
    figure, (saving, tracked) = style.stacked_figure([2.2, 2.2])
    titled(
        figure,
        "KSM's counters follow ksmd, not memory",
        f"{run.scenario.title}; a guest boots at 20 s, another is shut down at 45 s",
    )
    draw_counted_saving(saving, series)
    draw_tracked_pages(tracked, series)
    saving.tick_params(labelbottom=False)
    tracked.set_xlabel("simulated time, s")
    tracked.set_xlim(series.start_s, series.end_s)
    return figure
