"""The pictures of docs/paging.md and docs/paravirtual.md show what the runs behind them did."""

from itertools import pairwise

import pytest

from analysis.pictures import (
    DESIGNS,
    MACHINE,
    PAYERS,
    TABLES,
    break_ns,
    many_spaces,
    merging,
    one_batch,
    spans_of,
    time_per_merge,
    ways_to_break,
)
from sharesim import Run, simulate


@pytest.fixture(scope="module")
def batch() -> Run:
    return simulate(one_batch())


def test_steps_of_a_batch_follow_one_another(batch: Run) -> None:
    events = batch.events
    for guest in ("left", "right"):
        spans = spans_of(events[events.actor == guest], batch)
        steps = sorted(span for kind in ("consent", "share", "rewrite") for span in spans[kind])
        assert len(spans["consent"]) == 1 and len(spans["share"]) == 1 + 12
        for (begin, length), (after, _) in pairwise(steps):
            assert begin + length == pytest.approx(after)
    offers = events[events.kind == "offer"]
    assert len(offers) == 24
    assert offers.time_ns.max() < events[events.kind == "consent"].time_ns.min()


def test_frames_are_free_after_the_flush_only(batch: Run) -> None:
    host = batch.timeline[batch.timeline.entity == "host"]
    rewrite = batch.events[batch.events.kind == "rewrite"].iloc[-1]
    end = rewrite.time_ns + rewrite.duration_ns
    assert host.saved_pages.max() == 12
    waiting = host[(host.saved_pages > 0) & (host.time_ns < end)]
    flushed = host[host.time_ns > end]
    assert len(waiting) > 50 and (waiting.pending_flush_pages == 12).all()
    assert (flushed.pending_flush_pages == 0).all()
    assert flushed.free_pages.iloc[0] == host.free_pages.iloc[0] + 12


def test_who_pays_for_a_merge_adds_up() -> None:
    for name in ("shadow, transparent", "direct, paravirtual"):
        run = simulate(merging(*DESIGNS[name]))
        parts, merges = time_per_merge(run), run.summary["counters"]["merges"]
        assert list(parts) == list(PAYERS) and min(parts.values()) >= 0
        ledger = run.summary["host"]["ledger_ns"]
        spent = run.summary["scanner"]["cpu_ns"] + ledger["sharing"] + ledger["interrupted"]
        assert sum(parts.values()) == pytest.approx(spent / merges / 1e3)
        assert (parts["guests: their drivers"] > 0) == (name == "direct, paravirtual")
        assert (parts["guests: interrupted by flushes"] > 0) == (name == "shadow, transparent")


def test_a_pool_that_holds_all_tables_evicts_none() -> None:
    assert simulate(many_spaces(TABLES)).summary["counters"]["shadow_evictions"] == 0
    assert simulate(many_spaces(TABLES - 2)).summary["counters"]["shadow_evictions"] > 0


def test_ways_to_break_come_in_the_order_of_the_page() -> None:
    runs = {name: break_ns(simulate(one)) for name, one in ways_to_break(MACHINE).items()}
    assert runs["overwriting"] < runs["hypervisor"] < runs["upcall"] < runs["shadow"]
