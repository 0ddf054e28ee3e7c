"""What it takes to copy, clear, compare and hash pages, in caches and out of them.

Cold pages are the pages of an area larger than the caches, visited in random order, each once for a
sample; a hot page is one that is visited again and again.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from sharesim.content.digests import DIGESTS, Digest
from sharesim.live.calibrate_areas import Area
from sharesim.live.calibrate_figures import Effort, Figures, Measured, sampled, timed
from sharesim.live.calibrate_kernels import (
    PAGE_BYTES,
    check_zero,
    clear_pages,
    compare_pages,
    copy_pages,
)

_LIBRARIES = {
    "sfh": "compiled by Numba",
    "mmh3": "package mmh3",
    "xxh3": "package xxhash",
    "xxh64": "package xxhash",
    "jhash2": "compiled by Numba",
    "crc32": "zlib",
    "sha1": "OpenSSL by hashlib",
    "fnv": "compiled by Numba",
}
"""Whose implementation of each digest is timed."""
_DIGEST_PAGES = 512
"""Pages hashed for one sample: digests are slow, and there are many."""
_HOT_PAGES = 4
"""Pages that are in the innermost cache together."""


def cache_bytes(level: int | None = None) -> int:
    """Bytes of CPU 0's cache of a level, or of its largest; 0 where the kernel does not say."""
    sizes = [0]
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        text = (folder / "size").read_text().strip()
        if level is None or int((folder / "level").read_text()) == level:
            sizes.append(int(text[:-1]) << {"K": 10, "M": 20}.get(text[-1], 0))
    return max(sizes)


def measure_memory(effort: Effort) -> Figures:
    """Copying, clearing and comparing; by the names of the primitives."""
    pages = effort.cold_bytes // PAGE_BYTES // 2
    with Area(pages) as first, Area(pages) as second:
        first.words[:], second.words[:] = 1, 1
        return _moving(first, second, effort) | _comparing(first, second, effort) | _cache()


def _cache() -> Figures:
    """How many pages a CPU's own cache holds, where the kernel says so."""
    pages = cache_bytes(level=2) // PAGE_BYTES
    how = "pages of 4 KiB in the second-level cache, whose size the kernel tells"
    return {"cache_pages": Measured((float(pages),), how)} if pages else {}


def _moving(first: Area, second: Area, effort: Effort) -> Figures:
    figures: Figures = {}
    for state, order in _orders(first.pages, effort.pages).items():
        copy = _each(lambda o: copy_pages(first.address, second.address, o), order, effort)
        figures[f"copy_{state}"] = Measured(copy, f"memcpy of {_WHERE[state]}")
        clear = _each(lambda o: clear_pages(first.address, o), order, effort)
        figures[f"zero_fill_{state}"] = Measured(clear, f"memset of {_WHERE[state]}")
    return figures


def _comparing(first: Area, second: Area, effort: Effort) -> Figures:
    compare = partial(compare_pages, first.address, second.address)
    figures: Figures = {}
    first.words[:], second.words[:] = 0, 0
    for state, order in _orders(first.pages, effort.pages).items():
        samples = _each(compare, order, effort)
        figures[f"compare_equal_{state}"] = Measured(samples, f"memcmp of {_WHERE[state]}")
        samples = _each(lambda o: check_zero(first.words, o), order, effort)
        how = f"loop over the words of {_WHERE[state]}, compiled by Numba"
        figures[f"zero_check_{state}"] = Measured(samples, how)
    second.words[:, 0] = 1
    for state, order in _orders(first.pages, effort.pages).items():
        samples = _each(compare, order, effort)
        how = f"memcmp, first byte differs, of {_WHERE[state]}"
        figures[f"compare_differ_{state}"] = Measured(samples, how)
    return figures


_WHERE = {"cold": "random pages, in no cache", "hot": "one page, in the cache"}
Order = np.ndarray
"""int64[n]: the pages that are visited, one after the other."""


def _orders(pages: int, visits: int) -> dict[str, Callable[[], Order]]:
    """How the pages of one sample are chosen: ever others at random, or the first one always."""
    shuffled = np.random.default_rng(0).permutation(pages)
    taken = 0

    def cold() -> Order:
        nonlocal taken
        taken += visits
        return np.roll(shuffled, -taken)[: min(visits, pages)]

    return {"cold": cold, "hot": lambda: np.zeros(visits, np.int64)}


def _each(
    work: Callable[[Order], object], choose: Callable[[], Order], effort: Effort
) -> tuple[float, ...]:
    def take() -> float:
        order = choose()
        return timed(lambda: work(order), order.size)

    return sampled(take, effort.repeats, "").samples


def measure_digests(effort: Effort) -> Figures:
    """Every digest of the project on real bytes; by the names of the primitives."""
    with Area(effort.cold_bytes // PAGE_BYTES) as area:
        area.words[:] = np.arange(area.words.size, dtype=np.uint64).reshape(area.words.shape)
        pages = area.words.view(np.uint8)
        figures: Figures = {}
        for digest in DIGESTS.values():
            figures |= _digest(digest, pages, effort)
    return figures


def _digest(digest: Digest, pages: np.ndarray, effort: Effort) -> Figures:
    """Cold and hot. What a call takes is measured on empty buffers, and taken off."""
    blocks = np.random.default_rng(0).permutation(len(pages) // _DIGEST_PAGES)
    taken = 0

    def cold() -> float:
        nonlocal taken
        taken += 1
        rows = pages[blocks[taken % len(blocks)] * _DIGEST_PAGES :][:_DIGEST_PAGES]
        return _digesting(digest, rows, 1)

    def hot() -> float:
        return _digesting(digest, pages[:_HOT_PAGES], _DIGEST_PAGES // _HOT_PAGES)

    how = f"{_LIBRARIES[digest.name]}, real bytes, the call's own time taken off; pages in"
    return {
        f"digest_{digest.name}_cold": sampled(cold, effort.repeats, f"{how} no cache"),
        f"digest_{digest.name}_hot": sampled(hot, effort.repeats, f"{how} the cache"),
    }


def _digesting(digest: Digest, rows: np.ndarray, times: int) -> float:
    """ns for each page, of ``times`` calls with the same rows."""
    empty = rows[:, :0].copy()

    def all_of(pages: np.ndarray) -> None:
        for _ in range(times):
            digest.rows(pages)

    whole = timed(lambda: all_of(rows), times * len(rows))
    return max(0.0, whole - timed(lambda: all_of(empty), times * len(rows)))
