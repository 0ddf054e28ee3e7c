"""KSM: how long two equal pages wait until they are merged, in scan periods.

The kernel's rules fix it. A page is entered into a tree, or merged, only when two visits in a row
found the same checksum; the unstable tree is emptied at the start of each full scan; so both pages
of a pair must have had their second visit within one scan. Where all phases are equally likely that
takes 11/6 of a period on average. A page that is equal to an already merged one needs no partner:
before Linux 6.11 it was merged at its first visit, since then at its second.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from sharesim.results.run import Run
from sharesim.spec.costs import PRIMITIVES
from sharesim.spec.images import Segment, Segments
from sharesim.spec.ksm import Ksm
from sharesim.spec.scenario import VM, Advice, Costs, Host, Scenario, Sharing
from sharesim.study import Row, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGES = 200_000
"""Of the guest, most of them unlike all others: they give the scan period its length."""
COPIES = 1_000
"""Contents that occur three times: a pair, and a third page that meets it merged."""
BATCH = 1_000
"""``pages_to_scan``: a period has some 200 wake-ups, to which merges are rounded."""
_WAKE_NS = 24_000_000
"""20 ms of sleep end with a tick of 4 ms, and the timer adds one."""
_SIGMAS = 4
_PAIRS_AT, _HITS_AT = 2.0, 6.5
"""Scan periods after which the first pair, and the first third page, may come."""
_SOURCE = "KSM, OLS 2009: delay of a merge, in scan periods"
_XLH = "R07: XLH, USENIX ATC 2013: until a page is met, in scan periods"
_ORDERS = {"now": "checksum first", "before-6.11": "stable tree first, before Linux 6.11"}

Kind = Literal["pair", "hit"]


@dataclass(frozen=True)
class Law:
    """Mean, standard deviation and bounds of a delay, in scan periods."""

    mean: float
    spread: float
    least: float
    most: float
    why: str


PAIR = Law(
    11 / 6, math.sqrt(5) / 6, 1, 3,
    "of three phases in random order (where the scanner is when the pair comes, and the two pages)"
    " the scanner's is the first, the middle or the last: means 3/2, 9/4 and 7/4",
)  # fmt: skip
FIRST_VISIT = Law(1 / 2, math.sqrt(1 / 12), 0, 1, "at the first visit, which is as likely any time")
SECOND_VISIT = Law(3 / 2, math.sqrt(1 / 12), 1, 2, "a period after the first visit")


def pair_density(delay: np.ndarray) -> np.ndarray:
    """Probability density of a pair's delay, float64[n], for delays in scan periods."""
    first, second = delay - 1, 3 - delay
    return np.select([(first >= 0) & (first < 1), (second > 0) & (first >= 1)],
                     [2 * first - first**2, second**2], 0.0)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where the copies are, and when each becomes known to KSM."""

    pages: np.ndarray
    """int64[copies, 3]: the pair, and the third page."""
    times: np.ndarray
    """int64[copies, 2] ns: of the pair, and of the third page."""


def places(pages: int, copies: int, period_ns: int) -> Place:
    """Random places in memory, and random times within one period each; always the same ones."""
    draw = np.random.default_rng(11)
    chosen = draw.choice(pages, (copies, 3), replace=False)
    phases = draw.random((copies, 2)) + np.array([_PAIRS_AT, _HITS_AT])
    return Place(chosen, (phases * period_ns).astype(np.int64))


def scan_period(pages: int) -> int:
    """ns of a full scan in which no page takes any time."""
    return (pages // BATCH + 1) * _WAKE_NS


def copies_among_others(checksum_first: bool, pages: int, copies: int) -> Scenario:
    """A guest in which copies become mergeable at random times, among pages that all differ.

    To become mergeable is to KSM what it is to come into being: the first visit finds the page.
    """
    place = places(pages, copies, scan_period(pages))
    period_ns = scan_period(pages)
    advice = [Advice(at=0, advice="unmergeable", start=int(page), size=1)
              for page in np.sort(place.pages, axis=None)]  # fmt: skip
    for at, mine in ((0, place.pages[:, :2]), (1, place.pages[:, 2:])):
        advice += [
            Advice(at=int(time), advice="mergeable", start=int(page), size=1)
            for time, row in zip(place.times[:, at], mine, strict=True)
            for page in row
        ]
    advice.sort(key=lambda one: one.at)
    free = dict.fromkeys((key for key in PRIMITIVES if key.startswith("ksm_")), 0)
    return Scenario(
        title=f"{copies:,} contents that occur three times among {pages:,} pages",
        duration=round((_HITS_AT + 3.2) * period_ns),
        sample_every=period_ns // 20,
        host=Host(cpus=2, costs=Costs(override={**free, "ksm_warm_pages": 1})),
        vms=[VM(name="guest", image=_image(place, pages), advice=tuple(advice))],
        sharing=Sharing(
            policy=Ksm(pages_to_scan=BATCH, smart_scan=False, checksum_first=checksum_first)
        ),
        events=True,
    )


def _image(place: Place, pages: int) -> Segments:
    """Runs of unlike pages, and between them the copies, each a segment that shares its name."""
    content = {int(page): copy for copy, row in enumerate(place.pages) for page in row}
    segments, at = [], 0
    for page in sorted(content):
        if page > at:
            segments.append(Segment(size=page - at))
        segments.append(Segment(size=1, shared_as=f"copy {content[page]}"))
        at = page + 1
    if at < pages:
        segments.append(Segment(size=pages - at))
    return Segments(segments=tuple(segments))


def measured_period(run: Run) -> float:
    """ns of a full scan, on average over the run's whole ones from the second one on."""
    ksm = run.timeline.query("entity == 'ksm'")
    ends = ksm.time_ns[ksm.full_scans.diff() > 0].to_numpy()
    scans = ksm.full_scans[ksm.full_scans.diff() > 0].to_numpy()
    return float((ends[-1] - ends[1]) / (scans[-1] - scans[1]))


def delays(run: Run, kind: Kind, copies: int) -> np.ndarray:
    """float64[copies]: scan periods until each pair, or each third page, was merged; NaN: never."""
    pages = run.scenario.vms[0].memory or 0
    place = places(pages, copies, scan_period(pages))
    events = run.events
    merges = events[events.kind == "merge"].sort_values("time_ns")
    merged: dict[int, int] = {}
    for time, page, other in zip(merges.time_ns, merges.page, merges.other_page, strict=True):
        for one in (page, other):
            merged.setdefault(int(one), int(time))
    at = 0 if kind == "pair" else 1
    mine = place.pages[:, 1] if kind == "pair" else place.pages[:, 2]
    waits = [merged.get(int(page), math.nan) for page in mine] - place.times[:, at]
    return np.asarray(waits, np.float64) / measured_period(run)


@dataclass
class Delays(Study):
    """Pairs and hits at random phases, under both orders of ksmd's tests."""

    name: ClassVar[str] = "ksm_delays"
    title: ClassVar[str] = "KSM: how long equal pages wait until they are merged"
    pages: int = PAGES
    copies: int = COPIES

    def runs(self) -> dict[str, Scenario]:
        return {
            name: copies_among_others(name == "now", self.pages, self.copies) for name in _ORDERS
        }

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        rows = []
        for name, words in _ORDERS.items():
            rows += self._of_law(PAIR, f"{words}: pair", delays(runs[name], "pair", self.copies))
            law = SECOND_VISIT if name == "now" else FIRST_VISIT
            rows += self._of_law(law, f"{words}: hit", delays(runs[name], "hit", self.copies))
        met = float(delays(runs["before-6.11"], "hit", self.copies).mean())
        within = _SIGMAS * FIRST_VISIT.spread / math.sqrt(self.copies)
        rows.append(Row(_XLH, "hit, stable tree first: mean", 0.5, met, within=within))
        return rows

    def _of_law(self, law: Law, what: str, waits: np.ndarray) -> list[Row]:
        within = _SIGMAS * law.spread / math.sqrt(self.copies)
        # Rounded to a wake-up; and the period grows by the copies that have become mergeable.
        slack = 1.5 * BATCH / self.pages + 3 * self.copies / self.pages
        return [
            Row(_SOURCE, f"{what}: mean", law.mean, float(waits.mean()), within=within,
                mark="derived", note=law.why),
            Row(_SOURCE, f"{what}: least", law.least, float(waits.min()), within=slack,
                relation="at least", mark="derived"),
            Row(_SOURCE, f"{what}: most", law.most, float(waits.max()), within=slack,
                relation="at most", mark="derived"),
        ]  # fmt: skip

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        periods = ", ".join(f"{measured_period(run) / 1e9:.3f} s" for run in runs.values())
        return [
            f"{self.copies:,} contents, three pages each, at random places among"
            f" {self.pages:,} pages; they become mergeable at random times. ksmd's work takes no"
            f" time. Scan periods as measured: {periods}.",
            f"Means must be within {_SIGMAS} standard deviations of the mean of so many; bounds"
            " within a wake-up and the growth of the period.",
            "The means are laws, not published measurements: they follow from the kernel's rules."
            " XLH quotes half a cycle for a page to be met.",
        ]

    def picture(self, runs: Mapping[str, Run], rows: list[Row]) -> "Figure":
        from sharesim.results.style import heading, stacked_figure
        from sharesim.results.titled import titled

        figure, panels = stacked_figure([2.2, 2.2])
        titled(figure, "Two visits, in one scan", f"{self.copies:,} pairs, and as many third pages")
        for axes, (name, words) in zip(panels, _ORDERS.items(), strict=True):
            heading(axes, words[0].upper() + words[1:], unit="share per scan period")
            _draw(axes, runs[name], self.copies)
        panels[0].tick_params(labelbottom=False)
        panels[-1].set_xlabel("delay, scan periods")
        return figure


def _draw(axes: "Axes", run: Run, copies: int) -> None:
    """Histograms of both kinds of delay, and the density of a pair's."""
    from sharesim.results.style import BLUE, INK, ORANGE, EndLabel, end_labels

    edges = np.linspace(0, 3, 31).tolist()
    for kind, colour in (("hit", ORANGE), ("pair", BLUE)):
        waits = delays(run, kind, copies)  # type: ignore[arg-type]
        mean = waits.mean()
        axes.hist(waits, edges, density=True, color=colour, alpha=0.55)
        axes.axvline(mean, color=colour, linewidth=1.2)
        axes.text(mean, 1.62, f" {kind}: {mean:.3f}", color=INK, fontsize=8.5)
    delay = np.linspace(0.9, 3.1, 221)
    axes.plot(delay, pair_density(delay), color=INK, linewidth=1.1)
    axes.set_ylim(0, 1.8)
    axes.set_xlim(0, 3.1)
    end_labels(axes, [EndLabel(0.05, "— law of a pair", INK)])


def study() -> Study:
    """As ``sharesim reproduce ksm_delays`` runs it."""
    return Delays()
