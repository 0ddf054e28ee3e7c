"""Timelines of Linux's scheduler worked out by hand, and what holds whatever entities do."""

from collections.abc import Generator, Iterable, Sequence
from random import Random
from typing import Any

import pytest
import simpy

from sharesim.machine.eevdf import EevdfScheduler
from sharesim.machine.scheduler import CPU_SCANNER, CPU_VCPU, SEIZED, Entity
from sharesim.simulate import simulate
from tests.random_scenarios import random_scenario

MS = 1_000_000
TICK = 4 * MS
FOREVER = 10**12
WORKER, DAEMON = 1024, 335

Steps = Generator[simpy.Event, Any, None]


class Actor(Entity):
    """Runs and sleeps by turns as it is told, and notes where and when it ran and waited."""

    def __init__(
        self,
        machine: EevdfScheduler,
        name: str,
        turns: Iterable[tuple[int, ...]],
        weight: int = WORKER,
        affinity: Sequence[int] | None = None,
        cause: int = CPU_VCPU,
        start: int = 0,
    ) -> None:
        super().__init__(name, weight, affinity, cause)
        self.machine = machine
        self.start = start
        self.turns = turns
        self.ran: list[tuple[float, float, int]] = []
        """(from, until, CPU) of each stretch; times in ms."""
        self.waited: list[tuple[int, int]] = []
        self.since: int | None = None
        self.process = machine.env.process(self._live())

    def _live(self) -> Steps:
        env = self.machine.env
        yield env.timeout(self.start)
        for run, sleep in self.turns:
            yield from self._wait(self.machine.acquire(self))
            yield from self._run(run)
            self.machine.release(self)
            yield env.timeout(sleep)

    def _wait(self, event: simpy.Event) -> Steps:
        since = int(self.machine.env.now)
        yield event
        self.waited.append((since, int(self.machine.env.now)))

    def _run(self, left: int) -> Steps:
        env = self.machine.env
        while left:
            assert self.cpu is not None and self.cpu.current is self
            self.since = since = int(env.now)
            cpu = self.cpu.number
            try:
                yield env.timeout(left)
                seized = False
            except simpy.Interrupt as interrupt:
                seized = interrupt.cause == SEIZED
            self.since = None
            left -= int(env.now) - since
            self.ran.append((since / MS, env.now / MS, cpu))
            if seized:
                given_back = self.machine.cpus[cpu].unseized
                assert given_back is not None
                yield given_back
            elif left:
                yield from self._wait(self.machine.requeue(self))

    def runs_for(self, now: int) -> int:
        """ns that the present stretch has lasted."""
        return 0 if self.since is None else now - self.since

    def spent(self) -> int:
        """CPU time of all stretches that are over, in ns."""
        return sum(round((until - since) * MS) for since, until, _ in self.ran)


def machine(cpus: int = 1, switch: int = 0, hz: int = 250, first: int = 0) -> EevdfScheduler:
    return EevdfScheduler(simpy.Environment(0), cpus, hz, first, switch)


def hog(there: EevdfScheduler, name: str = "hog", **more: Any) -> Actor:
    return Actor(there, name, [(FOREVER, 0)], **more)


def daemon(there: EevdfScheduler, *turns: tuple[float, float], start: int = 24 * MS) -> Actor:
    """A scanner thread of weight 335; its turns are (run, sleep) in ms."""
    each = [(int(run * MS), int(sleep * MS)) for run, sleep in turns]
    return Actor(there, "daemon", each, DAEMON, cause=CPU_SCANNER, start=start)


# Timelines. The slice of one CPU is 0.7 ms, so at each tick of 4 ms a slice is over.


def test_who_wakes_with_no_credit_waits_for_a_tick_and_lives_on_its_credit_next_time() -> None:
    there = machine()
    hog(there)
    # 24: both have the mean, the hog has the earlier deadline. 28: the daemon is 4 ms behind; it
    # pays 3.06 of them. 52: it is 0.94 behind, so the hog is ahead of the mean: it runs at once and
    # is in debt then; that is forgotten at 76, as the hog has had 23 ms meanwhile.
    batches = daemon(there, (1, 23), (1, 23), (1, 23), (1, 23))
    there.env.run(until=150 * MS)
    assert [stretch[:2] for stretch in batches.ran] == [(28, 29), (52, 53), (80, 81), (104, 105)]


def test_a_long_batch_is_cut_at_the_tick_and_goes_on_when_its_debt_is_paid() -> None:
    there = machine()
    hog(there)
    # 28: the hog has 4. 32: the daemon has 12.23. 36, 40: the hog has 8, 12: the daemon is still
    # ahead. 44: the hog has 16.
    batches = daemon(there, (6, 20))
    there.env.run(until=100 * MS)
    assert [stretch[:2] for stretch in batches.ran] == [(28, 32), (44, 46)]


def test_ticks_are_multiples_counted_from_the_first() -> None:
    there = machine(first=1 * MS)
    hog(there)
    batches = daemon(there, (6, 20))
    there.env.run(until=100 * MS)
    assert [stretch[:2] for stretch in batches.ran] == [(25, 29), (41, 43)]


def test_more_ticks_than_slices_make_slices_of_whole_ticks() -> None:
    there = machine(cpus=2, hz=1000)  # slices of 1.4 ms: over at the second tick
    one = hog(there, "one", affinity=(0,))
    other = hog(there, "other", affinity=(0,))
    there.env.run(until=9 * MS)
    assert [stretch[:2] for stretch in one.ran] == [(0, 2), (4, 6)]
    assert [stretch[:2] for stretch in other.ran] == [(2, 4), (6, 8)]


def test_a_switch_costs_time_that_nobody_is_charged_for() -> None:
    there = machine(switch=1000)
    one, other = hog(there, "one"), hog(there, "other")
    there.env.run(until=17 * MS)
    assert one.ran == [(0.001, 4, 0), (8.001, 12, 0)]
    assert other.ran == [(4.001, 8, 0), (12.001, 16, 0)]
    assert there.utilisation(17 * MS)[3] == 5 * 1000


def test_who_wakes_goes_to_its_last_cpu_or_to_an_idle_one_or_waits_where_it_was() -> None:
    there = machine(cpus=2)
    guest = Actor(there, "guest", [(MS, 9 * MS), (MS, 10 * MS), (MS, MS)])
    hog(there, "first", affinity=(0,), start=5 * MS)
    hog(there, "second", affinity=(1,), start=15 * MS)
    there.env.run(until=50 * MS)
    # 0: idle CPU 0. 10: CPU 0 is taken, CPU 1 is not. 21: back to CPU 1, which is busy now; the hog
    # there, with a deadline since the tick at 20, keeps it until the next tick.
    assert guest.ran == [(0, 1, 0), (10, 11, 1), (24, 25, 1)]


def test_a_cpu_that_goes_idle_pulls_somebody_who_waits_and_may_come() -> None:
    there = machine(cpus=2)
    Actor(there, "short", [(2 * MS, 0)], affinity=(1,))
    hog(there, "tied", affinity=(0,))
    stuck = hog(there, "stuck", affinity=(0,))
    free = hog(there, "free", start=1)
    there.env.run(until=3 * MS)
    assert (free.cpu, stuck.cpu) == (there.cpus[1], None)


def test_an_idle_cpu_helps_at_the_next_tick_one_that_was_preempted() -> None:
    there = machine(cpus=2)
    roamer = Actor(there, "roamer", [(50 * MS, 0)])
    tied = hog(there, "tied", affinity=(0,), start=2 * MS)
    there.env.run(until=9 * MS)
    assert (tied.cpu, roamer.cpu) == (there.cpus[0], there.cpus[1])
    assert roamer.waited == [(0, 0), (2 * MS, 4 * MS)]


def test_load_is_evened_out_between_busy_cpus() -> None:
    there = machine(cpus=2)
    hogs = [hog(there, f"hog {number}") for number in range(3)]
    there.env.run(until=6000 * MS)
    for each in hogs:  # two CPUs for three: 4000 ms each
        assert each.spent() == pytest.approx(4000 * MS, rel=0.1)


def test_an_entity_alone_and_an_idle_cpu_cost_no_events() -> None:
    there = machine(cpus=2)
    hog(there)
    while there.env.peek() == 0:
        there.env.step()
    assert there.env.peek() == FOREVER


def test_ticks_that_were_no_events_count_as_if_they_had_been() -> None:
    watched, unwatched = machine(), machine()
    for there in (watched, unwatched):
        hog(there)
        daemon(there, *[(0.7, 23.3)] * 20)
    for time in range(MS, 600 * MS, MS):
        watched.env.run(until=time)
        watched._advance(watched.queues[0], time)
    unwatched.env.run(until=599 * MS)
    unwatched._advance(unwatched.queues[0], 599 * MS)
    for one, other in zip(watched.queues[0].tasks(), unwatched.queues[0].tasks(), strict=True):
        assert one.runtime == pytest.approx(other.runtime, abs=1000)  # rounded more often
        assert one.deadline - one.runtime == pytest.approx(other.deadline - other.runtime, abs=1000)


def test_the_hypervisor_takes_a_cpu_in_place() -> None:
    there = machine()
    one, other = hog(there, "one"), hog(there, "other")
    there.env.run(until=2 * MS)
    assert there.seize(there.cpus[0]) is one
    there.env.run(until=3 * MS)
    there.unseize(there.cpus[0])
    there.env.run(until=5 * MS)
    assert (one.ran, one.waited) == ([(0, 2, 0), (3, 4, 0)], [(0, 0)])
    assert there.cpus[0].current is other
    assert there.utilisation(5 * MS) == [0, 4 * MS, 1 * MS, 0]


def test_a_tick_while_the_hypervisor_has_the_cpu_counts_when_it_gives_it_back() -> None:
    there = machine()
    hog(there, "one")
    other = hog(there, "other")
    there.env.run(until=2 * MS)
    there.seize(there.cpus[0])
    there.env.run(until=6 * MS)
    there.unseize(there.cpus[0])
    there.env.run(until=7 * MS)
    assert there.cpus[0].current is other


# What a live kernel did

RECORDED = {
    "batches of 5 ms": [
        (5312, 4, 11), (5872, 4, 11), (5433, 4, 11), (5586, 4, 11), (5467, 4, 11), (5527, 4, 11),
        (5616, 4, 11), (7078, 4, 11), (3439, 1, 7), (49, 1, 1), (2782, 0, 6), (3710, 1, 7),
        (4321, 4, 11), (4549, 3, 10), (4453, 3, 10), (5303, 4, 11), (5198, 4, 11), (4725, 4, 11),
        (5072, 3, 10), (6346, 4, 11), (6856, 4, 11), (6892, 4, 11), (7019, 4, 11), (7091, 4, 11),
    ],
    "batches of 20 ms": [
        (21, 1, 1), (17702, 12, 22), (21991, 16, 27), (23917, 16, 27), (26312, 19, 31), (12, 1, 7),
        (17894, 12, 22), (21793, 16, 27), (24588, 19, 31),
    ],
}  # fmt: skip
"""ksmd (nice 5) against one busy loop on one CPU of two, Linux 6.18, 250 ticks a second, switches
traced: for each batch its CPU time in us, how many ticks it waited in all, and after how many
the next one woke."""


class Recorded(Actor):
    """Wakes just after the ticks at which the recorded thread woke."""

    def _live(self) -> Steps:
        env, latency = self.machine.env, 30_000
        wake = 6 * TICK
        for run, _, gap in self.turns:
            yield env.timeout(max(0, wake + latency - int(env.now)))
            yield from self._wait(self.machine.acquire(self))
            yield from self._run(run * 1000)
            self.machine.release(self)
            wake += gap * TICK


@pytest.mark.parametrize("name", RECORDED)
def test_batches_wait_as_they_did_on_a_live_kernel(name: str) -> None:
    there, recorded = machine(cpus=2), RECORDED[name]
    hog(there, affinity=(0,))
    thread = Recorded(there, "ksmd", recorded, DAEMON, affinity=(0,))
    there.env.run(until=5000 * MS)
    wake, found = 6 * TICK, []
    for _, _, gap in recorded:
        waits = [end - begin for begin, end in thread.waited if wake <= begin < wake + gap * TICK]
        found.append(round(sum(waits) / TICK))
        wake += gap * TICK
    assert found == [ticks for _, ticks, _ in recorded]


# What holds whatever entities do


@pytest.mark.parametrize(
    "weights", [(335, 1024), (1024, 1024, 335), (15, 1024), (88761, 1024, 335)]
)
def test_entities_that_always_run_get_shares_by_weight(weights: tuple[int, ...]) -> None:
    there = machine()
    for weight in weights:
        hog(there, f"of weight {weight}", weight=weight)
    until = 40_000 * MS
    there.env.run(until=until)
    there._advance(there.queues[0], until)
    for task in there.queues[0].tasks():
        fair = until * task.weight // sum(weights)
        received = task.runtime * task.weight // 1024
        assert received == pytest.approx(fair, abs=len(weights) * TICK)


def random_machine(seed: int) -> tuple[EevdfScheduler, list[Actor]]:
    draw = Random(seed)
    cpus = draw.choice([1, 2, 2, 3])
    there = machine(cpus, draw.choice([0, 700]), draw.choice([250, 1000]), draw.choice([0, 12345]))
    actors = []
    for number in range(draw.randint(1, 7)):
        longest, idlest = draw.choice([(MS // 2, 30), (8 * MS, 2), (40 * MS, 0)])
        turns = [(draw.randint(1, longest), draw.randint(0, longest * idlest)) for _ in range(2000)]
        affinity = draw.choice([None, None, draw.sample(range(cpus), draw.randint(1, cpus))])
        weight = draw.choice([15, 335, 1024, 1024, 9548])
        start = draw.randint(0, 20 * MS)
        actors.append(Actor(there, str(number), turns, weight, affinity, start=start))
    return there, actors


def idle_while_waited_for(there: EevdfScheduler) -> bool:
    queues = there.queues
    idle = [queue.cpu for queue in queues if queue.idle]
    return any(queue.movable(cpu) is not None for queue in queues for cpu in idle)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_entities_do(seed: int) -> None:
    there, actors = random_machine(seed)
    env, until, wasted = there.env, 400 * MS, 0
    while env.peek() < until:
        env.step()
        holders = [cpu.current for cpu in there.cpus if cpu.current is not None]
        assert len(holders) == len(set(holders))
        for cpu in there.cpus:
            assert cpu.current is None or (cpu.current.cpu is cpu and cpu.current.may_run(cpu))
        if env.peek() > env.now:  # this instant is over
            wasted = wasted + int(env.peek() - env.now) if idle_while_waited_for(there) else 0
            assert wasted <= there.tick  # then an idle CPU has come to help
    now = int(env.now)
    assert sum(there.utilisation(now)) == now * len(there.cpus)
    running = there.utilisation(now)[1] - sum(actor.spent() for actor in actors)
    assert running == sum(actor.runs_for(now) for actor in actors)
    lightest, everybody = min(a.weight for a in actors), sum(a.weight for a in actors)
    for actor in actors:
        longest = max((until - since for since, until in actor.waited), default=0)
        assert longest <= 2 * there.tick * (len(actors) + everybody // lightest)


@pytest.mark.parametrize(("seed", "hz"), [(0, 100), (3, 250), (5, 300), (12, 1000)])
def test_random_scenarios_keep_all_invariants_and_repeat(seed: int, hz: int) -> None:
    scenario = random_scenario(seed)
    host = scenario.host.model_copy(update={"scheduler": "eevdf", "hz": hz})
    runs = [simulate(scenario.model_copy(update={"host": host})) for _ in range(2)]
    assert runs[0].summary == runs[1].summary
    assert runs[0].timeline.equals(runs[1].timeline)
