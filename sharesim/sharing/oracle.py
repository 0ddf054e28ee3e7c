"""The upper bound: at each wake-up all equal pages are shared, at once and for nothing."""

from typing import Any

import numpy as np

from sharesim.content.mixing import mix64
from sharesim.hypervisor.merge import share_now
from sharesim.kernel import njit
from sharesim.machine.tables import ABSENT, BLOCK, NONE, PINNED, T_ZERO_FRAME, ZERO, Memory
from sharesim.sharing.policy import Pages, Policy


@njit
def share_everything(mem: Memory, cost: np.ndarray, ranges: np.ndarray, table: np.ndarray) -> Any:
    """Share all equal pages of the ranges; ``table`` is uint32, all NONE, larger than the pages."""
    visited = 0
    for at in range(len(ranges)):
        for page in range(ranges[at, 0], ranges[at, 0] + ranges[at, 1]):
            frame = np.int64(mem.pages[page]["mfn"])
            flags = np.int64(mem.pages[page]["flags"])
            if frame == NONE or flags & (PINNED | ABSENT):
                continue
            if flags & BLOCK and np.int64(cost[0]["split_blocks"]) == 0:
                continue
            visited += 1
            content = np.uint64(mem.frames[frame]["content"])
            if content == np.uint64(0):
                if frame != mem.totals[T_ZERO_FRAME]:
                    share_now(mem, cost, page, ZERO)
                continue
            spread = mix64(content) >> np.uint64(32)
            slot = np.int64((spread * np.uint64(len(table))) >> np.uint64(32))
            while table[slot] != np.uint32(NONE):
                other = np.int64(table[slot])
                there = np.int64(mem.pages[other]["mfn"])
                if np.uint64(mem.frames[there]["content"]) == content:
                    if there != frame:
                        share_now(mem, cost, page, other)
                    break
                slot = (slot + 1) % len(table)
            else:
                table[slot] = np.uint32(page)
    return visited


class OraclePolicy(Policy):
    """Looks at contents, which no policy may: the engine calls ``share_all``, not ``visit``."""

    name = "oracle"

    def batch(self, budget: int) -> Pages:
        return np.zeros(0, np.uint32)

    def visit(self, pages: Pages) -> Pages:
        return np.full(len(pages), NONE, np.uint32)

    def share_all(self, memory: Memory, cost: np.ndarray, ranges: np.ndarray) -> int:
        """Share everything equal now; returns the pages looked at."""
        table = np.full(int(ranges[:, 1].sum()) * 3 // 2 + 2, NONE, np.uint32)
        return int(share_everything(memory, cost, ranges, table))
