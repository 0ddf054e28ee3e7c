"""What it costs guests to share pages themselves, and to break their shares."""

import pytest

from sharesim.guest.activity import guest_fault
from sharesim.hypervisor.fault import OVERWRITE
from sharesim.hypervisor.offers import (
    CONSENTED,
    TAKEN_BACK,
)
from sharesim.machine import tables as t
from sharesim.machine.tables import (
    NONE,
    PROTECTED,
    READ_ONLY,
    REFILL,
    ZERO,
)
from tests.hypervisor.bench import Bench
from tests.hypervisor.cooperation import (
    OTHER,
    SAME_CONTENT,
    A,
    B,
    guests,
    offered,
    shared,
    states,
)

# Breaks


def test_no_guest_maps_a_shared_frame_writable() -> None:
    bench = shared()
    for page, vm in ((A, 0), (B, 1)):
        guest_fault(bench.mem, bench.cost, vm, page, True, 0)
    assert bench.total(t.T_REFUSED_UPDATES) == 2
    assert bench.access(B, write=True) != 0
    guest_fault(bench.mem, bench.cost, 1, B, True, 0)
    assert bench.total(t.T_REFUSED_UPDATES) == 2  # B is its guest's own again
    assert bench.flag(A, READ_ONLY) and not bench.flag(B, READ_ONLY)
    bench.check()


def test_a_break_by_upcall_mends_all_entries_at_once() -> None:
    bench = shared(options={"cow": "upcall"})
    bench.mem.pages["map_count"][[A, B]] = 2
    p, spent = bench.primitives, bench.access(B, write=True)
    each = p["rmap_step"] + p["pt_validate"]
    assert spent == (
        p["bounce_direct"] + p["hypercall"] + p["lock_hold"] + p["frame_alloc"] + p["copy_cold"]
        + 2 * each
    )  # fmt: skip
    assert bench.total(t.T_UPCALLS) == 1 and not bench.flag(B, REFILL)
    bench.mem.vcpus["space"] = 1
    assert bench.access(B, write=False) == 0  # by the other entry


def test_a_break_by_the_hypervisor_mends_one_entry_and_the_other_faults_later() -> None:
    bench = shared(options={"cow": "hypervisor"})
    bench.mem.pages["map_count"][[A, B]] = 2
    p, spent = bench.primitives, bench.access(B, write=True)
    one, other = p["pt_validate"], p["rmap_step"] + p["pt_validate"]
    assert spent == (
        p["hypercall"] + p["lock_hold"] + p["frame_alloc"] + p["copy_cold"] + one + other
    )
    assert bench.total(t.T_UPCALLS) == 0 and bench.flag(B, REFILL)
    assert bench.access(B, write=True) == 0  # its entry is in place
    bench.mem.vcpus["space"] = 1
    assert bench.access(B, write=False) == p["hypercall"] + p["pt_validate"]
    assert bench.total(t.T_REFILLS) == 1 and not bench.flag(B, REFILL)
    assert bench.access(B, write=True) == 0


def test_entries_left_out_by_a_break_are_written_when_the_page_is_shared_again() -> None:
    bench = shared(options={"cow": "hypervisor"})
    bench.mem.pages["map_count"][[A, B]] = 2
    bench.write(B, SAME_CONTENT)
    assert bench.flag(B, REFILL)
    bench.look_at(B)
    bench.offer(B, A)
    bench.answer(1)
    assert bench.saved() == 1
    for space in range(2):
        bench.mem.vcpus["space"] = space
        assert bench.access(B, write=False) == 0


@pytest.mark.parametrize("cow", ["upcall", "hypervisor"])
@pytest.mark.parametrize("content", [SAME_CONTENT, 0])
def test_a_page_about_to_be_overwritten_is_not_copied(content: int, cow: str) -> None:
    bench = guests(options={"cow": cow})
    bench.fill({A: content, B: content})
    bench.offer(B, ZERO if content == 0 else A)
    bench.offer(A, ZERO if content == 0 else B)
    bench.answer(0)
    bench.answer(1)
    p, spent = bench.primitives, bench.access(B, write=OVERWRITE)
    copy = p["zero_fill_cold"]
    if cow == "upcall":
        entries = p["rmap_step"] + p["pt_validate"]
    else:
        entries = p["pt_validate"]
    assert spent == p["hypercall"] + p["lock_hold"] + p["frame_alloc"] + copy + entries
    assert bench.total(t.T_NOCOPY) == bench.total(t.T_COW_BREAKS) == 1
    assert bench.total(t.T_UPCALLS) == 0
    bench.check()


@pytest.mark.parametrize("last_sharer", ["reuse", "copy"])
def test_the_last_sharer_copies_or_takes_its_frame_over(last_sharer: str) -> None:
    bench = shared(last_sharer=last_sharer)
    frame = bench.frame(A)
    bench.cost[0]["copy"] = 1_000_000
    bench.write(B, OTHER)
    spent = bench.access(A, write=True)
    assert spent is not None
    reused = last_sharer == "reuse"
    assert bench.total(t.T_REUSES) == reused and (bench.frame(A) == frame or not reused)
    assert (spent >= bench.cost_of("copy")) != reused
    assert bench.total(t.T_UPCALLS) == bench.total(t.T_COW_BREAKS) == 2
    assert not bench.flag(A, READ_ONLY)
    bench.check()


def test_the_zero_frame_is_gone_with_its_last_sharer() -> None:
    bench = guests()
    bench.fill({A: 0})
    bench.offer(A, ZERO)
    bench.answer(0)
    bench.write(A, OTHER)
    assert bench.total(t.T_ZERO_FRAME) == NONE and bench.total(t.T_ZERO_BREAKS) == 1
    bench.check()


# What it costs

LATER = 10**9
"""When the sharing lock is free again, and all that vCPUs go back to is in their TLBs."""


def refill(bench: Bench) -> int:
    """ns for a vCPU of the bench to walk for what a flush has taken from it."""
    entries = min(int(bench.mem.vcpus[0]["refill_entries"]), bench.primitives["tlb_entries"])
    return entries * bench.primitives["walk_native"]


@pytest.mark.parametrize("pages", [1, 7, 64])
@pytest.mark.parametrize("entries", [1, 3])
@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("zero", [True, False])
def test_the_cost_of_a_page_is_that_of_the_formula(
    pages: int, entries: int, verify: bool, zero: bool
) -> None:
    """rmap m + 2 m V + verify + (event + 2 H + flush) / batch, and lock and frame beside."""
    bench = guests(pages, pages, frames=256, verify=verify)
    bench.fill({page: 0 if zero else 1 + page % pages for page in range(2 * pages)})
    bench.mem.pages["map_count"] = entries
    for page in range(pages, 2 * pages):
        bench.offer(page, ZERO if zero else page - pages)
    if zero:
        bench.offer(0, ZERO)
    bench.answer(0)
    bench.time = LATER
    p = bench.primitives
    rmap, validate, hypercall = p["rmap_step"], p["pt_validate"], p["hypercall"]
    if verify:
        looks = p["zero_check_cold"] if zero else p["compare_equal_cold"]
    else:
        looks = p["digest_sfh_cold"] * (1 if zero else 2)
    flush = refill(bench)
    each = rmap * entries + 2 * entries * validate + looks + p["lock_hold"] + p["frame_free"]
    assert bench.answer(1) == pages * each + p["event"] + 2 * hypercall + flush
    assert bench.total(t.T_MERGES) == pages
    assert min(rmap, validate, looks, hypercall, p["event"], flush) > 0


def test_a_page_that_becomes_the_frame_for_others_costs_less() -> None:
    bench = offered()
    p, spent = bench.primitives, bench.answer(0)
    entry = p["rmap_step"] + p["pt_validate"]
    once = p["compare_equal_cold"] + p["lock_hold"] + p["hypercall"] + p["event"]
    assert spent == entry + once


def test_what_is_refused_costs_its_event_only() -> None:
    bench = offered()
    bench.write(B, OTHER)
    assert bench.answer(1) == bench.primitives["event"]
    assert bench.answer(1) == 0  # an event without offers: the ring is empty


def test_other_vcpus_are_flushed_at_the_protection_and_at_the_rewrite() -> None:
    spent = []
    for vcpus in (1, 3):
        bench = offered(vcpus=vcpus)
        bench.mem.vcpus["running"][-1] = vcpus == 1
        bench.answer(0)
        bench.time = LATER
        bench.mem.vcpus["debt"] = 0
        remote = bench.total(t.T_REMOTE_NS)
        spent.append(bench.answer(1))
    p, debt = bench.primitives, 2 * bench.primitives["flush_target"] + refill(bench)
    assert spent[1] - spent[0] == 2 * (p["flush_base"] + p["flush_per_cpu"])
    assert bench.mem.vcpus["debt"].tolist() == [0, 0, 0, 0, debt, 0]
    assert bench.total(t.T_REMOTE_NS) - remote == debt
    assert bench.mem.vcpus["flush_due"].tolist() == [0, 0, 0, 0, 0, 1]


def test_a_page_given_up_is_paid_for_and_flushed() -> None:
    bench = offered()
    bench.answer(0)
    bench.write(A, OTHER)
    bench.notify(1)
    p, steps = bench.primitives, []
    while (ns := bench.drive(1)) is not None:
        steps.append((states(bench, 1), ns))
    assert steps == [
        ([CONSENTED], p["event"] + p["rmap_step"] + p["pt_validate"]),
        ([TAKEN_BACK], p["hypercall"] + p["compare_differ_cold"]),
        ([TAKEN_BACK], p["hypercall"] + p["pt_validate"]),
        ([], 0),
    ]
    assert not bench.flag(B, PROTECTED)


def test_a_page_already_read_only_is_not_protected_again() -> None:
    bench = guests()
    bench.fill(dict.fromkeys((1, 2, 9, 10), SAME_CONTENT))
    bench.offer(2, 1)
    bench.answer(0)
    bench.offer(10, 9)
    bench.answer(1)
    bench.offer(9, 1)
    bench.notify(1)
    bench.time = LATER
    assert bench.drive(1) == bench.primitives["event"]
    assert states(bench, 1) == [CONSENTED] and not bench.flag(9, PROTECTED)
    p, frames = bench.primitives, bench.frame(9)
    spent = bench.drive(1)
    assert spent == p["hypercall"] + p["compare_equal_cold"] + p["lock_hold"]  # no frame falls free
    assert bench.frame(9) == bench.frame(1) and bench.frame(10) == frames and not bench.held(1)
