"""What a run's trace shows: who has which CPU, what each vCPU waits for, faults, scans, memory.

A tracer listens, and changes nothing: processes and CPUs call methods when they change state, and
on their instances those are wrapped. Each stretch is written when it is over; what happened between
two samples is kept until the second of them, so memory does not grow with the run.

Long runs are thinned: each stretch of simulated time may write its share of the slices that are
allowed, and keeps its longest. Counters are complete.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.machine import tables as t
from sharesim.machine.scheduler import CPU_CAUSES, CPU_IDLE, CPU_SWITCH, CPU_VCPU, Cpu
from sharesim.machine.tables import CAUSES, EVENT_KINDS
from sharesim.results.perfetto import TraceWriter

if TYPE_CHECKING:
    from sharesim.engine import Engine
    from sharesim.guest.vcpu import VCpu

TRACE_FILE = "trace.perfetto-trace"
DEFAULT_LIMIT = 1_000_000
"""Slices of a trace: the viewer opens that many with ease."""
RUNNING = "running"
PAGE = 4096
HOST_COUNTERS = (
    "saved_pages", "net_saved_pages", "shared_frames_pages", "private_pages", "free_pages",
    "opportunity_pages", "ballooned_pages",
)  # fmt: skip
VM_COUNTERS = ("populated_pages", "sharing_pages", "ballooned_pages")
"""Columns of the timeline that are shown as counters, in bytes; the policy's are all shown."""


@dataclass(frozen=True)
class _Slice:
    track: int
    name: str
    begin: int
    end: int
    notes: Mapping[str, str | int]


class Tracer:
    """Writes the trace of one run; attach it before the run begins."""

    def __init__(self, engine: "Engine", path: Path, limit: int = DEFAULT_LIMIT) -> None:
        """``limit``: the most slices that are written."""
        self.engine = engine
        self.limit = limit
        self.written = self.left_out = 0
        self._names = [vm.name for vm in engine.scenario.vms]
        self._writer = TraceWriter(path)
        self._pending: list[_Slice] = []
        self._flushed_at = self._sampled_at = 0
        self._under_way: dict[int, tuple[str, int]] = {}
        """What the scanner is at, by track: name and begin."""
        self._counters: dict[tuple[str, str], int] = {}
        self._last: dict[int, int] = {}
        """Where the last slice of each track of events ends: no two overlap."""
        self._host = self._writer.process("host", 0)
        self._build_cpus()
        self._build_guests()
        self._build_scanner()
        self._build_counters()

    # Tracks

    def _build_cpus(self) -> None:
        self._cpus: dict[int, int] = {}
        for cpu in self.engine.scheduler.cpus:
            track = self._writer.track(f"CPU {cpu.number}", self._host, cpu.number)
            self._cpus[cpu.number] = track
            setattr(cpu, "book", self._seen_book(cpu, track))  # noqa: B010

    def _seen_book(self, cpu: Cpu, track: int) -> Callable[[int, int], None]:
        book = cpu.book

        def seen(now: int, cause: int) -> None:
            self._end_stretch(cpu, track, now)
            book(now, cause)

        return seen

    def _end_stretch(self, cpu: Cpu, track: int, now: int) -> None:
        begin, cause = cpu.since, cpu.cause
        if cause == CPU_SWITCH and cpu.current is not None and now > cpu.switching_until:
            self._add(track, CPU_CAUSES[CPU_SWITCH], begin, cpu.switching_until)
            begin, cause = cpu.switching_until, cpu.current.cause
        if cause == CPU_VCPU and cpu.current is not None:
            self._add(track, cpu.current.name, begin, now)
        elif cause != CPU_IDLE:
            self._add(track, CPU_CAUSES[cause], begin, now)

    def _build_guests(self) -> None:
        self._states: dict[str, int] = {}
        self._events: dict[int, int] = {}
        """Track of each actor of the event log by its number there."""
        rows = self.engine.memory.vms
        for number, name in enumerate(self._names):
            process = self._writer.process(f"VM {name}", 2 + number)
            first, count = int(rows["vcpu_first"][number]), int(rows["vcpus"][number])
            for rank, vcpu in enumerate(self.engine.vcpus[first : first + count]):
                track = self._writer.track(vcpu.name, process, 2 * rank)
                setattr(vcpu, "_enter", self._seen_enter(vcpu, track))  # noqa: B010
                faults = self._writer.track(f"{vcpu.name}: faults", process, 2 * rank + 1)
                self._events[first + rank] = faults
            self._events[-2 - number] = self._writer.track("balloon", process, 2 * count)
            self._counters |= {
                (name, column): self._writer.counter(
                    column.removesuffix("_pages"), process, "bytes", 2 * count + 1 + rank
                )
                for rank, column in enumerate(VM_COUNTERS)
            }

    def _seen_enter(self, vcpu: "VCpu", track: int) -> Callable[[int], None]:
        enter = vcpu._enter

        def seen(state: int) -> None:
            self._end_state(vcpu, track, int(self.engine.env.now))
            enter(state)

        self._states[vcpu.name] = track
        return seen

    def _end_state(self, vcpu: "VCpu", track: int, now: int) -> None:
        name = RUNNING if vcpu._state < 0 else CAUSES[vcpu._state]
        if vcpu.process is not None and name != CAUSES[t.IDLE]:
            self._add(track, name, vcpu._since, now)

    def _build_scanner(self) -> None:
        scanner = self.engine.scanner
        if scanner is None:
            return
        process = self._writer.process(f"scanner ({self.engine.policy.name})", 1)
        track = self._writer.track("scanner", process, 0)
        self._events[-1] = self._writer.track("scanner: pages", process, 1)
        batch, wait = scanner._batch, scanner._wait_for

        def seen_batch(budget: int) -> Generator[Any, Any, None]:
            begin = int(self.engine.env.now)
            self._under_way[track] = ("batch", begin)
            try:
                yield from batch(budget)
            finally:
                del self._under_way[track]
            self._add(track, "batch", begin, int(self.engine.env.now), pages=budget)

        def seen_wait(cpu: Any) -> Generator[Any, Any, None]:
            begin = int(self.engine.env.now)
            self._under_way[waits] = ("waits for a CPU", begin)
            try:
                yield from wait(cpu)
            finally:
                del self._under_way[waits]
            self._add(waits, "waits for a CPU", begin, int(self.engine.env.now))

        waits = self._writer.track("scanner: waits", process, 2)
        setattr(scanner, "_batch", seen_batch)  # noqa: B010
        setattr(scanner, "_wait_for", seen_wait)  # noqa: B010
        self._policy = process

    def _build_counters(self) -> None:
        for rank, column in enumerate(HOST_COUNTERS):
            name = column.removesuffix("_pages")
            track = self._writer.counter(name, self._host, "bytes", 100 + rank)
            self._counters["host", column] = track
        if self.engine.scanner is not None:
            name = self.engine.policy.name
            for rank, column in enumerate(self.engine.policy.counters()):
                track = self._writer.counter(column, self._policy, "count", 10 + rank)
                self._counters[name, column] = track

    # What happens

    def _add(self, track: int, name: str, begin: int, end: int, **notes: str | int) -> None:
        if end > begin:
            self._pending.append(_Slice(track, name, begin, end, notes))

    def take(self, rows: np.ndarray) -> None:
        """Rows of the event log, int64[n, LOG_COLUMNS]: faults, merges, steps of balloons."""
        firsts = self.engine.memory.vms["first"]
        for time, spent, kind, actor, page, other in rows[:, :6].tolist():
            track = self._events[actor]
            begin = max(time, self._last.get(track, 0))
            end = max(begin, time + spent)
            self._last[track] = end
            notes = self._where("page", page, firsts) | self._where("other", other, firsts)
            self._pending.append(_Slice(track, EVENT_KINDS[kind], begin, end, notes))

    def _where(self, what: str, page: int, firsts: np.ndarray) -> dict[str, str | int]:
        if page < 0:
            return {}
        vm = int(np.searchsorted(firsts, page, side="right")) - 1
        return {what: f"{self._names[vm]} {page - int(firsts[vm])}"}

    def sample(self, time: int, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """A sample of the timeline: counters, and the slices since the last one."""
        for (entity, column), track in self._counters.items():
            value = rows.get(entity, {}).get(column)
            if value is not None:
                scale = PAGE if column in (*HOST_COUNTERS, *VM_COUNTERS) else 1
                self._writer.count(track, time, int(value) * scale)
        self._sampled_at = time
        if self._flushed_at < time < self.engine.scenario.duration:
            self._flush(time)  # the last stretch is for close, with what is still under way then

    def _flush(self, time: int) -> None:
        """Write what is pending, thinned to this stretch's share of what may still be written."""
        left = self.engine.scenario.duration - self._flushed_at
        share = min(1.0, (time - self._flushed_at) / left) if left > 0 else 1.0
        most = int((self.limit - self.written) * share)
        pending, self._pending = self._pending, []
        if len(pending) > most:
            self.left_out += len(pending) - most
            lengths = np.array([one.end - one.begin for one in pending])
            longest = np.sort(np.argsort(-lengths, kind="stable")[:most])
            pending = [pending[at] for at in longest]
        for one in pending:
            self._writer.slice(one.track, one.name, one.begin, one.end, **one.notes)
        self.written += len(pending)
        self._flushed_at = time

    def close(self) -> None:
        """End what is still under way, say what was left out, and finish the file."""
        end = self._sampled_at
        for track, (name, begin) in self._under_way.items():
            self._add(track, name, begin, end)
        for vcpu in self.engine.vcpus:
            if vcpu.stopped is None:
                self._end_state(vcpu, self._states[vcpu.name], end)
        for cpu in self.engine.scheduler.cpus:
            self._end_stretch(cpu, self._cpus[cpu.number], end)
        self._flush(self.engine.scenario.duration)
        if self.left_out:
            track = self._writer.track("note", self._host, 99)
            self._writer.instant(track, self.note(), 0)
        self._writer.close()

    def note(self) -> str:
        """What the trace leaves out; empty where it is complete."""
        if not self.left_out:
            return ""
        every = self.written + self.left_out
        return (
            f"{self.left_out:,} of {every:,} slices left out: of each stretch between samples the"
            " longest are kept; counters are complete"
        )
