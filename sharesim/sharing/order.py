"""The order in which a pass visits pages: linear, or a fresh random permutation without tables."""

from typing import Any

import numpy as np

from sharesim.content.mixing import mix64, wrapping
from sharesim.kernel import Number, njit


@njit
@wrapping
def permuted(position: Number, count: Number, key: Number) -> Any:
    """The element at a position of a pseudo-random permutation of 0 .. count - 1.

    A four-round Feistel network on the smallest even number of bits that holds ``count``, walked
    until it lands inside (fewer than four steps on average). Needs no memory.
    """
    half = 1
    while (1 << (2 * half)) < count:
        half += 1
    mask = np.uint64((1 << half) - 1)
    shift = np.uint64(half)
    value = np.uint64(position)
    while True:
        left = value >> shift
        right = value & mask
        for turn in range(4):
            mixed = mix64(np.uint64(key) + (right << np.uint64(8)) + np.uint64(turn))
            left, right = right, left ^ (mixed & mask)
        value = (left << shift) | right
        if value < np.uint64(count):
            return np.int64(value)


@njit
def page_at(
    ranges: np.ndarray,
    starts: np.ndarray,
    position: Number,
    count: Number,
    random: Number,
    key: Number,
) -> Any:
    """Page id at a position of a pass over ``ranges``; ``starts`` are their first positions."""
    at = permuted(position, count, key) if random else position
    low = 0
    high = len(ranges) - 1
    while low < high:
        middle = (low + high + 1) >> 1
        if starts[middle] <= at:
            low = middle
        else:
            high = middle - 1
    return ranges[low, 0] + at - starts[low]


@njit
def page_block(
    ranges: np.ndarray,
    starts: np.ndarray,
    first: Number,
    count: Number,
    random: Number,
    key: Number,
    out: np.ndarray,
) -> Any:
    """Page ids at positions ``first`` .. of a pass of ``count``; fills ``out``."""
    for at in range(len(out)):
        out[at] = page_at(ranges, starts, first + at, count, random, key)
