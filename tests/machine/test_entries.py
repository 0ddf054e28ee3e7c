"""Entries of pages and the shadow tables they are in, against a model in sets; their invariants."""

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from sharesim.machine import tables as t
from sharesim.machine.check import B_ENTRIES, B_FRAMES, B_TABLES, check_all
from sharesim.machine.entries import entries_of, entry_in_place, fill_entry
from sharesim.machine.tables import MOVED, PROTECTED, READ_ONLY, REFILL, SPACES, TABLE_PAGES
from sharesim.spec.paging import Direct, Native, Nested, PagingSpec, Shadow
from tests.hypervisor.bench import Bench
from tests.hypervisor.spaces import enter, in_place, use

A, B = 1, 9
"""A page of guest 0 and one of guest 1."""
X, Y = 7_001, 7_002


# Which entries a page has


@pytest.mark.parametrize("map_count", [1, 2, 3, 7, 8, 9, 255])
def test_each_address_space_fills_the_entry_of_its_own_once(map_count: int) -> None:
    bench = Bench(paging=Shadow())
    bench.mem.pages["map_count"][A] = map_count
    bench.fill({A: X})
    slots = min(map_count, SPACES)
    filled: set[int] = set()
    for space in (0, 3, 3, 1, 2, *range(20)):
        fresh = space % slots not in filled
        assert (use(bench, A, space) > 0) == fresh
        filled.add(space % slots)
        assert in_place(bench, A) == filled
        assert bench.flag(A, REFILL) == (len(filled) < slots)
        bench.check()
    assert bench.total(t.T_HIDDEN_FAULTS) == slots


def test_vcpus_in_one_address_space_have_one_entry() -> None:
    bench = Bench((8,), vcpus=2, paging=Shadow())
    bench.mem.pages["map_count"][A] = 2
    bench.fill({A: X})
    use(bench, A, 0)
    assert entry_in_place(bench.mem, bench.cost, 1, A)
    bench.mem.vcpus[1]["space"] = 1
    assert not entry_in_place(bench.mem, bench.cost, 1, A)


MODES: dict[str, tuple[PagingSpec, int, str]] = {
    "native": (Native(), 5, "rmap_step"),
    "nested": (Nested(), 1, ""),
    "direct": (Direct(), 5, "rmap_step"),
    "shadow": (Shadow(), 3, "rmap_step"),
}


@pytest.mark.parametrize("name", MODES)
def test_a_change_touches_the_entries_that_the_mode_has(name: str) -> None:
    paging, count, step = MODES[name]
    bench = Bench(paging=paging)
    bench.mem.pages["map_count"][A] = 5
    bench.fill({A: X})
    for space in (0, 1, 4):
        use(bench, A, space)
    ns = count * bench.primitives[step] if step else 0
    assert entries_of(bench.mem, bench.cost, A) == (count, ns)


def test_without_an_rmap_all_tables_are_searched_if_there_is_anything_to_find() -> None:
    bench = Bench((TABLE_PAGES * 2, 8), frames=2_000, paging=Shadow(rmap="none"))
    far = TABLE_PAGES + 1
    bench.mem.pages["map_count"][[A, far]] = 3
    bench.fill({A: X, 2: X, far: X, TABLE_PAGES * 2: X})
    use(bench, far, 0)
    use(bench, far, 2)
    use(bench, TABLE_PAGES * 2)  # the other guest's table is not searched
    search = bench.primitives["shadow_search"]
    assert entries_of(bench.mem, bench.cost, A) == (0, 0)
    assert entries_of(bench.mem, bench.cost, far) == (2, 2 * search)
    use(bench, A, 1)
    assert entries_of(bench.mem, bench.cost, A) == (1, 3 * search)
    assert entries_of(bench.mem, bench.cost, far) == (2, 3 * search)


@pytest.mark.parametrize("paging", [Native(), Nested()], ids=["native", "nested"])
def test_where_entries_are_not_told_apart_one_refill_mends_all(paging: PagingSpec) -> None:
    bench = Bench(paging=paging)
    bench.mem.pages["map_count"][A] = 3
    bench.fill({A: X})
    bench.set_flags(A, REFILL | MOVED)
    assert use(bench, A, 1) == bench.cost_of("refill_fault")
    assert use(bench, A, 2) == 0 and not bench.flag(A, REFILL | MOVED)


# Shadow tables


class Model:
    """What should be in place, in sets: of (page, slot), and for each guest of (slot, block).

    Each operation is done on the bench and in the sets.
    """

    def __init__(self, bench: Bench, pool: int) -> None:
        self.bench, self.pool = bench, pool
        self.entries: set[tuple[int, int]] = set()
        self.tables: list[list[tuple[int, int]]] = [[] for _ in bench.sizes]
        self.hands = [0 for _ in bench.sizes]
        self.evictions = self.fills = 0

    def read(self, page: int, space: int) -> None:
        """An access; a first touch brings the frame, and fills the entry without another fault."""
        there = self.bench.frame(page) is not None
        use(self.bench, page, space)
        self.fills += self._fill(page, space) and there

    def write(self, page: int, space: int, content: int) -> None:
        """A write; a copy is mapped by the entry of who wrote, and by no other."""
        before, missing = self.bench.frame(page), not self.bench.flag(page, READ_ONLY)
        enter(self.bench, page, space)
        assert self.bench.write(page, content)
        if before not in (None, self.bench.frame(page)):
            self._lose(page)
        fresh = self._fill(page, space)
        self.fills += fresh and missing and before is not None

    def merge(self, page: int, other: int) -> None:
        """A merge; the page that moves loses its entries."""
        before = {one: self.bench.frame(one) for one in (page, other)}
        self.bench.merge(page, other)
        for one, frame in before.items():
            if self.bench.frame(one) != frame:
                self._lose(one)

    def release(self, page: int) -> None:
        """The guest gives a page back."""
        self.bench.release(page)
        self._lose(page)

    def stop(self, vm: int) -> None:
        """A guest ends."""
        self.bench.stop(vm)
        self.tables[vm] = []
        for page in PAGES:
            if self.bench.vm_of(page) == vm:
                self._lose(page)

    def _fill(self, page: int, space: int) -> bool:
        """The entry is in place from now on; whether it was not."""
        slot = space % min(int(self.bench.mem.pages[page]["map_count"]), SPACES)
        if (page, slot) in self.entries:
            return False
        vm = self.bench.vm_of(page)
        table = slot, (page - self.bench.firsts[vm]) // TABLE_PAGES
        if table not in self.tables[vm]:
            if len(self.tables[vm]) == self.pool:
                self._evict(vm)
            self.tables[vm].append(table)
        self.entries.add((page, slot))
        return True

    def _evict(self, vm: int) -> None:
        blocks = -(-self.bench.sizes[vm] // TABLE_PAGES)
        order = [(slot, block) for slot in range(SPACES) for block in range(blocks)]
        order = order[self.hands[vm] :] + order[: self.hands[vm]]
        slot, block = gone = next(table for table in order if table in self.tables[vm])
        self.tables[vm].remove(gone)
        self.hands[vm] = (slot * blocks + block + 1) % len(order)
        first = self.bench.firsts[vm] + block * TABLE_PAGES
        last = min(first + TABLE_PAGES, self.bench.firsts[vm] + self.bench.sizes[vm])
        self.entries -= {(page, slot) for page in range(first, last)}
        self.evictions += 1

    def _lose(self, page: int) -> None:
        self.entries -= {(page, slot) for slot in range(SPACES)}

    def compare(self) -> None:
        """The bench has what the sets have."""
        bench = self.bench
        assert {(page, slot) for page in PAGES for slot in in_place(bench, page)} == self.entries
        used = [len(tables) for tables in self.tables]
        assert bench.mem.vms["pool_used"].tolist() == used and max(used) <= self.pool
        assert bench.total(t.T_SHADOW_TABLES) == sum(used) == bench.mem.shadow.sum()
        assert bench.total(t.T_SHADOW_EVICTIONS) == self.evictions
        assert bench.total(t.T_HIDDEN_FAULTS) + bench.total(t.T_REFILLS) == self.fills


SIZES = (2 * TABLE_PAGES + 40, TABLE_PAGES, 30)
PAGES = (0, 1, 2, 511, 512, 513, 1023, 1024, 1063, 1064, 1065, 1575, 1576, 1577, 1605)
"""Of the first guest those around the edges of its tables, and its last; then of the others."""


@pytest.mark.parametrize("pool", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("seed", range(3))
def test_entries_and_tables_are_those_of_the_model(seed: int, pool: int) -> None:
    random = Random(f"{seed} {pool}")
    bench = Bench(SIZES, frames=64, paging=Shadow(), pool=pool)
    for page in PAGES:
        bench.mem.pages["map_count"][page] = random.choice((1, 1, 2, 3, 8, 40))
    model = Model(bench, pool)
    for step in range(300):
        page, space, what = random.choice(PAGES), random.randrange(10), random.random()
        if what < 0.5:
            model.read(page, space)
        elif what < 0.75:
            model.write(page, space, random.randrange(1, 4))
        elif what < 0.97:
            equal = [one for one in PAGES if bench.content(one) == bench.content(page)]
            model.merge(page, random.choice(equal))
        else:
            model.release(page)
        model.compare()
        if step % 20 == 0:
            bench.check()
    assert bench.total(t.T_MERGES) > 5 and bench.total(t.T_COW_BREAKS) > 5
    assert (model.evictions > 0) == (pool < 24)
    for vm in (1, 0, 2):
        model.stop(vm)
        model.compare()
        bench.check()


def test_the_table_of_an_entry_is_set_up_once_and_torn_down_with_what_is_in_it() -> None:
    bench = Bench((TABLE_PAGES + 8, 8), frames=600, paging=Shadow(), pool=1)
    bench.fill({0: X, 1: X, 2: X, TABLE_PAGES: X})
    trap, table = bench.cost_of("refill_fault"), bench.primitives["shadow_table"]
    assert use(bench, 0) == trap + table
    assert use(bench, 1) == use(bench, 2) == trap
    evicted = table + 3 * bench.primitives["entry_zap"]
    assert use(bench, TABLE_PAGES) == trap + table + evicted
    assert bench.kinds().count(t.E_EVICT) == 1
    row = bench.mem.log[bench.kinds().index(t.E_EVICT)].tolist()
    assert row[1:] == [evicted, t.E_EVICT, 0, 0, -1]
    bench.check()


def test_an_eviction_flushes_the_guests_other_vcpus() -> None:
    bench = Bench((TABLE_PAGES + 8,), frames=600, vcpus=3, paging=Shadow(), pool=1)
    bench.fill({0: X, TABLE_PAGES: X})
    bench.mem.vcpus["refill_entries"] = 0
    bench.mem.vcpus["running"] = 1, 1, 0
    alone = use(bench, 0)
    table = bench.primitives["shadow_table"]
    flush = bench.primitives["flush_base"] + bench.primitives["flush_per_cpu"]
    evicted = table + bench.primitives["entry_zap"] + flush
    assert use(bench, TABLE_PAGES) == alone + evicted
    assert bench.mem.vcpus["debt"].tolist() == [0, bench.primitives["flush_target"], 0]
    assert bench.mem.vcpus["flush_due"].tolist() == [0, 0, 1]


@pytest.mark.parametrize("shared", [False, True])
def test_what_an_eviction_took_is_filled_again_on_behalf_of_paging(shared: bool) -> None:
    bench = Bench((TABLE_PAGES + 8, 8), frames=600, paging=Shadow(), pool=1)
    other = TABLE_PAGES + 9
    bench.fill({0: X, TABLE_PAGES: Y, other: X})
    if shared:
        use(bench, 0)
        bench.must_merge(0, other)
        use(bench, 0)
        assert bench.causes == [t.SHARING]
    else:
        use(bench, 0)
        assert bench.causes == [t.PAGING]
    use(bench, TABLE_PAGES)
    assert bench.flag(0, REFILL) and not bench.flag(0, MOVED)
    use(bench, 0)
    assert bench.causes == [t.PAGING]
    assert bench.flag(0, READ_ONLY) == shared


def test_an_eviction_takes_the_entries_of_one_space_and_one_guest_only() -> None:
    bench = Bench((8, 8), paging=Shadow(), pool=2)
    bench.mem.pages["map_count"] = 3
    bench.fill({A: X, B: Y})
    for page in (A, B):
        use(bench, page, 0)
        use(bench, page, 1)
    use(bench, A, 2)
    assert in_place(bench, A) == {1, 2} and in_place(bench, B) == {0, 1}
    bench.check()


def test_a_guest_that_stops_gives_its_tables_back() -> None:
    bench = Bench((8, 8), paging=Shadow(), pool=4)
    bench.mem.pages["map_count"] = 3
    bench.fill({A: X, B: Y})
    for space in range(3):
        use(bench, A, space)
        use(bench, B, space)
    bench.stop(0)
    assert bench.mem.vms["pool_used"].tolist() == [0, 3]
    assert bench.total(t.T_SHADOW_TABLES) == bench.mem.shadow.sum() == 3
    assert in_place(bench, A) == set() and in_place(bench, B) == {0, 1, 2}
    bench.check()


@pytest.mark.parametrize("how", ["release", "balloon"])
def test_a_page_without_frame_has_no_entry(how: str) -> None:
    bench = Bench(paging=Shadow())
    bench.mem.pages["map_count"][A] = 2
    bench.fill({A: X})
    use(bench, A, 0)
    use(bench, A, 1)
    bench.release(A) if how == "release" else bench.inflate(0, 1, start=A)
    assert bench.frame(A) is None and in_place(bench, A) == set()
    bench.check()
    use(bench, A, 1)  # its frame comes with the entry of the space that touched it
    assert in_place(bench, A) == {1}
    bench.check()


def test_filling_what_is_in_place_costs_nothing() -> None:
    bench = Bench(paging=Shadow())
    bench.fill({A: X})
    use(bench, A)
    assert fill_entry(bench.mem, bench.cost, 0, A, 0) == 0


# What check mode finds


def marks(bench: Bench, page: int, flags: int) -> None:
    """Give a page these flags and no others."""
    bench.mem.pages["flags"][page] = flags


def entries(bench: Bench, page: int, mask: int) -> None:
    """Say which entries of a page are in place."""
    bench.mem.pages["entries"][page] = mask


def add(bench: Bench, total: int, more: int) -> None:
    """Change a running total."""
    bench.mem.totals[total] += more


def lose_a_reserved_frame(bench: Bench) -> None:
    """Count as waiting for a flush what nobody holds."""
    bench.mem.totals[t.T_RESERVED] -= 1
    bench.mem.totals[t.T_PENDING] += 1


SPOILS: dict[str, tuple[Callable[[Bench], object], int]] = {
    "an entry without its table": (lambda bench: bench.mem.shadow.fill(0), B_ENTRIES),
    "a missing entry that is not marked": (lambda bench: marks(bench, A, 0), B_ENTRIES),
    "a missing entry that is only marked as moved": (
        lambda bench: marks(bench, A, MOVED),
        B_ENTRIES,
    ),
    "a mark though nothing is missing": (lambda bench: marks(bench, B, REFILL), B_ENTRIES),
    "an entry moved though none is missing": (lambda bench: marks(bench, B, MOVED), B_ENTRIES),
    "an entry of a space that has none": (lambda bench: entries(bench, A, 0b101), B_ENTRIES),
    "an entry of a page without frame": (lambda bench: entries(bench, 2, 1), B_ENTRIES),
    "a table that is not counted": (lambda bench: bench.mem.shadow.put(5, 1), B_TABLES),
    "a table too many counted": (lambda bench: add(bench, t.T_SHADOW_TABLES, 1), B_TABLES),
    "more tables than the pool has": (lambda bench: bench.mem.vms["pool"].fill(0), B_TABLES),
    "a frame that waits for no flush": (lose_a_reserved_frame, B_FRAMES),
}


@pytest.mark.parametrize("what", SPOILS)
def test_check_mode_finds(what: str) -> None:
    spoil, breach = SPOILS[what]
    bench = Bench((8, 8), paging=Shadow())
    bench.mem.pages["map_count"][A] = 2
    bench.fill({A: X, B: Y})
    use(bench, A)
    use(bench, B)
    bench.check()
    spoil(bench)
    assert not check_all(bench.mem, np.zeros(len(bench.mem.frames), np.int64))
    assert bench.total(t.T_BREACH) == breach


def test_a_fault_finds_what_is_wrong_around_its_page() -> None:
    bench = Bench((8, 8), paging=Shadow())
    bench.mem.pages["map_count"][A] = 3
    bench.fill({A: X})
    use(bench, A, 0)
    bench.mem.shadow[0] = 0
    use(bench, A, 1)
    assert bench.total(t.T_BREACH) == B_ENTRIES and bench.total(t.T_BREACH_PAGE) == A


def test_protected_pages_keep_their_entries() -> None:
    bench = Bench(paging=Shadow())
    bench.fill({A: X, B: X})
    use(bench, A)
    bench.protect(A, B)
    assert bench.flag(A, PROTECTED) and in_place(bench, A) == {0}
    bench.check()
