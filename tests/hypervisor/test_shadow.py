"""Faults, merges and breaks under shadow paging: what each costs, and on whose account."""

from typing import Any

import pytest

from sharesim.hypervisor.merge import ABORTED, MERGED, PENDING
from sharesim.machine import tables as t
from sharesim.machine.tables import MOVED, READ_ONLY, REFILL, ZERO
from sharesim.spec.paging import Nested, Shadow
from tests.hypervisor.bench import Bench
from tests.hypervisor.spaces import enter, in_place, use

A, B = 1, 9
"""A page of guest 0 and one of guest 1."""
X, Y = 7_001, 7_002


def shadow(*, map_count: int = 1, rmap: Any = "entries", scale: float = 1.0, **more: Any) -> Bench:
    """Two guests under shadow paging, A and B equal; flushes cost nothing."""
    bench = Bench(paging=Shadow(rmap=rmap, scale=scale), **more)
    bench.mem.vcpus["running"] = 0
    bench.mem.pages["map_count"] = map_count
    bench.fill({A: X, B: X})
    return bench


def merged(*, used: int, **more: Any) -> Bench:
    """A and B merged (A moved) after A was used in that many address spaces."""
    bench = shadow(**more)
    for space in range(used):
        use(bench, A, space)
    bench.must_merge(A, B)
    return bench


# Costs of a fault, by the primitives of the profile


def test_the_traps_of_the_cost_row() -> None:
    bench = shadow()
    p = bench.primitives
    trap = p["exit"] + p["violation_handler"]
    assert bench.cost_of("write_fault") == bench.cost_of("unprotect_fault") == trap
    assert bench.cost_of("populate_fault") == trap + p["shadow_fill"]
    assert bench.cost_of("refill_fault") == p["exit"] + p["shadow_fill"]
    for kind in ("update", "protect", "zap"):
        assert bench.cost_of(f"entry_{kind}") == p[f"entry_{kind}"]


def test_the_scale_is_that_of_keeping_shadow_tables_and_of_nothing_else() -> None:
    whole, quarter = shadow(), shadow(scale=0.25)
    p = whole.primitives
    scaled = {
        "guest_fault": "bounce_shadow",
        "single_update": "pt_sync",
        "batch_update": "pt_sync",
        "address_switch": "switch_shadow",
        "table_setup": "shadow_table",
        "table_search": "shadow_search",
    }
    for field, primitive in scaled.items():
        assert whole.cost_of(field) == p[primitive]
        assert quarter.cost_of(field) == round(p[primitive] / 4)
    assert quarter.cost_of("refill_fault") == round(p["exit"] / 4) + round(p["shadow_fill"] / 4)
    entries = ("entry_update", "entry_protect", "entry_zap", "rmap_step", "walk")
    for field in (*entries, "copy", "zero_fill", "frame_alloc", "digest_cold", "flush_base"):
        assert whole.cost_of(field) == quarter.cost_of(field)
    nothing = shadow(scale=0.0)
    assert nothing.cost_of("guest_fault") == nothing.cost_of("address_switch") == 0
    assert nothing.cost_of("refill_fault") == nothing.cost_of("write_fault") == 0


def test_walks_are_those_of_one_level_of_tables() -> None:
    bench = shadow()
    assert bench.cost_of("walk") == bench.cost_of("walk_native") == bench.primitives["walk_native"]
    assert Bench(paging=Nested()).cost_of("walk") == bench.primitives["walk_nested"]


def test_a_first_touch_fills_the_entry_in_the_same_fault() -> None:
    bench = shadow(map_count=2)
    names = ("populate_fault", "frame_alloc", "zero_fill", "entry_update", "table_setup")
    assert use(bench, 3, 1) == sum(bench.cost_of(name) for name in names)
    assert bench.causes == [t.PAGING] and in_place(bench, 3) == {1}
    assert bench.total(t.T_POPULATES) == 1 and bench.total(t.T_HIDDEN_FAULTS) == 0
    assert use(bench, 3, 1, write=True) == 0
    bench.check()


def test_a_hidden_fault_is_counted_and_logged_as_such() -> None:
    bench = shadow()
    ns = use(bench, A)
    assert ns == bench.cost_of("refill_fault") + bench.cost_of("table_setup")
    assert bench.causes == [t.PAGING]
    assert bench.kinds() == [t.E_HIDDEN] and bench.mem.log[0, 1] == ns
    assert bench.total(t.T_HIDDEN_FAULTS) == 1 and bench.total(t.T_REFILLS) == 0
    assert bench.mem.latency[0, t.L_HIDDEN].sum() == bench.mem.latency[0].sum() == 1
    assert bench.mem.vms["faults"].tolist() == [1, 0]


# Merging


def merge_ns(bench: Bench, page: int, partner: int) -> tuple[int, int]:
    """ns of both steps of a merge, as logged."""
    bench.mem.totals[t.T_LOG_COUNT] = 0
    bench.must_merge(page, partner)
    assert bench.kinds() == [t.E_PROTECT, t.E_MERGE]
    return int(bench.mem.log[0, 1]), int(bench.mem.log[1, 1])


@pytest.mark.parametrize("rmap", ["entries", "none"])
@pytest.mark.parametrize("used", range(4))
def test_a_merge_protects_and_zaps_what_is_filled(used: int, rmap: Any) -> None:
    bench = shadow(map_count=3, rmap=rmap)
    for space in range(used):
        use(bench, A, space)
    use(bench, B, 1)
    protected, remapped = merge_ns(bench, A, B)
    p = bench.primitives
    mine = used * p["rmap_step"] if rmap == "entries" else used * p["shadow_search"]
    other = p["rmap_step"] if rmap == "entries" else p["shadow_search"]
    assert protected == mine + other + (used + 1) * p["entry_protect"]
    found = bench.cost_of("compare_hot") + bench.cost_of("lock_hold") + p["frame_free"]
    assert remapped == found + mine + used * p["entry_zap"]
    assert in_place(bench, A) == set() and in_place(bench, B) == {1}
    assert bench.flag(A, REFILL) and bench.flag(A, READ_ONLY)
    bench.check()


def test_a_page_that_is_read_only_already_is_not_protected_again() -> None:
    bench = merged(used=1)
    bench.fill({2: X})
    use(bench, 2)
    protected, _remapped = merge_ns(bench, 2, B)
    assert protected == bench.primitives["rmap_step"] + bench.primitives["entry_protect"]


@pytest.mark.parametrize("used", [1, 2, 3])
def test_what_a_merge_took_is_filled_again_by_sharing(used: int) -> None:
    bench = merged(used=used, map_count=used)
    hidden = bench.total(t.T_HIDDEN_FAULTS)
    for space in range(used):
        assert use(bench, A, space) == bench.cost_of("refill_fault")  # the table is still there
        assert bench.causes == [t.SHARING]
        assert bench.flag(A, MOVED) == (space < used - 1)
        bench.check()
    assert bench.total(t.T_REFILLS) == used and bench.total(t.T_HIDDEN_FAULTS) == hidden
    assert bench.mem.latency[0, t.L_REFILL].sum() == used
    use(bench, B)  # the page that stayed was not used before: its first entry is paging's
    assert bench.causes == [t.PAGING]


@pytest.mark.parametrize("used", [False, True])
def test_a_first_use_is_pagings_even_after_a_merge(used: bool) -> None:
    bench = merged(used=used)
    assert bench.flag(A, REFILL) and bench.flag(A, MOVED) == used
    ns = bench.cost_of("refill_fault") + (not used) * bench.cost_of("table_setup")
    assert use(bench, A) == ns
    assert bench.causes == [t.SHARING if used else t.PAGING]


def test_the_page_that_stays_keeps_its_entries_read_only() -> None:
    bench = shadow()
    use(bench, B)
    bench.must_merge(A, B)
    assert use(bench, B) == 0
    assert bench.flag(B, READ_ONLY) and not bench.flag(B, REFILL)
    assert bench.frame(A) == bench.frame(B)


@pytest.mark.parametrize("written", [A, B])
@pytest.mark.parametrize("other_space", [False, True])
def test_a_write_in_the_middle_of_a_merge(written: int, other_space: bool) -> None:
    bench = shadow(map_count=2)
    for page in (A, B):
        use(bench, page, 0)
        use(bench, page, 1) if other_space else None
    p = bench.primitives
    assert bench.protect(A, B) == PENDING
    entries = 1 + other_space
    each = p["rmap_step"] + p["entry_protect"]
    assert use(bench, written, write=True) == bench.cost_of("unprotect_fault") + entries * each
    assert bench.causes == [t.SHARING]
    assert bench.write(written, Y)
    bench.mem.totals[t.T_LOG_COUNT] = 0
    assert bench.commit(A, B) == ABORTED
    assert bench.mem.log[0, 1] == entries * each  # the other page is writable again
    assert len(in_place(bench, A)) == len(in_place(bench, B)) == entries
    assert use(bench, A + B - written, write=True) == 0
    bench.check()


def test_a_write_in_the_middle_of_a_merge_by_an_entry_that_is_missing() -> None:
    bench = shadow()
    assert bench.protect(A, B) == PENDING
    names = ("unprotect_fault", "entry_update", "table_setup")
    assert use(bench, A, write=True) == sum(bench.cost_of(name) for name in names)
    assert in_place(bench, A) == {0}
    assert bench.write(A, Y) and bench.commit(A, B) == ABORTED
    bench.check()


@pytest.mark.parametrize("used", [False, True])
def test_a_write_before_the_merge_is_seen_by_the_compare(used: bool) -> None:
    bench = shadow()
    use(bench, A) if used else None
    assert bench.write(A, Y)
    assert bench.merge(A, B) == ABORTED
    assert (bench.content(A), bench.content(B)) == (Y, X)
    assert use(bench, A, write=True) == 0  # its entry was in place, and is writable again
    bench.check()


@pytest.mark.parametrize("partner", [B, ZERO])
def test_zero_pages_and_others_merge_alike(partner: int) -> None:
    bench = Bench(paging=Shadow())
    bench.fill({A: 0, B: 0, 2: 0})
    use(bench, A)
    if partner == ZERO:
        bench.must_merge(B, ZERO)
    bench.must_merge(A, partner)
    assert in_place(bench, A) == set() and bench.frame(A) == bench.frame(B)
    use(bench, A, write=True)
    assert bench.total(t.T_ZERO_BREAKS) == 1
    bench.check()


# Breaking


def break_ns(bench: Bench, space: int) -> int:
    """ns of a write to A, which is shared, from an address space."""
    breaks = bench.total(t.T_COW_BREAKS)
    bench.time += 1_000_000  # nobody else holds the lock any more
    ns = use(bench, A, space, write=True)
    assert bench.total(t.T_COW_BREAKS) == breaks + 1
    assert bench.causes == [t.SHARING]
    bench.check()
    return ns


def copied(bench: Bench) -> int:
    """ns of a break, without its entries."""
    names = ("write_fault", "lock_hold", "frame_alloc", "copy", "entry_update")
    return sum(bench.cost_of(name) for name in names)


@pytest.mark.parametrize("rmap", ["entries", "none"])
@pytest.mark.parametrize("again", range(4))
def test_a_break_mends_one_entry_and_zaps_the_others(again: int, rmap: Any) -> None:
    bench = merged(used=3, map_count=3, rmap=rmap)
    for space in range(again):  # of the three entries that were zapped
        use(bench, A, space)
    p = bench.primitives
    others = max(again - 1, 0)
    find = others * p["rmap_step"] if rmap == "entries" else 3 * p["shadow_search"] * (others > 0)
    assert break_ns(bench, 0) == copied(bench) + find + others * p["entry_zap"]
    assert in_place(bench, A) == {0}
    assert bench.frame(A) != bench.frame(B) and not bench.flag(A, READ_ONLY)
    assert use(bench, A, 0, write=True) == 0
    for space in (1, 2):
        assert use(bench, A, space, write=True) == bench.cost_of("refill_fault")
        assert bench.causes == [t.SHARING]
    assert not bench.flag(A, REFILL | MOVED)


def test_a_break_by_an_entry_that_is_missing_zaps_all_others() -> None:
    bench = merged(used=3, map_count=3)
    use(bench, A, 1)
    use(bench, A, 2)
    each = bench.primitives["rmap_step"] + bench.primitives["entry_zap"]
    assert break_ns(bench, 0) == copied(bench) + 2 * each
    assert in_place(bench, A) == {0}


def test_a_break_needs_a_table_where_it_has_none() -> None:
    bench = merged(used=0)
    assert break_ns(bench, 0) == copied(bench) + bench.cost_of("table_setup")


@pytest.mark.parametrize("last_sharer", ["reuse", "copy"])
@pytest.mark.parametrize("used", [False, True])
def test_the_last_sharer(used: bool, last_sharer: str) -> None:
    bench = merged(used=1, map_count=2, last_sharer=last_sharer)
    assert bench.write(B, Y)
    free = bench.total(t.T_FREE)
    enter(bench, A, 0)
    use(bench, A) if used else None
    p = bench.primitives
    ns = break_ns(bench, 0)
    if last_sharer == "copy":
        assert ns == copied(bench)
    else:  # the entry is made writable; one that is missing is written without being found
        took = bench.cost_of("write_fault") + bench.cost_of("lock_hold") + p["entry_update"]
        assert ns == took + used * p["rmap_step"]
    assert bench.total(t.T_REUSES) == (last_sharer == "reuse")
    assert in_place(bench, A) == {0} and bench.flag(A, REFILL)
    assert bench.total(t.T_FREE) == free
    assert use(bench, A, 0, write=True) == 0
    bench.check()


def test_a_break_for_which_there_is_no_frame_changes_no_entry() -> None:
    bench = shadow(frames=3)
    use(bench, A)
    bench.must_merge(A, B)
    use(bench, A)
    bench.fill({3: Y, 4: Y})
    before = [table.copy() for table in bench.mem]
    assert bench.access(A, write=True) is None
    for table, old in zip(bench.mem, before, strict=True):
        assert (table == old).all()


def test_merged_and_broken_again_and_again() -> None:
    bench = shadow(map_count=2)
    for _ in range(5):
        for space in range(2):
            use(bench, A, space)
            use(bench, B, space)
        assert bench.merge(A, B) == MERGED
        break_ns(bench, 1)
        assert in_place(bench, A) == {1}
        use(bench, A, 0)
        use(bench, B, write=True)
        bench.check()
    assert bench.total(t.T_REUSES) == 5 and bench.saved() == 0


# Clones


def test_a_clone_fills_its_entries_itself() -> None:
    bench = Bench((8, 8), started=(0,), paging=Shadow())
    bench.fill({A: X})
    use(bench, A)
    bench.clone(1, 0)
    assert bench.frame(B) == bench.frame(A)
    assert in_place(bench, A) == {0} and in_place(bench, B) == set()
    bench.check()
    trap = bench.cost_of("refill_fault") + bench.cost_of("table_setup")
    assert use(bench, B) == trap and bench.causes == [t.SHARING]
    bench.check()
