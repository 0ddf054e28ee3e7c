"""Statistics: equal to published counts of a real capture, and to a naive count of anything."""

import json
from collections import Counter, defaultdict
from dataclasses import asdict, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharesim.content.capture import open_capture
from sharesim.content.classes import PageClass
from sharesim.content.inspect import inspect_json, inspect_text
from sharesim.content.statistics import (
    REPEATED,
    REPEATED_INSIDE,
    TWIN,
    TWIN_ELSEWHERE,
    PageCounts,
    class_statistics,
    count_classes,
    count_pages,
    mark_pages,
    overlap_percent,
    snapshot_statistics,
)
from sharesim.errors import UserError

COLUMNS = [field.name for field in fields(PageCounts)]

# Counted from the recording itself by another program, when it was made.
SNAPSHOTS = (0, 1, 6, 12)
SHIPPED = {
    "total": (270336, 270336, 270336, 270336),
    "unbacked": (40828, 39882, 34909, 23477),
    "zero_backed": (30334, 30289, 30372, 28195),
    "zero": (71162, 70171, 65281, 51672),
    "backed": (229508, 230454, 235427, 246859),
    "nonzero": (199174, 200165, 205055, 218664),
    "distinct": (112536, 113557, 116074, 130781),
    "shareable": (102664, 102645, 104989, 105561),
    "reclaimable": (86638, 86608, 88981, 87883),
    "reclaim_intra": (12249, 12113, 13388, 15165),
    "reclaim_inter": (74389, 74495, 75593, 72718),
    "pages_in_multi_guest_contents": (100410, 100525, 101614, 100339),
    "changed": (0, 10128, 9595, 9463),
}


def shipped_row(snapshot: int) -> dict[str, int]:
    row = {column: counts[SNAPSHOTS.index(snapshot)] for column, counts in SHIPPED.items()}
    return row | {"repeated": row["reclaimable"]}


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_shipped_capture(snapshot: int) -> None:
    statistics = snapshot_statistics(open_capture("mixed6-60s"), snapshot)
    assert asdict(statistics.host) == shipped_row(snapshot)


# -- against a naive count -------------------------------------------------------------------------

Guest = list[tuple[int, bool]]
"""Content and whether the page is unbacked, page by page."""

few = st.integers(0, 12)
wide = st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1])
hosts = st.lists(
    st.lists(st.tuples(few | wide, st.sampled_from([False, False, True])), max_size=40),
    min_size=1,
    max_size=4,
)


def arrays(host: list[Guest]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pages = [page for guest in host for page in guest]
    contents = np.array([content for content, _ in pages], dtype=np.uint64)
    unbacked = np.array([hole for _, hole in pages], dtype=bool)
    return contents, unbacked, np.cumsum([0, *map(len, host)], dtype=np.int64)


def naive_marks(host: list[Guest]) -> list[int]:
    places: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, guest in enumerate(host):
        for page, (content, hole) in enumerate(guest):
            if content and not hole:
                places[content].append((number, page))
    marks = []
    for number, guest in enumerate(host):
        for page, (content, hole) in enumerate(guest):
            others = [p for p in places[content] if p != (number, page)] if not hole else []
            earlier = [p for p in others if p < (number, page)]
            marks.append(
                (REPEATED if earlier else 0)
                | (REPEATED_INSIDE if any(g == number for g, _ in earlier) else 0)
                | (TWIN if others else 0)
                | (TWIN_ELSEWHERE if any(g != number for g, _ in others) else 0)
            )
    return marks


@settings(max_examples=150, deadline=None)
@given(hosts)
def test_marks_equal_the_naive_ones(host: list[Guest]) -> None:
    contents, unbacked, first_page = arrays(host)
    assert mark_pages(contents, first_page, unbacked).tolist() == naive_marks(host)


@settings(max_examples=100, deadline=None)
@given(hosts)
def test_counts_equal_the_naive_ones(host: list[Guest]) -> None:
    contents, unbacked, first_page = arrays(host)
    marks = mark_pages(contents, first_page, unbacked)
    counts = count_pages(contents, unbacked, marks, host=True)
    stored = [[content for content, hole in guest if content and not hole] for guest in host]
    times = Counter(content for guest in stored for content in guest)
    assert counts.nonzero == times.total()
    assert counts.distinct == len(times)
    assert counts.shareable == sum(count for count in times.values() if count > 1)
    assert counts.reclaimable == times.total() - len(times)
    assert counts.reclaim_intra == sum(len(guest) - len(set(guest)) for guest in stored)
    assert counts.reclaim_inter == counts.reclaimable - counts.reclaim_intra
    assert counts.zero == counts.unbacked + counts.zero_backed == counts.total - counts.nonzero
    assert counts.unbacked == sum(hole for guest in host for _, hole in guest)


def test_32_and_64_bit_contents_are_counted_alike() -> None:
    contents = np.array([5, 5, 0, 7, 5, 7], dtype=np.uint32)
    first_page = np.array([0, 3, 6])
    marks = mark_pages(contents, first_page)
    assert marks.tolist() == mark_pages(contents.astype(np.uint64), first_page).tolist()
    inside = REPEATED | REPEATED_INSIDE | TWIN
    assert marks.tolist() == [
        TWIN | TWIN_ELSEWHERE,
        inside | TWIN_ELSEWHERE,
        0,
        TWIN,
        REPEATED | TWIN | TWIN_ELSEWHERE,
        inside,
    ]


def test_a_guests_own_columns_and_those_that_add_up() -> None:
    """A guest's distinct contents are its own; everything else adds up to the host."""
    statistics = snapshot_statistics(open_capture("mixed6-60s"), 7)
    host = asdict(statistics.host)
    guests = [asdict(counts) for counts in statistics.guests]
    for column in COLUMNS:
        if column not in ("distinct", "reclaimable", "reclaim_inter"):
            assert sum(guest[column] for guest in guests) == host[column], column
    assert sum(guest["repeated"] for guest in guests) == host["reclaimable"]
    for number, guest in enumerate(guests):
        own = slice(*statistics.first_page[number : number + 2])
        assert guest["distinct"] == len(np.unique(statistics.contents[own])) - 1
        assert guest["reclaimable"] == guest["nonzero"] - guest["distinct"]
        assert guest["reclaim_inter"] == guest["reclaimable"] - guest["reclaim_intra"] == 0


# -- overlap and classes ---------------------------------------------------------------------------


def test_overlap() -> None:
    contents = np.array([1, 1, 2, 3, 1, 0, 0, 0], dtype=np.uint64)
    overlap = overlap_percent(contents, np.array([0, 4, 6, 8]))
    assert overlap.tolist() == [[100, 50, 0], [100, 100, 0], [0, 0, 0]]


def test_classes() -> None:
    contents = np.array([0, 4, 4, 0, 4, 9], dtype=np.uint32)
    marks = mark_pages(contents, np.array([0, 3, 6]))
    classes = np.array([1, 2, 1, 2, 2, 3], dtype=np.uint8)
    rows = count_classes(contents, marks, classes)
    assert [
        (row.page_class, row.pages, row.zero, row.twin, row.twin_elsewhere, row.reclaimable)
        for row in rows
    ] == [
        (PageClass.FREE, 2, 1, 1, 1, 1),
        (PageClass.PAGE_CACHE, 3, 1, 2, 2, 1),
        (PageClass.ANONYMOUS, 1, 0, 0, 0, 0),
    ]


def test_classes_of_the_shipped_capture_cover_all_pages() -> None:
    capture = open_capture("mixed6-60s")
    statistics = snapshot_statistics(capture, 12)
    rows = class_statistics(capture, statistics)
    assert sum(row.pages for row in rows) == capture.pages
    assert sum(row.twin for row in rows) == statistics.host.shareable
    assert sum(row.reclaimable for row in rows) == statistics.host.reclaimable
    twins = {row.page_class: row.twin / row.pages for row in rows}
    assert twins[PageClass.PAGE_CACHE] > 0.6
    assert twins[PageClass.SLAB] < 0.02


# -- inspect ---------------------------------------------------------------------------------------


def test_inspect_json() -> None:
    report = inspect_json(open_capture("mixed6-60s"), 60)
    assert json.loads(json.dumps(report)) == report
    assert report["capture"] == "mixed6-60s"
    assert report["time_s"] == pytest.approx(60, abs=0.01)
    assert report["host"] == shipped_row(12)
    assert [guest["name"] for guest in report["guests"]] == ["g0", "g1", "g2", "g3", "g4", "g5"]
    assert set(COLUMNS) < set(report["guests"][0])


def test_inspect_takes_the_first_snapshot_when_not_told() -> None:
    capture = open_capture("mixed6-60s")
    assert inspect_json(capture) == inspect_json(capture, 0)
    with pytest.raises(UserError, match="it runs from 0 s to 60 s"):
        inspect_json(capture, 61)


def test_inspect_text() -> None:
    text = inspect_text(open_capture("mixed6-60s"))
    assert "snapshot 1 of 13, at 0 s" in text
    assert "give back 456.9 of 896.5 MiB in use (51 %): 118.5 zero" in text
    assert "page cache" in text
    assert "g4 redis" in text
    assert max(map(len, text.splitlines())) <= 100
