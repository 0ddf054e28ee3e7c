"""Recorded KSM cases: scripted processes, and what the real ksmd made of them.

A case is a folder's worth of files that share a name:

====================  ==============================================================================
``CASE.json``         ``ksm`` (knobs as in sysfs), ``processes`` (``name``, ``pages``,
                      ``arrive_ms``, ``exit_ms``), ``events`` (madvise calls: ``t_ms``, ``proc``,
                      ``op``, ``page0``, ``npages``), ``duration_ms``, ``sample_ms``
``CASE.init.csv.gz``  ``proc,page,count,first_id,step``: pages ``page .. page+count-1`` of a process
                      hold ids ``first_id, first_id+step, ...``; other pages were never touched
``CASE.writes...``    ``t_ms,proc,page,id``: at that time the process overwrites the whole page
``CASE.rN.csv.gz``    repeat N: the counters at each sample (:mod:`sharesim.content.ksm_repeat`)
====================  ==============================================================================

An *id* names a content: id 0 is the zero page, id c > 0 the page whose bytes are the big-endian
number splitmix64(c), over and over. So the order of pages under memcmp, which KSM's trees are
sorted by, is the order of these numbers. They are the content ids of a simulated case.
"""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sharesim.content.ksm_repeat import Repeat, read_repeats
from sharesim.content.ksm_tables import Fields, Table
from sharesim.errors import UserError, nearest

KNOBS: dict[str, tuple[int, int] | tuple[str, ...]] = {
    "pages_to_scan": (1, 2**32 - 1),
    "sleep_millisecs": (0, 2**32 - 1),
    "smart_scan": (0, 1),
    "use_zero_pages": (0, 1),
    "max_page_sharing": (2, 2**31 - 1),
    "stable_node_chains_prune_millisecs": (0, 2**32 - 1),
    "advisor_mode": ("none", "scan-time"),
    "advisor_target_scan_time": (1, 2**32 - 1),
    "advisor_min_pages_to_scan": (1, 2**32 - 1),
    "advisor_max_pages_to_scan": (1, 2**32 - 1),
    "advisor_max_cpu": (1, 100),
}
"""The knobs of ``/sys/kernel/mm/ksm`` that a case may set, and what each can be.

A pair of numbers is the smallest and the largest value; texts are the choices.
"""

ADVICE = ("mergeable", "unmergeable")

_CASE = "a recorded KSM case (CASE.json)"
_INIT = "the case's initial memory: proc,page,count,first_id,step"
_WRITES = "the case's writes: t_ms,proc,page,id"


@dataclass(frozen=True)
class CaseProcess:
    """One process: a region of ``pages``, registered with KSM at ``arrive_ns``, gone at exit.

    Its memory was filled before it arrived. ``exit_ns`` None: it outlives the recording.
    """

    name: str
    pages: int
    arrive_ns: int
    exit_ns: int | None


@dataclass(frozen=True)
class CaseEvent:
    """A madvise call of process number ``process`` on ``count`` pages from page ``first``."""

    time_ns: int
    process: int
    advice: str
    first: int
    count: int


@dataclass(frozen=True, eq=False)
class Case:
    """One recorded case: what was asked of the kernel, and (:meth:`repeats`) what it did.

    ``knobs`` are the sysfs settings as the file has them, all others were at the kernel's
    defaults. ``sha256`` covers the JSON, the initial memory and the writes, not the repeats.
    """

    path: Path
    name: str
    title: str
    duration_ns: int
    sample_ns: int
    knobs: dict[str, int | str]
    processes: tuple[CaseProcess, ...]
    events: tuple[CaseEvent, ...]
    sha256: str
    _initial: tuple[tuple[np.ndarray, np.ndarray], ...] = field(repr=False)
    _writes: tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...] = field(repr=False)

    def ids(self, process: int) -> np.ndarray:
        """The id of each page at the start, uint64; 0 also where a page was never touched."""
        return self._initial[process][0]

    def contents(self, process: int) -> tuple[np.ndarray, np.ndarray]:
        """At the start: the content id of each page, uint64, and whether it was touched, bool."""
        ids, populated = self._initial[process]
        return content_ids(ids), populated

    def raw_writes(self, process: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As :meth:`writes`, with ids in place of content ids."""
        return self._writes[process]

    def writes(self, process: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Times in ns (int64), pages (uint32) and content ids (uint64), in their order."""
        times, pages, ids = self._writes[process]
        return times, pages, content_ids(ids)

    def repeats(self) -> tuple[Repeat, ...]:
        """The recordings that lie beside the case, in the order of their numbers."""
        return read_repeats(self.path)


def content_ids(ids: np.ndarray) -> np.ndarray:
    """The content ids, uint64, of a case's ids: splitmix64 of each, 0 for 0."""
    from sharesim.content.mixing import mix64

    mix: Any = getattr(mix64, "py_func", mix64)  # the plain function works on whole arrays
    numbers: np.ndarray = mix(np.asarray(ids, dtype=np.uint64))
    return np.where(ids == 0, np.uint64(0), numbers)


def open_case(path: str | Path) -> Case:
    """The case described by the JSON file at ``path``, read once; `UserError` if it is unsound."""
    where = Path(path)
    try:
        written = where.stat().st_mtime_ns
    except OSError:
        raise UserError(f"{where}: no such file, expected {_CASE}") from None
    return _open(where.resolve(), where, written)


@lru_cache(maxsize=32)
def _open(_resolved: Path, path: Path, _written: int) -> Case:
    return _Reader(path).read()


class _Reader:
    """Reads one case and proves it sound before anything is built from it."""

    def __init__(self, path: Path) -> None:
        self.fields = Fields.read(path, _CASE)
        self.digest = hashlib.sha256(self.fields.bytes(_CASE))

    def read(self) -> Case:
        fields = self.fields
        knobs = self._knobs()
        duration = fields.time("duration_ms", least=1)
        sample = fields.time("sample_ms", least=1)
        processes = self._processes()
        events = self._events(processes, duration)
        initial = self._initial(processes)
        writes = self._writes(processes)
        name = fields.text("name")
        title = str(fields.values.get("title", name))
        return Case(fields.path, name, title, duration, sample, knobs, processes, events,
                    self.digest.hexdigest(), initial, writes)  # fmt: skip

    # -- the JSON ------------------------------------------------------------------------------

    def _knobs(self) -> dict[str, int | str]:
        found = self.fields.get("ksm")
        if not isinstance(found, dict):
            self.fields.fail(f"'ksm' is {found!r:.60}, expected an object of KSM's knobs")
        return {name: self._knob(name, value) for name, value in found.items()}

    def _knob(self, name: str, value: Any) -> int | str:
        if name not in KNOBS:
            self.fields.fail(f"'ksm.{name}' is no knob of KSM{nearest(name, KNOBS)}")
        allowed = KNOBS[name]
        if isinstance(allowed[0], str):
            if value in allowed:
                return str(value)
            self.fields.fail(
                f"'ksm.{name}' is {value!r}, expected {' or '.join(map(str, allowed))}"
            )
        low, high = int(allowed[0]), int(allowed[1])
        if not isinstance(value, int) or not low <= value <= high:
            wanted = "0 or 1" if (low, high) == (0, 1) else f"a whole number from {low} to {high}"
            self.fields.fail(f"'ksm.{name}' is {value!r}, expected {wanted}")
        return int(value)

    def _processes(self) -> tuple[CaseProcess, ...]:
        entries = self.fields.entries("processes")
        if not entries:
            self.fields.fail("'processes' is empty, expected one process or more")
        processes = tuple(self._process(number, entry) for number, entry in enumerate(entries))
        names = [process.name for process in processes]
        for number, name in enumerate(names):
            if name in names[:number]:
                self.fields.fail(f"'processes[{number}].name' is '{name}', taken by another")
        return processes

    def _process(self, number: int, entry: Any) -> CaseProcess:
        fields = self.fields.within("processes", number, entry)
        name, pages = fields.text("name"), fields.count("pages", least=1)
        arrive, leave = fields.time("arrive_ms"), fields.time_or_none("exit_ms")
        if leave is not None and leave <= arrive:
            found = f"{fields.values['exit_ms']} ms, not after its arrival"
            fields.fail(f"'{fields.where}exit_ms' is {found} at {fields.values['arrive_ms']} ms")
        return CaseProcess(name, pages, arrive, leave)

    def _events(self, processes: tuple[CaseProcess, ...], duration: int) -> tuple[CaseEvent, ...]:
        events: list[CaseEvent] = []
        for number, entry in enumerate(self.fields.entries("events")):
            fields = self.fields.within("events", number, entry)
            event = self._event(fields, processes, duration)
            if events and event.time_ns < events[-1].time_ns:
                fields.fail(f"'{fields.where}t_ms' is before that of the event above it;"
                            " events are in order of time")  # fmt: skip
            events.append(event)
        return tuple(events)

    def _event(
        self, fields: Fields, processes: tuple[CaseProcess, ...], duration: int
    ) -> CaseEvent:
        time, number = fields.time("t_ms"), fields.count("proc")
        advice = fields.text("op")
        first, count = fields.count("page0"), fields.count("npages", least=1)
        if advice not in ADVICE:
            fields.fail(f"'{fields.where}op' is '{advice}'{nearest(advice, ADVICE)}")
        if number >= len(processes):
            fields.fail(
                f"'{fields.where}proc' is {number}, processes are 0 .. {len(processes) - 1}"
            )
        process = processes[number]
        if first + count > process.pages:
            fields.fail(f"'{fields.where}page0' and 'npages' reach page {first + count - 1};"
                        f" {process.name} has pages 0 .. {process.pages - 1}")  # fmt: skip
        end = duration if process.exit_ns is None else min(duration, process.exit_ns)
        if not process.arrive_ns <= time <= end:
            fields.fail(f"'{fields.where}t_ms' is outside the life of {process.name} in the case")
        return CaseEvent(time, number, advice, first, count)

    # -- the tables ----------------------------------------------------------------------------

    def _table(self, key: str, what: str) -> Table:
        table = Table(self.fields.path.parent / self.fields.text(key), what)
        self.digest.update(table.bytes(what))
        table.need(what.partition(": ")[2].split(","))
        return table

    def _initial(
        self, processes: tuple[CaseProcess, ...]
    ) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        table = self._table("init_file", _INIT)
        owner, first = table.whole("proc"), table.whole("page")
        count, step = table.whole("count"), table.whole("step")
        first_id = table.whole("first_id", np.uint64)
        table.refuse(count < 1, lambda row: f"count is {count[row]}, expected 1 or more")
        _check_pages(table, processes, owner, first, count)
        starts = np.cumsum(count) - count
        row_of = np.repeat(np.arange(len(count)), count)
        offset = np.arange(len(row_of)) - starts[row_of]
        ids = first_id[row_of] + (offset * step[row_of]).astype(np.uint64)
        page = first[row_of] + offset
        initial = []
        for number, process in enumerate(processes):
            mine = owner[row_of] == number
            _check_overlap(table, process, page[mine], row_of[mine])
            contents = np.zeros(process.pages, dtype=np.uint64)
            populated = np.zeros(process.pages, dtype=np.bool_)
            contents[page[mine]] = ids[mine]
            populated[page[mine]] = True
            initial.append((_frozen(contents), _frozen(populated)))
        return tuple(initial)

    def _writes(
        self, processes: tuple[CaseProcess, ...]
    ) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]:
        if self.fields.get("writes_file") is None:
            none = (np.zeros(0, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.uint64))
            return tuple(none for _ in processes)
        table = self._table("writes_file", _WRITES)
        times, owner = table.times(), table.whole("proc")
        page, ids = table.whole("page"), table.whole("id", np.uint64)
        _check_pages(table, processes, owner, page, np.ones_like(page))
        never = np.iinfo(np.int64).max
        ends = np.array([never if p.exit_ns is None else p.exit_ns for p in processes])
        table.refuse(
            times > ends[owner],
            lambda row: (
                f"a write at {table.cell(row, 't_ms')} ms, after the exit of"
                f" {processes[owner[row]].name} at {ends[owner[row]] / 1e6:g} ms"
            ),
        )
        return tuple(
            (_frozen(times[mine]), _frozen(page[mine].astype(np.uint32)), _frozen(ids[mine]))
            for mine in (owner == number for number in range(len(processes)))
        )


def _check_pages(
    table: Table,
    processes: tuple[CaseProcess, ...],
    owner: np.ndarray,
    first: np.ndarray,
    count: np.ndarray,
) -> None:
    """Insist that each line's process exists and has the ``count`` pages from ``first``."""
    last = len(processes) - 1
    table.refuse(
        (owner < 0) | (owner > last),
        lambda row: f"proc is {owner[row]}, the case's processes are 0 .. {last}",
    )
    pages = np.array([process.pages for process in processes])[owner]
    table.refuse(
        (first < 0) | (first > pages - count),
        lambda row: (
            f"page {first[row] + count[row] - 1 if first[row] >= 0 else first[row]} is out"
            f" of range: {processes[owner[row]].name} has pages 0 .. {pages[row] - 1}"
        ),
    )


def _check_overlap(
    table: Table, process: CaseProcess, page: np.ndarray, row_of: np.ndarray
) -> None:
    """Insist that no page of ``process`` is given twice."""
    order = np.argsort(page, kind="stable")
    again = np.flatnonzero(np.diff(page[order]) == 0)
    if len(again):
        earlier, later = row_of[order[again[0]]], row_of[order[again[0] + 1]]
        table.fail(f"page {page[order[again[0]]]} of {process.name} was already given in"
                   f" line {earlier + 2}", int(later) + 2)  # fmt: skip


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
