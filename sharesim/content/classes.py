"""What a guest's kernel uses a page for, as sharesim tells pages apart."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np


class PageClass(IntEnum):
    """Kind of a guest page. Which kind it is decides, more than anything, whether it has a twin."""

    UNKNOWN = 0
    FREE = 1
    PAGE_CACHE = 2
    ANONYMOUS = 3
    SLAB = 4
    PAGE_TABLE = 5
    KERNEL = 6
    """Kernel memory that is neither slab nor page table (stacks, modules, per-CPU data)."""
    RESERVED = 7
    """The kernel image and what was set aside at boot."""

    @property
    def label(self) -> str:
        """The name for people: ``"page cache"``."""
        return self.name.lower().replace("_", " ")


_OF_CAPTURE_NAME = {
    "free": PageClass.FREE,
    "page-cache": PageClass.PAGE_CACHE,
    "anon": PageClass.ANONYMOUS,
    "anon-thp": PageClass.ANONYMOUS,
    "slab": PageClass.SLAB,
    "page-table": PageClass.PAGE_TABLE,
    "kernel-other": PageClass.KERNEL,
    "kernel-zero-page": PageClass.KERNEL,
    "reserved": PageClass.RESERVED,
}


def class_of_capture_name(name: str) -> PageClass:
    """The page class of a class name found in a capture.

    Names that say nothing about the use of a page (``?``, ``no-frame``) or that are not known are
    ``UNKNOWN``: a newer capture program may tell more kinds apart than this version.
    """
    return _OF_CAPTURE_NAME.get(name, PageClass.UNKNOWN)


def translation_table(names: Sequence[str]) -> np.ndarray:
    """uint8[256] from a capture's class byte to ``PageClass``; bytes without a name: UNKNOWN."""
    table = np.zeros(256, dtype=np.uint8)
    for code, name in enumerate(names[:256]):
        table[code] = class_of_capture_name(name)
    return table
