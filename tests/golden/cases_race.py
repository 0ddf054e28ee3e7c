"""What goes wrong between a hint and a merge, and what a digest collision does."""

from sharesim.spec.scenario import Scenario
from tests.golden.case import FAULT, SCAN, common, costs, golden, own, run, scan, script, vm, write

COLLIDING = "g"
"""A guest of this name has two pages of its own whose digests have the same upper two bits."""
LIKE_ZERO = "c"
"""A guest of this name has a page whose digest has the same upper two bits as the zero page's."""


@golden()
def write_between_protect_and_merge() -> Scenario:
    """A write in the middle of a merge wins: it unprotects its page, and the merge gives up.

    0 to 37  visits of a.0 and b.0; at 37 both are protected, until 57
    45   b writes b.0: exit 50 + entry 10 = 60; at 105 the write
    57   the scanner finds b.0 writable: it makes a.0 writable again, 10, and gives up
    """
    return run(
        vm("a", common("kernel")),
        vm("b", common("kernel"), workload=script(45, write())),
        us=200,
        cost=costs(SCAN, FAULT),
        sharing=scan(2),
    )


@golden()
def stale_hint() -> Scenario:
    """Compare-by-hash digests the older page again, so that a stale table entry cannot corrupt.

    0    a.0 is entered into the table: 16
    5    a writes a.0: the entry is stale
    16   b.0 has the digest that a.0 had: 1 + 10 + 2 = 13, nothing is compared
    29   both are protected, 20; at 49 both are digested, 10 cold + 5 hot: they differ; both are
         made writable again, 20: 35. At the end of the batch b.0 takes the place of a.0
    200  second wake-up, same pass: c.0 finds b.0: 13; at 213 protected 20; at 233 digested 15 and
         remapped 20
    268  the second page of that wake-up begins the next pass: a.0 is new, 16
    """
    return run(
        vm("a", common("kernel"), workload=script(5, write())),
        vm("b", common("kernel")),
        vm("c", common("kernel")),
        us=390,
        cost=costs(SCAN, FAULT),
        sharing=scan(2, 200, verify=False),
    )


@golden()
def write_before_protect() -> Scenario:
    """A write after the visit, before the protection: the pages are compared again and differ.

    0    a.0: 16; at 16 b.0 is found equal: 21
    30   b writes b.0, not yet protected: no fault
    37   both are protected 20 (b is running, and is flushed, here for free); at 57 they differ, 6,
         and are made writable again, 20
    Their digests differ now: the hint was stale, this is a merge aborted but no false match
    """
    return run(
        vm("a", common("kernel")),
        vm("b", common("kernel"), workload=script(30, write())),
        us=200,
        cost=costs(SCAN, FAULT),
        sharing=scan(2),
    )


@golden()
def false_match() -> Scenario:
    """Digests of two bits: unequal pages with equal digests are compared and told apart.

    0    page 0 is entered: 16
    16   page 1 has its digest: 1 + 10 + 2, the compare finds them to differ 6, so that it is
         entered too 3 = 22. One false match, no merge
    """
    return run(
        vm(COLLIDING, own(2)), us=200, cost=costs(SCAN, FAULT), sharing=scan(2, digest_bits=2)
    )


@golden()
def false_zero_match() -> Scenario:
    """Digests of two bits: a page with the digest of the zero page is looked at, and is not zero.

    0    the digest is that of the zero page: 1 + 10 = 11
    11   protected: 10
    21   not zero: 4, and made writable again: 10. A false match is a merge aborted, too
    """
    return run(
        vm(LIKE_ZERO, own()), us=200, cost=costs(SCAN, FAULT), sharing=scan(1, digest_bits=2)
    )


@golden()
def collision() -> Scenario:
    """Compare-by-hash with digests of two bits: unequal pages are merged, and it is counted.

    0    page 0 is entered: 16; at 16 page 1 has its digest: 13
    29   both are protected 20; at 49 digested again, 10 + 5, still equal, and remapped 20
    84   page 1 now reads what page 0 holds: one wrong merge, one corrupted page
    """
    return run(
        vm(COLLIDING, own(2)),
        us=200,
        cost=costs(SCAN, FAULT),
        sharing=scan(2, digest_bits=2, verify=False),
    )


@golden()
def collision_overwritten() -> Scenario:
    """A corrupted page that is written over is right again; the wrong merge stays counted.

    0 to 84  as in "collision"
    100  page 1 is written: break 145; from the write at 245 on no page is corrupted
    """
    return run(
        vm(COLLIDING, own(2), workload=script(100, write(1))),
        us=300,
        cost=costs(SCAN, FAULT),
        sharing=scan(2, digest_bits=2, verify=False),
    )


@golden()
def zero_collision() -> Scenario:
    """Compare-by-hash takes a page for zero whose digest is the zero page's: it reads zeros then.

    0    1 + 10 = 11; at 11 protected 10; at 21 digested again, hot, 5; the zero frame is made of
         its frame: 20. No page is saved, so no merge is counted, but one page is corrupted
    """
    return run(
        vm(LIKE_ZERO, own()),
        us=200,
        cost=costs(SCAN, FAULT),
        sharing=scan(1, digest_bits=2, verify=False),
    )
