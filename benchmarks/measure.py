"""Timing and reporting that all benchmarks share."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sharesim.resolve import resolve
from sharesim.simulate import Simulation
from sharesim.spec.scenario import Scenario

NO_AIM = ""


@dataclass(frozen=True)
class Figure:
    """One measured figure."""

    name: str
    value: float
    unit: str
    aim: str = NO_AIM
    """In words, such as ``>= 20``; empty where there is none."""
    met: bool | None = None
    """Whether the aim was reached; None without one."""
    note: str = ""
    """What was run, and what the figure hangs on."""


def at_least(name: str, value: float, unit: str, aim: float, note: str = "") -> Figure:
    """A figure that should reach ``aim`` or more."""
    return Figure(name, value, unit, f">= {aim:g}", value >= aim, note)


def at_most(name: str, value: float, unit: str, aim: float, note: str = "") -> Figure:
    """A figure that should not exceed ``aim``."""
    return Figure(name, value, unit, f"<= {aim:g}", value <= aim, note)


@dataclass(frozen=True)
class Timed:
    """One run: how long it took without its set-up, and what it counted."""

    seconds: float
    """Wall time."""
    cpu_seconds: float
    """CPU time of this process: the same on an idle machine, and steadier on another."""
    counters: dict[str, int]


def build(scenario: Scenario) -> Simulation:
    """A simulation ready to run, without pairs and opportunity line: only the work asked for."""
    return Simulation(resolve(scenario), with_opportunity=False)


def counters(simulation: Simulation) -> dict[str, int]:
    """What a run did, in the words of the timeline."""
    last: dict[str, dict[str, Any]] = simulation.recorder.last
    host = last["host"]
    guests = [last[vm.name] for vm in simulation.scenario.vms]
    scanner = simulation.engine.scanner
    return {
        "accesses": sum(guest["accesses"] for guest in guests),
        "writes": sum(guest["writes"] for guest in guests),
        "pages_scanned": 0 if scanner is None else scanner.driver.scanned,
        "merges": host["merges"],
        "merge_aborted": host["merge_aborted"],
        "cow_breaks": host["cow_breaks"],
        "saved_pages": host["saved_pages"],
    }


def time_engine(scenario: Scenario) -> Timed:
    """Run a scenario with the engine; building it is not timed."""
    simulation = build(scenario)
    seconds, cpu_seconds = stopwatch(simulation.run)
    return Timed(seconds, cpu_seconds, counters(simulation))


def stopwatch(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of a call, with the garbage of before collected first."""
    gc.collect()
    before, cpu_before = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - before, time.process_time() - cpu_before


def alternate(
    first: Callable[[], Timed], second: Callable[[], Timed], rounds: int
) -> list[tuple[Timed, Timed]]:
    """Runs of both, in turn (A B A B ...), so that a slow spell of the machine hits both."""
    return [(first(), second()) for _ in range(rounds)]


def median(values: Sequence[float]) -> float:
    """Their median; of an even number the mean of the middle two."""
    return float(statistics.median(values))
