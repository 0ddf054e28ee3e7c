"""R37: what the guests used redundant pages for, on captures of real guests.

A report of 2007 found by kernel introspection that 64 to 94 % of redundant data lay in page caches
(Kloster, Kristensen and Mejlholm, as XLH cites it); XLH (Miller et al., USENIX ATC 2013) gives the
classes of duplicate pages of desktop guests. What they counted as such is not known in full, and
their guests were others: these figures are shown beside ours under several readings, and not
judged. What is judged is that a run of the frozen snapshot agrees with the counting.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sharesim.content.capture import open_capture
from sharesim.content.classes import PageClass
from sharesim.content.statistics import REPEATED, TWIN, TWIN_ELSEWHERE, mark_pages
from sharesim.errors import UserError
from sharesim.guest.layout import lay_out
from sharesim.results.run import Run
from sharesim.spec.images import Captured
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Host, Scenario, Sharing
from sharesim.study import Row, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SCAN_RATE = 100_000
_RUN = "frozen"
_AALBORG = "R37: page caches' share of redundant data, Aalborg report 2007 in XLH"
_PUBLISHED = (64, 94)
"""Per cent."""
_XLH = "R37: classes of duplicate pages, XLH, USENIX ATC 2013"
_HERE = "R37: pages of the frozen snapshot, counted and run"


@dataclass(frozen=True)
class Reading:
    """Which redundant pages count: without some classes, with or without stored zero pages."""

    words: str
    without: tuple[PageClass, ...] = ()
    zero: bool = False


READINGS = (
    Reading("all classes"),
    Reading("all classes, zero pages too", zero=True),
    Reading("without reserved", (PageClass.RESERVED,)),
    Reading("without reserved and free", (PageClass.RESERVED, PageClass.FREE)),
)
MEASURES = {"equal in another guest": TWIN_ELSEWHERE, "copies": REPEATED}
"""What makes a page redundant: an equal one in another guest (the report's title speaks of pages
shareable between domains), or an earlier one anywhere."""


class Snapshot:
    """All pages of a capture's guests at one time: their marks, classes, and which are zero."""

    def __init__(self, vms: tuple[VM, ...]) -> None:
        layouts = [lay_out(vm, "4 KiB") for vm in vms]
        first = np.cumsum([0, *(len(one.contents) for one in layouts)], dtype=np.int64)
        contents = np.concatenate([one.contents for one in layouts])
        stored = np.concatenate([one.populated for one in layouts])
        self.classes = np.concatenate([one.classes for one in layouts])
        self.marks = mark_pages(contents, first, ~stored)
        self.zero = stored & (contents == 0)
        self.zero_copies = self.zero & (np.cumsum(self.zero) > 1)

    def redundant(self, mark: int, *, zero: bool) -> np.ndarray:
        """int64[classes]: pages with a mark, by class; ``zero``: and stored zero pages."""
        chosen = (self.marks & mark) != 0
        if zero:
            chosen |= self.zero_copies if mark == REPEATED else self.zero
        return np.bincount(self.classes[chosen], minlength=len(PageClass))

    def shares(self, mark: int, reading: Reading) -> np.ndarray:
        """float64[classes]: each class's share of what is redundant, %; NaN where nothing is."""
        pages = self.redundant(mark, zero=reading.zero).astype(np.float64)
        pages[list(reading.without)] = 0
        return 100 * pages / pages.sum() if pages.any() else np.full(len(pages), np.nan)


def frozen_guests(capture: str, at: str | int) -> tuple[VM, ...]:
    """The guests of a capture as they were at a time, idle."""
    return tuple(
        VM(
            name=guest.name,
            memory=guest.pages,
            image=Captured(capture=capture, guest=guest.name, at=at),
        )
        for guest in open_capture(capture).guests
    )


@dataclass
class Duplicates(Study):
    """Redundant pages by class at a time in a capture, and the snapshot shared by a run."""

    name: ClassVar[str] = "duplicates"
    title: ClassVar[str] = "Where redundant pages lie"
    capture: str
    at: str | int
    """Time in the capture, as text or in ns."""

    def runs(self) -> dict[str, Scenario]:
        capture = open_capture(self.capture)
        if not all(guest.has_classes for guest in capture.guests):
            raise UserError(
                f"capture {self.capture}: its guests did not all report what they used their pages"
                " for"
            )
        seconds = capture.pages / _SCAN_RATE + 0.1
        return {
            _RUN: Scenario(
                title=f"{capture.name}, frozen",
                duration=round(seconds * 1e9),
                sample_every=round(seconds * 1e8),
                host=Host(cpus=2),
                vms=frozen_guests(self.capture, self.at),
                sharing=Sharing(policy=Cbps(scan_rate=_SCAN_RATE)),
            )
        }

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        run = runs[_RUN]
        snapshot = Snapshot(run.scenario.vms)
        return [*_page_cache(snapshot), *_classes(snapshot), *_agreement(snapshot, run)]

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        times = open_capture(self.capture).times_ns.tolist()
        snapshots = [Snapshot(frozen_guests(self.capture, at)) for at in times]
        ranges = []
        for reading in READINGS:
            shares = [one.shares(TWIN_ELSEWHERE, reading) for one in snapshots]
            cache = [float(share[PageClass.PAGE_CACHE]) for share in shares]
            ranges.append(f"{reading.words} {min(cache):.0f} to {max(cache):.0f} %")
        return [
            f"Page cache, equal in another guest, over the {len(times)} snapshots of"
            f" {self.capture}: {'; '.join(ranges)}.",
            "Which classes count decides. Reserved pages are the kernel's image and what was set"
            " aside at boot, a large part of small guests booted from one image; free pages keep"
            " what they held last, until a balloon takes them.",
        ]

    def picture(self, runs: Mapping[str, Run], rows: list[Row]) -> "Figure":
        from sharesim.results.style import heading, stacked_figure
        from sharesim.results.titled import titled

        snapshot = Snapshot(runs[_RUN].scenario.vms)
        figure, (axes,) = stacked_figure([3.4])
        titled(figure, self.title, f"{self.capture}: pages with an equal one in another guest")
        heading(axes, "By page class")
        _draw(axes, snapshot)
        return figure


def _page_cache(snapshot: Snapshot) -> list[Row]:
    """The share of the page cache under all readings."""
    low, high = _PUBLISHED
    return [
        Row(
            _AALBORG, f"{measure}, {reading.words}", low,
            float(snapshot.shares(mark, reading)[PageClass.PAGE_CACHE]), "%",
            relation="at least", mark="secondary",
            note=f"{low} to {high} % of others' guests; what was counted is not known",
        )
        for measure, mark in MEASURES.items()
        for reading in READINGS
    ]  # fmt: skip


def _classes(snapshot: Snapshot) -> list[Row]:
    """XLH's three classes among all pages that have an equal one."""
    shares = snapshot.shares(TWIN, READINGS[0])
    published = {
        "page cache": (70, (PageClass.PAGE_CACHE,)),
        "anonymous": (14, (PageClass.ANONYMOUS,)),
        "free or reserved": (15, (PageClass.FREE, PageClass.RESERVED)),
    }
    note = "theirs were desktop guests; ours: pages with an equal one anywhere, none zero"
    return [
        Row(_XLH, words, figure, float(shares[list(classes)].sum()), "%", note=note)
        for words, (figure, classes) in published.items()
    ]


def _agreement(snapshot: Snapshot, run: Run) -> list[Row]:
    """Pages saved by a run, and its opportunity in each class, against the counting."""
    copies = snapshot.redundant(REPEATED, zero=True)
    end = run.timeline.query("entity == 'host'").iloc[-1]

    def equal(figure: str, count: int, simulated: int) -> Row:
        note = "copies, zero pages too"
        return Row(_HERE, figure, count, simulated, relation="equal", mark="counted", note=note)

    return [
        equal("saved by a scan", int(copies.sum()), int(end.saved_pages)),
        *(
            equal(
                f"opportunity, {kind.label}", int(copies[kind]),
                int(end[f"opportunity_{kind.name.lower()}_pages"]),
            )
            for kind in PageClass
            if copies[kind]
        ),
    ]  # fmt: skip


def _draw(axes: "Axes", snapshot: Snapshot) -> None:
    """The published range, and below it a bar for each reading, the page cache first."""
    from sharesim.results.style import FAINT, INK, LIGHT_GREEN, LINE_COLOURS, MUTED

    low, high = _PUBLISHED
    axes.barh(0, high - low, left=low, height=0.2, color=MUTED)
    axes.text(0, -0.3, f"page cache, report of 2007: {low} to {high} %", color=INK)
    shares = np.array([snapshot.shares(TWIN_ELSEWHERE, reading) for reading in READINGS])
    kinds = sorted(PageClass, key=lambda kind: kind != PageClass.PAGE_CACHE)
    colours = dict(zip(kinds, (*LINE_COLOURS[:-1], LIGHT_GREEN, FAINT), strict=True))
    for kind in [kind for kind in kinds if shares[:, kind].any()]:
        done = shares[:, kinds[: kinds.index(kind)]].sum(axis=1)
        axes.barh(
            range(1, len(READINGS) + 1), shares[:, kind], left=done, height=0.45,
            color=colours[kind], label=kind.label,
        )  # fmt: skip
    for number, reading in enumerate(READINGS):
        axes.text(0, number + 0.7, reading.words, color=INK)
    axes.set_ylim(len(READINGS) + 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of redundant pages")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)


def study(capture: str = "mixed6-60s", at: str | None = None) -> Study:
    """What redundant pages were used for, in a capture whose guests told.

    capture: name of a capture that comes with sharesim, or path of one
    at: time within the capture; none is its last snapshot
    """
    return Duplicates(capture, int(open_capture(capture).times_ns[-1]) if at is None else at)
