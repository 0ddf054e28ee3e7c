"""When workloads start their operations, and when they end."""

from fractions import Fraction

import numpy as np
import pytest

from sharesim.spec.workloads import CpuBound, Idle, Phases, RandomAccess, Sequential
from tests.guest.machines import accesses, alone, finished, switch_ns


def test_a_workload_ends_after_its_operations() -> None:
    simulation = finished(alone(Sequential(op_time="10 us", accesses=3, ops=123)))
    vcpu = simulation.engine.memory.vcpus[0]
    assert vcpu["operations"] == 123
    assert vcpu["accesses"] == 369
    assert simulation.engine.vcpus[0].ledger_at(10**9)[0] == 123 * 10_000


def test_a_workload_ends_after_its_time() -> None:
    simulation = finished(alone(Sequential(op_time="10 us", for_="50 ms")))
    times, _, _ = accesses(simulation)
    assert times[-1] - times[0] == 50_000_000 - 10_000
    assert len(times) == 5_000


def test_phases_follow_each_other_and_the_last_one_stays() -> None:
    work = Phases(
        phases=(
            Sequential(op_time="100 us", ops=10, region=10),
            Idle(for_="20 ms"),
            Sequential(op_time="100 us", for_="3 ms", region=10, region_start=10),
            Sequential(op_time="1 ms", region=10, region_start=20),
        )
    )
    times, pages, _ = accesses(finished(alone(work, duration="100 ms")))
    assert pages[:10].tolist() == list(range(10))
    assert times[10] - times[0] == 1_000_000 + 20_000_000
    assert pages[10:40].tolist() == [10 + number % 10 for number in range(30)]
    assert times[40] - times[10] == 3_000_000
    assert (pages[40:] >= 20).all()
    assert len(pages[40:]) == pytest.approx(76, abs=1)


def test_repeated_phases_start_over_with_new_draws() -> None:
    work = Phases(
        phases=(
            RandomAccess(op_time="100 us", ops=50, region=500),
            RandomAccess(op_time="100 us", ops=50, region=500, region_start=500),
        ),
        repeat=True,
    )
    _, pages, _ = accesses(finished(alone(work, duration="25 ms")))
    cycles = pages[:200].reshape(2, 2, 50)
    assert (cycles[:, 0] < 500).all() and (cycles[:, 1] >= 500).all()
    assert (cycles[0] == cycles[1]).mean() < 0.1


@pytest.mark.parametrize("rate", [1.0, 100.0, 333.3, 1_000.0, 7_777.7])
def test_a_paced_workload_keeps_its_rate_without_drift(rate: float) -> None:
    work = Sequential(op_time="10 us", rate=rate)
    simulation = finished(alone(work, duration="5 s"))
    times, _, _ = accesses(simulation)
    period = Fraction(10**9) / Fraction(str(rate))
    arrivals = np.array([int(number * period) for number in range(len(times))])
    # Only the first has to wait for the switch to a vCPU that has not run before.
    assert (np.diff(times)[1:] == np.diff(arrivals)[1:]).all()
    assert times[0] - arrivals[0] - (times[1] - arrivals[1]) == switch_ns(simulation)
    assert len(times) == pytest.approx(5 * rate, abs=1)


def test_lateness_is_the_time_from_arrival_to_end() -> None:
    simulation = finished(alone(Sequential(op_time="200 us", rate=1_000.0), duration="100 ms"))
    vcpu = simulation.engine.memory.vcpus[0]
    assert vcpu["lateness"] == 200_000 * vcpu["operations"] + switch_ns(simulation)
    assert vcpu["lateness_max"] == 200_000 + switch_ns(simulation)


def test_a_paced_workload_that_cannot_keep_up_carries_its_backlog_over() -> None:
    work = Sequential(op_time="2 ms", rate=1_000.0, ops=100)
    simulation = finished(alone(work, duration="500 ms"))
    vcpu = simulation.engine.memory.vcpus[0]
    times, _, _ = accesses(simulation)
    assert vcpu["operations"] == 100
    assert np.diff(times).tolist() == [2_000_000] * 99
    assert vcpu["lateness_max"] == 100 * 2_000_000 - 99 * 1_000_000 + switch_ns(simulation)


def test_a_paced_phase_that_ends_between_arrivals_ends_on_time() -> None:
    work = Phases(
        phases=(CpuBound(op_time="10 us", rate=10.0, for_="250 ms"), Sequential(op_time="1 ms"))
    )
    simulation = finished(alone(work, duration="300 ms"))
    times, _, _ = accesses(simulation)
    # Operations at 0, 100 and 200 ms, then the other phase at 250 ms, all after the start offset.
    assert times[0] - 250_000_000 < 1_000
