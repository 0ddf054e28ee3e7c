"""A naive model of memory that holds the bytes themselves, and random operations on both.

A :class:`Walk` is a workbench and the bytes that each guest wrote last. Its operations do something
to the tables through the real kernels and to the bytes by hand; after each of them everything that
must hold is tested. Operations are drawn by weight from a seeded stream, so that a walk is known by
its seed; ``trace`` tells what it did.
"""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, ClassVar

import numpy as np

from sharesim.content.classes import PageClass
from sharesim.hypervisor.fault import OVERWRITE, READ, WRITE, needs_fault
from sharesim.hypervisor.merge import (
    ABORTED,
    FALSE_MATCH,
    INELIGIBLE,
    MERGED,
    PENDING,
    SAME,
    forget_recent,
    share_now,
)
from sharesim.hypervisor.offers import BALLOONED_AWAY, CONSENT, CONSENTED, TAKEN_BACK, WAITING
from sharesim.machine import tables as t
from sharesim.machine.tables import (
    ABSENT,
    BALLOONED,
    BLOCK,
    CORRUPTED,
    NONE,
    OFFERED,
    PINNED,
    PROTECTED,
    READ_ONLY,
    ZERO,
)
from sharesim.spec.paging import Direct, Nested, PagingSpec
from sharesim.spec.scenario import Paravirtual, Sharing
from tests.hypervisor.bench import Bench

SIZES = (6, 5, 4, 6)
"""Guest 3 is started as a clone of guest 0, if at all."""
PAGES = sum(SIZES)
FRAMES = 16
CONTENTS = 4

Weights = dict[str, int]


def bytes_of(content: int) -> bytes:
    """A page whose bytes a content id names."""
    return content.to_bytes(8, "little") * 512


class Walk:
    """``memory`` holds, for each page with a frame, the bytes that its guest wrote last."""

    verify = True
    bits = 32
    last_sharer = "reuse"
    paging: PagingSpec = Nested()
    sharing = Sharing()
    pool = 64
    weights: ClassVar[Weights] = {
        "write": 12, "write_what_was_there": 3, "read": 6, "switch": 3, "release": 2,
        "inflate": 1, "deflate": 3, "clone": 1, "stop": 1, "pass_time": 3,
    }  # fmt: skip
    """The operations, and how often each is drawn beside the others."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.trace: list[str] = []
        self.alive = {0, 1, 2}
        self.memory: dict[int, bytes] = {}
        self.bench = Bench(
            SIZES,
            frames=FRAMES,
            started=(0, 1, 2),
            verify=self.verify,
            bits=self.bits,
            last_sharer=self.last_sharer,
            paging=self.paging,
            sharing=self.sharing,
            pool=self.pool,
        )
        for page in range(PAGES):
            self._lay_out(page)

    def _lay_out(self, page: int) -> None:
        random, bench = self.random, self.bench
        bench.mem.pages[page]["map_count"] = random.choice([1, 1, 2, 3])
        kind = PageClass.FREE if random.random() < 0.3 else PageClass.ANONYMOUS
        bench.set_flags(page, int(kind) | (PINNED if random.random() < 0.05 else 0))
        if self.paging.blocks and page < 4:
            bench.set_flags(page, BLOCK)
        if page < SIZES[0] + SIZES[1] and random.random() < 0.8:
            content = random.randrange(CONTENTS)
            bench.fill({page: content})
            self.memory[page] = bytes_of(content)

    def go(self, steps: int) -> None:
        """So many operations, each drawn by its weight; after each all that must hold is tested."""
        names, weights = list(self.weights), list(self.weights.values())
        self.test()
        for name in self.random.choices(names, weights, k=steps):
            operation: Callable[[], object] = getattr(self, name)
            self.trace.append(name)
            operation()
            self.test()

    # Drawing

    def some_page(self) -> int:
        """Any page of a guest that runs, nearly always."""
        vm = self.some_vm() if self.random.random() < 0.9 else self.random.randrange(len(SIZES))
        page = self.bench.firsts[vm] + self.random.randrange(SIZES[vm])
        self.trace[-1] += f" {page}"
        return page

    def some_vm(self) -> int:
        """A guest that runs."""
        vm = self.random.choice(sorted(self.alive))
        self.trace[-1] += f" of {vm}"
        return vm

    def some_pair(self) -> tuple[int, int]:
        """A page and a partner as a policy would offer them: nearly always they are equal now."""
        page = self.some_page()
        content = self.bench.content(page)
        equal = [other for other in range(PAGES) if self.bench.content(other) == content]
        equal = [other for other in equal if other != page]
        if content is None or not equal or self.random.random() < (0.15 if self.verify else 0.5):
            partner = self.random.choice([*range(PAGES), ZERO])
        elif content == 0 and self.random.random() < 0.8:
            partner = ZERO
        else:
            partner = self.random.choice(equal)
        self.trace[-1] += f" {partner}"
        return page, partner

    # What guests do

    def write(self) -> None:
        """A write, of part of a page or of all of it; it waits only when there is no frame."""
        page, bench = self.some_page(), self.bench
        if bench.vm_of(page) not in self.alive:
            return
        content, free = self.random.randrange(CONTENTS), bool(bench.free_list())
        if bench.write(page, content, self.random.choice([WRITE, OVERWRITE])):
            self.memory[page] = bytes_of(content)
        else:
            assert not free

    def read(self) -> None:
        page = self.some_page()
        if self.bench.vm_of(page) not in self.alive:
            return
        if self.bench.access(page, write=READ) is None:
            assert not self.bench.free_list()
        else:
            self.memory.setdefault(page, bytes_of(0))

    def write_what_was_there(self) -> None:
        page, bench = self.some_page(), self.bench
        vm = bench.vm_of(page)
        if vm in self.alive and bench.access(page, write=WRITE) is not None:
            self.memory.setdefault(page, bytes_of(0))
            for kind in (READ, WRITE, OVERWRITE):
                assert not needs_fault(bench.mem, bench.cost, vm, page, kind)

    def switch(self) -> None:
        """Another address space."""
        self.bench.mem.vcpus[self.some_vm()]["space"] += 1

    def release(self) -> None:
        page = self.some_page()
        if self.bench.vm_of(page) in self.alive:
            self.bench.release(page)
            self.memory.pop(page, None)

    def inflate(self) -> None:
        vm = self.some_vm()
        before = int(self.bench.mem.vms[vm]["ballooned"])
        taken = self.bench.inflate(vm, self.random.randint(1, 2), self.random.randrange(6))
        assert int(self.bench.mem.vms[vm]["ballooned"]) == before + taken
        self.forget_ballooned()

    def forget_ballooned(self) -> None:
        """What the balloon took is in nobody's memory."""
        for page in list(self.memory):
            if self.bench.flag(page, BALLOONED):
                assert not self.bench.flag(page, PINNED)
                del self.memory[page]

    def deflate(self) -> None:
        vm, count = self.some_vm(), self.random.randint(1, 3)
        before = int(self.bench.mem.vms[vm]["ballooned"])
        assert self.bench.deflate(vm, count) == min(before, count)

    def clone(self) -> None:
        """Guest 3 starts as a clone, once; pinned pages are copied, so there must be room."""
        room = len(self.bench.free_list()) >= SIZES[0]
        if self.bench.mem.vms[3]["running"] or 3 in self.alive or not room:
            return
        if any(self.bench.flag(page, ABSENT) for page in range(SIZES[0])):
            return
        self.bench.clone(3, 0)
        self.alive.add(3)
        for gfn in range(SIZES[3]):
            if gfn in self.memory:
                self.memory[self.bench.firsts[3] + gfn] = self.memory[gfn]

    def stop(self) -> None:
        """A guest ends, but not soon, and not the first."""
        vm = self.some_vm()
        if vm == 0 or self.random.random() < 0.8:
            return
        self.bench.stop(vm)
        self.alive.discard(vm)
        for page in range(self.bench.firsts[vm], self.bench.firsts[vm] + SIZES[vm]):
            self.memory.pop(page, None)
            assert self.bench.flag(page, ABSENT)

    def pass_time(self) -> None:
        """Time goes by; logs are drained."""
        self.bench.time += self.random.randrange(3_000)
        forget_recent(self.bench.mem, self.bench.time - 2_000)
        totals = self.bench.mem.totals
        totals[t.T_LOG_COUNT] = totals[t.T_OUTCOME_COUNT] = 0

    # What must hold

    def test(self) -> None:
        """Everything that must hold."""
        self.bench.check()
        self.guests_read_what_they_wrote()
        self.saved_is_sharers_less_shared_frames()
        self.frames_are_conserved()
        self.writes_to_shared_frames_trap_and_to_no_others()
        self.the_zero_frame_is_zero_and_read_only()

    def reads(self, page: int) -> bytes | None:
        """The bytes a guest would read."""
        content = self.bench.content(page)
        return None if content is None else bytes_of(content)

    def being_shared(self) -> set[int]:
        """Pages that may be write-protected though they are not shared yet."""
        return set()

    def guests_read_what_they_wrote(self) -> None:
        corrupted = 0
        for page in range(PAGES):
            flagged = self.bench.flag(page, CORRUPTED)
            corrupted += flagged
            read = self.reads(page)
            assert (read is None) == (page not in self.memory)
            assert flagged or read == self.memory.get(page)
        assert self.bench.total(t.T_CORRUPTED) == corrupted
        assert not (self.verify and corrupted)

    def saved_is_sharers_less_shared_frames(self) -> None:
        mfns = self.bench.mem.pages["mfn"]
        _frames, counts = np.unique(mfns[mfns != NONE], return_counts=True)
        assert self.bench.total(t.T_SHARED_FRAMES) == (counts > 1).sum()
        assert self.bench.total(t.T_SHARERS) == counts[counts > 1].sum()
        assert self.bench.saved() == len(self.memory) - len(counts)

    def frames_are_conserved(self) -> None:
        mapped = {int(mfn) for mfn in self.bench.mem.pages["mfn"]} - {NONE}
        pending = [frame for vm in range(len(SIZES)) for frame in self.bench.held(vm)]
        pending += {self.bench.total(t.T_PENDING_FRAME)} - {NONE}
        assert self.bench.total(t.T_PENDING) == len(pending)
        assert sorted([*mapped, *self.bench.free_list(), *pending]) == list(range(FRAMES))

    def writes_to_shared_frames_trap_and_to_no_others(self) -> None:
        bench, being_shared = self.bench, self.being_shared()
        for page in range(PAGES):
            if bench.flag(page, PROTECTED):
                assert page in being_shared
            frame = bench.frame(page)
            if frame is not None and int(bench.mem.frames[frame]["ref"]) > 1:
                assert bench.flag(page, READ_ONLY)
                assert not bench.flag(page, BLOCK)
                for kind in (WRITE, OVERWRITE):
                    assert needs_fault(bench.mem, bench.cost, bench.vm_of(page), page, kind)

    def the_zero_frame_is_zero_and_read_only(self) -> None:
        frame = self.bench.total(t.T_ZERO_FRAME)
        if frame != NONE:
            row: Any = self.bench.mem.frames[frame]
            assert row["content"] == 0
            assert row["ref"] >= 1
            assert self.bench.flag(int(row["head"]), READ_ONLY)


class Transparent(Walk):
    """The hypervisor shares behind the guests' backs."""

    weights: ClassVar[Weights] = Walk.weights | {
        "protect": 8, "commit": 8, "finish": 6, "merge_at_once": 4, "share_by_oracle": 1
    }  # fmt: skip

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.offer: tuple[int, int] | None = None
        self.committed = False

    @property
    def between_merges(self) -> bool:
        """No merge is under way."""
        return self.offer is None and not self.committed

    def protect(self) -> None:
        if self.between_merges:
            pair = self.some_pair()
            outcome = self.bench.protect(*pair)
            assert outcome in (PENDING, SAME, INELIGIBLE)
            self.offer = pair if outcome == PENDING else None

    def commit(self) -> None:
        if self.offer is None:
            return
        (page, partner), self.offer = self.offer, None
        free = len(self.bench.free_list())
        outcome = self.bench.commit(page, partner)
        assert outcome in (MERGED, ABORTED, FALSE_MATCH)
        assert len(self.bench.free_list()) == free
        self.committed = outcome == MERGED
        if outcome == FALSE_MATCH:
            wanted = bytes_of(0) if partner == ZERO else self.reads(partner)
            assert self.reads(page) != wanted

    def finish(self) -> None:
        if self.committed:
            self.bench.finish()
            assert self.bench.total(t.T_PENDING) == 0
            self.committed = False

    def merge_at_once(self) -> None:
        if self.between_merges:
            self.bench.merge(*self.some_pair())

    def share_by_oracle(self) -> None:
        """It shares what is equal and may be shared; of corrupted pages it knows."""
        if not self.between_merges:
            return
        page, partner = self.some_pair()
        if partner == ZERO or self.bench.content(page) in (0, None):
            return
        if self.reads(page) != self.reads(partner) or page == partner:
            return
        if any(self.bench.flag(p, PINNED | ABSENT | CORRUPTED) for p in (page, partner)):
            return
        if self.bench.frame(page) != self.bench.frame(partner):
            share_now(self.bench.mem, self.bench.cost, page, partner)

    def being_shared(self) -> set[int]:
        return set(self.offer or ())


class Cooperating(Walk):
    """Guests are offered pages, and take each step of their drivers when it pleases them."""

    paging = Direct()
    options = Paravirtual(ring=3, expiry=6_000)
    weights: ClassVar[Weights] = Walk.weights | {"make_offer": 14, "notify": 10, "drive": 30}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.sharing = Sharing(design="paravirtual", paravirtual=cls.options)

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.settled = Counter[str]()
        """Offers that came to an end which no running total counts."""

    def make_offer(self) -> None:
        """Nearly always of pages that the scanner has just looked at."""
        page, partner = self.some_pair()
        if self.random.random() < 0.8:
            self.bench.look_at(*({page, partner} - {ZERO}))
        outcome = self.bench.offer(page, partner)
        assert outcome in (PENDING, SAME, INELIGIBLE)
        if outcome == SAME:
            zero = bytes_of(0) if partner == ZERO else self.reads(partner)
            assert self.reads(page) == zero

    def notify(self) -> None:
        self.bench.notify(self.some_vm())

    def drive(self) -> None:
        """A step of a driver; frames are held until the last one, which frees them all."""
        vm, bench = self.some_vm(), self.bench
        stage, free = bench.stage(vm), bench.free_list()
        held, told = bench.held(vm), len(bench.outcomes())
        bench.drive(vm)
        self.forget_ballooned()
        if stage == CONSENT:
            given = [state for _, _, state in bench.ring(vm) if state == BALLOONED_AWAY]
            self.settled["ballooned"] += len(given)
        if stage != CONSENT:
            done = bench.stage(vm) == CONSENT
            assert sorted([*free, *(held if done else [])]) == sorted(bench.free_list())
            assert set(held) <= set(bench.held(vm)) or done
        for page, partner, outcome in bench.outcomes()[told:]:
            assert bench.vm_of(page) == vm
            self.settled["same"] += outcome == SAME
            wanted = bytes_of(0) if partner == ZERO else self.reads(partner)
            if outcome in (MERGED, SAME) and self.verify:
                assert self.reads(page) == wanted
            elif outcome == FALSE_MATCH:
                assert self.reads(page) != wanted

    def stop(self) -> None:
        """Offers that wait for a guest go with it."""
        open_to = {vm: self.open_offers(vm) for vm in self.alive}
        super().stop()
        for vm in set(open_to) - self.alive:
            self.settled["gone"] += open_to[vm]

    def open_offers(self, vm: int) -> int:
        """Offers to a guest of which it is not known yet what becomes of them."""
        return sum(state in (WAITING, CONSENTED) for _page, _partner, state in self.bench.ring(vm))

    def being_shared(self) -> set[int]:
        return {
            page
            for vm in range(len(SIZES))
            for page, _partner, state in self.bench.ring(vm)
            if state in (CONSENTED, TAKEN_BACK)
        }

    def test(self) -> None:
        super().test()
        self.each_offer_comes_to_one_end()
        for vm, (first, size) in enumerate(zip(self.bench.firsts, SIZES, strict=True)):
            ring = self.bench.ring(vm)
            assert len(ring) <= self.options.ring
            marked = {page for page in range(first, first + size) if self.bench.flag(page, OFFERED)}
            assert marked <= {page for page, _partner, _state in ring}
            if self.bench.stage(vm) == CONSENT:  # not at work
                assert all(state == WAITING for _page, _partner, state in ring)
                assert not self.bench.held(vm)

    def each_offer_comes_to_one_end(self) -> None:
        ends = (t.T_OFFERS_REFUSED, t.T_OFFERS_EXPIRED, t.T_OFFERS_SHARED, t.T_MERGE_ABORTED)
        ended = sum(map(self.bench.total, ends)) + sum(self.settled.values())
        waiting = sum(map(self.open_offers, range(len(SIZES))))
        assert self.bench.total(t.T_OFFERS) == ended + waiting
