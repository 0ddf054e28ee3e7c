"""A red-black tree of linked objects that ends up with the same shape as the Linux kernel's.

The caller finds the place of a new node, as the kernel's users do; the tree compares nothing.
"""

from typing import Any

LEFT, RIGHT = 0, 1


class Node:
    """A node; subclasses carry what it stands for."""

    def __init__(self) -> None:
        self.parent: Any = None
        self.child: list[Any] = [None, None]
        self.red = False


class Tree:
    """Its ``root``, and the number of nodes in it."""

    def __init__(self) -> None:
        self.root: Any = None
        self.size = 0

    def insert(self, node: Node, parent: Node | None, side: int) -> None:
        """Hang a node below a parent on its free side (at the root if there is no parent)."""
        node.parent, node.child, node.red = parent, [None, None], True
        self._hang(node, parent, side)
        self.size += 1
        while node.parent is not None and node.parent.red:
            parent, grandparent = node.parent, node.parent.parent
            side = side_of(parent)
            uncle = grandparent.child[1 - side]
            if is_red(uncle):
                parent.red = uncle.red = False
                grandparent.red = True
                node = grandparent
                continue
            if side_of(node) != side:  # an inner grandchild is made an outer one first
                self._rotate(parent, side)
                parent = node
            parent.red, grandparent.red = False, True
            self._rotate(grandparent, 1 - side)
            break
        self.root.red = False

    def erase(self, node: Node) -> None:
        """Take a node out; if it has two children its successor takes its place."""
        self.size -= 1
        if node.child[LEFT] is None or node.child[RIGHT] is None:
            heir = node.child[RIGHT] if node.child[LEFT] is None else node.child[LEFT]
            parent, side, lost_black = node.parent, side_of(node), not node.red
            self._hang(heir, parent, side)
        else:
            successor = node.child[RIGHT]
            while successor.child[LEFT] is not None:
                successor = successor.child[LEFT]
            heir, lost_black = successor.child[RIGHT], not successor.red
            parent, side = successor.parent, side_of(successor)
            self._hang(heir, parent, side)
            if parent is node:
                parent = successor
            self.replace(node, successor)
        if lost_black:
            self._restore(heir, parent, side)

    def replace(self, old: Node, new: Node) -> None:
        """Put a new node where the old one is: same place, same colour."""
        self._hang(new, old.parent, side_of(old))
        new.red = old.red
        for side in (LEFT, RIGHT):
            new.child[side] = old.child[side]
            if new.child[side] is not None:
                new.child[side].parent = new

    def _restore(self, node: Any, parent: Any, side: int) -> None:
        """Below ``parent`` on that side a black node is missing on every path."""
        while parent is not None and not is_red(node):
            sibling = parent.child[1 - side]
            if sibling.red:
                sibling.red, parent.red = False, True
                self._rotate(parent, side)
                sibling = parent.child[1 - side]
            if not is_red(sibling.child[LEFT]) and not is_red(sibling.child[RIGHT]):
                sibling.red = True
                node, parent, side = parent, parent.parent, side_of(parent)
                continue
            if not is_red(sibling.child[1 - side]):
                sibling.child[side].red, sibling.red = False, True
                self._rotate(sibling, 1 - side)
                sibling = parent.child[1 - side]
            sibling.red, parent.red = parent.red, False
            sibling.child[1 - side].red = False
            self._rotate(parent, side)
            return
        if node is not None:
            node.red = False

    def _rotate(self, node: Any, side: int) -> None:
        """Lower a node towards that side; its child of the other side takes its place."""
        riser = node.child[1 - side]
        inner = riser.child[side]
        self._hang(riser, node.parent, side_of(node))
        self._hang(node, riser, side)
        node.child[1 - side] = inner
        if inner is not None:
            inner.parent = node

    def _hang(self, node: Any, parent: Any, side: int) -> None:
        """Make a node (or None) the child of a parent on that side, or the root."""
        if node is not None:
            node.parent = parent
        if parent is None:
            self.root = node
        else:
            parent.child[side] = node


def is_red(node: Node | None) -> bool:
    """Whether it is a red node; where there is none it is black."""
    return node is not None and node.red


def side_of(node: Node) -> int:
    """The side of its parent that a node is on; the root counts as a left child."""
    return RIGHT if node.parent is not None and node.parent.child[RIGHT] is node else LEFT
