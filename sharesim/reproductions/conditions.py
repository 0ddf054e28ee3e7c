"""Guests under good conditions for sharing, under bad ones, and made to measure.

The 2006 thesis measured under these three kinds of conditions (its abstract says so); which
benchmarks it ran we do not know, so the guests are our choice. Scripts and studies share them.
"""

import math
from typing import Any, Literal

from sharesim.errors import UserError
from sharesim.spec.images import Segment, Segments
from sharesim.spec.scenario import VM
from sharesim.spec.units import parse_size, show_size
from sharesim.spec.workloads import (
    PageTableActivity,
    PageTableHeavy,
    RandomAccess,
    Workload,
    ZipfAccess,
)

Rewrites = Literal["unique", "pool", "same"]

MEMORY = "32 MiB"
LEAST_MEMORY = 64
"""Pages below which a guest's parts are no longer what they are called."""
ACTIVITY = PageTableActivity(faults=2, updates=2, switches=2)
"""Of a millisecond's work: a switch to the server and one back, two pages mapped. Our estimate, a
twelfth of the faults that the Linux build of the Xen paper makes in that time (SOSP 2003)."""
REQUEST_NS = 1_000_000
"""Work of a request, natively."""
ACCESSES = 10
"""Pages that a request goes to, unless it has more to write."""
MOST_WRITES = 1_000_000
MAPPERS = 4
"""Processes that map a file in the page cache."""
PROCESS_START_NS = 3_200_000
"""A shell starting a program, natively: 4.0 ms on the 2.4 GHz Xeon of the Xen paper (lmbench "sh",
SOSP 2003), scaled by clock to 3.0 GHz."""


def good_guests(
    vms: int = 4,
    *,
    memory: str | int = MEMORY,
    write_rate: float = 200.0,
    activity: PageTableActivity = ACTIVITY,
) -> list[VM]:
    """Equal guests that mostly read: the same kernel and files everywhere, and a heap of their own.

    They serve requests as fast as they can. ``write_rate``: pages of its heap that each writes per
    second of its CPU time.
    """
    pages = _pages(memory)
    kernel, heap, free = pages // 4, pages * 3 // 16, pages // 16
    files = pages - kernel - heap - free
    image = Segments(
        segments=(
            Segment(size=kernel, page_class="kernel", shared_as="kernel"),
            Segment(size=files, page_class="page-cache", shared_as="files", map_count=MAPPERS),
            Segment(size=heap, page_class="anonymous", duplicate=0.1),
            Segment(size=free, page_class="free", zero=0.9),
        )
    )
    work = ZipfAccess(
        **_requests(write_rate),
        region=heap,
        region_start=kernel + files,
        exponent=0.8,
        activity=activity,
    )
    return _named(vms, [image], [work])


def bad_guests(
    vms: int = 4,
    *,
    memory: str | int = MEMORY,
    write_rate: float = 2_000.0,
    patterns: int = 64,
) -> list[VM]:
    """Unlike guests whose equal pages are written at once, and others that start processes.

    Every other guest writes a few patterns over and over its memory, so that the scanner finds
    equal pages which are soon broken; the ones between start processes, which is hard on page
    tables. No two have the same kernel or files. An operation is as much work for either kind, so
    that the operations of all guests together count work.

    ``write_rate``: pages that each writer writes per second of its CPU time; ``patterns``: how many
    contents the writers choose from.
    """
    pages = _pages(memory)
    kernel, files = pages // 4, pages // 4
    data = pages - kernel - files
    region = {"region": pages - kernel, "region_start": kernel}
    writes = RandomAccess(
        **_requests(write_rate, PROCESS_START_NS),
        **region,
        new_content="pool",
        pool=patterns,
        pool_name="patterns",
    )
    starts = PageTableHeavy(accesses=12, op_time=PROCESS_START_NS, **region)
    images = [
        Segments(
            segments=(
                Segment(size=kernel, page_class="kernel", shared_as=f"kernel {number}"),
                Segment(size=files, page_class="page-cache", shared_as=f"files {number}"),
                Segment(size=data, page_class="anonymous", zero=0.02, duplicate=0.02),
            )
        )
        for number in range(vms)
    ]
    return _named(vms, images, [writes, starts])


def synthetic_guests(
    vms: int = 4,
    *,
    memory: str | int = MEMORY,
    common: float = 0.3,
    zero: float = 0.1,
    duplicate: float = 0.1,
    write_rate: float = 100.0,
    rewrites: Rewrites = "unique",
    activity: PageTableActivity = ACTIVITY,
) -> list[VM]:
    """Guests that compute as fast as they can, and read and write at random all over their memory.

    ``common``: fraction of memory that is equal in all guests, page by page; ``zero`` and
    ``duplicate``: fractions of the rest that are all zero, and that repeat one of 16 contents of
    the guest; ``write_rate``: pages that each guest writes per second of its CPU time;
    ``rewrites``: what a write leaves: something new, one of 256 contents, or what was there.
    """
    pages = _pages(memory)
    equal = round(common * pages)
    segments = (
        Segment(size=equal, page_class="page-cache", shared_as="common") if equal else None,
        Segment(size=pages - equal, zero=zero, duplicate=duplicate) if equal < pages else None,
    )
    image = Segments(segments=tuple(segment for segment in segments if segment))
    work = RandomAccess(**_requests(write_rate), new_content=rewrites, activity=activity)
    return _named(vms, [image], [work])


def _pages(memory: str | int) -> int:
    pages = parse_size(memory)
    if pages < LEAST_MEMORY:
        least = show_size(LEAST_MEMORY)
        raise UserError(f"memory: found {show_size(pages)}; a guest needs {least} at least")
    return pages


def _requests(write_rate: float, op_time: int = REQUEST_NS) -> dict[str, Any]:
    """Fields of a workload of requests, in which so many pages are written a second."""
    if not 0 <= write_rate <= MOST_WRITES:
        raise UserError(
            f"write_rate: found {write_rate:g}; a guest writes 0 to {MOST_WRITES:,} pages a second"
        )
    writes = write_rate * op_time / 1e9
    accesses = max(ACCESSES, math.ceil(writes))
    return {
        "operation": "request",
        "op_time": op_time,
        "accesses": accesses,
        "write_fraction": writes / accesses,
    }


def _named(vms: int, images: list[Segments], works: list[Workload]) -> list[VM]:
    """``vm1``, ``vm2`` and so on, which take images and workloads in turn."""
    return [
        VM(
            name=f"vm{number + 1}",
            image=images[number % len(images)],
            workload=works[number % len(works)],
        )
        for number in range(vms)
    ]
