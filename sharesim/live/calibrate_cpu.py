"""What it takes to ask the kernel, to switch between processes, and to wake up."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from sharesim.live.calibrate_child import child
from sharesim.live.calibrate_figures import Effort, Figures, Measured, sampled, timed
from sharesim.live.calibrate_kernels import answer, ask_kernel, write_then_read

SLEEP_SECONDS = 0.001


def measure_switches(effort: Effort) -> Figures:
    """``syscall``, ``switch`` between two processes on one CPU, ``timer_wakeup``; ns."""
    times = effort.switches
    with on_cpu(min(os.sched_getaffinity(0))):
        syscall = sampled(
            lambda: timed(lambda: ask_kernel(100 * times), 100 * times),
            effort.repeats,
            "getppid in a loop",
        )
        alone = sampled(lambda: _pipe_alone(times), effort.repeats, "")
        both = sampled(lambda: _round_trip(times), effort.repeats, "")
        wakeup = sampled(
            lambda: _timer_wakeup(max(20, times // 20)),
            effort.repeats,
            "CPU time of a process for each time that it sleeps 1 ms",
        )
    how = "one side of round trips through two pipes on one CPU, less its system calls"
    switch = Measured(tuple(max(0.0, one - alone.value) for one in both.samples), how)
    return {"syscall": syscall, "switch": switch, "timer_wakeup": wakeup}


@contextmanager
def on_cpu(cpu: int) -> Iterator[None]:
    """This thread, and children forked from it, stay on one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _pipe_alone(times: int) -> float:
    """ns to write a byte to a pipe and to read it again, without anybody else."""
    into, out = os.pipe()
    byte = np.zeros(1, np.uint8)
    try:
        return timed(lambda: write_then_read(out, into, byte.ctypes.data, times), times)
    finally:
        os.close(into)
        os.close(out)


def _round_trip(times: int) -> float:
    """ns of this side to send a byte to another process on this CPU and to wait for an answer.

    Each side writes, reads and is switched from once, so this is half of what both take.
    """
    byte = np.zeros(1, np.uint8)
    place = byte.ctypes.data
    with child(lambda into, out: answer(into, out, place)) as (into, out):
        write_then_read(out, into, place, 10)  # it has compiled, or loaded, its part by now
        return timed(lambda: write_then_read(out, into, place, times), times)


def _timer_wakeup(times: int) -> float:
    before = time.thread_time_ns()
    for _ in range(times):
        time.sleep(SLEEP_SECONDS)
    return (time.thread_time_ns() - before) / times
