"""A spin lock under temporal decoupling: busy intervals instead of a "next free" time.

Actors reach the lock out of order, each at its own local time up to a sync quantum ahead of the
clock. With a single "free from" time the one that comes early in simulated time but late in wall
time would wait for holders that come after it. So the lock keeps its busy intervals, and an arrival
takes the first gap that is long enough.
"""

from typing import Any

import numpy as np

from sharesim.kernel import Number, njit
from sharesim.machine import tables as t
from sharesim.machine.tables import Memory


@njit
def _prune(mem: Memory, before: Number) -> Any:
    """Forget intervals that ended before any actor's time."""
    kept = 0
    for at in range(mem.totals[t.T_LOCK_COUNT]):
        if mem.lock[at, 1] > before:
            mem.lock[kept, 0] = mem.lock[at, 0]
            mem.lock[kept, 1] = mem.lock[at, 1]
            kept += 1
    if kept == len(mem.lock):  # full of the future: the oldest can be missed least
        drop = kept // 4  # not one by one: the next arrivals would each move all the others
        for at in range(drop, kept):
            mem.lock[at - drop, 0] = mem.lock[at, 0]
            mem.lock[at - drop, 1] = mem.lock[at, 1]
        kept -= drop
    mem.totals[t.T_LOCK_COUNT] = kept


@njit
def hold_lock(mem: Memory, time: Number, hold: Number, now: Number) -> Any:
    """Take the sharing lock at local ``time`` for ``hold`` ns; returns the ns waited for it.

    ``now`` is the clock: what ended before it can no longer matter to anybody.
    """
    if hold == 0:
        return np.int64(0)
    if mem.totals[t.T_LOCK_COUNT] == len(mem.lock):
        _prune(mem, now)
    count = mem.totals[t.T_LOCK_COUNT]
    if count == 0 or mem.lock[count - 1, 1] <= time:  # nearly always: nobody has come later yet
        mem.lock[count, 0] = time
        mem.lock[count, 1] = time + hold
        mem.totals[t.T_LOCK_COUNT] = count + 1
        return np.int64(0)
    start = np.int64(time)
    at = 0
    while at < count:  # intervals are in order of time and do not overlap
        if mem.lock[at, 1] > start:
            if mem.lock[at, 0] >= start + hold:
                break
            start = mem.lock[at, 1]
        at += 1
    for later in range(count, at, -1):
        mem.lock[later, 0] = mem.lock[later - 1, 0]
        mem.lock[later, 1] = mem.lock[later - 1, 1]
    mem.lock[at, 0] = start
    mem.lock[at, 1] = start + hold
    mem.totals[t.T_LOCK_COUNT] = count + 1
    if start > time:
        mem.totals[t.T_LOCK_WAITS] += 1
        mem.totals[t.T_LOCK_WAIT_NS] += start - time
    return start - time
