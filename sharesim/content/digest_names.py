"""Names and widths of the hash functions, for descriptions that must not import what runs."""

from typing import Literal

DigestName = Literal["sfh", "mmh3", "xxh3", "xxh64", "jhash2", "crc32", "sha1", "fnv"]

DIGEST_BITS: dict[str, int] = {
    "sfh": 32,
    "mmh3": 64,
    "xxh3": 64,
    "xxh64": 64,
    "jhash2": 32,
    "crc32": 32,
    "sha1": 64,
    "fnv": 64,
}
"""Bits kept of each function's output; wider digests (SHA-1, mmh3 x64 128) give their first 64."""
