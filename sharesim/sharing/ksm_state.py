"""What ksmd remembers, as tables: an item for each page it has met, stable nodes, the scan list.

An *item* (an rmap_item of the kernel) is the row of its page id. While it is unstable its links are
those of the unstable tree; while it is stable they are those of its node's list of items, and its
``parent`` is the node. A *node* stands for one frame of merged pages, or is the head of a *chain*
of nodes with the same content, which in turn are its *dups*.
"""

from typing import Any, NamedTuple

import numpy as np

from sharesim.content.mixing import mix64
from sharesim.kernel import Number, Row, njit, njit_inline
from sharesim.machine import tables as t
from sharesim.machine.mapping import vm_of
from sharesim.machine.tables import NONE, Memory

# States of an item.
ABSENT_ITEM, IDLE_ITEM, UNSTABLE, STABLE = range(4)
# Kinds of a row of the node table.
FREE_ROW, NODE, CHAIN = range(3)
# The trees, as rows of ``roots``.
STABLE_TREE, UNSTABLE_TREE = range(2)

ITEM = np.dtype(
    [
        ("key", "<u8"),  # content when it was put in the unstable tree
        ("left", "<u4"),  # children; the items before and after it on a node's list
        ("right", "<u4"),
        ("parent", "<u4"),  # parent, or the node
        ("checksum", "<u4"),  # 0 matches nothing
        ("scan", "<u4"),  # the full scan in which it was put in the unstable tree
        ("age", "u1"),
        ("skips", "u1"),  # scans in which it is still to be skipped
        ("state", "u1"),
        ("color", "u1"),
    ]
)
NODE_ROW = np.dtype(
    [
        ("key", "<u8"),  # content
        ("left", "<u4"),  # the tree's children; of a free row: the next free one
        ("right", "<u4"),
        ("parent", "<u4"),
        ("frame", "<u4"),
        ("first", "<u4"),  # its first item; of a chain: its first dup
        ("count", "<u4"),  # items; of a chain: dups
        ("chain", "<u4"),  # the chain that it is a dup of
        ("before", "<u4"),  # its neighbours there
        ("after", "<u4"),
        ("kind", "u1"),
        ("color", "u1"),
        ("pruned", "<i8"),  # of a chain: when it was last gone through as a whole
    ]
)
SCAN_ROW = np.dtype(
    [
        (name, "<i8")
        for name in (
            "due",
            "local",
            "stage",
            "left",  # pages of this batch still to examine
            "page",  # a merge under way: the page examined, and with what
            "partner",
            "match",  # the node, or the page found in the unstable tree; NONE: the zero page
            "fresh",  # pages examined since the wake-up
            "full_scans",
            "scan",  # number of the present scan; unlike full_scans it never goes back
            "started",  # when the present full scan began
            "slots",  # length of the scan list
            "slot",  # the cursor: place in the list, -1 between two scans; and page id
            "address",
            "position",  # pages passed in this scan
            "walked",  # addresses passed over in the step under way, and what that costs
            "walked_ns",
            "scanned",
            "hashed",
            "skipped",
            "items",
            "shared",
            "sharing",
            "unshared",
            "chains",
            "dups",
            "free",  # first free row of the node table
            "room",  # and how many of them
            "in_tree",  # pages in the unstable tree of this scan
            # knobs
            "smart_scan",
            "zero_pages",
            "max_sharing",
            "prune",
            "checksum_first",
            "set",  # an ideal set instead of the unstable tree
            "cold_pages",
        )
    ]
)
VM_STATE = np.dtype([("exited", "<i8"), ("mergeable", "<i8"), ("items", "<i8"), ("merging", "<i8")])
"""Of each VM: 1 once it has exited, its mergeable pages, its items, and how many are stable."""

COST_NAMES = (
    "wakeup", "scan_start", "first_visit", "first_visit_cold", "visit", "visit_cold",
    "merged_visit", "merged_visit_cold", "stable_compare", "stable_compare_cold",
    "unstable_compare", "unstable_compare_cold", "unstable_depth", "unstable_depth_cold",
    "merge_stable", "merge_stable_cold", "merge_pair", "merge_pair_cold", "stable_depth",
    "unstable_far", "merge_zero", "skip", "hole", "dup", "item_free",
)  # fmt: skip
PRICE = np.dtype([(name, "<i8") for name in COST_NAMES])
"""The primitives ``ksm_...`` of the cost profile, in ns."""

COLD_BITS = 16
NEAR_LEVELS, FAR_LEVELS = np.int64(9), np.int64(15)
"""Levels of a tree that are found in the caches near and far; what is deeper costs more."""
LEVEL_BITS = np.int64(8)
"""Levels are counted in fractions of this many bits."""
_NONE = np.uint32(NONE)


class Ksm(NamedTuple):
    """All that ksmd knows: p pages, v VMs, n rows of nodes."""

    scan: np.ndarray
    """SCAN_ROW[1]"""
    items: np.ndarray
    """ITEM[p]"""
    nodes: np.ndarray
    """NODE_ROW[n]"""
    roots: np.ndarray
    """int64[2]: of the stable and of the unstable tree."""
    slots: np.ndarray
    """int64[v]: the scan list, VM numbers."""
    vms: np.ndarray
    """VM_STATE[v]"""
    price: np.ndarray
    """PRICE[1]"""
    cold: np.ndarray
    """int64: share of the cold extra after so many pages, in 2**16ths."""
    table: np.ndarray
    """uint32: the ideal set, pages by content; no rows: the kernel's tree is used."""


@njit_inline
def checksum_of(content: Number) -> Any:
    """The 32-bit checksum of a content, as int64; never 0."""
    value = np.int64(mix64(np.uint64(content)) >> np.uint64(32))
    return max(value, 1)


@njit_inline
def content_of(mem: Memory, page: Number) -> Any:
    """What a page with a frame holds now."""
    return np.uint64(mem.frames[np.int64(mem.pages[page]["mfn"])]["content"])


@njit_inline
def cooled(ksm: Ksm, extra: Number) -> Any:
    """What is left of a cold extra so many pages after the wake-up."""
    fresh: Number = min(np.int64(ksm.scan[0]["fresh"]), len(ksm.cold) - 1)
    return (np.int64(extra) * ksm.cold[fresh]) >> COLD_BITS


@njit_inline
def levels_beyond(levels: Number, rows: Number) -> Any:
    """By how much a balanced tree of so many rows is deeper than ``levels``, in 256ths; or 0.

    The logarithm is taken as linear between powers of two (at most 0.09 too low).
    """
    if rows >> levels == 0:
        return np.int64(0)
    whole = levels
    while rows >> (whole + 1):
        whole += 1
    return ((whole - levels) << LEVEL_BITS) + ((rows << LEVEL_BITS) >> whole) - (1 << LEVEL_BITS)


@njit
def take_node(ksm: Ksm, kind: Number, key: Number) -> Any:
    """A fresh row of the node table; there is room (see the scan's stop for more)."""
    scan = ksm.scan[0]
    row = np.int64(scan["free"])
    node = ksm.nodes[row]
    scan["free"] = np.int64(node["left"])
    scan["room"] -= 1
    node["kind"] = np.uint8(kind)
    node["key"] = key
    node["frame"] = node["first"] = node["chain"] = _NONE
    node["before"] = node["after"] = _NONE
    node["count"] = np.uint32(0)
    node["color"] = np.uint8(0)
    return row


@njit
def give_node(ksm: Ksm, row: Number) -> Any:
    """A row of the node table is free again."""
    scan = ksm.scan[0]
    ksm.nodes[row]["kind"] = np.uint8(FREE_ROW)
    ksm.nodes[row]["left"] = np.uint32(np.int64(scan["free"]))
    scan["free"] = row
    scan["room"] += 1


@njit_inline
def append_item(mem: Memory, ksm: Ksm, row: Number, page: Number) -> Any:
    """A page's item joins the items of a stable node."""
    node, item, scan = ksm.nodes[row], ksm.items[page], ksm.scan[0]
    first = np.int64(node["first"])
    item["state"] = np.uint8(STABLE)
    item["parent"] = np.uint32(row)
    item["left"] = _NONE
    item["right"] = np.uint32(first)
    if first != NONE:
        ksm.items[first]["left"] = np.uint32(page)
        scan["sharing"] += 1
    else:
        scan["shared"] += 1
    node["first"] = np.uint32(page)
    node["count"] = np.uint32(np.int64(node["count"]) + 1)
    ksm.vms[vm_of(mem, page)]["merging"] += 1


@njit_inline
def leave_node(mem: Memory, ksm: Ksm, page: Number) -> Any:
    """A page's item leaves its node, which stays in its tree even if it is empty now."""
    item, scan = ksm.items[page], ksm.scan[0]
    node = ksm.nodes[np.int64(item["parent"])]
    before, after = np.int64(item["left"]), np.int64(item["right"])
    if before != NONE:
        ksm.items[before]["right"] = np.uint32(after)
    else:
        node["first"] = np.uint32(after)
    if after != NONE:
        ksm.items[after]["left"] = np.uint32(before)
    node["count"] = np.uint32(np.int64(node["count"]) - 1)
    if np.int64(node["count"]):
        scan["sharing"] -= 1
    else:
        scan["shared"] -= 1
    item["state"] = np.uint8(IDLE_ITEM)
    ksm.vms[vm_of(mem, page)]["merging"] -= 1


@njit_inline
def owner_of(mem: Memory, page: Number) -> Any:
    """The stable node of the KSM page that a page maps, or NONE."""
    frame = np.int64(mem.pages[page]["mfn"])
    return np.int64(mem.owners[frame]) if frame != NONE else np.int64(NONE)


_HIDDEN = t.UNMERGEABLE | t.ABSENT | t.PINNED


@njit_inline
def seen(pages: np.ndarray, page: Number, zero_frame: Number) -> Any:
    """Whether ksmd sees a page: present, anonymous, not the zero page, and mergeable."""
    frame = np.int64(pages[page]["mfn"])
    if frame in (NONE, zero_frame):
        return False
    return np.int64(pages[page]["flags"]) & _HIDDEN == 0


@njit
def scannable(mem: Memory, page: Number) -> Any:
    """:func:`seen`, as things are."""
    return seen(mem.pages, page, mem.totals[t.T_ZERO_FRAME])


@njit_inline
def make_item(
    items: np.ndarray, scan: np.ndarray, vms: np.ndarray, vm: Number, page: Number
) -> Any:
    """ksmd meets a page for the first time."""
    item = items[page]
    item["checksum"] = np.uint32(0)
    item["age"] = np.uint8(0)
    item["skips"] = np.uint8(0)
    item["state"] = np.uint8(IDLE_ITEM)
    scan[0]["items"] += 1
    vms[vm]["items"] += 1


@njit_inline
def smart_skip(item: Row) -> Any:
    """Age an item that is not merged; whether its page is to be skipped in this scan."""
    age = np.int64(item["age"])
    if age < 255:
        item["age"] = np.uint8(age + 1)
    if age < 3:
        return False
    if np.int64(item["skips"]) == 0:
        item["skips"] = np.uint8(1 if age <= 3 else 2 if age <= 5 else 4 if age <= 8 else 8)
        return False
    item["skips"] = np.uint8(np.int64(item["skips"]) - 1)
    return True
