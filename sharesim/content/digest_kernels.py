"""Compiled digests: those that no package offers, and the simulated one.

The three batch kernels take ``rows``, uint8[n, length] in C order, and return uint64[n]. The 32-bit
functions calculate in uint64 and mask, because Numba widens uint32 sums anyway.
"""

import numpy as np
from numpy.typing import NDArray

from sharesim.content.mixing import mix64, wrapping
from sharesim.kernel import Number, njit, njit_allocating

Bytes = NDArray[np.uint8]
Digests = NDArray[np.uint64]

_LOW_32 = np.uint64(0xFFFFFFFF)
_BITS_IN_WORD = np.uint64(32)
_SIGN = np.uint64(0x80)
_SIGN_EXTENSION = np.uint64(0xFFFFFF00)
_JHASH_INITVAL = np.uint64(0xDEADBEEF)
_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)


@njit
@wrapping
def simulated_digest(content: np.uint64, seed: np.uint64, bits: Number) -> np.uint64:
    """The digest of a content of which only the id is known: 1 to 64 ``bits`` wide.

    A pure function of its arguments, with the collision statistics of an ideal function of that
    width: two contents collide with probability 2**-bits, independently for unequal seeds. At 64
    bits nothing collides. ``seed`` tells functions of equal width apart (``digests.seed_of``).
    ``bits`` is not checked.
    """
    return mix64(np.uint64(content) ^ np.uint64(seed)) >> np.uint64(64 - bits)


@njit
@wrapping
def _byte(row: Bytes, at: int) -> np.uint64:
    return np.uint64(row[at])


@njit
@wrapping
def _signed_byte(row: Bytes, at: int) -> np.uint64:
    """A byte as C's ``signed char``, extended to 32 bits."""
    byte = np.uint64(row[at])
    return byte | _SIGN_EXTENSION if byte & _SIGN else byte


@njit
@wrapping
def _half(row: Bytes, at: int) -> np.uint64:
    """Two bytes, the lower first."""
    return _byte(row, at) | (_byte(row, at + 1) << np.uint64(8))


@njit
@wrapping
def _word(row: Bytes, at: int) -> np.uint64:
    """Four bytes, the lowest first."""
    return _half(row, at) | (_half(row, at + 2) << np.uint64(16))


@njit
@wrapping
def _padded_word(row: Bytes, at: int) -> np.uint64:
    """Four bytes, the lowest first; what lies behind the end of the row reads as 0."""
    word = np.uint64(0)
    for place in range(max(0, min(4, row.size - at))):
        word |= _byte(row, at + place) << np.uint64(8 * place)
    return word


@njit
@wrapping
def _shift_xor(x: np.uint64, by: int) -> np.uint64:
    """``x ^= x << by`` in 32 bits."""
    return (x ^ (x << np.uint64(by))) & _LOW_32


@njit
@wrapping
def _shift_add(x: np.uint64, by: int) -> np.uint64:
    """``x += x >> by`` in 32 bits."""
    return (x + (x >> np.uint64(by))) & _LOW_32


@njit
@wrapping
def _sfh_tail(row: Bytes, at: int, state: np.uint64) -> np.uint64:
    """Take in the last 0 to 3 bytes; the odd one counts as signed, as in Hsieh's C."""
    left = row.size - at
    if left == 1:
        return _shift_add(_shift_xor((state + _signed_byte(row, at)) & _LOW_32, 10), 1)
    if left >= 2:
        state = (state + _half(row, at)) & _LOW_32
    if left == 2:
        return _shift_add(_shift_xor(state, 11), 17)
    if left == 3:
        state = _shift_xor(state, 16) ^ (_signed_byte(row, at + 2) << np.uint64(18))
        return _shift_add(state & _LOW_32, 11)
    return state


@njit
@wrapping
def _sfh(row: Bytes) -> np.uint64:
    state = np.uint64(row.size) & _LOW_32
    whole = row.size & ~3
    for at in range(0, whole, 4):
        state = (state + _half(row, at)) & _LOW_32
        mixed = (_half(row, at + 2) << np.uint64(11)) ^ state
        state = ((state << np.uint64(16)) ^ mixed) & _LOW_32
        state = _shift_add(state, 11)
    state = _sfh_tail(row, whole, state)
    state = _shift_add(_shift_xor(state, 3), 5)
    state = _shift_add(_shift_xor(state, 4), 17)
    return _shift_add(_shift_xor(state, 25), 6)


@njit_allocating
def sfh_rows(rows: Bytes) -> Digests:
    """SuperFastHash of each row (Paul Hsieh, 2004, revised 2008)."""
    digests = np.empty(rows.shape[0], np.uint64)
    for index in range(rows.shape[0]):
        digests[index] = _sfh(rows[index])
    return digests


@njit
@wrapping
def _rotate(x: np.uint64, by: int) -> np.uint64:
    """Rotate 32 bits to the left."""
    shift = np.uint64(by)
    return ((x << shift) | (x >> (_BITS_IN_WORD - shift))) & _LOW_32


@njit
@wrapping
def _mix_step(x: np.uint64, y: np.uint64, z: np.uint64, by: int) -> tuple[np.uint64, np.uint64]:
    """One sixth of lookup3's mix: the new x and the new z."""
    return ((x - z) & _LOW_32) ^ _rotate(z, by), (z + y) & _LOW_32


@njit
@wrapping
def _final_step(x: np.uint64, y: np.uint64, by: int) -> np.uint64:
    """One seventh of lookup3's final: the new x."""
    return ((x ^ y) - _rotate(y, by)) & _LOW_32


@njit
@wrapping
def _mix(a: np.uint64, b: np.uint64, c: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64]:
    a, c = _mix_step(a, b, c, 4)
    b, a = _mix_step(b, c, a, 6)
    c, b = _mix_step(c, a, b, 8)
    a, c = _mix_step(a, b, c, 16)
    b, a = _mix_step(b, c, a, 19)
    c, b = _mix_step(c, a, b, 4)
    return a, b, c


@njit
@wrapping
def _final(a: np.uint64, b: np.uint64, c: np.uint64) -> np.uint64:
    c = _final_step(c, b, 14)
    a = _final_step(a, c, 11)
    b = _final_step(b, a, 25)
    c = _final_step(c, b, 16)
    a = _final_step(a, c, 4)
    b = _final_step(b, a, 14)
    return _final_step(c, b, 24)


@njit
@wrapping
def _jhash(row: Bytes, initval: np.uint64) -> np.uint64:
    a = (_JHASH_INITVAL + np.uint64(row.size) + initval) & _LOW_32
    b = a
    c = a
    at = 0
    while row.size - at > 12:
        a = (a + _word(row, at)) & _LOW_32
        b = (b + _word(row, at + 4)) & _LOW_32
        c = (c + _word(row, at + 8)) & _LOW_32
        a, b, c = _mix(a, b, c)
        at += 12
    if at == row.size:  # only an empty row: the last block is kept back for `_final`
        return c
    a = (a + _padded_word(row, at)) & _LOW_32
    b = (b + _padded_word(row, at + 4)) & _LOW_32
    c = (c + _padded_word(row, at + 8)) & _LOW_32
    return _final(a, b, c)


@njit_allocating
def jhash_rows(rows: Bytes, initval: int) -> Digests:
    """Linux's jhash2 of each row, read as little-endian 32-bit words.

    Where a length is no multiple of 4 it is Linux's jhash, which is the same function of bytes
    (Bob Jenkins, lookup3, 2006).
    """
    digests = np.empty(rows.shape[0], np.uint64)
    for index in range(rows.shape[0]):
        digests[index] = _jhash(rows[index], np.uint64(initval))
    return digests


@njit
@wrapping
def _fnv1a(row: Bytes) -> np.uint64:
    state = _FNV_OFFSET
    for at in range(row.size):
        state = (state ^ _byte(row, at)) * _FNV_PRIME
    return state


@njit_allocating
def fnv1a_rows(rows: Bytes) -> Digests:
    """FNV-1a, 64 bit, of each row (Glenn Fowler, Landon Curt Noll, Phong Vo)."""
    digests = np.empty(rows.shape[0], np.uint64)
    for index in range(rows.shape[0]):
        digests[index] = _fnv1a(rows[index])
    return digests
