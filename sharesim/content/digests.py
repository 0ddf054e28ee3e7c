"""The digests a policy can choose from: real hash functions of real bytes.

Where contents are only ids, as in a simulated run, `simulated_digest` stands in for them with the
collision statistics of the same width; `seed_of` keeps functions of equal width apart.
"""

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import mmh3
import numpy as np
import xxhash

from sharesim.content.digest_kernels import (
    Bytes,
    Digests,
    fnv1a_rows,
    jhash_rows,
    sfh_rows,
    simulated_digest,
)
from sharesim.content.mixing import stable_hash64
from sharesim.errors import UserError, nearest

__all__ = ["DIGESTS", "Digest", "digest_named", "seed_of", "simulated_digest"]

PAGE_BYTES = 4096
KSM_SEED = 17
"""What mm/ksm.c passed to jhash2 as `initval`, until Linux 5.0 replaced it by xxhash."""


@dataclass(frozen=True)
class Digest:
    """A hash function of bytes: a name, a width and where it is published.

    Its value is an unsigned integer of ``width`` bits. A function wider than 64 bits gives its
    first 64. Instances can be compared and pickled.
    """

    name: str
    bits: int
    """Native width of the published function."""
    help: str
    source: str
    rows: Callable[[Bytes], Digests] = field(repr=False, compare=False)
    """uint8[n, any length] to uint64[n], at full ``width``."""

    @property
    def width(self) -> int:
        """Bits of the value: the native width, at most 64."""
        return min(64, self.bits)

    def of(self, buffer: Any) -> int:
        """The digest of a bytes-like object of any length, at full width.

        Raises TypeError for what is not bytes-like.
        """
        # A copy, since an array over `bytes` is read-only and would be compiled for again.
        row = np.frombuffer(memoryview(buffer).tobytes(), np.uint8).copy()
        return int(self.rows(row.reshape(1, -1))[0])

    def of_pages(self, pages: Bytes, bits: int | None = None) -> Digests:
        """The digests, uint64[n], of ``pages``, uint8[n, 4096] in C order.

        With ``bits`` only the low ``bits`` bits are kept, as KSM keeps the low 32 of its xxh64.
        Raises UserError if ``bits`` is not in 1..width, ValueError for another kind of array.
        """
        kept = self.width if bits is None else self._checked(bits)
        if pages.dtype != np.uint8 or pages.ndim != 2 or pages.shape[1] != PAGE_BYTES:
            found = f"{pages.dtype}{list(pages.shape)}"
            raise ValueError(f"pages must be uint8[n, {PAGE_BYTES}], not {found}")
        if not pages.flags.c_contiguous:
            raise ValueError("pages must lie in C order: pass np.ascontiguousarray(pages)")
        return self.rows(pages) & np.uint64((1 << kept) - 1)

    def _checked(self, bits: int) -> int:
        if not 1 <= bits <= self.width:
            raise UserError(
                f"digest '{self.name}' can be cut to 1 to {self.width} bits, not to {bits}"
            )
        return bits

    def __reduce__(self) -> tuple[Callable[[str], "Digest"], tuple[str]]:
        return digest_named, (self.name,)


def _each_row(function: Callable[[Any], int], rows: Bytes) -> Digests:
    return np.fromiter((function(row) for row in rows), np.uint64, len(rows))


def _murmur(row: Any) -> int:
    return int(mmh3.mmh3_x64_128_utupledigest(row)[0])


def _sha1(row: Any) -> int:
    return int.from_bytes(hashlib.sha1(row, usedforsecurity=False).digest()[:8], "big")


_ALL = (
    Digest(
        name="sfh",
        bits=32,
        help="SuperFastHash: small and serial; the usual choice of early page-sharing work",
        source="Paul Hsieh, 'Hash functions', azillionmonkeys.com/qed/hash.html, 2004-2008",
        rows=sfh_rows,
    ),
    Digest(
        name="mmh3",
        bits=128,
        help="MurmurHash3 x64 128: fast and well mixed; the first of its two words (h1)",
        source="Austin Appleby, SMHasher, github.com/aappleby/smhasher, 2011",
        rows=partial(_each_row, _murmur),
    ),
    Digest(
        name="xxh3",
        bits=64,
        help="XXH3, 64 bit: the fastest here on pages that are in the cache",
        source="Yann Collet, xxHash 0.8, xxhash.com, 2020",
        rows=partial(_each_row, xxhash.xxh3_64_intdigest),
    ),
    Digest(
        name="xxh64",
        bits=64,
        help="XXH64: KSM since Linux 5.0 keeps its low 32 bits",
        source="Yann Collet, xxHash, xxhash.com, 2014; Linux mm/ksm.c, lib/xxhash.c",
        rows=partial(_each_row, xxhash.xxh64_intdigest),
    ),
    Digest(
        name="jhash2",
        bits=32,
        help="Jenkins' lookup3 over 32-bit words with seed 17: KSM before Linux 5.0",
        source="Bob Jenkins, lookup3.c, burtleburtle.net/bob, 2006; Linux include/linux/jhash.h",
        rows=partial(jhash_rows, initval=KSM_SEED),
    ),
    Digest(
        name="crc32",
        bits=32,
        help="CRC-32: a checksum; contents that differ within 32 consecutive bits never collide",
        source="ISO 3309, ITU-T V.42; as in zlib and Ethernet",
        rows=partial(_each_row, zlib.crc32),
    ),
    Digest(
        name="sha1",
        bits=160,
        help="SHA-1: cryptographic, slow without hardware help; the first 64 bits as printed",
        source="NIST FIPS 180-4",
        rows=partial(_each_row, _sha1),
    ),
    Digest(
        name="fnv",
        bits=64,
        help="FNV-1a, 64 bit: one byte at a time, simple and slow",
        source="Fowler, Noll, Vo, isthe.com/chongo/tech/comp/fnv, 1991",
        rows=fnv1a_rows,
    ),
)

DIGESTS: Mapping[str, Digest] = MappingProxyType({digest.name: digest for digest in _ALL})
"""All digests by name."""


def digest_named(name: str) -> Digest:
    """The digest of that name. Raises UserError, with the nearest name, if there is none."""
    if name not in DIGESTS:
        raise UserError(f"there is no digest '{name}'{nearest(name, DIGESTS)}")
    return DIGESTS[name]


def seed_of(name: str) -> int:
    """The seed, an unsigned 64-bit integer, of the simulated digest called ``name`` (any text)."""
    return stable_hash64(f"digest:{name}")
