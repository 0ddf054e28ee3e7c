"""Linux's fair scheduler since 6.6 (EEVDF), as a kernel without forced preemption runs it.

Each CPU has its run queue, whose arithmetic is in ``run_queue``. Here is the time: who has to let
go is decided at timer ticks, when somebody wakes, and when somebody sleeps. A tick is an event only
where somebody waits. The others are made up for when the queue is next looked at, so that a CPU
that is idle, or that one entity has for itself, costs nothing.
"""

import simpy

from sharesim.machine.run_queue import RunQueue, Task, slice_for
from sharesim.machine.scheduler import Cpu, Entity, Scheduler

BALANCE_INTERVAL = 16_000_000
"""ns per CPU between two attempts of a busy CPU to even out the load, less a tick."""

BALANCE_PERCENT = 117
"""Loads that differ by no more than this count as even."""


class CpuQueue(RunQueue):
    """The run queue of a CPU with what the scheduler notes about it."""

    def __init__(self, cpu: Cpu, time_slice: int, tick: int) -> None:
        super().__init__(time_slice, tick)
        self.cpu = cpu
        self.ticked = -1
        """Number of the last tick that is in the books."""
        self.reschedule = False
        """The current task has had its slice, or somebody better has come: choose again."""
        self.balance_at = 0
        self.failed = 0
        """Attempts in vain to even out the load; each halves the scruples of the next."""

    @property
    def idle(self) -> bool:
        """Whether whoever comes would run at once."""
        return self.cpu.current is None and not self.cpu.seized

    def movable(self, to: Cpu) -> Task | None:
        """Who could run on that CPU instead of waiting here: the one that waits longest."""
        mine = (task for task in self.waiting if not task.delayed and task.entity.may_run(to))
        return next(mine, None)


class EevdfScheduler(Scheduler):
    """Shares CPUs out by earliest eligible virtual deadline, each CPU for itself.

    ``hz`` ticks a second, the first at ``first_tick``; ``switch`` is in ns.
    """

    def __init__(
        self, env: simpy.Environment, cpus: int, hz: int, first_tick: int, switch: int
    ) -> None:
        super().__init__(env, cpus, switch)
        self.tick = 1_000_000_000 // hz
        self.first_tick = first_tick
        self.time_slice = slice_for(cpus)
        self.queues = [CpuQueue(cpu, self.time_slice, self.tick) for cpu in self.cpus]
        self.balance_interval = BALANCE_INTERVAL * cpus - self.tick
        self._tasks: dict[Entity, Task] = {}

    # Coming and going

    def acquire(self, entity: Entity) -> simpy.Event:
        now = int(self.env.now)
        event = entity.event = self.env.event()
        task = self._tasks.setdefault(entity, Task(entity, entity.weight))
        if task.delayed:
            self._advance(self._queue_of(task), now)
        if task.delayed:
            queue = self._queue_of(task)
            queue.revive(task)
        else:
            queue = self._suitable(task)
            self._advance(queue, now)
            queue.place(task)
        self._welcome(queue, task)
        return event

    def requeue(self, entity: Entity) -> simpy.Event:
        cpu = self._leave(entity)
        event = entity.event = self.env.event()
        self.queues[cpu.number].put_back()
        self._fill(cpu)
        return event

    def release(self, entity: Entity) -> None:
        task = self._tasks.get(entity)
        if task is None:
            return
        queue = self._queue_of(task)
        if entity.cpu is not None:
            cpu = self._leave(entity)
            queue.sleep(queue.put_back())
            self._fill(cpu)
        elif task in queue.waiting and not task.delayed:
            self._advance(queue, int(self.env.now))
            queue.leave(task)

    @staticmethod
    def _queue_of(task: Task) -> CpuQueue:
        assert isinstance(task.queue, CpuQueue)
        return task.queue

    def _suitable(self, task: Task) -> CpuQueue:
        """Where one that wakes goes: to its last CPU, unless that is busy and another one idle."""
        last = task.queue
        if isinstance(last, CpuQueue) and last.idle:
            return last
        allowed = [queue for queue in self.queues if task.entity.may_run(queue.cpu)]
        idle = next((queue for queue in allowed if queue.idle), None)
        if idle is not None:
            return idle
        return last if isinstance(last, CpuQueue) else min(allowed, key=CpuQueue.load)

    def _welcome(self, queue: CpuQueue, task: Task) -> None:
        """One has come to a queue: it runs at once if the CPU is idle, or it is the better one."""
        cpu, now = queue.cpu, int(self.env.now)
        if cpu.current is None:
            self._fill(cpu)
            return
        queue.reschedule = queue.reschedule or queue.pick() is task
        self._arm(cpu, now)

    # Choosing

    def _choose(self, queue: CpuQueue) -> Task | None:
        """Who should run; those that slept with delay and are picked leave the queue."""
        while True:
            task = queue.pick()
            if task is None or not task.delayed:
                return task
            queue.drop(task)

    def _fill(self, cpu: Cpu) -> None:
        queue = self.queues[cpu.number]
        if not queue.idle:
            return
        task = self._choose(queue) or self._pull(queue)
        if task is None:
            return
        queue.start(task)
        queue.ticked = self._ticks_until(int(self.env.now))
        queue.reschedule = False
        self._give(task.entity, cpu)

    def _arm(self, cpu: Cpu, start: int) -> None:
        queue = self.queues[cpu.number]
        if cpu.seized:
            return
        if queue.reschedule:
            self._set_slice_end(cpu, start)
        elif queue.somebody_waits():
            self._set_slice_end(cpu, self._time_of(self._ticks_until(start) + 1))

    def _keeps(self, cpu: Cpu, now: int) -> bool:
        queue = self.queues[cpu.number]
        if self._time_of(queue.ticked) == now:
            self._balance(queue, now)
        if queue.reschedule:
            queue.reschedule = self._choose(queue) is not queue.current
        if queue.reschedule:
            return False
        self._arm(cpu, now)
        return True

    # Ticks and time

    def _ticks_until(self, now: int) -> int:
        """The number of the last tick at or before a time; the first is 0."""
        return (now - self.first_tick) // self.tick

    def _time_of(self, number: int) -> int:
        return self.first_tick + number * self.tick

    def _charge(self, cpu: Cpu, now: int) -> None:
        queue, last = self.queues[cpu.number], self._ticks_until(now)
        if queue.current is not None:
            while queue.ticked < last and len(queue) > 1:
                queue.ticked += 1
                self._run_until(queue, self._time_of(queue.ticked))
                self._update(queue)
                if queue.reschedule:
                    queue.reschedule = self._choose(queue) is not queue.current
            if queue.ticked < last:
                self._ticks_alone(queue, last)
            self._run_until(queue, now)
        queue.ticked = last

    def _advance(self, queue: CpuQueue, now: int) -> None:
        """Before somebody comes or goes: charge, and see whether the slice is over."""
        self._charge(queue.cpu, now)
        if queue.current is not None:
            self._update(queue)

    @staticmethod
    def _run_until(queue: CpuQueue, time: int) -> None:
        cpu = queue.cpu
        if time > cpu.slice_start:
            queue.charge(time - cpu.slice_start)
            cpu.slice_start = time

    @staticmethod
    def _update(queue: CpuQueue) -> None:
        """If the slice of the current task or its protection is over, others may be next."""
        task = queue.current
        assert task is not None
        renewed = queue.renew()
        if len(queue) > 1 and (renewed or task.runtime >= task.protected):
            queue.reschedule = True

    def _ticks_alone(self, queue: CpuQueue, last: int) -> None:
        """All ticks until ``last`` at once: they only renew the deadline now and then."""
        task = queue.current
        assert task is not None
        missing = max(0, task.deadline - task.runtime) * task.weight
        due = queue.cpu.slice_start - -missing // 1024
        first = max(queue.ticked + 1, self._ticks_until(due - 1) + 1)
        every = -(-self.time_slice // self.tick)
        if first <= last:
            self._run_until(queue, self._time_of(last - (last - first) % every))
            queue.renew()

    # From CPU to CPU

    def _move(self, task: Task, source: CpuQueue, target: CpuQueue) -> None:
        now = int(self.env.now)
        self._advance(source, now)
        self._advance(target, now)
        source.leave(task, moves=True)
        target.place(task)

    def _pull(self, queue: CpuQueue) -> Task | None:
        """A CPU that would go idle takes somebody who waits where the load is largest."""
        for source in sorted(self.queues, key=CpuQueue.load, reverse=True):
            task = source.movable(queue.cpu)
            if task is not None:
                self._move(task, source, queue)
                return task
        return None

    def _balance(self, queue: CpuQueue, now: int) -> None:
        """At a tick where somebody waits: let idle CPUs help, then even out the load."""
        for other in self.queues:
            if other.idle:
                self._fill(other.cpu)
        if now < queue.balance_at or not queue.somebody_waits():
            return
        queue.balance_at = now + self.balance_interval
        calm = min(self.queues, key=CpuQueue.load)
        load, least = queue.load(), calm.load()
        task = queue.movable(calm.cpu)
        if load * 100 <= least * BALANCE_PERCENT or task is None:
            queue.failed = 0
        elif task.weight >> queue.failed > (load - least) // 2:
            queue.failed += 1
        else:
            queue.failed = 0
            self._move(task, queue, calm)
            self._welcome(calm, task)
