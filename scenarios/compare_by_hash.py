"""Compare-by-hash: what trusting digests corrupts, by width of the digest and size of memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sharesim import Run, Scenario, UserError
from sharesim.content.birthday import Birthday
from sharesim.content.digest_names import DigestName
from sharesim.reproductions.collisions import judged, unlike_pages
from sharesim.spec.units import parse_size, show_size
from sharesim.study import Row, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAW = "digests trusted: wrong merges, by the birthday law"
BOUND = "digests trusted: corrupted pages, by the birthday bound n (n - 1)/2^(b + 1)"
COMPARED = "bytes compared: corrupted pages"


def study(
    memory: tuple[str, ...] = ("128 MiB", "512 MiB", "2 GiB"),
    bits: tuple[int, ...] = (12, 16, 20, 24, 28, 32),
    digest: DigestName = "sfh",
    contents: int = 1,
) -> Study:
    """A guest of pages that all differ, scanned once: whatever is merged is corrupted.

    With and without comparing bytes, next to the birthday law. Nobody writes.

    memory: sizes of the guest
    bits: widths to which the digest is cut
    digest: the hash function; sfh, jhash2 and crc32 give 32 bits, the others 64
    contents: number of a set of contents; another one gives another sample
    """
    try:
        sizes = tuple(map(parse_size, memory))
    except ValueError as error:
        raise UserError(f"memory: {error}") from None
    if not sizes or min(bits, default=0) < 2:
        raise UserError(f"found memory {memory} and bits {bits}; give sizes, and widths from 2 on")
    return CompareByHash(sizes, bits, digest, f"guest-{contents}")


@dataclass
class CompareByHash(Study):
    """Each size of memory with each width, trusting digests and comparing bytes."""

    name = "compare_by_hash"
    title = "Compare-by-hash: pages corrupted by trusting digests"
    sizes: tuple[int, ...]
    """In pages."""
    bits: tuple[int, ...]
    digest: DigestName
    guest: str

    def runs(self) -> dict[str, Scenario]:
        return {
            self.run_name(verify, pages, bits): unlike_pages(
                pages, bits=bits, digest=self.digest, verify=verify, guest=self.guest
            )
            for verify in (False, True)
            for pages in self.sizes
            for bits in self.bits
        }

    def run_name(self, verify: bool, pages: int, bits: int) -> str:
        """The folder of a run, such as ``trust-512MiB-24``."""
        return f"{'verify' if verify else 'trust'}-{show_size(pages).replace(' ', '')}-{bits}"

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        cases = [Birthday(pages, bits) for pages in self.sizes for bits in self.bits]
        trusted = [runs[self.run_name(False, law.pages, law.bits)] for law in cases]
        by_law = [
            judged(
                LAW, words(law), law.repeats, counted(run, "wrong_merges"), law.repeats_spread,
                pairs_expected=law.pairs,
            )
            for law, run in zip(cases, trusted, strict=True)
        ]  # fmt: skip
        by_bound = [
            Row(
                BOUND, words(law), law.pairs, counted(run, "corrupted_pages"),
                relation="at most", mark="derived", note="an expected number: chance may exceed it",
            )
            for law, run in zip(cases, trusted, strict=True)
        ]  # fmt: skip
        return [*by_law, *by_bound, *(self.compared(runs, pages) for pages in self.sizes)]

    def compared(self, runs: Mapping[str, Run], pages: int) -> Row:
        """Corrupted pages under all widths together: none."""
        mine = [runs[self.run_name(True, pages, bits)] for bits in self.bits]
        corrupted = [counted(run, "corrupted_pages") for run in mine]
        met = sum(run.summary["counters"]["false_matches"] for run in mine)
        return Row(
            COMPARED, f"{show_size(pages)}, all widths", 0,
            None if None in corrupted else sum(filter(None, corrupted)),
            relation="equal", mark="derived", note=f"{met:,} false matches were met",
        )  # fmt: skip

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        unfinished = [name for name, run in runs.items() if not run.summary["scanner"]["passes"]]
        notes = [
            f"Digest {self.digest}, cut to so many bits; an ideal function of the content, which a"
            " real one is at best as good as.",
            "All pages differ and nobody writes, so that each wrong merge corrupts a page for good."
            " Of a real guest only its different contents count.",
        ]
        if unfinished:
            notes.append(f"Not judged, the scanner did not get through: {', '.join(unfinished)}.")
        return notes

    def picture(self, runs: Mapping[str, Run], rows: list[Row]) -> "Figure":
        from matplotlib.figure import Figure

        from sharesim.results.titled import titled

        figure = Figure(figsize=(10.5, 5.2), facecolor="white")
        by_size, by_width = figure.subplots(1, 2)
        figure.subplots_adjust(left=0.085, right=0.91, top=0.8, bottom=0.1, wspace=0.4)
        remark = "dots: digests trusted; crosses: bytes compared; lines: birthday law"
        titled(figure, self.title, f"{remark}, dashed its bound")
        draw_panel(by_size, "Pages corrupted, by size of memory", self.lines_by_size(runs))
        by_size.set_xscale("log", base=2)
        by_size.set_xticks(self.sizes, [show_size(pages) for pages in self.sizes], minor=False)
        draw_panel(by_width, "Pages corrupted, by width of the digest", self.lines_by_width(runs))
        by_width.set_xticks(self.bits, [f"{bits} bits" for bits in self.bits])
        return figure

    def lines_by_size(self, runs: Mapping[str, Run]) -> list["Line"]:
        """A line for each width, over somewhat more than the sizes that were run."""
        ends = min(self.sizes) / 1.5, max(self.sizes) * 1.5
        sizes = np.geomspace(*ends, num=80).round().astype(int).tolist()
        return [
            Line(
                f"{bits} bits",
                {pages: Birthday(pages, bits) for pages in sizes},
                {pages: self.corrupted(runs, pages, bits) for pages in self.sizes},
            )
            for bits in self.bits
        ]

    def lines_by_width(self, runs: Mapping[str, Run]) -> list["Line"]:
        """A line for each size, over somewhat more than the widths that were run."""
        widths = range(max(min(self.bits) - 1, 2), max(self.bits) + 2)
        return [
            Line(
                show_size(pages),
                {bits: Birthday(pages, bits) for bits in widths},
                {bits: self.corrupted(runs, pages, bits) for bits in self.bits},
            )
            for pages in self.sizes
        ]

    def corrupted(self, runs: Mapping[str, Run], pages: int, bits: int) -> list[int | None]:
        """Pages corrupted where digests are trusted, and where bytes are compared."""
        names = (self.run_name(verify, pages, bits) for verify in (False, True))
        return [counted(runs[name], "corrupted_pages") for name in names]


class Line(NamedTuple):
    """A line of a panel, and the runs on it."""

    label: str
    laws: dict[int, Birthday]
    """By x."""
    runs: dict[int, list[int | None]]
    """By x: pages corrupted where digests are trusted, and where bytes are compared."""


def draw_panel(axes: "Axes", title: str, lines: list[Line]) -> None:
    """Pages corrupted on a log scale, with zero."""
    from sharesim.results import style

    style.heading(axes, title)
    style.log_with_zero(axes, 1, max(law.repeats for line in lines for law in line.laws.values()))
    labels = []
    for line, colour in zip(lines, cycle(style.LINE_COLOURS), strict=False):
        repeats = [law.repeats for law in line.laws.values()]
        pairs = [law.pairs for law in line.laws.values()]
        axes.plot(list(line.laws), pairs, color=colour, linewidth=0.6, linestyle="--")
        axes.plot(list(line.laws), repeats, color=colour, linewidth=1)
        dots = np.array(list(line.runs.values()), np.float64)  # None, not counted, becomes NaN
        axes.plot(list(line.runs), dots[:, 0], "o", color=colour, markersize=5)
        axes.plot(list(line.runs), dots[:, 1], "x", color=colour, markersize=5, clip_on=False)
        labels.append(style.EndLabel(repeats[-1], line.label, colour))
    axes.set_xlim(min(lines[0].laws), max(lines[0].laws))
    style.end_labels(axes, labels)


def words(law: Birthday) -> str:
    """Which case it is."""
    return f"{show_size(law.pages)}, {law.bits} bits"


def counted(run: Run, counter: str) -> int | None:
    """A counter of a run; None if its scanner did not get through memory once."""
    count: int = run.summary["counters"][counter]
    return count if run.summary["scanner"]["passes"] else None
