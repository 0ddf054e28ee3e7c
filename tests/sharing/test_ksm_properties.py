"""ksmd in random small worlds: the engine counts as the plain model does, at all times."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sharesim.spec.scenario import Costs
from tests.sharing.ksm_world import (
    COUNTERS,
    MS,
    Life,
    Row,
    World,
    copies_at_the_end,
    engine_rows,
    first_difference,
    plain_rows,
)

SEEDS = 40
FRESH = 1_000
"""Contents from this number on are in one page only."""


class Draw:
    """A random world. Each event has a quarter of a tick for itself, so that none can tie.

    ``busy``: in this part of the run things happen, then nothing more.
    """

    def __init__(self, seed: int, *, busy: float = 1.0, **knobs: Any) -> None:
        self.random = Random(seed)
        self.fresh = FRESH
        self.contents = self.random.choice([0, 1, 1, 3, 6])
        self.unlike = self.random.choice([0.0, 0.05, 0.3])
        self.hz = self.random.choice([100, 250, 250, 1000])
        self.tick = 1_000_000_000 // self.hz
        self.sizes = [self.random.randint(1, 40) for _ in range(self.random.randint(2, 4))]
        self.knobs = self._knobs() | knobs
        self.ticks = self._ticks()
        self.busy = int(self.ticks * busy)
        self.times = self._times()

    def world(self) -> World:
        """The world that has been drawn."""
        lives = tuple(self._life(size) for size in self.sizes)
        return World(
            lives=lives,
            duration=self.ticks * self.tick,
            knobs=self.knobs,
            writes=tuple(self._writes(lives)),
            advice=tuple(self._advice(lives)),
            changes=tuple(self._changes()),
            hz=self.hz,
        )

    def _knobs(self) -> dict[str, Any]:
        choice = self.random.choice
        sleep = choice([1, 5, 20, 20, 300])
        return {
            "pages_to_scan": choice([1, 3, 7, 10, 10, 30, 30, 100, 200]),
            "sleep_millisecs": sleep,
            "smart_scan": choice([0, 1]),
            "use_zero_pages": choice([0, 1]),
            "max_page_sharing": choice([2, 3, 3, 4, 6, 256]),
            "stable_node_chains_prune_millisecs": choice([0, 2 * sleep, 20 * sleep, 2000]),
            "checksum_first": choice([1, 1, 1, 0]),
        }

    def _ticks(self) -> int:
        """Long enough for some scans, and not too long."""
        batches = 12 * (sum(self.sizes) // self.knobs["pages_to_scan"] + 1)
        period = -(-self.knobs["sleep_millisecs"] * MS // self.tick) + 1
        return min(max(batches, 40), 250 if period < 20 else 60) * period

    def _times(self) -> Iterator[int]:
        """Times for what happens once, in random order, and all different."""
        chosen = self.random.sample(range(self.busy), min(self.busy, 40))
        return iter([tick * self.tick + 3 * self.tick // 4 for tick in chosen])

    def _content(self) -> int:
        if self.random.random() < self.unlike:
            self.fresh += 1
            return self.fresh
        return self.random.randint(0, self.contents)

    def _life(self, size: int) -> Life:
        random = self.random
        populated = random.choice([0.4, 0.9, 1.0])
        contents = {page: self._content() for page in range(size) if random.random() < populated}
        arrives = 0 if random.random() < 0.6 else next(self.times)
        exits = next(self.times) if random.random() < 0.3 else None
        if exits is not None and exits <= arrives:
            arrives, exits = exits, arrives or None
        return Life(size, contents, arrives, exits)

    def _writes(self, lives: tuple[Life, ...]) -> Iterator[tuple[int, int, int, int]]:
        random = self.random
        count = random.choice([0, 10, self.busy // 4, self.busy])
        pages = random.choice([2, 10, 40])
        for tick in sorted(random.choices(range(self.busy), k=count)):
            number = random.randrange(len(lives))
            time, end = tick * self.tick + self.tick // 4, lives[number].exits
            if end is None or time < end:
                page = random.randrange(min(pages, lives[number].pages))
                yield time, number, page, self._content()

    def _advice(self, lives: tuple[Life, ...]) -> Iterator[tuple[int, int, str, int, int]]:
        random = self.random
        for _ in range(random.choice([0, 0, 1, 4])):
            time, number = next(self.times), random.randrange(len(lives))
            life = lives[number]
            advice = random.choice(["mergeable", "unmergeable", "unmergeable"])
            first = random.choice([0, random.randrange(life.pages)])
            count = random.choice([life.pages - first, random.randint(1, life.pages - first)])
            if (life.arrives or 0) < time < (life.exits or time + 1):
                yield time, number, advice, first, count

    def _changes(self) -> list[tuple[int, str, Any]]:
        """Some knobs; after ``run`` has been changed it is soon 1 again."""
        random = self.random
        times = sorted(next(self.times) for _ in range(random.choice([0, 0, 2, 6])))
        changes = [(time, *random.choice(CHANGES)) for time in times]
        wait = self.tick * random.choice([0, 5, 20]) + self.tick // 8
        back = [(time + wait, "run", 1) for time, knob, _ in changes if knob == "run"]
        return sorted([*changes, *random.sample(back, len(back) * 3 // 4)])


CHANGES: tuple[tuple[str, Any], ...] = (
    ("run", 0), ("run", 2), ("run", 2), ("smart_scan", 0), ("smart_scan", 1),
    ("use_zero_pages", 0), ("use_zero_pages", 1), ("sleep_millisecs", 2), ("sleep_millisecs", 20),
    ("stable_node_chains_prune_millisecs", 0), ("pages_to_scan", 13),
    ("advisor_mode", "scan-time"), ("advisor_mode", "none"),
)  # fmt: skip


def identities(rows: list[Row]) -> None:
    """What holds of the counters at all times."""
    for before, row in zip([None, *rows], rows, strict=False):
        states = ("shared", "sharing", "unshared", "volatile")
        assert row["rmap_items"] == sum(row[f"pages_{state}"] for state in states)
        assert min(row[name] for name in COUNTERS if name != "general_profit") >= 0
        assert (row["pages_shared"] == 0) <= (row["pages_sharing"] == 0)
        if before:
            for name in ("pages_scanned", "pages_skipped", "cow_ksm"):
                assert row[name] >= before[name]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_engine_counts_as_the_plain_model_does(seed: int, tmp_path: Path) -> None:
    world = Draw(seed).world()
    mode = "exact" if seed % 2 else "decoupled"
    mine = engine_rows(world, tmp_path, mode=mode)
    assert first_difference(world, mine, plain_rows(world)) == ""
    identities(mine)


@pytest.mark.parametrize("seed", range(SEEDS // 4))
def test_it_does_so_with_an_ideal_set(seed: int, tmp_path: Path) -> None:
    world = Draw(seed, unstable="set").world()
    mine = engine_rows(world, tmp_path, mode="decoupled")
    assert first_difference(world, mine, plain_rows(world)) == ""
    identities(mine)


SLOW = Costs(
    profile="linux-6.18",
    override={
        "ksm_first_visit": 90_000, "ksm_visit": 110_000, "ksm_merged_visit": 30_000,
        "ksm_merge_pair": 150_000, "entry_protect": 170_000, "entry_update": 190_000,
        "flush_target": 0, "violation_handler": 50_000,
    },
)  # fmt: skip
"""Batches last for some ticks, so that all that can happen does so in the middle of them."""
RARE = (207, 432, 819, 887)
"""Pages are made unmergeable, or all is unmerged, between two steps of a merge."""


@pytest.mark.parametrize("seed", [*range(SEEDS), *RARE])
def test_whatever_happens_in_a_batch_in_the_end_all_that_is_equal_is_merged(
    seed: int, tmp_path: Path
) -> None:
    drawn = Draw(
        seed, busy=0.4, max_page_sharing=256, smart_scan=0, use_zero_pages=0, pages_to_scan=30,
        sleep_millisecs=seed % 7 + 1,
    )  # fmt: skip
    world = drawn.world()
    changes = [change for change in world.changes if change[1] in ("run", "sleep_millisecs")]
    start = (drawn.busy + 30) * drawn.tick, "run", 1
    world = replace(world, changes=(*changes, start), duration=start[0] + 800 * MS)
    quantum = 100_000
    rows = engine_rows(
        world,
        tmp_path,
        samples=range(quantum, world.duration, 17 * quantum),
        costs=SLOW,
        mode="exact" if seed % 2 else "decoupled",
        sync_quantum=quantum,
    )
    identities(rows)
    last, copies = rows[-1], copies_at_the_end(world)
    assert last["pages_volatile"] == 0
    assert last["rmap_items"] == copies.total()
    assert last["pages_sharing"] == copies.total() - len(copies)
    # a merged page that lost its partners stays merged
    assert last["pages_shared"] >= sum(count > 1 for count in copies.values())
