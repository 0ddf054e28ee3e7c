"""Loops to be timed, compiled: each does one operation so often that a clock around it is exact.

They call the C library by address-sized integers, since Numba then knows nothing of what a call
does and leaves none out. They run without Python's lock, so that two of them can work against each
other on two CPUs. Without the JIT there is nothing to be timed, and they cannot be called.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from sharesim.content.mixing import mix64, wrapping
from sharesim.kernel import JIT, Number

PAGE_BYTES = 4096
PAGE_WORDS = PAGE_BYTES // 8

_F = TypeVar("_F", bound=Callable[..., Any])


def _timed(function: _F) -> _F:
    """As :func:`sharesim.kernel.njit`, but giving up Python's lock."""
    compiled: _F = numba.njit(cache=True, error_model="numpy", _nrt=False, nogil=True)(function)
    return compiled


if JIT:
    from numba.core import types

    def _library(name: str, arguments: int, result: Any = types.intp) -> Any:
        """A function of the C library, all of whose arguments are words."""
        return types.ExternalFunction(name, result(*[types.intp] * arguments))

    _memcmp = _library("memcmp", 3, types.int32)
    _memcpy = _library("memcpy", 3)
    _memset = _library("memset", 3)
    _read = _library("read", 3)
    _write = _library("write", 3)
    _mprotect = _library("mprotect", 3, types.int32)
    _getppid = _library("getppid", 0, types.int32)


@_timed
def copy_pages(to: int, source: int, order: np.ndarray) -> Any:
    """memcpy of whole pages, ``order`` int64[n] of them, between two areas at two addresses."""
    done = 0
    for place in order:
        done += _memcpy(to + place * PAGE_BYTES, source + place * PAGE_BYTES, PAGE_BYTES)
    return done


@_timed
def clear_pages(to: int, order: np.ndarray) -> Any:
    """memset of whole pages to zero."""
    done = 0
    for place in order:
        done += _memset(to + place * PAGE_BYTES, 0, PAGE_BYTES)
    return done


@_timed
def compare_pages(one: int, other: int, order: np.ndarray) -> Any:
    """memcmp of whole pages at the same places of two areas; the sum of what it says."""
    found = 0
    for place in order:
        found += _memcmp(one + place * PAGE_BYTES, other + place * PAGE_BYTES, PAGE_BYTES)
    return found


@_timed
def check_zero(words: np.ndarray, order: np.ndarray) -> Any:
    """How many of the pages are zero; reads each to its end. ``words`` is uint64[pages, 512]."""
    zero = 0
    for place in order:
        mixed = np.uint64(0)
        for word in range(PAGE_WORDS):
            mixed |= words[place, word]
        zero += mixed == np.uint64(0)
    return zero


@_timed
def write_each(words: np.ndarray, first: int, end: int) -> Any:
    """Write one word of each page from ``first`` to before ``end``."""
    for page in range(first, end):
        words[page, 0] = np.uint64(page + 1)


@_timed
def read_each(words: np.ndarray, first: int, end: int) -> Any:
    """Read one word of each page; their sum."""
    total = np.uint64(0)
    for page in range(first, end):
        total += words[page, 0]
    return total


@_timed
@wrapping
def fill_with_ids(words: np.ndarray, first: int, ids: np.ndarray) -> Any:
    """Fill pages from ``first`` on with the contents of ``ids``, uint64[n].

    The content of an id is one mixed word, big-endian and repeated, so that the order of the bytes
    is that of the word; of id 0 it is zero. See :mod:`sharesim.content.ksm_case`.
    """
    for number in range(ids.size):
        word = mix64(ids[number]) if ids[number] else np.uint64(0)
        swapped = np.uint64(0)
        for _ in range(8):
            swapped = (swapped << np.uint64(8)) | (word & np.uint64(0xFF))
            word >>= np.uint64(8)
        for place in range(PAGE_WORDS):
            words[first + number, place] = swapped


@_timed
def ask_kernel(times: int) -> Any:
    """The shortest system call, so many times."""
    done = 0
    for _ in range(times):
        done += _getppid()
    return done


@_timed
def write_then_read(out: int, into: int, byte: int, times: int) -> Any:
    """Send one byte through a pipe and read an answer from another, or the same; times.

    ``out`` and ``into`` are file descriptors, ``byte`` the address of a byte. Returns how many
    came; stops when the other side has gone.
    """
    for done in range(times):
        if _write(out, byte, 1) != 1 or _read(into, byte, 1) != 1:
            return done
    return times


@_timed
def answer(into: int, out: int, byte: int) -> Any:
    """The other side of :func:`write_then_read`, until the pipe is closed."""
    while _read(into, byte, 1) == 1:
        if _write(out, byte, 1) != 1:
            return


@_timed
def protect_and_back(words: np.ndarray, address: int, times: int) -> Any:
    """Write a page, make it read-only, then writable: two changes of its entry each time."""
    failed = 0
    for number in range(times):
        words[0, 0] = np.uint64(number)
        failed += _mprotect(address, PAGE_BYTES, 1)
        failed += _mprotect(address, PAGE_BYTES, 3)
    return failed


@_timed
@wrapping
def compute(times: int, seed: Number) -> Any:
    """A chain of dependent multiply-adds that touches no memory."""
    state = np.uint64(seed)
    for _ in range(times):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
    return state
