"""A recorded KSM case as a scenario, run by the ordinary engine and read when it was recorded."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numba.core import event

from sharesim.content.ksm_case import Case, CaseProcess
from sharesim.content.ksm_repeat import COUNTERS, Repeat
from sharesim.resolve import resolve
from sharesim.simulate import Simulation
from sharesim.spec.images import Scripted as ScriptedImage
from sharesim.spec.ksm import Ksm
from sharesim.spec.paging import Process
from sharesim.spec.scenario import VM, Advice, Costs, Host, Scanner, Scenario, Sharing
from sharesim.spec.workloads import Scripted as ScriptedWorkload
from sharesim.validation.errors import Series
from sharesim.validation.machine import COSTS, CPUS, HZ, NICE_5

MARGIN_NS = 100_000_000
"""A scenario lasts that much longer than its case, whose last samples were taken at its end."""


CHECKSUM_FIRST = (6, 11)
"""The first Linux that looks at a page's checksum before it searches the stable tree."""


@dataclass(frozen=True)
class Circumstances:
    """What a replay has to know of the machine and the moment of a recording."""

    hz: int = HZ
    """Of the kernel's timer tick; its phase is not in the recordings, so it is half a tick here."""
    cpu_before_ns: int = 0
    """CPU time that ksmd had used before: the advisor's first step counts it."""
    checksum_first: bool = True

    @classmethod
    def of(cls, repeat: Repeat) -> "Circumstances":
        """As the repeat's metadata has them."""
        version = re.match(r"([0-9]+)\.([0-9]+)", str(repeat.meta.get("kernel", "")))
        known = version is None or (int(version[1]), int(version[2])) >= CHECKSUM_FIRST
        return cls(int(repeat.meta.get("hz") or HZ), repeat.cpu_before_ns, known)


def case_scenario(
    case: Case, circumstances: Circumstances | None = None, *, costs: Costs = COSTS
) -> Scenario:
    """The case as a scenario: one VM for each process, ksmd as a thread beside them."""
    there = circumstances or Circumstances()
    return Scenario(
        title=case.name,
        duration=case.duration_ns + MARGIN_NS,
        host=Host(cpus=CPUS, hz=there.hz, tick_offset=500_000_000 // there.hz, costs=costs),
        vms=tuple(_guest(case, number) for number in range(len(case.processes))),
        paging=Process(),
        sharing=Sharing(
            policy=Ksm(
                **case.knobs,
                ksmd_cpu_before=there.cpu_before_ns,
                checksum_first=there.checksum_first,
            ),
            scanner=Scanner(weight=NICE_5),
        ),
    )


def _guest(case: Case, number: int) -> VM:
    process = case.processes[number]
    return VM(
        name=process.name,
        memory=process.pages,
        image=ScriptedImage(script=str(case.path), process=number),
        workload=ScriptedWorkload(script=str(case.path), process=number),
        mergeable=process.arrive_ns == 0,
        advice=_advice(case, number, process),
        stop=process.exit_ns,
    )


def _advice(case: Case, number: int, process: CaseProcess) -> tuple[Advice, ...]:
    """Its registration, where that is not at the start, and what it asks for later."""
    arrival = (Advice(at=process.arrive_ns, advice="mergeable"),) if process.arrive_ns else ()
    later = tuple(
        Advice(at=event.time_ns, advice=event.advice, start=event.first, size=event.count)
        for event in case.events
        if event.process == number
    )
    return arrival + later


def sample_times(case: Case, repeats: Sequence[Repeat], hz: int = HZ) -> np.ndarray:
    """When to read a replay: at each sample of each repeat, and twice in each period of ksmd.

    The latter is for the comparison by progress: the end of every batch is seen.
    """
    period = Ksm(**case.knobs).sleep(1_000_000_000 // hz)
    grid = np.arange(0, case.duration_ns + 1, period // 2)
    times = reduce(np.union1d, (repeat.times_ns for repeat in repeats), grid)
    return times[(times >= 0) & (times <= case.duration_ns + MARGIN_NS)]


@dataclass(frozen=True, eq=False)
class Replay:
    """What the simulation of a case gave, and how fast it was."""

    series: Series
    wall_seconds: float
    """Of the run; building the scenario's tables and compiling kernels is not in it."""
    scan_cpu_seconds: float
    """CPU time of this process in the simulated ksmd: what it examines, and keeps in its trees."""


def replay(
    scenario: Scenario, times_ns: np.ndarray, tell: Callable[[int], None] = lambda _time: None
) -> Replay:
    """Run a scenario whose policy is KSM, and read its counters at these times (ascending).

    The readings change nothing; they are taken at the last sync quantum before each time. ``tell``
    hears how far the run is, in ns.
    """
    simulation = Simulation(resolve(scenario), with_opportunity=False)
    quantum = simulation.scenario.sync_quantum
    assert quantum is not None
    rows = np.zeros((len(times_ns), len(COUNTERS)), dtype=np.int64)
    with _timed(simulation) as took:
        for row, moment in zip(rows, (times_ns // quantum * quantum).tolist(), strict=True):
            simulation.advance(moment)
            row[:] = _reading(simulation, moment)
            tell(moment)
    counters = {name: rows[:, place].copy() for place, name in enumerate(COUNTERS)}
    return Replay(Series(np.asarray(times_ns), counters), took.run, took.scan)


def _reading(simulation: Simulation, moment: int) -> list[int]:
    """All of COUNTERS, as sysfs and procfs would show them now."""
    engine = simulation.engine
    shown = engine.policy.counters()
    assert engine.scanner is not None
    shown["pages_scanned"] = engine.scanner.driver.scanned
    shown["ksmd_cpu_ns"] = engine.scheduler.utilisation(moment)[2]
    return [int(shown[counter]) for counter in COUNTERS]


@dataclass
class _Took:
    """Seconds of a run, and of the CPU time of the scan in it."""

    run: float = 0.0
    scan: float = 0.0


@contextmanager
def _timed(simulation: Simulation) -> Iterator[_Took]:
    """Time what is done inside, but not the compiling of kernels, which is done once for all."""
    assert simulation.engine.scanner is not None
    driver = simulation.engine.scanner.driver
    run, took, compiling = driver.run, _Took(), _Compiling()

    def timed_run(now: int, until: int) -> tuple[int, int]:
        begin = time.process_time() - compiling.cpu
        try:
            return run(now, until)
        finally:
            took.scan += time.process_time() - compiling.cpu - begin

    setattr(driver, "run", timed_run)  # noqa: B010
    with event.install_listener("numba:compile", compiling):
        begin = time.perf_counter()
        yield took
        took.run = time.perf_counter() - begin - compiling.wall


class _Compiling(event.Listener):
    """Counts the seconds that go into compiling; a kernel compiles those that it calls."""

    def __init__(self) -> None:
        self.wall, self.cpu = 0.0, 0.0
        self._depth = 0

    def on_start(self, _event: Any) -> None:
        """A kernel is about to be compiled."""
        self._depth += 1
        if self._depth == 1:
            self._add(-1)

    def on_end(self, _event: Any) -> None:
        """It has been compiled."""
        self._depth -= 1
        if self._depth == 0:
            self._add(+1)

    def _add(self, sign: int) -> None:
        self.wall += sign * time.perf_counter()
        self.cpu += sign * time.process_time()
