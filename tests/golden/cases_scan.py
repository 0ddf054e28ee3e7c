"""The scanner's own ways: order, intervals, its table, what it leaves alone."""

from sharesim.spec.scenario import Scenario
from tests.golden.case import SCAN, common, costs, equal, golden, own, run, scan, vm

INTERVALS = "a"
"""Contents of this name: of the first the digest's top bit is 0, of the second it is 1."""


@golden()
def random_order() -> Scenario:
    """Random order is a permutation, another one for each pass: no page twice, none left out.

    Two passes over eight pages in one wake-up; each visit is 16, in both passes, as private pages
    are hashed again and the table is cleared
    """
    return run(vm("a", own(8)), us=300, cost=costs(SCAN), sharing=scan(16, order="random"))


@golden()
def two_intervals() -> Scenario:
    """passes=2: a pass enters only digests of its half, so that a table of half the size will do.

    0    first half: a.0 is in it 16; a.1 is not: 1 + 10 = 11
    27   b.0 finds a.0: 21; at 48 protected 20, at 68 merged 24; at 92 b.1: 11
    103  second half: a.0 is shared, not hashed, and not in it: 1; a.1: 16; b.0: 1
    121  b.1 finds a.1: 21; at 142 protected 20, at 162 merged 24; until 186
    """
    guests = (vm(name, common(INTERVALS, 2)) for name in "ab")
    return run(*guests, us=300, cost=costs(SCAN), sharing=scan(8, passes=2))


@golden()
def table_full() -> Scenario:
    """A table bound of one entry: what finds it full is looked up, and not entered.

    0    a.0 is entered: 16; at 16 a.1 is not: 1 + 10 + 2 = 13
    29   b.0 finds a.0: 21; at 50 protected 20, at 70 merged 24
    94   b.1 finds nothing, and the table full: 13
    """
    guests = (vm(name, common("kernel", 2)) for name in "ab")
    return run(*guests, us=200, cost=costs(SCAN), sharing=scan(4, table_entries=1))


@golden()
def stability_rule() -> Scenario:
    """stable=True: a page is looked up only when its digest is what it was at the last visit.

    0    first pass: a.0 and b.0 are hashed, 1 + 10 each, and held back
    22   second pass: unchanged; a.0 is entered 16; b.0 finds it 21
    59   protected 20; at 79 merged 24; until 103
    """
    guests = (vm(name, common("kernel")) for name in "ab")
    return run(*guests, us=200, cost=costs(SCAN), sharing=scan(4, stable=True))


@golden()
def pinned() -> Scenario:
    """Pinned pages are never shared, nor read; others of the same content are.

    0    a.0 is pinned: a scan step, 1
    1    b.0 is new: 16; at 17 c.0 finds it: 21; at 38 protected 20; at 58 merged 24; until 82
    """
    return run(
        vm("a", common("kernel", pinned=True)),
        vm("b", common("kernel")),
        vm("c", common("kernel")),
        us=200,
        cost=costs(SCAN),
        sharing=scan(3),
    )


@golden()
def block_split() -> Scenario:
    """To share a page of a 2 MiB block the block is split, once.

    0    a.0 16; at 16 a.1, in the same block, finds it: 21
    37   split 30, both pages protected 2 x 10 = 50
    87   merged 24; until 111
    """
    return run(
        vm("a", equal(2), own(510)),
        us=200,
        cost=costs(SCAN, block_split=30),
        sharing=scan(2),
        backing="2 MiB",
    )


@golden()
def block_kept() -> Scenario:
    """split_blocks=False: pages of 2 MiB blocks are not shared.

    0    a.0 16; at 16 a.1 finds it: 21
    37   the hypervisor refuses, in no time
    """
    return run(
        vm("a", equal(2), own(510)),
        us=200,
        cost=costs(SCAN, block_split=30),
        sharing=scan(2, split_blocks=False),
        backing="2 MiB",
    )


@golden()
def overrun() -> Scenario:
    """A batch that takes longer than its period is counted; the next one starts at once.

    Two pages each 20 us are asked for, and take 2 x 16 = 32.
    0    first batch, until 32: the wake-up at 20 is late; second batch, until 64
    64   the wake-up at 40 was due before, and that at 60 too: one batch for both, until 96
    96   that at 80: until 128; the run ends at 120
    """
    return run(vm("a", own(4)), us=120, cost=costs(SCAN), sharing=scan(2, 20))
