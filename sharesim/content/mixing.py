"""Mixing of 64-bit integers: what ids, seeds and simulated digests are made of.

The mixer is SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014), taken as a function of its state: ``mix64(x)`` is the number that generator gives from
state ``x``. The constants of its finalizer are Stafford's variant 13 of MurmurHash3's.
"""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from sharesim.kernel import JIT, njit

_F = TypeVar("_F", bound=Callable[..., Any])

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_SHIFT_30 = np.uint64(30)
_SHIFT_27 = np.uint64(27)
_SHIFT_31 = np.uint64(31)


def wrapping(function: _F) -> _F:
    """Mark a kernel whose unsigned arithmetic is meant to wrap; goes below ``@njit``.

    Compiled code wraps silently and gets the function as it is. As plain Python
    (NUMBA_DISABLE_JIT=1) NumPy would warn at each wrap, so the warning is switched off.
    """
    if JIT:
        return function
    quiet: _F = np.errstate(over="ignore")(function)
    return quiet


@njit
@wrapping
def mix64(x: np.uint64) -> np.uint64:
    """Scatter a uint64: a bijection in which every output bit depends on every input bit.

    ``mix64(0)`` is not 0, so that a counter may start at 0.
    """
    z = np.uint64(x) + _GAMMA
    z = (z ^ (z >> _SHIFT_30)) * _FIRST
    z = (z ^ (z >> _SHIFT_27)) * _SECOND
    return z ^ (z >> _SHIFT_31)


@njit
@wrapping
def combine(a: np.uint64, b: np.uint64) -> np.uint64:
    """One uint64 from two, order mattering: for either one fixed, a bijection of the other.

    Chain it for more: ``combine(combine(a, b), c)``.
    """
    return mix64(mix64(np.uint64(a)) ^ np.uint64(b))


def stable_hash64(text: str) -> int:
    """A 64-bit number for a text, equal in every process and on every machine.

    The first 64 bits, most significant byte first, of BLAKE2b with an 8-byte digest (RFC 7693)
    of the UTF-8 text. Unlike ``hash()`` it does not depend on PYTHONHASHSEED.
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
