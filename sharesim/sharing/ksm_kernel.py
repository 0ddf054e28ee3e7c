"""ksmd's scan as compiled steps: the next page, its examination, the merge, the end of a scan.

A batch begins with its wake-up and ends when its pages are examined or the full scan is over.
Between the steps of a merge guests run, as under every policy.
"""

from typing import Any

import numpy as np

from sharesim.hypervisor.merge import MERGED, PENDING, commit, forget_recent, protect
from sharesim.kernel import Number, njit, njit_inline
from sharesim.machine import tables as t
from sharesim.machine.mapping import changes_full, log_event, log_full, release_pending
from sharesim.machine.tables import NONE, ZERO, Memory
from sharesim.sharing.ksm_stable import drop_stale, has_room, insert_stable, is_stale, search_stable
from sharesim.sharing.ksm_state import (
    ABSENT_ITEM,
    IDLE_ITEM,
    STABLE,
    UNSTABLE,
    Ksm,
    append_item,
    checksum_of,
    content_of,
    cooled,
    leave_node,
    owner_of,
    scannable,
    smart_skip,
)
from sharesim.sharing.ksm_sweep import sweep, walk_plainly
from sharesim.sharing.ksm_unstable import GIVEN_UP, find_or_insert, forget_all, take_out

# Why the kernel stopped.
HORIZON, BATCH_END, SCAN_END, DRAIN, MORE_NODES = range(5)
# What the next step is.
WAKE, VISIT, PROTECT, COMMIT, FINISH = range(5)
# What a visit came to.
NOTHING, INTO_STABLE, A_PAIR, INTO_ZERO = range(4)

A_PAIR_MARK = np.int64(-1)
"""In ``match``: the merge is of two pages, not into a stable node."""
NO_PAGE = np.int64(-1)
SCAN_OVER = np.int64(-2)
LONGEST_WALK = 4096
"""Addresses that one step passes over at most."""
NODES_A_STEP = 2
"""Rows of the node table that one step may take: a node and its chain."""


@njit
def _forget_item(mem: Memory, ksm: Ksm, page: Number) -> Any:
    """An item leaves the tree or list it is in, and is volatile from then on; returns ns."""
    item = ksm.items[page]
    state = np.int64(item["state"])
    ns = np.int64(0)
    if state == UNSTABLE:
        take_out(ksm, page)
    elif state == STABLE:
        row = np.int64(item["parent"])
        if is_stale(mem, ksm, row):
            ns = drop_stale(mem, ksm, row)
        else:
            leave_node(mem, ksm, page)
    item["state"] = np.uint8(IDLE_ITEM)
    return ns


@njit
def _free_item(mem: Memory, ksm: Ksm, vm: Number, page: Number) -> Any:
    """The page of an item is no longer to be scanned; returns ns."""
    ns = _forget_item(mem, ksm, page) + np.int64(ksm.price[0]["item_free"])
    ksm.items[page]["state"] = np.uint8(ABSENT_ITEM)
    ksm.scan[0]["items"] -= 1
    ksm.vms[vm]["items"] -= 1
    return ns


@njit
def _free_all(mem: Memory, ksm: Ksm, vm: Number) -> Any:
    """A VM leaves the scan list, and all its items go; returns ns."""
    first, ns = np.int64(mem.vms[vm]["first"]), np.int64(0)
    for page in range(first, first + np.int64(mem.vms[vm]["pages"])):
        if np.int64(ksm.items[page]["state"]) != ABSENT_ITEM:
            ns += _free_item(mem, ksm, vm, page)
    return ns


@njit
def _begin_scan(mem: Memory, ksm: Ksm, time: Number) -> Any:
    scan = ksm.scan[0]
    scan["started"] = time
    scan["slot"] = 0
    scan["address"] = np.int64(mem.vms[ksm.slots[0]]["first"])
    scan["position"] = 0
    forget_all(ksm)
    return np.int64(ksm.price[0]["scan_start"])


@njit
def _next_slot(mem: Memory, ksm: Ksm, remove: Number) -> Any:
    """The cursor goes on to the next VM of the list; False after the last."""
    scan = ksm.scan[0]
    slot = np.int64(scan["slot"])
    if remove:
        scan["slots"] -= 1
        for at in range(slot, np.int64(scan["slots"])):
            ksm.slots[at] = ksm.slots[at + 1]
    else:
        slot += 1
    if slot >= np.int64(scan["slots"]):
        scan["slot"] = -1
        return False
    scan["slot"] = slot
    scan["address"] = np.int64(mem.vms[ksm.slots[slot]]["first"])
    return True


@njit
def _next_page(mem: Memory, ksm: Ksm, time: Number) -> Any:
    """The next page to examine, NO_PAGE after a long walk, or SCAN_OVER. Time is in walked_ns."""
    scan, price = ksm.scan[0], ksm.price[0]
    if np.int64(scan["slot"]) < 0:
        if np.int64(scan["slots"]) == 0:
            return SCAN_OVER
        scan["walked_ns"] += _begin_scan(mem, ksm, time)
    while np.int64(scan["walked"]) < LONGEST_WALK:
        vm = np.int64(ksm.slots[np.int64(scan["slot"])])
        end = np.int64(mem.vms[vm]["first"]) + np.int64(mem.vms[vm]["pages"])
        gone = np.int64(ksm.vms[vm]["exited"]) != 0 or np.int64(ksm.vms[vm]["mergeable"]) == 0
        if gone:
            scan["walked_ns"] += _free_all(mem, ksm, vm)
        if gone or np.int64(scan["address"]) >= end:
            if not _next_slot(mem, ksm, gone):
                return SCAN_OVER
            continue
        page = walk_plainly(
            mem.pages, mem.owners, ksm.items, ksm.scan, ksm.vms, ksm.price, vm, end,
            mem.totals[t.T_ZERO_FRAME], LONGEST_WALK,
        )  # fmt: skip
        if page >= 0:
            return page
        page = np.int64(scan["address"])
        if page >= end or np.int64(scan["walked"]) >= LONGEST_WALK:
            continue
        # An item that has to leave a tree or a list before its page is passed over.
        scan["address"] = page + 1
        scan["position"] += 1
        scan["walked"] += 1
        if not scannable(mem, page):
            scan["walked_ns"] += np.int64(price["hole"]) + _free_item(mem, ksm, vm, page)
        elif smart_skip(ksm.items[page]):
            scan["walked_ns"] += np.int64(price["skip"]) + _forget_item(mem, ksm, page)
            scan["skipped"] += 1
        else:
            return page
    return NO_PAGE


@njit
def _examine_merged(mem: Memory, ksm: Ksm, page: Number, row: Number) -> Any:
    """A visit of a KSM page; ns. One met through a clone joins the items of its node."""
    price, item = ksm.price[0], ksm.items[page]
    ns = np.int64(price["merged_visit"]) + cooled(ksm, price["merged_visit_cold"])
    if np.int64(item["state"]) == STABLE and np.int64(item["parent"]) == row:
        return ns
    ns += _forget_item(mem, ksm, page)
    append_item(mem, ksm, row, page)
    return ns


@njit_inline
def _look_in_stable(mem: Memory, ksm: Ksm, page: Number, time: Number) -> Any:
    """Search the stable tree; (whether the page is to be merged there, ns)."""
    row, ns = search_stable(mem, ksm, content_of(mem, page), time)
    if row == NONE or not has_room(ksm, row):
        return False, ns
    ksm.scan[0]["partner"] = np.int64(mem.frames[np.int64(ksm.nodes[row]["frame"])]["head"])
    return True, ns


@njit_inline
def examine(mem: Memory, ksm: Ksm, page: Number, time: Number) -> Any:
    """One visit; (what it came to, ns). A merge to be made is left in the scan row."""
    scan, price, item = ksm.scan[0], ksm.price[0], ksm.items[page]
    scan["page"] = page
    row = owner_of(mem, page)
    if row != NONE:
        return NOTHING, _examine_merged(mem, ksm, page, row)
    first = np.int64(item["checksum"]) == 0
    if first:
        ns = np.int64(price["first_visit"]) + cooled(ksm, price["first_visit_cold"])
    else:
        ns = np.int64(price["visit"]) + cooled(ksm, price["visit_cold"])
    mem.totals[t.T_STREAMED] += 1
    scan["hashed"] += 1
    ns += _forget_item(mem, ksm, page)
    found = False
    if np.int64(scan["checksum_first"]) == 0:
        found, more = _look_in_stable(mem, ksm, page, time)
        ns += more
        if found:
            return INTO_STABLE, ns
    content = content_of(mem, page)
    checksum = checksum_of(content)
    if np.int64(item["checksum"]) != checksum:
        item["checksum"] = np.uint32(checksum)
        return NOTHING, ns
    if np.int64(scan["zero_pages"]) and content == np.uint64(0):
        scan["partner"] = ZERO
        return INTO_ZERO, ns
    if np.int64(scan["checksum_first"]):
        found, more = _look_in_stable(mem, ksm, page, time)
        ns += more
        if found:
            return INTO_STABLE, ns
    other, more = find_or_insert(mem, ksm, page)
    ns += more
    if other in (NONE, GIVEN_UP) or mem.pages[other]["mfn"] == mem.pages[page]["mfn"]:
        return NOTHING, ns
    scan["partner"] = other
    return A_PAIR, ns


@njit
def _pair(ksm: Ksm) -> Any:
    """(page to be remapped, page whose frame stays): of two, the frame of the later one."""
    scan = ksm.scan[0]
    if np.int64(scan["match"]) == A_PAIR_MARK:
        return np.int64(scan["partner"]), np.int64(scan["page"])
    return np.int64(scan["page"]), np.int64(scan["partner"])


@njit_inline
def _visit(mem: Memory, ksm: Ksm, time: Number, page: Number) -> Any:
    """Examine a page, or the next one if it is -1; (ns, whether the full scan is over)."""
    scan = ksm.scan[0]
    if page < 0:
        page = _next_page(mem, ksm, time)
    ns = np.int64(scan["walked_ns"])
    scan["walked"] = scan["walked_ns"] = 0
    if page == SCAN_OVER:
        return ns, True
    if page == NO_PAGE:
        return ns, False
    outcome, more = examine(mem, ksm, page, time)
    scan["left"] -= 1
    scan["scanned"] += 1
    scan["fresh"] += 1
    scan["match"] = A_PAIR_MARK if outcome == A_PAIR else np.int64(NONE)
    if outcome != NOTHING:
        scan["stage"] = PROTECT
    other = np.int64(scan["partner"]) if outcome in (INTO_STABLE, A_PAIR) else np.int64(-1)
    log_event(mem, time, ns + more, t.E_VISIT, -1, page, other)
    return ns + more, False


@njit_inline
def _settle(mem: Memory, ksm: Ksm, time: Number) -> Any:
    """A merge has been made: bring items and trees in line; returns ns beyond the merge's own."""
    scan, price = ksm.scan[0], ksm.price[0]
    page, partner = np.int64(scan["page"]), np.int64(scan["partner"])
    if partner == ZERO:
        return np.int64(price["merge_zero"])
    frame = np.int64(mem.pages[page]["mfn"])
    if np.int64(scan["match"]) != A_PAIR_MARK:
        row = np.int64(mem.owners[frame])
        if row == NONE:  # every sharer has been written to since the search
            return np.int64(0)
        append_item(mem, ksm, row, page)
        return np.int64(price["merge_stable"]) + cooled(ksm, price["merge_stable_cold"])
    take_out(ksm, partner)
    ksm.items[partner]["state"] = np.uint8(IDLE_ITEM)
    row, ns = insert_stable(mem, ksm, content_of(mem, page), frame, time)
    append_item(mem, ksm, row, partner)
    append_item(mem, ksm, row, page)
    return ns + np.int64(price["merge_pair"]) + cooled(ksm, price["merge_pair_cold"])


@njit_inline
def _merge_step(mem: Memory, cost: np.ndarray, ksm: Ksm, time: Number, now: Number) -> Any:
    """One step of a merge; its ns."""
    scan = ksm.scan[0]
    moving, staying = _pair(ksm)
    stage = np.int64(scan["stage"])
    if stage == PROTECT:
        ns, outcome = protect(mem, cost, moving, staying, time)
        scan["stage"] = COMMIT if outcome == PENDING else VISIT
        return ns
    if stage == COMMIT:
        ns, outcome = commit(mem, cost, moving, staying, time, now)
        if outcome == MERGED:
            ns += _settle(mem, ksm, time)
        scan["stage"] = FINISH
        return ns
    release_pending(mem)
    scan["stage"] = VISIT
    return np.int64(0)


@njit
def scan(
    mem: Memory, cost: np.ndarray, ksm: Ksm, now: Number, until: Number, inline: Number
) -> Any:
    """Run ksmd from its local time; returns (due, stop).

    Stops at the horizon, at the end of the batch or of the full scan, to have logs drained, or for
    more rows of nodes. Unless ``inline`` it makes one step a call.
    """
    row = ksm.scan[0]
    sweeps = inline and len(mem.log) == 0
    forget_recent(mem, now - 2 * np.int64(cost[0]["quantum"]))
    while True:
        due = np.int64(row["due"])
        if due != now and due >= until:
            return due, HORIZON
        if log_full(mem) or changes_full(mem):
            return due, DRAIN
        if np.int64(row["room"]) < NODES_A_STEP:
            return due, MORE_NODES
        stage = np.int64(row["stage"])
        over, page = False, np.int64(-1)
        if stage == VISIT:
            if np.int64(row["left"]) == 0:
                return due, BATCH_END
            if sweeps:
                left = np.int64(row["left"])
                page = sweep(mem, ksm, now, until, LONGEST_WALK)
                under_way = page >= 0 or np.int64(row["walked"]) > 0
                if np.int64(row["left"]) != left and not under_way:
                    continue
                due = np.int64(row["due"])
        row["local"] = due
        if stage == VISIT:
            ns, over = _visit(mem, ksm, due, page)
        elif stage == WAKE:
            ns = np.int64(ksm.price[0]["wakeup"])
            row["stage"] = VISIT
        else:
            ns = _merge_step(mem, cost, ksm, due, now)
        row["due"] = due + ns
        if over:
            return due + ns, SCAN_END
        if not inline and ns > 0:
            return due + ns, HORIZON
