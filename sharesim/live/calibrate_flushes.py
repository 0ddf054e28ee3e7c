"""What it takes to flush another CPU's TLB, for the one that asks and for the one that is asked.

A thread changes the protection of a page to and fro; another thread of the same process computes on
another CPU, which has to be interrupted each time.
"""

import os
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sharesim.live.calibrate_areas import Area
from sharesim.live.calibrate_cpu import on_cpu
from sharesim.live.calibrate_figures import Effort, Figures, Measured, timed
from sharesim.live.calibrate_kernels import compute, protect_and_back

FLUSHES_OF_A_PAIR = 2
"""Making a page read-only flushes once, and so does making it writable again."""
_PAIRS_AT_ONCE = 50
_WORK_SECONDS = 0.1
_STEPS = 1_000_000
_QUIET_SWITCHES = 5
"""A thread that was preempted more often than this while it worked was not alone on its CPU."""


def measure_flushes(effort: Effort) -> Figures:
    """``flush``, what a flush of one other CPU takes, and ``flush_loss``, what that CPU loses; ns.

    Nothing where there is only one CPU to use.
    """
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return {}
    compute(1, 1)
    with on_cpu(cpus[0]), Area(1) as area:
        _some_pairs(area)
        samples = [_sample(area, cpus[1], effort.switches) for _ in range(effort.repeats + 1)]
    how = "mprotect with a thread computing on another CPU, less the same without, a flush each"
    losses = "time a computing thread loses to each flush by mprotect on another CPU"
    return {
        "flush": Measured(tuple(one[0] for one in samples[1:]), how),
        "flush_loss": Measured(tuple(one[1] for one in samples[1:]), losses),
    }


@dataclass(frozen=True)
class Beside:
    """What a thread did while another one worked elsewhere."""

    acts: int
    cpu_ns: float
    """CPU time of all acts."""
    flushes: int
    """Flushes that the other CPU was interrupted for."""
    work_ns: float
    """What the other one's work took."""


def flush_costs(alone_ns: float, quiet: Beside, busy: Beside) -> tuple[float, float]:
    """ns of one flush: (for who asks, for who is asked).

    ``alone_ns`` is the CPU time of an act without anybody else, ``quiet`` are acts that flush
    nothing. Where the kernel does not count interrupts (a hypervisor or the CPU flushes for it)
    each act flushes :data:`FLUSHES_OF_A_PAIR` times.
    """
    flushes = busy.flushes or FLUSHES_OF_A_PAIR * busy.acts
    if not flushes:
        return 0.0, 0.0
    asking = (busy.cpu_ns - alone_ns * busy.acts) / flushes
    return max(0.0, asking), max(0.0, (busy.work_ns - quiet.work_ns) / flushes)


def _sample(area: Area, other: int, times: int) -> tuple[float, float]:
    work = int(_STEPS * _WORK_SECONDS * 1e9 / timed(lambda: compute(_STEPS, 1), 1))
    alone = timed(lambda: protect_and_back(area.words, area.address, times), times)
    quiet = _beside(other, work, _nothing)
    busy = _beside(other, work, lambda: _some_pairs(area))
    return flush_costs(alone, quiet, busy)


def _nothing() -> int:
    time.sleep(0.001)
    return 0


def _some_pairs(area: Area) -> int:
    protect_and_back(area.words, area.address, _PAIRS_AT_ONCE)
    return _PAIRS_AT_ONCE


def _beside(other: int, work: int, act: Callable[[], int]) -> Beside:
    """Act again and again while a thread on CPU ``other`` does its work."""
    took: list[float] = []
    ready, done = threading.Event(), threading.Event()

    def compute_there() -> None:
        with on_cpu(other):
            ready.set()
            took.append(_own_time(lambda: compute(work, 1)))
        done.set()

    flushes = _flushes_received(other)
    thread = threading.Thread(target=compute_there)
    thread.start()
    ready.wait()
    acts: list[int] = []
    spent = 0.0
    while not done.is_set():
        spent += timed(lambda: acts.append(act()), 1)
    thread.join()
    return Beside(sum(acts), spent, _flushes_received(other) - flushes, took[0])


def _own_time(work: Callable[[], object]) -> float:
    """ns that some work takes this thread, interrupts included.

    CPU time leaves them out on some kernels, so time itself counts, unless others were running.
    """
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
    cpu, begin = time.thread_time_ns(), time.perf_counter_ns()
    work()
    passed, spent = time.perf_counter_ns() - begin, time.thread_time_ns() - cpu
    preempted = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw - before
    return spent if preempted > _QUIET_SWITCHES else passed


def _flushes_received(cpu: int) -> int:
    """TLB flushes that have interrupted a CPU so far; 0 where the kernel does not count them."""
    lines = Path("/proc/interrupts").read_text().splitlines()
    for line in lines:
        if line.split()[:1] == ["TLB:"]:
            column = lines[0].split().index(f"CPU{cpu}")
            return int(line.split()[1 + column])
    return 0
