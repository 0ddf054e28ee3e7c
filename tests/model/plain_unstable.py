"""The unstable tree of the plain model of ksmd; and an ideal set in its place."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Protocol

from tests.model.plain_memory import ZEROED, Item, Page
from tests.model.plain_tree import LEFT, RIGHT, Tree


class Unstable(Protocol):
    """Items of one full scan."""

    def offer(self, item: Item) -> tuple[Item | None, bool]:
        """(an item whose page equals that of ``item``, or None; whether ``item`` was put in)."""

    def erase(self, item: Item) -> None:
        """Take an item out."""


class UnstableTree(Tree):
    """In the order of what the pages held at each comparison. ``charge`` takes CPU time."""

    def __init__(self, charge: Callable[..., None]) -> None:
        super().__init__()
        self.charge = charge

    def offer(self, item: Item) -> tuple[Item | None, bool]:
        """It gives up when it meets an item whose page is not there any more."""
        content: Any = item.page.content
        place, parent, side, steps = self.root, None, LEFT, 0
        while place is not None:
            if not _is_there(place.page):
                return None, False
            steps += 1
            if place.page.content == content:
                break
            parent, side = place, LEFT if content < place.page.content else RIGHT
            place = parent.child[side]
        self.charge("unstable_compare", steps)
        if place is None:
            self.insert(item, parent, side)
        return place, place is None


class IdealSet:
    """By what a page held when it was put in; one that has changed since is not found."""

    def __init__(self, _charge: Callable[..., None]) -> None:
        self.entered: dict[int, list[Item]] = defaultdict(list)

    def offer(self, item: Item) -> tuple[Item | None, bool]:
        """It never gives up; of several that are equal it takes the first one."""
        content: Any = item.page.content
        for other in self.entered[content]:
            if _is_there(other.page) and other.page.content == content:
                return other, False
        self.entered[content].append(item)
        return None, True

    def erase(self, item: Item) -> None:
        """Take an item out."""
        for items in self.entered.values():
            if item in items:
                items.remove(item)


def _is_there(page: Page) -> bool:
    """Whether ksmd can have the page."""
    return page.mergeable and page.kind is not None and page.kind != ZEROED
