"""The opportunity line: what instant perfect sharing would save right now.

Counts, among the pages the scanner may look at, those that repeat a content seen before; zero pages
apart, and split by whether the repeat is within one guest or only between guests.
"""

from typing import Any

import numpy as np

from sharesim.content.mixing import mix64
from sharesim.kernel import Number, njit
from sharesim.machine.tables import BLOCK, CLASS_MASK, NONE, PINNED, Memory

PARTS = 8
"""Contents are counted part by part, so that the scratch table stays small and in cache."""
O_TOTAL, O_ZERO, O_INTRA, O_INTER, O_CLASS = 0, 1, 2, 3, 4
COLUMNS = O_CLASS + CLASS_MASK + 1


@njit
def _count_part(
    mem: Memory,
    ranges: np.ndarray,
    never: Number,
    part: Number,
    parts: Number,
    table: np.ndarray,
    result: np.ndarray,
) -> Any:
    entries = 0
    size = len(table)
    for at in range(len(ranges)):
        first = ranges[at, 0]
        for page in range(first, first + ranges[at, 1]):
            frame = np.int64(mem.pages[page]["mfn"])
            if frame == NONE:
                continue
            content = np.uint64(mem.frames[frame]["content"])
            if content == np.uint64(0):
                continue
            spread = mix64(content)
            if np.int64(spread & np.uint64(parts - 1)) != part:
                continue
            flags = np.int64(mem.pages[page]["flags"])
            if flags & never:
                continue
            slot = np.int64(((spread >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))
            while True:
                other = np.int64(table[slot])
                if other == NONE:
                    if 4 * entries >= 3 * size:
                        return False
                    entries += 1
                    break
                there = np.int64(mem.pages[other]["mfn"])
                if np.uint64(mem.frames[there]["content"]) == content:
                    result[O_TOTAL] += 1
                    result[O_INTRA if other >= first else O_INTER] += 1
                    result[O_CLASS + (flags & CLASS_MASK)] += 1
                    break
                slot = (slot + 1) % size
            table[slot] = np.uint32(page)  # the latest, so that the next one knows its guest
    return True


@njit
def _count_zero(mem: Memory, ranges: np.ndarray, never: Number, result: np.ndarray) -> Any:
    zero = 0
    for at in range(len(ranges)):
        for page in range(ranges[at, 0], ranges[at, 0] + ranges[at, 1]):
            frame = np.int64(mem.pages[page]["mfn"])
            if frame == NONE or np.int64(mem.pages[page]["flags"]) & never:
                continue
            if np.uint64(mem.frames[frame]["content"]) == np.uint64(0):
                zero += 1
                if zero > 1:
                    result[O_CLASS + (np.int64(mem.pages[page]["flags"]) & CLASS_MASK)] += 1
    result[O_ZERO] = max(0, zero - 1)
    result[O_TOTAL] += result[O_ZERO]


def opportunity(memory: Memory, ranges: np.ndarray, splits: bool = True) -> np.ndarray:
    """int64[COLUMNS]: pages saved by perfect sharing: total, zero, intra, inter, by page class.

    ``ranges`` is int64[n, 2]: (first page, count) of each guest, in order. Unless 2 MiB blocks may
    be split (``splits``), pages in them cannot be shared.
    """
    never = PINNED if splits else PINNED | BLOCK
    pages = int(ranges[:, 1].sum())
    result = np.zeros(COLUMNS, np.int64)
    size = pages * 3 // (2 * PARTS) + 64
    for part in range(PARTS):
        while True:
            trial = result.copy()
            table = np.full(size, NONE, np.uint32)
            if _count_part(memory, ranges, never, part, PARTS, table, trial):
                break
            size *= 2
        result = trial
    _count_zero(memory, ranges, never, result)
    return result
