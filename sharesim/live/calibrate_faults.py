"""What page faults take: first touches, and copies after a fork. Shared pages: `calibrate_ksmd`."""

from collections.abc import Callable

from sharesim.live.calibrate_areas import Area
from sharesim.live.calibrate_child import child, sleep_until_told
from sharesim.live.calibrate_figures import Effort, Figures, Measured, sampled, timed
from sharesim.live.calibrate_kernels import read_each, write_each


def measure_faults(effort: Effort) -> Figures:
    """ns for each page: ``first_write``, ``first_read``, ``zero_write``, ``fork_break``, ``unmap``.

    Batches of so many pages that the clock does not count; what is touched is never in a cache.
    """
    pages = effort.pages

    def figure(take: Callable[[int], float], how: str) -> Measured:
        return sampled(lambda: take(pages), effort.repeats, f"{how}, {pages} pages at one go")

    return {
        "first_write": figure(_first_write, "first touch by a write"),
        "first_read": figure(_first_read, "first touch by a read, which maps the zero page"),
        "zero_write": figure(_zero_write, "write to a page that maps the zero page"),
        "fork_break": figure(_fork_break, "write to a page shared with a child after fork"),
        "unmap": figure(_unmap, "unmapping private pages"),
    }


def write_pages(area: Area) -> float:
    """ns for each page of an area, to write one word of it."""
    return timed(lambda: write_each(area.words, 0, area.pages), area.pages)


def _first_write(pages: int) -> float:
    with Area(pages) as area:
        return write_pages(area)


def _first_read(pages: int) -> float:
    with Area(pages) as area:
        return timed(lambda: read_each(area.words, 0, pages), pages)


def _zero_write(pages: int) -> float:
    with Area(pages) as area:
        read_each(area.words, 0, pages)
        return write_pages(area)


def _fork_break(pages: int) -> float:
    with Area(pages) as area:
        write_pages(area)
        with child(sleep_until_told):
            return write_pages(area)


def _unmap(pages: int) -> float:
    area = Area(pages)
    write_pages(area)
    return timed(area.close, pages)
