"""Sweeps whose processes are killed, through the real command: after each, the same command again
ends with the table of a sweep that nothing ever happened to, byte for byte.

Moments are random, drawn from seeds; where a sweep is in its work decides, not the clock, so that a
slow machine is as good as a quick one.
"""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharesim.cli import main
from sharesim.results.folder import process_runs
from sharesim.sweep.cell import run_cell
from tests.sweep.dask_cluster import ROOT, DaskProcesses, until
from tests.sweep.faults import GRID, PAIRS, PATIENCE_S, RUNS, at, results, same_as
from tests.sweep.tiny import script, stored, sweep, table_bytes

Captured = pytest.CaptureFixture[str]

linux = pytest.mark.skipif(sys.platform != "linux", reason="finds processes by /proc")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    assert sweep(folder, *GRID) == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a sweep is to go."""
    script(tmp_path)
    return tmp_path


# The real command as a process


class Command:
    """``sharesim sweep`` at work; use as a context, which kills what is left of it."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "sharesim.cli", "sweep", str(folder / "tiny.py"), *GRID,
                *words, "--out", str(folder / "out"), "--quiet",
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ends(self) -> tuple[int, str]:
        """Its status and what it said of errors, when it has ended."""
        _, told = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, told


def children(process: int) -> list[int]:
    """Processes that a process has started and that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = place.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # gone in this moment
            continue
        if int(parent) == process and state != "Z":
            found.append(int(place.parent.name))
    return found


def workers(process: int) -> list[int]:
    """Of the local pool: what is forked from the process that only forks."""
    return [worker for child in children(process) for worker in children(child)]


@linux
def test_killed_workers_do_no_harm(whole: Path, folder: Path) -> None:
    """Two at most, so that no run is the victim thrice; not even a second command is needed."""
    chance = random.Random(1)
    with Command(folder, "--jobs", "2") as command:
        for count in sorted(chance.sample(range(1, RUNS), 2)):
            assert at(folder, count)
            time.sleep(chance.random() / 20)
            assert until(lambda: bool(workers(command.process.pid)))
            os.kill(chance.choice(workers(command.process.pid)), signal.SIGKILL)
        assert command.ends() == (0, "")
    assert table_bytes(folder) == table_bytes(whole)
    assert same_as(whole, folder)


@linux
def test_killed_driver_of_a_pool(whole: Path, folder: Path) -> None:
    """Its workers leave, and the next command uses all that was finished."""
    chance = random.Random(3)
    for count in (3, 9):
        with Command(folder, "--jobs", "2") as command:
            assert at(folder, count)
            time.sleep(chance.random() / 20)
            left = workers(command.process.pid)
            command.process.kill()
            assert until(lambda left=left: not any(map(process_runs, left)))  # type: ignore[misc]
        assert count <= results(folder) < RUNS + PAIRS
    assert same_as(whole, folder)


@linux
def test_driver_killed_at_any_moment(whole: Path, folder: Path) -> None:
    """Again and again, mostly while it writes: each time there is as much as before, or more."""
    chance, context = random.Random(4), multiprocessing.get_context("forkserver")
    words = ["sweep", str(folder / "tiny.py"), *GRID, "--jobs", "1", "--quiet"]
    kills = 0
    for count in range(0, RUNS + PAIRS, 4):
        driver = context.Process(target=main, args=([*words, "--out", str(folder / "out")],))
        before = results(folder)
        driver.start()
        assert until(lambda n=count, d=driver: results(folder) >= n or not d.is_alive())  # type: ignore[misc]
        time.sleep(chance.random() / 10)
        driver.kill()
        driver.join()
        kills += driver.exitcode == -signal.SIGKILL
        assert results(folder) >= before
    assert kills > 2
    assert same_as(whole, folder)


@linux
def test_a_second_driver_refuses_and_names_the_first(
    whole: Path, folder: Path, capsys: Captured
) -> None:
    with Command(folder, "--jobs", "2") as command:
        assert at(folder, 1)
        os.kill(command.process.pid, signal.SIGSTOP)  # it is to be there for as long as it takes
        before = (folder / "out" / "sweep.json").read_bytes()
        for words in (GRID, (*GRID, "--force")):
            assert sweep(folder, *words) == 2
            told = capsys.readouterr().err
            assert f"another sweep is at work in that folder (process {command.process.pid}" in told
        assert (folder / "out" / "sweep.json").read_bytes() == before
        os.kill(command.process.pid, signal.SIGCONT)
        assert command.ends() == (0, "")
    assert same_as(whole, folder)


def deadly_cell(place: str, text: str) -> str:
    """In a worker: point 3 ends the process that makes it."""
    if json.loads(text)["name"].startswith("point 3,"):
        os.kill(os.getpid(), signal.SIGKILL)
    return run_cell(place, text)


@linux
def test_a_run_that_kills_its_workers_is_marked_and_the_rest_goes_on(
    whole: Path, folder: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sharesim.sweep.driver.run_cell", deadly_cell)
        assert sweep(folder, *GRID, "--jobs", "2") == 1
    table = stored(folder).table
    assert len(table) == RUNS
    failed = table.query("status == 'failed'")
    assert list(failed["point"]) == [3]
    assert "3 workers died of it" in failed["error"].iloc[0]
    assert sweep(folder, *GRID, "--retry-failed") == 0
    assert same_as(whole, folder)


# Dask


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[DaskProcesses]:
    pytest.importorskip("distributed", reason="needs the extra sharesim[dask]")
    (tmp_path / "dask").mkdir()
    with DaskProcesses(tmp_path / "dask") as processes:
        yield processes


@linux
def test_dask_has_the_same_table_though_driver_and_worker_are_killed(
    whole: Path, folder: Path, dask: DaskProcesses
) -> None:
    """The worker ends what it has begun for the first driver while the second one asks for it."""
    with Command(folder, "--dask", dask.address) as command:
        assert at(folder, 3)
        command.process.kill()
    with Command(folder, "--dask", dask.address) as command:
        assert at(folder, 9)
        for worker in children(dask.workers[0].pid):  # the nanny starts it again
            os.kill(worker, signal.SIGKILL)
        assert command.ends() == (0, "")
    assert table_bytes(folder) == table_bytes(whole)
    assert same_as(whole, folder)


@linux
def test_killed_dask_scheduler(whole: Path, folder: Path, dask: DaskProcesses) -> None:
    """The sweep ends, with what was finished, and says how to go on."""
    with Command(folder, "--dask", dask.address) as command:
        assert at(folder, 5)
        dask.scheduler.kill()
        status, told = command.ends()
    assert status == 2
    assert f"the Dask scheduler at {dask.address} is gone" in told
    assert "give the same command again" in told and "Traceback" not in told
    assert len(stored(folder).table) >= 1
    assert same_as(whole, folder)
