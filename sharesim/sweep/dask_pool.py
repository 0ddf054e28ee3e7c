"""A Dask cluster as what makes the runs: one on this machine, or whichever answers at an address.

Results go through the sweep's store, so what travels here is a text there and a word back, and the
scheduler forgets each call as soon as its word is here.

Dask blames a dead worker on all calls that were assigned to it, also on those that waited behind
the one that killed it. A call that it gives up for that is made once more with nothing beside it
before it is believed to be the one.
"""

import contextlib
import gc
import importlib.metadata
import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sharesim.errors import UserError
from sharesim.extras import require
from sharesim.sweep.executors import ExecutorLost, WorkerDied, without_ctrl_c

LOCAL = "local"
CONNECT_S = 10.0
"""How long somebody has to answer."""
_LOOK_EVERY_S = 0.5
_LONELY_S = 5.0
"""So long without any worker, and it is said that there is none."""
_CLOSE_S = 5.0


@dataclass(eq=False)
class _Call:
    future: Future[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]
    deaths: int = 0
    """Workers that died while it was assigned to them; then it is made with nothing beside it."""


class DaskPool:
    """Shaped like :class:`concurrent.futures.Executor`."""

    def __init__(self, address: str, jobs: int) -> None:
        """Start a cluster of ``jobs`` processes, or connect to a scheduler.

        Raises UserError where nobody answers, or who answers cannot make runs.
        """
        self._dask: Any = require("distributed", "dask")
        self.address = address
        self._lock = threading.RLock()
        self._waiting: deque[_Call] = deque()
        self._suspects: deque[_Call] = deque()
        self._under_way: dict[_Call, Future[Any]] = {}
        self._lost: ExecutorLost | None = None
        self._closing = self._ended = False
        self._wake = threading.Event()
        with contextlib.ExitStack() as exits:
            exits.enter_context(_quiet())
            with without_ctrl_c():
                self._client = self._connect(jobs, exits)
            if address == LOCAL:
                self._threads = jobs
            else:
                self._check_versions()
                self._threads = self._count_threads()
            self._exits = exits.pop_all()
        self._executor = self._client.get_executor(pure=False)
        self._watch = threading.Thread(target=self._look_after, name="sharesim-dask", daemon=True)
        self._watch.start()

    @property
    def workers(self) -> int:
        """Threads that the cluster's workers have now; it may grow and shrink."""
        return self._threads

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """A call of a function that the workers can import."""
        call = _Call(Future(), function, args)
        with self._lock:
            if self._lost is not None:
                raise self._lost
            if self._closing:
                raise RuntimeError("the pool has been shut down")
            self._waiting.append(call)
            self._hand_out()
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As of an executor; the calls of one that is not waited for are given up, too. A worker
        in the middle of a call makes it to its end, unless the cluster is this one's own."""
        with self._lock:
            self._closing = True
        if wait and not cancel_futures:
            while self._under_way or self._waiting or self._suspects:
                time.sleep(_LOOK_EVERY_S / 10)
        with self._lock:
            self._ended = True
            under_way = list(self._under_way.values())
            self._settle_all(WorkerDied("stopped"))
        for future in under_way:
            future.cancel()
        self._wake.set()
        self._watch.join(_CLOSE_S)
        with contextlib.suppress(Exception):  # it may be gone: then there is nothing to close
            self._exits.close()

    # The cluster

    def _connect(self, jobs: int, exits: contextlib.ExitStack) -> Any:
        where: Any = self.address
        if self.address == LOCAL:
            where = exits.enter_context(
                self._dask.LocalCluster(
                    n_workers=jobs,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:0",  # of /metrics: any port that is free
                    memory_limit=None,
                    silence_logs=logging.CRITICAL,
                    scheduler_kwargs={"allowed_failures": 1, "dashboard": False},
                )
            )
        client = self._client_of(where)
        exits.callback(client.close, timeout=_CLOSE_S)
        return client

    def _client_of(self, where: Any) -> Any:
        try:
            return self._dask.Client(where, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError, ImportError) as error:  # also of an odd address
            why = str(error)
        gc.collect()  # the client that came to nothing: later it would block the start of another
        raise UserError(
            f"--dask {self.address}: no scheduler answers there ({why}); start one with"
            " `dask scheduler` and give the address it prints, tcp://HOST:8786, or give"
            " --dask local"
        )

    def _check_versions(self) -> None:
        """Whether all there have this sharesim: the scheduler, too, unpickles the calls' names."""
        from sharesim.version import package_version

        asked: tuple[Any, ...] = (importlib.metadata.version, "sharesim")
        try:
            found = {"its scheduler": self._client.run_on_scheduler(*asked)}
        except importlib.metadata.PackageNotFoundError as error:
            found = {"its scheduler": error}
        workers = self._client.run(*asked, on_error="return")
        found |= {f"its worker {name}": version for name, version in workers.items()}
        for who, version in found.items():
            if version != package_version():
                has = f"sharesim {version}" if isinstance(version, str) else "no sharesim"
                raise UserError(
                    f"--dask {self.address}: {who} has {has}, here it is {package_version()};"
                    " scheduler and workers need the same environment as this command"
                )

    def _count_threads(self) -> int:
        return sum(self._client.nthreads().values())

    # Calls

    def _hand_out(self) -> None:
        """What may be made now goes to the scheduler. The caller holds the lock."""
        if self._suspects:
            if not self._under_way:
                self._start(self._suspects.popleft())
        elif not any(call.deaths for call in self._under_way):
            while self._waiting:
                self._start(self._waiting.popleft())

    def _start(self, call: _Call) -> None:
        if not (call.future.running() or call.future.set_running_or_notify_cancel()):
            return
        future = self._executor.submit(call.function, *call.args)
        self._under_way[call] = future
        future.add_done_callback(lambda done: self._finished(call, done))

    def _finished(self, call: _Call, done: "Future[Any]") -> None:
        """In Dask's thread: a call has ended in one way or another."""
        from distributed.scheduler import KilledWorker

        with self._lock:
            if self._under_way.pop(call, None) is None:
                return
            error = None if done.cancelled() else _untied(done.exception())
            if error is None and not done.cancelled():
                call.future.set_result(done.result())
            elif self._client.status != "running":
                self._waiting.append(call)
                self._lose()
            elif done.cancelled():  # by somebody who restarted the workers
                self._waiting.append(call)
            elif isinstance(error, KilledWorker):
                self._suspect(call, error.allowed_failures + 1)
            else:
                call.future.set_exception(error)
            if self._suspects or self._waiting:
                self._wake.set()

    def _suspect(self, call: _Call, deaths: int) -> None:
        alone = call.deaths > 0
        call.deaths += deaths
        if alone:
            call.future.set_exception(WorkerDied("Dask workers", call.deaths))
        else:
            self._suspects.append(call)

    def _lose(self) -> None:
        with self._lock:
            if self._lost is None and not self._ended:
                self._lost = ExecutorLost(
                    f"the Dask scheduler at {self.address} is gone, or cannot be reached any more"
                )
                self._settle_all(self._lost)

    def _settle_all(self, error: Exception) -> None:
        for call in (*self._under_way, *self._suspects, *self._waiting):
            if call.future.running() or call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)
        for calls in (self._under_way, self._suspects, self._waiting):
            calls.clear()

    # The thread that looks after the cluster

    def _look_after(self) -> None:
        lonely = 0
        while not self._ended and self._lost is None:
            if self._client.status != "running":
                return self._lose()
            with contextlib.suppress(Exception):  # the connection; seen by its status in a moment
                self._threads = self._count_threads()
            lonely = 0 if self._threads else lonely + 1
            if lonely == _LONELY_S // _LOOK_EVERY_S and self.address != LOCAL:
                print(f"sharesim: no workers at {self.address} yet; waiting", file=sys.stderr)
            with self._lock:
                self._hand_out()
            self._wake.wait(_LOOK_EVERY_S)
            self._wake.clear()


def _untied(error: BaseException | None) -> BaseException | None:
    """The error with its traceback as a note. As an object the traceback holds Dask's future, and
    that the error: the scheduler would keep both for ever."""
    if error is not None:
        error.add_note("".join(traceback.format_exception(error)))
        error.__traceback__ = None
    return error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask's remarks on lost workers and connections do not concern the user; ours do."""
    names = ("distributed", "distributed.client", "tornado.application")
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
