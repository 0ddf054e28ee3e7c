"""Compare-by-hash through the engine: wrong merges are as many as the birthday law says."""

import math

import pytest

from sharesim.content.birthday import Birthday
from sharesim.reproductions.collisions import LEAST_PAIRS, SIGMAS, merged_pages, unlike_pages
from sharesim.simulate import simulate

PAGES = 20_000
BITS = 18
LAW = Birthday(PAGES, BITS)


@pytest.mark.parametrize("digest", ["sfh", "mmh3", "xxh3", "jhash2", "crc32", "sha1", "fnv"])
def test_wrong_merges_follow_the_birthday_law(digest: str) -> None:
    assert LAW.pairs > LEAST_PAIRS
    counters = simulate(unlike_pages(PAGES, bits=BITS, digest=digest)).summary["counters"]
    # The first page of each digest stays as it is; every other one is merged with it.
    assert abs(counters["wrong_merges"] - LAW.repeats) <= SIGMAS * LAW.repeats_spread
    assert counters["corrupted_pages"] == counters["wrong_merges"]
    assert counters["false_matches"] == 0


def test_a_second_pass_corrupts_no_more() -> None:
    once, twice = (
        simulate(unlike_pages(PAGES, bits=BITS, passes=passes)).summary["counters"]
        for passes in (1, 2)
    )
    assert once["wrong_merges"] == twice["wrong_merges"] > 0


def test_functions_of_one_width_collide_in_different_places() -> None:
    sets = [
        merged_pages(simulate(unlike_pages(PAGES, bits=BITS, digest=digest, events=True)))
        for digest in ("sfh", "jhash2", "crc32")
    ]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        by_chance = len(sets[one]) * len(sets[other]) / PAGES
        assert len(sets[one] & sets[other]) <= by_chance + 5 * math.sqrt(by_chance)


def test_verifying_finds_the_same_collisions_and_merges_none() -> None:
    summary = simulate(unlike_pages(PAGES, bits=BITS, verify=True)).summary
    assert summary["counters"]["merges"] == summary["counters"]["corrupted_pages"] == 0
    assert summary["scanner"]["pages_compared"] > 400


def test_pages_that_look_like_the_zero_page_become_zero_and_are_counted() -> None:
    bits = 6
    summary = simulate(unlike_pages(2_000, bits=bits, zero_pages=True, check=True)).summary
    # One pass: every page but the first of each digest other than the zero page's is corrupted.
    assert summary["counters"]["wrong_merges"] == 2_000 - (2**bits - 1)
    zero = summary["memory"]["saved_zero_pages"] + 1
    assert abs(zero - 2_000 / 2**bits) <= 4 * math.sqrt(2_000 / 2**bits)
