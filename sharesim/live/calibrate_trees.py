"""How many pages ksmd compares when it searches its trees: counted in trees of the same shape.

The simulator's red-black trees balance as Linux's do, and the contents of a calibration are known,
so the counts are those of the kernel, search by search.
"""

from typing import Any, NamedTuple

import numpy as np

from sharesim.content.mixing import mix64
from sharesim.kernel import njit
from sharesim.machine.tables import NONE
from sharesim.sharing import rbtree

_ROW = np.dtype(
    [("key", "<u8"), ("left", "<u4"), ("right", "<u4"), ("parent", "<u4"), ("color", "u1")]
)


class Searches(NamedTuple):
    """Searches of a tree, one after the other: int64[n] each."""

    compared: np.ndarray
    """Pages that each compares."""
    pages: np.ndarray
    """Pages in the tree as each begins."""


class Tree:
    """A tree of pages by their contents, room for ``capacity`` of them."""

    def __init__(self, capacity: int) -> None:
        self._rows = np.zeros(capacity, _ROW)
        self._roots = np.full(1, NONE, np.int64)
        self._used = 0  # rows, ever
        self._pages = 0  # in the tree now

    def insert(self, ids: np.ndarray) -> Searches:
        """Search for each of the contents ``ids``, uint64[n], not there yet, and put it in."""
        compared = np.zeros(ids.size, np.int64)
        _insert(self._rows, self._roots, self._used, ids, compared)
        pages = self._pages + np.arange(ids.size)
        self._used += ids.size
        self._pages += ids.size
        return Searches(compared, pages)

    def search(self, ids: np.ndarray) -> Searches:
        """Search for each of the contents, there or not."""
        compared = np.zeros(ids.size, np.int64)
        _search(self._rows, self._roots, ids, compared)
        return Searches(compared, np.full(ids.size, self._pages))

    def erase(self, ids: np.ndarray) -> Searches:
        """Search for each of the contents, which are there, and take it out."""
        compared = np.zeros(ids.size, np.int64)
        _erase(self._rows, self._roots, ids, compared)
        pages = self._pages - np.arange(ids.size)
        self._pages -= ids.size
        return Searches(compared, pages)


@njit
def _insert(
    rows: np.ndarray, roots: np.ndarray, used: int, ids: np.ndarray, compared: np.ndarray
) -> Any:
    for number in range(ids.size):
        key = mix64(ids[number])
        row = np.int64(roots[0])
        parent, right = np.int64(NONE), False
        while row != NONE:
            compared[number] += 1
            parent, right = row, bool(key > np.uint64(rows[row]["key"]))
            row = rbtree.right_of(rows, row) if right else rbtree.left_of(rows, row)
        rows[used + number]["key"] = key
        rbtree.insert(rows, roots, 0, used + number, parent, right)


@njit
def _find(rows: np.ndarray, roots: np.ndarray, key: np.uint64) -> Any:
    """(the row of a key, or NONE; rows compared)."""
    row, compared = np.int64(roots[0]), np.int64(0)
    while row != NONE:
        compared += 1
        there = np.uint64(rows[row]["key"])
        if key == there:
            break
        row = rbtree.right_of(rows, row) if key > there else rbtree.left_of(rows, row)
    return row, compared


@njit
def _search(rows: np.ndarray, roots: np.ndarray, ids: np.ndarray, compared: np.ndarray) -> Any:
    for number in range(ids.size):
        _, compared[number] = _find(rows, roots, mix64(ids[number]))


@njit
def _erase(rows: np.ndarray, roots: np.ndarray, ids: np.ndarray, compared: np.ndarray) -> Any:
    for number in range(ids.size):
        row, compared[number] = _find(rows, roots, mix64(ids[number]))
        rbtree.erase(rows, roots, 0, row)
