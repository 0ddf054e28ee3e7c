"""Page tables: shadow entries and the tables they are in, and what each paging mode adds."""

from sharesim.spec.paging import Direct, Native, Nested, PagingSpec, Shadow
from sharesim.spec.scenario import Paravirtual, Scanner, Scenario
from sharesim.spec.workloads import PageTableActivity, RandomAccess
from tests.golden.case import (
    DIRECT,
    FAULT,
    SCAN,
    SHADOW,
    US,
    common,
    costs,
    golden,
    own,
    page_tables,
    read,
    run,
    scan,
    script,
    switch,
    untouched,
    vm,
    write,
)

# Shadow entries are filled one by one


@golden()
def hidden_fault() -> Scenario:
    """Shadow paging: the first access to a page fills its entry, in a fault that no guest sees.

    0    a reads a.0: exit 50 + fill 15, and a table for it 7 = 72; at 72 the read, work until 82
    82   a reads a.1, whose entry is in the same table: 65; at 147 the read, work until 157
    157  a reads a.0 again: its entry is in place
    """
    return run(
        vm("a", own(2), workload=script(read(0), read(1), read(0))),
        us=300,
        cost=costs(FAULT, SHADOW),
        paging=Shadow(),
    )


@golden()
def hidden_fault_on_first_touch() -> Scenario:
    """Shadow paging: the fault that brings the frame fills the entry, too.

    0    exit 50 + handler 40 + fill 15, frame 5, zero fill 60, the page's own mapping 20, a table 7
         = 197; at 197 the read, work until 207
    207  a writes a.0: nothing is missing
    """
    return run(
        vm("a", untouched(), workload=script(read(), write())),
        us=300,
        cost=costs(FAULT, SHADOW),
        paging=Shadow(),
    )


@golden()
def two_address_spaces() -> Scenario:
    """Shadow paging: a page that two address spaces map has two entries, in a table of each space.

    0    a reads a.0 in its first space: 65 + a table 7; at 72 the read, until 82
    82   switch 80, work 10
    172  a reads a.0 in its second space: an entry and a table again, 72; at 244 the read, until 254
    254  switch 80, work 10: back in the first space
    344  a reads a.0: the entry is still in place
    354  a reads a.1, which one entry maps: 65; at 419 the read, until 429
    429  switch 80, work 10; at 519 a reads a.1: it has one entry only, which is in place
    """
    return run(
        vm(
            "a",
            own(map_count=2),
            own(),
            workload=script(read(), switch(), read(), switch(), read(), read(1), switch(), read(1)),
        ),
        us=600,
        cost=costs(FAULT, SHADOW),
        paging=Shadow(),
    )


@golden()
def pool_of_one_table() -> Scenario:
    """Shadow paging with a pool of one table: two address spaces evict each other's.

    0    a reads a.0: 72; at 72 the read, until 82; switch 90
    172  the second space needs a table: the first's is torn down 7 and its entry cleared 6 = 13;
         then 65 + table 7: 85 in all; at 257 the read, until 267; switch 90
    357  back in the first space everything is gone: 85 again, the guest's paging and nobody's
         sharing; at 442 the read
    """
    return run(
        vm("a", own(map_count=2), workload=script(read(), switch(), read(), switch(), read())),
        us=500,
        cost=costs(FAULT, SHADOW),
        paging=Shadow(pool=1),
    )


@golden()
def pool_of_two_tables() -> Scenario:
    """Shadow paging: tables are evicted round robin. A table has the entries of 512 pages.

    0    a reads a.0: 72; at 72 the read, until 82; at 82 a.512: 72; at 154 the read, until 164
    164  a.1024 needs a third table: that of a.0 on is evicted 7 + 6, 65 + 7: 85; read at 249
    259  a.0: that of a.512 on is evicted: 85; read at 344
    354  a.512: that of a.1024 on is evicted: 85; read at 439
    449  a.0: in place
    """
    return run(
        vm(
            "a",
            own(1025),
            workload=script(read(0), read(512), read(1024), read(0), read(512), read(0)),
        ),
        us=500,
        cost=costs(FAULT, SHADOW),
        paging=Shadow(pool=2),
    )


# Sharing under shadow paging


def _pair(paging: PagingSpec, after: int, us: int) -> Scenario:
    """Two guests use an equal page, b in two address spaces; merged from 300 on; used again."""
    again = (after, read(), switch(), read(), write(), switch(), read())
    return run(
        vm("a", common("kernel", map_count=2), workload=script(read(), after + 172, read())),
        vm(
            "b",
            common("kernel", map_count=2),
            workload=script(read(), switch(), read(), *again),
        ),
        us=us,
        cost=costs(SCAN, FAULT, SHADOW),
        sharing=scan(2, scanner=Scanner(start=300 * US)),
        paging=paging,
    )


@golden()
def shadow_merge_and_break() -> Scenario:
    """Shadow paging: a merge protects and clears the entries that are filled; an rmap finds them.

    0    a reads a.0 in one space of two: 72; b reads b.0: 72, until 82, switch until 172, and in
         its second space: 72, until 254
    300  a.0: 16; at 316 b.0 finds it: 21
    337  protected: of a.0 one entry, found in 1: 1 + 10; of b.0 two: 2 + 20 = 33 in all
    370  compared, hot, 4; both entries of b.0 are found 2 and cleared 12 = 18; until 388
    400  b reads b.0 in its second space: exit 50 + fill 15 = 65, which is sharing's cost now;
         a reads a.0, whose entry was left in place. At 465 b's read, until 475, switch until 565
    565  b reads b.0 in its first space: 65; at 630 the read, until 640
    640  b writes b.0: exit 50 + handler 40, frame 5, copy 70, its entry 20; the entry of the other
         space is found 1 and cleared 6 = 192; at 832 the write, until 842, switch until 932
    932  b reads b.0 in its second space: filled again, 65, by sharing's fault; at 997 the read
    """
    return _pair(Shadow(), 146, 1_100)


@golden()
def shadow_merge_without_rmap() -> Scenario:
    """Shadow paging, rmap="none": all of the guest's tables in use are searched, 9 each.

    0    as in "shadow merge and break": a has one table, b two; until 254
    300  a.0: 16; at 316 b.0: 21
    337  protected: of a.0 one entry, 9 + 10; of b.0 two: 18 + 20 = 57 in all
    394  compared 4, two tables searched 18, two entries cleared 12 = 34; until 428
    500  b's refill 65; at 565 the read, until 575, switch until 665; at 665 refill 65
    740  b writes b.0: 50 + 40, frame 5, copy 70, entry 20, two tables searched 18, one entry
         cleared 6 = 209; at 949 the write, until 959, switch until 1049; then refill 65
    """
    return _pair(Shadow(rmap="none"), 246, 1_200)


@golden()
def shadow_last_sharer() -> Scenario:
    """Shadow paging: nothing is in place, so a merge touches no entry; the first to come fills it.

    0    a.0: 16; at 16 b.0 finds it: 21; at 37 protected, in no time; at 37 compared 4; until 41
    100  b writes b.0: 50 + 40, frame 5, copy 70, its entry 20, a table 7 = 192; at 292 the write
    300  a, the last sharer, writes a.0: 50 + 40 + its entry 20 + a table 7 = 117; at 417 the write
    """
    return run(
        vm("a", common("kernel"), workload=script(300, write())),
        vm("b", common("kernel"), workload=script(100, write())),
        us=500,
        cost=costs(SCAN, FAULT, SHADOW),
        sharing=scan(2),
        paging=Shadow(),
    )


@golden()
def shadow_write_between_protect_and_merge() -> Scenario:
    """Shadow paging: a write in the middle of a merge makes its page's entries writable again.

    0    a reads a.0 and b reads b.0: 72 each, until 82
    100  a.0: 16; at 116 b.0: 21; at 137 one entry of each is found and protected: 2 x 11 = 22
    145  b writes b.0: exit 50 + handler 40, its entry found 1 and changed 10 = 101; write at 246
    159  the scanner finds b.0 writable: the entry of a.0 is made writable again, 11; it gives up
    """
    return run(
        vm("a", common("kernel"), workload=script(read())),
        vm("b", common("kernel"), workload=script(read(), 63, write())),
        us=300,
        cost=costs(SCAN, FAULT, SHADOW),
        sharing=scan(2, scanner=Scanner(start=100 * US)),
        paging=Shadow(),
    )


@golden()
def shadow_write_before_protect() -> Scenario:
    """Shadow paging: a write after the visit, by an entry that is in place, is seen by the compare.

    0    a reads a.0 and b reads b.0: 72 each, until 82
    100  a.0: 16; at 116 b.0 is found equal: 21
    130  b writes b.0, without a fault
    137  protected: 2 x 11 = 22; at 159 they differ, 6, and are made writable again, 22: 28
    """
    return run(
        vm("a", common("kernel"), workload=script(read())),
        vm("b", common("kernel"), workload=script(read(), 48, write())),
        us=300,
        cost=costs(SCAN, FAULT, SHADOW),
        sharing=scan(2, scanner=Scanner(start=100 * US)),
        paging=Shadow(),
    )


# A guest's own page-table activity, in each paging mode


def _activity(paging: PagingSpec, us: int) -> Scenario:
    """One operation of 210 us: two faults, four updates, a table, a switch, one access."""
    counts = PageTableActivity(faults=2, updates=4, tables=1, switches=1)
    operation = RandomAccess(region=1, op_time=210 * US, ops=1, activity=counts)
    return run(
        vm("a", own(), workload=script(operation)),
        us=us,
        cost=costs(FAULT, SHADOW, DIRECT, walk_native=1, walk_nested=3, tlb_entries=4),
        paging=paging,
    )


@golden()
def page_tables_natively() -> Scenario:
    """Natively, page-table activity is part of the operation's 210 us of work and costs no more.

    Six steps of 35: 0 and 35 faults, each with one update; at 70 the other two updates; at 105 the
    table; at 140 the switch; at 175 the access. Over at 210
    """
    return _activity(Native(), 400)


@golden()
def page_tables_nested() -> Scenario:
    """Nested paging adds nothing but longer walks, here after the switch: 1 entry x (3 - 1) = 2.

    Six steps of 35, as natively; the access at 175 + 2 = 177. Over at 212
    """
    return _activity(Nested(), 400)


@golden()
def page_tables_shadow() -> Scenario:
    """Shadow paging bounces each fault, traps each update, tears a table down, takes switches.

    Updates are not batched, so there are seven steps, with 30 of work each:
    0    fault 110 + update 35, which fills the entry of a.0: a table 7 = 152; until 182
    182  fault 110 + update 35 = 145, until 357; at 357 and 422 an update, 35 each, until 487
    487  a table made and dropped 2 x 7, until 531; at 531 switch 80, until 641
    641  the access finds its entry in place. Over at 671: 210 of work, 461 of paging
    """
    return _activity(Shadow(), 700)


@golden()
def page_tables_direct() -> Scenario:
    """Direct paging hands each fault to the guest; updates, pins and switches are hypercalls.

    Six steps, with 35 of work each:
    0    fault 8 + hypercall 12 + update 3 = 23, until 58; the same again, until 116
    116  the other two updates in one hypercall: 12 + 6 = 18, until 169
    169  a table is pinned, and unpinned: 2 x (12 + 11) = 46, until 250; at 250 switch 25, until 310
    310  the access: there are no hidden faults. Over at 345: 210 of work, 135 of paging
    """
    return _activity(Direct(), 400)


@golden()
def batches_of_updates() -> Scenario:
    """Direct paging: at most 2,048 updates go in one hypercall, at 1 each.

    0     2,048 updates: 12 + 2048 = 2060, work 10
    2070  2,049 updates, the first 2,048 of them: 2060, and half the operation's work 10; at 4140
          the last: 12 + 1 = 13, work 10. Three hypercalls
    """
    work = script(page_tables(10, updates=2048), page_tables(20, updates=2049))
    return run(
        vm("a", own(), workload=work),
        us=4_200,
        cost=costs(DIRECT, pt_validate=1),
        paging=Direct(),
    )


@golden()
def typed_page_tables() -> Scenario:
    """Direct paging: page tables are typed frames, which are pinned; equal or not, no two share.

    0    the scanner passes over a.0, and at 1 over b.0: a scan step 1 each, no digest, no offer
    """
    guests = (vm(name, common("table", page_class="page-table")) for name in "ab")
    return run(
        *guests,
        us=200,
        cost=costs(SCAN, DIRECT),
        sharing=scan(2, paravirtual=Paravirtual()),
        paging=Direct(),
    )
