"""Direct paging: validated updates, typed page tables, entries that are rewritten in place."""

from typing import Any

import pytest

from sharesim.guest.activity import guest_fault, type_page
from sharesim.hypervisor.merge import INELIGIBLE, share_now
from sharesim.machine import tables as t
from sharesim.machine.entries import entries_of
from sharesim.machine.tables import MOVED, PINNED, PROTECTED, READ_ONLY, REFILL
from sharesim.spec.paging import Direct
from tests.hypervisor.bench import Bench
from tests.hypervisor.cooperation import guests
from tests.hypervisor.spaces import in_place, use

A, B = 1, 9
"""A page of guest 0 and one of guest 1."""
X, Y = 7_001, 7_002


def direct(*, cow: Any = "upcall", map_count: int = 2) -> Bench:
    """Two guests that take part in sharing, A and B equal; flushes cost nothing."""
    bench = guests(options={"cow": cow})
    bench.mem.vcpus["running"] = 0
    bench.mem.pages["map_count"] = map_count
    bench.fill({A: X, B: X})
    return bench


# Costs, by the primitives of the profile


@pytest.mark.parametrize("cow", ["upcall", "hypervisor"])
def test_the_traps_of_the_cost_row(cow: str) -> None:
    bench = direct(cow=cow)
    p = bench.primitives
    assert bench.cost_of("populate_fault") == p["hypercall"]
    handed_on = p["bounce_direct"] if cow == "upcall" else 0
    assert bench.cost_of("write_fault") == handed_on + p["hypercall"]
    assert bench.cost_of("refill_fault") == p["hypercall"] + p["pt_validate"]
    for kind in ("update", "protect", "zap"):
        assert bench.cost_of(f"entry_{kind}") == p["pt_validate"]
    assert bench.cost_of("walk") == p["walk_native"]


def test_the_guests_own_activity() -> None:
    bench = Bench(paging=Direct(batch=7))
    p = bench.primitives
    assert bench.cost_of("guest_fault") == p["bounce_direct"]
    assert bench.cost_of("single_update") == p["hypercall"] + p["pt_validate"]
    assert bench.cost_of("batch_call") == p["hypercall"]
    assert bench.cost_of("batch_update") == p["pt_validate"]
    assert bench.cost_of("batch") == 7
    assert bench.cost_of("address_switch") == p["switch_direct"]
    assert bench.cost_of("pin") == p["hypercall"] + p["pt_pin"]
    assert bench.cost_of("new_table") == 2 * bench.cost_of("pin")


def test_all_entries_are_changed_by_the_guests_own_rmap() -> None:
    bench = direct(map_count=5)
    assert entries_of(bench.mem, bench.cost, A) == (5, 5 * bench.primitives["rmap_step"])


# First touch, and what follows it


def test_a_first_touch_puts_all_entries_in_place() -> None:
    bench = direct(map_count=3)
    p = bench.primitives
    ns = p["hypercall"] + p["frame_alloc"] + p["zero_fill_cold"] + p["pt_validate"]
    assert use(bench, 3, 0) == ns and bench.causes == [t.PAGING]
    for space in range(5):
        assert use(bench, 3, space, write=True) == 0
    assert bench.total(t.T_HIDDEN_FAULTS) == bench.total(t.T_REFILLS) == 0
    bench.check()


def test_entries_that_are_rewritten_in_place_need_no_refill() -> None:
    bench = direct()
    bench.must_merge(A, B)
    assert not bench.flag(A, REFILL | MOVED) and use(bench, A) == 0


# Breaks


def shared(bench: Bench) -> None:
    """A and B share a frame, as after the protocol's last step."""
    share_now(bench.mem, bench.cost, A, B)
    bench.check()


def test_a_break_by_the_guest_writes_all_entries() -> None:
    bench = direct(map_count=3)
    shared(bench)
    p = bench.primitives
    ns = p["bounce_direct"] + p["hypercall"] + p["lock_hold"] + p["frame_alloc"] + p["copy_cold"]
    assert use(bench, A, write=True) == ns + 3 * (p["rmap_step"] + p["pt_validate"])
    assert bench.causes == [t.SHARING]
    assert bench.total(t.T_UPCALLS) == bench.total(t.T_COW_BREAKS) == 1
    for space in range(3):
        assert use(bench, A, space, write=True) == 0
    bench.check()


@pytest.mark.parametrize("map_count", [1, 3, 8, 200])
def test_a_break_by_the_hypervisor_leaves_the_other_entries_out(map_count: int) -> None:
    bench = direct(cow="hypervisor", map_count=map_count)
    shared(bench)
    p = bench.primitives
    others = map_count - 1
    ns = p["hypercall"] + p["lock_hold"] + p["frame_alloc"] + p["copy_cold"] + p["pt_validate"]
    assert use(bench, A, 1, write=True) == ns + others * (p["rmap_step"] + p["pt_validate"])
    assert bench.total(t.T_UPCALLS) == 0 and bench.total(t.T_COW_BREAKS) == 1
    slots = min(map_count, 8)
    mine = 1 % slots
    assert bench.flag(A, REFILL) == bench.flag(A, MOVED) == (slots > 1)
    for space in range(slots):
        assert (use(bench, A, space) > 0) == (space != mine)
        assert bench.causes == ([] if space == mine else [t.SHARING])
    assert bench.total(t.T_REFILLS) == slots - 1
    assert not bench.flag(A, REFILL | MOVED) and in_place(bench, A) == set(range(slots))
    bench.check()


@pytest.mark.parametrize("cow", ["upcall", "hypervisor"])
def test_the_last_sharer_gets_all_its_entries_made_writable(cow: str) -> None:
    bench = direct(cow=cow, map_count=3)
    shared(bench)
    assert bench.write(A, Y)
    bench.time += 1_000_000
    ns = bench.cost_of("write_fault") + bench.cost_of("lock_hold")
    each = bench.primitives["rmap_step"] + bench.primitives["pt_validate"]
    assert use(bench, B, 2, write=True) == ns + 3 * each
    assert bench.total(t.T_REUSES) == 1 and bench.total(t.T_REFILLS) == 0
    for space in range(3):
        assert use(bench, B, space, write=True) == 0
    bench.check()


def test_a_page_shared_again_has_all_its_entries_rewritten() -> None:
    bench = direct(cow="hypervisor", map_count=3)
    shared(bench)
    use(bench, A, 0, write=True)
    assert in_place(bench, A) == {0} and bench.flag(A, MOVED)
    bench.offer(A, B)
    bench.answer(0)
    assert bench.frame(A) == bench.frame(B)
    for space in range(3):
        assert use(bench, A, space) == 0
    bench.check()


def test_validation_refuses_a_writable_entry_to_a_shared_frame() -> None:
    bench = direct()
    shared(bench)
    refused = [bench.total(t.T_REFUSED_UPDATES)]
    bench.fill({2: Y})
    for page, update in ((A, True), (A, False), (2, True), (3, True)):
        guest_fault(bench.mem, bench.cost, 0, page, update, 0)
        refused.append(bench.total(t.T_REFUSED_UPDATES))
    assert refused == [0, 1, 1, 1, 1]  # an update, of a page that is shared
    assert bench.flag(A, READ_ONLY) and bench.frame(A) == bench.frame(B)
    assert bench.total(t.T_COW_BREAKS) == 0


# Typed frames


def test_a_typed_page_is_pinned_until_it_is_untyped() -> None:
    bench = direct()
    pin = bench.primitives["hypercall"] + bench.primitives["pt_pin"]
    assert type_page(bench.mem, bench.cost, 0, A, True) == pin
    assert bench.flag(A, PINNED)
    assert bench.merge(A, B) == bench.merge(B, A) == INELIGIBLE
    assert type_page(bench.mem, bench.cost, 0, A, False) == pin
    assert not bench.flag(A, PINNED | PROTECTED)
    bench.must_merge(A, B)
    counts = (t.T_PT_PINS, t.T_PT_UNPINS, t.T_PT_HYPERCALLS)
    assert [bench.total(which) for which in counts] == [1, 1, 2]
    assert bench.kinds()[:4] == [t.E_PIN, t.E_INELIGIBLE, t.E_INELIGIBLE, t.E_UNPIN]
    bench.check()


def test_typing_a_page_makes_the_scanner_look_again() -> None:
    bench = direct()
    for table in (True, False):
        bench.mem.attention[:] = 0
        type_page(bench.mem, bench.cost, 0, A, table)
        assert bench.mem.attention[A >> 3] == 1 << (A & 7)
