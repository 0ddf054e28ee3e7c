"""Red-black trees over the rows of a structured array, as Linux balances them.

A row has ``left``, ``right`` and ``parent`` (rows, or NONE) and ``color``; where a tree's root is,
is kept in ``roots[tree]``. Where a new row belongs the caller finds out, by the order it keeps. The
rebalancing is the textbook's (Cormen et al., chapter 13), with nulls for leaves and a deleted
row replaced by its successor; Linux's does the same, so the shapes agree.
"""

from typing import Any

import numpy as np

from sharesim.kernel import Number, njit, njit_inline
from sharesim.machine.tables import NONE

BLACK, RED = np.int64(0), np.int64(1)

_NONE = np.uint32(NONE)


@njit
def left_of(rows: np.ndarray, row: Number) -> Any:
    """The left child of a row, or NONE."""
    return np.int64(rows[row]["left"])


@njit
def right_of(rows: np.ndarray, row: Number) -> Any:
    """The right child of a row, or NONE."""
    return np.int64(rows[row]["right"])


@njit
def parent_of(rows: np.ndarray, row: Number) -> Any:
    """The parent of a row, or NONE at the root."""
    return np.int64(rows[row]["parent"])


@njit
def _is_red(rows: np.ndarray, row: Number) -> Any:
    return row != NONE and np.int64(rows[row]["color"]) == RED


@njit
def replace_row(rows: np.ndarray, roots: np.ndarray, tree: Number, old: Number, new: Number) -> Any:
    """Below ``old``'s parent put ``new`` (or NONE) in its place; the children are left alone."""
    parent = parent_of(rows, old)
    if parent == NONE:
        roots[tree] = new
    elif left_of(rows, parent) == old:
        rows[parent]["left"] = np.uint32(new)
    else:
        rows[parent]["right"] = np.uint32(new)
    if new != NONE:
        rows[new]["parent"] = np.uint32(parent)


@njit
def take_position(
    rows: np.ndarray, roots: np.ndarray, tree: Number, old: Number, new: Number
) -> Any:
    """``new`` takes over the whole position of ``old``: parent, children and color."""
    replace_row(rows, roots, tree, old, new)
    left, right = left_of(rows, old), right_of(rows, old)
    rows[new]["left"] = np.uint32(left)
    rows[new]["right"] = np.uint32(right)
    rows[new]["color"] = rows[old]["color"]
    if left != NONE:
        rows[left]["parent"] = np.uint32(new)
    if right != NONE:
        rows[right]["parent"] = np.uint32(new)


@njit
def _rotate_left(rows: np.ndarray, roots: np.ndarray, tree: Number, row: Number) -> Any:
    rising = right_of(rows, row)
    moved = left_of(rows, rising)
    replace_row(rows, roots, tree, row, rising)
    rows[row]["right"] = np.uint32(moved)
    if moved != NONE:
        rows[moved]["parent"] = np.uint32(row)
    rows[rising]["left"] = np.uint32(row)
    rows[row]["parent"] = np.uint32(rising)


@njit
def _rotate_right(rows: np.ndarray, roots: np.ndarray, tree: Number, row: Number) -> Any:
    rising = left_of(rows, row)
    moved = right_of(rows, rising)
    replace_row(rows, roots, tree, row, rising)
    rows[row]["left"] = np.uint32(moved)
    if moved != NONE:
        rows[moved]["parent"] = np.uint32(row)
    rows[rising]["right"] = np.uint32(row)
    rows[row]["parent"] = np.uint32(rising)


@njit_inline
def insert(
    rows: np.ndarray, roots: np.ndarray, tree: Number, row: Number, parent: Number, right: Number
) -> Any:
    """Hang ``row`` below ``parent`` (NONE: the tree is empty), on its right or left; rebalance."""
    rows[row]["left"] = _NONE
    rows[row]["right"] = _NONE
    rows[row]["parent"] = np.uint32(parent)
    rows[row]["color"] = np.uint8(RED)
    if parent == NONE:
        roots[tree] = row
    elif right:
        rows[parent]["right"] = np.uint32(row)
    else:
        rows[parent]["left"] = np.uint32(row)
    _balance_insertion(rows, roots, tree, row)


@njit_inline
def _balance_insertion(rows: np.ndarray, roots: np.ndarray, tree: Number, row: Number) -> Any:
    row = np.int64(row)
    parent = parent_of(rows, row)
    while _is_red(rows, parent):
        above = parent_of(rows, parent)
        on_left = left_of(rows, above) == parent
        uncle = right_of(rows, above) if on_left else left_of(rows, above)
        if _is_red(rows, uncle):
            rows[parent]["color"] = np.uint8(BLACK)
            rows[uncle]["color"] = np.uint8(BLACK)
            rows[above]["color"] = np.uint8(RED)
            row = above
            parent = parent_of(rows, row)
            continue
        if on_left:
            if right_of(rows, parent) == row:
                _rotate_left(rows, roots, tree, parent)
                parent = row
            _rotate_right(rows, roots, tree, above)
        else:
            if left_of(rows, parent) == row:
                _rotate_right(rows, roots, tree, parent)
                parent = row
            _rotate_left(rows, roots, tree, above)
        rows[parent]["color"] = np.uint8(BLACK)
        rows[above]["color"] = np.uint8(RED)
        break
    rows[np.int64(roots[tree])]["color"] = np.uint8(BLACK)


@njit
def erase(rows: np.ndarray, roots: np.ndarray, tree: Number, row: Number) -> Any:
    """Take ``row`` out of the tree; rebalance."""
    left, right = left_of(rows, row), right_of(rows, row)
    black = not _is_red(rows, row)
    if left == NONE:
        child, below = right, parent_of(rows, row)
        replace_row(rows, roots, tree, row, right)
    elif right == NONE:
        child, below = left, parent_of(rows, row)
        replace_row(rows, roots, tree, row, left)
    else:
        successor = right
        while left_of(rows, successor) != NONE:
            successor = left_of(rows, successor)
        black = not _is_red(rows, successor)
        child = right_of(rows, successor)
        below = successor
        if successor != right:
            below = parent_of(rows, successor)
            replace_row(rows, roots, tree, successor, child)
            rows[successor]["right"] = np.uint32(right)
            rows[right]["parent"] = np.uint32(successor)
        replace_row(rows, roots, tree, row, successor)
        rows[successor]["left"] = np.uint32(left)
        rows[left]["parent"] = np.uint32(successor)
        rows[successor]["color"] = rows[row]["color"]
    if black:
        _balance_erasure(rows, roots, tree, child, below)


@njit
def _balance_erasure(
    rows: np.ndarray, roots: np.ndarray, tree: Number, row: Number, parent: Number
) -> Any:
    """``row`` (or NONE), below ``parent``, lacks one black."""
    while parent != NONE and not _is_red(rows, row):
        on_left = left_of(rows, parent) == row
        sibling = right_of(rows, parent) if on_left else left_of(rows, parent)
        if _is_red(rows, sibling):
            rows[sibling]["color"] = np.uint8(BLACK)
            rows[parent]["color"] = np.uint8(RED)
            if on_left:
                _rotate_left(rows, roots, tree, parent)
                sibling = right_of(rows, parent)
            else:
                _rotate_right(rows, roots, tree, parent)
                sibling = left_of(rows, parent)
        near = left_of(rows, sibling) if on_left else right_of(rows, sibling)
        far = right_of(rows, sibling) if on_left else left_of(rows, sibling)
        if not _is_red(rows, near) and not _is_red(rows, far):
            rows[sibling]["color"] = np.uint8(RED)
            row = parent
            parent = parent_of(rows, row)
            continue
        if not _is_red(rows, far):
            rows[near]["color"] = np.uint8(BLACK)
            rows[sibling]["color"] = np.uint8(RED)
            if on_left:
                _rotate_right(rows, roots, tree, sibling)
                sibling = right_of(rows, parent)
                far = right_of(rows, sibling)
            else:
                _rotate_left(rows, roots, tree, sibling)
                sibling = left_of(rows, parent)
                far = left_of(rows, sibling)
        rows[sibling]["color"] = rows[parent]["color"]
        rows[parent]["color"] = np.uint8(BLACK)
        rows[far]["color"] = np.uint8(BLACK)
        if on_left:
            _rotate_left(rows, roots, tree, parent)
        else:
            _rotate_right(rows, roots, tree, parent)
        return
    if row != NONE:
        rows[row]["color"] = np.uint8(BLACK)
