"""The scanner daemon as a SimPy process, and where it runs.

It wakes on a fixed period and scans what the rate asks for; a batch that overruns its period is
counted, and the next one starts at once. As a *thread* it competes for CPUs like a vCPU; as a
*softirq* the hypervisor runs it where its timer was set and whoever runs there is interrupted; in a
control *domain* it is a thread that must map foreign pages, and unmap and flush after each batch.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import simpy

from sharesim.machine.scheduler import CPU_SCANNER, STOPPED, Cpu, Entity
from sharesim.sharing.cbps_kernel import BATCH_END, DRAIN
from sharesim.sharing.drivers import Driver

if TYPE_CHECKING:
    from sharesim.engine import Engine
    from sharesim.spec.scenario import Scanner as ScannerSpec

Steps = Generator[simpy.Event, Any, None]


class Scanner(Entity):
    """The daemon: a policy's driver, a placement, and the books about its time."""

    def __init__(self, engine: "Engine", spec: "ScannerSpec", driver: Driver, policy: Any) -> None:
        super().__init__("scanner", spec.weight, spec.affinity, CPU_SCANNER)
        self.engine = engine
        self.spec = spec
        self.driver = driver
        self.rate = policy.scan_rate
        self.period = policy.wake_period
        self.batches = 0
        self.overruns = 0

    def local_time(self, now: int) -> int:
        return max(now, self.driver.local)

    def requested(self, time: int) -> int:
        """Pages that the rate asks to have been scanned by a time."""
        elapsed = max(0, time - self.spec.start)
        return int(elapsed * round(self.rate * 1000) // 1_000_000_000_000)

    def run(self) -> Steps:
        """The SimPy process."""
        env = self.engine.env
        yield env.timeout(self.spec.start)
        wake = int(env.now)
        while True:
            budget = self.requested(wake + self.period) - self.requested(wake)
            if budget > 0:
                if not self.driver.takes_time:
                    self.driver.begin(budget, wake)
                    self.engine.frames_may_be_free()
                elif self.spec.placement == "softirq":
                    yield from self._in_softirq(budget)
                else:
                    yield from self._in_thread(budget)
                self.batches += 1
            wake += self.period
            now = int(env.now)
            if now > wake:
                self.overruns += 1
                wake += (now - wake) // self.period * self.period
            elif wake > now:
                yield env.timeout(wake - now)

    def _in_thread(self, budget: int) -> Steps:
        scheduler = self.engine.scheduler
        yield scheduler.acquire(self)
        yield from self._batch(budget)
        scheduler.release(self)

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
                yield self.engine.scheduler.requeue(self)
                due = int(env.now) + rest
                self.driver.move_to(due)
