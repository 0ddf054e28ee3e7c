"""The arithmetic of Linux's EEVDF on the run queue of one CPU: no clock, no events.

EEVDF: earliest eligible virtual deadline first. The CPU time that a task has received, divided by
its weight, is its *virtual runtime*. The weighted mean of all is what an ideally fair CPU would
have given to each. Who has not received more than that is *eligible*. Of the eligible ones, that
whose next slice would end first, counted in virtual time, is picked: it has the earliest *virtual
deadline*. How far a task is behind the mean is its *lag*; it is kept while the task sleeps.

Behaviour of kernel/sched/fair.c as of Linux 6.18. The algorithm: I. Stoica, H. Abdel-Wahab,
*Earliest Eligible Virtual Deadline First*, 1995.
"""

from dataclasses import dataclass
from typing import Any

UNIT = 1024
"""The weight (nice 0) of which virtual time passes as fast as real time."""

BASE_SLICE = 700_000
"""Slice in ns on one CPU."""

MOST_SCALED = 8
"""With more CPUs than this the slice grows no further."""


def slice_for(cpus: int) -> int:
    """The slice in ns: logarithmic in the number of CPUs."""
    return BASE_SLICE * min(cpus, MOST_SCALED).bit_length()


def virtual(time: int, weight: int) -> int:
    """ns of CPU time as virtual time of a weight."""
    return time * UNIT // weight


@dataclass(eq=False, slots=True)
class Task:
    """What a run queue knows about somebody; virtual times in ns."""

    entity: Any
    weight: int
    runtime: int = 0
    """Virtual runtime."""
    deadline: int = 0
    lag: int = 0
    """Of one that is in no queue: how far behind the mean it was when it left."""
    protected: int = 0
    """Virtual runtime until which it keeps the CPU it was given."""
    relative: bool = False
    """In no queue, but it moves: ``deadline`` is kept and counts from its virtual runtime."""
    delayed: bool = False
    """It sleeps, but had more than its share: it stays in the queue until the others caught up."""
    queue: "RunQueue | None" = None
    """Where it is, or was last."""


class RunQueue:
    """Who wants to run on a CPU, and who of them should.

    ``time_slice`` and ``tick`` are in ns. ``current`` has the CPU; ``waiting`` are all others in
    the order in which they came, also those that sleep but have not been let go.
    """

    def __init__(self, time_slice: int, tick: int) -> None:
        self.time_slice = time_slice
        self.tick = tick
        self.current: Task | None = None
        self.waiting: list[Task] = []
        self.empty_at = 0
        """Of an empty queue: the virtual time it had reached."""

    def __len__(self) -> int:
        return len(self.waiting) + (self.current is not None)

    def tasks(self) -> list[Task]:
        """All of them."""
        return self.waiting if self.current is None else [self.current, *self.waiting]

    def somebody_waits(self) -> bool:
        """Whether anybody who does not sleep waits for this CPU."""
        return any(not task.delayed for task in self.waiting)

    def load(self) -> int:
        """Weight of all that do not sleep."""
        return sum(task.weight for task in self.tasks() if not task.delayed)

    # Fairness

    def _sums(self) -> tuple[int, int]:
        weights = weighted = 0
        for task in self.tasks():
            weights += task.weight
            weighted += task.weight * task.runtime
        return weighted, weights

    def mean(self) -> int:
        """The weighted mean of the virtual runtimes, rounded down."""
        weighted, weights = self._sums()
        return weighted // weights if weights else self.empty_at

    def eligible(self, task: Task) -> bool:
        """Whether it has not received more than its share; exact, nothing is rounded."""
        weighted, weights = self._sums()
        return task.runtime * weights <= weighted

    def lag(self, task: Task) -> int:
        """How far one in the queue is behind the mean, at most two slices or a tick."""
        limit = virtual(max(2 * self.time_slice, self.tick), task.weight)
        return max(-limit, min(limit, self.mean() - task.runtime))

    def charge(self, time: int) -> None:
        """The current task has received so many ns."""
        assert self.current is not None
        self.current.runtime += virtual(time, self.current.weight)

    def renew(self) -> bool:
        """Give the current task its next deadline if it has reached the last; whether it had."""
        task = self.current
        assert task is not None
        if task.runtime < task.deadline:
            return False
        task.deadline = task.runtime + virtual(self.time_slice, task.weight)
        return True

    # Choice

    def pick(self) -> Task | None:
        """Who should run: the current task while it is protected, else by deadline."""
        if len(self) <= 1:
            return self.current or (self.waiting[0] if self.waiting else None)
        weighted, weights = self._sums()
        current = self.current
        if current is not None and current.runtime * weights > weighted:
            current = None
        if current is not None and current.runtime < current.protected:
            return current
        eligible = [task for task in self.waiting if task.runtime * weights <= weighted]
        best = min(eligible, key=lambda task: task.deadline, default=None)
        if best is None or (current is not None and current.deadline < best.deadline):
            return current
        return best

    # Coming and going

    def place(self, task: Task) -> None:
        """Let somebody in, as far behind the mean as it was when it left.

        Its coming moves the mean towards it, by which its lag is stretched beforehand.
        """
        lag = 0
        _, weights = self._sums()
        if weights:
            lag = task.lag * (weights + task.weight) // weights
        task.runtime = self.mean() - lag
        if task.relative:
            task.deadline += task.runtime
        else:
            task.deadline = task.runtime + virtual(self.time_slice, task.weight)
        task.relative = False
        task.queue = self
        self.waiting.append(task)

    def start(self, task: Task) -> None:
        """It gets the CPU."""
        assert self.current is None
        self.waiting.remove(task)
        self.current = task
        task.protected = task.deadline

    def put_back(self) -> Task:
        """The current task has lost the CPU and waits again."""
        self.renew()
        task, self.current = self.current, None
        assert task is not None
        self.waiting.append(task)
        return task

    def leave(self, task: Task, *, moves: bool = False) -> None:
        """One that waits leaves with its lag; if it ``moves`` to another CPU, with its deadline."""
        task.lag = self.lag(task)
        if moves:
            task.deadline -= task.runtime
            task.relative = True
        self.empty_at = self.mean()
        self.waiting.remove(task)

    def sleep(self, task: Task) -> None:
        """One that waits sleeps. If it had more than its share it leaves only when picked again."""
        task.delayed = not self.eligible(task)
        if not task.delayed:
            self.leave(task)

    def drop(self, task: Task) -> None:
        """A delayed task has been picked: it leaves. Sleeping earns it nothing."""
        self.leave(task)
        task.lag = min(0, task.lag)
        task.delayed = False

    def revive(self, task: Task) -> None:
        """A delayed task wakes before it has left; what it earned meanwhile is lost."""
        if self.lag(task) > 0:
            self.drop(task)
            self.place(task)
        task.delayed = False
