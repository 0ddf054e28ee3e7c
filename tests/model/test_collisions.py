"""Compare-by-hash through the engine: wrong merges are as many as the birthday law says."""

import math

import pytest

from sharesim.results.run import Run
from sharesim.simulate import simulate
from sharesim.spec.images import Segment, Segments
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Host, Scenario, Sharing

PAGES = 20_000
BITS = 18


def trusting_run(digest: str, *, zero_pages: bool = False, seed_name: str = "vm") -> Run:
    """A guest of pages that all differ, scanned twice by a policy that trusts short digests."""
    rate = 100_000
    scenario = Scenario(
        duration=f"{2.2 * PAGES / rate:.3f} s",
        host=Host(cpus=1),
        events=True,
        vms=[VM(name=seed_name, image=Segments(segments=(Segment(size=PAGES),)))],
        sharing=Sharing(
            policy=Cbps(
                scan_rate=rate, verify=False, digest=digest, digest_bits=BITS,
                zero_pages=zero_pages,
            )
        ),
    )  # fmt: skip
    return simulate(scenario)


def occupancy(balls: int, cells: int) -> tuple[float, float]:
    """Mean and standard deviation of the number of cells hit by that many balls (Feller I)."""
    once = math.exp(balls * math.log1p(-1 / cells))
    twice = math.exp(balls * math.log1p(-2 / cells))
    empty = cells * once
    variance = cells * (cells - 1) * twice + empty - empty * empty
    return cells - empty, math.sqrt(variance)


def corrupted(run: Run) -> set[int]:
    """The pages that were merged with other contents."""
    events = run.events
    return set(events.loc[events.kind == "merge", "page"].tolist())


@pytest.mark.parametrize("digest", ["sfh", "mmh3", "xxh3", "jhash2", "crc32", "sha1", "fnv"])
def test_wrong_merges_follow_the_birthday_law(digest: str) -> None:
    assert PAGES * (PAGES - 1) / 2 / 2**BITS > 400  # pairs expected
    counters = trusting_run(digest).summary["counters"]
    hit, spread = occupancy(PAGES, 2**BITS)
    # The first page of each digest stays as it is; every other one is merged with it.
    expected = PAGES - hit
    assert abs(counters["wrong_merges"] - expected) <= 4 * spread
    assert counters["corrupted_pages"] == counters["wrong_merges"]
    assert counters["false_matches"] == 0


def test_functions_of_one_width_collide_in_different_places() -> None:
    sets = [corrupted(trusting_run(digest)) for digest in ("sfh", "jhash2", "crc32")]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        by_chance = len(sets[one]) * len(sets[other]) / PAGES
        assert len(sets[one] & sets[other]) <= by_chance + 5 * math.sqrt(by_chance)


def test_verifying_finds_the_same_collisions_and_merges_none() -> None:
    scenario = Scenario(
        duration="250 ms",
        host=Host(cpus=1),
        vms=[VM(name="vm", image=Segments(segments=(Segment(size=PAGES),)))],
        sharing=Sharing(policy=Cbps(scan_rate=100_000, digest_bits=BITS)),
    )
    summary = simulate(scenario).summary
    assert summary["counters"]["merges"] == summary["counters"]["corrupted_pages"] == 0
    assert summary["scanner"]["pages_compared"] > 400


def test_pages_that_look_like_the_zero_page_become_zero_and_are_counted() -> None:
    bits = 6
    scenario = Scenario(
        duration="200 ms",
        host=Host(cpus=1),
        check=True,
        vms=[VM(name="vm", image=Segments(segments=(Segment(size=2_000),)))],
        sharing=Sharing(policy=Cbps(scan_rate=100_000, verify=False, digest_bits=bits)),
    )
    summary = simulate(scenario).summary
    # One pass: every page but the first of each digest other than the zero page's is corrupted.
    assert summary["counters"]["wrong_merges"] == 2_000 - (2**bits - 1)
    zero = summary["memory"]["saved_zero_pages"] + 1
    assert abs(zero - 2_000 / 2**bits) <= 4 * math.sqrt(2_000 / 2**bits)
