"""A vCPU as a SimPy process: it gets a CPU, runs its kernel, sleeps to where that got, and stops.

All that it does to memory is in the compiled kernel; here is only its time: waiting for a CPU,
losing it, idling, blocking. At each nanosecond it is in exactly one cause of the ledger.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from sharesim.guest import vcpu_kernel as kernel
from sharesim.guest.vcpu_kernel import run_vcpu
from sharesim.machine import tables as t
from sharesim.machine.flush import refill_after_flush
from sharesim.machine.scheduler import SEIZED, STOPPED, Entity

if TYPE_CHECKING:
    from sharesim.engine import Engine

Steps = Generator[simpy.Event, Any, None]

WAKE = "wake"
"""Interrupts an idle or blocked vCPU that has been given something to do."""

_RUNNING = -1
_REFUND_ORDER = (t.WORK, t.SHARING, t.PAGING, t.INTERRUPTED, t.RECLAIM, t.INTERFERENCE)


class VCpu(Entity):
    """One vCPU of a guest; ``row`` is its row of the vCPU table."""

    def __init__(self, engine: "Engine", row: int, name: str, weight: int, affinity: Any) -> None:
        super().__init__(name, weight, affinity)
        self.engine = engine
        self.row = row
        self.phases: list[int] = []
        """Rows of the phase table, in order; the last one stays."""
        self.repeat = False
        self.cycle = 0
        self.started = 0
        self.stopped: int | None = None
        self._state = t.READY
        self._since = 0
        self._seized = 0
        self._rest = 0
        """Cost of the step in flight that is still to be spent while it has no CPU."""
        self._handlers = {
            kernel.FAULT: self._fault,
            kernel.NO_FRAME: self.wait_for_frame,
            kernel.IDLE_UNTIL: self._idle,
            kernel.PHASE_END: self._next_phase,
            kernel.DRAIN: self._drain,
            kernel.BREACH: self._breach,
        }

    @property
    def table(self) -> Any:
        """Its row as a view."""
        return self.engine.memory.vcpus[self.row]

    def local_time(self, now: int) -> int:
        return max(now, int(self.table["local"]))

    # The process

    def run(self) -> Steps:
        """The SimPy process, from the start of its VM to its stop."""
        env = self.engine.env
        self.started = self._since = int(env.now)
        self.table["phase_start"] = self.table["due"] = self.started
        try:
            begin = int(env.now) + self.engine.start_offset(self.row)
            yield from self._off_cpu(t.IDLE, env.timeout(begin - int(env.now)))
            while env.now < begin:  # woken too early
                yield from self._off_cpu(t.IDLE, env.timeout(begin - int(env.now)))
            self.table["phase_start"] = self.table["due"] = int(env.now)
            while True:
                if self.cpu is None:
                    yield from self._get_cpu()
                yield from self._step()
        except simpy.Interrupt as interrupt:
            if interrupt.cause != STOPPED:
                raise
            self._stop()

    def _step(self) -> Steps:
        engine = self.engine
        now = int(engine.env.now)
        until = engine.horizon(now)
        if self.cpu is not None and self.cpu.slice_end < until:
            until = self.cpu.slice_end
        due, stop, arg = run_vcpu(
            engine.memory, engine.cost, engine.work, self.row, now, until, engine.inline
        )
        if engine.frames_awaited:  # a replayed guest gives pages back
            engine.frames_may_be_free()
        if due > now:
            yield from self.sleep_until(int(due))
        if stop:
            yield from self._handlers[stop](int(arg))

    def sleep_until(self, due: int) -> Steps:
        """Spend CPU time until ``due``, which moves when the CPU is lost meanwhile."""
        env = self.engine.env
        while True:
            try:
                yield env.timeout(due - int(env.now))
                return
            except simpy.Interrupt as interrupt:
                self._rest = due - int(env.now)
                yield from self._lose_cpu(interrupt)
                due = int(env.now) + self._rest
                self._rest = 0
                self.table["due"] = due

    def _lose_cpu(self, interrupt: simpy.Interrupt) -> Steps:
        if interrupt.cause == STOPPED:
            raise interrupt
        if interrupt.cause == SEIZED:
            self._enter(t.INTERRUPTED)
            yield from self._wait_while_seized()
            self._enter(_RUNNING)
            self._find_caches_cold()
            self._flush_if_due()
            return
        self._enter(t.READY)
        yield self.engine.scheduler.requeue(self)
        yield from self._dispatched()

    def _get_cpu(self) -> Steps:
        self._enter(t.READY)
        yield self.engine.scheduler.acquire(self)
        yield from self._dispatched()
        self.table["due"] = int(self.engine.env.now)

    def _dispatched(self) -> Steps:
        yield from self._wait_while_seized()
        self._enter(_RUNNING)
        self._find_caches_cold()
        self._flush_if_due()

    def _flush_if_due(self) -> None:
        """A shootdown while it was not running has left it a flush to make."""
        row, engine = self.table, self.engine
        if row["flush_due"]:
            row["flush_due"] = 0
            now = int(engine.env.now)
            row["debt"] += refill_after_flush(engine.memory, engine.cost, self.row, now)

    def _wait_while_seized(self) -> Steps:
        assert self.cpu is not None
        while self.cpu.unseized is not None:
            try:
                yield self.cpu.unseized
            except simpy.Interrupt as interrupt:
                if interrupt.cause != SEIZED:  # given back and seized again in one instant
                    raise

    def _find_caches_cold(self) -> None:
        """What others streamed through the caches since it last ran has evicted what it had hot."""
        row, engine = self.table, self.engine
        each = int(engine.cost[0]["interference"])
        if each:
            streamed = int(engine.memory.totals[t.T_STREAMED]) - int(row["streamed"])
            hot = int(engine.work.phases[int(row["phase"])]["cached"])
            row["cold"] += min(streamed, hot) * each

    def _off_cpu(self, cause: int, event: simpy.Event) -> Steps:
        """Give the CPU up, wait for an event in a cause of the ledger."""
        if self.cpu is not None:
            self.engine.scheduler.release(self)
        self._enter(cause)
        try:
            yield event
        except simpy.Interrupt as interrupt:
            if interrupt.cause != WAKE:
                raise

    # Why the kernel stopped

    def _fault(self, arg: int) -> Steps:
        yield from self.engine.handlers.page_fault(self, arg & 0xFFFFFFFF, arg >> 32)

    def wait_for_frame(self, _: int) -> Steps:
        """Block until a frame is free, then retry; the wait counts in the fault's latency."""
        if self.engine.has_errand(self.row):  # that comes first, and may free one
            return
        before = int(self.engine.env.now)
        yield from self._off_cpu(t.BLOCKED, self.engine.frame_wait())
        self.table["waited"] += int(self.engine.env.now) - before

    def _idle(self, until: int) -> Steps:
        env = self.engine.env
        if self.engine.has_errand(self.row):  # it came while this one ran ahead of the clock
            return
        if until >= kernel.NEVER:
            yield from self._off_cpu(t.IDLE, env.event())
        elif until > env.now:  # else the wait was over before it could begin: the CPU was lost
            yield from self._off_cpu(t.IDLE, env.timeout(until - int(env.now)))

    def _next_phase(self, _: int) -> Steps:
        row = self.table
        at = self.phases.index(int(row["phase"])) + 1
        if at == len(self.phases) and not self.repeat:
            yield from self._idle(int(kernel.NEVER))
            return
        if at == len(self.phases):
            at, self.cycle = 0, self.cycle + 1
            self.engine.new_cycle(self)
        self.begin_phase(self.phases[at], int(self.engine.env.now))

    def begin_phase(self, phase: int, now: int) -> None:
        """Start a phase of the workload."""
        row = self.table
        row["phase"], row["op"], row["step"] = phase, 0, -1
        row["phase_start"] = now
        row["refill_entries"] = self.engine.work.phases[phase]["refill_entries"]

    def _drain(self, _: int) -> Steps:
        self.engine.drain()
        return
        yield

    def _breach(self, page: int) -> Steps:
        self.engine.breach()
        return
        yield

    def wake(self) -> None:
        """Something to do has come for a vCPU that may be idle, or blocked for want of a frame."""
        process = self.process
        if self._state not in (t.IDLE, t.BLOCKED) or process is None or not process.is_alive:
            return
        if process.target is not None:
            process.interrupt(WAKE)

    # Its time

    def _enter(self, state: int) -> None:
        now = int(self.engine.env.now)
        if self._state != _RUNNING:
            self.table["ledger"][self._state] += now - self._since
        if self._state == t.INTERRUPTED:
            self._seized += now - self._since
        if self._state == _RUNNING:
            self.table["streamed"] = self.engine.memory.totals[t.T_STREAMED]
        self._state, self._since = state, now
        self.table["running"] = int(state == _RUNNING)

    def seized_at(self, time: int) -> int:
        """ns until a time in which the hypervisor had its CPU; part of ``interrupted``."""
        now = time - self._since if self._state == t.INTERRUPTED else 0
        return self._seized + now

    def _stop(self) -> None:
        self.table["ledger"][:] = self.ledger_at(int(self.engine.env.now))
        self.stopped = self._since = int(self.engine.env.now)
        self._state = _RUNNING  # books nothing any more
        self._rest = 0
        self.table["running"] = 0
        self.table["due"] = self.stopped
        self.engine.scheduler.release(self)

    def ledger_at(self, time: int) -> np.ndarray:
        """ns in each cause until a time; what the step in flight has not spent is not booked."""
        row = self.table
        ledger: np.ndarray = row["ledger"].copy()
        if self.stopped is not None:
            return ledger
        if self._state == _RUNNING:
            unspent = max(0, int(row["due"]) - time)
        else:
            ledger[self._state] += time - self._since
            unspent = self._rest
        for cause, booked in (
            (t.WORK, int(row["spent_work"])),
            (int(row["spent_cause"]), int(row["spent_ns"])),
        ):
            refund = min(unspent, booked)
            ledger[cause] -= refund
            unspent -= refund
        for cause in _REFUND_ORDER:  # seized while ahead of the clock by more than one step
            refund = min(unspent, int(ledger[cause]))
            ledger[cause] -= refund
            unspent -= refund
        return ledger
