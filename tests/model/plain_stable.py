"""The stable tree of the plain model of ksmd, with its chains."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.model.plain_memory import MERGED, MS, Chain, Item, Knobs, StableNode
from tests.model.plain_tree import LEFT, RIGHT, Tree


class StableTree(Tree):
    """KSM pages in the order of their contents. It keeps the counters of what it holds.

    ``tick``: ns of a timer tick; ``charge(event, times)`` takes CPU time; ``now``: the time, ns,
    which the daemon sets.
    """

    def __init__(
        self, knobs: Knobs, count: Counter[str], tick: int, charge: Callable[..., None]
    ) -> None:
        super().__init__()
        self.knobs, self.count, self.tick, self.charge = knobs, count, tick, charge
        self.now = 0

    def search(self, content: int) -> StableNode | None:
        """A node of that content that can take one more."""
        node, _parent, _side = self._descend(content, prune=True)
        return node if node is not None and self._has_room(node) else None

    def add(self, node: StableNode) -> None:
        """A new node: at its place in the tree, or in front of the nodes of the same content."""
        equal, parent, side = self._descend(node.content, prune=False)
        if equal is None:
            self.insert(node, parent, side)
            return
        chain = equal.chain
        if chain is None:
            chain = Chain(self.now)
            self.replace(equal, chain)
            self.count["stable_node_chains"] += 1
            self._put_in_front(chain, equal)
        self._put_in_front(chain, node)

    def append(self, item: Item, node: StableNode) -> None:
        """Merge an item's page into a node."""
        self.count["pages_sharing" if node.items else "pages_shared"] += 1
        node.items.add(item)
        node.mappings += 1
        item.node = item.page.node = node
        item.page.kind = MERGED

    def leave(self, item: Item) -> None:
        """Take an item out of its node; of a stale node all items go at once, and the node too."""
        node = item.node
        assert node is not None
        if node.mappings == 0:
            self._drop(node)
            return
        node.items.discard(item)
        item.node = None
        self.count["pages_sharing" if node.items else "pages_shared"] -= 1

    def _drop(self, node: StableNode) -> None:
        """A stale node goes."""
        if node.items:
            self.count["pages_shared"] -= 1
            self.count["pages_sharing"] -= len(node.items) - 1
        for item in node.items:
            item.node = None
        if node.chain is None:
            self.erase(node)
        else:
            node.chain.dups.remove(node)
            self.count["stable_node_dups"] -= 1

    def _has_room(self, node: StableNode, more: int = 0) -> bool:
        return 0 < len(node.items) < self.knobs.max_page_sharing - more

    def _descend(self, content: int, *, prune: bool) -> tuple[StableNode | None, Any, int]:
        """(node of that content, parent of the place where it is or should be, side)."""
        place, parent, side, steps = self.root, None, LEFT, 0
        while place is not None:
            node = self._pick(place, prune)
            if node is None:  # the tree has changed: from the root again
                place, parent, side = self.root, None, LEFT
                continue
            steps += 1
            if node.content == content:
                break
            parent = node.chain or node
            side = LEFT if content < node.content else RIGHT
            place = parent.child[side]
        self.charge("stable_compare", steps)
        return (node if place is not None else None), parent, side

    def _pick(self, place: Any, prune: bool) -> StableNode | None:
        """The node that stands for a place of the tree; None: all there was stale, and is gone."""
        if isinstance(place, Chain):
            return self._pick_dup(place, prune)
        if place.mappings == 0:
            self._drop(place)
            return None
        return place

    def _pick_dup(self, chain: Chain, prune: bool) -> StableNode | None:
        found = self._walk(chain, prune and self._is_due(chain))
        if found is None:
            self.erase(chain)
            self.count["stable_node_chains"] -= 1
        elif len(chain.dups) == 1:
            self.replace(chain, found)
            found.chain = None
            self.count["stable_node_chains"] -= 1
            self.count["stable_node_dups"] -= 1
        elif self._has_room(found, 1):
            chain.dups.remove(found)
            chain.dups.insert(0, found)
        return found

    def _is_due(self, chain: Chain) -> bool:
        """Whether it is time to walk the whole chain; if so that is now."""
        interval = -(-self.knobs.stable_node_chains_prune_millisecs * MS // self.tick)
        due = self.now // self.tick >= chain.pruned // self.tick + interval
        if due:
            chain.pruned = self.now
        return due

    def _walk(self, chain: Chain, whole: bool) -> StableNode | None:
        """The first dup with room, or of the ``whole`` chain the fullest; else the first alive."""
        found: StableNode | None = None
        for dup in list(chain.dups):
            self.charge("dup")
            if dup.mappings == 0:
                self._drop(dup)
            elif found is None or (self._has_room(dup) and self._is_better(dup, found)):
                found = dup
                if self._has_room(found) and not whole:
                    break
        return found

    def _is_better(self, dup: StableNode, found: StableNode) -> bool:
        return not self._has_room(found) or len(dup.items) > len(found.items)

    def _put_in_front(self, chain: Chain, node: StableNode) -> None:
        chain.dups.insert(0, node)
        node.chain = chain
        self.count["stable_node_dups"] += 1
