"""The policy protocol: what a way of finding equal pages must offer, and what it may see.

A policy decides which page to look at next and which other page might equal it. It never merges:
the engine does, in order, by the safe protocol of :mod:`sharesim.hypervisor.merge`, and keeps all
references and counters. So a policy can be slow or useless but it cannot corrupt the books.

The law that makes one policy of its array form, its compiled form and both modes of time:
``visit(a + b)`` answers as ``visit(a)`` followed by ``visit(b)``. Outcomes and changes are told at
batch boundaries only: ``merged`` after the last page of a wake-up, ``changed`` before the first.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from sharesim.content.digest_kernels import simulated_digest
from sharesim.content.digest_names import DIGEST_BITS
from sharesim.content.digests import seed_of
from sharesim.errors import PolicyError, nearest
from sharesim.kernel import Number, njit
from sharesim.machine import tables as t
from sharesim.machine.tables import NONE, ZERO, Memory

__all__ = ["NONE", "ZERO", "Policy", "View"]

Pages = np.ndarray
"""uint32[n] of page ids."""


class Policy:
    """Base class of run-time policies. Subclasses override ``batch`` and ``visit`` at least.

    ``self.page`` (PAGE[pages], zeroed) is the only engine array a policy may write; it may keep
    what else it likes, and says with ``held_bytes`` what a hypervisor would have to hold.
    """

    PAGE: ClassVar[np.dtype[Any]] = np.dtype([("unused", "u1")])
    """State kept for each page, at most 12 bytes."""
    name: ClassVar[str] = "policy"
    OWNS_FRAMES: ClassVar[bool] = False
    """Whether it keeps a name of its own for each frame (``Memory.owners``); ksm alone does."""

    def __init__(self, spec: Any) -> None:
        self.spec = spec
        self.page: np.ndarray = np.zeros(0, self.PAGE)
        self.view: View

    def start(self, view: "View", random: np.random.Generator) -> None:
        """Called once, before the first batch."""
        self.view = view

    def batch(self, budget: int) -> Pages:
        """The next pages to visit, in order, at most ``budget``, none twice.

        Fewer than ``budget``, or none, means that a pass over memory is complete. Pages that have
        no frame when their turn comes are passed over and do not use up the budget.
        """
        raise NotImplementedError

    def visit(self, pages: Pages) -> Pages:
        """For each page the partner to merge it with, or NONE, or ZERO."""
        raise NotImplementedError

    def merged(self, pages: Pages, partners: Pages, outcomes: np.ndarray) -> None:
        """What became of the offers of this wake-up (see OUTCOMES in hypervisor.merge)."""

    def changed(self, pages: Pages, why: np.ndarray) -> None:
        """Pages whose share was broken, that were unmapped, ballooned or whose VM exited."""

    def arrived(self, vm: int, mergeable: int) -> None:
        """A VM, by its number, has so many mergeable pages from now on."""

    def left(self, vm: int) -> None:
        """A VM has exited."""

    def counters(self) -> dict[str, int]:
        """Figures of its own for the timeline."""
        return {}

    def vm_counters(self, vm: int) -> dict[str, int]:
        """Figures of its own for the timeline of a VM."""
        return {}


@njit
def digest_pages(
    mem: Memory, pages: np.ndarray, seed: Number, bits: Number, out: np.ndarray
) -> Any:
    """Simulated digests of pages; an unpopulated page reads as zero."""
    for at in range(len(pages)):
        frame = np.int64(mem.pages[np.int64(pages[at])]["mfn"])
        content = np.uint64(0)
        if frame != NONE:
            content = np.uint64(mem.frames[frame]["content"])
        out[at] = simulated_digest(content, seed, bits)


class View:
    """What a policy may know of the machine: answers that bill their time, and read-only facts.

    Content ids are hidden. ``digest``, ``equal`` and ``map_foreign`` cost simulated time, which is
    charged to the pages being visited.
    """

    def __init__(self, memory: Memory, cost: np.ndarray, primitives: Mapping[str, int], spec: Any):
        self._memory = memory
        self._cost = cost
        self._primitives = primitives
        self._spec = spec
        self._ranges = np.zeros((0, 2), np.int64)
        self._visited = np.zeros(0, np.uint32)
        self._order = np.zeros(0, np.int64)
        self._bill = np.zeros(0, np.int64)
        self.hashed = 0
        """Pages whose digest was asked for."""
        self.mapped = 0
        """Pages that had to be mapped to be read."""

    # Facts that cost nothing

    @property
    def pages(self) -> int:
        """How many page ids there are; the ids are 0 .. pages - 1."""
        return len(self._memory.pages)

    @property
    def ranges(self) -> np.ndarray:
        """int64[n, 2]: (first page id, count) of the guests to scan, as they are now."""
        return self._ranges

    def populated(self, pages: Pages) -> np.ndarray:
        """bool[n]: whether there is a frame behind each page."""
        pages = self._ids(pages, "populated")
        mapped: np.ndarray = self._memory.pages["mfn"][pages] != NONE
        return mapped

    def shared(self, pages: Pages) -> np.ndarray:
        """bool[n]: whether each page maps a frame that others map too."""
        pages = self._ids(pages, "shared")
        frames = self._memory.pages["mfn"][pages]
        safe = np.where(frames == NONE, 0, frames)
        many: np.ndarray = (frames != NONE) & (self._memory.frames["ref"][safe] > 1)
        return many

    def same_frame(self, a: Pages, b: Pages) -> np.ndarray:
        """bool[n]: whether the pages of each pair map one frame already."""
        a, b = self._ids(a, "same_frame"), self._ids(b, "same_frame")
        ours, theirs = self._memory.pages["mfn"][a], self._memory.pages["mfn"][b]
        same: np.ndarray = (ours == theirs) & (ours != NONE)
        return same

    def is_zero_frame(self, pages: Pages) -> np.ndarray:
        """bool[n]: whether each page maps the frame that zero pages are merged with."""
        pages = self._ids(pages, "is_zero_frame")
        zero: np.ndarray = (
            self._memory.pages["mfn"][pages].astype(np.int64) == self._memory.totals[t.T_ZERO_FRAME]
        )
        return zero

    def classes(self, pages: Pages) -> np.ndarray:
        """uint16[n]: the PageClass of each page (a hypervisor would need introspection)."""
        pages = self._ids(pages, "classes")
        kinds: np.ndarray = self._memory.pages["flags"][pages] & t.CLASS_MASK
        return kinds

    def pinned(self, pages: Pages) -> np.ndarray:
        """bool[n]: whether each page may never be shared."""
        pages = self._ids(pages, "pinned")
        fixed: np.ndarray = self._memory.pages["flags"][pages] & t.PINNED != 0
        return fixed

    def dirty(self, pages: Pages) -> np.ndarray:
        """bool[n]: whether each page was written since the scanner last read it."""
        pages = self._ids(pages, "dirty")
        written: np.ndarray = self._memory.pages["flags"][pages] & t.DIRTY != 0
        return written

    def attention(self, pages: Pages) -> np.ndarray:
        """bool[n]: whether anything has happened to each page since its bit was last cleared."""
        pages = self._ids(pages, "attention")
        bits = self._memory.attention[pages >> 3] >> (pages & 7).astype(np.uint8) & 1
        asked: np.ndarray = bits != 0
        return asked

    # Answers that bill their time

    def digest(self, pages: Pages, fn: str | None = None, bits: int | None = None) -> np.ndarray:
        """uint64[n]: digests of the pages' present contents.

        By default the policy's own function and width. An unknown function is a PolicyError.
        """
        name = fn or self._spec.digest
        if name not in DIGEST_BITS:
            raise PolicyError(f"view.digest: unknown function '{name}'{nearest(name, DIGEST_BITS)}")
        width = bits or (self._spec.digest_width if fn is None else DIGEST_BITS[name])
        pages = self._ids(pages, "digest")
        out = np.zeros(len(pages), np.uint64)
        digest_pages(self._memory, pages, np.uint64(seed_of(name)), width, out)
        self._memory.pages["flags"][pages] &= ~np.uint16(t.DIRTY)
        foreign = int(self._cost[0]["foreign_map"])  # 0 unless a control domain scans
        self._charge(pages, self._primitives[f"digest_{name}_cold"] + foreign, "digest")
        self.hashed += len(pages)
        self.mapped += len(pages)
        self._memory.totals[t.T_STREAMED] += len(pages)
        return out

    def zero_digest(self, fn: str | None = None, bits: int | None = None) -> int:
        """The digest of the zero page: a constant, for free."""
        name = fn or self._spec.digest
        width = bits or (self._spec.digest_width if fn is None else DIGEST_BITS[name])
        return int(simulated_digest(np.uint64(0), np.uint64(seed_of(name)), width))

    def equal(self, a: Pages, b: Pages) -> np.ndarray:
        """bool[n]: whether the bytes of each pair are equal now; billed to the pages of ``a``.

        ``b`` may hold ZERO. A page without a frame equals nothing. Pages of ``a`` have been read:
        they are no longer :meth:`dirty`.
        """
        a = self._ids(a, "equal")
        b = np.asarray(b, np.uint32)
        zero = b == ZERO
        others = self._ids(np.where(zero, 0, b), "equal")
        ours, theirs = self._memory.pages["mfn"][a], self._memory.pages["mfn"][others]
        there = (ours != NONE) & (zero | (theirs != NONE))
        content = self._memory.frames["content"]
        mine = content[np.where(there, ours, 0)]
        wanted = np.where(zero, 0, content[np.where(there & ~zero, theirs, 0)])
        same: np.ndarray = there & (mine == wanted)
        costs = self._cost[0]
        self._memory.totals[t.T_STREAMED] += len(a)
        self._memory.pages["flags"][a] &= ~np.uint16(t.DIRTY)
        differ = np.where(same, costs["compare_cold"], costs["compare_differ"])
        bill = np.where(zero, costs["zero_check"], differ + costs["foreign_map"])
        self._charge(a, bill, "equal")
        self.mapped += int((~zero).sum())
        self._count_false_matches(a, others, there & ~zero & ~same)
        return same

    def map_foreign(self, pages: Pages) -> None:
        """Map pages of guests for reading, as a control domain must."""
        ids = self._ids(pages, "map_foreign")
        foreign = int(self._cost[0]["foreign_map"])  # 0 unless a control domain scans
        self._charge(ids, foreign, "map_foreign")
        self.mapped += len(ids)

    def spend(self, pages: Pages, ns: int) -> None:
        """Bill time for anything else (table look-ups, searches) to each of the pages."""
        if ns < 0:
            raise PolicyError(f"view.spend: found {ns} ns; time cannot be negative")
        self._charge(self._ids(pages, "spend"), int(ns), "spend")

    def price(self, primitive: str) -> int:
        """ns of a primitive of the cost profile, such as ``"table_lookup"``."""
        if primitive not in self._primitives:
            hint = nearest(primitive, self._primitives)
            raise PolicyError(f"view.price: unknown primitive '{primitive}'{hint}")
        return self._primitives[primitive]

    # The engine's side

    def _ids(self, pages: Any, method: str) -> np.ndarray:
        ids = np.asarray(pages)
        if len(ids) == 0:
            return np.zeros(0, np.uint32)
        if ids.dtype.kind not in "ui":
            raise PolicyError(f"view.{method}: found pages of type {ids.dtype}; ids are integers")
        for extreme in (int(ids.min()), int(ids.max())):
            if not 0 <= extreme < self.pages:
                raise PolicyError(
                    f"view.{method}: found page {extreme}; page ids are 0 to {self.pages - 1}"
                )
        return ids.astype(np.uint32)

    def _begin(self, visited: np.ndarray) -> None:
        self._visited = visited
        self._order = np.argsort(visited)
        self._bill = np.zeros(len(visited), np.int64)

    def _end(self) -> np.ndarray:
        """The bill of the visit that is over, int64 ns of each page visited."""
        self._visited = np.zeros(0, np.uint32)
        return self._bill

    def _count_false_matches(self, a: np.ndarray, b: np.ndarray, differ: np.ndarray) -> None:
        """Pairs of equal digest and different bytes: for the books, the policy does not see it."""
        if not differ.any():
            return
        seed, bits = np.uint64(seed_of(self._spec.digest)), self._spec.digest_width
        ours, theirs = (np.zeros(int(differ.sum()), np.uint64) for _ in range(2))
        digest_pages(self._memory, a[differ], seed, bits, ours)
        digest_pages(self._memory, b[differ], seed, bits, theirs)
        self._memory.totals[t.T_FALSE_MATCHES] += int((ours == theirs).sum())

    def _charge(self, pages: np.ndarray, ns: Any, method: str) -> None:
        if len(self._visited) == 0:
            raise PolicyError(
                f"view.{method}: may be asked only during visit: its time is billed to the pages"
                " being visited"
            )
        if len(pages) == 0:
            return
        ns = np.broadcast_to(np.asarray(ns, np.int64), pages.shape)
        if np.array_equal(pages, self._visited):
            self._bill += ns
            return
        at = np.searchsorted(self._visited, pages, sorter=self._order)
        at = self._order[np.minimum(at, len(self._visited) - 1)]
        at = np.where(self._visited[at] == pages, at, 0)
        np.add.at(self._bill, at, ns)
