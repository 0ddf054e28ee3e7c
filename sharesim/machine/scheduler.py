"""Physical CPUs and who runs on them.

Plain objects, not SimPy resources: they need weights, affinity and accounting, and dispatching is
on the hot path. What schedulers have in common is in ``Scheduler``. With ``FairScheduler`` runnable
entities wait in order of weighted virtual time. It is tickless: a slice ends only when somebody
waits, and an idle CPU costs no events.
"""

from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Sequence

import simpy

FOREVER = (1 << 63) - 1

CPU_IDLE, CPU_VCPU, CPU_SCANNER, CPU_SWITCH = range(4)
CPU_CAUSES = ("idle", "vcpu", "scanner", "switch")

PREEMPT, SEIZED, STOPPED = "preempt", "seized", "stopped"
"""Why a process that holds a CPU is interrupted."""


class Entity:
    """Somebody who needs a CPU: a vCPU or a scanner thread.

    ``process`` is its SimPy process, interrupted when it must let go. ``cpu`` is the CPU it has.
    """

    def __init__(
        self, name: str, weight: int, affinity: Sequence[int] | None, cause: int = CPU_VCPU
    ) -> None:
        self.name = name
        self.weight = weight
        self.affinity = None if affinity is None else frozenset(affinity)
        self.cause = cause
        self.process: simpy.Process | None = None
        self.cpu: Cpu | None = None
        self.virtual = 0
        """CPU time received, in ns, scaled by 1024 / weight."""
        self.event: simpy.Event | None = None

    def may_run(self, cpu: "Cpu") -> bool:
        """Whether its affinity allows that CPU."""
        return self.affinity is None or cpu.number in self.affinity

    def local_time(self, now: int) -> int:
        """How far it has irrevocably acted; it cannot lose its CPU before."""
        return now


class Cpu:
    """A physical CPU: who has it, since when, until when, and what its time went to."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.current: Entity | None = None
        self.last: Entity | None = None
        self.since = 0
        """Start of the stretch not yet booked."""
        self.cause = CPU_IDLE
        self.slice_start = 0
        self.slice_end = FOREVER
        self.timer: simpy.Event | None = None
        """Of the timers set for its slices the one that counts."""
        self.dispatched: simpy.Event | None = None
        """By which ``current`` learns that it has the CPU; until then it cannot be interrupted."""
        self.ledger = [0, 0, 0, 0]
        self.unseized: simpy.Event | None = None
        """While the hypervisor itself has the CPU: the event of its being given back."""
        self.switching_until = 0

    @property
    def seized(self) -> bool:
        """Whether the hypervisor itself runs here, whoever has the CPU."""
        return self.unseized is not None

    def forget_slice(self) -> None:
        """Nobody waits: no end, and a timer still to come does not count."""
        self.slice_end = FOREVER
        self.timer = None

    @property
    def received(self) -> bool:
        """Whether ``current`` knows that it has the CPU."""
        return self.dispatched is not None and self.dispatched.processed

    def book(self, now: int, cause: int) -> None:
        """Close the present stretch and open one of ``cause``."""
        self.ledger[self.cause] += now - self.since
        self.since = now
        self.cause = cause

    def times(self, now: int) -> list[int]:
        """The ledger at a time, the present stretch included."""
        ledger = list(self.ledger)
        if self.cause == CPU_SWITCH and now > self.switching_until:
            assert self.current is not None
            ledger[CPU_SWITCH] += self.switching_until - self.since
            ledger[self.current.cause] += now - self.switching_until
        else:
            ledger[self.cause] += now - self.since
        return ledger


class Scheduler(ABC):
    """Shares CPUs out among entities: giving and taking CPUs, ends of slices, the books."""

    def __init__(self, env: simpy.Environment, cpus: int, switch: int) -> None:
        self.env = env
        self.cpus = [Cpu(number) for number in range(cpus)]
        self.switch = switch

    @abstractmethod
    def acquire(self, entity: Entity) -> simpy.Event:
        """The entity is runnable; the event comes when it has a CPU and may go on."""

    @abstractmethod
    def requeue(self, entity: Entity) -> simpy.Event:
        """The entity lost its CPU but still wants to run."""

    @abstractmethod
    def release(self, entity: Entity) -> None:
        """The entity blocks or is done: its CPU goes to the next that waits."""

    @abstractmethod
    def _charge(self, cpu: Cpu, now: int) -> None:
        """Book the CPU time that its entity has received as virtual time."""

    @abstractmethod
    def _arm(self, cpu: Cpu, start: int) -> None:
        """Whoever has the CPU has it from ``start`` on: give that an end if somebody waits."""

    @abstractmethod
    def _fill(self, cpu: Cpu) -> None:
        """Nobody has the CPU: dispatch on it whom it suits."""

    @abstractmethod
    def _keeps(self, cpu: Cpu, now: int) -> bool:
        """At the end of a slice: whether its entity goes on; if so, that slice has a new end."""

    # Giving and taking a CPU

    def _give(self, entity: Entity, cpu: Cpu) -> None:
        now = int(self.env.now)
        switch = 0 if cpu.last is entity else self.switch
        cpu.current = cpu.last = entity
        entity.cpu = cpu
        cpu.book(now, CPU_SWITCH if switch else entity.cause)
        cpu.switching_until = now + switch
        cpu.slice_start = now + switch
        cpu.forget_slice()
        self._arm(cpu, cpu.slice_start)
        event, entity.event = entity.event, None
        assert event is not None
        cpu.dispatched = event
        event._ok, event._value = True, cpu
        self.env.schedule(event, delay=switch)

    def _leave(self, entity: Entity) -> Cpu:
        cpu, now = entity.cpu, int(self.env.now)
        assert cpu is not None
        self._charge(cpu, now)
        self._close_switch(cpu, now)
        if not cpu.seized:
            cpu.book(now, CPU_IDLE)
        cpu.current = None
        cpu.forget_slice()
        entity.cpu = None
        return cpu

    def _close_switch(self, cpu: Cpu, now: int) -> None:
        if cpu.cause == CPU_SWITCH and now >= cpu.switching_until and cpu.current is not None:
            cpu.book(cpu.switching_until, cpu.current.cause)

    # Ends of slices

    def _set_slice_end(self, cpu: Cpu, when: int) -> None:
        entity = cpu.current
        assert entity is not None
        when = max(when, entity.local_time(int(self.env.now)), cpu.switching_until)
        if when >= cpu.slice_end:
            return
        cpu.slice_end = when
        timer = self.env.event()
        timer._ok, timer._value = True, None
        timer.callbacks.append(lambda event: self._slice_over(cpu, entity, event))
        cpu.timer = timer
        self.env.schedule(timer, delay=when - int(self.env.now))

    def _slice_over(self, cpu: Cpu, entity: Entity, timer: simpy.Event) -> None:
        if cpu.current is not entity or cpu.timer is not timer or cpu.seized:
            return
        now = int(self.env.now)
        cpu.forget_slice()
        if not cpu.received:  # of the same instant, but later: come again after it
            self._set_slice_end(cpu, now)
            return
        self._charge(cpu, now)
        if not self._keeps(cpu, now) and entity.process is not None and entity.process.is_alive:
            entity.process.interrupt(PREEMPT)

    # The hypervisor itself

    def seize(self, cpu: Cpu) -> Entity | None:
        """The hypervisor itself takes a CPU: whoever has it is interrupted in place."""
        now = int(self.env.now)
        victim = cpu.current
        if victim is not None:
            self._charge(cpu, now)
            self._close_switch(cpu, now)
            if victim.process is not None and cpu.received:
                victim.process.interrupt(SEIZED)
        cpu.unseized = self.env.event()
        cpu.book(now, CPU_SCANNER)
        return victim

    def unseize(self, cpu: Cpu) -> None:
        """Give it back."""
        now = int(self.env.now)
        assert cpu.unseized is not None
        cpu.unseized.succeed()
        cpu.unseized = None
        if cpu.current is None:
            cpu.book(now, CPU_IDLE)
            self._fill(cpu)
            return
        cpu.book(now, cpu.current.cause)
        cpu.slice_start = max(now, cpu.slice_start)
        self._charge(cpu, now)
        cpu.forget_slice()
        self._arm(cpu, now)

    def utilisation(self, now: int) -> list[int]:
        """ns of all CPUs by cause (idle, vcpu, scanner, switch) until a time."""
        totals = [0, 0, 0, 0]
        for cpu in self.cpus:
            for cause, spent in enumerate(cpu.times(now)):
                totals[cause] += spent
        return totals


class FairScheduler(Scheduler):
    """Shares CPUs out among entities by weighted virtual time, from one queue."""

    def __init__(
        self,
        env: simpy.Environment,
        cpus: int,
        time_slice: int,
        granularity: int,
        switch: int,
    ) -> None:
        super().__init__(env, cpus, switch)
        self.time_slice = time_slice
        self.granularity = granularity
        self.queue: list[tuple[int, int, Entity]] = []
        self._order = 0
        self._floor = 0
        """Virtual time that all who run or wait have reached; it never goes back."""

    def acquire(self, entity: Entity) -> simpy.Event:
        entity.event = self.env.event()
        entity.virtual = max(entity.virtual, self._reached() - self.time_slice)
        return self._enqueue(entity)

    def _reached(self) -> int:
        """The floor: whoever wakes starts at most a time slice before it, however long it slept."""
        now = int(self.env.now)
        times = [self.queue[0][0]] if self.queue else []
        for cpu in self.cpus:
            if cpu.current is not None:
                ran = max(0, now - cpu.slice_start) * 1024 // cpu.current.weight
                times.append(cpu.current.virtual + ran)
        if times:
            self._floor = max(self._floor, min(times))
        return self._floor

    def requeue(self, entity: Entity) -> simpy.Event:
        self._leave(entity)
        entity.event = self.env.event()
        return self._enqueue(entity)

    def _enqueue(self, entity: Entity) -> simpy.Event:
        assert entity.event is not None
        event = entity.event
        self._order += 1
        insort(self.queue, (entity.virtual, self._order, entity))
        self._fill_idle()
        if self.queue:
            self._contend(entity)
        return event

    def release(self, entity: Entity) -> None:
        if entity.cpu is None:
            self.queue = [item for item in self.queue if item[2] is not entity]
            return
        self._fill(self._leave(entity))

    def _charge(self, cpu: Cpu, now: int) -> None:
        entity = cpu.current
        assert entity is not None
        if now > cpu.slice_start:
            entity.virtual += (now - cpu.slice_start) * 1024 // entity.weight
            cpu.slice_start = now

    def _fill(self, cpu: Cpu) -> None:
        self._fill_idle()

    def _fill_idle(self) -> None:
        """Dispatch waiting entities on idle CPUs."""
        at = 0
        if all(cpu.current is not None or cpu.seized for cpu in self.cpus):
            return
        while at < len(self.queue):
            entity = self.queue[at][2]
            cpu = self._idle_cpu(entity)
            if cpu is None:
                at += 1
                continue
            del self.queue[at]
            self._give(entity, cpu)

    def _idle_cpu(self, entity: Entity) -> Cpu | None:
        found = None
        for cpu in self.cpus:
            if cpu.current is None and not cpu.seized and entity.may_run(cpu):
                if cpu.last is entity:
                    return cpu
                found = found or cpu
        return found

    def _arm(self, cpu: Cpu, start: int) -> None:
        if any(item[2].may_run(cpu) for item in self.queue):
            self._set_slice_end(cpu, start + self.time_slice)

    def _contend(self, waiting: Entity) -> None:
        """Give the CPUs that the entity waits for an end of slice; preempt one far ahead of it."""
        now = int(self.env.now)
        furthest, victim = self.granularity, None
        for cpu in self.cpus:
            current = cpu.current
            if current is None or cpu.seized or not waiting.may_run(cpu):
                continue
            if cpu.slice_end == FOREVER:
                self._set_slice_end(cpu, max(now, cpu.slice_start + self.time_slice))
            ran = max(0, now - cpu.slice_start) * 1024 // current.weight
            ahead = current.virtual + ran - waiting.virtual
            if ahead > furthest:
                furthest, victim = ahead, cpu
        if victim is not None:
            self._set_slice_end(victim, now)

    def _keeps(self, cpu: Cpu, now: int) -> bool:
        entity = cpu.current
        assert entity is not None
        best = next((item for item in self.queue if item[2].may_run(cpu)), None)
        if best is None:
            return True
        if best[0] < entity.virtual:
            return False
        self._set_slice_end(cpu, now + self.time_slice)  # still the one most entitled
        return True
