"""How equal pages come to share a frame."""

from sharesim.spec.scenario import Scanner, Scenario
from tests.golden.case import (
    FAULT,
    SCAN,
    US,
    common,
    costs,
    golden,
    own,
    read,
    run,
    scan,
    script,
    vm,
    write,
    zeros,
)


@golden()
def static_pair() -> Scenario:
    """Two idle guests hold one equal page each; the scanner merges them and saves one frame.

    0    a.0 is new: scan step 1 + digest 10 + look-up 2 + entry into the table 3 = 16
    16   b.0 has the digest of a.0: 1 + 10 + 2 and a cold compare 8 = 21
    37   both pages are write-protected: 2 x 10
    57   both are compared again, now hot, 4; b.0 is remapped 20 = 24
    81   the batch of two pages is over: the scanner has run 81 of 500
    """
    guests = (vm(name, common("kernel")) for name in "ab")
    return run(*guests, us=500, cost=costs(SCAN), sharing=scan(2))


@golden()
def triple() -> Scenario:
    """Three equal pages: the third joins a frame that is shared, and write-protected, already.

    0, 16, 37, 57  a.0 and b.0 merge as in "static pair"
    81   c.0 finds the entry of a.0: 1 + 10 + 2 + 8 = 21
    102  only c.0 has to be protected: 10
    112  compare 4, remap 20; over at 136. Three sharers of one frame save two
    """
    guests = (vm(name, common("kernel")) for name in "abc")
    return run(*guests, us=500, cost=costs(SCAN), sharing=scan(3))


@golden()
def zero_pages() -> Scenario:
    """Zero pages are known by their digest: no table. The first one's frame becomes the zero frame.

    0    a.0 is zero: 1 + 10 = 11; at 11 protected 10; at 21 checked for zero, hot, 4, and its entry
         updated 20 = 24. Its frame is the zero frame now: nothing is saved, no merge counted
    45   a.1 likewise: 11, 10, and a remap to the zero frame, 24: one frame saved
    90   a.2 likewise, to 135: two saved
    135  a second pass: each page maps the zero frame, so that a visit is a scan step, 1
    """
    return run(vm("a", zeros(3)), us=500, cost=costs(SCAN), sharing=scan(6))


@golden()
def second_pass() -> Scenario:
    """A shared frame cannot have changed: its pages are not hashed again.

    0 to 81  a.0 and b.0 merge, as in "static pair"
    200  second wake-up, second pass, new table: a.0 has its digest already: step 1 + look-up 2 +
         entry 3 = 6
    206  b.0 finds a.0, which has the same frame: 1 + 2, with nothing to compare
    """
    guests = (vm(name, common("kernel")) for name in "ab")
    return run(*guests, us=300, cost=costs(SCAN), sharing=scan(2, 200))


@golden()
def larger_group_stays() -> Scenario:
    """Of two frames of one content the one with more sharers stays, whoever came first.

    0    b writes the same content to b.0 and (at 10) to b.1; nobody else has written yet
    20   a.0, own content: 16; at 36 b.0: 16; at 52 b.1 finds b.0: 21; at 73 protected 20, at 93
         merged 24, until 117
    200  a writes that content to a.0
    320  second wake-up: a.0 is hashed and entered first: 16
    336  b.0, shared and not hashed, finds a.0: 1 + 2 + 8 = 11. Its frame has two sharers, that of
         a.0 has one: so a.0 is the page to be remapped
    347  b.0 is read-only, a.0 is protected: 10; at 357 compare 4 + update 20; until 381
    381  b.1 finds a.0, which has its frame now: 1 + 2
    """
    return run(
        vm("a", own(), workload=script(200, write(0, "pool"))),
        vm("b", own(2), workload=script(write(0, "pool"), write(1, "pool"))),
        us=500,
        cost=costs(SCAN),
        sharing=scan(3, 300, scanner=Scanner(start=20 * US)),
    )


@golden()
def refill_after_merge() -> Scenario:
    """The first access after a merge pays for the remapped page's entry.

    0 to 81  a.0 and b.0 merge; b.0 is remapped to the frame of a.0
    100  b reads b.0: its entry is not in place: exit 50 + entry 20 = 70, then at 170 the read
    200  a reads a.0, which was protected in place and not remapped: no refill
    300  b reads again: nothing to pay
    """
    return run(
        vm("a", common("kernel"), workload=script(200, read())),
        vm("b", common("kernel"), workload=script(100, read(), 120, read())),
        us=500,
        cost=costs(SCAN, FAULT),
        sharing=scan(2),
    )


@golden()
def read_between_protect_and_merge() -> Scenario:
    """Write-protected pages can be read meanwhile; a merge does not notice.

    0 to 37  visits of a.0 and b.0; at 37 both are protected
    45   b reads b.0 without a fault
    57   the merge, 24
    """
    return run(
        vm("a", common("kernel")),
        vm("b", common("kernel"), workload=script(45, read())),
        us=200,
        cost=costs(SCAN, FAULT),
        sharing=scan(2),
    )
