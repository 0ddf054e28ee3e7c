"""KSM's reproductions, small: delays, what XLH measured, a host like Instagram's."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from sharesim.reproductions.ksm_advisor import Advised
from sharesim.reproductions.ksm_delays import PAIR, Delays, delays, pair_density, places
from sharesim.reproductions.ksm_instagram import (
    CHAINS,
    NOMINAL_SCAN_S,
    SHARED,
    TRACKED,
    UNSHARED,
    WORKERS,
    Instagram,
    steady,
)
from sharesim.reproductions.ksm_smart_scan import SmartScan, skipped_by_rule
from sharesim.reproductions.ksm_statistics import Statistics
from sharesim.reproductions.ksm_xlh import GUEST_PAGES, LIFETIME_S, Xlh, building_guests, decay
from sharesim.results.run import Run
from sharesim.results.style import figure_bytes
from sharesim.simulate import simulate
from sharesim.spec.scenario import Scenario
from sharesim.study import Row, Study

PNG = b"\x89PNG"


def simulated(study: Study) -> dict[str, Run]:
    return {name: simulate(one) for name, one in study.runs().items()}


def missed(rows: list[Row]) -> list[str]:
    return [row.figure for row in rows if row.verdict == "miss"]


# Delays


@pytest.fixture(scope="module")
def delayed() -> tuple[Delays, dict[str, Run]]:
    study = Delays(pages=20_000, copies=100)
    return study, simulated(study)


def test_delays_follow_the_law(delayed: tuple[Delays, dict[str, Run]]) -> None:
    study, runs = delayed
    rows = study.rows(runs)
    assert missed(rows) == []
    assert len(rows) == 13 and all(row.verdict == "pass" for row in rows)
    assert study.notes(runs)
    assert figure_bytes(study.picture(runs, rows)).startswith(PNG)


def test_the_order_of_tests_decides_about_hits_only(
    delayed: tuple[Delays, dict[str, Run]],
) -> None:
    _, runs = delayed
    now, before = runs["now"], runs["before-6.11"]
    np.testing.assert_array_equal(delays(now, "pair", 100), delays(before, "pair", 100))
    later = delays(now, "hit", 100) - delays(before, "hit", 100)
    assert later == pytest.approx(1, abs=0.1)


def test_the_law_of_pairs_is_what_drawing_phases_gives() -> None:
    draw = np.random.default_rng(1)
    scanner, *pages = draw.random((3, 400_000))
    early, late = np.minimum(*pages), np.maximum(*pages)
    visited = np.where(scanner < early, 1, 2)  # scans until both had their second visit
    waits = visited + late - scanner
    assert waits.mean() == pytest.approx(PAIR.mean, abs=0.003)
    assert waits.std() == pytest.approx(PAIR.spread, abs=0.003)
    assert waits.min() >= PAIR.least and waits.max() <= PAIR.most
    counts, edges = np.histogram(waits, 20, (1, 3), density=True)
    middles = (edges[1:] + edges[:-1]) / 2
    np.testing.assert_allclose(counts, pair_density(middles), atol=0.03)


def test_places_are_all_different_and_the_same_each_time() -> None:
    place = places(1_000, 50, 10**9)
    assert len(np.unique(place.pages)) == 150
    np.testing.assert_array_equal(place.times, places(1_000, 50, 10**9).times)
    assert (place.times[:, 0] < place.times[:, 1]).all()


# XLH


@pytest.fixture(scope="module")
def xlh() -> tuple[Xlh, dict[str, Run]]:
    study = Xlh(scale=32)
    return study, simulated(study)


def test_one_cost_a_page_gives_all_shares_of_the_cpu(xlh: tuple[Xlh, dict[str, Run]]) -> None:
    study, runs = xlh
    rows = study.rows(runs)
    assert [row.verdict for row in rows[:3]] == ["pass"] * 3
    assert study.notes(runs)
    assert figure_bytes(study.picture(runs, rows)).startswith(PNG)


def test_trees_decay_by_writes_and_only_by_writes(xlh: tuple[Xlh, dict[str, Run]]) -> None:
    _, runs = xlh
    quiet = decay(simulate(building_guests(20, 0.0, 32)))
    assert quiet.changed == 0 and quiet.reachable == 100
    assert quiet.pages > GUEST_PAGES / 32
    some, more = decay(runs["decay-20-25"]), decay(runs["decay-20-75"])
    assert 0 < some.changed < more.changed
    assert some.reachable < 100 - some.changed  # one that changed misleads others
    assert more.reachable < 80


def test_the_mean_lifetime_is_the_one_with_most_of_them_in_the_published_range() -> None:
    def within(mean: float) -> float:
        return math.exp(-30 / mean) - math.exp(-300 / mean)

    assert within(LIFETIME_S) > max(within(0.99 * LIFETIME_S), within(1.01 * LIFETIME_S))


# A host like Instagram's


@pytest.fixture(scope="module")
def host() -> Instagram:
    return Instagram(scale=CHAINS, ramp_s=100)


@pytest.fixture(scope="module")
def statistics(host: Instagram) -> tuple[Statistics, dict[str, Run]]:
    study = Statistics(host)
    return study, simulated(study)


def test_the_host_has_the_published_pages(host: Instagram) -> None:
    scenario = host.scenario(host.policy(), 600)
    workers = [vm for vm in scenario.vms if vm.name.startswith("worker")]
    assert len(workers) == WORKERS
    segments = workers[0].image.segments  # type: ignore[attr-defined]
    own = [segment.size for segment in segments if segment.shared_as is None]
    assert own[-1] * WORKERS * host.scale == pytest.approx(UNSHARED, rel=0.01)
    common = [segment.size for segment in segments if segment.shared_as == "program"]
    assert common[0] * host.scale == pytest.approx(SHARED, rel=0.03)
    assert NOMINAL_SCAN_S == 131
    passing = [vm for vm in scenario.vms if vm.name.startswith("passing")]
    assert [vm.start for vm in passing] == [50_000_000_000 * at for at in range(12)]


def test_counters_come_out_as_published(
    statistics: tuple[Statistics, dict[str, Run]],
) -> None:
    study, runs = statistics
    rows = study.rows(runs)
    assert missed(rows) == []
    assert sum(row.verdict == "pass" for row in rows) == 7
    assert study.notes(runs)


def test_smart_scan_skips_as_many_pages_as_its_rule_says(host: Instagram) -> None:
    all_old = replace(host, old=1.0, scale=CHAINS)
    run = simulate(all_old.scenario(all_old.policy(), 2_400, sample_s=50))
    found = steady(run, 1_200)
    assert found.skipped == pytest.approx(skipped_by_rule(1.0), rel=0.1)
    assert found.per_scan == pytest.approx((1 - found.skipped) * TRACKED / CHAINS, rel=0.05)


def renamed(runs: Mapping[str, Scenario], run: Run) -> dict[str, Run]:
    return dict.fromkeys(runs, run)


def test_tables_of_smart_scan_and_advisor_can_be_made(
    statistics: tuple[Statistics, dict[str, Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From runs that are none of theirs: what comes out of their own takes longer to tell."""
    run = statistics[1]["instagram"]
    for module in ("ksm_smart_scan", "ksm_advisor"):
        for name in ("SETTLED_S", "SHORT_SETTLED_S", "CHEAP_SETTLED_S"):
            place = f"sharesim.reproductions.{module}.{name}"
            monkeypatch.setattr(place, 1_000, raising=False)
    for study in (SmartScan(), Advised()):
        runs = renamed(study.runs(), run)
        rows = study.rows(runs)
        assert len(rows) == 7 and study.notes(runs)
        figure = study.picture(runs, rows)
        assert figure is None or figure_bytes(figure).startswith(PNG)
