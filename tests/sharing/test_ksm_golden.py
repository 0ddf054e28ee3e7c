"""Tiny worlds worked out by hand: one for each thing that a naive ksmd gets wrong.

All is done in the engine and in the plain model, which must agree. Unless told otherwise ksmd
sleeps for 1 ms, which with 250 ticks a second is 8 ms from batch to batch: batch b is at 8 b ms.
Pages of the first process are named by their numbers.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sharesim.resolve import resolve
from sharesim.simulate import Simulation
from tests.sharing.ksm_world import (
    MS,
    Life,
    Row,
    World,
    column,
    engine_rows,
    first_difference,
    in_order,
    plain_rows,
    scenario,
    states,
)

A, B, C, D, E = in_order(range(1, 6))
"""Contents, in the order of their bytes."""
PERIOD = 8 * MS
PLAIN: dict[str, Any] = {"sleep_millisecs": 1, "smart_scan": 0, "pages_to_scan": 100}

Counts = Callable[..., list[Row]]


def life(*contents: int, arrives: int = 0, exits: int | None = None) -> Life:
    """A process with all of its pages in use."""
    return Life(len(contents), dict(enumerate(contents)), arrives, exits)


def after(batch: int) -> int:
    """A time between that batch and the next."""
    return batch * PERIOD + 3 * MS


def world(*lives: Life, batches: int, knobs: Mapping[str, Any] | None = None, **more: Any) -> World:
    """So many batches, 8 ms apart."""
    return World(lives, batches * PERIOD, {**PLAIN, **(knobs or {})}, **more)


@pytest.fixture
def counts(tmp_path: Path) -> Counts:
    """Runs a world both ways; gives the counters after each batch (one a ``period``)."""

    def run(world: World, period: int = PERIOD) -> list[Row]:
        rows = engine_rows(world, tmp_path)
        assert first_difference(world, rows, plain_rows(world)) == ""
        return rows[:: period // world.tick]

    return run


# 1. The period is not sleep_millisecs


@pytest.mark.parametrize(
    ("hz", "sleep", "ticks"),
    [
        (250, 20, 6),  # 5 ticks and one more: 24 ms
        (250, 1, 2),  # part of a tick is rounded up: 1 + 1
        (250, 10, 4),  # 2.5 -> 3, + 1
        (250, 50, 14),  # 12.5 -> 13, + 1
        (250, 200, 51),
        (250, 248, 63),  # 62 ticks are the last on the fine wheel
        (250, 300, 80),  # 75 ticks: on the wheel of 8, 75 // 8 + 1 = 10 turns
        (1000, 20, 21),
        (100, 20, 3),
    ],
)
def test_the_period_is_in_ticks(counts: Counts, hz: int, sleep: int, ticks: int) -> None:
    knobs = {"sleep_millisecs": sleep, "smart_scan": 0, "pages_to_scan": 1}
    made = World((life(*range(1, 6)),), 4 * ticks * (1_000_000_000 // hz), knobs, hz=hz)
    rows = counts(made, made.tick)
    # one page is examined at tick 0, another at tick ``ticks``, and so on
    assert column(rows, "pages_scanned") == [1 + tick // ticks for tick in range(4 * ticks)]


# 2. The end of a full scan ends the batch


def test_the_end_of_a_full_scan_ends_the_batch(counts: Counts) -> None:
    # 5 pages, 3 a batch: 3, then 2 and the end; no batch has pages of two scans
    rows = counts(world(life(A, B, C, D, E), batches=4, knobs={"pages_to_scan": 3}))
    assert column(rows, "pages_scanned") == [3, 5, 8, 10]
    assert column(rows, "full_scans") == [0, 1, 1, 2]


def test_an_exact_multiple_needs_a_batch_more(counts: Counts) -> None:
    # 4 pages, 2 a batch: 2, 2, and one that only finds the end: 4 // 2 + 1 batches
    rows = counts(world(life(A, B, C, D), batches=6, knobs={"pages_to_scan": 2}))
    assert column(rows, "pages_scanned") == [2, 4, 4, 6, 8, 8]
    assert column(rows, "full_scans") == [0, 0, 1, 1, 1, 2]


def test_a_batch_larger_than_memory_is_a_full_scan(counts: Counts) -> None:
    rows = counts(world(life(A, B), batches=3, knobs={"pages_to_scan": 3}))
    assert column(rows, "pages_scanned") == [2, 4, 6]
    assert column(rows, "full_scans") == [1, 2, 3]


# 3. The unstable tree is corrupted by writes

TREE = life(B, A, C, C)
"""Three pages a batch. Batches 0 and 1 are the first full scan, which only takes checksums. Batch 2
puts pages 0, 1, 2 in the tree: B at the root, A to its left, C to its right."""


@pytest.mark.parametrize("unstable", ["tree", "set"])
def test_a_write_to_the_root_misleads_a_search(tmp_path: Path, unstable: str) -> None:
    """Before batch 3, the page at the root is written: E.

    tree: page 3 (C) goes left of E, right of A, and finds no place taken: 4 pages unshared. Next
    scan, batches 4 and 5: page 0 has changed; A and C of pages 1 and 2 are put in, and page 3
    finds C. set: page 3 finds page 2 in batch 3.
    """
    made = world(
        TREE,
        batches=6,
        knobs={"pages_to_scan": 3, "unstable": unstable},
        writes=((after(2), 0, 0, E),),
    )
    rows = engine_rows(made, tmp_path)
    assert first_difference(made, rows, plain_rows(made)) == ""
    found = [states(row) for row in rows[::2]]
    assert found[:3] == [(0, 0, 0, 3), (0, 0, 0, 4), (0, 0, 3, 1)]
    if unstable == "tree":
        # in batch 4 page 0 is volatile, 1 and 2 are unshared again, 3 still from the scan before
        assert found[3:] == [(0, 0, 4, 0), (0, 0, 3, 1), (1, 1, 1, 1)]
    else:
        # in batch 3 pages 2 and 3 are merged, 0 and 1 are unshared; batch 4 meets 0 changed
        assert found[3:] == [(1, 1, 2, 0), (1, 1, 1, 1), (1, 1, 1, 1)]


def test_a_page_that_changed_in_the_tree_is_found_by_what_it_holds_now(counts: Counts) -> None:
    # before batch 3 the root's page becomes C, without a visit: page 3 merges with it, not with
    # page 2; in the next scan pages 1 and 2 are put in again, and page 2 (C) finds the stable page
    made = world(TREE, batches=5, knobs={"pages_to_scan": 3}, writes=((after(2), 0, 0, C),))
    found = [states(row) for row in counts(made)]
    assert found[3:] == [(1, 1, 2, 0), (1, 2, 1, 0)]


# 4. smart_scan

EXAMINED = (1, 2, 3, 4, 6, 9, 14, 23, 32, 41)


def test_the_schedule_of_smart_scan(counts: Counts) -> None:
    """One page that never merges, a full scan a batch: visit v is batch v - 1.

    Examined visits: 1 takes the checksum, from 2 on it is put in the unstable tree. A skipped page
    leaves it and is volatile.
    """
    rows = counts(world(life(A), batches=45, knobs={"smart_scan": 1}))
    for visit, row in enumerate(rows, 1):
        assert row["pages_scanned"] == sum(number <= visit for number in EXAMINED)
        assert row["pages_scanned"] + row["pages_skipped"] == row["full_scans"] == visit
        unshared = visit > 1 and visit in EXAMINED
        assert states(row) == (0, 0, int(unshared), int(not unshared))


def test_skips_are_free_of_the_budget(counts: Counts) -> None:
    # 4 pages, 2 a batch: four scans of 3 batches each; then one that skips all takes one
    knobs = {"smart_scan": 1, "pages_to_scan": 2}
    rows = counts(world(life(A, B, C, D), batches=14, knobs=knobs))
    assert column(rows, "full_scans")[10:] == [3, 4, 5, 5]
    assert column(rows, "pages_scanned")[10:] == [16, 16, 16, 18]
    assert column(rows, "pages_skipped")[10:] == [0, 0, 4, 4]


def test_a_merged_page_does_not_age_and_a_broken_one_goes_on_ageing(counts: Counts) -> None:
    """Two equal pages merge at their second visits: age 2. Batches 2 to 9 visit merged pages.

    Then page 0 is written. Visits of batch 10 (age 2) and 11 (age 3, one skip to come) examine it;
    12 (age 4) skips it; 13 (age 5, two skips to come) examines it.
    """
    made = world(life(A, A), batches=14, knobs={"smart_scan": 1}, writes=((after(9), 0, 0, B),))
    rows = counts(made)
    assert column(rows, "pages_scanned") == [*range(2, 25, 2), 25, 27]
    assert column(rows, "pages_skipped") == [0] * 12 + [1, 1]


# 5. Every merge needs two visits


@pytest.mark.parametrize(("checksum_first", "merged_in"), [(1, 4), (0, 3)])
def test_a_page_that_meets_a_stable_page_needs_two_visits(
    counts: Counts, checksum_first: int, merged_in: int
) -> None:
    # a pair is merged in batch 1; a third copy comes after batch 2, and is visited in 3 and 4.
    # Before Linux 6.11 its first visit was enough.
    lives = (life(A, A), life(A, arrives=after(2)))
    rows = counts(world(*lives, batches=6, knobs={"checksum_first": checksum_first}))
    sharing = column(rows, "pages_sharing")
    assert sharing == [0, 1, 1, *(1 + (batch >= merged_in) for batch in (3, 4, 5))]


def test_a_page_that_gets_its_old_content_back_is_merged_at_once(counts: Counts) -> None:
    # Three copies are merged in batch 1. Page 0 becomes B before batch 3, and A again before batch
    # 4: its checksum is B's by then, so it takes two visits (4, 5). Page 1 becomes B and A again
    # between two visits: its checksum is still A's, one visit is enough (4), and nothing shows.
    made = world(
        life(A, A, A),
        batches=6,
        writes=(
            (after(2), 0, 0, B), (after(3), 0, 0, A), (after(3), 0, 1, B), (after(3), 0, 1, A),
        ),
    )  # fmt: skip
    rows = counts(made)
    assert column(rows, "pages_sharing") == [0, 2, 2, 1, 1, 2]
    assert column(rows, "cow_ksm") == [0, 0, 0, 1, 2, 2]


# 6. Counters do not change when a page is written, but when it is visited


def test_counters_change_when_ksmd_comes_by(counts: Counts) -> None:
    """Four equal pages, one a batch: 5 batches a scan. They are merged in batches 6, 7 and 8.

    Page 3 is written after batch 9: cow_ksm shows it at once, pages_sharing in batch 13.
    """
    knobs = {"pages_to_scan": 1}
    made = world(life(A, A, A, A), batches=15, knobs=knobs, writes=((after(8), 0, 3, B),))
    rows = counts(made)
    assert column(rows, "pages_sharing")[5:] == [0, 1, 2, 3, 3, 3, 3, 3, 2, 2]
    assert column(rows, "cow_ksm") == [0] * 9 + [1] * 6


def test_zero_pages_are_counted_as_they_are(counts: Counts) -> None:
    # two zero pages are merged in batch 1; one is written after batch 2: visible at once, before
    # ksmd meets the page in batch 3. That is no break of a KSM page.
    made = world(life(0, 0), batches=4, knobs={"use_zero_pages": 1}, writes=((after(2), 0, 0, B),))
    rows = counts(made)
    assert column(rows, "ksm_zero_pages") == [0, 2, 2, 1]
    assert column(rows, "cow_ksm") == [0] * 4


# 7. A new process goes behind the cursor


def test_a_new_process_is_reached_in_the_next_scan_and_before_the_cursor(counts: Counts) -> None:
    """Processes of 4 and 4 pages, 2 a batch: a scan is batches 0 to 4. A third comes after batch 2.

    The cursor is in the second process then, so the third goes between the two: it is met in batch
    7, not in batch 4 or 9.
    """
    lives = (life(A, B, C, D), life(A, B, C, D), life(E, E, arrives=after(2)))
    rows = counts(world(*lives, batches=11, knobs={"pages_to_scan": 2}))
    assert column(rows, "full_scans") == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2]
    assert column(rows, "rmap_items") == [2, 4, 6, 8, 8, 8, 8, 10, 10, 10, 10]


def test_a_new_process_goes_to_the_tail_between_two_scans(counts: Counts) -> None:
    # as before, but it comes after batch 4, which ends the scan: it is met last, in batch 9
    lives = (life(A, B, C, D), life(A, B, C, D), life(E, E, arrives=after(4)))
    rows = counts(world(*lives, batches=11, knobs={"pages_to_scan": 2}))
    assert column(rows, "rmap_items") == [2, 4, 6, 8, 8, 8, 8, 8, 8, 10, 10]


# 8. A KSM page is copied even if it is mapped once; its frame is freed, its node lingers


def test_the_last_mapping_is_copied_and_the_node_lingers(counts: Counts) -> None:
    # a pair is merged in batch 1, and both pages are written after it; batch 2 notices, all at once
    writes = ((after(1), 0, 0, B), (after(1), 0, 1, C))
    made = world(life(A, A), batches=4, writes=writes)
    rows = counts(made)
    assert column(rows, "cow_ksm") == [0, 0, 2, 2]
    assert [states(row) for row in rows] == [(0, 0, 0, 2), (1, 1, 0, 0), (0, 0, 0, 2), (0, 0, 2, 0)]


def test_the_frame_is_freed_while_the_node_lingers(tmp_path: Path) -> None:
    writes = ((after(1), 0, 0, B), (after(1), 0, 1, C))
    made = resolve(scenario(world(life(A, A), batches=3, writes=writes), tmp_path))
    simulation = Simulation(made)
    simulation.advance(after(1) + MS)
    memory, counters = simulation.engine.memory, simulation.engine.policy.counters()
    assert len(set(memory.pages["mfn"].tolist())) == 2  # both private
    assert (memory.frames["ref"] > 0).sum() == 2  # and no third frame
    assert (counters["pages_shared"], counters["pages_sharing"]) == (1, 1)


# 9. The frame of the page scanned later survives


def test_the_later_page_keeps_its_frame(tmp_path: Path) -> None:
    simulation = Simulation(resolve(scenario(world(life(A, B, A, A), batches=3), tmp_path)))
    simulation.advance(after(0))
    before = simulation.engine.memory.pages["mfn"].tolist()
    simulation.advance(after(1))
    # page 2 finds page 0 in the unstable tree and keeps its frame; page 3 joins that
    assert (
        simulation.engine.memory.pages["mfn"].tolist() == [before[2], before[1]] + [before[2]] * 2
    )


# 10. The advisor


def test_the_first_steps_of_the_advisor(counts: Counts) -> None:
    """It starts with 120 pages, and a full scan is a batch: scan time max(1, 0 s).

    step 1: 200 ms of CPU time before: 200 * 100 / 1000 = 20 %. factor 2 * 100 / 1 = 200; change
    (70 * 0 + 30 * 100) / 100 = 30; pages 120 * 100 / 200 = 60, * 30 / 100 = 18; for each per cent
    of a CPU 120 / 20 = 6 pages, so at least 60: 60.
    step 2: no CPU time: 1 %. change (70 * 30 + 30 * 100) / 100 = 51; pages 60 * 100 / 200 = 30,
    * 51 / 100 = 15; 60 a per cent, so at least 600.
    step 3: change (70 * 51 + 3000) / 100 = 65; pages 600 / 2 * 65 / 100 = 195; at least 6000; at
    most 4000.
    """
    knobs = {
        "advisor_mode": "scan-time", "advisor_target_scan_time": 2,
        "advisor_min_pages_to_scan": 120, "advisor_max_pages_to_scan": 4000, "advisor_max_cpu": 20,
    }  # fmt: skip
    rows = counts(world(life(A), batches=4, knobs=knobs, cpu_before=200 * MS))
    assert column(rows, "pages_to_scan") == [60, 600, 4000, 4000]


def test_the_advisor_counts_whole_seconds(counts: Counts) -> None:
    """10 pages, one a batch, every 51 ticks (204 ms): the 11th batch is 2.04 s after the first.

    scan time 2 s; factor 10 * 100 / 2 = 500; change 30; 1 * 100 / 500 = 0 pages; at least 10 a
    per cent. The next scan takes two batches, of 10 pages and of none: 0.2 s, taken for 1. factor
    1000; change (70 * 30 + 30 * 50) / 100 = 36; 10 * 100 / 1000 * 36 / 100 = 0; at least 100. Then
    each scan is one batch: at least 1000.
    """
    knobs = {
        "advisor_mode": "scan-time", "advisor_target_scan_time": 10, "sleep_millisecs": 200,
        "advisor_min_pages_to_scan": 1, "smart_scan": 0,
    }  # fmt: skip
    made = World((life(*range(1, 11)),), 14 * 204 * MS, knobs)
    rows = counts(made, 204 * MS)
    assert column(rows, "pages_to_scan") == [1] * 10 + [10] * 2 + [100, 1000]


# 11. Zero pages


def test_zero_pages_vanish_from_scan_and_items(counts: Counts) -> None:
    """Three zero pages and another, a scan a batch.

    Batch 1 maps the zero page; the items go in batch 2, until then they are volatile; from then on
    only one page is examined.
    """
    rows = counts(world(life(0, A, 0, 0), batches=4, knobs={"use_zero_pages": 1}))
    assert column(rows, "ksm_zero_pages") == [0, 3, 3, 3]
    assert column(rows, "rmap_items") == [4, 4, 1, 1]
    assert column(rows, "pages_scanned") == [4, 8, 9, 10]
    assert [states(row) for row in rows] == [(0, 0, 0, 4), (0, 0, 1, 3), (0, 0, 1, 0), (0, 0, 1, 0)]
    # a page saved is 4096 bytes, an item takes 64
    assert column(rows, "general_profit") == [-256, 3 * 4096 - 256, 3 * 4096 - 64, 3 * 4096 - 64]


def test_otherwise_zero_pages_are_ordinary_and_limited_by_max_page_sharing(counts: Counts) -> None:
    """Five zero pages, at most two to a frame: in batch 1 the first two merge, and the next two.

    They are a chain; the fifth finds both full and is unshared.
    """
    rows = counts(world(life(0, 0, 0, 0, 0), batches=3, knobs={"max_page_sharing": 2}))
    assert [states(row) for row in rows] == [(0, 0, 0, 5), (2, 2, 1, 0), (2, 2, 1, 0)]
    assert column(rows, "stable_node_chains") == [0, 1, 1]
    assert column(rows, "stable_node_dups") == [0, 2, 2]
    assert column(rows, "ksm_zero_pages") == [0, 0, 0]


# 12. Stale nodes go with all their items at once


def test_a_stale_node_goes_at_the_first_visit_of_an_item(counts: Counts) -> None:
    """Three equal pages, one a batch, 4 batches a scan: merged in batches 5 and 6.

    All are written after batch 7; nothing shows but cow_ksm. Batch 8 visits page 0: its node is
    stale, and all three items are volatile though two are still to be visited.
    """
    writes = tuple((after(7), 0, page, content) for page, content in enumerate((B, C, D)))
    rows = counts(world(life(A, A, A), batches=10, knobs={"pages_to_scan": 1}, writes=writes))
    found = [states(row) for row in rows]
    assert found[5:] == [(1, 1, 0, 1), (1, 2, 0, 0), (1, 2, 0, 0), (0, 0, 0, 3), (0, 0, 0, 3)]
    assert rows[8]["cow_ksm"] == 3


def test_a_search_that_passes_a_stale_node_removes_it(counts: Counts) -> None:
    """Page 0 differs from 1 and 2, which are merged in batches 6; one page a batch, 4 a scan.

    Before batch 8, the others are written: batch 8 visits page 0, whose search meets the stale node
    at the root; its items are volatile before they are visited.
    """
    writes = ((after(7), 0, 1, C), (after(7), 0, 2, D))
    rows = counts(world(life(B, A, A), batches=9, knobs={"pages_to_scan": 1}, writes=writes))
    found = [states(row) for row in rows]
    assert found[5:] == [(0, 0, 2, 1), (1, 1, 1, 0), (1, 1, 1, 0), (0, 0, 1, 2)]
