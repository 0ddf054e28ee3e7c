"""A policy that watches KSM's unstable tree decay: how many of its pages a search still finds.

Pages are in the tree by what they held when they were put in. One that is written later misleads
all searches that pass it. XLH (USENIX ATC 2013) counted at the end of each scan cycle which share
of the nodes could still be reached; this counts the same.
"""

from typing import Any, ClassVar

import numpy as np

from sharesim.kernel import Number, njit
from sharesim.machine.tables import NONE, Memory
from sharesim.sharing.ksm import KsmPolicy
from sharesim.sharing.ksm_state import UNSTABLE_TREE, Ksm, checksum_of, content_of, scannable
from sharesim.sharing.ksm_unstable import in_this_scan
from sharesim.spec.ksm import Ksm as KsmSpec


@njit
def _is_found(mem: Memory, ksm: Ksm, page: Number) -> Any:
    """Whether a search for a page's present content comes to it, or to an equal page."""
    key = content_of(mem, page)
    here = np.int64(ksm.roots[UNSTABLE_TREE])
    while here != NONE:
        if not scannable(mem, here):
            return False
        there = content_of(mem, here)
        if key == there:
            return True
        here = np.int64(ksm.items[here]["right"] if key > there else ksm.items[here]["left"])
    return False


@njit
def count_reachable(mem: Memory, ksm: Ksm) -> Any:
    """(pages in the unstable tree, how many of them have changed since, how many are found).

    A page was put in when its checksum was that of its last visit, which its item still has.
    """
    nodes, changed, found = np.int64(0), np.int64(0), np.int64(0)
    for page in range(len(ksm.items)):
        if in_this_scan(ksm, page):
            nodes += 1
            if not scannable(mem, page):
                changed += 1
                continue
            changed += checksum_of(content_of(mem, page)) != np.uint32(ksm.items[page]["checksum"])
            found += _is_found(mem, ksm, page)
    return nodes, changed, found


class WatchedKsm(KsmSpec):
    """KSM, with the state of its unstable tree at the end of each full scan as further counters."""

    name: ClassVar[str] = "ksm"

    def runtime(self) -> Any:
        return WatchedKsmPolicy(self)


class WatchedKsmPolicy(KsmPolicy):
    """Counts the tree at the end of each full scan, just before it is forgotten."""

    tree: tuple[int, int, int] = (0, 0, 0)

    def end_of_scan(self, now: int, cpu: int) -> None:
        pages, changed, reachable = count_reachable(self.view._memory, self.state)
        self.tree = int(pages), int(changed), int(reachable)
        super().end_of_scan(now, cpu)

    def counters(self) -> dict[str, int]:
        names = ("tree_pages", "tree_changed", "tree_reachable")
        return super().counters() | dict(zip(names, self.tree, strict=True))
