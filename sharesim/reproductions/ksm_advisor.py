"""R11: KSM's advisor on a host like Instagram's: how it finds a scan rate, and what that saves.

The advisor (Linux 6.8, mode scan-time) sets ``pages_to_scan`` after each full scan so that a scan
takes 200 s. It begins at 500 pages, and its memory of changes at 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from sharesim.reproductions.ksm_instagram import PAGES_TO_SCAN, Instagram, steady
from sharesim.results.run import Run
from sharesim.spec.scenario import Scenario
from sharesim.study import Row, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

TARGET_S = 200
SECONDS, SETTLED_S = 6_400, 4_400
"""Of the runs, and when the last ten scans begin."""
_SAMPLE_S = 50
_SOURCE = "R11: KSM advisor, cover letter of 2023"
_BASELINE = f"against a fixed pages_to_scan of {PAGES_TO_SCAN:,}, R09's; theirs is not told"
CHEAP_SECONDS, CHEAP_SETTLED_S = 3_600, 2_600
"""The same at measured costs, where it settles sooner."""
DEARER = 8
"""``Instagram.dearer``: 1 to 2 % of 32 CPUs for 15 M pages in 200 s are 4.3 to 8.5 us a page; with
the measured costs this host takes 0.74 us."""
_HIGHEST = (
    "what is settled follows from memory and target, the highest from how fast memory grows at the"
    " start, which is not told"
)
_FLOOR = (
    "at the measured costs ksmd needs less than the 10 % of a CPU below which the advisor does not"
    " go, and so it scans faster than the target"
)
_LOOP = (
    "its arithmetic in whole numbers rounds the mean change down: 97 % stays 97 %, and it settles"
    " at a few per cent above the target"
)


@dataclass
class Advised(Study):
    """The advisor, and a fixed rate, on a host whose workers start one after another."""

    name: ClassVar[str] = "ksm_advisor"
    title: ClassVar[str] = "KSM's advisor on a host like Instagram's"
    host: Instagram = field(default_factory=lambda: Instagram(dearer=DEARER))

    def runs(self) -> dict[str, Scenario]:
        host, cheap = self.host, replace(self.host, dearer=1)
        advised = host.policy(advisor_mode="scan-time", advisor_target_scan_time=TARGET_S)
        return {
            "advised": host.scenario(advised, SECONDS, sample_s=_SAMPLE_S),
            "fixed": host.scenario(host.policy(), SECONDS, sample_s=_SAMPLE_S),
            "advised-cheap": cheap.scenario(advised, CHEAP_SECONDS, sample_s=_SAMPLE_S),
        }

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        advised = steady(runs["advised"], SETTLED_S)
        fixed = steady(runs["fixed"], SETTLED_S)
        cheap = steady(runs["advised-cheap"], CHEAP_SETTLED_S)
        peak = float(runs["advised"].timeline.query("entity == 'ksm'").pages_to_scan.max())
        return [
            Row(_SOURCE, "settled pages_to_scan, of its highest", 40,
                100 * advised.pages_to_scan / peak, "%", within=10,
                note=f"highest {peak:,.0f}, settled {advised.pages_to_scan:,.0f}"),
            Row(_SOURCE, "less CPU time of ksmd, settled", 25, 100 * (1 - advised.cpu / fixed.cpu),
                "%", within=10, note=_BASELINE),
            Row(_SOURCE, "a full scan, settled", TARGET_S, advised.scan_s, "s",
                tolerance=0.1, note=_LOOP),
            Row(_SOURCE, "ksmd, of the machine's 32 CPUs", 1, 100 * advised.cpu / 32, "%",
                note="1 to 2 %, from which the costs of ksmd's work were taken: an input"),
            Row(_SOURCE, "a full scan at the measured costs", TARGET_S,
                cheap.scan_s, "s", note=_FLOOR),
            Row(_SOURCE, "ksmd's share of a CPU at the measured costs", 10, 100 * cheap.cpu, "%",
                note=_FLOOR),
            Row(_SOURCE, "pages_sharing, against the fixed rate", None,
                advised.sharing / fixed.sharing),
        ]  # fmt: skip

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        advised, fixed = (steady(runs[name], SETTLED_S) for name in ("advised", "fixed"))
        return [
            f"ksmd's share of a CPU, settled: {100 * advised.cpu:.1f} % advised,"
            f" {100 * fixed.cpu:.1f} % at a fixed rate, where a scan takes"
            f" {fixed.scan_s:.0f} s.",
            f"The workers start over {self.host.ramp_s} s, an assumption; smart scan is on, as by"
            f" default. ksmd's work takes {self.host.dearer} times what was measured on a small"
            " machine, so that it takes the published share of 32 CPUs; without that the advisor's"
            " limits, which are shares of a CPU, decide.",
            "Tolerances: 10 percentage points, for what their host did while it started, and the"
            " rate that it was compared with, are not told; a tenth of the target scan time.",
        ]

    def picture(self, runs: Mapping[str, Run], rows: list[Row]) -> "Figure":
        from sharesim.results.style import MUTED, heading, stacked_figure
        from sharesim.results.titled import titled

        figure, (rate, cpu) = stacked_figure([2.0, 2.0])
        titled(figure, "The advisor looks for its rate", runs["advised"].scenario.title)
        heading(rate, "pages_to_scan", "dashed: 40 % of the highest")
        heading(cpu, "ksmd's CPU time", unit="% of one CPU")
        tables = {name: runs[name].timeline.query("entity == 'ksm'") for name in _DRAWN}
        _draw(rate, tables, lambda ksm: ksm.pages_to_scan)
        _draw(cpu, tables, lambda ksm: 100 * ksm.scanner_cpu_ns.diff(4) / ksm.time_ns.diff(4))
        rate.axhline(0.4 * tables["advised"].pages_to_scan.max(), color=MUTED, linestyle="--",
                     linewidth=0.8)  # fmt: skip
        rate.tick_params(labelbottom=False)
        cpu.set_xlabel("simulated time, s")
        return figure


_DRAWN = ("fixed", "advised")


def _draw(
    axes: "Axes", tables: "dict[str, DataFrame]", values_of: "Callable[[DataFrame], Series]"
) -> None:
    """A line for each run, and labels when all are there."""
    from sharesim.results.style import BLUE, MUTED, EndLabel, end_labels

    lines = {name: values_of(table) for name, table in tables.items()}
    for (name, line), colour in zip(lines.items(), (MUTED, BLUE), strict=True):
        axes.plot(tables[name].time_ns / 1e9, line, color=colour)
    axes.set_ylim(0, 1.08 * max(line.max() for line in lines.values()))
    ends = zip(lines.items(), (MUTED, BLUE), strict=True)
    end_labels(axes, [EndLabel(float(line.iloc[-1]), name, c) for (name, line), c in ends])


def study() -> Study:
    """As ``sharesim reproduce ksm_advisor`` runs it."""
    return Advised()
