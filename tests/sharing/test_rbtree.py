"""The compiled red-black tree: its order, its balance, and the shape of the plain tree."""

from random import Random
from typing import Any

import numpy as np
import pytest

from sharesim.machine.tables import NONE
from sharesim.sharing import rbtree
from tests.model.plain_tree import LEFT, RIGHT, Node, Tree

ROW = np.dtype([(name, "<u4") for name in ("left", "right", "parent")] + [("color", "u1")])
ROWS = 64
MINE = 1
"""The tree that is used; its neighbours among the roots must stay as they are."""


class Key(Node):
    """A node of the plain tree."""

    def __init__(self, row: int) -> None:
        super().__init__()
        self.row = row


class Pair:
    """Row ``r`` with key ``keys[r]`` is in both trees, or in neither."""

    def __init__(self) -> None:
        self.rows = np.full(ROWS, NONE, ROW)
        self.roots = np.full(3, NONE, np.int64)
        self.plain = Tree()
        self.keys: dict[int, int] = {}
        self.nodes: dict[int, Key] = {}

    def place(self, key: int) -> tuple[int, int]:
        """(row of the parent, side) where a key goes: to the right of what equals it."""
        parent, side, row = NONE, LEFT, int(self.roots[MINE])
        while row != NONE:
            parent, side = row, LEFT if key < self.keys[row] else RIGHT
            row = int(self.rows[row]["left" if side == LEFT else "right"])
        return parent, side

    def insert(self, row: int, key: int) -> None:
        self.hang(row, key, *self.place(key))

    def hang(self, row: int, key: int, parent: int, side: int) -> None:
        rbtree.insert(self.rows, self.roots, MINE, row, parent, side == RIGHT)
        self.keys[row], self.nodes[row] = key, Key(row)
        self.plain.insert(self.nodes[row], self.nodes.get(parent), side)

    def erase(self, row: int) -> None:
        rbtree.erase(self.rows, self.roots, MINE, row)
        self.plain.erase(self.nodes.pop(row))
        del self.keys[row]

    def replace(self, old: int, new: int) -> None:
        """Another row takes over the position, with its key."""
        rbtree.take_position(self.rows, self.roots, MINE, old, new)
        self.nodes[new], self.keys[new] = Key(new), self.keys.pop(old)
        self.plain.replace(self.nodes.pop(old), self.nodes[new])

    def free_rows(self) -> list[int]:
        return sorted(set(range(ROWS)) - set(self.keys))

    def test(self) -> None:
        """Everything that must hold."""
        root = int(self.roots[MINE])
        assert self.roots[0] == self.roots[2] == NONE
        assert self.plain.size == len(self.keys)
        order: list[int] = []
        self._walk(root, NONE, self.plain.root, order)
        assert sorted(order) == sorted(self.keys)
        if root != NONE:
            assert self.rows[root]["color"] == rbtree.BLACK

    def _walk(self, row: int, parent: int, node: Any, order: list[int]) -> int:
        """Rows below in order; number of black rows on each way down."""
        if row == NONE:
            assert node is None
            return 0
        red = self.rows[row]["color"] == rbtree.RED
        assert (node.row, node.red) == (row, red)
        assert self.rows[row]["parent"] == parent
        if red:
            assert parent != NONE and self.rows[parent]["color"] == rbtree.BLACK
        left = self._walk(int(self.rows[row]["left"]), row, node.child[LEFT], order)
        order.append(row)
        right = self._walk(int(self.rows[row]["right"]), row, node.child[RIGHT], order)
        assert left == right
        return left + (not red)

    def in_order(self) -> list[int]:
        order: list[int] = []
        self._walk(int(self.roots[MINE]), NONE, self.plain.root, order)
        return [self.keys[row] for row in order]


@pytest.mark.parametrize("seed", range(20))
def test_random_insertions_and_erasures(seed: int) -> None:
    random, pair = Random(seed), Pair()
    for step in range(250):
        full = step % 100 < 60  # the tree grows to its full size, then shrinks, and so on
        free = pair.free_rows()
        chance = random.random()
        if free and pair.keys and chance < 0.1:
            pair.replace(random.choice(sorted(pair.keys)), random.choice(free))
        elif free and (not pair.keys or chance < (0.8 if full else 0.3)):
            pair.insert(random.choice(free), random.randrange(40))
        else:
            pair.erase(random.choice(sorted(pair.keys)))
        pair.test()
        assert pair.in_order() == sorted(pair.keys.values())


@pytest.mark.parametrize("seed", range(5))
def test_a_tree_without_order_stays_balanced(seed: int) -> None:
    """Contents change under the unstable tree: rows may be hung anywhere."""
    random, pair = Random(seed), Pair()
    for row in range(ROWS):
        places = [
            (other, side)
            for other in sorted(pair.keys)
            for side, name in ((LEFT, "left"), (RIGHT, "right"))
            if pair.rows[other][name] == NONE
        ]
        pair.hang(row, 0, *(random.choice(places) if places else (NONE, LEFT)))
        pair.test()
    for row in random.sample(range(ROWS), ROWS):
        pair.erase(row)
        pair.test()


@pytest.mark.parametrize("keys", [range(ROWS), range(ROWS, 0, -1)], ids=["up", "down"])
def test_ascending_keys_make_no_list(keys: range) -> None:
    pair = Pair()
    for row, key in enumerate(keys):
        pair.insert(row, key)
    pair.test()
    depths = []
    for row in range(ROWS):
        depth, at = 1, row
        while pair.rows[at]["parent"] != NONE:
            depth, at = depth + 1, int(pair.rows[at]["parent"])
        depths.append(depth)
    assert max(depths) <= 2 * np.log2(ROWS + 1)
