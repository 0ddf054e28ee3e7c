"""The safe merge, in steps between which guests run.

A policy's hint says that two pages were equal some time ago. To merge them: write-protect both and
flush whoever may hold a writable translation; look again; remap one and flush; only then free its
frame. A write in between traps, takes its page out of the merge, and the merge gives up. With this
order nothing but a digest collision under compare-by-hash can make a guest read other bytes than it
wrote.

Looking again reads both pages: the older one because its table entry may be stale, the newer one
because it was read before it was protected. The older is cold, the newer was just read.
"""

from typing import Any

import numpy as np

from sharesim.content.digest_kernels import simulated_digest
from sharesim.hypervisor.fault import split_block
from sharesim.kernel import Number, njit
from sharesim.machine import tables as t
from sharesim.machine.check import check_page
from sharesim.machine.cost_row import FILLED
from sharesim.machine.entries import entries_of, lose_entries
from sharesim.machine.flush import flush_vm
from sharesim.machine.locks import hold_lock
from sharesim.machine.mapping import (
    clear_flag,
    drop_frame,
    link,
    log_event,
    set_flag,
    unlink,
    vm_of,
)
from sharesim.machine.tables import (
    ABSENT,
    BLOCK,
    NONE,
    PINNED,
    PROTECTED,
    READ_ONLY,
    RECENT,
    UNMERGEABLE,
    ZERO,
    Memory,
)

# What became of an offer.
PENDING, MERGED, SAME, FALSE_MATCH, ABORTED, INELIGIBLE = range(6)
OUTCOMES = ("pending", "merged", "same", "false match", "aborted", "ineligible")

SCANNER = -1
"""The scanner's number as an actor in the event log."""


@njit
def shareable(mem: Memory, cost: np.ndarray, page: Number) -> Any:
    if np.int64(mem.pages[page]["mfn"]) == NONE:
        return False
    flags = np.int64(mem.pages[page]["flags"])
    if flags & (PINNED | ABSENT | UNMERGEABLE):
        return False
    return not (flags & BLOCK) or np.int64(cost[0]["split_blocks"]) != 0


@njit
def _protect_page(mem: Memory, cost: np.ndarray, page: Number) -> Any:
    """Write-protect one page unless it is; returns ns."""
    ns = split_block(mem, cost, page)
    if np.int64(mem.pages[page]["flags"]) & READ_ONLY:
        return ns
    entries, walk = entries_of(mem, cost, page)
    set_flag(mem, page, PROTECTED)
    return ns + walk + entries * np.int64(cost[0]["entry_protect"])


@njit
def _restore_page(mem: Memory, cost: np.ndarray, page: Number) -> Any:
    """Make a page that was protected writable again; returns ns."""
    if np.int64(mem.pages[page]["flags"]) & PROTECTED == 0:
        return np.int64(0)
    clear_flag(mem, page, PROTECTED)
    entries, walk = entries_of(mem, cost, page)
    return walk + entries * np.int64(cost[0]["entry_protect"])


@njit
def protect(mem: Memory, cost: np.ndarray, page: Number, partner: Number, time: Number) -> Any:
    """First step: write-protect and flush. Returns (ns, outcome), PENDING to go on.

    ``partner`` is a page id or ZERO.
    """
    if not shareable(mem, cost, page):
        return refuse(mem, page, partner, time)
    frame = np.int64(mem.pages[page]["mfn"])
    if partner == ZERO:
        if frame == mem.totals[t.T_ZERO_FRAME]:
            return np.int64(0), SAME
        vm = vm_of(mem, page)
        ns = _protect_page(mem, cost, page)
        ns += flush_vm(mem, cost, vm, -1, time)
        log_event(mem, time, ns, t.E_PROTECT, SCANNER, page, -1)
        return ns, PENDING
    if partner == page or not shareable(mem, cost, partner):
        return refuse(mem, page, partner, time)
    if frame == np.int64(mem.pages[partner]["mfn"]):
        log_event(mem, time, 0, t.E_SAME, SCANNER, page, partner)
        return np.int64(0), SAME
    ns = _protect_page(mem, cost, page) + _protect_page(mem, cost, partner)
    vm = vm_of(mem, page)
    other = vm_of(mem, partner)
    ns += flush_vm(mem, cost, vm, -1, time)
    if other != vm:
        ns += flush_vm(mem, cost, other, -1, time)
    log_event(mem, time, ns, t.E_PROTECT, SCANNER, page, partner)
    return ns, PENDING


@njit
def refuse(mem: Memory, page: Number, partner: Number, time: Number) -> Any:
    mem.totals[t.T_INELIGIBLE] += 1
    other = -1 if partner == ZERO else partner
    log_event(mem, time, 0, t.E_INELIGIBLE, SCANNER, page, other)
    return np.int64(0), INELIGIBLE


@njit
def still_protected(mem: Memory, page: Number) -> Any:
    if np.int64(mem.pages[page]["mfn"]) == NONE:
        return False
    return np.int64(mem.pages[page]["flags"]) & (PROTECTED | READ_ONLY) != 0


@njit
def digest_of(mem: Memory, cost: np.ndarray, frame: Number) -> Any:
    """What the policy's function makes of a frame's content."""
    content = np.uint64(mem.frames[frame]["content"])
    seed = np.uint64(cost[0]["digest_seed"])
    return simulated_digest(content, seed, np.int64(cost[0]["digest_bits"]))


@njit
def _digest(mem: Memory, cost: np.ndarray, page: Number) -> Any:
    return digest_of(mem, cost, np.int64(mem.pages[page]["mfn"]))


@njit
def zero_digest(cost: np.ndarray) -> Any:
    """What it makes of the zero page."""
    seed = np.uint64(cost[0]["digest_seed"])
    return simulated_digest(np.uint64(0), seed, np.int64(cost[0]["digest_bits"]))


@njit
def contents_equal(mem: Memory, page: Number, partner: Number) -> Any:
    """Whether two populated pages hold the same bytes now (ZERO: whether the page is zero)."""
    mine = np.uint64(mem.frames[np.int64(mem.pages[page]["mfn"])]["content"])
    if partner == ZERO:
        return mine == np.uint64(0)
    return mine == np.uint64(mem.frames[np.int64(mem.pages[partner]["mfn"])]["content"])


@njit
def _look_again(mem: Memory, cost: np.ndarray, page: Number, partner: Number) -> Any:
    """Whether the pages are taken for equal now; returns (equal, ns)."""
    costs = cost[0]
    mem.totals[t.T_STREAMED] += 1 if partner == ZERO else 2
    if np.int64(costs["verify"]):
        same = contents_equal(mem, page, partner)
        if partner == ZERO:
            return same, np.int64(costs["zero_check"])
        return same, np.int64(costs["compare_hot"]) if same else np.int64(costs["compare_differ"])
    mine = _digest(mem, cost, page)
    if partner == ZERO:
        return mine == zero_digest(cost), np.int64(costs["digest_hot"])
    ns = np.int64(costs["digest_cold"]) + np.int64(costs["digest_hot"])
    return mine == _digest(mem, cost, partner), ns


@njit
def digests_equal(mem: Memory, cost: np.ndarray, page: Number, partner: Number) -> Any:
    """Whether two pages that differ have the same digest: then the match was false, not stale."""
    mine = _digest(mem, cost, page)
    return mine == (zero_digest(cost) if partner == ZERO else _digest(mem, cost, partner))


@njit
def commit(
    mem: Memory, cost: np.ndarray, page: Number, partner: Number, time: Number, now: Number
) -> Any:
    """Second step: look again, remap, flush. Returns (ns, outcome).

    The frame that falls free is pending until :func:`finish`, at the end of the flush.
    """
    intact = still_protected(mem, page)
    if partner != ZERO:
        intact = intact and still_protected(mem, partner)
    if not intact:
        return _give_up(mem, cost, page, partner, time, np.int64(0), ABORTED)
    equal, ns = _look_again(mem, cost, page, partner)
    if not equal:
        outcome = FALSE_MATCH if digests_equal(mem, cost, page, partner) else ABORTED
        return _give_up(mem, cost, page, partner, time, ns, outcome)
    hold = np.int64(cost[0]["lock_hold"])
    ns += hold_lock(mem, time + ns, hold, now) + hold
    if partner == ZERO:
        ns += _remap_to_zero(mem, cost, page, time)
    else:
        ns += _remap(mem, cost, page, partner, time)
    other = np.int64(-1) if partner == ZERO else np.int64(partner)
    log_event(mem, time, ns, t.E_MERGE, SCANNER, page, other)
    if len(mem.truth) and check_page(mem, page) and partner != ZERO:
        check_page(mem, np.int64(partner))
    return ns, MERGED


@njit
def _give_up(
    mem: Memory,
    cost: np.ndarray,
    page: Number,
    partner: Number,
    time: Number,
    ns: Number,
    outcome: Number,
) -> Any:
    ns += _restore_page(mem, cost, page)
    if partner != ZERO:
        ns += _restore_page(mem, cost, partner)
    kind = t.E_ABORT
    mem.totals[t.T_MERGE_ABORTED] += 1
    if outcome == FALSE_MATCH:
        mem.totals[t.T_FALSE_MATCHES] += 1
        kind = t.E_FALSE
    other = np.int64(-1) if partner == ZERO else np.int64(partner)
    log_event(mem, time, ns, kind, SCANNER, page, other)
    return ns, outcome


@njit
def _remap_to_zero(mem: Memory, cost: np.ndarray, page: Number, time: Number) -> Any:
    frame = mem.totals[t.T_ZERO_FRAME]
    if frame == NONE:  # the first zero page's frame becomes the one that others share
        own = np.int64(mem.pages[page]["mfn"])
        mem.totals[t.T_ZERO_FRAME] = own
        if np.uint64(mem.frames[own]["content"]) != np.uint64(0):
            clear_frame(mem, own)
        set_flag(mem, page, READ_ONLY)
        clear_flag(mem, page, PROTECTED)
        return np.int64(cost[0]["entry_update"])
    mem.totals[t.T_ZERO_MERGES] += 1
    return _move(mem, cost, page, frame, time)


@njit
def clear_frame(mem: Memory, frame: Number) -> Any:
    """A frame taken for zero was not (its digest collided): all who map it now read zeros."""
    mem.frames[frame]["content"] = np.uint64(0)
    sharers = np.int64(mem.frames[frame]["ref"])
    if sharers > 1:
        mem.totals[t.T_ZERO_SHARED_FRAMES] += 1
        mem.totals[t.T_ZERO_SHARERS] += sharers
    page = np.int64(mem.frames[frame]["head"])
    while page != NONE:
        corrupt(mem, page)
        page = np.int64(mem.pages[page]["next"])


@njit
def corrupt(mem: Memory, page: Number) -> Any:
    mem.totals[t.T_WRONG_MERGES] += 1
    if np.int64(mem.pages[page]["flags"]) & t.CORRUPTED == 0:
        mem.totals[t.T_CORRUPTED] += 1
    set_flag(mem, page, t.CORRUPTED)


@njit
def _remap(mem: Memory, cost: np.ndarray, page: Number, partner: Number, time: Number) -> Any:
    """Both pages on one frame: the one with more sharers stays, else the older (partner's)."""
    ours = np.int64(mem.pages[page]["mfn"])
    theirs = np.int64(mem.pages[partner]["mfn"])
    fewer = np.int64(mem.frames[ours]["ref"]) > np.int64(mem.frames[theirs]["ref"])
    if fewer and np.int64(cost[0]["partner_stays"]) == 0:
        moving, staying, frame = partner, page, ours
    else:
        moving, staying, frame = page, partner, theirs
    set_flag(mem, staying, READ_ONLY)
    clear_flag(mem, staying, PROTECTED)
    return _move(mem, cost, moving, frame, time)


@njit
def _move(mem: Memory, cost: np.ndarray, page: Number, frame: Number, time: Number) -> Any:
    """Map a page to another frame; returns ns of the update and the flush."""
    vm = vm_of(mem, page)
    before = np.int64(mem.pages[page]["mfn"])
    wrong = np.uint64(mem.frames[before]["content"]) != np.uint64(mem.frames[frame]["content"])
    entries, ns = entries_of(mem, cost, page)
    zapped = np.int64(cost[0]["entries"]) == FILLED
    ns += entries * np.int64(cost[0]["entry_zap"] if zapped else cost[0]["entry_update"])
    old = unlink(mem, vm, page)
    if np.int64(mem.frames[old]["ref"]) == 0:
        drop_frame(mem, old, True)
        ns += np.int64(cost[0]["frame_free"])
    link(mem, vm, page, frame)
    clear_flag(mem, page, PROTECTED)
    set_flag(mem, page, READ_ONLY)
    lose_entries(mem, cost, page, entries)
    if wrong:
        corrupt(mem, page)
    mem.totals[t.T_MERGES] += 1
    mem.vms[vm]["merged"] += 1
    remember(mem, page, time)
    return ns + flush_vm(mem, cost, vm, -1, time)


@njit
def remember(mem: Memory, page: Number, time: Number) -> Any:
    """Note the merge in the ring of recent ones (for counting near races)."""
    capacity = len(mem.recent)
    at = mem.totals[t.T_RECENT_HEAD]
    if mem.totals[t.T_RECENT_COUNT] == capacity:
        mem.totals[t.T_RECENT_COUNT] -= 1
    mem.recent[at, 0] = page
    mem.recent[at, 1] = time
    mem.totals[t.T_RECENT_HEAD] = (at + 1) % capacity
    mem.totals[t.T_RECENT_COUNT] += 1
    set_flag(mem, page, RECENT)


@njit
def forget_recent(mem: Memory, before: Number) -> Any:
    """Take pages merged before that time off the ring of recent merges."""
    capacity = len(mem.recent)
    while mem.totals[t.T_RECENT_COUNT] > 0:
        at = (mem.totals[t.T_RECENT_HEAD] - mem.totals[t.T_RECENT_COUNT]) % capacity
        if mem.recent[at, 1] >= before:
            return
        clear_flag(mem, mem.recent[at, 0], RECENT)
        mem.totals[t.T_RECENT_COUNT] -= 1


@njit
def share_now(mem: Memory, cost: np.ndarray, page: Number, partner: Number) -> Any:
    """Merge two equal pages at once and for nothing: what a perfect oracle would do."""
    split_block(mem, cost, page)
    set_flag(mem, page, READ_ONLY)
    if partner == ZERO:
        frame = mem.totals[t.T_ZERO_FRAME]
        if frame == NONE:
            mem.totals[t.T_ZERO_FRAME] = np.int64(mem.pages[page]["mfn"])
            return
    else:
        split_block(mem, cost, partner)
        set_flag(mem, partner, READ_ONLY)
        frame = np.int64(mem.pages[partner]["mfn"])
    vm = vm_of(mem, page)
    in_place = mem.pages[page]["entries"]
    old = unlink(mem, vm, page)
    if np.int64(mem.frames[old]["ref"]) == 0:
        drop_frame(mem, old, False)
    link(mem, vm, page, frame)
    mem.pages[page]["entries"] = in_place
    mem.totals[t.T_MERGES] += 1
    mem.vms[vm]["merged"] += 1
    if partner == ZERO:
        mem.totals[t.T_ZERO_MERGES] += 1
