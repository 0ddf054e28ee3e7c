"""What makes the runs: results, errors, and the death of anybody at any moment."""

import contextlib
import gc
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pytest

from sharesim.errors import UserError
from sharesim.results.folder import process_runs
from sharesim.sweep import executors
from sharesim.sweep.executors import Executor, ExecutorLost, WorkerDied
from tests.sweep.dask_cluster import ROOT, DaskProcesses, until

PATIENCE_S = 30.0


def finished(futures: list[Future[Any]]) -> list[Future[Any]]:
    """The same, when all of them have ended."""
    _, left = wait(futures, PATIENCE_S)
    assert not left, f"{len(left)} of {len(futures)} calls never ended"
    return futures


def error_of(future: Future[Any]) -> BaseException | None:
    """What a call raised, when it has ended."""
    return future.exception(PATIENCE_S)


def payload(number: int, size: int, seconds: float) -> tuple[int, bytes]:
    """A call whose result takes a while, and several writes to a pipe."""
    time.sleep(seconds)
    return number, b"x" * size


class Peculiar(Exception):  # noqa: N818
    """Cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_peculiar() -> None:
    """Raise what cannot travel."""
    raise Peculiar(1, 2)


def a_lock() -> object:
    """Return what cannot travel."""
    return threading.Lock()


@pytest.fixture
def pool() -> Iterator[Executor]:
    pool = executors.local(2)
    yield pool
    pool.shutdown(cancel_futures=True)
    assert not multiprocessing.active_children()


# This process


def test_serial_calls_at_once() -> None:
    serial = executors.serial()
    future = serial.submit(pow, 2, 5)
    assert future.done() and future.result() == 32
    assert isinstance(serial.submit(int, "x").exception(), ValueError)
    assert serial.workers == 1


def test_ctrl_c_goes_through_serial() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            executors.serial().submit(signal.raise_signal, signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


# The pool of processes


def test_pool_makes_calls_elsewhere(pool: Executor) -> None:
    futures = finished([pool.submit(pow, 2, n) for n in range(50)])
    assert [future.result() for future in futures] == [2**n for n in range(50)]
    processes = {future.result() for future in finished([pool.submit(os.getpid) for _ in "abcd"])}
    assert os.getpid() not in processes and 1 <= len(processes) <= 2


def test_errors_come_back_with_their_traceback(pool: Executor) -> None:
    error = error_of(pool.submit(int, "x"))
    assert isinstance(error, ValueError)
    assert "Traceback" in error.__notes__[0] and "return pickle.dumps" in error.__notes__[0]


def test_what_cannot_travel_is_an_error_of_its_call_alone(pool: Executor) -> None:
    with pytest.raises(Exception, match="pickle"):
        pool.submit(print, threading.Lock())
    assert "Peculiar: 1 and 2" in str(error_of(pool.submit(raise_peculiar)))
    assert "pickle" in str(error_of(pool.submit(a_lock)))
    assert pool.submit(pow, 2, 5).result(PATIENCE_S) == 32


@pytest.mark.parametrize("deadly", [lambda: (os._exit, 3), lambda: (os.abort,)])
def test_a_call_that_kills_its_worker_fails_alone(pool: Executor, deadly: Any) -> None:
    futures = [pool.submit(pow, 2, n) for n in range(5)]
    bad = pool.submit(*deadly())
    futures += [pool.submit(pow, 2, n) for n in range(5, 20)]
    assert isinstance(error_of(bad), WorkerDied)
    assert [future.result() for future in finished(futures)] == [2**n for n in range(20)]


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_hurt_nobody_else(pool: Executor, seed: int) -> None:
    """Workers die at any moment: idle, at work, as they begin or in the middle of an answer."""
    chance = random.Random(seed)
    futures = [
        pool.submit(payload, n, chance.choice([10, 100_000, 2_000_000]), chance.random() / 100)
        for n in range(120)
    ]
    kills = 0
    while not all(future.done() for future in futures):
        time.sleep(chance.random() / 20)
        children = multiprocessing.active_children()
        for child in chance.sample(children, min(len(children), chance.choice([1, 1, 2]))):
            with contextlib.suppress(ProcessLookupError):  # it has gone a moment ago
                child.kill()
                kills += 1
    outcomes = [error_of(future) for future in futures]
    for number, (future, error) in enumerate(zip(futures, outcomes, strict=True)):
        assert isinstance(error, WorkerDied) or future.result()[0] == number
    assert 1 <= sum(error is not None for error in outcomes) <= kills
    assert pool.submit(pow, 2, 5).result(PATIENCE_S) == 32


def test_workers_ignore_ctrl_c(pool: Executor) -> None:
    worker = pool.submit(os.getpid).result(PATIENCE_S)
    os.kill(worker, signal.SIGINT)
    time.sleep(0.1)
    assert process_runs(worker)


def test_shutdown_stops_what_is_under_way() -> None:
    pool = executors.local(2)
    futures = [pool.submit(time.sleep, 60) for _ in range(4)]
    assert until(futures[1].running)
    begin = time.monotonic()
    pool.shutdown(cancel_futures=True)
    assert time.monotonic() - begin < 20
    assert isinstance(error_of(futures[0]), WorkerDied)
    assert futures[3].cancelled()
    assert not multiprocessing.active_children()
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(pow, 2, 5)


def test_shutdown_waits_for_what_is_under_way() -> None:
    pool = executors.local(2)
    futures = [pool.submit(payload, n, 1, 0.01) for n in range(5)]
    pool.shutdown()
    assert [future.result()[0] for future in futures] == [0, 1, 2, 3, 4]
    assert not multiprocessing.active_children()


def test_where_no_process_can_work_the_pool_is_lost() -> None:
    """Each leaves by itself before it has done anything: no call is to wait for ever."""
    pool = executors.local(2)
    errors = [error_of(future) for future in finished([pool.submit(os._exit, 3) for _ in "a" * 40])]
    assert {type(error) for error in errors} == {WorkerDied, ExecutorLost}
    with pytest.raises(ExecutorLost, match="in a row"):
        pool.submit(pow, 2, 5)
    pool.shutdown()


PARENT = """
import os, signal, sys, time
from sharesim.sweep.executors import local

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pool = local(2)
    try:
        worker = pool.submit(os.getpid).result()
        futures = [pool.submit(time.sleep, 60), pool.submit(time.sleep, 60)]
        print(worker, flush=True)
        [future.result() for future in futures]
    except KeyboardInterrupt:
        pool.shutdown(cancel_futures=True)
        print("stopped", flush=True)
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process with a busy pool, in a process group of its own."""
    (tmp_path / "parent.py").write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups as of POSIX")
class TestParent:
    """What becomes of the workers."""

    @staticmethod
    def worker(parent: "subprocess.Popen[str]") -> int:
        assert parent.stdout is not None
        return int(parent.stdout.readline())

    def test_when_it_is_killed_they_leave(self, parent: "subprocess.Popen[str]") -> None:
        worker = self.worker(parent)
        assert process_runs(worker)
        parent.kill()
        parent.wait()
        assert until(lambda: not process_runs(worker))

    def test_ctrl_c_in_the_terminal_stops_all_in_order(
        self, parent: "subprocess.Popen[str]"
    ) -> None:
        worker = self.worker(parent)
        os.killpg(parent.pid, signal.SIGINT)
        told, errors = parent.communicate(timeout=PATIENCE_S)
        assert (told, errors, parent.returncode) == ("stopped\n", "", 0)
        assert until(lambda: not process_runs(worker))


# Dask


@pytest.fixture(scope="module")
def cluster() -> Iterator[Executor]:
    pytest.importorskip("distributed", reason="needs the extra sharesim[dask]")
    pool = executors.dask("local", 2)
    yield pool
    pool.shutdown(cancel_futures=True)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[DaskProcesses]:
    pytest.importorskip("distributed", reason="needs the extra sharesim[dask]")
    with DaskProcesses(tmp_path) as processes:
        yield processes


def test_dask_makes_calls_elsewhere_and_keeps_nothing(cluster: Any) -> None:
    futures = finished([cluster.submit(pow, 2, n) for n in range(60)])
    assert [future.result() for future in futures] == [2**n for n in range(60)]
    assert isinstance(error_of(cluster.submit(int, "x")), ValueError)
    assert cluster.submit(os.getpid).result(PATIENCE_S) != os.getpid()
    assert cluster.workers == 2
    del futures
    gc.collect()
    assert until(lambda: not cluster._client.futures)
    assert until(lambda: not cluster._client.who_has())


def test_dask_survives_a_killed_worker(cluster: Executor) -> None:
    """Dask itself tries again what died with it."""
    worker = cluster.submit(os.getpid).result(PATIENCE_S)
    futures = [cluster.submit(payload, n, 10, 0.05) for n in range(20)]
    time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    assert [future.result()[0] for future in finished(futures)] == list(range(20))


def test_dask_finds_the_call_that_kills_workers(cluster: Executor) -> None:
    """Those that wait behind it on the same worker are not taken for it."""
    futures = [cluster.submit(payload, n, 10, 0.02) for n in range(10)]
    bad = cluster.submit(os._exit, 3)
    futures += [cluster.submit(payload, n, 10, 0.02) for n in range(10, 30)]
    error = error_of(bad)
    assert isinstance(error, WorkerDied) and error.deaths >= 3
    assert [future.result()[0] for future in finished(futures)] == list(range(30))


def test_dask_by_its_address(processes: DaskProcesses) -> None:
    """It follows the workers that come and go; when the scheduler dies no call waits for ever."""
    pool: Any = executors.dask(processes.address, 8)
    try:
        assert pool.submit(pow, 2, 5).result(PATIENCE_S) == 32
        assert until(lambda: pool.workers == 1)
        processes.add_worker()
        assert until(lambda: pool.workers == 2)
        futures = [pool.submit(time.sleep, 60) for _ in range(3)]
        assert until(lambda: any(pool._client.processing().values()))
        processes.scheduler.kill()
        assert {type(error_of(future)) for future in finished(futures)} == {ExecutorLost}
        with pytest.raises(ExecutorLost, match=processes.address):
            pool.submit(pow, 2, 5)
    finally:
        pool.shutdown(cancel_futures=True)


def test_dask_waits_for_what_is_under_way(processes: DaskProcesses) -> None:
    pool = executors.dask(processes.address, 1)
    futures = [pool.submit(payload, n, 1, 0.01) for n in range(5)]
    pool.shutdown()
    assert [future.result()[0] for future in futures] == [0, 1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(pow, 2, 5)


def test_dask_of_another_version_is_refused(
    processes: DaskProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharesim.version.package_version", lambda: "99.1")
    with pytest.raises(UserError, match=r"its scheduler has sharesim .*, here it is 99\.1"):
        executors.dask(processes.address, 1)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:9", "nowhere", "carrier-pigeon://coop:1", "tcp://127.0.0.1:x"]
)
def test_where_no_dask_answers(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="needs the extra sharesim[dask]")
    monkeypatch.setattr("sharesim.sweep.dask_pool.CONNECT_S", 0.3)
    with pytest.raises(UserError, match=f"--dask {address}: no scheduler answers there"):
        executors.dask(address, 1)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install 'sharesim\[dask\]'"):
        executors.dask("local", 1)
