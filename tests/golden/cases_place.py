"""Costs that others cause: a scanner in a control domain, shootdowns, the sharing lock."""

from sharesim.spec.scenario import Scanner, Scenario
from tests.golden.case import (
    FAULT,
    SCAN,
    US,
    busy,
    common,
    costs,
    golden,
    run,
    scan,
    script,
    vm,
    write,
)


@golden()
def control_domain() -> Scenario:
    """In a control domain each page read is mapped first, 3; all are unmapped at the batch's end.

    0    a.0: 16 and a map 3 = 19
    19   b.0: 21 and its map 3, and that of its partner 3 = 27
    46   protected 20; at 66 merged by the hypervisor, 24; until 90
    90   three unmaps, 3 x 2, and a flush 7: the scanner has run 90 + 13 = 103
    """
    cost = costs(SCAN, foreign_map=3, foreign_unmap=2, flush_base=7)
    guests = (vm(name, common("kernel")) for name in "ab")
    scanner = Scanner(placement="domain")
    return run(*guests, us=200, cost=cost, sharing=scan(2, scanner=scanner))


@golden()
def shootdown() -> Scenario:
    """A flush costs its initiator 20 + 5 for each CPU that runs the guest, and that CPU 9 + 1 walk.

    b runs all the time and reads b.0 every 50 us: one TLB entry to walk for. a is idle.
    20   a.0 16; at 36 b.0 21
    57   both protected 20, b flushed 25, a need not be: 45; b owes 10
    100  b's operation of 50 is over: it pays 10 before it goes on
    102  compared 4, b.0 remapped 20, b flushed 25 = 49; b owes another 10
    110  b pays, and at 120 the refill: entry 20 (exits are free here); at 140 the read, then at 190
    """
    cost = costs(SCAN, flush_base=20, flush_per_cpu=5, flush_target=9, walk_nested=1, tlb_entries=8)
    return run(
        vm("a", common("kernel")),
        vm("b", common("kernel"), workload=busy(50)),
        us=220,
        cost=cost,
        cpus=2,
        sharing=scan(2, scanner=Scanner(start=20 * US)),
    )


@golden()
def lock_contention() -> Scenario:
    """Two breaks at one time: the second waits for the sharing lock, held for 100.

    100  b and c, clones of a, write: both trap, 50
    150  b gets the lock, 100, then entry 20, frame 5, copy 70: 50 + 100 + 95 = 245; writes at 345
    150  c waits for it until 250, holds it until 350, then 95: 345; writes at 445
    """
    clone = {"memory": 1, "populate": "clone", "clone_of": "a", "workload": script(100, write())}
    return run(
        vm("a", common("kernel")),
        vm("b", **clone),
        vm("c", **clone),
        us=500,
        cost=costs(FAULT, lock_hold=100),
    )
