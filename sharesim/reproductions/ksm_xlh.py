"""R07, R08: the plain KSM that XLH was compared with: its CPU time, and how its tree decays.

XLH (Miller et al., USENIX ATC 2013) ran two guests of 512 MiB under the KSM of Linux 3.4, with 100
pages to a batch and wake-ups 20, 100 and 200 ms apart. It tells the scanner's share of a core, and
which share of the unstable tree's nodes could still be reached at the end of a scan cycle.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sharesim.reproductions.ksm_reachable import WatchedKsm
from sharesim.results.run import Run
from sharesim.spec.costs import PRIMITIVES
from sharesim.spec.images import Segment, Segments
from sharesim.spec.ksm import Ksm
from sharesim.spec.scenario import VM, Costs, Host, Scenario, Sharing
from sharesim.spec.workloads import Idle, RandomAccess, Workload
from sharesim.study import Row, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BATCH = 100
CPU_SHARES = {20: 68.75, 100: 27.47, 200: 16.32}
"""Per cent of a core, by the ms between wake-ups."""
CYCLES = {20: 44, 100: 220, 200: 440}
"""Seconds of a full scan of both guests."""
PAGE_NS = 400_000
"""What a page takes, of whatever kind: derived, see the notes."""
CPU_TOLERANCE = 0.10
"""Of the published share. One cost is to give all three, and those that they imply differ by up to
9 % from it."""
REACHABLE = (33.6, 53.0)
"""Per cent of nodes."""
REACHABLE_WITHIN = 5.0
"""Percentage points: which pages their guests wrote, and how often, is not told."""

GUEST_PAGES = 110_000
"""Populated pages of each guest: 44 s at 100 pages in 20 ms are 220,000 pages."""
COMMON_PAGES = 43_520
"""Of each guest, equal in both: some 170 MiB were merged at the start of their build."""
LIFETIME_S = (300 - 30) / math.log(300 / 30)
"""Of what a build writes, on average: 80 % of their sharing opportunities lived 30 s to 5 min. Of
exponential lifetimes at most 70 % do, and those have this mean."""
WRITTEN = 0.5
"""Share of a guest's own pages that the build writes. An assumption; the judged one."""
_OTHERS = (0.25, 0.75)
_SCANS = 7
_TICK_MS = 4
_CPU = "R07: XLH, USENIX ATC 2013: plain KSM's share of a core"
_RANGE = "cycles differ by which nodes near the root were written"
_TREE = "R08: XLH, USENIX ATC 2013: nodes reachable at the end of a cycle"


def _policy(wake_ms: int, kind: type[Ksm] = Ksm) -> Ksm:
    """KSM as in Linux 3.4. Its timer added no tick to a sleep; the modelled one does."""
    return kind(
        pages_to_scan=BATCH, sleep_millisecs=wake_ms - _TICK_MS, smart_scan=False,
        checksum_first=False,
    )  # fmt: skip


def _host(page_ns: int) -> Host:
    """A host whose ksmd takes so long for a page that it examines, and for nothing else."""
    figures = dict.fromkeys((key for key in PRIMITIVES if key.startswith("ksm_")), 0)
    visits = ("ksm_first_visit", "ksm_visit", "ksm_merged_visit")
    override = {**figures, **dict.fromkeys(visits, page_ns), "ksm_warm_pages": 1}
    return Host(cpus=4, costs=Costs(profile="kvm-2012-i7", override=override))


def scanned_guests(wake_ms: int, pages: int = 20_000, duration: str = "60 s") -> Scenario:
    """Two guests that do nothing, under a scanner that takes some time for each page."""
    image = Segments(segments=(Segment(size=pages),))
    return Scenario(
        title=f"A wake-up each {wake_ms} ms, {PAGE_NS / 1e3:g} us a page",
        duration=duration,
        host=_host(PAGE_NS),
        vms=[VM(name=name, image=image) for name in ("left", "right")],
        sharing=Sharing(policy=_policy(wake_ms)),
    )


def building_guests(wake_ms: int, written: float, scale: int = 1) -> Scenario:
    """Two guests that write a share of what is their own, for some scan cycles.

    With a ``scale`` they are so many times smaller, and the cycles as much shorter; what is written
    lives as many times shorter.
    """
    guest, common = GUEST_PAGES // scale, COMMON_PAGES // scale
    own = guest - common
    busy = round(written * own)
    work: Workload = Idle()
    if busy:
        rate = busy * scale / LIFETIME_S
        work = RandomAccess(operation="pages written", accesses=20, op_time="100 us",
                            rate=rate / 20, write_fraction=1.0, region=busy)  # fmt: skip
    segments = (Segment(size=own), Segment(size=common, shared_as="system"))
    image = Segments(segments=segments)
    cycle_ms = (2 * guest // BATCH + 1) * wake_ms
    return Scenario(
        title=f"A wake-up each {wake_ms} ms, {100 * written:g} % of own pages written",
        duration=f"{round(1.01 * _SCANS * cycle_ms)} ms",
        host=_host(0),
        vms=[VM(name=name, image=image, workload=work) for name in ("left", "right")],
        sharing=Sharing(policy=_policy(wake_ms, WatchedKsm)),
    )


@dataclass(frozen=True)
class Decay:
    """The unstable tree at the ends of a run's scans from the second one on."""

    pages: float
    """In the tree, on average."""
    changed: float
    """Per cent of them that were written after they had been put in."""
    reachable: float
    """Per cent of them that a search finds."""
    each: tuple[float, ...]
    """The same for each scan."""
    cycle_s: float


def decay(run: Run) -> Decay:
    """What the counters of :class:`WatchedKsm` say; the first scan only takes checksums."""
    ksm = run.timeline.query("entity == 'ksm'")
    ends = ksm[(ksm.full_scans.diff() > 0) & (ksm.full_scans >= 2)]
    pages = ends.tree_pages.sum()
    starts = ksm[ksm.full_scans.diff() > 0].time_ns
    return Decay(
        pages=float(ends.tree_pages.mean()),
        changed=float(100 * ends.tree_changed.sum() / pages),
        reachable=float(100 * ends.tree_reachable.sum() / pages),
        each=tuple(100 * ends.tree_reachable / ends.tree_pages),
        cycle_s=float(np.diff(starts).mean() / 1e9),
    )


@dataclass
class Xlh(Study):
    """One cost a page gives the scanner's shares; writes of known lifetime give the decay."""

    name: ClassVar[str] = "ksm_xlh"
    title: ClassVar[str] = "KSM as XLH measured it: CPU time, and the decay of the unstable tree"
    scale: int = 4
    """Divides memory, cycles and lifetimes; a tree of a quarter of the pages is two levels less
    deep of some seventeen."""

    def runs(self) -> dict[str, Scenario]:
        runs = {f"cpu-{ms}": scanned_guests(ms) for ms in CPU_SHARES}
        runs |= {_name(ms, WRITTEN): building_guests(ms, WRITTEN, self.scale) for ms in CYCLES}
        others = {_name(20, share): building_guests(20, share, self.scale) for share in _OTHERS}
        return runs | others

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        shares = [
            Row(_CPU, f"wake-ups {ms} ms apart", share, _cpu_share(runs[f"cpu-{ms}"]), "%",
                tolerance=CPU_TOLERANCE)
            for ms, share in CPU_SHARES.items()
        ]  # fmt: skip
        return [*shares, *self._decays(runs)]

    def _decays(self, runs: Mapping[str, Run]) -> list[Row]:
        low, high = REACHABLE
        judged = decay(runs[_name(20, WRITTEN)])
        rows = [
            Row(_TREE, f"20 ms, {100 * WRITTEN:g} % of own pages written", low, judged.reachable,
                "%", relation="at least", within=REACHABLE_WITHIN, note=_found(judged)),
            Row(_TREE, "the same", high, judged.reachable, "%", relation="at most",
                within=REACHABLE_WITHIN, note=_found(judged)),
        ]  # fmt: skip
        rows += [
            Row(_TREE, "the same, lowest of all cycles", low, min(judged.each), "%", note=_RANGE),
            Row(_TREE, "the same, highest of all cycles", high, max(judged.each), "%", note=_RANGE),
        ]
        for ms, share in (*((20, one) for one in _OTHERS), (100, WRITTEN), (200, WRITTEN)):
            here = decay(runs[_name(ms, share)])
            words = f"{ms} ms, {100 * share:g} % of own pages written"
            rows.append(Row(_TREE, words, None, here.reachable, "%", note=_found(here)))
        return rows

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        implied = ", ".join(
            f"{1e3 * _batch_ms(ms, share) / BATCH:.0f}" for ms, share in CPU_SHARES.items()
        )
        nominal = ", ".join(f"{10 * share * ms / BATCH:.0f}" for ms, share in CPU_SHARES.items())
        cycles = ", ".join(f"{decay(runs[_name(ms, WRITTEN)]).cycle_s:.1f} s" for ms in CYCLES)
        return [
            f"A share s of a core under sleeps of t after each batch means batches of t s/(1 - s):"
            f" {implied} us a page. {PAGE_NS / 1e3:g} us is taken for all: one figure fitted, three"
            f" compared. Read as a period of t, the same shares mean {nominal} us: no one cost.",
            f"The paper's full scans of {_listed(CYCLES)} s leave no time for such batches."
            " The trees are therefore watched under a scanner that takes none, in cycles of"
            f" {cycles}.",
            f"Assumed: {100 * WRITTEN:g} % of the pages that are not equal in both guests are"
            f" written at random, each every {LIFETIME_S:.0f} s on average. The lifetime is from"
            " the paper; the share is not, so others are shown.",
            "A node counts as reachable if a search by what it holds now finds it, or an equal"
            " page. At which wake-ups the published range was measured is not known; judged is"
            " 20 ms, that of the paper's main results.",
        ]

    def picture(self, runs: Mapping[str, Run], rows: list[Row]) -> "Figure":
        from sharesim.results.style import heading, stacked_figure
        from sharesim.results.titled import titled

        figure, (shares, trees) = stacked_figure([1.9, 2.4])
        titled(figure, "KSM as XLH measured it", "Two guests of 512 MiB, 100 pages to a batch")
        heading(shares, "The scanner's share of a core", "bars: published, simulated", "%")
        _draw_shares(shares, runs)
        heading(trees, "Unstable tree: nodes reachable at the end of a cycle", unit="%")
        _draw_trees(trees, runs)
        return figure


def _name(wake_ms: int, written: float) -> str:
    return f"decay-{wake_ms}-{round(100 * written)}"


def _batch_ms(wake_ms: int, percent: float) -> float:
    """How long a batch takes whose scanner has such a share and sleeps between."""
    return wake_ms * percent / (100 - percent)


def _cpu_share(run: Run) -> float:
    return float(100 * run.summary["scanner"]["cpu_ns"] / run.scenario.duration)


def _listed(figures: Mapping[int, float]) -> str:
    return ", ".join(f"{figure:g}" for figure in figures.values())


def _found(here: Decay) -> str:
    return (
        f"{here.pages:,.0f} nodes, {here.changed:.1f} % of them written since; cycles from"
        f" {min(here.each):.0f} to {max(here.each):.0f} %"
    )


def _draw_shares(axes: "Axes", runs: Mapping[str, Run]) -> None:
    from sharesim.results.style import BLUE, MUTED

    places = np.arange(len(CPU_SHARES))
    simulated = [_cpu_share(runs[f"cpu-{ms}"]) for ms in CPU_SHARES]
    for shift, values, colour in (
        (-0.17, list(CPU_SHARES.values()), MUTED),
        (0.17, simulated, BLUE),
    ):
        bars = axes.bar(places + shift, values, 0.32, color=colour)
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_ylim(0, 80)
    axes.set_xticks(places, [f"{ms} ms" for ms in CPU_SHARES])
    axes.tick_params(axis="x", length=0)


def _draw_trees(axes: "Axes", runs: Mapping[str, Run]) -> None:
    """What was found against what was written since, and the published range."""
    from sharesim.results.style import INK, ORANGE, PALE

    axes.axhspan(*REACHABLE, color=ORANGE, alpha=0.2, lw=0)
    axes.text(0.1, REACHABLE[0] + 1, "published range", color=INK, fontsize=8.5)
    for ms, share in ((20, WRITTEN), *((20, one) for one in _OTHERS), (100, WRITTEN),
                      (200, WRITTEN)):  # fmt: skip
        here = decay(runs[_name(ms, share)])
        axes.plot(here.changed, here.reachable, "o", color=INK, markerfacecolor=PALE)
        axes.annotate(f"{ms} ms, {100 * share:g} % written", (here.changed, here.reachable),
                      xytext=(6, 3), textcoords="offset points", fontsize=8.5)  # fmt: skip
    axes.set_xlim(0, 14)
    axes.set_ylim(0, 100)
    axes.set_xlabel("nodes that were written after they had been put in, %")


def study() -> Study:
    """As ``sharesim reproduce ksm_xlh`` runs it."""
    return Xlh()
