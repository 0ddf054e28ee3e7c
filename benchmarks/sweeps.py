"""(h) Sweeps: a point beyond its run, two processes, memory, going on with a large one."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, at_least, at_most, median
from benchmarks.memory import _status
from benchmarks.processes import python, time_command
from benchmarks.startup import command
from sharesim.simulate import Simulation
from sharesim.spec.script import load_target
from sharesim.sweep import executors
from sharesim.sweep.executors import Executor
from sharesim.sweep.manifest import Axis, Manifest
from sharesim.sweep.plan import Builder, Cell
from sharesim.sweep.session import Session
from sharesim.sweep.store import RUNS

SCRIPT = Path(__file__).with_name("swept.py")
WARM = 4
"""Points that are made before a clock is started: imports, kernels, processes."""
MIB = 1 << 20


def run(quick: bool) -> list[Figure]:
    """All four; the memory of a sweep in a process of its own."""
    return [*_per_point(quick), *_speed_up(quick), *_memory(quick), *_resume(quick)]


def session(folder: str, executor: Callable[[], Executor], count: int = 0) -> Session:
    """A sweep of the scenario in a folder, without pairs, over so many rates."""
    target = load_target(SCRIPT)
    options = {"baseline": False}
    builder = Builder(
        target, {}, lambda scenario: scenario, options=options, seed=1, baseline=False
    )
    rates = tuple(point["rate"] for point in _points(count))
    axes = (Axis("rate", rates, "linear"),)
    manifest = Manifest(script=SCRIPT.name, axes=axes, options=options)
    return Session(Path(folder), target, manifest, builder, executor)


def _points(count: int, **fixed: int) -> list[dict[str, Any]]:
    return [{"rate": 10_000 + number, **fixed} for number in range(count)]


def _timed_sweep(executor: Callable[[], Executor], count: int, **fixed: int) -> tuple[float, float]:
    """Seconds of a sweep with all that belongs to it, and of it once it is under way."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        with session(folder, executor) as sweep:
            sweep.complete(sweep.add(_points(WARM, milliseconds=20), 1))
            warm = time.perf_counter()
            sweep.complete(sweep.add(_points(count + WARM, **fixed)[WARM:], 1))
            done = time.perf_counter()
        end = time.perf_counter()
    return end - begin, done - warm


# What a point costs


def _per_point(quick: bool) -> list[Figure]:
    count, rounds = (30, 1) if quick else (100, 3)
    serial = [_beyond_the_run(executors.serial, count) for _ in range(rounds)]
    figures = [
        at_most("a point beyond its run, serial", median(serial), "ms", 20,
                "building, resolving, writing; its run without a folder is taken off"),
    ]  # fmt: skip
    local = [_beyond_the_run(lambda: executors.local(1), count) for _ in range(rounds)]
    figures.append(Figure("the same in a pool of one process", median(local), "ms"))
    dask = [_beyond_the_run(lambda: executors.dask("local", 1), count) for _ in range(rounds)]
    figures.append(at_most("the same on Dask, one process", median(dask), "ms", 50))
    return figures


def _beyond_the_run(executor: Callable[[], Executor], count: int) -> float:
    """ms a point, less what its run takes here, measured in turn by tens."""
    spent = bare = 0.0
    with tempfile.TemporaryDirectory() as folder, session(folder, executor) as sweep:
        sweep.complete(sweep.add(_points(WARM), 1))
        points = _points(count + WARM)[WARM:]
        for begin in range(0, count, 10):
            some = points[begin : begin + 10]
            before = time.perf_counter()
            cells = sweep.add(some, 1)
            sweep.complete(cells)
            spent += time.perf_counter() - before
            bare += sum(_bare_run(sweep, cell) for cell in cells)
    return (spent - bare) / count * 1e3


def _bare_run(sweep: Session, cell: Cell) -> float:
    scenario = sweep.builder.scenario(cell.settings, cell.replicate)
    before = time.perf_counter()
    Simulation(scenario).run()
    return time.perf_counter() - before


# Two processes


def _speed_up(quick: bool) -> list[Figure]:
    count, milliseconds = (8, 500) if quick else (24, 1500)
    one = _timed_sweep(executors.serial, count, milliseconds=milliseconds)
    two = _timed_sweep(lambda: executors.local(2), count, milliseconds=milliseconds)
    one_again = _timed_sweep(executors.serial, count, milliseconds=milliseconds)
    serial = [(a + b) / 2 for a, b in zip(one, one_again, strict=True)]
    note = f"{count} points of {serial[1] / count:.2f} s; serial before and after"
    return [
        at_least("two processes", serial[1] / two[1], "x", 1.85, note),
        Figure("the same with their start", serial[0] / two[0], "x"),
    ]


# Memory


def _memory(quick: bool) -> list[Figure]:
    few, many = (50, 200) if quick else (200, 2000)
    answer = json.loads(python("-m", "benchmarks.sweeps", str(few), str(many)))
    if not answer:
        return []
    growth = (answer["many"] - answer["few"]) / MIB
    note = f"resident, driver and runs in one process: {answer['few'] / MIB:.0f} MiB after {few}"
    return [at_most(f"more memory after {many} points", growth, "MiB", 16, note)]


def measure_memory(few: int, many: int) -> dict[str, int]:
    """Resident bytes after so many points, in this process: call it in a fresh one."""
    found = {}
    with tempfile.TemporaryDirectory() as folder, session(folder, executors.serial) as sweep:
        sweep.complete(sweep.add(_points(few), 1))
        found["few"] = _status("VmRSS")
        sweep.complete(sweep.add(_points(many), 1))
        found["many"] = _status("VmRSS")
    return {name: value for name, value in found.items() if value is not None}


# Going on with a large one


def _resume(quick: bool) -> list[Figure]:
    count = 500 if quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        words = [str(SCRIPT), "--vary", f"rate=10000:{9999 + count}:step:1", "--no-baseline"]
        call = [*command(), "sweep", *words, "--quiet", "--out", f"{folder}/sweep"]
        fill(Path(folder) / "sweep", count)
        first = time_command(call)
        again = [time_command(call)[0] for _ in range(3)]
    note = "nothing to do; the command from start to end"
    return [
        Figure(f"{count} points: the table from the runs", first[0], "s",
               note="as after a driver that was killed"),
        at_most(f"{count} points: going on with a finished sweep", median(again), "s", 5, note),
    ]  # fmt: skip


def fill(place: Path, count: int) -> None:
    """A finished sweep of so many points, of which only the first was really run.

    The others have its results under their own keys: reading them takes as long.
    """
    with session(str(place), executors.serial, count) as sweep:
        cells = sweep.add(_points(count), 1)
        sweep.complete(cells[:1])
        first = sweep.store.run_folder(cells[0].key)
        for cell in cells[1:]:
            folder = place / RUNS / cell.key
            folder.mkdir()
            for name in ("summary.json", "timeline.parquet"):
                (folder / name).hardlink_to(first / name)
    (place / "table.parquet").unlink()


if __name__ == "__main__":
    print(json.dumps(measure_memory(int(sys.argv[1]), int(sys.argv[2]))))
