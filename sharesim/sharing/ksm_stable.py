"""The stable tree: nodes by content, chains of nodes that are full, and nodes gone stale.

A node does not hold its frame: when the last mapping goes, the frame is freed at once, and the node
is *stale* until ksmd comes across it. That is seen from ``Memory.owners``, which freeing a frame
clears.
"""

from typing import Any

import numpy as np

from sharesim.kernel import Number, njit, njit_inline
from sharesim.machine import tables as t
from sharesim.machine.mapping import vm_of
from sharesim.machine.tables import NONE, Memory
from sharesim.sharing import rbtree
from sharesim.sharing.ksm_state import (
    CHAIN,
    IDLE_ITEM,
    LEVEL_BITS,
    NEAR_LEVELS,
    NODE,
    STABLE_TREE,
    Ksm,
    cooled,
    give_node,
    levels_beyond,
    take_node,
)

_NONE = np.uint32(NONE)

RESTART = np.int64(-1)
"""A position of the tree that was looked at is gone: begin at the root again."""


@njit
def is_stale(mem: Memory, ksm: Ksm, row: Number) -> Any:
    """Whether a node's frame has been freed."""
    return np.int64(mem.owners[np.int64(ksm.nodes[row]["frame"])]) != row


@njit
def _leave_chain(ksm: Ksm, row: Number) -> Any:
    node = ksm.nodes[row]
    chain = ksm.nodes[np.int64(node["chain"])]
    before, after = np.int64(node["before"]), np.int64(node["after"])
    if before != NONE:
        ksm.nodes[before]["after"] = np.uint32(after)
    else:
        chain["first"] = np.uint32(after)
    if after != NONE:
        ksm.nodes[after]["before"] = np.uint32(before)
    chain["count"] = np.uint32(np.int64(chain["count"]) - 1)
    node["chain"] = node["before"] = node["after"] = _NONE
    ksm.scan[0]["dups"] -= 1


@njit
def _join_chain(ksm: Ksm, chain: Number, row: Number) -> Any:
    """A node goes to the front of a chain."""
    first = np.int64(ksm.nodes[chain]["first"])
    node = ksm.nodes[row]
    node["chain"] = np.uint32(chain)
    node["before"] = _NONE
    node["after"] = np.uint32(first)
    if first != NONE:
        ksm.nodes[first]["before"] = np.uint32(row)
    ksm.nodes[chain]["first"] = np.uint32(row)
    ksm.nodes[chain]["count"] = np.uint32(np.int64(ksm.nodes[chain]["count"]) + 1)
    ksm.scan[0]["dups"] += 1


@njit
def drop_stale(mem: Memory, ksm: Ksm, row: Number) -> Any:
    """Remove a stale node with all its items, at once; returns ns."""
    node, scan = ksm.nodes[row], ksm.scan[0]
    count = np.int64(node["count"])
    page = np.int64(node["first"])
    while page != NONE:
        item = ksm.items[page]
        item["state"] = np.uint8(IDLE_ITEM)
        ksm.vms[vm_of(mem, page)]["merging"] -= 1
        page = np.int64(item["right"])
    if count:
        scan["shared"] -= 1
        scan["sharing"] -= count - 1
    mem.totals[t.T_DISOWNED] -= 1
    if np.int64(node["chain"]) != NONE:
        _leave_chain(ksm, row)
    else:
        rbtree.erase(ksm.nodes, ksm.roots, STABLE_TREE, row)
    give_node(ksm, row)
    return count * np.int64(ksm.price[0]["item_free"])


@njit
def _has_room(ksm: Ksm, row: Number, more: Number) -> Any:
    count = np.int64(ksm.nodes[row]["count"])
    return count > 0 and count + more <= np.int64(ksm.scan[0]["max_sharing"])


@njit
def _pick_dup(mem: Memory, ksm: Ksm, chain: Number, time: Number, search: Number) -> Any:
    """The node that stands for a chain; returns (node or RESTART, ns)."""
    scan, ns = ksm.scan[0], np.int64(0)
    prune = search and time - np.int64(ksm.nodes[chain]["pruned"]) >= np.int64(scan["prune"])
    if prune:
        ksm.nodes[chain]["pruned"] = time
    taken = alive = np.int64(NONE)
    row = np.int64(ksm.nodes[chain]["first"])
    while row != NONE:
        after = np.int64(ksm.nodes[row]["after"])
        ns += np.int64(ksm.price[0]["dup"])
        if is_stale(mem, ksm, row):
            ns += drop_stale(mem, ksm, row)
        else:
            if alive == NONE:
                alive = row
            if _has_room(ksm, row, 1):
                if taken == NONE or ksm.nodes[row]["count"] > ksm.nodes[taken]["count"]:
                    taken = row
                if not prune:
                    break
        row = after
    found = taken if taken != NONE else alive
    if found == NONE:
        rbtree.erase(ksm.nodes, ksm.roots, STABLE_TREE, chain)
        give_node(ksm, chain)
        scan["chains"] -= 1
        return RESTART, ns
    if np.int64(ksm.nodes[chain]["count"]) == 1:
        _dissolve(ksm, chain, found)
    elif (
        taken != NONE and np.int64(ksm.nodes[taken]["before"]) != NONE and _has_room(ksm, taken, 2)
    ):
        _leave_chain(ksm, taken)
        _join_chain(ksm, chain, taken)
    return found, ns


@njit
def _dissolve(ksm: Ksm, chain: Number, row: Number) -> Any:
    """The only dup left takes the chain's position in the tree."""
    _leave_chain(ksm, row)
    rbtree.take_position(ksm.nodes, ksm.roots, STABLE_TREE, chain, row)
    give_node(ksm, chain)
    ksm.scan[0]["chains"] -= 1


@njit
def _resolve(mem: Memory, ksm: Ksm, row: Number, time: Number, search: Number) -> Any:
    """The live node at a position of the tree, or RESTART; and ns."""
    if np.int64(ksm.nodes[row]["kind"]) == CHAIN:
        return _pick_dup(mem, ksm, row, time, search)
    if is_stale(mem, ksm, row):
        return RESTART, drop_stale(mem, ksm, row)
    return np.int64(row), np.int64(0)


@njit_inline
def stable_descent(ksm: Ksm, compared: Number) -> Any:
    """ns of a search that compared so many nodes."""
    price = ksm.price[0]
    ns = compared * (np.int64(price["stable_compare"]) + cooled(ksm, price["stable_compare_cold"]))
    deep = levels_beyond(NEAR_LEVELS, len(ksm.nodes) - np.int64(ksm.scan[0]["room"]))
    return ns + ((deep * np.int64(price["stable_depth"])) >> LEVEL_BITS)


@njit_inline
def walk_stable(
    nodes: np.ndarray, owners: np.ndarray, row: Number, key: Number, stale: Number
) -> Any:
    """Down the tree from a row, as long as that is plain: (row, nodes compared).

    It ends at the node of that content, at NONE, or before a row that needs a closer look: a chain
    or, if there are any ``stale`` nodes at all, one of them.
    """
    compared = np.int64(0)
    while row != NONE:
        node = nodes[row]
        if np.int64(node["kind"]) == CHAIN:
            break
        if stale and np.int64(owners[np.int64(node["frame"])]) != row:
            break
        compared += 1
        other = np.uint64(node["key"])
        if key == other:
            break
        row = np.int64(node["right"] if key > other else node["left"])
    return np.int64(row), compared


@njit
def search_stable(mem: Memory, ksm: Ksm, key: Number, time: Number) -> Any:
    """The live node of a content, full or not, or NONE; and ns."""
    ns, compared = np.int64(0), np.int64(0)
    row = np.int64(ksm.roots[STABLE_TREE])
    while True:
        row, more = walk_stable(ksm.nodes, mem.owners, row, key, mem.totals[t.T_DISOWNED])
        compared += more
        if row == NONE:
            break
        if np.int64(ksm.nodes[row]["kind"]) == NODE and not is_stale(mem, ksm, row):
            break
        found, spent = _resolve(mem, ksm, row, time, True)
        ns += spent
        if found == RESTART:
            row = np.int64(ksm.roots[STABLE_TREE])
            continue
        compared += 1
        other = np.uint64(ksm.nodes[found]["key"])
        if key == other:
            row = found
            break
        # Where a chain has dissolved, its dup has taken its position.
        place = row if np.int64(ksm.nodes[found]["chain"]) != NONE else found
        row = rbtree.left_of(ksm.nodes, place)
        if key > other:
            row = rbtree.right_of(ksm.nodes, place)
    return row, ns + stable_descent(ksm, compared)


@njit
def has_room(ksm: Ksm, row: Number) -> Any:
    """Whether a node can take one more sharer."""
    return _has_room(ksm, row, 1)


@njit
def insert_stable(mem: Memory, ksm: Ksm, key: Number, frame: Number, time: Number) -> Any:
    """A new node for a frame, put in the tree, or in a chain with others of its content.

    Returns (node, ns).
    """
    ns, compared = np.int64(0), np.int64(0)
    parent, right = np.int64(NONE), False
    equal = np.int64(NONE)
    row = np.int64(ksm.roots[STABLE_TREE])
    while row != NONE:
        found, more = _resolve(mem, ksm, row, time, False)
        ns += more
        if found == RESTART:
            parent, right = np.int64(NONE), False
            row = np.int64(ksm.roots[STABLE_TREE])
            continue
        place = row if np.int64(ksm.nodes[found]["chain"]) != NONE else found
        compared += 1
        other = np.uint64(ksm.nodes[found]["key"])
        if key == other:
            equal = place
            break
        parent, right = place, key > other
        row = rbtree.right_of(ksm.nodes, place) if right else rbtree.left_of(ksm.nodes, place)
    fresh = take_node(ksm, NODE, key)
    ksm.nodes[fresh]["frame"] = np.uint32(frame)
    mem.owners[frame] = np.uint32(fresh)
    if equal == NONE:
        rbtree.insert(ksm.nodes, ksm.roots, STABLE_TREE, fresh, parent, right)
    else:
        if np.int64(ksm.nodes[equal]["kind"]) == NODE:
            equal = _make_chain(ksm, equal, time)
        _join_chain(ksm, equal, fresh)
    return fresh, ns + stable_descent(ksm, compared)


@njit
def _make_chain(ksm: Ksm, row: Number, time: Number) -> Any:
    """A chain takes the position of a node, which becomes its first dup."""
    chain = take_node(ksm, CHAIN, np.uint64(ksm.nodes[row]["key"]))
    ksm.nodes[chain]["pruned"] = time
    rbtree.take_position(ksm.nodes, ksm.roots, STABLE_TREE, row, chain)
    ksm.scan[0]["chains"] += 1
    _join_chain(ksm, chain, row)
    return chain
