"""The paravirtual design's protocol, with something else happening between any two of its steps."""

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
from sharesim.hypervisor.offers import (
    ALONE,
    CONSENT,
    CONSENTED,
    FINISH,
    JOINED,
    REWRITE,
    SHARE,
    WAITING,
)
from sharesim.machine import tables as t
from sharesim.machine.tables import (
    ABSENT,
    BALLOONED,
    CORRUPTED,
    OFFERED,
    PROTECTED,
    READ_ONLY,
    REFILL,
    ZERO,
)
from tests.hypervisor.bench import Bench, digest_twins
from tests.hypervisor.cooperation import (
    OTHER,
    SAME_CONTENT,
    A,
    B,
    C,
    guests,
    offered,
    states,
)

AFTER = FINISH + 1
STEPS = (CONSENT, SHARE, REWRITE, FINISH, AFTER)
NAMES = ("before consent", "before share", "before rewrite", "before finish", "after")
at_each_step = pytest.mark.parametrize("step", STEPS, ids=NAMES)


def answer(bench: Bench, vm: int, step: int, act: Callable[[], object]) -> None:
    """A guest's driver goes through its steps, and before one of them ``act`` happens."""
    bench.notify(vm)
    for stage in STEPS:
        if stage == step:
            act()
            bench.check()
        if stage == bench.stage(vm):
            bench.drive(vm)
            bench.check()
    assert bench.drive(vm) is None
    assert not bench.held(vm) and not bench.ring(vm) and bench.total(t.T_PENDING) == 0
    assert not any(bench.flag(page, PROTECTED | OFFERED) for page in range(*span(bench, vm)))


def span(bench: Bench, vm: int) -> tuple[int, int]:
    """First page of a guest, and the one behind its last."""
    return bench.firsts[vm], bench.firsts[vm] + bench.sizes[vm]


# The steps, undisturbed


def test_two_pages_that_nobody_shares_yet_are_offered_each_to_its_guest() -> None:
    bench = offered()
    assert bench.ring(0) == [(A, B, WAITING)] and bench.ring(1) == [(B, A, WAITING)]
    assert bench.flag(A, OFFERED) and bench.flag(B, OFFERED)
    assert bench.total(t.T_OFFERS) == 2
    assert not bench.flag(A, PROTECTED) and not bench.flag(B, PROTECTED)
    assert bench.drive(0) is None  # it has not been told yet


def test_the_first_to_be_shared_becomes_the_frame_that_the_second_joins() -> None:
    bench = offered()
    mine, theirs = bench.frame(A), bench.frame(B)
    bench.notify(0)
    bench.drive(0)
    assert states(bench, 0) == [CONSENTED] and bench.stage(0) == SHARE
    assert bench.flag(A, PROTECTED) and not bench.flag(A, READ_ONLY)
    bench.drive(0)
    assert states(bench, 0) == [ALONE] and bench.stage(0) == FINISH  # no entry has to be changed
    assert bench.flag(A, READ_ONLY) and not bench.flag(A, PROTECTED)
    bench.drive(0)
    assert bench.ring(0) == [] and bench.stage(0) == CONSENT and not bench.flag(A, OFFERED)
    assert bench.saved() == 0 and bench.outcomes() == []
    bench.notify(1)
    bench.drive(1)
    bench.drive(1)
    assert states(bench, 1) == [JOINED] and bench.stage(1) == REWRITE
    assert bench.frame(A) == bench.frame(B) == mine
    assert bench.held(1) == [theirs] and theirs not in bench.free_list()
    assert bench.outcomes() == [(B, A, MERGED)]
    bench.drive(1)
    assert bench.held(1) == [theirs] and bench.stage(1) == FINISH
    bench.drive(1)
    assert bench.held(1) == [] and bench.free_list()[0] == theirs
    assert bench.saved() == bench.total(t.T_MERGES) == 1
    assert bench.total(t.T_OFFERS_SHARED) == bench.total(t.T_OFFER_BATCHES) == 2
    assert not bench.flag(B, REFILL)  # its entries were rewritten: there is nothing to fill
    bench.check()


def test_two_pages_of_one_guest_are_one_batch() -> None:
    bench = guests()
    bench.fill({A: SAME_CONTENT, 2: SAME_CONTENT})
    bench.offer(2, A)
    assert [page for page, _, _ in bench.ring(0)] == [2, A]
    bench.answer(0)
    assert bench.total(t.T_OFFER_BATCHES) == 1
    assert bench.saved() == 1 and bench.frame(A) == bench.frame(2)
    bench.check()


@pytest.mark.parametrize("pair", [(C, B), (B, C)])
def test_of_a_pair_of_which_one_is_shared_only_the_other_is_offered(pair: tuple[int, int]) -> None:
    bench = guests(8, 8, 8)
    bench.fill(dict.fromkeys((A, B, C), SAME_CONTENT))
    bench.offer(B, A)
    bench.answer(0)
    bench.answer(1)
    bench.offer(*pair)
    assert [bench.ring(vm) for vm in range(3)] == [[], [], [(C, B, WAITING)]]
    bench.answer(2)
    assert bench.saved() == 2 and bench.frame(C) == bench.frame(A)
    bench.check()


def test_two_groups_are_joined_page_by_page() -> None:
    bench = guests()
    bench.fill(dict.fromkeys((1, 2, 9, 10), SAME_CONTENT))
    bench.offer(2, 1)
    bench.answer(0)
    bench.offer(10, 9)
    bench.answer(1)
    assert bench.total(t.T_SHARED_FRAMES) == 2 and bench.saved() == 2
    bench.offer(9, 1)
    bench.answer(1)
    assert bench.total(t.T_SHARED_FRAMES) == 1 and bench.saved() == 2
    bench.offer(10, 1)
    bench.answer(1)
    assert bench.saved() == 3
    bench.check()


def test_the_first_zero_page_becomes_the_zero_frame_that_others_join() -> None:
    bench = guests()
    bench.fill({A: 0, B: 0, 2: 0})
    for page in (A, B, 2):
        assert bench.offer(page, ZERO) == PENDING
    bench.answer(1)
    assert bench.total(t.T_ZERO_FRAME) == bench.frame(B) and bench.total(t.T_MERGES) == 0
    bench.answer(0)
    assert {bench.frame(page) for page in (A, B, 2)} == {bench.total(t.T_ZERO_FRAME)}
    assert bench.total(t.T_MERGES) == bench.total(t.T_ZERO_MERGES) == bench.saved() == 2
    assert bench.offer(A, ZERO) == SAME and bench.ring(0) == []
    bench.check()


# Something happens between two steps


@pytest.mark.parametrize("verify", [True, False])
@at_each_step
def test_a_write_to_the_page_at_any_step_is_never_lost(step: int, verify: bool) -> None:
    bench = offered(verify=verify)
    bench.answer(0)
    answer(bench, 1, step, lambda: bench.write(B, OTHER))
    assert (bench.content(A), bench.content(B)) == (SAME_CONTENT, OTHER)
    joined = step > SHARE  # then the write breaks the share
    assert bench.total(t.T_OFFERS_REFUSED) == (step == CONSENT)
    assert bench.total(t.T_UNPROTECTS) == bench.total(t.T_MERGE_ABORTED) == (step == SHARE)
    assert bench.total(t.T_MERGES) == bench.total(t.T_COW_BREAKS) == joined
    told = {CONSENT: [], SHARE: [(B, A, ABORTED)]}
    assert bench.outcomes() == told.get(step, [(B, A, MERGED)])
    assert bench.total(t.T_CORRUPTED) == 0 and bench.saved() == 0
    assert bench.access(B, write=True) == 0


@pytest.mark.parametrize("verify", [True, False])
@at_each_step
def test_a_write_to_the_partner_at_any_step_is_never_lost(step: int, verify: bool) -> None:
    bench = offered(verify=verify)
    bench.answer(0)
    answer(bench, 1, step, lambda: bench.write(A, OTHER))
    assert (bench.content(A), bench.content(B)) == (OTHER, SAME_CONTENT)
    joined = step > SHARE
    assert bench.total(t.T_REUSES) == (not joined)  # A was alone on its frame until then
    assert bench.total(t.T_MERGE_ABORTED) == (not joined)
    assert bench.total(t.T_FALSE_MATCHES) == bench.total(t.T_CORRUPTED) == bench.saved() == 0
    assert bench.flag(B, READ_ONLY) == joined  # else it is writable again, without a trap


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("written", [A, B])
@at_each_step
def test_a_write_while_the_first_of_a_pair_is_shared(step: int, written: int, verify: bool) -> None:
    bench = offered(verify=verify)
    answer(bench, 0, step, lambda: bench.write(written, OTHER))
    other = A + B - written
    assert (bench.content(written), bench.content(other)) == (OTHER, SAME_CONTENT)
    bench.answer(1)
    bench.check()
    assert (bench.content(written), bench.content(other)) == (OTHER, SAME_CONTENT)
    assert bench.saved() == bench.total(t.T_MERGES) == bench.total(t.T_CORRUPTED) == 0


def test_a_write_of_equal_contents_takes_the_partner_out_and_the_page_becomes_the_first() -> None:
    bench = offered()
    bench.answer(0)
    answer(bench, 1, SHARE, lambda: bench.write(A, SAME_CONTENT))
    assert bench.saved() == 0 and bench.flag(B, READ_ONLY) and not bench.flag(A, READ_ONLY)
    bench.look_at(A)
    bench.offer(A, B)
    bench.answer(0)
    assert bench.saved() == 1 and bench.frame(A) == bench.frame(B)
    bench.check()


@at_each_step
def test_a_read_at_any_step_costs_nothing_and_changes_nothing(step: int) -> None:
    bench = offered()
    bench.answer(0)
    spent: list[int | None] = []
    answer(bench, 1, step, lambda: spent.append(bench.access(B, write=False)))
    assert spent == [0] and bench.saved() == 1


@pytest.mark.parametrize("how", ["release", "balloon", "stop", "release and populate"])
@pytest.mark.parametrize("gone", [A, B])
@at_each_step
def test_a_page_that_disappears_at_any_step(step: int, gone: int, how: str) -> None:
    bench = offered()
    bench.answer(0)

    def vanish() -> None:
        if how == "balloon":
            assert bench.inflate(bench.vm_of(gone), 1, start=1) == 1
            assert bench.flag(gone, BALLOONED)
        elif how == "stop":
            bench.stop(bench.vm_of(gone))
        else:
            bench.release(gone)
        if how == "release and populate":
            assert bench.access(gone, write=False) is not None

    answer(bench, 1, step, vanish)
    again = how == "release and populate"
    assert bench.content(A + B - gone) == SAME_CONTENT
    assert bench.content(gone) == (0 if again else None)
    assert bench.total(t.T_MERGES) == (step > SHARE)
    assert bench.saved() == 0 and bench.total(t.T_USED) == 1 + again
    never_asked = gone == B and step == CONSENT and not again
    unasked = never_asked or (gone == B and how == "stop")
    if step <= SHARE:
        assert bench.outcomes() == ([] if unasked else [(B, A, ABORTED)])
    assert bench.total(t.T_OFFERS_REFUSED) == (never_asked and how != "stop")


@pytest.mark.parametrize("how", ["write", "release", "stop"])
@at_each_step
def test_the_zero_frame_s_only_page_leaves_at_any_step(step: int, how: str) -> None:
    bench = guests()
    bench.fill({A: 0, B: 0})
    bench.offer(A, ZERO)
    bench.answer(0)
    bench.offer(B, ZERO)
    act = {
        "write": lambda: bench.write(A, OTHER),
        "release": lambda: bench.release(A),
        "stop": lambda: bench.stop(0),
    }
    answer(bench, 1, step, act[how])
    assert bench.content(A) == (OTHER if how == "write" else None)
    assert bench.content(B) == 0
    assert bench.total(t.T_ZERO_FRAME) == bench.frame(B)  # its own, or the one it joined
    assert bench.total(t.T_ZERO_MERGES) == (step > SHARE)


@pytest.mark.parametrize("parent", [0, 1])
@at_each_step
def test_a_guest_cloned_at_any_step_reads_what_its_parent_had(step: int, parent: int) -> None:
    bench = guests(8, 8, 8, started=(0, 1))
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    bench.offer(B, A)
    bench.answer(0)
    answer(bench, 1, step, lambda: bench.clone(2, parent))
    assert bench.frame(A) == bench.frame(B)
    assert bench.content(C) == SAME_CONTENT
    for page in (A, B, C):
        assert bench.write(page, 8_000 + page)
        bench.check()
    assert [bench.content(page) for page in (A, B, C)] == [8_000 + page for page in (A, B, C)]


def test_a_guest_cloned_while_two_of_its_pages_are_shared() -> None:
    bench = guests(8, 8, 8, started=(0, 1))
    bench.fill({A: SAME_CONTENT, 2: SAME_CONTENT})
    bench.offer(2, A)
    answer(bench, 0, SHARE, lambda: bench.clone(2, 0))
    assert bench.outcomes() == [(2, A, MERGED), (A, 2, SAME)]
    bench.write(A, OTHER)
    assert bench.total(t.T_UNPROTECTS) == 0 and bench.total(t.T_COW_BREAKS) == 1


@pytest.mark.parametrize("content", [SAME_CONTENT, 0])
def test_a_page_that_is_on_the_ring_twice_is_shared_once(content: int) -> None:
    """It was given back and populated again, so that the scanner came upon it anew."""
    bench = guests()
    partner = ZERO if content == 0 else B
    bench.fill({A: content, B: content})
    bench.offer(A, partner)
    bench.release(A)
    bench.fill({A: content})
    bench.offer(A, partner)
    assert [page for page, _, _ in bench.ring(0)] == [A, A]
    bench.answer(0)
    bench.check()
    assert bench.ring(0) == [] and not bench.flag(A, OFFERED | PROTECTED)
    if content == 0:
        assert bench.outcomes() == [(A, ZERO, SAME)]
        bench.offer(B, ZERO)
    bench.answer(1)
    assert bench.saved() == bench.total(t.T_MERGES) == 1
    bench.check()


def test_pages_that_somebody_brought_together_meanwhile_are_the_same() -> None:
    bench = guests(8, 8, 8)
    bench.fill(dict.fromkeys((A, B, C), SAME_CONTENT))
    bench.offer(B, A)
    bench.answer(0)
    bench.answer(1)
    bench.offer(C, A)
    share_now(bench.mem, bench.cost, C, A)
    bench.answer(2)
    assert bench.outcomes()[-1] == (C, A, SAME) and bench.saved() == 2
    assert bench.total(t.T_MERGE_ABORTED) == 0
    bench.check()


def test_a_guest_that_stops_in_the_middle_frees_what_it_held() -> None:
    for steps in range(5):
        bench = offered()
        bench.answer(0)
        free = len(bench.free_list())
        bench.notify(1)
        for _ in range(steps):
            bench.drive(1)
        bench.stop(1)
        bench.check()
        assert bench.held(1) == [] and bench.total(t.T_PENDING) == 0
        assert len(bench.free_list()) == free + 1
        assert bench.drive(1) is None and bench.ring(1) == []
        assert bench.flag(B, ABSENT) and not bench.flag(B, OFFERED | PROTECTED | READ_ONLY)
        assert bench.offer(A, B) == INELIGIBLE


def test_the_frame_that_falls_free_cannot_be_taken_before_the_flush_is_done() -> None:
    bench = offered(frames=2)
    bench.answer(0)
    bench.notify(1)
    for _ in range(3):
        bench.drive(1)
        bench.check()
        assert not bench.write(2, OTHER)  # it has to wait ...
    assert bench.total(t.T_PENDING) == 1 and bench.stage(1) == FINISH
    bench.drive(1)
    assert bench.write(2, OTHER)  # ... until now
    bench.check()


# Compare-by-hash


def test_a_collision_corrupts_only_when_digests_are_trusted_and_is_counted() -> None:
    for verify in (True, False):
        bench = guests(verify=verify, bits=8)
        one, two = digest_twins(bench)
        bench.fill({A: one, B: two})
        bench.offer(B, A)
        bench.answer(0)
        bench.answer(1)
        bench.check()
        if verify:
            assert bench.outcomes() == [(A, B, FALSE_MATCH), (B, A, FALSE_MATCH)]
            assert bench.total(t.T_FALSE_MATCHES) == bench.total(t.T_MERGE_ABORTED) == 2
            assert (bench.content(A), bench.content(B)) == (one, two)
            assert not bench.flag(A, READ_ONLY | PROTECTED)
            assert bench.access(A, write=True) == 0  # writable again without a trap
            continue
        assert bench.outcomes() == [(B, A, MERGED)]
        assert bench.content(B) == one  # not what its guest wrote ...
        assert bench.flag(B, CORRUPTED) and not bench.flag(A, CORRUPTED)
        assert bench.total(t.T_CORRUPTED) == bench.total(t.T_WRONG_MERGES) == 1
        assert bench.write(B, OTHER)  # ... until it writes something new
        assert bench.total(t.T_CORRUPTED) == 0 and bench.total(t.T_WRONG_MERGES) == 1
        bench.check()


@pytest.mark.parametrize("there", [True, False], ids=["zero frame there", "no zero frame yet"])
def test_a_collision_with_the_zero_page(there: bool) -> None:
    bench = guests(verify=False, bits=8)
    (twin,) = digest_twins(bench, 1, zero=True)
    bench.fill({A: twin, B: 0})
    order = (B, A) if there else (A, B)
    for page in order:
        bench.offer(page, ZERO)
        bench.answer(bench.vm_of(page))
        bench.check()
    assert bench.content(A) == bench.content(B) == 0 and bench.saved() == 1
    assert bench.flag(A, CORRUPTED) and not bench.flag(B, CORRUPTED)
    assert bench.total(t.T_WRONG_MERGES) == 1
