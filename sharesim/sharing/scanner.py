"""The scanner daemon as a SimPy process, and where it runs.

When it wakes and how much it then scans is its pace (:mod:`sharesim.sharing.pace`). As a *thread*
it competes for CPUs like a vCPU; as a *softirq* the hypervisor runs it where its timer was set and
whoever runs there is interrupted; in a control *domain* it is a thread that must map foreign pages,
and unmap and flush after each batch.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from sharesim.machine.scheduler import CPU_SCANNER, STOPPED, Cpu, Entity
from sharesim.sharing.cbps_kernel import BATCH_END, DRAIN
from sharesim.sharing.drivers import Driver
from sharesim.sharing.pace import Pace

if TYPE_CHECKING:
    from sharesim.engine import Engine
    from sharesim.spec.scenario import Scanner as ScannerSpec

Steps = Generator[simpy.Event, Any, None]


class Scanner(Entity):
    """The daemon: a policy's driver, a pace, a placement, and the books about its time."""

    def __init__(self, engine: "Engine", spec: "ScannerSpec", driver: Driver, pace: Pace) -> None:
        super().__init__("scanner", spec.weight, spec.affinity, CPU_SCANNER)
        self.engine = engine
        self.spec = spec
        self.driver = driver
        self.pace = pace
        self.batches = 0
        self._waited = 0
        self._waiting_since: int | None = None

    def local_time(self, now: int) -> int:
        return max(now, self.driver.local)

    @property
    def overruns(self) -> int:
        """Batches that were not done when the next one was due."""
        return self.pace.overruns

    def requested(self, time: int) -> int:
        """Pages that should have been scanned by a time."""
        return self.pace.requested(time, self.driver.scanned)

    def waited(self, time: int) -> int:
        """ns that it was runnable without a CPU, until a time."""
        since = self._waiting_since
        return self._waited + (0 if since is None else time - since)

    def run(self) -> Steps:
        """The SimPy process."""
        env = self.engine.env
        yield env.timeout(self.spec.start)
        while True:
            budget = self.pace.budget(int(env.now))
            if budget > 0:
                if not self.driver.takes_time:
                    self.driver.begin(budget, int(env.now))
                    self.engine.frames_may_be_free()
                elif self.spec.placement == "softirq":
                    yield from self._in_softirq(budget)
                else:
                    yield from self._in_thread(budget)
                self.batches += 1
            rest = self.pace.rest(env)
            if rest is not None:
                if self.cpu is not None:
                    self.engine.scheduler.release(self)
                yield rest

    def _in_thread(self, budget: int) -> Steps:
        scheduler = self.engine.scheduler
        if self.cpu is None:
            yield from self._wait_for(scheduler.acquire(self))
        yield from self._batch(budget)
        if not self.pace.keeps_cpu:
            scheduler.release(self)

    def _wait_for(self, cpu: simpy.Event) -> Steps:
        """Wait to be dispatched, and keep count of it."""
        self._waiting_since = int(self.engine.env.now)
        yield cpu
        self._waited = self.waited(int(self.engine.env.now))
        self._waiting_since = None

    def _in_softirq(self, budget: int) -> Steps:
        scheduler = self.engine.scheduler
        cpu = self._softirq_cpu()
        scheduler.seize(cpu)
        yield from self._batch(budget)
        scheduler.unseize(cpu)

    def _softirq_cpu(self) -> Cpu:
        """The CPU its timer was set on: the first that is allowed."""
        return next(cpu for cpu in self.engine.scheduler.cpus if self.may_run(cpu))

    def _batch(self, budget: int) -> Steps:
        engine, driver = self.engine, self.driver
        engine.tell_changes()
        engine.tell_outcomes()
        driver.begin(budget, int(engine.env.now))
        while True:
            now = int(engine.env.now)
            until = engine.horizon(now)
            if len(engine.memory.offers):  # not alone: it may fill a ring, and its guest must hear
                until = min(until, (now // engine.quantum + 1) * engine.quantum)
            if self.cpu is not None:
                until = min(until, self.cpu.slice_end)
            due, stop = driver.run(now, until)
            if due > now:
                yield from self._sleep_until(due)
            engine.frames_may_be_free()
            if len(engine.memory.offers):
                engine.tell_guests(batch_is_over=stop == BATCH_END)
            if stop == DRAIN:
                engine.drain()
            if engine.broken:
                engine.breach()
            if stop == BATCH_END:
                break
        mapped = driver.end()
        if mapped and self.spec.placement == "domain":
            yield from self._sleep_until(int(engine.env.now) + engine.unmap_foreign(mapped))

    def _sleep_until(self, due: int) -> Steps:
        env = self.engine.env
        while True:
            try:
                yield env.timeout(due - int(env.now))
                return
            except simpy.Interrupt as interrupt:
                rest = due - int(env.now)
                if interrupt.cause == STOPPED:
                    raise
                yield from self._wait_for(self.engine.scheduler.requeue(self))
                due = int(env.now) + rest
                self.driver.move_to(due)
