"""The sharing lock as busy intervals, against a list searched nanosecond by nanosecond."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sharesim.machine import tables as t
from sharesim.machine.locks import hold_lock
from sharesim.machine.tables import LOCK_CAPACITY, Memory, allocate


def memory() -> Memory:
    """Tables whose lock alone is used."""
    return allocate(1, 1, 1, 1)


class NaiveLock:
    """A lock as the set of the nanoseconds in which somebody holds it."""

    def __init__(self) -> None:
        self.busy: set[int] = set()

    def hold(self, time: int, hold: int) -> int:
        """Take the first gap that is long enough; the ns waited."""
        start = time
        while any(moment in self.busy for moment in range(start, start + hold)):
            start += 1
        self.busy |= set(range(start, start + hold))
        return start - time


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=40
    )
)
def test_arrivals_in_any_order_take_the_first_gap_that_fits(
    arrivals: list[tuple[int, int, int]],
) -> None:
    mem, naive = memory(), NaiveLock()
    now = waits = waited = 0
    for step, ahead, hold in arrivals:
        now += step
        expected = naive.hold(now + ahead, hold)
        assert hold_lock(mem, now + ahead, hold, now) == expected
        waits += expected > 0
        waited += expected
        intervals = mem.lock[: mem.totals[t.T_LOCK_COUNT]]
        assert (intervals[:, 0] < intervals[:, 1]).all()
        assert (intervals[1:, 0] >= intervals[:-1, 1]).all()
    assert mem.totals[t.T_LOCK_WAITS] == waits
    assert mem.totals[t.T_LOCK_WAIT_NS] == waited


def test_a_late_arrival_with_an_early_time_does_not_wait_for_the_future() -> None:
    mem = memory()
    assert hold_lock(mem, 1_000, 300, 0) == 0
    assert hold_lock(mem, 100, 300, 0) == 0  # before it
    assert hold_lock(mem, 700, 300, 0) == 0  # just fits between
    assert hold_lock(mem, 700, 300, 0) == 600  # behind both
    assert hold_lock(mem, 50, 100, 0) == 350  # the gap before 100 ns is too short


def test_what_is_over_is_forgotten() -> None:
    mem = memory()
    for time in range(0, 100_000, 10):
        assert hold_lock(mem, time, 5, time) == 0
        assert mem.totals[t.T_LOCK_COUNT] <= LOCK_CAPACITY
    assert hold_lock(mem, 99_992, 5, 99_990) == 3  # the latest is still known


def test_more_intervals_than_the_table_holds_lose_the_oldest() -> None:
    mem = memory()
    for number in range(3 * LOCK_CAPACITY):
        assert hold_lock(mem, 10 * number, 5, 0) == 0
    count = int(mem.totals[t.T_LOCK_COUNT])
    assert count <= LOCK_CAPACITY
    newest = mem.lock[:count, 0]
    assert newest[-1] == 10 * (3 * LOCK_CAPACITY - 1)
    assert (np.diff(newest) == 10).all()


def test_a_lock_held_for_no_time_is_never_waited_for() -> None:
    mem = memory()
    hold_lock(mem, 0, 100, 0)
    assert hold_lock(mem, 50, 0, 0) == 0
    assert mem.totals[t.T_LOCK_COUNT] == 1
