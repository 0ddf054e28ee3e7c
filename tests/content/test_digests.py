"""Every digest against published answers; the simulated one against the birthday numbers."""

import hashlib
import json
import math
import os
import pickle
import struct
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from sharesim.content import digest_kernels
from sharesim.content.digests import DIGESTS, digest_named, seed_of, simulated_digest
from sharesim.content.mixing import combine, mix64
from sharesim.errors import UserError
from sharesim.kernel import JIT, njit_allocating

MASK = 0xFFFFFFFF
FOX = b"The quick brown fox jumps over the lazy dog"
COUNTING = bytes(number & 255 for number in range(4096))
JENKINS = b"This is the time for all good men to come to the aid of their country..."


def random_bytes(length: int) -> bytes:
    return np.random.default_rng(length).bytes(length)


def some_pages(count: int) -> NDArray[np.uint8]:
    pages = np.random.default_rng(4096).integers(0, 256, (count, 4096), dtype=np.uint8)
    pages[0] = 0
    return pages


# --- known answers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        # SuperFastHash: test suites of independent implementations in C++, C# and Rust. The 253 to
        # 255 byte rows end in bytes above 127, which count as negative.
        ("sfh", b"", 0),
        ("sfh", b"foob", 0x58C9CBD5),
        ("sfh", b"fooba", 0xF9D871C8),
        ("sfh", b"foobar", 0xA6BCDCA9),
        ("sfh", b"Hello World!", 1774740540),
        ("sfh", COUNTING[:253], 3586628615),
        ("sfh", COUNTING[:254], 2920741773),
        ("sfh", COUNTING[:255], 325350515),
        ("sfh", COUNTING[:256], 3840866583),
        # MurmurHash3 x64 128, h1
        ("mmh3", b"", 0),
        ("mmh3", b"hello", 0xCBD8A7B341BD9B02),
        ("mmh3", FOX, 0xE34BBC7BBC071B6C),
        # XXH3: its own sanity value for the empty input, and generated vectors (bytes i & 255)
        ("xxh3", b"", 0x2D06800538D394C2),
        ("xxh3", b"abc", 0x78AF5F94892F3950),
        ("xxh3", COUNTING[:2047], -1462360910626047142 & (1 << 64) - 1),
        ("xxh3", COUNTING[:2048], -2503433555198690048 & (1 << 64) - 1),
        ("xxh3", COUNTING[:2049], 7124680608501705883),
        ("xxh64", b"", 0xEF46DB3751D8E999),
        ("xxh64", b"ABC", 0xE66AE7354FCFEE98),
        ("xxh64", b"xxhash", 0x32DD38952C4BC720),
        # The check value of CRC-32/ISO-HDLC
        ("crc32", b"", 0),
        ("crc32", b"123456789", 0xCBF43926),
        # FIPS 180 example
        ("sha1", b"abc", 0xA9993E364706816A),
        ("sha1", b"", 0xDA39A3EE5E6B4B0D),
        # Noll's FNV test vectors
        ("fnv", b"", 0xCBF29CE484222325),
        ("fnv", b"a", 0xAF63DC4C8601EC8C),
        ("fnv", b"foobar", 0x85944171F73967E8),
    ],
)
def test_known_answers(name: str, data: bytes, expected: int) -> None:
    assert DIGESTS[name].of(data) == expected


def jhash(data: bytes, initval: int) -> int:
    rows = np.frombuffer(data, np.uint8).reshape(1, -1)
    return int(digest_kernels.jhash_rows(rows, initval)[0])


def test_jhash_of_the_driver_of_lookup3() -> None:
    assert jhash(b"Four score and seven years ago", 0) == 0x17770551
    assert jhash(b"Four score and seven years ago", 1) == 0xCD628161


def test_jhash_of_every_length_of_the_last_block() -> None:
    shortened = [
        *(0x499AE8FA, 0xB9BEF31C, 0x8EFEFDFD, 0xA56B7AAB, 0xB1946734, 0x9F31C5CE),
        *(0x0826585D, 0x55B69DEA, 0xF4688DD0, 0xE87EB146, 0xB202FB17, 0x711FE56A),
    ]
    found = [jhash(JENKINS[: len(JENKINS) - cut], 13) for cut in range(len(shortened))]
    assert found == shortened


def test_jhash_against_the_table_of_dpdk() -> None:
    table = {
        4: (0xE4CF1D42, 0x8270AC65),
        8: (0xD4CCB93C, 0x05FA6668),
        16: (0x5E84EAFC, 0x762DF861),
        32: (0x21362CFE, 0xDA088F2F),
        48: (0x2F4775AB, 0x59614CD4),
        64: (0x9FF036CC, 0x7A94F690),
    }
    for length, expected in table.items():
        data = COUNTING[:length]
        assert (jhash(data, 0), jhash(data, 0xDEADBEEF)) == expected


# --- straightforward transcriptions of the definitions, as oracles ----------------------


def signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def plain_sfh(data: bytes) -> int:
    if not data:
        return 0
    h, at = len(data), 0
    for low, high in struct.iter_unpack("<HH", data[: len(data) & ~3]):
        h = (h + low) & MASK
        h = (h << 16 ^ high << 11 ^ h) & MASK
        h = (h + (h >> 11)) & MASK
        at += 4
    left = data[at:]
    if len(left) == 3:
        h = (h + int.from_bytes(left[:2], "little")) & MASK
        h = (h ^ h << 16 ^ signed(left[2]) << 18) & MASK
        h = (h + (h >> 11)) & MASK
    elif len(left) == 2:
        h = (h + int.from_bytes(left, "little")) & MASK
        h = (h ^ h << 11) & MASK
        h = (h + (h >> 17)) & MASK
    elif len(left) == 1:
        h = (h + signed(left[0])) & MASK
        h = (h ^ h << 10) & MASK
        h = (h + (h >> 1)) & MASK
    for left_by, right_by in ((3, 5), (4, 17), (25, 6)):
        h = (h ^ h << left_by) & MASK
        h = (h + (h >> right_by)) & MASK
    return h


def rotated(x: int, by: int) -> int:
    return (x << by | x >> 32 - by) & MASK


def plain_jhash2(words: list[int], initval: int) -> int:
    s = [(0xDEADBEEF + (len(words) << 2) + initval) & MASK] * 3
    while len(words) > 3:
        s = [(x + word) & MASK for x, word in zip(s, words, strict=False)]
        words = words[3:]
        for step, by in enumerate((4, 6, 8, 16, 19, 4)):
            x, y, z = step % 3, (step + 1) % 3, (step + 2) % 3
            s[x] = (s[x] - s[z] & MASK) ^ rotated(s[z], by)
            s[z] = (s[z] + s[y]) & MASK
    if words:
        s = [(x + word) & MASK for x, word in zip(s, [*words, 0, 0], strict=False)]
        for step, by in enumerate((14, 11, 25, 16, 4, 14, 24)):
            x, y = (step + 2) % 3, (step + 1) % 3
            s[x] = (s[x] ^ s[y]) - rotated(s[y], by) & MASK
    return s[2]


def plain_fnv1a(data: bytes) -> int:
    state = 14695981039346656037
    for byte in data:
        state = (state ^ byte) * 1099511628211 % 2**64
    return state


@pytest.mark.parametrize("length", [*range(20), 253, 254, 255, 256, 4096])
def test_kernels_equal_their_plain_definitions(length: int) -> None:
    for data in (random_bytes(length), b"\xff" * length, bytes(length)):
        assert DIGESTS["sfh"].of(data) == plain_sfh(data)
        assert DIGESTS["fnv"].of(data) == plain_fnv1a(data)
        if length % 4 == 0:
            words = list(struct.unpack(f"<{length // 4}I", data))
            assert DIGESTS["jhash2"].of(data) == plain_jhash2(words, 17)


def test_wide_digests_give_their_first_64_bits() -> None:
    assert DIGESTS["sha1"].bits == 160
    assert f"{DIGESTS['sha1'].of(FOX):016x}" == hashlib.sha1(FOX).hexdigest()[:16]


# --- buffers, pages and widths ----------------------------------------------------------


@pytest.mark.parametrize("name", list(DIGESTS))
def test_pages_at_once_equal_pages_one_by_one(name: str) -> None:
    digest = DIGESTS[name]
    pages = some_pages(5)
    values = digest.of_pages(pages)
    assert values.dtype == np.uint64 and values.shape == (5,)
    assert values.tolist() == [digest.of(page) for page in pages]
    assert len(set(values.tolist())) == 5
    assert digest.of_pages(pages[:0]).shape == (0,)


@pytest.mark.parametrize("name", list(DIGESTS))
def test_any_bytes_like_is_taken(name: str) -> None:
    digest = DIGESTS[name]
    expected = digest.of(FOX)
    assert digest.of(bytearray(FOX)) == digest.of(memoryview(FOX)) == expected
    read_only = np.frombuffer(bytes(some_pages(2)), np.uint8).reshape(2, 4096)
    assert digest.of_pages(read_only).tolist() == digest.of_pages(some_pages(2)).tolist()
    with pytest.raises(TypeError):
        digest.of("a text")


@pytest.mark.parametrize("name", list(DIGESTS))
def test_truncation_keeps_the_low_bits(name: str) -> None:
    digest = DIGESTS[name]
    pages = some_pages(4)
    full = digest.of_pages(pages)
    assert int(full.max()) >> digest.width == 0
    for bits in (1, 7, 16, digest.width):
        expected = [value & (1 << bits) - 1 for value in full.tolist()]
        assert digest.of_pages(pages, bits).tolist() == expected


@pytest.mark.parametrize(("name", "bits"), [("sfh", 33), ("sfh", 0), ("sha1", 65), ("xxh3", -1)])
def test_impossible_widths_are_the_users_error(name: str, bits: int) -> None:
    width = min(64, DIGESTS[name].bits)
    with pytest.raises(UserError, match=f"'{name}'.* 1 to {width} bits, not to {bits}"):
        DIGESTS[name].of_pages(some_pages(1), bits)


@pytest.mark.parametrize(
    "pages",
    [
        np.zeros((2, 4095), np.uint8),
        np.zeros(4096, np.uint8),
        np.zeros((2, 4096), np.int8),
        np.zeros((2, 8192), np.uint8)[:, ::2],
    ],
)
def test_other_arrays_are_refused(pages: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="pages must"):
        DIGESTS["sfh"].of_pages(pages)


def test_the_table_of_digests() -> None:
    assert set(DIGESTS) == {"sfh", "mmh3", "xxh3", "xxh64", "jhash2", "crc32", "sha1", "fnv"}
    for name, digest in DIGESTS.items():
        assert digest.name == name
        assert digest.help and digest.source
        assert digest_named(name) is digest
        assert pickle.loads(pickle.dumps(digest)) is digest


def test_a_misspelt_name_gets_a_hint() -> None:
    with pytest.raises(UserError, match="no digest 'jhash'; did you mean 'jhash2'"):
        digest_named("jhash")


# --- the simulated digest ---------------------------------------------------------------


@njit_allocating
def digests_of(contents: NDArray[np.uint64], seed: np.uint64, bits: int) -> NDArray[np.uint64]:
    values = np.empty(contents.size, np.uint64)
    for index in range(contents.size):
        values[index] = simulated_digest(contents[index], seed, bits)
    return values


def simulated(contents: NDArray[np.uint64], name: str, bits: int) -> NDArray[np.uint64]:
    return digests_of(contents, np.uint64(seed_of(name)), bits)


def pairs(values: NDArray[np.uint64]) -> int:
    counts = np.unique(values, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def birthday_z(values: NDArray[np.uint64], bits: int) -> float:
    """How many standard deviations the colliding pairs are from the birthday value."""
    expected = math.comb(values.size, 2) / 2**bits
    assert expected >= 400
    return float((pairs(values) - expected) / math.sqrt(expected))


def content_ids(kind: str, count: int) -> NDArray[np.uint64]:
    """Ids as they occur: dense from 0, only high bits different, or mixed from parts."""
    dense = np.arange(count, dtype=np.uint64)
    if kind == "dense":
        return dense
    if kind == "high":
        return dense << np.uint64(40)
    return np.array([combine(np.uint64(k % 4), np.uint64(k)) for k in range(count)], np.uint64)


@pytest.mark.parametrize("kind", ["dense", "high", "mixed"])
@pytest.mark.parametrize("name", list(DIGESTS))
def test_collisions_meet_the_birthday_number(name: str, kind: str) -> None:
    assert abs(birthday_z(simulated(content_ids(kind, 8192), name, 16), 16)) <= 4


@pytest.mark.skipif(not JIT, reason="millions of contents are slow as plain Python")
@pytest.mark.parametrize("name", ["sfh", "jhash2", "crc32"])
def test_collisions_of_32_bits(name: str) -> None:
    assert abs(birthday_z(simulated(content_ids("dense", 2**21), name, 32), 32)) <= 4


@pytest.mark.parametrize("names", list(combinations(DIGESTS, 2)))
def test_functions_of_equal_width_are_independent(names: tuple[str, str]) -> None:
    """A pair that collides in both 8-bit functions is as rare as one in 16 bits."""
    first, second = (simulated(content_ids("dense", 8192), name, 8) for name in names)
    assert abs(birthday_z(first << np.uint64(8) | second, 16)) <= 4


@pytest.mark.parametrize("bits", [1, 8, 32, 63, 64])
def test_width_of_the_simulated_digest(bits: int) -> None:
    seed = np.uint64(seed_of("sfh"))
    full = int(mix64(np.uint64(5) ^ seed))
    assert int(simulated_digest(np.uint64(5), seed, bits)) == full >> 64 - bits
    assert int(simulated(content_ids("dense", 4096), "sfh", bits).max()).bit_length() == bits


def test_64_bits_never_collide() -> None:
    assert pairs(simulated(content_ids("dense", 8192), "xxh3", 64)) == 0


def test_seeds_are_stable_and_apart() -> None:
    printed = hashlib.blake2b(b"digest:sfh", digest_size=8).hexdigest()
    assert f"{seed_of('sfh'):016x}" == printed
    assert len({seed_of(name) for name in DIGESTS}) == len(DIGESTS)


# --- with and without the compiler ------------------------------------------------------

REPORT = """
import json, numpy as np
from sharesim.content.digests import DIGESTS, seed_of, simulated_digest
from sharesim.content.mixing import combine, mix64
from sharesim.kernel import JIT
data = [np.random.default_rng(n).bytes(n) for n in (*range(16), 255, 4096)]
ids = [np.uint64(n) for n in (0, 1, 2**63, 2**64 - 1)]
print(json.dumps({
    "jit": JIT,
    "digests": {name: [d.of(each) for each in data] for name, d in DIGESTS.items()},
    "mix64": [int(mix64(x)) for x in ids],
    "combine": [int(combine(x, y)) for x in ids for y in ids],
    "simulated": [int(simulated_digest(x, np.uint64(seed_of("sfh")), b))
                  for x in ids for b in (1, 32, 64)],
}))
"""


def report(disable_jit: str) -> dict[str, object]:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": disable_jit}
    command = [sys.executable, "-W", "error::RuntimeWarning", "-c", REPORT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout)
    return result


def test_plain_python_gives_the_same_and_does_not_warn() -> None:
    compiled, plain = report("0"), report("1")
    assert (compiled.pop("jit"), plain.pop("jit")) == (True, False)
    assert compiled == plain
