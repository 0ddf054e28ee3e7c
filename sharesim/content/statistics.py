"""What could be shared in memory, counted exactly: the columns of a capture's statistics.

One compiled kernel marks every page by where its content stands again; the columns are counts of
these marks. It sorts nothing and keeps 5 bytes per slot of a hash table without stored keys
(a slot names a page, whose content is looked up) and one byte a page.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sharesim.content.capture import Capture
from sharesim.content.classes import PageClass
from sharesim.kernel import njit_allocating

REPEATED = 1
"""An earlier page (in the order guest, page) has the same content: this copy could be given back"""
REPEATED_INSIDE = 2
"""An earlier page of the same guest has the same content."""
TWIN = 4
"""Another page, anywhere, has the same content."""
TWIN_ELSEWHERE = 8
"""A page of another guest has the same content."""

_EMPTY = 0xFFFFFFFF


@njit_allocating
def _mark(
    contents: np.ndarray,
    unbacked: np.ndarray,
    first_page: np.ndarray,
    slots: np.ndarray,
    marks: np.ndarray,
) -> None:
    mask = np.int64(len(slots) - 1)
    kinds = np.zeros(len(slots), np.uint8)
    for second_look in range(2):
        for guest in range(len(first_page) - 1):
            start = np.int64(first_page[guest])
            for page in range(start, np.int64(first_page[guest + 1])):
                content = np.uint64(contents[page])
                if content == np.uint64(0) or unbacked[page]:
                    continue
                mixed = content * np.uint64(0x9E3779B97F4A7C15)
                mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
                slot = np.int64(mixed >> np.uint64(32)) & mask
                held = np.int64(slots[slot])
                while held != _EMPTY and np.uint64(contents[held]) != content:
                    slot = (slot + 1) & mask
                    held = np.int64(slots[slot])
                if second_look == 1:
                    marks[page] |= kinds[slot]
                    continue
                # The slot keeps the latest page of the content, which tells both whether the
                # content was seen at all and whether it was seen in this guest.
                slots[slot] = page
                if held == _EMPTY:
                    continue
                kinds[slot] |= TWIN
                marks[page] |= REPEATED
                if held >= start:
                    marks[page] |= REPEATED_INSIDE
                else:
                    kinds[slot] |= TWIN_ELSEWHERE


def mark_pages(
    contents: np.ndarray, first_page: np.ndarray, unbacked: np.ndarray | None = None
) -> np.ndarray:
    """uint8[pages]: for every page the bits REPEATED, REPEATED_INSIDE, TWIN, TWIN_ELSEWHERE.

    ``contents`` is uint32 or uint64[pages], all guests one after another; guest g owns the pages
    ``first_page[g]:first_page[g + 1]``. Zero pages and ``unbacked`` ones (bool[pages]) get no bit.
    """
    pages = len(contents)
    if pages >= _EMPTY:
        raise ValueError(f"{pages} pages: at most {_EMPTY - 1} can be counted")
    marks = np.zeros(pages, dtype=np.uint8)
    if unbacked is None:
        unbacked = np.zeros(pages, dtype=bool)
    # At most three quarters full, counting every non-zero page as a content of its own.
    room = np.count_nonzero(contents) * 4 // 3 + 1
    slots = np.full(1 << int(room).bit_length(), _EMPTY, dtype=np.uint32)
    with np.errstate(over="ignore"):  # only matters without the JIT: hash arithmetic wraps
        _mark(contents, unbacked, first_page, slots, marks)
    return marks


@dataclass(frozen=True)
class PageCounts:
    """Pages of a host or of one of its guests, counted by what sharing could do with them.

    A guest's row looks at its pages as if the guest were alone, so that ``reclaimable`` is
    ``nonzero`` - ``distinct`` in every row, and a guest's ``reclaim_inter`` is 0; only
    ``shareable`` looks for twins anywhere on the host. ``repeated`` is what adds up over the guests
    to the host's ``reclaimable``: pages whose content a page before them has (in the order guest,
    page), so that the first guest keeps its copies and later ones give theirs back.
    """

    total: int
    backed: int
    unbacked: int
    """Never touched or given back: no storage on the host."""
    zero_backed: int
    """Stored, and all zero."""
    zero: int
    """``unbacked`` + ``zero_backed``."""
    nonzero: int
    distinct: int
    """Different contents among the non-zero pages."""
    shareable: int
    """Non-zero pages with at least one twin anywhere."""
    reclaimable: int
    """Non-zero pages beyond one copy of each content."""
    reclaim_intra: int
    """What each guest saves alone, summed."""
    reclaim_inter: int
    """What merging across guests adds: ``reclaimable`` - ``reclaim_intra``."""
    repeated: int
    """Non-zero pages whose content a page before them, anywhere on the host, has."""
    pages_in_multi_guest_contents: int
    """Non-zero pages with a twin in another guest."""
    changed: int
    """Pages whose content differs from the snapshot before (0 at the first)."""

    @property
    def repeated_between(self) -> int:
        """Of ``repeated``, the pages whose content was seen in earlier guests only."""
        return self.repeated - self.reclaim_intra


def count_pages(
    contents: np.ndarray,
    unbacked: np.ndarray,
    marks: np.ndarray,
    changed: int = 0,
    *,
    host: bool = False,
) -> PageCounts:
    """Count a guest's slice of the arrays of `mark_pages`, or (``host``) all of them."""
    total = len(contents)
    holes = int(np.count_nonzero(unbacked))
    nonzero = int(np.count_nonzero((contents != 0) & ~unbacked))
    repeated = _count(marks, REPEATED)
    inside = _count(marks, REPEATED_INSIDE)
    reclaimable = repeated if host else inside
    return PageCounts(
        total=total,
        backed=total - holes,
        unbacked=holes,
        zero_backed=total - holes - nonzero,
        zero=total - nonzero,
        nonzero=nonzero,
        distinct=nonzero - reclaimable,
        shareable=_count(marks, TWIN),
        reclaimable=reclaimable,
        reclaim_intra=inside,
        reclaim_inter=reclaimable - inside,
        repeated=repeated,
        pages_in_multi_guest_contents=_count(marks, TWIN_ELSEWHERE),
        changed=changed,
    )


def _count(marks: np.ndarray, bit: int) -> int:
    return int(np.count_nonzero(marks & bit))


@dataclass(frozen=True)
class SnapshotStatistics:
    """Everything counted in one snapshot, and the arrays it was counted from.

    ``contents`` uint32[pages], ``unbacked`` bool[pages] and ``marks`` uint8[pages] hold all guests
    one after another; guest g owns ``first_page[g]:first_page[g + 1]``.
    """

    snapshot: int
    host: PageCounts
    guests: tuple[PageCounts, ...]
    first_page: np.ndarray
    contents: np.ndarray
    unbacked: np.ndarray
    marks: np.ndarray


def snapshot_statistics(capture: Capture, snapshot: int) -> SnapshotStatistics:
    """Count one snapshot of a capture, for the host and for each of its guests."""
    guests = capture.guests
    # Changes first: they need the snapshot before, and walking forward is cheap.
    changed = [_changed(capture, number, snapshot) for number in range(len(guests))]
    first_page = np.cumsum([0, *(guest.pages for guest in guests)], dtype=np.int64)
    contents = np.concatenate([guest.contents(snapshot) for guest in guests])
    unbacked = np.concatenate([guest.unbacked(snapshot) for guest in guests])
    marks = mark_pages(contents, first_page, unbacked)
    slices = [slice(*first_page[number : number + 2].tolist()) for number in range(len(guests))]
    return SnapshotStatistics(
        snapshot=snapshot,
        host=count_pages(contents, unbacked, marks, sum(changed), host=True),
        guests=tuple(
            count_pages(contents[own], unbacked[own], marks[own], pages)
            for own, pages in zip(slices, changed, strict=True)
        ),
        first_page=first_page,
        contents=contents,
        unbacked=unbacked,
        marks=marks,
    )


def _changed(capture: Capture, number: int, snapshot: int) -> int:
    """A recorded change to the content that was there already is none."""
    if snapshot == 0:
        return 0
    guest = capture.guests[number]
    before = guest.contents(snapshot - 1)
    pages, contents = guest.changes(snapshot)
    return int(np.count_nonzero(before[pages] != contents))


def overlap_percent(contents: np.ndarray, first_page: np.ndarray) -> np.ndarray:
    """float64[guests, guests]: percent of guest g's non-zero pages whose content is also in h.

    A guest without non-zero pages has nothing anywhere: its row is 0.
    """
    guests = len(first_page) - 1
    numbers = np.unique(contents, return_inverse=True)[1]
    owned = [slice(first_page[guest], first_page[guest + 1]) for guest in range(guests)]
    nonzero = [numbers[own][contents[own] != 0] for own in owned]
    overlap = np.zeros((guests, guests))
    present = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=bool)
    for other in range(guests):
        present[:] = False
        present[nonzero[other]] = True
        for guest in range(guests):
            if len(nonzero[guest]):
                overlap[guest, other] = 100 * np.mean(present[nonzero[guest]])
    return overlap


@dataclass(frozen=True)
class ClassCounts:
    """The pages of one class over all guests: how many, zero, with a twin, with one elsewhere."""

    page_class: PageClass
    pages: int
    zero: int
    twin: int
    twin_elsewhere: int
    reclaimable: int


def count_classes(
    contents: np.ndarray, marks: np.ndarray, classes: np.ndarray
) -> list[ClassCounts]:
    """One row for each page class that occurs (``classes``: uint8[pages] of `PageClass`)."""

    def count(among: np.ndarray) -> Sequence[int]:
        counts: list[int] = np.bincount(classes[among], minlength=len(PageClass)).tolist()
        return counts

    everything = count(np.ones(len(classes), dtype=bool))
    zero = count(contents == 0)
    twin, elsewhere, repeated = (
        count((marks & bit) != 0) for bit in (TWIN, TWIN_ELSEWHERE, REPEATED)
    )
    return [
        ClassCounts(kind, everything[kind], zero[kind], twin[kind], elsewhere[kind], repeated[kind])
        for kind in PageClass
        if everything[kind]
    ]


def class_statistics(capture: Capture, statistics: SnapshotStatistics) -> list[ClassCounts]:
    """Page classes at a snapshot by each guest's last report before it; empty without reports."""
    seconds = float(capture.times[statistics.snapshot])
    reports = []
    for guest in capture.guests:
        report = guest.classes(seconds)
        reports.append(np.zeros(guest.pages, np.uint8) if report is None else report)
    if not any(guest.has_classes for guest in capture.guests):
        return []
    return count_classes(statistics.contents, statistics.marks, np.concatenate(reports))
