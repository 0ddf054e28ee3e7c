"""Which overhead cases are judged: those in which caches play no part worth telling.

The model has no caches. It has one term for them (``interference_page``), which is off in shipped
profiles, and none for reads that get faster because merged pages fit a cache better. So a case is
judged only where its own parameters say that neither matters, by these rules in order.
"""

from collections.abc import Sequence

import numpy as np

from sharesim.content.overhead_case import OverheadCase, Worker

FIRST_LEVEL_PAGES = 8
"""A working set of 32 KiB fits the smallest first-level caches in use: it is hot again in no time,
and merged or not makes no difference."""
ACCESS_NS = 250
"""What a random access takes at most, with its TLB miss."""
HIDDEN_SHARE = 0.02
"""Of an operation's time: where an access takes less, it can lose or win less than is tolerated."""
LARGE = 16
"""Times the CPU's own cache: a working set so much larger, read at random, has next to nothing in
that cache which a slice of the scanner could evict."""

REFILL_PAGE_NS = 4_160
"""ns to have a page back that was evicted: its 64 lines at 65 ns each, which is what one read
takes on the machine of the recordings."""


def cache_effect(case: OverheadCase, operation_ns: Sequence[int], cache: int) -> str | None:
    """Why caches have a part in a case, in words; None where they have not.

    ``operation_ns`` is what an operation of each worker takes; ``cache`` are pages that a CPU's own
    cache holds.
    """
    for worker, ns in zip(case.workers, operation_ns, strict=True):
        if worker.reach <= FIRST_LEVEL_PAGES or HIDDEN_SHARE * ns >= ACCESS_NS:
            continue
        if worker.write_share < 1 and _merges(case, worker):
            return "merged pages are read faster, which is not modelled"
        if not shares_cpu(case, worker):
            return "what is read is not in the CPU's own cache, and another CPU streams memory"
        if worker.reach < LARGE * cache:
            return "the scanner evicts what the working set has in the CPU's own cache"
    return None


def shares_cpu(case: OverheadCase, worker: Worker) -> bool:
    """Whether the scanner runs on the worker's own CPU, and on no other."""
    return worker.cpu is not None and case.ksmd_cpus == (worker.cpu,)


def _merges(case: OverheadCase, worker: Worker) -> bool:
    """Whether pages that the worker goes to are equal to other pages."""
    if not worker.mergeable:
        return False
    ids = np.concatenate([one.ids() for one in case.workers if one.mergeable])
    known, counts = np.unique(ids[ids >= 0], return_counts=True)
    return bool(np.isin(_reached(worker), known[counts > 1]).any())


def _reached(worker: Worker) -> np.ndarray:
    """Content ids of the pages that it goes to."""
    ids = worker.ids()
    parts = [
        ids[first : first + count]
        for first, count, share in (
            (worker.a_first, worker.a_pages, worker.a_share),
            (worker.b_first, worker.b_pages, 1 - worker.a_share),
        )
        if share > 0
    ]
    return np.concatenate(parts)
