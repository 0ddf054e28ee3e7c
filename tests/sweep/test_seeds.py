"""Seeds of replicates: a function of master seed and replicate, and of nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharesim.sweep.seeds import replicate_seed

SEEDS = st.integers(0, (1 << 63) - 1)


def test_the_values_are_for_good() -> None:
    """Another value would make every stored sweep another one."""
    seeds = [replicate_seed(1, number) for number in (1, 2, 3)]
    assert seeds == [1, 7764949442709860949, 8789938331783242616]


@given(SEEDS)
def test_the_first_replicate_is_the_plain_run(master: int) -> None:
    assert replicate_seed(master, 1) == master


@given(SEEDS)
def test_replicates_differ(master: int) -> None:
    seeds = [replicate_seed(master, number) for number in range(1, 33)]
    assert len(set(seeds)) == 32
    assert all(0 <= one < 1 << 63 for one in seeds)


def test_master_seeds_share_no_replicates() -> None:
    seeds = {replicate_seed(master, number) for master in range(50) for number in range(2, 52)}
    assert len(seeds) == 50 * 50


def test_replicates_count_from_one() -> None:
    with pytest.raises(ValueError, match="count from 1; found 0"):
        replicate_seed(1, 0)
