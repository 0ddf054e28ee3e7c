"""Anonymous memory to measure with: mapped for it, seen as an array, given back after."""

import mmap
from contextlib import suppress
from types import TracebackType

import numpy as np

from sharesim.live.calibrate_kernels import PAGE_BYTES, PAGE_WORDS


class Area:
    """Private anonymous memory in pages of 4 KiB, untouched at first; a context manager.

    ``words`` is uint64[pages, 512]. As long as anybody keeps a view of it the memory stays mapped.
    """

    def __init__(self, pages: int) -> None:
        self.pages = pages
        self._map = mmap.mmap(-1, pages * PAGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            with suppress(OSError):  # a kernel without huge pages knows no advice about them
                self._map.madvise(mmap.MADV_NOHUGEPAGE)
        self.words = np.frombuffer(self._map, np.uint64).reshape(pages, PAGE_WORDS)
        self.address = self.words.ctypes.data

    def advise(self, advice: int, first: int = 0, pages: int | None = None) -> None:
        """``madvise`` on some pages, all by default. Raises OSError where the kernel refuses."""
        count = self.pages - first if pages is None else pages
        self._map.madvise(advice, first * PAGE_BYTES, count * PAGE_BYTES)

    def close(self) -> None:
        """Unmap it, at once unless somebody keeps a view: a traceback under way, for one."""
        del self.words
        with suppress(BufferError):
            self._map.close()

    def __enter__(self) -> "Area":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
