"""The paravirtual design: guests are offered pages to share, and take part in each step.

Published is that such a design exists and was expected to remove the cost of shadow paging
(Kloster, Kristensen and Mejlholm 2006); the protocol is our reading of what it takes under
validated direct paging:

1. Shared frames belong to a COW owner. No guest may map them writable: validation refuses it.
2. *Offer*: the scanner puts candidates on the rings of their guests, and sends one event a batch.
3. *Consent*: the guest's driver, on the guest's first vCPU, drops what it knows to be in use, finds
   the entries of the rest by its own rmap and write-protects them.
4. *Share*: one hypercall with the list. The hypervisor flushes, looks at the pages again, and moves
   them to the COW owner; a page whose equal is there already joins its frame.
5. *Rewrite*: the guest writes the new frames into its entries, in a second batch, and flushes once.
   Only then are the frames free that fell empty.

Of a pair of which neither page is shared, both are offered, each to its guest: the first to be
shared becomes the frame that the second joins. Breaks are in :mod:`sharesim.hypervisor.fault`.
"""

from typing import Any

import numpy as np

from sharesim.content.classes import PageClass
from sharesim.hypervisor.merge import (
    ABORTED,
    FALSE_MATCH,
    MERGED,
    PENDING,
    SAME,
    SCANNER,
    clear_frame,
    contents_equal,
    corrupt,
    digest_of,
    digests_equal,
    refuse,
    remember,
    shareable,
    still_protected,
    zero_digest,
)
from sharesim.kernel import Number, Row, njit
from sharesim.machine import tables as t
from sharesim.machine.check import check_page
from sharesim.machine.entries import entries_of
from sharesim.machine.flush import flush_vm, refill_after_flush
from sharesim.machine.locks import hold_lock
from sharesim.machine.mapping import (
    clear_flag,
    hold_frame,
    link,
    log_event,
    release,
    release_held,
    set_flag,
    unlink,
    vm_of,
)
from sharesim.machine.tables import (
    ABSENT,
    BALLOONED,
    CLASS_MASK,
    DIRTY,
    MOVED,
    NONE,
    OFFERED,
    PINNED,
    PROTECTED,
    READ_ONLY,
    REFILL,
    RING,
    ZERO,
    Memory,
)

_FREE = np.int64(int(PageClass.FREE))
# What a guest's driver does next.
CONSENT, SHARE, REWRITE, FINISH = range(4)
# What has become of an offer.
WAITING, REFUSED, BALLOONED_AWAY, CONSENTED, ALONE, JOINED, TAKEN_BACK = range(7)


@njit
def _read_only(mem: Memory, page: Number) -> Any:
    return np.int64(mem.pages[page]["flags"]) & READ_ONLY != 0


@njit
def offer(mem: Memory, cost: np.ndarray, page: Number, partner: Number, time: Number) -> Any:
    """The scanner's step in place of a merge: ask the guests. Returns (ns, outcome)."""
    if not shareable(mem, cost, page):
        return refuse(mem, page, partner, time)
    frame = np.int64(mem.pages[page]["mfn"])
    if partner == ZERO:
        if frame == mem.totals[t.T_ZERO_FRAME]:
            return np.int64(0), SAME
        _put(mem, cost, page, partner, time)
        return np.int64(0), PENDING
    if partner == page or not shareable(mem, cost, partner):
        return refuse(mem, page, partner, time)
    if frame == np.int64(mem.pages[partner]["mfn"]):
        log_event(mem, time, 0, t.E_SAME, SCANNER, page, partner)
        return np.int64(0), SAME
    if _read_only(mem, partner) or not _read_only(mem, page):
        _put(mem, cost, page, partner, time)
    if not _read_only(mem, partner):
        _put(mem, cost, partner, page, time)
    return np.int64(0), PENDING


@njit
def _put(mem: Memory, cost: np.ndarray, page: Number, partner: Number, time: Number) -> Any:
    """Put a page on its guest's ring, unless it is there or the ring is full."""
    if np.int64(mem.pages[page]["flags"]) & OFFERED:
        return
    vm = vm_of(mem, page)
    _expire(mem, cost, vm, time)
    count = np.int64(mem.vms[vm]["offer_count"])
    if count >= np.int64(cost[0]["ring"]):
        mem.totals[t.T_OFFERS_DROPPED] += 1
        return
    slot = mem.offers[vm, (np.int64(mem.vms[vm]["offer_head"]) + count) % RING]
    slot["page"], slot["partner"] = page, partner
    slot["time"], slot["state"] = time, WAITING
    mem.vms[vm]["offer_count"] = count + 1
    set_flag(mem, page, OFFERED)
    mem.totals[t.T_OFFERS] += 1
    log_event(mem, time, 0, t.E_OFFER, SCANNER, page, -1 if partner == ZERO else partner)


@njit
def _expire(mem: Memory, cost: np.ndarray, vm: Number, time: Number) -> Any:
    """Take offers that nobody took in time off a ring whose guest is not at work on it."""
    row = mem.vms[vm]
    while np.int64(row["offer_count"]) > 0 and np.int64(row["driver_stage"]) == CONSENT:
        slot = mem.offers[vm, np.int64(row["offer_head"]) % RING]
        if time - np.int64(slot["time"]) <= np.int64(cost[0]["expiry"]):
            return
        _void(mem, slot, time, SCANNER)
        _pop(mem, vm, 1)


@njit
def _void(mem: Memory, slot: Row, time: Number, actor: Number) -> Any:
    slot["state"] = REFUSED
    mem.totals[t.T_OFFERS_EXPIRED] += 1
    log_event(mem, time, 0, t.E_EXPIRE, actor, np.int64(slot["page"]), -1)


@njit
def _pop(mem: Memory, vm: Number, count: Number) -> Any:
    row = mem.vms[vm]
    for at in range(count):
        slot = mem.offers[vm, (np.int64(row["offer_head"]) + at) % RING]
        clear_flag(mem, np.int64(slot["page"]), OFFERED)
    row["offer_head"] = (np.int64(row["offer_head"]) + count) % RING
    row["offer_count"] -= count


@njit
def has_work(mem: Memory, vm: Number) -> Any:
    """Whether a guest's driver has something to do now."""
    row = mem.vms[vm]
    return np.int64(row["notified"]) != 0 or np.int64(row["driver_stage"]) != CONSENT


@njit
def driver_step(
    mem: Memory, cost: np.ndarray, me: Number, vm: Number, time: Number, now: Number
) -> Any:
    """The next step of a guest's driver, on its vCPU row ``me``; returns ns."""
    stage = np.int64(mem.vms[vm]["driver_stage"])
    if stage == CONSENT:
        return _consent(mem, cost, me, vm, time)
    if stage == SHARE:
        return _share(mem, cost, me, vm, time, now)
    if stage == REWRITE:
        return _rewrite(mem, cost, me, vm, time)
    return _finish(mem, vm)


@njit
def _consent(mem: Memory, cost: np.ndarray, me: Number, vm: Number, time: Number) -> Any:
    row = mem.vms[vm]
    row["notified"] = 0
    batch = np.int64(row["offer_count"])
    if batch == 0:
        return np.int64(0)
    row["driver_batch"] = batch
    row["driver_stage"] = SHARE
    mem.totals[t.T_OFFER_BATCHES] += 1
    ns = np.int64(cost[0]["event"])
    willing, given = 0, 0
    for at in range(batch):
        slot = mem.offers[vm, (np.int64(row["offer_head"]) + at) % RING]
        ns += _consider(mem, cost, me, vm, slot, time)
        willing += np.int64(slot["state"]) == CONSENTED
        given += np.int64(slot["state"]) == BALLOONED_AWAY
    if given:  # before their frames can be anybody else's
        ns += flush_vm(mem, cost, vm, me, time)
    if willing == 0:
        row["driver_stage"] = FINISH
    return ns


@njit
def _consider(
    mem: Memory, cost: np.ndarray, me: Number, vm: Number, slot: Row, time: Number
) -> Any:
    """Drop one offer, give its page to the balloon, or write-protect it; returns ns."""
    page = np.int64(slot["page"])
    flags = np.int64(mem.pages[page]["flags"])
    if time - np.int64(slot["time"]) > np.int64(cost[0]["expiry"]):
        _void(mem, slot, time, me)
        return np.int64(0)
    if np.int64(mem.pages[page]["mfn"]) == NONE or flags & (PINNED | ABSENT | DIRTY):
        slot["state"] = REFUSED
        mem.totals[t.T_OFFERS_REFUSED] += 1
        log_event(mem, time, 0, t.E_REFUSE, me, page, -1)
        return np.int64(0)
    if flags & CLASS_MASK == _FREE and np.int64(cost[0]["balloon_free"]):
        slot["state"] = BALLOONED_AWAY
        release(mem, vm, page, BALLOONED)
        mem.vms[vm]["ballooned"] += 1
        log_event(mem, time, 0, t.E_INFLATE, me, page, -1)
        return np.int64(cost[0]["inflate"])
    slot["state"] = CONSENTED
    log_event(mem, time, 0, t.E_CONSENT, me, page, -1)
    if flags & READ_ONLY:
        return np.int64(0)
    set_flag(mem, page, PROTECTED)
    entries, ns = entries_of(mem, cost, page)
    return ns + entries * np.int64(cost[0]["entry_protect"])


@njit
def _share(mem: Memory, cost: np.ndarray, me: Number, vm: Number, time: Number, now: Number) -> Any:
    row = mem.vms[vm]
    row["driver_stage"] = FINISH
    ns = np.int64(cost[0]["hypercall"]) + flush_vm(mem, cost, vm, me, time)
    for at in range(np.int64(row["driver_batch"])):
        slot = mem.offers[vm, (np.int64(row["offer_head"]) + at) % RING]
        if np.int64(slot["state"]) != CONSENTED:
            continue
        ns += _share_page(mem, cost, me, vm, slot, time + ns, now)
        if np.int64(slot["state"]) == JOINED or np.int64(slot["state"]) == TAKEN_BACK:
            row["driver_stage"] = REWRITE
    return ns


@njit
def _share_page(
    mem: Memory, cost: np.ndarray, me: Number, vm: Number, slot: Row, time: Number, now: Number
) -> Any:
    """Check one page of the list and hand it to the COW owner; returns ns."""
    page, partner = np.int64(slot["page"]), np.int64(slot["partner"])
    there = still_protected(mem, page)
    if there and partner != ZERO:
        there = np.int64(mem.pages[partner]["mfn"]) != NONE
    if not there:
        _take_back(mem, me, slot, ABORTED, time)
        return np.int64(0)
    frame = _owned_frame(mem, partner)
    if frame == np.int64(mem.pages[page]["mfn"]):  # somebody else has brought them together
        clear_flag(mem, page, PROTECTED)
        slot["state"] = ALONE
        _tell(mem, slot, SAME)
        return np.int64(0)
    equal, ns = _look(mem, cost, page, partner)
    if not equal:
        false = digests_equal(mem, cost, page, partner)
        _take_back(mem, me, slot, FALSE_MATCH if false else ABORTED, time + ns)
        return ns
    hold = np.int64(cost[0]["lock_hold"])
    ns += hold_lock(mem, time + ns, hold, now) + hold
    mem.totals[t.T_OFFERS_SHARED] += 1
    if frame == NONE:
        _own(mem, page, partner)
        slot["state"] = ALONE
    else:
        ns += _join(mem, cost, vm, page, frame, time)
        mem.totals[t.T_ZERO_MERGES] += partner == ZERO
        slot["state"] = JOINED
        _tell(mem, slot, MERGED)
    log_event(mem, time, ns, t.E_SHARE, me, page, -1 if partner == ZERO else partner)
    if len(mem.truth):
        check_page(mem, page)
    return ns


@njit
def _look(mem: Memory, cost: np.ndarray, page: Number, partner: Number) -> Any:
    """Whether two pages are taken for equal now: (equal, ns). It is long since they were read.

    The first of a pair is looked at too, though it joins nothing yet: a stale offer must not leave
    its page read-only.
    """
    costs = cost[0]
    mem.totals[t.T_STREAMED] += 1 if partner == ZERO else 2
    if np.int64(costs["verify"]):
        same = contents_equal(mem, page, partner)
        if partner == ZERO:
            return same, np.int64(costs["zero_check_cold"])
        return same, np.int64(costs["compare_cold"]) if same else np.int64(costs["compare_differ"])
    mine = digest_of(mem, cost, np.int64(mem.pages[page]["mfn"]))
    if partner == ZERO:
        return mine == zero_digest(cost), np.int64(costs["digest_cold"])
    theirs = digest_of(mem, cost, np.int64(mem.pages[partner]["mfn"]))
    return mine == theirs, 2 * np.int64(costs["digest_cold"])


@njit
def _owned_frame(mem: Memory, partner: Number) -> Any:
    """The COW owner's frame that equals the page, if the partner is on one already."""
    if partner == ZERO:
        return mem.totals[t.T_ZERO_FRAME]
    if _read_only(mem, partner):
        return np.int64(mem.pages[partner]["mfn"])
    return np.int64(NONE)


@njit
def _own(mem: Memory, page: Number, partner: Number) -> Any:
    """The page's own frame becomes the COW owner's; others will join it."""
    set_flag(mem, page, READ_ONLY)
    clear_flag(mem, page, PROTECTED)
    if partner != ZERO:
        return
    frame = np.int64(mem.pages[page]["mfn"])
    mem.totals[t.T_ZERO_FRAME] = frame
    if np.uint64(mem.frames[frame]["content"]) != np.uint64(0):
        clear_frame(mem, frame)


@njit
def _join(
    mem: Memory, cost: np.ndarray, vm: Number, page: Number, frame: Number, time: Number
) -> Any:
    """Map a page to a frame of the COW owner; its own is held until the guest's flush."""
    before = np.int64(mem.pages[page]["mfn"])
    wrong = np.uint64(mem.frames[before]["content"]) != np.uint64(mem.frames[frame]["content"])
    ns = np.int64(0)
    old = unlink(mem, vm, page)
    if np.int64(mem.frames[old]["ref"]) == 0:
        hold_frame(mem, vm, old)
        ns += np.int64(cost[0]["frame_free"])
    link(mem, vm, page, frame)
    clear_flag(mem, page, PROTECTED)
    set_flag(mem, page, READ_ONLY)
    if wrong:
        corrupt(mem, page)
    mem.totals[t.T_MERGES] += 1
    mem.vms[vm]["merged"] += 1
    remember(mem, page, time)
    return ns


@njit
def _take_back(mem: Memory, me: Number, slot: Row, outcome: Number, time: Number) -> Any:
    """Give an offer up; the guest makes the page writable again, unless it was written."""
    slot["state"] = TAKEN_BACK
    mem.totals[t.T_MERGE_ABORTED] += 1
    kind = t.E_ABORT
    if outcome == FALSE_MATCH:
        mem.totals[t.T_FALSE_MATCHES] += 1
        kind = t.E_FALSE
    partner = np.int64(slot["partner"])
    log_event(mem, time, 0, kind, me, np.int64(slot["page"]), -1 if partner == ZERO else partner)
    _tell(mem, slot, outcome)


@njit
def _tell(mem: Memory, slot: Row, outcome: Number) -> Any:
    """Note what became of an offer, for the policy."""
    at = mem.totals[t.T_OUTCOME_COUNT]
    if at < len(mem.outcomes):
        mem.outcomes[at, 0] = np.int64(slot["page"])
        mem.outcomes[at, 1] = np.int64(slot["partner"])
        mem.outcomes[at, 2] = outcome
        mem.totals[t.T_OUTCOME_COUNT] = at + 1


@njit
def _rewrite(mem: Memory, cost: np.ndarray, me: Number, vm: Number, time: Number) -> Any:
    """Entries get the new frames, or their writability back; then one flush."""
    row = mem.vms[vm]
    row["driver_stage"] = FINISH
    changed = np.int64(0)
    for at in range(np.int64(row["driver_batch"])):
        slot = mem.offers[vm, (np.int64(row["offer_head"]) + at) % RING]
        page, state = np.int64(slot["page"]), np.int64(slot["state"])
        flags = np.int64(mem.pages[page]["flags"])
        # A page that was written or given away since then has been dealt with.
        if (state == JOINED and flags & READ_ONLY) or (state == TAKEN_BACK and flags & PROTECTED):
            changed += entries_of(mem, cost, page)[0]
            clear_flag(mem, page, PROTECTED | REFILL | MOVED)  # all of them are written
    if changed == 0:
        return np.int64(0)
    ns = np.int64(cost[0]["hypercall"]) + changed * np.int64(cost[0]["entry_update"])
    ns += refill_after_flush(mem, cost, me, time) + flush_vm(mem, cost, vm, me, time)
    log_event(mem, time, ns, t.E_REWRITE, me, -1, -1)
    return ns


@njit
def _finish(mem: Memory, vm: Number) -> Any:
    """The flush is done: frames are free, and the ring's slots too."""
    release_held(mem, vm)
    _pop(mem, vm, np.int64(mem.vms[vm]["driver_batch"]))
    mem.vms[vm]["driver_batch"] = 0
    mem.vms[vm]["driver_stage"] = CONSENT
    return np.int64(0)
