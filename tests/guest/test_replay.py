"""A captured guest replayed is in the end what it was seen to be, and worked as it was seen to."""

import numpy as np
import pytest

from sharesim.content.capture import open_capture
from sharesim.guest.phases import CHANGE_CLASS, CHANGE_RELEASE, CHANGE_SAME, CHANGE_WRITE
from sharesim.guest.replay import Ticks, replay_ticks
from sharesim.machine import tables as t
from sharesim.simulate import Simulation
from sharesim.spec.images import Captured
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Host, Scenario, Sharing
from sharesim.spec.workloads import Replay
from tests.guest.machines import HOLE, contents, finished

NAME = "mixed6-60s"
SECOND = 1_000_000_000


def guests(
    replay: Replay, *, at: str = "50 s", chosen: slice = slice(None), **more: object
) -> Scenario:
    """Guests of the shipped capture from a time on, and a second beyond the capture's end."""
    found = open_capture(NAME).guests[chosen]
    settings: dict[str, object] = {
        "duration": "12 s",
        "sharing": None,
        "sample_every": "12 s",
        "host": Host(cpus=6),
    }
    vms = [
        VM(name=guest.name, image=Captured(capture=NAME, guest=guest.name, at=at), workload=replay)
        for guest in found
    ]
    return Scenario(vms=vms, **{**settings, **more})


def assert_equal_to_last_snapshot(simulation: Simulation) -> None:
    """Page by page: the same holes, and contents that are equal exactly where they were equal."""
    capture = open_capture(NAME)
    last = capture.snapshots - 1
    ours, theirs = [], []
    for number, vm in enumerate(simulation.engine.scenario.vms):
        guest = capture.guest(vm.name)
        held, hole = contents(simulation, number), guest.unbacked(last)
        assert (held[hole] == HOLE).all()
        assert (held[~hole] != HOLE).all()
        assert ((held == 0) == (guest.contents(last) == 0))[~hole].all()
        ours.append(held[~hole])
        theirs.append(guest.contents(last)[~hole])
    ids, numbers = np.concatenate(ours), np.concatenate(theirs)
    pairs = len(np.unique(np.stack([ids, numbers.astype(np.uint64)]), axis=1).T)
    assert pairs == len(np.unique(ids)) == len(np.unique(numbers))


def test_a_whole_replay_of_all_guests_ends_in_the_last_snapshot() -> None:
    replay = Replay(tick="100 ms", cpu_scale=0)
    simulation = finished(guests(replay, at="0 s", duration="61 s", sample_every="61 s"))
    assert_equal_to_last_snapshot(simulation)
    assert simulation.engine.memory.totals[t.T_POPULATES] > 0


def test_sharing_and_hidden_writes_on_the_way_leave_the_same_memory() -> None:
    sharing = Sharing(policy=Cbps(scan_rate=60_000, order="random"))
    breaks = {}
    for hidden in (0.0, 3.0):
        replay = Replay(cpu_scale=0.1, hidden_writes=hidden)
        simulation = finished(guests(replay, chosen=slice(3), sharing=sharing, check=True))
        assert_equal_to_last_snapshot(simulation)
        breaks[hidden] = simulation.engine.memory.totals[t.T_COW_BREAKS]
        assert simulation.engine.memory.totals[t.T_MERGES] > 10_000
    assert breaks[3.0] > 1.5 * breaks[0.0] > 0


def test_guest_work_is_the_cpu_time_it_was_seen_to_use() -> None:
    simulation = finished(guests(Replay(cpu_scale=0.5)))
    capture = open_capture(NAME)
    first, last = capture.snapshot_at(50), capture.snapshots - 1
    for vcpu, vm in zip(simulation.engine.vcpus, simulation.engine.scenario.vms, strict=True):
        guest = capture.guest(vm.name)
        seen = (guest.cpu_ns(last) or 0) - (guest.cpu_ns(first) or 0)
        assert vcpu.ledger_at(12 * SECOND)[t.WORK] == pytest.approx(seen * 0.5, abs=10)


def test_what_was_not_done_in_time_is_done_later() -> None:
    replay = Replay(cpu_scale=4.0)
    scenario = guests(
        replay, chosen=slice(1, 2), duration="20 s", sample_every="1 s", host=Host(cpus=1)
    )
    simulation = finished(scenario)
    vcpu = simulation.engine.memory.vcpus[0]
    ticks = simulation.engine.work.tick_work
    assert vcpu["operations"] == len(ticks)
    assert simulation.engine.vcpus[0].ledger_at(20 * SECOND)[t.WORK] == ticks.sum()
    assert ticks.sum() > 15 * SECOND
    assert vcpu["lateness_max"] > 5 * SECOND
    assert_equal_to_last_snapshot(simulation)
    rows = [row for row in simulation.sinks.kept if row["entity"] == "compile"]
    half_way = next(row for row in rows if row["time_ns"] == 10 * SECOND)
    assert half_way["operations"] < 0.7 * len(ticks)


# The ticks themselves


def ticks_of(guest: str, replay: Replay, *, at: int = 0, zeroed: bool = False) -> Ticks:
    """Ticks of a guest of the shipped capture."""
    image = Captured(capture=NAME, guest=guest, at=at * SECOND)
    return replay_ticks(image, replay, 12345, zeroed)


@pytest.mark.parametrize("guest", ["idle", "compile", "python", "nginx", "redis", "cache"])
def test_changes_are_spread_evenly_over_the_interval_they_were_seen_in(guest: str) -> None:
    ticks = ticks_of(guest, Replay())
    writes = np.concatenate(([0], np.cumsum(ticks.kind == CHANGE_WRITE)))
    at_tick = writes[ticks.first]
    for interval in range(12):
        edges = at_tick[500 * interval : 500 * interval + 501]
        count = edges[-1] - edges[0]
        uniform = np.linspace(0, count, len(edges))
        # Kolmogorov and Smirnov: sqrt(n) D exceeds 2.2 once in 10,000 times; an interval's edges
        # lie off the ticks' by up to a tick.
        largest = np.abs(edges - edges[0] - uniform).max()
        assert largest <= 2.2 * np.sqrt(count) + count / 250 + 1


def test_every_change_seen_is_made_once_in_its_interval() -> None:
    capture = open_capture(NAME)
    guest = capture.guest("python")
    ticks = ticks_of("python", Replay())
    of_tick = np.repeat(np.arange(len(ticks.work)), np.diff(ticks.first))
    bounds = (capture.times_ns - capture.times_ns[0]) // 10_000_000
    for snapshot in range(1, capture.snapshots):
        inside = (of_tick > bounds[snapshot - 1]) & (of_tick < bounds[snapshot])
        made = ticks.gfn[inside & (ticks.kind == CHANGE_WRITE)]
        seen, _ = guest.changes(snapshot)
        filled = np.flatnonzero(guest.unbacked(snapshot - 1) & ~guest.unbacked(snapshot))
        expected = np.union1d(seen[~guest.unbacked(snapshot)[seen]], filled)
        assert len(np.unique(made)) == len(made)
        assert np.isin(made, expected).all()
        assert len(made) >= 0.98 * len(expected)


@pytest.mark.parametrize("scale", [0.0, 0.25, 1.0])
def test_work_of_each_interval_is_what_was_used_in_it(scale: float) -> None:
    capture = open_capture(NAME)
    guest = capture.guest("compile")
    work = ticks_of("compile", Replay(cpu_scale=scale)).work
    bounds = (capture.times_ns - capture.times_ns[0]) // 10_000_000
    for step in range(1, capture.snapshots):
        used = (guest.cpu_ns(step) or 0) - (guest.cpu_ns(step - 1) or 0)
        interval = work[bounds[step - 1] : bounds[step]]
        assert interval.sum() == round(used * scale)
        assert interval.max() - interval.min() <= 1


def test_hidden_writes_are_as_many_as_asked_for() -> None:
    plain, more = ticks_of("redis", Replay()), ticks_of("redis", Replay(hidden_writes=2.0))
    assert (plain.kind == CHANGE_SAME).sum() == 0
    # Writes that fill what was a hole with zeros were not seen as changes.
    seen = sum(len(open_capture(NAME).guest("redis").changes(s)[0]) for s in range(1, 13))
    assert (more.kind == CHANGE_SAME).sum() == pytest.approx(2 * seen, rel=0.01)
    for kind in (CHANGE_WRITE, CHANGE_RELEASE, CHANGE_CLASS):
        assert (more.kind == kind).sum() == (plain.kind == kind).sum()


def test_a_guest_that_zeroes_what_it_frees_writes_zeros() -> None:
    kept, zeroed = ticks_of("compile", Replay()), ticks_of("compile", Replay(), zeroed=True)

    def zeros(ticks: Ticks) -> int:
        return int(((ticks.kind == CHANGE_WRITE) & (ticks.content == 0)).sum())

    assert zeros(zeroed) > zeros(kept) + 1_000


def test_other_seeds_spread_changes_otherwise_but_make_the_same_ones() -> None:
    image = Captured(capture=NAME, guest="nginx", at=50 * SECOND)
    one, other = (replay_ticks(image, Replay(), seed, False) for seed in (1, 2))
    assert (one.first != other.first).any()
    assert (np.sort(one.gfn) == np.sort(other.gfn)).all()
    assert (np.sort(one.content) == np.sort(other.content)).all()
