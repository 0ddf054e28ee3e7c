"""`sharesim inspect`: what could be shared in one snapshot of a capture, as JSON and as a table."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sharesim.content.capture import Capture, CapturedGuest
from sharesim.content.capture_file import PAGE_SIZE
from sharesim.content.statistics import (
    ClassCounts,
    PageCounts,
    SnapshotStatistics,
    class_statistics,
    overlap_percent,
    snapshot_statistics,
)

_SHOWN_GUESTS = 16
_COLUMNS = {
    "total": "total",
    "unbacked": "unbacked",
    "zero": "zero_backed",
    "non-zero": "nonzero",
    "distinct": "distinct",
    "twins": "shareable",
    "repeated": "repeated",
    "inside": "reclaim_intra",
    "between": "repeated_between",
    "changed": "changed",
}
_LEGEND = """\
unbacked: no storage on the host; zero: stored and all zero; twins: non-zero pages with an equal
page anywhere; repeated: an earlier page has the content already, so this copy could be given back,
within one guest (inside) or only across guests (between)"""


def inspect_json(capture: Capture, seconds: float | None = None) -> dict[str, Any]:
    """Page counts of the snapshot at a time (default: the first), ready for `json.dumps`.

    ``{"capture", "time_s", "host": {...}, "guests": [{"name", "workload", ...}]}`` where ``...``
    are the fields of `PageCounts`, in pages, and a guest's name is its label in the capture.
    `UserError` when the time lies outside the capture.
    """
    snapshot = _snapshot(capture, seconds)
    statistics = snapshot_statistics(capture, snapshot)
    return {
        "capture": capture.name,
        "time_s": float(capture.times[snapshot]),
        "host": asdict(statistics.host),
        "guests": [
            {"name": guest.label, "workload": guest.workload, **asdict(counts)}
            for guest, counts in zip(capture.guests, statistics.guests, strict=True)
        ],
    }


def inspect_text(capture: Capture, seconds: float | None = None) -> str:
    """The same as tables for a terminal, with the overlap of guests and the classes of pages."""
    snapshot = _snapshot(capture, seconds)
    statistics = snapshot_statistics(capture, snapshot)
    parts = [
        _heading(capture, snapshot),
        _reading(statistics.host),
        _counts_table(capture, statistics),
        _overlap_table(capture, statistics),
        _class_table(class_statistics(capture, statistics)),
    ]
    return "\n\n".join(part for part in parts if part)


def _snapshot(capture: Capture, seconds: float | None) -> int:
    return 0 if seconds is None else capture.snapshot_at(seconds)


def _heading(capture: Capture, snapshot: int) -> str:
    seconds = round(float(capture.times[snapshot]), 2)
    position = f"snapshot {snapshot + 1} of {capture.snapshots}, at {seconds:g} s"
    return f"{capture.name}: {capture.help}\n{position}"


def _reading(host: PageCounts) -> str:
    """The one sentence to take home: all that instant perfect sharing would give back."""
    # One stored zero page must stay, as one copy of every other content does.
    zero = max(0, host.zero_backed - 1)
    saved = host.reclaimable + zero
    share = 100 * saved / host.backed if host.backed else 0.0
    return (
        f"Perfect sharing would give back {_mib(saved)} of {_mib(host.backed)} MiB in use "
        f"({share:.0f} %): {_mib(zero)} zero,\n"
        f"{_mib(host.reclaim_intra)} equal inside one guest, "
        f"{_mib(host.reclaim_inter)} equal between guests."
    )


def _counts_table(capture: Capture, statistics: SnapshotStatistics) -> str:
    rows = [["MiB", *_COLUMNS]]
    counted = [
        (_title(guest), counts)
        for guest, counts in zip(capture.guests, statistics.guests, strict=True)
    ]
    for title, counts in [("host", statistics.host), *counted]:
        rows.append([title, *(_mib(getattr(counts, field)) for field in _COLUMNS.values())])
    return f"{_table(rows)}\n{_LEGEND}"


def _overlap_table(capture: Capture, statistics: SnapshotStatistics) -> str:
    if len(capture.guests) < 2:
        return ""
    percent = overlap_percent(statistics.contents, statistics.first_page)
    shown = capture.guests[:_SHOWN_GUESTS]
    rows = [["% also in", *(guest.label for guest in shown)]]
    for guest, line in zip(shown, percent, strict=False):
        rows.append([_title(guest), *(f"{value:.0f}" for value in line[: len(shown)])])
    more = len(capture.guests) - len(shown)
    note = f" ({more} more guests not shown)" if more else ""
    return f"Of a guest's non-zero pages, how many have their content in another{note}\n" + _table(
        rows
    )


def _class_table(classes: Sequence[ClassCounts]) -> str:
    if not classes:
        return "Page classes: the guests did not report what they used their pages for."
    rows = [["class", "MiB", "zero %", "twin %", "twin elsewhere %", "reclaim MiB"]]
    for row in classes:
        percents = (row.zero, row.twin, row.twin_elsewhere)
        cells = [f"{100 * pages / row.pages:.0f}" for pages in percents]
        rows.append([row.page_class.label, _mib(row.pages), *cells, _mib(row.reclaimable)])
    return "What the guests used their pages for (zero includes unbacked)\n" + _table(rows)


def _title(guest: CapturedGuest) -> str:
    known = guest.name == guest.label or guest.name.startswith(f"{guest.label}-")
    return guest.name if known else f"{guest.label} {guest.name}"


def _mib(pages: int) -> str:
    return f"{pages * PAGE_SIZE / 2**20:,.1f}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned, the first to the left and the numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
