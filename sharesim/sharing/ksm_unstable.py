"""The unstable tree: pages by what they hold *now*, though they were put in by what they held then.

Guests write to pages that are in it, so that the order is wrong in places and a search may miss an
equal page. That is the kernel's behaviour and is modelled: each comparison is with present content.
The content at insertion is kept beside the links and used as long as the page's attention bit says
that nothing has happened to it; that saves two cache misses a comparison and changes no result.
"""

from typing import Any

import numpy as np

from sharesim.content.mixing import mix64
from sharesim.kernel import Number, njit, njit_inline
from sharesim.machine import tables as t
from sharesim.machine.tables import NONE, Memory
from sharesim.sharing import rbtree
from sharesim.sharing.ksm_state import (
    FAR_LEVELS,
    LEVEL_BITS,
    NEAR_LEVELS,
    UNSTABLE,
    UNSTABLE_TREE,
    Ksm,
    content_of,
    cooled,
    levels_beyond,
    scannable,
    seen,
)

GIVEN_UP = np.int64(-1)
"""A search met a page that can no longer be had: neither found nor inserted."""

_NONE = np.uint32(NONE)


@njit_inline
def walk_unstable(
    pages: np.ndarray,
    frames: np.ndarray,
    attention: np.ndarray,
    items: np.ndarray,
    root: Number,
    key: Number,
    zero_frame: Number,
) -> Any:
    """Down the tree by present contents: (page, how many compared, parent, whether to its right).

    The page is the equal one, GIVEN_UP, or NONE: there, below the parent, the content belongs.
    """
    compared = np.int64(0)
    parent, right = np.int64(NONE), False
    other = np.int64(root)
    while other != NONE:
        compared += 1
        if np.int64(attention[other >> 3]) >> (other & 7) & 1:
            if not seen(pages, other, zero_frame):
                return GIVEN_UP, compared, parent, right
            items[other]["key"] = frames[np.int64(pages[other]["mfn"])]["content"]
            attention[other >> 3] &= np.uint8(~(1 << (other & 7)) & 0xFF)
        there = np.uint64(items[other]["key"])
        if key == there:
            return other, compared, parent, right
        parent, right = other, key > there
        other = np.int64(items[other]["right"] if right else items[other]["left"])
    return np.int64(NONE), compared, parent, right


@njit_inline
def unstable_descent(ksm: Ksm, compared: Number) -> Any:
    """ns of a search that compared so many pages."""
    price, pages = ksm.price[0], np.int64(ksm.scan[0]["in_tree"])
    each = np.int64(price["unstable_compare"]) + cooled(ksm, price["unstable_compare_cold"])
    deep = np.int64(price["unstable_depth"]) + cooled(ksm, price["unstable_depth_cold"])
    more = levels_beyond(NEAR_LEVELS, pages) * deep
    more += levels_beyond(FAR_LEVELS, pages) * np.int64(price["unstable_far"])
    return compared * each + (more >> LEVEL_BITS)


@njit
def find_or_insert(mem: Memory, ksm: Ksm, page: Number) -> Any:
    """An equal page of this scan; else the page is put in. Returns (page, NONE or GIVEN_UP; ns)."""
    if len(ksm.table):
        return _find_or_enter(mem, ksm, page)
    key = content_of(mem, page)
    other, compared, parent, right = walk_unstable(
        mem.pages, mem.frames, mem.attention, ksm.items,
        ksm.roots[UNSTABLE_TREE], key, mem.totals[t.T_ZERO_FRAME],
    )  # fmt: skip
    if other == NONE:
        rbtree.insert(ksm.items, ksm.roots, UNSTABLE_TREE, page, parent, right)
        note_inserted(mem.attention, ksm.items, ksm.scan, page, key)
    return other, unstable_descent(ksm, compared)


@njit_inline
def note_inserted(
    attention: np.ndarray, items: np.ndarray, scan: np.ndarray, page: Number, key: Number
) -> Any:
    """A page has been put in the tree: until it is attended to, its content is that key."""
    item = items[page]
    item["key"] = key
    item["state"] = np.uint8(UNSTABLE)
    item["scan"] = np.uint32(np.int64(scan[0]["scan"]))
    scan[0]["unshared"] += 1
    scan[0]["in_tree"] += 1
    attention[page >> 3] &= np.uint8(~(1 << (page & 7)) & 0xFF)


@njit
def _find_or_enter(mem: Memory, ksm: Ksm, page: Number) -> Any:
    """The same with an ideal set, that misses no equal page; it costs what a tree would."""
    key, scan = content_of(mem, page), ksm.scan[0]
    size = len(ksm.table)
    levels, rest = np.int64(0), np.int64(scan["in_tree"])
    while rest:
        levels += 1
        rest >>= 1
    slot = np.int64(mix64(key) % np.uint64(size))
    while ksm.table[slot] != _NONE:
        other = np.int64(ksm.table[slot])
        entered = np.uint64(ksm.items[other]["key"]) == key and in_this_scan(ksm, other)
        if entered and scannable(mem, other) and content_of(mem, other) == key:
            return other, unstable_descent(ksm, levels)
        slot = (slot + 1) % size
    ksm.table[slot] = np.uint32(page)
    note_inserted(mem.attention, ksm.items, ksm.scan, page, key)
    return np.int64(NONE), unstable_descent(ksm, levels)


@njit
def in_this_scan(ksm: Ksm, page: Number) -> Any:
    """Whether a page's item is in the tree as it is now, not in one of an earlier scan."""
    item = ksm.items[page]
    if np.int64(item["state"]) != UNSTABLE:
        return False
    return np.int64(item["scan"]) == np.int64(ksm.scan[0]["scan"])


@njit
def take_out(ksm: Ksm, page: Number) -> Any:
    """An unstable item leaves; from the tree only if it was put in during this scan."""
    if in_this_scan(ksm, page):
        ksm.scan[0]["in_tree"] -= 1
        if not len(ksm.table):
            rbtree.erase(ksm.items, ksm.roots, UNSTABLE_TREE, page)
    ksm.scan[0]["unshared"] -= 1


@njit
def forget_all(ksm: Ksm) -> Any:
    """A new full scan: the root is forgotten, the items are not touched."""
    ksm.roots[UNSTABLE_TREE] = NONE
    for slot in range(len(ksm.table)):
        ksm.table[slot] = _NONE
    ksm.scan[0]["in_tree"] = 0
