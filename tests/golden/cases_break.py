"""How a share ends: COW breaks, zero fills, last sharers."""

from sharesim.spec.scenario import Scenario
from tests.golden.case import (
    FAULT,
    SCAN,
    common,
    costs,
    golden,
    read,
    run,
    scan,
    script,
    vm,
    write,
    zeros,
)


@golden()
def cow_break() -> Scenario:
    """A write to a shared page makes a private copy.

    0 to 81  a.0 and b.0 merge
    100  b writes b.0: exit 50, entry 20, a frame 5, copy 70 = 145, all of it sharing's
    245  the write itself. a.0 is alone with its frame now, and still read-only
    """
    return run(
        vm("a", common("kernel")),
        vm("b", common("kernel"), workload=script(100, write())),
        us=500,
        cost=costs(SCAN, FAULT),
        sharing=scan(2),
    )


@golden()
def last_sharer_reuses() -> Scenario:
    """The last one on a frame takes it over: no copy (counted as a COW break, and as a reuse).

    100  b leaves, 145, as in "cow break"
    300  a writes a.0: exit 50 + entry 20 = 70, and at 370 it writes to the frame that was shared
    """
    return run(
        vm("a", common("kernel"), workload=script(300, write())),
        vm("b", common("kernel"), workload=script(100, write())),
        us=500,
        cost=costs(SCAN, FAULT),
        sharing=scan(2),
    )


@golden()
def last_sharer_copies() -> Scenario:
    """With last_sharer="copy", as KSM does, the last one on a frame pays for a copy too.

    100  b leaves, 145
    300  a writes a.0: 145 again, until 445; the old frame is free (1 + 1 frames used, 1 free: the
         third frame is the policy's table)
    """
    return run(
        vm("a", common("kernel"), workload=script(300, write())),
        vm("b", common("kernel"), workload=script(100, write())),
        us=500,
        cost=costs(SCAN, FAULT),
        sharing=scan(2, last_sharer="copy"),
        memory=4,
    )


@golden()
def zero_break() -> Scenario:
    """Breaking a zero page is a zero fill; the last zero page takes the zero frame over.

    0 to 90  a.0's frame becomes the zero frame, a.1 joins it (see "zero pages")
    100  a writes a.1: exit 50, entry 20, a frame 5, zero fill 60 = 135; at 235 the write
    345  a writes a.0, now alone: 50 + 20 = 70; at 415 the write. There is no zero frame any more
    """
    return run(
        vm("a", zeros(2), workload=script(100, write(1), 100, write(0))),
        us=500,
        cost=costs(SCAN, FAULT),
        sharing=scan(2),
    )


@golden()
def refill_then_break() -> Scenario:
    """A read after the merge pays the refill, a later write the break: two faults.

    0 to 81  a.0 and b.0 merge
    100  b reads b.0: refill 50 + 20 = 70; at 170 the read, work until 180, idle until 200
    200  b writes b.0: break 145; at 345 the write
    """
    return run(
        vm("a", common("kernel")),
        vm("b", common("kernel"), workload=script(100, read(), 20, write())),
        us=500,
        cost=costs(SCAN, FAULT),
        sharing=scan(2),
    )


@golden()
def merged_again() -> Scenario:
    """A write that changes nothing breaks the share all the same; the next pass merges again.

    0 to 81  a.0 and b.0 merge
    100  b writes to b.0 what is there: break 145, at 245 the write
    400  second wake-up: both frames are private and hashed again: a.0 16, b.0 21 until 437
    437  a.0 is still read-only, so that only b.0 is protected: 10
    447  compare 4 + remap 20; until 471
    """
    return run(
        vm("a", common("kernel")),
        vm("b", common("kernel"), workload=script(100, write(0, "same"))),
        us=500,
        cost=costs(SCAN, FAULT),
        sharing=scan(2, 400),
    )


@golden()
def clone() -> Scenario:
    """A clone shares all of its parent's pages from the start; whoever writes gets a copy.

    100  the clone reads c.0: its entry is not there yet: exit 50 + entry 20 = 70; at 170 the read
    300  the clone writes c.0: break 145; at 445 the write
    500  the parent writes p.0, of which it is the last sharer: 70; at 570 the write
    670  the parent writes p.1, which the clone still shares: break 145; at 815 the write
    """
    return run(
        vm("p", common("parent", 2), workload=script(500, write(0), 90, write(1))),
        vm("c", memory=2, populate="clone", clone_of="p",
           workload=script(100, read(0), 120, write(0))),
        us=900,
        cost=costs(FAULT),
    )  # fmt: skip
