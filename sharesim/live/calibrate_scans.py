"""The scans from which ksmd's costs are fitted: what is put in memory, and what that makes it do.

Each experiment is written once, for a :class:`Rig`: the one of :mod:`sharesim.live.calibrate_ksmd`
has the running kernel do it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sharesim.live.calibrate_fit import Stretch, added, stable_search, unstable_search
from sharesim.live.calibrate_trees import Tree

AT_ONE_GO = 1_000_000_000
"""Pages in a batch, where a full scan shall be one batch."""
BATCH = 100
"""Pages in a batch, where caches shall be cold: the kernel's default."""
ZERO_HOLE = "zero_hole"
"""A page merged with the zero page, passed over; dearer than an untouched one. No primitive."""
SKIPPED_SCANS = (5, 7, 8)
"""Visits of a page that never merges which smart scan skips first, counted from 1."""


class Rig(Protocol):
    """What an experiment needs of the machine, or of what stands in for it."""

    def fresh(self, pages: int, **settings: int) -> None:
        """Nothing is merged or known to ksmd; there are ``pages`` untouched mergeable pages."""

    def fill(self, first: int, ids: np.ndarray) -> None:
        """Give pages from ``first`` on the contents with these ids, uint64[n]; 0 is all zero."""

    def scan(self, title: str, *stretches: Stretch, batch: int = AT_ONE_GO) -> None:
        """One full scan in batches of so many pages; remember what it took."""


@dataclass(frozen=True)
class Sizes:
    """How many pages take part."""

    small: int
    """So few that their trees are flat."""
    medium: int
    """So many that their trees have levels of depth that make a search dearer."""
    large: int
    """So many that searches get dearer still, or 0: no experiment with as many."""
    cold: tuple[int, ...]
    """Pages that are scanned in batches, with pauses in between."""
    trials: int
    """Repetitions of what is over in no time."""


FULL_SIZES = Sizes(small=500, medium=8000, large=120_000, cold=(500, 2000), trials=30)
QUICK_SIZES = Sizes(small=500, medium=4000, large=0, cold=(1000,), trials=10)


def run_experiments(rig: Rig, sizes: Sizes) -> Iterator[str]:
    """Do all of them once. Yields what comes next, before it begins."""
    yield "ksmd: wake-ups and scan starts"
    _nothing(rig, sizes.trials)
    _single_pages(rig, 50)
    for pages in (sizes.small, sizes.medium, sizes.large):
        if pages:
            yield f"ksmd: {pages} unique pages"
            _unique(rig, pages, AT_ONE_GO)
    for pages in (sizes.small, sizes.medium):
        yield f"ksmd: {pages} pairs, then more of them"
        _pairs(rig, pages, AT_ONE_GO)
    for pages in sizes.cold:
        yield f"ksmd: {pages} pages in batches of {BATCH}"
        _unique(rig, pages, BATCH)
        _pairs(rig, pages, BATCH)
    yield "ksmd: zero pages, chains, smart scan"
    _zero(rig, sizes.medium)
    _chain(rig, sizes.medium // 16, 16)
    _skipped(rig, sizes.medium)


def _nothing(rig: Rig, trials: int) -> None:
    rig.fresh(1)
    for _ in range(trials):
        rig.scan("nothing to scan")


def _single_pages(rig: Rig, pages: int) -> None:
    """Merged pages in batches of one: hardly anything but waking up."""
    rig.fresh(pages)
    rig.fill(0, np.ones(pages, np.uint64))
    for _ in range(3):
        rig.scan("")
    rig.scan("merged, page by page", _merged(pages), batch=1)


def _unique(rig: Rig, pages: int, batch: int) -> None:
    rig.fresh(pages)
    name = _name(pages, batch)
    ids = _ids(0, pages)
    rig.fill(0, ids)
    first = Stretch(pages, {"ksm_first_visit": pages})
    rig.scan(f"first visit, {name}", first, batch=batch)
    steps = added({"ksm_visit": pages}, unstable_search(Tree(pages).insert(ids)))
    for _ in range(2):
        rig.scan(f"unique, {name}", Stretch(pages, steps), batch=batch)
    rig.fill(0, _ids(pages, pages))
    rig.scan(f"changed, {name}", Stretch(pages, {"ksm_visit": pages}), batch=batch)


def _pairs(rig: Rig, pages: int, batch: int) -> None:
    """Two of each page merge; a third of each joins them; then as many unique ones come."""
    rig.fresh(4 * pages)
    name = _name(pages, batch)
    same, others = _ids(0, pages), _ids(pages, pages)
    visits = {"ksm_visit": pages}
    stable, unstable = Tree(pages), Tree(pages)

    rig.fill(0, same)
    rig.fill(pages, same)
    rig.scan("")
    inserting = added(visits, unstable_search(unstable.insert(same)))
    new_nodes = stable_search(stable.insert(same))  # one search in vain, and one to insert
    found = unstable_search(unstable.erase(same))
    merging = added(visits, {"ksm_merge_pair": pages}, new_nodes, new_nodes, found)
    stretches = Stretch(pages, inserting), Stretch(pages, merging)
    rig.scan(f"pairs, {name}", *stretches, batch=batch)
    rig.scan(f"merged, {name}", _merged(2 * pages), batch=batch)

    rig.fill(2 * pages, same)
    rig.scan("")
    joining = added(visits, {"ksm_merge_stable": pages}, stable_search(stable.search(same)))
    third = Stretch(pages, joining)
    rig.scan(f"third copies, {name}", _merged(2 * pages), third, batch=batch)

    rig.fill(3 * pages, others)
    rig.scan("")
    in_vain = stable_search(stable.search(others))
    lonely = added(visits, in_vain, unstable_search(Tree(pages).insert(others)))
    unique = Stretch(pages, lonely)
    rig.scan(f"unique among merged, {name}", _merged(3 * pages), unique, batch=batch)


def _zero(rig: Rig, pages: int) -> None:
    rig.fresh(pages, use_zero_pages=1)
    rig.fill(0, np.zeros(pages, np.uint64))
    rig.scan("")
    steps = {"ksm_visit": pages, "ksm_merge_zero": pages}
    rig.scan("zero pages", Stretch(pages, steps))
    rig.scan("items of zero pages", Stretch(0, {ZERO_HOLE: pages, "ksm_item_free": pages}))
    rig.scan("merged zero pages", Stretch(0, {ZERO_HOLE: pages}))
    rig.fresh(16 * pages)
    rig.scan("untouched pages", Stretch(0, {"ksm_hole": 16 * pages}))


def _chain(rig: Rig, nodes: int, sharers: int) -> None:
    """So many copies of one page that they need ``nodes`` stable pages of ``sharers`` each."""
    pages = nodes * sharers
    rig.fresh(pages, max_page_sharing=sharers)
    rig.fill(0, np.ones(pages, np.uint64))
    rig.scan("")
    steps = {
        "ksm_visit": pages,
        "ksm_stable_compare": pages + nodes,
        "ksm_dup": dups_looked_at(nodes, sharers),
        "ksm_unstable_compare": nodes,
        "ksm_merge_pair": nodes,
        "ksm_merge_stable": pages - 2 * nodes,
    }
    rig.scan(f"{nodes} times {sharers} copies of one page", Stretch(pages, steps))


def dups_looked_at(nodes: int, sharers: int) -> int:
    """Dups of a chain that are looked at while it grows to so many full ones, all of one content.

    A page beyond them and its twin search in vain, and their node is put in front after another
    walk: three walks of all full ones. Every other copy takes the one in front.
    """
    return sum(3 * full for full in range(2, nodes)) + (sharers - 2) * max(0, nodes - 1)


def _skipped(rig: Rig, pages: int) -> None:
    rig.fresh(pages, smart_scan=1)
    rig.fill(0, _ids(0, pages))
    for visit in range(1, SKIPPED_SCANS[-1] + 1):
        if visit in SKIPPED_SCANS:
            rig.scan("skipped by smart scan", Stretch(0, {"ksm_skip": pages}))
        else:
            rig.scan("")


def _name(pages: int, batch: int) -> str:
    return f"{pages} pages" + (f" by {batch}" if batch < AT_ONE_GO else "")


def _ids(first: int, count: int) -> np.ndarray:
    """Ids of so many different contents, none of them zero; uint64[count]."""
    return np.arange(1 + first, 1 + first + count, dtype=np.uint64)


def _merged(pages: int) -> Stretch:
    return Stretch(pages, {"ksm_merged_visit": pages})
