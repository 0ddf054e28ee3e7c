"""A pool of processes that any of them may leave at any moment.

Written here because the pools that there are (the standard library's, Pebble's) share a queue
between their workers: one that is killed while it holds the queue's lock breaks or blocks the pool
for all. Here each worker has a pipe of its own and is given one call at a time, so that its death
can hurt nothing but its call.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from sharesim.sweep.executors import ExecutorLost, WorkerDied, without_ctrl_c

PRELOADED = ["sharesim.sweep.cell"]
"""Imported once; each worker is then a copy, there in milliseconds."""
MOST_STILLBORN = 20
"""Workers in a row that may leave by themselves, not killed, before any returns anything: then
something is wrong with all."""
_PATIENCE_S = 2.0
"""For a worker that was asked to stop; then it is killed."""


@dataclass(eq=False)
class _Call:
    future: Future[Any]
    message: bytes
    """Function and arguments, pickled."""


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    lifeline: Connection
    """Held open as long as this process lives; a worker that finds it closed leaves."""
    call: _Call | None = None


class LocalPool:
    """Shaped like :class:`concurrent.futures.Executor`; a thread of this process looks after it."""

    def __init__(self, jobs: int) -> None:
        self.workers = jobs
        self._context = _context()
        self._calls: deque[_Call] = deque()
        self._lock = threading.Lock()
        self._awake, self._wake = multiprocessing.Pipe(duplex=False)
        self._closing = self._at_once = False
        self._lost: ExecutorLost | None = None
        self._stillborn = 0
        self._crew: list[_Worker] = []
        self._thread = threading.Thread(target=self._look_after, name="sharesim-pool", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """A call of a function that can be imported, with arguments that can be pickled; what
        pickle raises about others is raised here."""
        call = _Call(Future(), pickle.dumps((function, args)))
        with self._lock:
            if self._lost is not None:
                raise self._lost
            if self._closing:
                raise RuntimeError("the pool has been shut down")
            self._calls.append(call)
        self._rouse()
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of an executor; with ``cancel_futures`` workers are stopped in the middle of calls."""
        with self._lock:
            self._closing = True
            self._at_once = self._at_once or cancel_futures
        self._rouse()
        if wait:
            self._thread.join()

    def _rouse(self) -> None:
        with contextlib.suppress(OSError):  # it has left already
            self._wake.send_bytes(b"!")

    # The thread that looks after the workers

    def _look_after(self) -> None:
        try:
            with without_ctrl_c():
                while not self._finished():
                    self._hand_out()
                    self._listen()
        except Exception as error:  # a defect of the pool: nobody is to wait for ever
            self._give_up(f"the pool of processes failed: {type(error).__name__}: {error}")
        finally:
            self._dismiss()

    def _finished(self) -> bool:
        with self._lock:
            idle = not self._calls and not any(worker.call for worker in self._crew)
            return self._at_once or (self._closing and idle)

    def _hand_out(self) -> None:
        """A call to each worker that has none; workers are hired when there are calls for them."""
        while (call := self._next_call()) is not None:
            free = next((worker for worker in self._crew if worker.call is None), None)
            if free is None and (free := self._hire()) is None:
                self._mark_stillborn()
                continue
            try:
                free.pipe.send_bytes(call.message)
            except OSError:  # it died idle: the call has not begun
                self._bury(free)
                continue
            free.call = self._calls.popleft()

    def _next_call(self) -> _Call | None:
        """The next call that somebody can make now; it stays in the queue until somebody does."""
        busy = sum(worker.call is not None for worker in self._crew)
        while busy < self.workers and self._calls:
            call = self._calls[0]
            if call.future.running() or call.future.set_running_or_notify_cancel():
                return call
            self._calls.popleft()
        return None

    def _hire(self) -> _Worker | None:
        """A new worker; None where it could not be started, such as when the process that all are
        forked from was killed in that moment."""
        ours, theirs = multiprocessing.Pipe()
        watched, lifeline = multiprocessing.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(theirs, watched), daemon=True)  # type: ignore[attr-defined]
        try:
            process.start()
        except (OSError, EOFError):
            ours.close()
            lifeline.close()
            return None
        finally:
            theirs.close()
            watched.close()
        worker = _Worker(process, ours, lifeline)
        self._crew.append(worker)
        return worker

    def _listen(self) -> None:
        """Wait for a result, a death, or a word from the others."""
        pipes = {worker.pipe: worker for worker in self._crew}
        for ready in wait([self._awake, *pipes]):
            if ready is self._awake:
                self._awake.recv_bytes()
            elif isinstance(ready, Connection):
                self._hear(pipes[ready])

    def _hear(self, worker: _Worker) -> None:
        try:
            error, value = worker.pipe.recv()
        except Exception:  # the pipe's end, or a message cut off by the worker's death
            return self._bury(worker)
        self._stillborn = 0
        call, worker.call = worker.call, None
        assert call is not None
        if error is None:
            call.future.set_result(value)
        else:
            call.future.set_exception(error)

    def _bury(self, worker: _Worker) -> None:
        """A worker is gone: its call is lost, and nothing else."""
        self._let_go(worker)
        code = worker.process.exitcode
        killed = code is not None and code < 0
        if worker.call is not None:
            how = f"signal {-code}" if code is not None and killed else f"exit status {code}"
            worker.call.future.set_exception(WorkerDied(how))
        if not killed:
            self._mark_stillborn()

    def _mark_stillborn(self) -> None:
        self._stillborn += 1
        if self._stillborn >= MOST_STILLBORN:
            self._give_up(
                f"{MOST_STILLBORN} processes in a row ended before they had done anything"
            )

    def _let_go(self, worker: _Worker) -> None:
        self._crew.remove(worker)
        worker.pipe.close()
        worker.lifeline.close()
        worker.process.join(_PATIENCE_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()

    def _give_up(self, why: str) -> None:
        with self._lock:
            self._closing = True
            lost = self._lost = ExecutorLost(why)
        for worker in self._crew:
            if worker.call is not None:
                worker.call.future.set_exception(lost)
                worker.call = None
        for call in self._calls:
            if call.future.running() or call.future.set_running_or_notify_cancel():
                call.future.set_exception(lost)
        self._calls.clear()

    def _dismiss(self) -> None:
        for worker in self._crew:
            worker.process.terminate()
        for worker in list(self._crew):
            self._let_go(worker)
            if worker.call is not None:
                worker.call.future.set_exception(WorkerDied("stopped"))
        for call in self._calls:
            call.future.cancel()
        self._calls.clear()
        self._wake.close()
        self._awake.close()


def _context() -> BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


# In a worker


def _work(pipe: Connection, lifeline: Connection) -> None:
    """Make calls as they come, until the pipe or the lifeline ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_leave_with, args=(lifeline,), daemon=True).start()
    while True:
        try:
            function, args = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send_bytes(_made(function, args))


def _made(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """Pickled (None, result) or (error, None), the error with its traceback as a note; one that
    cannot travel goes as its text."""
    try:
        return pickle.dumps((None, function(*args)))
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        error.add_note(trace)
        try:
            message = pickle.dumps((error, None))
            pickle.loads(message)
            return message
        except Exception:
            told = RuntimeError(f"{type(error).__name__}: {error}")
            told.add_note(trace)
            return pickle.dumps((told, None))


def _leave_with(lifeline: Connection) -> None:
    """The parent is gone when its end of the lifeline is, however it went."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)
