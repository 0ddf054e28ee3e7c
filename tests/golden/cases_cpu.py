"""Who has a CPU: slices, the scanner as thread and as softirq, pacing, phases, idleness."""

from sharesim.spec.scenario import Scanner, Scenario
from sharesim.spec.workloads import Idle, Phases, RandomAccess
from tests.golden.case import FAULT, SCAN, US, busy, costs, golden, own, run, scan, untouched, vm


@golden()
def slices_by_weight() -> Scenario:
    """Two busy vCPUs share a CPU: slices of 100 us, 10 us a switch, weights 1 and 2.

    Virtual time is CPU time over weight; at a slice's end whoever has less goes on, at equality
    whoever runs.
    0    switch to a; 10 to 110: a, virtual 100
    110  switch to b; 120 to 220: b, virtual 50; to 320: 100, equal; to 420: 150
    420  switch to a; 430 to 530: a, 200
    530  switch to b; 540 to 640: 200, equal; to 740: 250
    740  switch to a; 750 to 850: a, 300
    850  switch to b; 860 to 960: 300, equal; goes on until the end at 1000
    a works 3 x 100 = 300, b 300 + 200 + 140 = 640, six switches take 60
    """
    return run(
        vm("a", own(), weight=1024, workload=busy(50)),
        vm("b", own(), weight=2048, workload=busy(50)),
        us=1000,
        cost=costs(vcpu_switch=10),
        cpus=1,
        time_slice=100 * US,
    )


@golden()
def scanner_thread() -> Scenario:
    """The scanner as a thread takes a CPU from a vCPU that has run far ahead of it.

    0    switch to a, 10; it reads at 10, 60, 110, 160, 210
    220  the scanner wakes and preempts a, 40 us before the end of its operation; switch 10
    230  two new pages, 16 each, until 262; switch back to a, 10
    272  a spends the 40 us left, reads at 312, 362, 412, 462. It was ready for 10 + 52
    """
    return run(
        vm("a", own(2), workload=busy(50)),
        us=480,
        cost=costs(SCAN, vcpu_switch=10),
        cpus=1,
        sharing=scan(2, scanner=Scanner(start=220 * US)),
        time_slice=100 * US,
        wakeup_granularity=20 * US,
    )


@golden()
def scanner_of_lower_weight() -> Scenario:
    """A scanner of half the weight gets half of what the vCPU gets.

    110  a has virtual time 110; the scanner, as one that slept, starts a slice of 50 before that,
         at 60, and preempts a 15 us before an operation's end
    160  the scanner, weight 1/2, has 60 + 2 x 50 = 160: a goes on, 15 us, then reads at 175, 200,
         225, 250; at 210 it has 160, equal, and stays; at 260 it has 210
    260  the scanner ends the fourth visit, of which 14 of 16 us were left; then visits at 274, 290,
         306; at 310 it has 260
    310  a goes on, 15 us, then reads at 325, 350, 375; at 360 it has 260, equal, and stays
    The scanner has run 2 x 50, a 110 + 100 + 80 = 290
    """
    return run(
        vm("a", own(8), workload=busy(25)),
        us=390,
        cost=costs(SCAN),
        cpus=1,
        sharing=scan(8, scanner=Scanner(start=110 * US, weight=512)),
        time_slice=50 * US,
        wakeup_granularity=20 * US,
    )


@golden()
def softirq() -> Scenario:
    """The scanner as a softirq takes the CPU itself; whoever is on it is interrupted.

    0    a reads at 0, 50, 100, 150, 200
    220  the scanner has the CPU: two new pages, 16 each, until 252
    252  a goes on where it was: 30 us, then it reads at 282, 332, 382, 432
    """
    return run(
        vm("a", own(2), workload=busy(50)),
        us=450,
        cost=costs(SCAN),
        cpus=1,
        sharing=scan(2, scanner=Scanner(placement="softirq", start=220 * US)),
    )


@golden()
def softirq_elsewhere() -> Scenario:
    """A softirq runs on the CPU that its timer was set on; here one that is idle.

    0    a reads on CPU 0 each 50 us; from 220 to 252 the scanner has CPU 1, and interrupts nobody
    """
    scanner = Scanner(placement="softirq", affinity=(1,), start=220 * US)
    return run(
        vm("a", own(2), workload=busy(50)),
        us=420,
        cost=costs(SCAN),
        cpus=2,
        sharing=scan(2, scanner=scanner),
    )


@golden()
def paced() -> Scenario:
    """A paced guest: 60 us of work are due each 100 us; lateness is their end less their due time.

    0    the first one populates a.0: 135, then reads; done at 195: 195 late
    195  due 100, done at 255: 155 late; due 200, done at 315: 115; due 300, done at 375: 75
    375  nothing to do until 400; done at 460: 60, as every operation has to be
    Together 195 + 155 + 115 + 75 + 60 = 600
    """
    return run(
        vm("a", untouched(), workload=RandomAccess(region=1, op_time=60 * US, rate=10_000)),
        us=480,
        cost=costs(FAULT),
    )


@golden()
def phases() -> Scenario:
    """Phases end by operations or by time; an operation that has begun is done.

    0    three operations of 40 us; at 120 idle for 30
    150  operations for 100 us: begun at 150, 190 and 230, the last one done at 270
    270  idle, for good
    """
    return run(
        vm("a", own(), workload=Phases(phases=(
            busy(40, ops=3), Idle(for_=30 * US), busy(40, for_=100 * US), Idle(),
        ))),
        us=400,
        cost=costs(),
    )  # fmt: skip


@golden(clock_events=True)
def idleness_is_free() -> Scenario:
    """An idle guest costs no events of the clock, however long it idles: one second here.

    Each guest has five at its start: its life begins and ends (1, 1), its vCPU begins (1), waits
    for its start offset (1), gets a CPU and has nothing to do (1).
    """
    return run(vm("a", own()), vm("b", own()), us=1_000_000, cost=costs(vcpu_switch=0))


@golden(clock_events=True)
def slow_guest() -> Scenario:
    """A guest that reads ten times a second costs three events each time, not one per slice.

    Five at its start; then ten operations, each slept through (10), nine pauses (9), and as often
    a CPU (9): 33
    """
    return run(
        vm("a", own(), workload=RandomAccess(region=1, op_time=50 * US, rate=10)),
        us=950_000,
        cost=costs(),
    )
