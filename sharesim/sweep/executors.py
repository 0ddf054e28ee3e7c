"""What makes the runs of a sweep: this process, a pool of processes, or a Dask cluster.

All of them are shaped like :class:`concurrent.futures.Executor`, so the driver knows no difference.
"""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, Protocol


class WorkerDied(Exception):  # noqa: N818  (an event, not a mistake)
    """The process that made a run is gone, and the run with it; the others go on."""

    def __init__(self, how: str, deaths: int = 1) -> None:
        """``deaths``: processes that died of it; Dask tries again by itself."""
        super().__init__(how)
        self.deaths = deaths


class ExecutorLost(Exception):  # noqa: N818
    """All is gone: nothing more will come of any run that was handed out."""


class Executor(Protocol):
    """Makes calls somewhere else, or here, and hands back a future for each."""

    @property
    def workers(self) -> int:
        """How many calls it makes at a time, now."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """A call; its future raises what the call raised, WorkerDied, or ExecutorLost."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Make no more calls; with ``cancel_futures`` give up those under way at once."""


class Serial:
    """Makes each call in this process, as it is submitted."""

    workers = 1

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """The finished future; Ctrl-C goes through to the caller."""
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """There is nothing to stop."""


def serial() -> Executor:
    """This process."""
    return Serial()


def local(jobs: int) -> Executor:
    """A pool of so many processes on this machine, which survives the death of any of them."""
    from sharesim.sweep.local_pool import LocalPool

    return LocalPool(jobs)


def dask(address: str, jobs: int) -> Executor:
    """A Dask cluster: ``"local"`` starts one of ``jobs`` processes, else the scheduler's address.

    Raises UserError where the extra is not installed, or nobody answers there.
    """
    from sharesim.sweep.dask_pool import DaskPool

    return DaskPool(address, jobs)


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """What is started inside never sees Ctrl-C, from its first moment: the parent decides.

    Threads and processes inherit what their starter blocks. It comes to this thread afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would unblock it as it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
