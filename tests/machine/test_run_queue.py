"""EEVDF's rules, one by one, against values worked out by hand."""

import pytest

from sharesim.machine.run_queue import RunQueue, Task, slice_for, virtual

SLICE, TICK = 1_400_000, 4_000_000
WORKER, DAEMON = 1024, 335


def queue_of(*tasks: Task, current: Task | None = None) -> RunQueue:
    queue = RunQueue(SLICE, TICK)
    queue.waiting = list(tasks)
    queue.current = current
    for task in queue.tasks():
        task.queue = queue
    return queue


def a_task(weight: int, runtime: int = 0, deadline: int = 0, lag: int = 0) -> Task:
    return Task(None, weight, runtime, deadline, lag)


def test_the_slice_grows_with_the_logarithm_of_the_cpus_up_to_eight() -> None:
    found = [slice_for(cpus) for cpus in (1, 2, 3, 4, 7, 8, 64)]
    assert found == [700_000, 1_400_000, 1_400_000, 2_100_000, 2_100_000, 2_800_000, 2_800_000]


def test_virtual_time_passes_three_times_as_fast_at_nice_5() -> None:
    assert virtual(1_000_000, WORKER) == 1_000_000
    assert virtual(1_000_000, DAEMON) == 3_056_716  # 1024 / 335


def test_the_mean_is_weighted_and_rounded_down() -> None:
    queue = queue_of(a_task(WORKER, 4000), a_task(DAEMON, 0))
    assert queue.mean() == 3013  # 4000 * 1024 / 1359 = 3013.98


def test_eligible_is_who_has_not_more_than_the_mean_and_that_is_not_rounded() -> None:
    behind, ahead = a_task(WORKER, 1), a_task(WORKER, 2)
    queue = queue_of(behind, ahead)
    assert queue.eligible(behind)
    assert not queue.eligible(ahead)  # the mean is 1.5
    assert queue.mean() == 1


def test_of_equals_the_heavier_has_the_earlier_deadline() -> None:
    worker, daemon = a_task(WORKER), a_task(DAEMON)
    queue = queue_of()
    for task in (daemon, worker):
        queue.place(task)
    assert (worker.deadline, daemon.deadline) == (1_400_000, 4_279_402)
    assert queue.pick() is worker


def test_who_is_not_eligible_is_not_picked_however_early_its_deadline() -> None:
    early, late = a_task(WORKER, 10, deadline=11), a_task(WORKER, 0, deadline=99)
    assert queue_of(early, late).pick() is late


def test_of_equal_deadlines_the_first_to_wait_is_picked() -> None:
    first, second = a_task(WORKER, deadline=5), a_task(DAEMON, deadline=5)
    assert queue_of(first, second).pick() is first
    current = a_task(WORKER, deadline=5)
    assert queue_of(first, current=current).pick() is first


def test_the_current_task_is_protected_until_its_slice_is_over() -> None:
    current, waiting = a_task(WORKER, 0, deadline=SLICE), a_task(WORKER, 0, deadline=SLICE // 2)
    queue = queue_of(current, waiting)
    queue.start(current)
    assert current.protected == SLICE
    assert queue.pick() is current
    current.protected = 0
    assert queue.pick() is waiting


def test_protection_does_not_help_who_has_had_more_than_its_share() -> None:
    current, waiting = a_task(WORKER, 0, deadline=SLICE), a_task(DAEMON, 0, deadline=9 * SLICE)
    queue = queue_of(current, waiting)
    queue.start(current)
    queue.charge(1)
    assert queue.pick() is waiting


def test_a_deadline_is_renewed_when_it_is_reached_not_before() -> None:
    current = a_task(DAEMON, 0, deadline=3_000_000)
    queue = queue_of(current=current)
    queue.charge(981_444)
    assert (current.runtime, queue.renew()) == (2_999_995, False)
    queue.charge(2)
    assert (current.runtime, queue.renew()) == (3_000_001, True)
    assert current.deadline == 3_000_001 + 4_279_402


def test_who_comes_back_is_as_far_behind_as_it_was_though_it_moves_the_mean() -> None:
    worker, daemon = a_task(WORKER, 10_000_000), a_task(DAEMON, lag=2_000_000)
    queue = queue_of(current=worker)
    queue.place(daemon)
    assert daemon.runtime == 10_000_000 - 2_654_296  # 2 ms * 1359 / 1024
    assert queue.lag(daemon) == pytest.approx(2_000_000, abs=1)
    assert daemon.deadline == daemon.runtime + 4_279_402


def test_in_an_empty_queue_nobody_is_behind() -> None:
    task = a_task(WORKER, 7_000_000)
    queue = queue_of(task)
    queue.leave(task)
    task.lag = 3_000_000
    queue.place(task)
    assert task.runtime == 7_000_000


@pytest.mark.parametrize(
    ("weight", "tick", "limit"),
    [
        (WORKER, 4_000_000, 4_000_000),  # a tick is more than two slices
        (WORKER, 1_000_000, 2_800_000),
        (DAEMON, 4_000_000, 12_226_865),  # in virtual time
    ],
)
def test_lag_is_limited_to_two_slices_or_a_tick(weight: int, tick: int, limit: int) -> None:
    far_behind, far_ahead = a_task(weight, -(10**9)), a_task(weight, 10**9)
    queue = queue_of(far_behind, far_ahead)
    queue.tick = tick
    assert (queue.lag(far_behind), queue.lag(far_ahead)) == (limit, -limit)


def test_who_sleeps_with_time_to_its_credit_keeps_it() -> None:
    worker, daemon = a_task(WORKER, 4_000_000), a_task(DAEMON, 0)
    queue = queue_of(worker, daemon)
    queue.sleep(daemon)
    assert (queue.waiting, daemon.delayed, daemon.lag) == ([worker], False, 3_013_980)


def test_who_sleeps_in_debt_stays_until_it_is_picked_and_has_no_credit_then() -> None:
    worker, daemon = a_task(WORKER, 0, deadline=SLICE), a_task(DAEMON, 1_000_000, deadline=1)
    queue = queue_of(worker, daemon)
    queue.sleep(daemon)
    assert daemon.delayed
    assert queue.pick() is worker
    assert (len(queue), queue.load()) == (2, WORKER)
    queue.start(worker)
    queue.charge(4_000_000)
    assert queue.pick() is daemon
    queue.drop(daemon)
    assert (len(queue), daemon.delayed, daemon.lag) == (1, False, 0)


def test_who_wakes_in_debt_still_owes_it() -> None:
    worker, daemon = a_task(WORKER, 500_000), a_task(DAEMON, 1_000_000, deadline=3)
    queue = queue_of(daemon, current=worker)
    queue.sleep(daemon)
    queue.revive(daemon)
    assert (daemon.runtime, daemon.deadline, daemon.delayed) == (1_000_000, 3, False)


def test_who_wakes_after_its_debt_is_paid_but_before_it_was_let_go_begins_anew() -> None:
    worker, daemon = a_task(WORKER, 500_000), a_task(DAEMON, 1_000_000)
    queue = queue_of(daemon, current=worker)
    queue.sleep(daemon)
    queue.charge(3_000_000)
    queue.revive(daemon)
    assert (daemon.runtime, daemon.deadline) == (3_500_000, 3_500_000 + 4_279_402)


def test_who_moves_takes_its_lag_and_the_rest_of_its_slice_along() -> None:
    mover, stays = a_task(WORKER, 1_000, deadline=9_000), a_task(WORKER, 3_000)
    there = a_task(WORKER, 50_000)
    queue, other = queue_of(mover, stays), queue_of(there)
    queue.leave(mover, moves=True)
    assert mover.lag == 1_000  # the mean is 2000
    other.place(mover)
    assert (mover.runtime, mover.deadline) == (48_000, 56_000)
