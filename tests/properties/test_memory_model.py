"""Random operations on the tables of memory, against a model that holds the bytes themselves."""

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from sharesim.hypervisor.fault import needs_fault
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
from sharesim.machine import tables as t
from sharesim.machine.tables import (
    ABSENT,
    BALLOONED,
    BLOCK,
    CORRUPTED,
    NONE,
    PINNED,
    PROTECTED,
    READ_ONLY,
    ZERO,
)
from tests.hypervisor.bench import Bench

SIZES = (6, 5, 4, 6)
"""Guest 3 is started as a clone of guest 0, if at all."""
FRAMES = 16
CONTENTS = 7


def bytes_of(content: int) -> bytes:
    """A page whose bytes a content id names."""
    return content.to_bytes(8, "little") * 512


class Model(RuleBasedStateMachine):
    """``memory`` holds, for each page with a frame, the bytes that its guest wrote last."""

    verify = True
    bits = 32
    last_sharer = "reuse"

    @initialize(pinned=st.sets(st.integers(0, sum(SIZES) - 1), max_size=2))
    def start(self, pinned: set[int]) -> None:
        self.bench = Bench(
            SIZES,
            frames=FRAMES,
            started=(0, 1, 2),
            verify=self.verify,
            bits=self.bits,
            last_sharer=self.last_sharer,
        )
        for page in pinned:
            self.bench.set_flags(page, PINNED)
        for page in range(4):
            self.bench.set_flags(page, BLOCK)
        self.memory: dict[int, bytes] = {}
        self.alive = {0, 1, 2}
        self.offer: tuple[int, int] | None = None
        self.committed = False

    # Guests

    page = st.integers(0, sum(SIZES) - 1)
    content = st.integers(0, CONTENTS - 1)

    @rule(page=page, content=content)
    def write(self, page: int, content: int) -> None:
        if self.bench.vm_of(page) not in self.alive:
            return
        needed = not self.bench.free_list()
        if self.bench.write(page, content):
            self.memory[page] = bytes_of(content)
        else:
            assert needed  # it waits only when there is no frame

    @rule(page=page)
    def read(self, page: int) -> None:
        if self.bench.vm_of(page) not in self.alive:
            return
        if self.bench.access(page, write=False) is None:
            assert not self.bench.free_list()
        else:
            self.memory.setdefault(page, bytes_of(0))

    @rule(page=page)
    def write_what_was_there(self, page: int) -> None:
        if self.bench.vm_of(page) in self.alive and self.bench.access(page, write=True) is not None:
            self.memory.setdefault(page, bytes_of(0))
            assert not needs_fault(self.bench.mem, page, True)

    @rule(page=page)
    def release(self, page: int) -> None:
        if self.bench.vm_of(page) in self.alive:
            self.bench.release(page)
            self.memory.pop(page, None)

    @rule(vm=st.integers(0, 3), count=st.integers(1, 3), start=st.integers(0, 5))
    def inflate(self, vm: int, count: int, start: int) -> None:
        if vm not in self.alive:
            return
        before = int(self.bench.mem.vms[vm]["ballooned"])
        taken = self.bench.inflate(vm, count, start)
        assert int(self.bench.mem.vms[vm]["ballooned"]) == before + taken
        for page in list(self.memory):
            if self.bench.flag(page, BALLOONED):
                assert not self.bench.flag(page, PINNED)
                del self.memory[page]

    @rule(vm=st.integers(0, 3), count=st.integers(1, 3))
    def deflate(self, vm: int, count: int) -> None:
        before = int(self.bench.mem.vms[vm]["ballooned"])
        assert self.bench.deflate(vm, count) == min(before, count)

    @precondition(lambda self: 3 not in self.alive)
    @rule()
    def clone(self) -> None:
        if int(self.bench.mem.vms[3]["populated"]):
            return
        self.bench.clone(3, 0)
        self.alive.add(3)
        first = self.bench.firsts[3]
        for gfn in range(SIZES[3]):
            if gfn in self.memory:
                self.memory[first + gfn] = self.memory[gfn]

    @rule(vm=st.integers(1, 3), lucky=st.integers(0, 3))
    def stop(self, vm: int, lucky: int) -> None:
        if lucky or vm not in self.alive:
            return
        self.bench.stop(vm)
        self.alive.discard(vm)
        first = self.bench.firsts[vm]
        for page in range(first, first + SIZES[vm]):
            self.memory.pop(page, None)
            assert self.bench.flag(page, ABSENT)

    # The scanner

    @precondition(lambda self: self.offer is None and not self.committed)
    @rule(page=page, partner=st.one_of(page, st.just(ZERO)))
    def protect(self, page: int, partner: int) -> None:
        outcome = self.bench.protect(page, partner)
        assert outcome in (PENDING, SAME, INELIGIBLE)
        if outcome == PENDING:
            self.offer = (page, partner)

    @precondition(lambda self: self.offer is not None)
    @rule()
    def commit(self) -> None:
        assert self.offer is not None
        (page, partner), self.offer = self.offer, None
        free = len(self.bench.free_list())
        outcome = self.bench.commit(page, partner)
        assert outcome in (MERGED, ABORTED, FALSE_MATCH)
        assert len(self.bench.free_list()) == free
        if outcome == MERGED:
            self.committed = True
        if outcome == FALSE_MATCH:
            wanted = bytes_of(0) if partner == ZERO else self.reads(partner)
            assert self.reads(page) != wanted

    @precondition(lambda self: self.committed)
    @rule()
    def finish(self) -> None:
        self.bench.finish()
        assert self.bench.total(t.T_PENDING) == 0
        self.committed = False

    @precondition(lambda self: self.offer is None and not self.committed)
    @rule(page=page, partner=page)
    def merge_at_once(self, page: int, partner: int) -> None:
        self.bench.merge(page, partner)

    @precondition(lambda self: self.offer is None and not self.committed)
    @rule(page=page)
    def merge_with_zero_at_once(self, page: int) -> None:
        self.bench.merge(page, ZERO)

    @precondition(lambda self: self.offer is None and not self.committed)
    @rule(page=page, partner=page)
    def share_by_oracle(self, page: int, partner: int) -> None:
        if {self.bench.flag(p, PINNED | ABSENT) for p in (page, partner)} != {False}:
            return
        frames = (self.bench.frame(page), self.bench.frame(partner))
        if None in frames or frames[0] == frames[1]:
            return
        if self.reads(page) == self.reads(partner) and self.bench.content(page) != 0:
            if self.bench.flag(page, CORRUPTED) or self.bench.flag(partner, CORRUPTED):
                return
            share_now(self.bench.mem, self.bench.cost, page, partner)

    @rule(ahead=st.integers(0, 3_000))
    def pass_time(self, ahead: int) -> None:
        self.bench.time += ahead
        forget_recent(self.bench.mem, self.bench.time - 2_000)
        self.bench.mem.totals[t.T_LOG_COUNT] = 0

    # What must hold

    def reads(self, page: int) -> bytes | None:
        """The bytes a guest would read."""
        content = self.bench.content(page)
        return None if content is None else bytes_of(content)

    @invariant()
    def the_books_are_right(self) -> None:
        if hasattr(self, "bench"):
            self.bench.check()

    @invariant()
    def guests_read_what_they_wrote(self) -> None:
        if not hasattr(self, "bench"):
            return
        corrupted = 0
        for page in range(sum(SIZES)):
            flagged = self.bench.flag(page, CORRUPTED)
            corrupted += flagged
            read = self.reads(page)
            assert (read is None) == (page not in self.memory)
            assert flagged or read == self.memory.get(page)
        assert self.bench.total(t.T_CORRUPTED) == corrupted
        assert not (self.verify and corrupted)

    @invariant()
    def saved_is_sharers_less_shared_frames(self) -> None:
        if not hasattr(self, "bench"):
            return
        mfns = self.bench.mem.pages["mfn"]
        _frames, counts = np.unique(mfns[mfns != NONE], return_counts=True)
        assert self.bench.total(t.T_SHARED_FRAMES) == (counts > 1).sum()
        assert self.bench.total(t.T_SHARERS) == counts[counts > 1].sum()
        assert self.bench.saved() == len(self.memory) - len(counts)

    @invariant()
    def frames_are_conserved(self) -> None:
        if not hasattr(self, "bench"):
            return
        mfns = {int(mfn) for mfn in self.bench.mem.pages["mfn"]} - {NONE}
        free = self.bench.free_list()
        pending = {self.bench.total(t.T_PENDING_FRAME)} - {NONE}
        assert len(set(free)) == len(free)
        assert sorted([*mfns, *free, *pending]) == list(range(FRAMES))

    @invariant()
    def only_shared_and_protected_pages_trap_writes(self) -> None:
        if not hasattr(self, "bench"):
            return
        offered = self.offer or ()
        for page in range(sum(SIZES)):
            if self.bench.flag(page, PROTECTED):
                assert page in offered
            frame = self.bench.frame(page)
            if frame is not None and int(self.bench.mem.frames[frame]["ref"]) > 1:
                assert self.bench.flag(page, READ_ONLY)
                assert not self.bench.flag(page, BLOCK)

    @invariant()
    def the_zero_frame_is_zero_and_read_only(self) -> None:
        if not hasattr(self, "bench"):
            return
        frame = self.bench.total(t.T_ZERO_FRAME)
        if frame == NONE:
            return
        row: Any = self.bench.mem.frames[frame]
        assert row["content"] == 0
        assert row["ref"] >= 1
        assert self.bench.flag(int(row["head"]), READ_ONLY)


class VerifyModel(Model):
    """Bytes are compared; the last sharer takes its frame over."""


class CopyModel(Model):
    """Bytes are compared; the last sharer copies, as KSM does."""

    last_sharer = "copy"


class TrustModel(Model):
    """Digests of one bit are trusted: every second pair of contents collides."""

    verify = False
    bits = 1


_SETTINGS = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestVerify = VerifyModel.TestCase
TestVerify.settings = _SETTINGS
TestCopy = CopyModel.TestCase
TestCopy.settings = _SETTINGS
TestTrust = TrustModel.TestCase
TestTrust.settings = _SETTINGS
