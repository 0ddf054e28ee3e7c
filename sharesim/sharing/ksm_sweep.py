"""ksmd's common visits in one loop: merged pages, skipped ones, changed ones, and unique ones.

The same steps as :mod:`sharesim.sharing.ksm_kernel` makes, for one VM after the cursor. What those
visits need is in a few arrays, and handing all of Memory and Ksm down from function to function
would cost more than the visits. Whatever is not common is left to the general functions, in the
middle of a step if need be.
"""

from typing import Any

import numpy as np

from sharesim.kernel import Number, njit, njit_inline
from sharesim.machine import tables as t
from sharesim.machine.tables import NONE, Memory
from sharesim.sharing import rbtree
from sharesim.sharing.ksm_stable import stable_descent, walk_stable
from sharesim.sharing.ksm_state import (
    ABSENT_ITEM,
    IDLE_ITEM,
    STABLE,
    STABLE_TREE,
    UNSTABLE,
    UNSTABLE_TREE,
    Ksm,
    checksum_of,
    cooled,
    make_item,
    seen,
    smart_skip,
)
from sharesim.sharing.ksm_unstable import note_inserted, unstable_descent, walk_unstable

GENERAL, SETTLED = range(2)
"""Whether a visit is one for the general functions, or has been made."""


@njit_inline
def walk_plainly(
    pages: np.ndarray,
    owners: np.ndarray,
    items: np.ndarray,
    scan: np.ndarray,
    vms: np.ndarray,
    price: np.ndarray,
    vm: Number,
    end: Number,
    zero_frame: Number,
    limit: Number,
) -> Any:
    """From the cursor on to the next page to examine, passing over holes and what is skipped.

    Returns the page; or -1 where the VM ends, the walk has gone on for ``limit`` addresses, or the
    item of an address has to leave a tree or a list. What it cost is in ``walked_ns``.
    """
    row = scan[0]
    page, walked = np.int64(row["address"]), np.int64(row["walked"])
    begun, ns = page, np.int64(row["walked_ns"])
    smart, hole = np.int64(row["smart_scan"]) != 0, np.int64(price[0]["hole"])
    found = np.int64(-1)
    while page < end and walked < limit:
        state = np.int64(items[page]["state"])
        if not seen(pages, page, zero_frame):
            if state != ABSENT_ITEM:
                break
            ns += hole
        else:
            merged = np.int64(owners[np.int64(pages[page]["mfn"])]) != NONE
            older = state == UNSTABLE and np.int64(items[page]["scan"]) != np.int64(row["scan"])
            if smart and not merged and (state == STABLE or (state == UNSTABLE and not older)):
                break
            if state == ABSENT_ITEM:
                make_item(items, scan, vms, vm, page)
            if not (smart and not merged and smart_skip(items[page])):
                found = page
                page += 1
                walked += 1
                break
            ns += np.int64(price[0]["skip"])
            row["skipped"] += 1
            if older:
                items[page]["state"] = np.uint8(IDLE_ITEM)
                row["unshared"] -= 1
        page += 1
        walked += 1
    row["position"] += page - begun
    row["address"], row["walked"], row["walked_ns"] = page, walked, ns
    return found


@njit_inline
def examine_plainly(mem: Memory, ksm: Ksm, page: Number) -> Any:
    """A visit that ends without a merge; (SETTLED, ns). Else nothing is done: (GENERAL, 0)."""
    scan, price, item = ksm.scan[0], ksm.price[0], ksm.items[page]
    frame = np.int64(mem.pages[page]["mfn"])
    row, state = np.int64(mem.owners[frame]), np.int64(item["state"])
    if row != NONE:
        if state != STABLE or np.int64(item["parent"]) != row:
            return GENERAL, np.int64(0)
        ns = np.int64(price["merged_visit"]) + cooled(ksm, price["merged_visit_cold"])
        return SETTLED, ns
    this_scan = state == UNSTABLE and np.int64(item["scan"]) == np.int64(scan["scan"])
    if state == STABLE or this_scan or not np.int64(scan["checksum_first"]):
        return GENERAL, np.int64(0)
    before = np.int64(item["checksum"])
    ns = np.int64(price["visit"]) + cooled(ksm, price["visit_cold"])
    if before == 0:
        ns = np.int64(price["first_visit"]) + cooled(ksm, price["first_visit_cold"])
    content = np.uint64(mem.frames[frame]["content"])
    checksum = checksum_of(content)
    if checksum == before:
        if (content == np.uint64(0) and np.int64(scan["zero_pages"])) or len(ksm.table):
            return GENERAL, np.int64(0)
        found, more = _search_plainly(mem, ksm, page, content)
        if not found:
            return GENERAL, np.int64(0)
        ns += more
    else:
        item["checksum"] = np.uint32(checksum)
    if state == UNSTABLE:
        scan["unshared"] -= 1
        if checksum != before:
            item["state"] = np.uint8(IDLE_ITEM)
    mem.totals[t.T_STREAMED] += 1
    scan["hashed"] += 1
    return SETTLED, ns


@njit_inline
def _search_plainly(mem: Memory, ksm: Ksm, page: Number, key: Number) -> Any:
    """Put a page in the unstable tree if neither tree has its content; (whether so, ns)."""
    row, compared = walk_stable(
        ksm.nodes, mem.owners, ksm.roots[STABLE_TREE], key, mem.totals[t.T_DISOWNED]
    )
    if row != NONE:
        return False, np.int64(0)
    other, more, parent, right = walk_unstable(
        mem.pages, mem.frames, mem.attention, ksm.items,
        ksm.roots[UNSTABLE_TREE], key, mem.totals[t.T_ZERO_FRAME],
    )  # fmt: skip
    if other != NONE:
        return False, np.int64(0)
    rbtree.insert(ksm.items, ksm.roots, UNSTABLE_TREE, page, parent, right)
    note_inserted(mem.attention, ksm.items, ksm.scan, page, key)
    return True, stable_descent(ksm, compared) + unstable_descent(ksm, more)


@njit
def sweep(mem: Memory, ksm: Ksm, now: Number, until: Number, limit: Number) -> Any:
    """Steps of ksmd in one VM, up to the first that is not common; -1, or its page to examine.

    A step that has begun (``walked`` is not 0, or a page is returned) is for the caller to finish.
    """
    scan = ksm.scan[0]
    slot = np.int64(scan["slot"])
    if slot < 0:
        return np.int64(-1)
    vm = np.int64(ksm.slots[slot])
    if np.int64(ksm.vms[vm]["exited"]) or np.int64(ksm.vms[vm]["mergeable"]) == 0:
        return np.int64(-1)
    end = np.int64(mem.vms[vm]["first"]) + np.int64(mem.vms[vm]["pages"])
    zero_frame = mem.totals[t.T_ZERO_FRAME]
    due, left = np.int64(scan["due"]), np.int64(scan["left"])
    page = np.int64(-1)
    while left > 0 and (due < until or due == now):
        page = walk_plainly(
            mem.pages, mem.owners, ksm.items, ksm.scan, ksm.vms, ksm.price, vm, end, zero_frame,
            limit,
        )  # fmt: skip
        if page < 0:
            break
        kind, ns = examine_plainly(mem, ksm, page)
        if kind == GENERAL:
            break
        scan["local"] = due
        due += ns + np.int64(scan["walked_ns"])
        scan["walked"] = scan["walked_ns"] = 0
        left -= 1
        scan["scanned"] += 1
        scan["fresh"] += 1
        page = np.int64(-1)
    scan["due"], scan["left"] = due, left
    return page
