"""Has the runs of a sweep made that are not in its store yet, by whatever executor."""

import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sharesim.errors import UserError
from sharesim.spec.scenario import Scenario
from sharesim.sweep.cell import Job, failure, run_cell
from sharesim.sweep.executors import Executor, ExecutorLost, WorkerDied
from sharesim.sweep.plan import Builder, Cell
from sharesim.sweep.store import PAIRS, RUNS, Store

MOST_DEATHS = 3
"""Workers that a run may kill before it is given up."""
_PATIENCE_S = 0.5
"""How long to wait for results before looking whether to stop."""


class Progress(Protocol):
    """What a driver tells of its work."""

    def begin(self, total: int, done: int) -> None:
        """Of so many cells so many need nothing more."""

    def settled(self, cell: Cell, outcome: str) -> None:
        """A cell is ``"done"`` or ``"failed"``."""


@dataclass(frozen=True)
class _Task:
    """A run to be made: of a cell, or of a pair that a cell needs."""

    key: str
    label: str
    cell: Cell

    @property
    def name(self) -> str:
        if self.label == "with sharing":
            return self.cell.name
        return f"{self.cell.name}, its pair {self.label}"


class Driver:
    """Completes cells: makes their pairs first, each once, then the cells themselves."""

    def __init__(
        self,
        store: Store,
        builder: Builder,
        executor: Callable[[], Executor],
        *,
        progress: Progress | None = None,
        command: Sequence[str] = (),
        cold: bool = False,
    ) -> None:
        """``cold``: no kernel is compiled yet."""
        self.store = store
        self.builder = builder
        self._maker = executor
        self._executor: Executor | None = None
        """Started when there is something to do."""
        self.progress = progress
        self.command = tuple(command)
        self._done = {RUNS: store.keys(RUNS), PAIRS: store.keys(PAIRS)}
        self._failed = store.keys("failed")
        self._deaths: Counter[str] = Counter()
        self._cold = cold
        self._any_finished = False
        self._alike: dict[str, list[Cell]] = {}
        """Cells by key: settings that make no difference have one run."""

    @property
    def executor(self) -> Executor:
        """What makes the runs."""
        if self._executor is None:
            self._executor = self._maker()
        return self._executor

    @property
    def settled(self) -> int:
        """How many results and failures are known."""
        return len(self._done[RUNS]) + len(self._failed)

    def is_settled(self, cell: Cell) -> bool:
        """Whether nothing is to be done for a cell, be it that it failed."""
        return not cell.key or cell.key in self._done[RUNS] or cell.key in self._failed

    def is_done(self, cell: Cell) -> bool:
        """Whether a cell's result is there."""
        return bool(cell.key) and cell.key in self._done[RUNS]

    def forget(self, key: str) -> None:
        """A result turned out to be damaged."""
        self._done[RUNS].discard(key)

    def retry(self, cells: Sequence[Cell]) -> None:
        """Forget that these cells, or their pairs, failed; runs that lack a pair are made again."""
        keys = {cell.key for cell in cells} & self._failed
        for cell in cells:
            lost = set(cell.pairs.values()) & self._failed
            if lost and cell.key in self._done[RUNS]:
                self.store.discard(RUNS, cell.key)
                self.forget(cell.key)
            keys |= lost
        self.store.forget_failures(keys)
        self._failed -= keys

    def complete(self, cells: Iterable[Cell]) -> None:
        """Make all runs that these cells lack; failed ones are settled, too.

        Raises DiskError when nothing can be stored any more, UserError when the executor is lost,
        and KeyboardInterrupt; all that was finished by then is in the store.
        """
        cells = list(cells)
        self._alike = _by_key(cells)
        todo = list({one.key: one for one in cells if not self.is_settled(one)}.values())
        if self.progress is not None:
            self.progress.begin(len(cells), sum(self.is_settled(one) for one in cells))
        queue = _Queue(self._tasks(todo), self._pairs_missing)
        under_way: dict[Future[Any], _Task] = {}
        try:
            while True:
                while len(under_way) < self._window() and (task := queue.next()) is not None:
                    under_way[self._submit(task)] = task
                if not under_way:
                    return
                finished, _ = wait(under_way, _PATIENCE_S, FIRST_COMPLETED)
                for future in finished:
                    self._settle(under_way.pop(future), future, queue)
        except ExecutorLost as lost:
            raise UserError(
                f"{lost}; what was finished is in {self.store.place}: give the same command again"
            ) from None

    def _window(self) -> int:
        """So many runs are handed out at a time: enough that no worker waits for the next. The
        first alone where kernels are to be compiled: it does that for all."""
        if self._cold and not self._any_finished:
            return 1
        return 1 if self.executor.workers <= 1 else 2 * self.executor.workers

    def _tasks(self, cells: Iterable[Cell]) -> Iterator[_Task]:
        """Each cell after the pairs that nobody has asked for yet."""
        asked: set[str] = set()
        for cell in cells:
            for label, key in cell.pairs.items():
                if key not in asked and not self._pair_settled(key):
                    asked.add(key)
                    yield _Task(key, label, cell)
            yield _Task(cell.key, "with sharing", cell)

    def _pair_settled(self, key: str) -> bool:
        return key in self._done[PAIRS] or key in self._failed

    def _pairs_missing(self, task: _Task) -> set[str]:
        if task.label != "with sharing":
            return set()
        return {key for key in task.cell.pairs.values() if not self._pair_settled(key)}

    def _submit(self, task: _Task) -> Future[Any]:
        cell = task.cell
        scenario: Scenario = self.builder.scenario(cell.settings, cell.replicate)
        if task.label != "with sharing":
            scenario = self.builder.pairs(scenario)[task.label]
        job = Job(
            key=task.key,
            label=task.label,
            scenario=scenario.to_dict(),
            pairs=cell.pairs if task.label == "with sharing" else {},
            name=task.name,
            command=self.command,
        )
        return self.executor.submit(run_cell, str(self.store.place.resolve()), job.to_text())

    def _settle(self, task: _Task, future: Future[Any], queue: "_Queue") -> None:
        self._any_finished = True
        try:
            outcome = future.result()
        except WorkerDied as error:
            self._deaths[task.key] += error.deaths
            if self._deaths[task.key] < MOST_DEATHS:
                return queue.again(task)
            outcome = self._give_up(task, error)
        except CancelledError:
            return queue.again(task)
        if outcome == "unpaired":
            return self._pair_again(task, queue)
        kind = RUNS if task.label == "with sharing" else PAIRS
        (self._done[kind] if outcome == "done" else self._failed).add(task.key)
        queue.settled(task.key)
        if kind == RUNS and self.progress is not None:
            for cell in self._alike[task.key]:
                self.progress.settled(cell, outcome)

    def _pair_again(self, task: _Task, queue: "_Queue") -> None:
        """A pair turned out to be damaged, or was removed: make it, and the run after it."""
        self._done[PAIRS] = self.store.keys(PAIRS)
        for label, key in task.cell.pairs.items():
            if not self._pair_settled(key):
                queue.again(_Task(key, label, task.cell))
        queue.again(task)

    def _give_up(self, task: _Task, error: WorkerDied) -> str:
        told = UserError(
            f"{self._deaths[task.key]} workers died of it, one after the other ({error}): killed by"
            " hand, or by the system for want of memory"
        )
        self.store.write_failure(
            task.key, {**failure(told, task.name), "type": "WorkerDied", "traceback": ""}
        )
        return "failed"


def _by_key(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(cell.key, []).append(cell)
    return alike


class _Queue:
    """Tasks in order; one whose pairs are not there yet is put aside until they are."""

    def __init__(self, tasks: Iterator[_Task], missing: Callable[[_Task], set[str]]) -> None:
        self._tasks = tasks
        self._missing = missing
        self._ready: deque[_Task] = deque()
        self._aside: dict[str, list[_Task]] = {}
        """By the key of a pair that they wait for."""

    def next(self) -> _Task | None:
        """The next that can be made now; None when all that are left wait, or none is left."""
        while True:
            task = self._ready.popleft() if self._ready else next(self._tasks, None)
            if task is None:
                return None
            missing = self._missing(task)
            if not missing:
                return task
            self._aside.setdefault(min(missing), []).append(task)

    def again(self, task: _Task) -> None:
        """It has to be made once more."""
        self._ready.append(task)

    def settled(self, key: str) -> None:
        """What waited for that key may go on."""
        self._ready.extend(self._aside.pop(key, ()))


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Inside, SIGTERM (a cluster's time limit) stops the work as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt
