"""A workbench for tests of memory: tables of a few small guests, and their operations by hand.

Everything goes through the real kernels, as a vCPU, the scanner or a balloon would call them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sharesim.guest.balloon import deflate, inflate
from sharesim.hypervisor.design import set_design, set_digest
from sharesim.hypervisor.fault import WAIT, WRITE, fault, needs_fault
from sharesim.hypervisor.merge import (
    MERGED,
    PENDING,
    commit,
    protect,
)
from sharesim.hypervisor.offers import driver_step, has_work, offer
from sharesim.machine import tables as t
from sharesim.machine.check import BREACHES, check_all
from sharesim.machine.mapping import (
    clear_flag,
    clone_vm,
    populate,
    release,
    release_pending,
    start_vm,
    stop_vm,
    store,
)
from sharesim.machine.tables import NONE, allocate, with_log, with_offers, with_shadow_tables
from sharesim.spec.costs import load_profile
from sharesim.spec.paging import Nested, PagingSpec
from sharesim.spec.scenario import Sharing

NESTED, TRANSPARENT = Nested(), Sharing()


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
        paging: PagingSpec = NESTED,
        sharing: Sharing = TRANSPARENT,
        pool: int = 64,
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
        self.mem.vms["willing"], self.mem.vms["pool"] = 1, pool
        if paging.registered_name() == "shadow":
            self.mem = with_shadow_tables(self.mem)
            self.mem.pages["flags"] |= np.uint16(t.REFILL)
        if sharing.design == "paravirtual":
            self.mem = with_offers(self.mem)
        self.mem.vcpus["running"] = 1
        self.mem.vcpus["refill_entries"] = 100
        self.primitives = load_profile("modern-x86-ept").table()
        self.cost = paging.runtime(self.primitives).cost_row()
        set_digest(self.cost, self.primitives, digest="sfh", bits=bits or 32, verify=verify)
        set_design(self.cost, self.primitives, sharing)
        self.cost[0]["last_sharer_copy"] = int(last_sharer == "copy")
        self.cost[0]["split_blocks"] = int(split_blocks)
        self.cost[0]["quantum"] = 1_000
        self.time = 0
        self.causes: list[int] = []
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
        return self._listed(self.total(t.T_FREE_HEAD))

    def _listed(self, frame: int) -> list[int]:
        """Frames of a list, from its first one on."""
        frames: list[int] = []
        while frame != NONE:
            assert len(frames) < len(self.mem.frames), "a list of frames goes round"
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

    def access(self, page: int, *, write: int) -> int | None:
        """Fault until the access goes through; its ns, or None when no frame is free.

        ``write`` is READ, WRITE or OVERWRITE of a fault. What the faults are booked as is left in
        ``causes``.
        """
        me, spent = int(self.mem.vms[self.vm_of(page)]["vcpu_first"]), 0
        self.causes = []
        for _ in range(4):
            if not needs_fault(self.mem, self.cost, me, page, int(write)):
                return spent
            ns, stop, cause = fault(self.mem, self.cost, me, page, int(write), self.time, self.time)
            if stop == WAIT:
                return None
            spent += int(ns)
            self.causes.append(int(cause))
        raise AssertionError("an access faults without end")

    def write(self, page: int, content: int, how: int = WRITE) -> bool:
        """The guest writes a page; False when it must wait for a frame."""
        if self.access(page, write=how) is None:
            return False
        store(self.mem, page, np.uint64(content))
        return True

    def fill(self, contents: dict[int, int]) -> None:
        """Give pages without frames their contents, as an image does."""
        for page, content in contents.items():
            assert populate(self.mem, self.vm_of(page), page, np.uint64(content))
            if len(self.mem.shadow):  # its entries are filled on first use
                self.set_flags(page, t.REFILL)

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

    def offer(self, page: int, partner: int) -> int:
        """The paravirtual design's step in place of a merge; its outcome."""
        _ns, outcome = offer(self.mem, self.cost, page, partner, self.time)
        return int(outcome)

    def look_at(self, *pages: int) -> None:
        """The scanner reads pages: from now on it is known whether they are written."""
        for page in pages:
            clear_flag(self.mem, page, t.DIRTY)

    def notify(self, vm: int) -> None:
        """The event that tells a guest of its offers."""
        self.mem.vms[vm]["notified"] = 1

    def drive(self, vm: int) -> int | None:
        """The next step of a guest's driver, on its first vCPU; its ns, or None: nothing to do."""
        if not has_work(self.mem, vm):
            return None
        me = int(self.mem.vms[vm]["vcpu_first"])
        return int(driver_step(self.mem, self.cost, me, vm, self.time, self.time))

    def answer(self, vm: int) -> int:
        """A guest's driver is told of its offers and goes through all of its steps; their ns."""
        self.notify(vm)
        spent = 0
        while (ns := self.drive(vm)) is not None:
            spent += ns
        return spent

    def stage(self, vm: int) -> int:
        """What a guest's driver does next."""
        return int(self.mem.vms[vm]["driver_stage"])

    def ring(self, vm: int) -> list[tuple[int, int, int]]:
        """(page, partner, state) of each offer on a guest's ring, in order."""
        row = self.mem.vms[vm]
        places = (int(row["offer_head"]) + np.arange(int(row["offer_count"]))) % t.RING
        slots = self.mem.offers[vm, places]
        return [(int(slot["page"]), int(slot["partner"]), int(slot["state"])) for slot in slots]

    def outcomes(self) -> list[tuple[int, int, int]]:
        """(page, partner, outcome) of offers, as the policy will be told them."""
        return [tuple(row) for row in self.mem.outcomes[: self.total(t.T_OUTCOME_COUNT)].tolist()]

    def held(self, vm: int) -> list[int]:
        """Frames that wait for a guest's flush."""
        return self._listed(int(self.mem.vms[vm]["held_head"]))

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
        if len(self.mem.shadow):  # as the engine does: no entry is in place before its first use
            for page in range(self.firsts[vm], self.firsts[vm] + self.sizes[vm]):
                self.set_flags(page, t.REFILL)
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
