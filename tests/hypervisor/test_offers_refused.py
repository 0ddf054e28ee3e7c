"""What guests are not offered, refuse, let expire, and what they do with free pages."""

import pytest

from sharesim.content.classes import PageClass
from sharesim.hypervisor.merge import (
    INELIGIBLE,
    PENDING,
)
from sharesim.hypervisor.offers import (
    BALLOONED_AWAY,
    CONSENTED,
    WAITING,
)
from sharesim.machine import tables as t
from sharesim.machine.tables import (
    ABSENT,
    BALLOONED,
    OFFERED,
    PINNED,
    PROTECTED,
    READ_ONLY,
    UNMERGEABLE,
    ZERO,
)
from tests.hypervisor.bench import Bench
from tests.hypervisor.cooperation import (
    SAME_CONTENT,
    A,
    B,
    guests,
    offered,
    shared,
    states,
)

# Refusals


@pytest.mark.parametrize("which", [A, B])
@pytest.mark.parametrize("flag", [PINNED, ABSENT, UNMERGEABLE])
def test_what_may_not_be_shared_is_not_even_offered(which: int, flag: int) -> None:
    bench = guests()
    bench.fill({A: SAME_CONTENT, B: SAME_CONTENT})
    bench.set_flags(which, flag)
    assert bench.offer(A, B) == INELIGIBLE
    assert bench.total(t.T_INELIGIBLE) == 1 and bench.total(t.T_OFFERS) == 0
    assert not bench.flag(A, OFFERED) and not bench.flag(B, OFFERED)


def test_a_page_is_no_partner_of_itself_and_none_without_frame() -> None:
    bench = guests()
    bench.fill({A: SAME_CONTENT})
    for pair in ((A, A), (A, B), (B, A), (B, ZERO)):
        assert bench.offer(*pair) == INELIGIBLE
    assert bench.total(t.T_OFFERS) == 0


@pytest.mark.parametrize("what", ["pinned", "dirty", "unpopulated"])
def test_a_guest_refuses_what_it_knows_to_be_in_use(what: str) -> None:
    bench = offered()
    if what == "pinned":
        bench.set_flags(B, PINNED)
    elif what == "dirty":
        bench.write(B, SAME_CONTENT)  # the content is what it was; the dirty bit is set
    else:
        bench.release(B)
    bench.answer(1)
    assert bench.total(t.T_OFFERS_REFUSED) == bench.kinds().count(t.E_REFUSE) == 1
    assert bench.total(t.T_OFFERS_SHARED) == 0 and not bench.flag(B, PROTECTED | OFFERED)
    bench.check()


def test_an_offer_is_void_when_it_is_older_than_its_expiry() -> None:
    for wait, void in ((1_000, 0), (1_001, 1)):
        bench = offered(options={"expiry": 1_000})
        bench.time += wait
        bench.answer(1)
        assert bench.total(t.T_OFFERS_EXPIRED) == void
        assert bench.total(t.T_OFFERS_SHARED) == 1 - void
        assert not bench.flag(B, OFFERED)


def test_the_scanner_takes_void_offers_off_a_ring_to_make_room() -> None:
    bench = guests(options={"expiry": 1_000, "ring": 2})
    bench.fill(dict.fromkeys(range(4), 0))
    bench.offer(0, ZERO)
    bench.time = 500
    bench.offer(1, ZERO)
    bench.time = 1_000
    bench.offer(2, ZERO)
    assert bench.total(t.T_OFFERS_DROPPED) == 1 and bench.total(t.T_OFFERS_EXPIRED) == 0
    bench.time = 1_001
    bench.offer(2, ZERO)
    assert [page for page, _, _ in bench.ring(0)] == [1, 2]
    assert bench.total(t.T_OFFERS_EXPIRED) == 1 and not bench.flag(0, OFFERED)
    bench.notify(0)
    bench.drive(0)  # the driver is at work on them now ...
    bench.time = 5_000
    bench.offer(3, ZERO)
    assert bench.total(t.T_OFFERS_EXPIRED) == 1  # ... and they stay
    assert bench.total(t.T_OFFERS_DROPPED) == 2
    bench.check()


def test_a_full_ring_drops_offers_that_can_be_made_again() -> None:
    bench = guests(options={"ring": 2})
    bench.fill(dict.fromkeys(range(3), 0))
    for page in range(3):
        assert bench.offer(page, ZERO) == PENDING
    assert len(bench.ring(0)) == bench.total(t.T_OFFERS) == 2
    assert bench.total(t.T_OFFERS_DROPPED) == 1 and not bench.flag(2, OFFERED)
    bench.answer(0)
    bench.offer(2, ZERO)
    bench.answer(0)
    assert bench.saved() == 2


def test_a_page_is_offered_once_at_a_time() -> None:
    bench = offered()
    for _ in range(3):
        assert bench.offer(B, A) == bench.offer(A, B) == PENDING
    assert bench.total(t.T_OFFERS) == 2 and len(bench.ring(0)) == len(bench.ring(1)) == 1


def test_offers_made_while_the_driver_is_at_work_wait_for_the_next_batch() -> None:
    bench = guests()
    bench.fill({0: 0, 1: 0, 2: 0})
    bench.offer(0, ZERO)
    bench.notify(0)
    bench.drive(0)
    bench.offer(1, ZERO)
    bench.offer(2, ZERO)
    assert states(bench, 0) == [CONSENTED, WAITING, WAITING]
    while bench.drive(0) is not None:
        bench.check()
    assert [(page, state) for page, _, state in bench.ring(0)] == [(1, WAITING), (2, WAITING)]
    assert not bench.flag(0, OFFERED) and bench.flag(1, OFFERED) and bench.flag(2, OFFERED)
    assert bench.drive(0) is None
    bench.answer(0)
    assert bench.saved() == 2


def test_a_ring_goes_round() -> None:
    bench = guests(options={"ring": 3})
    bench.fill(dict.fromkeys(range(8), 0))
    for first in range(0, 3 * t.RING, 3):
        batch = [(first + at) % 8 for at in range(3)]
        for page in batch:
            bench.offer(page, ZERO)
        assert bench.ring(0) == [(page, ZERO, WAITING) for page in batch]
        bench.answer(0)
        for page in batch:  # written, and zero again
            assert bench.flag(page, READ_ONLY)
            bench.write(page, 0)
            bench.look_at(page)
        bench.mem.totals[t.T_LOG_COUNT] = bench.mem.totals[t.T_OUTCOME_COUNT] = 0
        bench.check()
    assert bench.total(t.T_OFFERS_DROPPED) == 0
    assert bench.total(t.T_OFFERS) == bench.total(t.T_OFFERS_SHARED) == 3 * t.RING


def test_what_becomes_of_offers_beyond_what_is_kept_for_the_policy_is_not_told() -> None:
    bench = shared()
    bench.mem.totals[t.T_OUTCOME_COUNT] = t.OUTCOME_ROWS
    bench.write(B, SAME_CONTENT)
    bench.look_at(B)
    bench.offer(B, A)
    bench.answer(1)
    assert bench.saved() == 1 and bench.total(t.T_OUTCOME_COUNT) == t.OUTCOME_ROWS


# Free pages


def classify(bench: Bench, kind: PageClass, *pages: int) -> None:
    """Pages are of that class."""
    for page in pages:
        flags = int(bench.mem.pages[page]["flags"]) & ~int(t.CLASS_MASK)
        bench.mem.pages[page]["flags"] = flags | int(kind)


@pytest.mark.parametrize("how", ["share", "balloon"])
def test_a_page_that_the_guest_knows_to_be_free_is_shared_or_ballooned(how: str) -> None:
    bench = offered(options={"free_pages": how})
    classify(bench, PageClass.FREE, A, B)
    bench.answer(0)
    spent = bench.answer(1)
    bench.check()
    ballooned = how == "balloon"
    assert bench.flag(B, BALLOONED) == ballooned and bench.saved() == 1 - ballooned
    assert int(bench.mem.vms[1]["ballooned"]) == ballooned
    assert (bench.frame(B) is None) == ballooned and not bench.flag(B, OFFERED)
    if ballooned:
        assert spent == bench.cost_of("event") + bench.cost_of("inflate")
        assert bench.total(t.T_OFFERS_REFUSED) == 0
        assert bench.deflate(1, 1) == 1


def test_pages_in_use_are_shared_beside_free_ones_that_are_ballooned() -> None:
    bench = guests(options={"free_pages": "balloon"})
    bench.fill({0: 0, 1: 0, 2: 0, 3: 0})
    classify(bench, PageClass.ANONYMOUS, 1, 3)
    classify(bench, PageClass.FREE, 0, 2)
    for page in range(4):
        bench.offer(page, ZERO)
    bench.notify(0)
    bench.drive(0)
    assert states(bench, 0) == [BALLOONED_AWAY, CONSENTED, BALLOONED_AWAY, CONSENTED]
    bench.answer(0)
    bench.check()
    assert bench.saved() == 1 and bench.frame(1) == bench.frame(3)


def test_pages_given_to_the_balloon_are_flushed_for_even_when_none_is_shared() -> None:
    bench = offered(options={"free_pages": "balloon"}, vcpus=2)
    classify(bench, PageClass.FREE, B)
    other = bench.mem.vcpus[3]
    bench.answer(1)
    assert bench.total(t.T_FLUSHES) == 1
    assert other["debt"] >= bench.cost_of("flush_target") > 0
