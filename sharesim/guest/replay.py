"""A captured guest as work: its changes, spread over the intervals in which they were seen.

A capture tells what changed between two snapshots, not when. Each change gets a seeded offset
within its interval (all at one instant would be a false COW storm). The guest wakes each tick, does
that tick's share of the CPU time it was seen to use, and makes the changes that fell due.
"""

from dataclasses import dataclass

import numpy as np

from sharesim.content.capture import CapturedGuest, open_capture
from sharesim.content.classes import PageClass
from sharesim.content.ksm_case import open_case
from sharesim.errors import UserError
from sharesim.guest.layout import capture_key, ids_of
from sharesim.guest.phases import (
    CHANGE_CLASS,
    CHANGE_PIN,
    CHANGE_RELEASE,
    CHANGE_SAME,
    CHANGE_UNPIN,
    CHANGE_WRITE,
)
from sharesim.spec.images import Captured
from sharesim.spec.units import show_time
from sharesim.spec.workloads import Replay, Scripted


@dataclass
class Ticks:
    """A replay as arrays; changes are in order of tick."""

    at: np.ndarray
    """int64[ticks]: when each tick is due, ns."""
    first: np.ndarray
    """int64[ticks + 1]: first change of each tick."""
    work: np.ndarray
    """int64[ticks] ns of CPU time."""
    faults: np.ndarray
    """int64[ticks]: guest page faults, a lower bound seen from pages that were free before."""
    gfn: np.ndarray
    """uint32 guest page of each change."""
    content: np.ndarray
    """uint64 new content, or new class."""
    kind: np.ndarray
    """uint8 CHANGE_*."""


class _Changes:
    """Changes being collected, each with its time."""

    def __init__(self) -> None:
        self.times: list[np.ndarray] = []
        self.gfns: list[np.ndarray] = []
        self.contents: list[np.ndarray] = []
        self.kinds: list[np.ndarray] = []

    def add(self, times: np.ndarray, gfns: np.ndarray, contents: np.ndarray, kind: int) -> None:
        self.times.append(times.astype(np.int64))
        self.gfns.append(gfns.astype(np.uint32))
        self.contents.append(contents.astype(np.uint64))
        self.kinds.append(np.full(len(gfns), kind, np.uint8))


def replay_ticks(image: Captured, workload: Replay, seed: int, zero_freed: bool) -> Ticks:
    """Ticks of a captured guest from ``image.at`` to the capture's end. ``seed`` is any uint64."""
    capture = open_capture(image.capture)
    guest = capture.guest(image.guest)
    first = capture.snapshot_at(image.at / 1e9)
    times = np.asarray(capture.times_ns[first:], np.int64)
    times = times - times[0]
    shortest = int(np.diff(times).min()) if len(times) > 1 else workload.tick
    if workload.tick > shortest:
        raise UserError(
            f"workload.tick: found {show_time(workload.tick)}; capture '{image.capture}' has a"
            f" snapshot each {show_time(shortest)}: give at most that"
        )
    count = max(1, int(-(-times[-1] // workload.tick)))
    changes = _Changes()
    key = capture_key(capture.sha256)
    for step in range(1, len(times)):
        span = (int(times[step - 1]), int(times[step]))
        _add_interval(changes, guest, first + step, span, key, seed, workload.hidden_writes)
    faults = _add_classes(changes, guest, image, times, workload.tick, count, zero_freed)
    work = _work(guest, first, times, workload, count)
    return _assemble(changes, workload.tick, count, work, faults)


def _offsets(seed: int, snapshot: int, salt: int, gfns: np.ndarray, length: int) -> np.ndarray:
    """Seeded offsets in 0 .. length - 1 for pages of an interval."""
    key = (seed + snapshot * 0x9E3779B97F4A7C15 + salt) % 2**64
    draws = ids_of(key, gfns.astype(np.uint64) + np.uint64(1)) >> np.uint64(32)
    spread: np.ndarray = ((draws * np.uint64(length >> 10)) >> np.uint64(22)).astype(np.int64)
    return spread


def _add_interval(
    changes: _Changes,
    guest: CapturedGuest,
    snapshot: int,
    span: tuple[int, int],
    key: int,
    seed: int,
    hidden: float,
) -> None:
    start, end = span
    length = max(1024, end - start)
    before, after = guest.unbacked(snapshot - 1), guest.unbacked(snapshot)
    gfns, numbers = guest.changes(snapshot)
    stored = ~after[gfns]
    written, contents = gfns[stored], ids_of(key, numbers[stored])
    given_back = np.flatnonzero(after & ~before)
    touched = np.setdiff1d(np.flatnonzero(before & ~after), written)
    for salt, (pages, values, kind) in enumerate(
        (
            (written, contents, CHANGE_WRITE),
            (given_back, np.zeros(len(given_back)), CHANGE_RELEASE),
            (touched, np.zeros(len(touched)), CHANGE_WRITE),
        )
    ):
        when = start + _offsets(seed, snapshot, salt, pages, length)
        changes.add(when, pages, values, kind)
    extra = round(hidden * len(written))
    if extra:
        backed = np.flatnonzero(~after)
        draws = ids_of(seed ^ snapshot, np.arange(1, extra + 1)) >> np.uint64(32)
        pages = backed[((draws * np.uint64(len(backed))) >> np.uint64(32)).astype(np.int64)]
        when = start + _offsets(seed, snapshot, 9, np.arange(extra), length)
        changes.add(when, pages, np.zeros(extra), CHANGE_SAME)


def _add_classes(
    changes: _Changes,
    guest: CapturedGuest,
    image: Captured,
    times: np.ndarray,
    tick: int,
    count: int,
    zero_freed: bool,
) -> np.ndarray:
    """Class reports as changes; guest faults of each tick, from pages that ceased to be free."""
    faults = np.zeros(count, np.int64)
    at = last = image.at
    known = guest.classes(at / 1e9)
    if known is None:
        return faults
    for now in times[1:].tolist():
        classes = guest.classes((at + now) / 1e9)
        assert classes is not None
        moved = np.flatnonzero(classes != known)
        if len(moved):
            for kind, pages in _retyped(image, moved, known, classes):
                changes.add(np.full(len(pages), now - 1), pages, classes[pages], kind)
            freed = moved[classes[moved] == PageClass.FREE]
            if zero_freed and len(freed):
                changes.add(np.full(len(freed), now - 1), freed, np.zeros(len(freed)), CHANGE_WRITE)
            used = int((known[moved] == PageClass.FREE).sum())
            spread_over = slice((last - at) // tick, max((last - at) // tick + 1, now // tick))
            faults[spread_over] += _evenly(used, len(faults[spread_over]))
            last = at + now
        known = classes
    return faults


def _retyped(
    image: Captured, moved: np.ndarray, before: np.ndarray, after: np.ndarray
) -> list[tuple[int, np.ndarray]]:
    """Pages whose class changed, by the kind of change that it is."""
    if image.page_tables == "data":
        return [(CHANGE_CLASS, moved)]
    made = after[moved] == PageClass.PAGE_TABLE
    dropped = before[moved] == PageClass.PAGE_TABLE
    return [
        (CHANGE_PIN, moved[made]),
        (CHANGE_UNPIN, moved[dropped]),
        (CHANGE_CLASS, moved[~made & ~dropped]),
    ]


def _evenly(total: int, parts: int) -> np.ndarray:
    """Whole numbers that sum to ``total``, as equal as possible, spread evenly."""
    edges = np.arange(parts + 1, dtype=np.int64) * total // max(parts, 1)
    return np.diff(edges)


def _work(
    guest: CapturedGuest, first: int, times: np.ndarray, workload: Replay, count: int
) -> np.ndarray:
    work = np.zeros(count, np.int64)
    for step in range(1, len(times)):
        before, after = guest.cpu_ns(first + step - 1), guest.cpu_ns(first + step)
        if before is None or after is None:
            return work
        used = round(max(0, after - before) * workload.cpu_scale)
        part = slice(int(times[step - 1]) // workload.tick, int(times[step]) // workload.tick)
        work[part] += _evenly(used, len(work[part]))
    return work


def _assemble(
    changes: _Changes, tick: int, count: int, work: np.ndarray, faults: np.ndarray
) -> Ticks:
    times = np.concatenate(changes.times) if changes.times else np.zeros(0, np.int64)
    order = np.argsort(times, kind="stable")
    ticks = np.minimum(times[order] // tick, count - 1)

    def joined(parts: list[np.ndarray], kind: type) -> np.ndarray:
        whole: np.ndarray = np.concatenate(parts)[order] if parts else np.zeros(0, kind)
        return whole

    return Ticks(
        at=np.arange(count, dtype=np.int64) * tick,
        first=np.searchsorted(ticks, np.arange(count + 1)).astype(np.int64),
        work=work,
        faults=faults,
        gfn=joined(changes.gfns, np.uint32),
        content=joined(changes.contents, np.uint64),
        kind=joined(changes.kinds, np.uint8),
    )


def scripted_ticks(workload: Scripted) -> Ticks:
    """A tick for each instant at which a recorded case has its process write."""
    times, pages, contents = open_case(workload.script).writes(workload.process)
    at, first = np.unique(times, return_index=True)
    return Ticks(
        at=at.astype(np.int64),
        first=np.append(first, len(times)).astype(np.int64),
        work=np.zeros(len(at), np.int64),
        faults=np.zeros(len(at), np.int64),
        gfn=pages.astype(np.uint32),
        content=contents.astype(np.uint64),
        kind=np.full(len(times), CHANGE_WRITE, np.uint8),
    )
