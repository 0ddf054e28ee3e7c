"""mix64, combine and stable_hash64 against published numbers and their own laws."""

import numpy as np
import pytest

from sharesim.content.mixing import combine, mix64, stable_hash64
from sharesim.kernel import JIT

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15


def mixed(x: int) -> int:
    return int(mix64(np.uint64(x)))


def combined(a: int, b: int) -> int:
    return int(combine(np.uint64(a), np.uint64(b)))


def unmixed(z: int) -> int:
    """The inverse of mix64, from its definition."""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        unshifted = z
        for _ in range(64 // shift):
            unshifted = z ^ (unshifted >> shift)
        z = unshifted * pow(factor, -1, 1 << 64) & MASK
    return z - GAMMA & MASK


@pytest.mark.parametrize(
    ("seed", "outputs"),
    [
        (0, [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]),
        (
            1234567,
            [
                6457827717110365317,
                3203168211198807973,
                9817491932198370423,
                4593380528125082431,
                16408922859458223821,
            ],
        ),
    ],
)
def test_mix64_is_the_published_splitmix64(seed: int, outputs: list[int]) -> None:
    states = [seed + step * GAMMA & MASK for step in range(len(outputs))]
    assert [mixed(state) for state in states] == outputs


def test_mix64_can_be_inverted() -> None:
    numbers = [0, 1, MASK, 1 << 63, *(k * 0xD1342543DE82EF95 & MASK for k in range(200))]
    assert [unmixed(mixed(number)) for number in numbers] == numbers


def test_each_bit_flips_half_of_the_output() -> None:
    samples = range(64)
    for bit in range(64):
        flips = sum((mixed(x) ^ mixed(x ^ 1 << bit)).bit_count() for x in samples)
        # 4096 coin throws: six standard deviations are 6 * 32
        assert abs(flips - 32 * len(samples)) <= 192


def test_combine_tells_order_and_small_numbers_apart() -> None:
    side = 256 if JIT else 64
    values = {combined(a, b) for a in range(side) for b in range(side)}
    assert len(values) == side * side


def test_combine_is_a_bijection_of_either_side() -> None:
    for number in (0, 1, 12345, MASK):
        other = unmixed(unmixed(combined(7, number)) ^ number)
        assert other == 7
        assert unmixed(combined(7, number)) ^ mixed(7) == number


def test_stable_hash64_is_what_b2sum_prints() -> None:
    assert stable_hash64("sharesim") == 0x686A0D0396F55AA9
    assert stable_hash64("") == 0xE4A6A0577479B2B4
