"""The merge protocol, with something else happening between any two of its steps."""

from collections.abc import Callable

import pytest

from sharesim.hypervisor.merge import (
    ABORTED,
    FALSE_MATCH,
    INELIGIBLE,
    MERGED,
    PENDING,
    SAME,
    share_now,
)
from sharesim.machine import tables as t
from sharesim.machine.mapping import release_pending
from sharesim.machine.tables import (
    ABSENT,
    BLOCK,
    BLOCK_PAGES,
    CORRUPTED,
    NONE,
    PINNED,
    PROTECTED,
    READ_ONLY,
    RECENT,
    REFILL,
    ZERO,
)
from tests.hypervisor.bench import Bench, digest_twins

A, B = 1, 9
"""A page of guest 0 and one of guest 1."""
SAME_CONTENT, OTHER = 7_001, 7_002
BEFORE, BETWEEN, AFTER = "before protect", "before commit", "before finish"
STEPS = (BEFORE, BETWEEN, AFTER)


def run_merge(
    bench: Bench, partner: int, when: str, act: Callable[[], object], page: int = A
) -> int:
    """A merge of ``page`` with ``partner`` during which ``act`` happens at one of the steps."""
    if when == BEFORE:
        act()
    outcome = bench.protect(page, partner)
    if when == BETWEEN:
        act()
    if outcome == PENDING:
        outcome = bench.commit(page, partner)
        pending = bench.total(t.T_PENDING_FRAME)
        if when == AFTER:
            act()
        assert pending not in bench.free_list()
        assert bench.total(t.T_PENDING_FRAME) == pending
    bench.finish()
    bench.check()
    assert bench.total(t.T_PENDING) == 0
    assert not bench.flag(page, PROTECTED)
    if partner != ZERO:
        assert not bench.flag(partner, PROTECTED)
    return outcome


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("written", [A, B])
@pytest.mark.parametrize("when", STEPS)
def test_a_write_at_any_step_is_never_lost(when: str, written: int, verify: bool) -> None:
    bench = Bench(verify=verify)
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    outcome = run_merge(bench, B, when, lambda: bench.write(written, OTHER))
    other = A + B - written
    assert (bench.content(written), bench.content(other)) == (OTHER, SAME_CONTENT)
    assert bench.frame(A) != bench.frame(B)
    # a write after the remapping breaks the share, not the merge
    assert outcome == (MERGED if when == AFTER else ABORTED)
    assert bench.total(t.T_CORRUPTED) == bench.total(t.T_WRONG_MERGES) == 0
    assert bench.total(t.T_COW_BREAKS) == (when == AFTER)
    assert bench.total(t.T_UNPROTECTS) == (when == BETWEEN)
    assert bench.total(t.T_MERGE_ABORTED) == (outcome == ABORTED)
    assert bench.total(t.T_FALSE_MATCHES) == 0


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("when", STEPS)
def test_a_write_of_equal_contents_at_any_step_is_harmless(when: str, verify: bool) -> None:
    bench = Bench(verify=verify)
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    outcome = run_merge(bench, B, when, lambda: bench.write(A, SAME_CONTENT))
    assert outcome == (ABORTED if when == BETWEEN else MERGED)
    assert bench.content(A) == bench.content(B) == SAME_CONTENT


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("first", [True, False], ids=["no zero frame yet", "zero frame there"])
@pytest.mark.parametrize("when", STEPS)
def test_a_write_at_any_step_of_a_zero_merge(when: str, first: bool, verify: bool) -> None:
    bench = Bench(verify=verify)
    bench.fill({A: 0, B: 0})
    if not first:
        bench.must_merge(B, ZERO)
    outcome = run_merge(bench, ZERO, when, lambda: bench.write(A, OTHER))
    assert bench.content(A) == OTHER
    assert bench.content(B) == 0
    assert outcome == (MERGED if when == AFTER else ABORTED)
    zero_frame = bench.total(t.T_ZERO_FRAME)
    assert zero_frame == (NONE if first else bench.frame(B))
    assert bench.total(t.T_ZERO_BREAKS) == (when == AFTER)


def test_the_owner_of_the_zero_frame_writes_while_another_page_is_being_merged_with_it() -> None:
    bench = Bench()
    bench.fill({A: 0, B: 0})
    bench.must_merge(B, ZERO)
    outcome = run_merge(bench, ZERO, BETWEEN, lambda: bench.write(B, OTHER))
    assert outcome == MERGED  # A itself is zero all the same
    assert (bench.content(A), bench.content(B)) == (0, OTHER)
    assert bench.total(t.T_ZERO_FRAME) == bench.frame(A)


@pytest.mark.parametrize("how", ["release", "balloon", "stop", "release and populate"])
@pytest.mark.parametrize("gone", [A, B])
@pytest.mark.parametrize("when", STEPS)
def test_a_page_that_disappears_at_any_step(when: str, gone: int, how: str) -> None:
    bench = Bench()
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    vm = bench.vm_of(gone)

    def vanish() -> None:
        if how == "release":
            bench.release(gone)
        elif how == "balloon":
            assert bench.inflate(vm, 1, start=1) == 1
            assert bench.flag(gone, t.BALLOONED)
        elif how == "stop":
            bench.stop(vm)
        else:
            bench.release(gone)
            assert bench.access(gone, write=False) is not None

    outcome = run_merge(bench, B, when, vanish)
    assert bench.content(A + B - gone) == SAME_CONTENT
    assert bench.content(gone) == (0 if how == "release and populate" else None)
    if when == AFTER:
        assert outcome == MERGED
    else:
        refused = when == BEFORE and how != "release and populate"
        assert outcome == (INELIGIBLE if refused else ABORTED)
    assert bench.saved() == 0
    assert bench.total(t.T_USED) == (2 if how == "release and populate" else 1)


@pytest.mark.parametrize("how", ["release", "stop"])
@pytest.mark.parametrize("when", STEPS)
def test_a_page_that_disappears_at_any_step_of_a_zero_merge(when: str, how: str) -> None:
    bench = Bench()
    bench.fill({A: 0, B: 0})
    bench.must_merge(B, ZERO)
    vanish = (lambda: bench.release(A)) if how == "release" else (lambda: bench.stop(0))
    outcome = run_merge(bench, ZERO, when, vanish)
    assert outcome == {BEFORE: INELIGIBLE, BETWEEN: ABORTED, AFTER: MERGED}[when]
    assert bench.content(A) is None
    assert bench.content(B) == 0


@pytest.mark.parametrize("when", [BEFORE, BETWEEN])
@pytest.mark.parametrize("parent", [0, 1])
def test_a_guest_cloned_at_any_step_reads_what_its_parent_had(parent: int, when: str) -> None:
    bench = Bench((8, 8, 8), started=(0, 1))
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    assert run_merge(bench, B, when, lambda: bench.clone(2, parent)) == MERGED
    assert bench.content(17) == SAME_CONTENT
    for page in (A, B, 17):
        assert bench.write(page, 8_000 + page)
        bench.check()
    assert [bench.content(page) for page in (A, B, 17)] == [8_000 + page for page in (A, B, 17)]


def test_the_frame_freed_cannot_be_taken_before_the_flush_is_done() -> None:
    bench = Bench((8, 8), frames=2)
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    assert bench.protect(A, B) == PENDING
    assert bench.commit(A, B) == MERGED
    assert bench.total(t.T_PENDING) == 1
    assert bench.free_list() == []
    assert not bench.write(2, OTHER)  # it has to wait ...
    assert bench.frame(2) is None
    bench.check()
    bench.finish()
    assert bench.total(t.T_PENDING) == 0
    assert bench.write(2, OTHER)  # ... until now
    bench.check()


def test_a_flush_that_is_done_twice_frees_once() -> None:
    bench = Bench()
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    bench.must_merge(A, B)
    free = bench.total(t.T_FREE)
    release_pending(bench.mem)
    assert bench.total(t.T_FREE) == free
    bench.check()


def test_a_merge_that_must_wait_for_a_frame_to_break_leaves_everything_as_it_is() -> None:
    bench = Bench((8, 8), frames=2)
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    bench.must_merge(A, B)
    bench.fill({3: OTHER})
    before = [table.copy() for table in bench.mem]
    assert not bench.write(A, OTHER)
    for table, old in zip(bench.mem, before, strict=True):
        assert (table == old).all()


@pytest.mark.parametrize("verify", [True, False])
def test_a_stale_hint_is_refused(verify: bool) -> None:
    bench = Bench(verify=verify)
    bench.fill({A: SAME_CONTENT, B: OTHER})
    assert bench.merge(A, B) == ABORTED
    assert not bench.flag(A, PROTECTED | READ_ONLY)
    assert bench.access(A, write=True) == 0  # writable again without a trap
    bench.check()


def test_pages_of_one_frame_are_the_same() -> None:
    bench = Bench()
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    bench.must_merge(A, B)
    for page, partner in ((A, B), (B, A)):
        assert bench.protect(page, partner) == SAME
    bench.fill({2: 0})
    bench.must_merge(2, ZERO)
    assert bench.protect(2, ZERO) == SAME
    bench.check()


@pytest.mark.parametrize("which", [A, B])
@pytest.mark.parametrize("flag", [PINNED, ABSENT])
def test_what_may_not_be_shared_is_ineligible(which: int, flag: int) -> None:
    bench = Bench()
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    bench.set_flags(which, flag)
    assert bench.protect(A, B) == INELIGIBLE
    assert bench.total(t.T_INELIGIBLE) == 1
    assert not bench.flag(A, PROTECTED) and not bench.flag(B, PROTECTED)
    if which == A:
        assert bench.protect(A, ZERO) == INELIGIBLE


def test_a_page_is_no_partner_of_itself_and_none_without_frame() -> None:
    bench = Bench()
    bench.fill({A: SAME_CONTENT})
    assert bench.protect(A, A) == INELIGIBLE
    assert bench.protect(A, B) == INELIGIBLE
    assert bench.protect(B, A) == INELIGIBLE
    assert bench.protect(B, ZERO) == INELIGIBLE
    bench.check()


# Compare-by-hash


def test_a_collision_corrupts_only_when_digests_are_trusted_and_is_counted() -> None:
    for verify in (True, False):
        bench = Bench(verify=verify, bits=8)
        one, two = digest_twins(bench)
        bench.fill({A: one, B: two})
        outcome = bench.merge(A, B)
        bench.check()
        if verify:
            assert outcome == FALSE_MATCH
            assert bench.total(t.T_FALSE_MATCHES) == bench.total(t.T_MERGE_ABORTED) == 1
            assert (bench.content(A), bench.content(B)) == (one, two)
            assert bench.total(t.T_CORRUPTED) == 0
            continue
        assert outcome == MERGED
        assert bench.content(A) == two  # not what the guest wrote ...
        assert bench.flag(A, CORRUPTED) and not bench.flag(B, CORRUPTED)
        assert bench.total(t.T_CORRUPTED) == bench.total(t.T_WRONG_MERGES) == 1
        assert bench.write(A, OTHER)  # ... until it writes something new
        assert bench.content(A) == OTHER and not bench.flag(A, CORRUPTED)
        assert bench.total(t.T_CORRUPTED) == 0
        assert bench.total(t.T_WRONG_MERGES) == 1
        bench.check()


def test_a_break_of_a_corrupted_page_keeps_it_corrupted_and_its_release_ends_it() -> None:
    bench = Bench(verify=False, bits=8)
    one, two = digest_twins(bench)
    bench.fill({A: one, B: two})
    assert bench.merge(A, B) == MERGED
    assert bench.access(A, write=True) is not None  # the copy is of the wrong contents
    assert bench.content(A) == two and bench.flag(A, CORRUPTED)
    bench.check()
    bench.release(A)
    assert bench.total(t.T_CORRUPTED) == 0 and not bench.flag(A, CORRUPTED)
    bench.check()


def test_a_clone_of_a_corrupted_page_is_corrupted() -> None:
    bench = Bench((8, 8, 8), started=(0, 1), verify=False, bits=8)
    one, two = digest_twins(bench)
    bench.fill({A: one, B: two})
    assert bench.merge(A, B) == MERGED
    bench.clone(2, 0)
    assert bench.flag(17, CORRUPTED) and bench.total(t.T_CORRUPTED) == 2
    bench.check()
    bench.stop(2)
    assert bench.total(t.T_CORRUPTED) == 1
    bench.check()


@pytest.mark.parametrize("there", [True, False], ids=["zero frame there", "no zero frame yet"])
def test_a_collision_with_the_zero_page(there: bool) -> None:
    bench = Bench(verify=False, bits=8)
    (twin,) = digest_twins(bench, 1, zero=True)
    bench.fill({A: twin, B: 0})
    if there:
        bench.must_merge(B, ZERO)
    assert bench.merge(A, ZERO) == MERGED
    bench.check()
    assert bench.content(A) == 0
    assert bench.flag(A, CORRUPTED) and bench.total(t.T_CORRUPTED) == 1
    bench.must_merge(B, ZERO) if not there else None
    assert not bench.flag(B, CORRUPTED)
    bench.check()


def test_a_shared_frame_taken_for_zero_corrupts_all_its_sharers() -> None:
    bench = Bench(verify=False, bits=8)
    (twin,) = digest_twins(bench, 1, zero=True)
    bench.fill({A: twin, B: twin, 2: twin})
    bench.must_merge(A, B)
    bench.must_merge(2, B)
    assert bench.merge(A, ZERO) == MERGED
    bench.check()
    assert bench.total(t.T_CORRUPTED) == bench.total(t.T_WRONG_MERGES) == 3
    assert bench.total(t.T_ZERO_SHARERS) == 3 and bench.total(t.T_ZERO_SHARED_FRAMES) == 1


# Which frame stays, and what a break does


def test_the_frame_with_more_sharers_stays_else_the_partners() -> None:
    bench = Bench()
    bench.fill({0: SAME_CONTENT, 1: SAME_CONTENT, 2: SAME_CONTENT, 9: SAME_CONTENT})
    partner = bench.frame(9)
    bench.must_merge(0, 9)
    assert bench.frame(0) == bench.frame(9) == partner
    bench.must_merge(9, 1)  # the page offered has two sharers: the partner moves
    assert bench.frame(1) == partner
    bench.must_merge(2, 9)
    assert [bench.frame(page) for page in (0, 1, 2, 9)] == [partner] * 4
    assert (bench.total(t.T_SHARERS), bench.total(t.T_SHARED_FRAMES), bench.saved()) == (4, 1, 3)
    bench.check()


def test_two_shared_frames_are_joined_page_by_page() -> None:
    bench = Bench()
    bench.fill(dict.fromkeys((0, 1, 8, 9), SAME_CONTENT))
    bench.must_merge(0, 1)
    bench.must_merge(8, 9)
    assert bench.total(t.T_SHARED_FRAMES) == 2
    bench.must_merge(0, 8)
    assert bench.total(t.T_PENDING) == 0  # its old frame has still a page
    bench.must_merge(1, 8)
    assert bench.total(t.T_SHARED_FRAMES) == 1 and bench.saved() == 3
    bench.check()


@pytest.mark.parametrize("last_sharer", ["reuse", "copy"])
def test_the_last_sharer_copies_or_takes_its_frame_over(last_sharer: str) -> None:
    bench = Bench(last_sharer=last_sharer)
    bench.cost[0]["copy"] = 1_000_000
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    bench.must_merge(A, B)
    shared = bench.frame(B)
    assert bench.write(A, OTHER)
    assert bench.total(t.T_SHARERS) == 0
    free = bench.total(t.T_FREE)
    spent = bench.access(B, write=True)
    assert spent is not None
    reused = last_sharer == "reuse"
    assert bench.total(t.T_REUSES) == reused
    assert bench.total(t.T_COW_BREAKS) == 2
    assert bench.total(t.T_FREE) == free
    assert (spent >= 1_000_000) != reused
    assert (bench.frame(B) == shared) or not reused
    assert not bench.flag(B, READ_ONLY | REFILL)
    assert bench.content(B) == SAME_CONTENT
    bench.check()


@pytest.mark.parametrize("last_sharer", ["reuse", "copy"])
def test_the_last_sharer_of_the_zero_frame(last_sharer: str) -> None:
    bench = Bench(last_sharer=last_sharer)
    bench.fill({A: 0})
    bench.must_merge(A, ZERO)
    assert bench.total(t.T_ZERO_FRAME) == bench.frame(A)
    assert bench.write(A, OTHER)
    assert bench.total(t.T_ZERO_FRAME) == NONE
    bench.check()


def test_breaking_a_zero_page_fills_with_zeros_and_does_not_copy() -> None:
    bench = Bench()
    bench.cost[0]["lock_hold"] = 0  # nobody waits: both happen at one time here
    bench.fill({A: 0, B: 0, 2: SAME_CONTENT, 10: SAME_CONTENT})
    bench.must_merge(A, ZERO)
    bench.must_merge(B, ZERO)
    bench.must_merge(2, 10)
    zero, copied = bench.access(A, write=True), bench.access(2, write=True)
    assert zero is not None and copied is not None
    assert copied - zero == bench.cost_of("copy") - bench.cost_of("zero_fill")
    assert bench.total(t.T_ZERO_BREAKS) == 1 and bench.total(t.T_COW_BREAKS) == 2
    assert bench.kinds().count(t.E_ZERO_FILL) == bench.kinds().count(t.E_BREAK) == 1
    assert bench.content(A) == 0
    bench.check()


def test_the_next_access_of_the_page_remapped_pays_one_refill() -> None:
    bench = Bench()
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    bench.must_merge(A, B)
    assert bench.access(A, write=False) == bench.cost_of("refill_fault")
    assert bench.access(A, write=False) == 0
    assert bench.access(B, write=False) == 0  # its entry still leads to its frame
    assert bench.total(t.T_REFILLS) == 1


# Blocks


def block_bench(*, split_blocks: bool = True) -> tuple[Bench, int]:
    """Two guests of one 2 MiB block each, all one content; the second's first page."""
    size = BLOCK_PAGES + 4
    bench = Bench((size, size), frames=2 * size, split_blocks=split_blocks)
    for first in (0, size):
        for page in range(first, first + BLOCK_PAGES):
            bench.fill({page: SAME_CONTENT})
            bench.set_flags(page, BLOCK)
    return bench, size


def test_a_merge_splits_the_blocks_of_both_pages_once() -> None:
    bench, other = block_bench()
    bench.must_merge(5, other + 9)
    assert bench.total(t.T_SPLITS) == 2
    assert not any(bench.flag(page, BLOCK) for page in range(len(bench.mem.pages)))
    bench.must_merge(6, other + 10)
    assert bench.total(t.T_SPLITS) == 2
    bench.check()


def test_blocks_that_may_not_be_split_are_not_shared() -> None:
    bench, other = block_bench(split_blocks=False)
    assert bench.protect(5, other) == INELIGIBLE
    assert bench.protect(5, ZERO) == INELIGIBLE
    assert bench.total(t.T_SPLITS) == 0
    bench.fill({BLOCK_PAGES: SAME_CONTENT, other + BLOCK_PAGES: SAME_CONTENT})
    bench.must_merge(BLOCK_PAGES, other + BLOCK_PAGES)
    bench.check()


def test_the_cost_of_splitting_is_paid_once() -> None:
    from sharesim.hypervisor.merge import protect

    bench, other = block_bench()
    first, _ = protect(bench.mem, bench.cost, 5, other, 0)
    bench.commit(5, other)
    bench.finish()
    second, _ = protect(bench.mem, bench.cost, 6, other + 1, 0)
    assert first - second == 2 * bench.cost_of("split")


# Flushes


def test_a_flush_interrupts_running_vcpus_only() -> None:
    bench = Bench((8, 8), vcpus=3)
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    bench.mem.vcpus["running"] = [1, 0, 1, 0, 0, 0]
    bench.time = 1_000_000
    assert bench.protect(A, B) == PENDING
    target = bench.cost_of("flush_target") + 100 * bench.cost_of("walk")
    assert bench.mem.vcpus["debt"].tolist() == [target, 0, target, 0, 0, 0]
    assert bench.mem.vcpus["flush_due"].tolist() == [0, 1, 0, 1, 1, 1]
    assert bench.total(t.T_FLUSHES) == 1  # the second guest needs no interrupt
    assert bench.total(t.T_REMOTE_NS) == 2 * target


def test_a_break_does_not_interrupt_its_own_vcpu() -> None:
    bench = Bench((8, 8), vcpus=2)
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    bench.must_merge(A, B)
    bench.mem.vcpus["debt"] = 0
    assert bench.write(A, OTHER)
    debts = bench.mem.vcpus["debt"].tolist()
    assert debts[0] == 0 and debts[1] > 0 and debts[2:] == [0, 0]


def test_a_flush_soon_after_another_refills_no_more_than_was_used_since() -> None:
    bench = Bench()
    walk = bench.cost_of("walk")
    for time, entries in ((1_000_000, 100), (1_000_000, 0), (1_000_000 + 7 * walk, 7)):
        bench.time = time
        bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
        bench.mem.vcpus["debt"] = 0
        assert bench.protect(A, B) == PENDING
        assert bench.mem.vcpus["debt"][0] == bench.cost_of("flush_target") + entries * walk
        bench.commit(A, B)
        bench.finish()
        bench.mem.vcpus["flushed"] = time
        bench.release(A)
        bench.release(B)


def test_the_first_zero_page_lends_its_frame_and_is_no_merge() -> None:
    bench = Bench()
    bench.fill({A: 0, B: 0})
    bench.must_merge(A, ZERO)
    assert bench.total(t.T_MERGES) == bench.total(t.T_ZERO_MERGES) == 0
    bench.must_merge(B, ZERO)
    assert bench.total(t.T_MERGES) == bench.total(t.T_ZERO_MERGES) == bench.saved() == 1


def test_two_pages_of_one_guest_are_flushed_once() -> None:
    bench = Bench()
    bench.fill({A: SAME_CONTENT, 2: SAME_CONTENT})
    assert bench.protect(A, 2) == PENDING
    assert bench.total(t.T_FLUSHES) == 1


# Near races, and the oracle's way


def test_a_page_broken_soon_after_its_merge_is_a_near_race() -> None:
    for wait, near in ((0, 1), (999, 1), (1_000, 0)):
        bench = Bench()
        bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
        bench.must_merge(A, B)
        assert bench.flag(A, RECENT)
        bench.time += wait
        bench.write(A, OTHER)
        assert bench.total(t.T_NEAR_RACES) == near


def test_sharing_at_once_keeps_the_books() -> None:
    bench = Bench()
    bench.fill({0: 0, 1: 0, 9: 0, 2: SAME_CONTENT, 10: SAME_CONTENT})
    for page in (0, 1, 9):
        share_now(bench.mem, bench.cost, page, ZERO)
        bench.check()
    share_now(bench.mem, bench.cost, 10, 2)
    bench.check()
    assert bench.saved() == 3
    assert bench.total(t.T_PENDING) == 0
    for page in (0, 1, 9, 2, 10):
        assert bench.write(page, 8_000 + page)
        bench.check()
    assert bench.saved() == 0
