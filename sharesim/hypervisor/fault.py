"""What the hypervisor does at a fault: populate, refill, unprotect, break a share.

One description with two callers: the vCPU's kernel calls :func:`fault` inline, the SimPy handlers
of :mod:`sharesim.hypervisor.handlers` call it in exact mode. It commits everything, or nothing when
it must wait for a frame.
"""

from typing import Any

import numpy as np

from sharesim.kernel import Number, njit
from sharesim.machine import tables as t
from sharesim.machine.check import check_page
from sharesim.machine.cost_row import ALL, FILLED
from sharesim.machine.entries import entries_of, entry_in_place, fill_entry, find_entries
from sharesim.machine.flush import flush_vm
from sharesim.machine.locks import hold_lock
from sharesim.machine.mapping import (
    attend,
    clear_flag,
    disown,
    drop_frame,
    latency_bucket,
    link,
    log_event,
    note_change,
    populate,
    set_flag,
    split_mapping,
    take_frame,
    unlink,
    vm_of,
)
from sharesim.machine.tables import (
    MOVED,
    NONE,
    PROTECTED,
    READ_ONLY,
    RECENT,
    REFILL,
    Memory,
)

GO, WAIT = 0, 1

# What an access does: an overwrite writes the whole page, and its guest knows.
READ, WRITE, OVERWRITE = range(3)


@njit
def split_block(mem: Memory, cost: np.ndarray, page: Number) -> Any:
    """Split the 2 MiB mapping a page is in, if it is in one; returns ns."""
    if not split_mapping(mem, vm_of(mem, page), page):
        return np.int64(0)
    return np.int64(cost[0]["split"])


@njit
def needs_fault(mem: Memory, cost: np.ndarray, me: Number, page: Number, write: Number) -> Any:
    """Whether an access of vCPU row ``me`` traps (``write``: READ, WRITE or OVERWRITE)."""
    if np.int64(mem.pages[page]["mfn"]) == NONE:
        return True
    flags = np.int64(mem.pages[page]["flags"])
    if flags & REFILL and not entry_in_place(mem, cost, me, page):
        return True
    return write != READ and (flags & (READ_ONLY | PROTECTED)) != 0


@njit
def fault(
    mem: Memory,
    cost: np.ndarray,
    me: Number,
    page: Number,
    write: Number,
    time: Number,
    now: Number,
) -> Any:
    """Serve the fault of vCPU row ``me`` on ``page`` at its local ``time``.

    Returns (ns, stop, cause): how long it takes, GO or WAIT (no free frame: nothing was done), and
    the cause of the ledger it belongs to. ``now`` is the clock.
    """
    vm = np.int64(mem.vcpus[me]["vm"])
    flags = np.int64(mem.pages[page]["flags"])
    if np.int64(mem.pages[page]["mfn"]) == NONE:
        return _populate(mem, cost, me, vm, page, time)
    if write != READ and flags & PROTECTED:
        return _unprotect(mem, cost, me, vm, page, time)
    if write != READ and flags & READ_ONLY:
        return _break(mem, cost, me, vm, page, write, time, now)
    return _refill(mem, cost, me, vm, page, time)


@njit
def _refill(
    mem: Memory, cost: np.ndarray, me: Number, vm: Number, page: Number, time: Number
) -> Any:
    """An entry is filled: again, because sharing took it away, or for the paging mode's sake."""
    hidden = cost[0]["entries"] == FILLED and np.int64(mem.pages[page]["flags"]) & MOVED == 0
    ns = np.int64(cost[0]["refill_fault"]) + fill_entry(mem, cost, me, page, time)
    if hidden:
        mem.totals[t.T_HIDDEN_FAULTS] += 1
        _account(mem, me, vm, page, time, ns, t.E_HIDDEN, t.L_HIDDEN)
        return ns, GO, t.PAGING
    mem.totals[t.T_REFILLS] += 1
    _account(mem, me, vm, page, time, ns, t.E_REFILL, t.L_REFILL)
    return ns, GO, t.SHARING


@njit
def _account(
    mem: Memory,
    me: Number,
    vm: Number,
    page: Number,
    time: Number,
    ns: Number,
    kind: Number,
    latency: Number,
) -> Any:
    mem.vms[vm]["faults"] += 1
    mem.latency[vm, latency, latency_bucket(ns + np.int64(mem.vcpus[me]["waited"]))] += 1
    mem.vcpus[me]["waited"] = 0
    log_event(mem, time, ns, kind, me, page, -1)
    if len(mem.truth):
        check_page(mem, page)


@njit
def _populate(
    mem: Memory, cost: np.ndarray, me: Number, vm: Number, page: Number, time: Number
) -> Any:
    if not populate(mem, vm, page, np.uint64(0)):
        return np.int64(0), WAIT, t.BLOCKED
    costs = cost[0]
    ns = np.int64(costs["populate_fault"]) + np.int64(costs["frame_alloc"])
    ns += np.int64(costs["zero_fill"]) + np.int64(costs["entry_update"])
    if np.int64(costs["entries"]) == FILLED:  # one is filled by this very fault
        set_flag(mem, page, REFILL)
        ns += fill_entry(mem, cost, me, page, time)
    mem.totals[t.T_POPULATES] += 1
    _account(mem, me, vm, page, time, ns, t.E_POPULATE, t.L_POPULATE)
    return ns, GO, t.PAGING


@njit
def _unprotect(
    mem: Memory, cost: np.ndarray, me: Number, vm: Number, page: Number, time: Number
) -> Any:
    """The page is being merged: the write wins, and the merge will see it and give up."""
    entries, ns = entries_of(mem, cost, page)
    ns += np.int64(cost[0]["unprotect_fault"]) + entries * np.int64(cost[0]["entry_protect"])
    clear_flag(mem, page, PROTECTED)
    ns += _fill_missing(mem, cost, me, page, time)
    mem.totals[t.T_UNPROTECTS] += 1
    _account(mem, me, vm, page, time, ns, t.E_UNPROTECT, t.L_UNPROTECT)
    return ns, GO, t.SHARING


@njit
def _near_race(mem: Memory, cost: np.ndarray, page: Number, time: Number) -> Any:
    """Count a page merged and broken within a sync quantum: there the order was a choice."""
    count = mem.totals[t.T_RECENT_COUNT]
    for back in range(1, count + 1):
        at = (mem.totals[t.T_RECENT_HEAD] - back) % len(mem.recent)
        if mem.recent[at, 0] == page:
            if abs(time - mem.recent[at, 1]) < np.int64(cost[0]["quantum"]):
                mem.totals[t.T_NEAR_RACES] += 1
            return


@njit
def _break(
    mem: Memory,
    cost: np.ndarray,
    me: Number,
    vm: Number,
    page: Number,
    write: Number,
    time: Number,
    now: Number,
) -> Any:
    """COW break: a private copy, or the frame itself for its last sharer.

    A cooperating guest that is about to overwrite the whole page asks for a zeroed frame instead of
    a copy, without a fault; it knows which of its pages are shared.
    """
    costs = cost[0]
    frame = np.int64(mem.pages[page]["mfn"])
    zero = np.uint64(mem.frames[frame]["content"]) == np.uint64(0)
    alone = np.int64(mem.frames[frame]["ref"]) == 1
    reuse = alone and np.int64(costs["last_sharer_copy"]) == 0
    if not alone and mem.totals[t.T_FREE] == 0:  # who is alone on a frame gives it back first
        return np.int64(0), WAIT, t.BLOCKED
    nocopy = write == OVERWRITE and np.int64(costs["paravirtual"]) != 0
    trap = np.int64(costs["hypercall"]) if nocopy else np.int64(costs["write_fault"])
    hold = np.int64(costs["lock_hold"])
    ns = trap + hold_lock(mem, time + trap, hold, now) + hold
    ns += split_block(mem, cost, page)
    if np.int64(mem.pages[page]["flags"]) & RECENT:
        _near_race(mem, cost, page, time)
    kind = t.E_REUSE
    if owned(mem, frame) and not reuse:
        mem.totals[t.T_OWNED_BREAKS] += 1
    if reuse:
        ns += _take_over(mem, cost, me, page, time)
    else:
        kind = t.E_ZERO_FILL if zero else t.E_BREAK
        ns += np.int64(costs["frame_alloc"])
        ns += np.int64(costs["zero_fill"]) if zero or nocopy else np.int64(costs["copy"])
        ns += _copy(mem, cost, me, vm, page, time)
        ns += flush_vm(mem, cost, vm, me, time)
    clear_flag(mem, page, READ_ONLY | RECENT | PROTECTED)
    _count_break(mem, cost, vm, zero, nocopy)
    note_change(mem, page, t.BROKEN)
    _account(mem, me, vm, page, time, ns, kind, t.L_BREAK)
    return ns, GO, t.SHARING


@njit
def owned(mem: Memory, frame: Number) -> Any:
    """Whether the policy has marked a frame as its own (a KSM page)."""
    return len(mem.owners) > 0 and np.int64(mem.owners[frame]) != NONE


@njit
def _count_break(mem: Memory, cost: np.ndarray, vm: Number, zero: Number, nocopy: Number) -> Any:
    mem.totals[t.T_COW_BREAKS] += 1
    mem.vms[vm]["cow_breaks"] += 1
    if zero:
        mem.totals[t.T_ZERO_BREAKS] += 1
    if nocopy:
        mem.totals[t.T_NOCOPY] += 1
    elif np.int64(cost[0]["upcall"]):
        mem.totals[t.T_UPCALLS] += 1


@njit
def _take_over(mem: Memory, cost: np.ndarray, me: Number, page: Number, time: Number) -> Any:
    """The last sharer gets the frame itself; ns to make its entries writable."""
    mem.totals[t.T_REUSES] += 1
    if np.int64(mem.pages[page]["mfn"]) == mem.totals[t.T_ZERO_FRAME]:
        mem.totals[t.T_ZERO_FRAME] = NONE
    disown(mem, np.int64(mem.pages[page]["mfn"]))
    attend(mem, page)
    entries, ns = entries_of(mem, cost, page)
    ns += entries * np.int64(cost[0]["entry_update"])
    if np.int64(cost[0]["entries"]) == ALL:
        clear_flag(mem, page, REFILL | MOVED)
    return ns + _fill_missing(mem, cost, me, page, time)


@njit
def _fill_missing(mem: Memory, cost: np.ndarray, me: Number, page: Number, time: Number) -> Any:
    """Fill the entry by which a fault came, should it be missing as well; returns ns."""
    if np.int64(mem.pages[page]["flags"]) & REFILL == 0 or entry_in_place(mem, cost, me, page):
        return np.int64(0)
    ns = fill_entry(mem, cost, me, page, time)
    if np.int64(cost[0]["entries"]) == FILLED:
        ns += np.int64(cost[0]["entry_update"])
    return ns


@njit
def _copy(mem: Memory, cost: np.ndarray, me: Number, vm: Number, page: Number, time: Number) -> Any:
    """A frame of its own with the same contents; ns to write the entries anew.

    All of them, where the hypervisor or the guest finds them; or the faulting one, while the others
    are cleared and fault later (shadow paging; the hypervisor's own break under direct paging).
    """
    costs = cost[0]
    one_by_one = np.int64(costs["entries"]) == FILLED or (
        np.int64(costs["paravirtual"]) != 0 and np.int64(costs["upcall"]) == 0
    )
    entries, ns = entries_of(mem, cost, page)
    others = entries
    if not np.int64(mem.pages[page]["flags"]) & REFILL or entry_in_place(mem, cost, me, page):
        others -= 1
    replace_frame(mem, vm, page)
    if not one_by_one:
        clear_flag(mem, page, REFILL | MOVED)
        return ns + entries * np.int64(costs["entry_update"])
    ns = find_entries(mem, cost, page, others) + others * np.int64(costs["entry_zap"])
    set_flag(mem, page, REFILL)
    ns += np.int64(costs["entry_update"]) + fill_entry(mem, cost, me, page, time)
    if others and np.int64(mem.pages[page]["flags"]) & REFILL:
        set_flag(mem, page, MOVED)
    return ns


@njit
def replace_frame(mem: Memory, vm: Number, page: Number) -> Any:
    """Map a page to a fresh frame with the contents of the one that it leaves."""
    mem.totals[t.T_STREAMED] += 2
    content = np.uint64(mem.frames[np.int64(mem.pages[page]["mfn"])]["content"])
    old = unlink(mem, vm, page)
    if np.int64(mem.frames[old]["ref"]) == 0:  # the last sharer, copied all the same (KSM)
        drop_frame(mem, old, False)
    fresh = take_frame(mem)
    mem.frames[fresh]["content"] = content
    link(mem, vm, page, fresh)
