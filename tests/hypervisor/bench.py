"""A workbench for tests of memory: tables of a few small guests, and their operations by hand.

Everything goes through the real kernels, as a vCPU, the scanner or a balloon would call them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sharesim.guest.balloon import deflate, inflate
from sharesim.hypervisor.fault import WAIT, fault, needs_fault
from sharesim.hypervisor.merge import (
    MERGED,
    PENDING,
    commit,
    protect,
)
from sharesim.hypervisor.paging import PAGING_MODES, set_sharing
from sharesim.machine import tables as t
from sharesim.machine.check import BREACHES, check_all
from sharesim.machine.mapping import (
    clone_vm,
    populate,
    release,
    release_pending,
    start_vm,
    stop_vm,
    store,
)
from sharesim.machine.tables import NONE, allocate, with_log
from sharesim.spec.costs import load_profile


class Bench:
    """``vms``: pages of each guest; page ids are rows, as in the engine. Each has ``vcpus`` vCPUs.

    ``started`` guests run from the beginning. All vCPUs count as running on a CPU at first.
    """

    def __init__(
        self,
        vms: Sequence[int] = (8, 8),
        *,
        frames: int = 64,
        vcpus: int = 1,
        started: Sequence[int] | None = None,
        verify: bool = True,
        bits: int | None = None,
        last_sharer: str = "reuse",
        split_blocks: bool = True,
    ) -> None:
        self.mem = with_log(
            allocate(sum(vms), frames, len(vms), len(vms) * vcpus, check=True), 4096
        )
        self.sizes = list(vms)
        self.firsts = [sum(vms[:number]) for number in range(len(vms))]
        for number, size in enumerate(vms):
            row = self.mem.vms[number]
            row["first"], row["pages"] = self.firsts[number], size
            row["vcpu_first"], row["vcpus"] = number * vcpus, vcpus
            self.mem.vcpus["vm"][number * vcpus : (number + 1) * vcpus] = number
        self.mem.vcpus["running"] = 1
        self.mem.vcpus["refill_entries"] = 100
        self.primitives = load_profile("modern-x86-ept").table()
        self.cost = PAGING_MODES["nested"](self.primitives).cost_row()
        set_sharing(self.cost, self.primitives, digest="sfh", bits=bits or 32, verify=verify)
        self.cost[0]["last_sharer_copy"] = int(last_sharer == "copy")
        self.cost[0]["split_blocks"] = int(split_blocks)
        self.cost[0]["quantum"] = 1_000
        self.time = 0
        self._counts = np.zeros(frames, np.int64)
        for number in range(len(vms)) if started is None else started:
            start_vm(self.mem, number)

    # Looking

    def total(self, which: int) -> int:
        """A running total, by its T_ number."""
        return int(self.mem.totals[which])

    def flag(self, page: int, mask: int) -> bool:
        """Whether any of these flags is on a page."""
        return bool(int(self.mem.pages[page]["flags"]) & mask)

    def frame(self, page: int) -> int | None:
        """The frame of a page."""
        mfn = int(self.mem.pages[page]["mfn"])
        return None if mfn == NONE else mfn

    def content(self, page: int) -> int | None:
        """What the guest would read there."""
        frame = self.frame(page)
        return None if frame is None else int(self.mem.frames[frame]["content"])

    def free_list(self) -> list[int]:
        """Frames on the free list, in order."""
        frames, frame = [], self.total(t.T_FREE_HEAD)
        while frame != NONE:
            frames.append(frame)
            frame = int(self.mem.frames[frame]["head"])
        return frames

    def vm_of(self, page: int) -> int:
        """The guest that owns a page."""
        return max(number for number, first in enumerate(self.firsts) if first <= page)

    def saved(self) -> int:
        """Pages saved, by the running totals."""
        return self.total(t.T_SHARERS) - self.total(t.T_SHARED_FRAMES)

    def kinds(self) -> list[int]:
        """Kinds of the events logged so far."""
        return self.mem.log[: self.total(t.T_LOG_COUNT), 2].tolist()

    def check(self) -> None:
        """All invariants hold."""
        assert check_all(self.mem, self._counts), BREACHES[self.total(t.T_BREACH)]
        assert self.total(t.T_BREACH) == 0, BREACHES[self.total(t.T_BREACH)]

    # Doing

    def access(self, page: int, *, write: bool) -> int | None:
        """Fault until the access goes through; its ns, or None when no frame is free."""
        me, spent = int(self.mem.vms[self.vm_of(page)]["vcpu_first"]), 0
        for _ in range(4):
            if not needs_fault(self.mem, page, write):
                return spent
            ns, stop, _cause = fault(self.mem, self.cost, me, page, write, self.time, self.time)
            if stop == WAIT:
                return None
            spent += int(ns)
        raise AssertionError("an access faults without end")

    def write(self, page: int, content: int) -> bool:
        """The guest writes a page; False when it must wait for a frame."""
        if self.access(page, write=True) is None:
            return False
        store(self.mem, page, np.uint64(content))
        return True

    def fill(self, contents: dict[int, int]) -> None:
        """Give pages without frames their contents, as an image does."""
        for page, content in contents.items():
            assert populate(self.mem, self.vm_of(page), page, np.uint64(content))

    def protect(self, page: int, partner: int) -> int:
        """First step of a merge; its outcome."""
        _ns, outcome = protect(self.mem, self.cost, page, partner, self.time)
        return int(outcome)

    def commit(self, page: int, partner: int) -> int:
        """Second step."""
        _ns, outcome = commit(self.mem, self.cost, page, partner, self.time, self.time)
        return int(outcome)

    def finish(self) -> None:
        """Third step: the flush is done."""
        release_pending(self.mem)

    def merge(self, page: int, partner: int) -> int:
        """All steps with nothing in between; the outcome."""
        outcome = self.protect(page, partner)
        if outcome == PENDING:
            outcome = self.commit(page, partner)
        self.finish()
        return outcome

    def must_merge(self, page: int, partner: int) -> None:
        """A merge that has to succeed."""
        assert self.merge(page, partner) == MERGED

    def release(self, page: int) -> None:
        """The guest gives a page back."""
        release(self.mem, self.vm_of(page), page, 0)

    def inflate(self, vm: int, pages: int, start: int = 0) -> int:
        """The balloon takes pages."""
        taken, _next = inflate(self.mem, vm, pages, -1, start, self.time)
        return int(taken)

    def deflate(self, vm: int, pages: int) -> int:
        """The balloon gives pages back."""
        return int(deflate(self.mem, vm, pages, self.time))

    def stop(self, vm: int) -> None:
        """A guest ends."""
        stop_vm(self.mem, vm)

    def clone(self, vm: int, parent: int) -> None:
        """A guest starts as a copy-on-write clone."""
        clone_vm(self.mem, vm, parent)
        start_vm(self.mem, vm)

    def set_flags(self, page: int, mask: int) -> None:
        """Put flags on a page, as its image would."""
        self.mem.pages[page]["flags"] |= np.uint16(mask)

    def cost_of(self, name: str) -> int:
        """ns of a figure of the cost row."""
        return int(self.cost[0][name])


def digest_twins(bench: Bench, count: int = 2, *, zero: bool = False) -> list[int]:
    """Different contents with one digest at the bench's width (with ``zero``: that of zero)."""
    from sharesim.content.digest_kernels import simulated_digest

    row: Any = bench.cost[0]
    seed = np.int64(row["digest_seed"]).astype(np.uint64)

    def of(content: int) -> int:
        return int(simulated_digest(np.uint64(content), seed, int(row["digest_bits"])))

    wanted = of(0) if zero else of(1)
    found = [content for content in range(1, 100_000) if of(content) == wanted]
    assert len(found) >= count
    return found[:count]
