"""The arithmetic of a calibration, on made-up measurements: nothing here depends on the machine."""

import math
from pathlib import Path

import numpy as np
import pytest

from sharesim.content.mixing import mix64
from sharesim.live.calibrate_figures import Figures, Measured, quartile_range
from sharesim.live.calibrate_fit import (
    Scan,
    Stretch,
    fit,
    non_negative,
    scan_counts,
    stable_search,
    unstable_search,
    worst_residual,
)
from sharesim.live.calibrate_flushes import Beside, flush_costs
from sharesim.live.calibrate_kernels import fill_with_ids
from sharesim.live.calibrate_profile import (
    BASE,
    Estimate,
    further,
    not_measured,
    primitives,
    toml_text,
)
from sharesim.live.calibrate_scans import (
    AT_ONE_GO,
    FULL_SIZES,
    QUICK_SIZES,
    ZERO_HOLE,
    Sizes,
    dups_looked_at,
    run_experiments,
)
from sharesim.live.calibrate_trees import Searches, Tree
from sharesim.spec.costs import PRIMITIVES, find_profile, load_profile

WARM_PAGES = 800.0


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint64)


def made_up(**values: float) -> Figures:
    return {key: Measured((value,), "made up") for key, value in values.items()}


# Samples


def test_median_and_spread() -> None:
    figure = Measured((5.0, 1.0, 3.0, 2.0, 4.0), "")
    assert figure.value == 3
    assert quartile_range(figure.samples) == 2  # 4 - 2
    assert figure.spread == pytest.approx(2 / 3)
    assert Measured((7.0,), "").spread == 0
    assert quartile_range([1.0, 2.0]) == pytest.approx(0.5)  # 1.75 - 1.25


# What scans consist of


def test_a_scan_is_its_steps_its_wake_ups_and_its_start() -> None:
    merged = Stretch(4, {"ksm_merged_visit": 4, "ksm_dup": 7})
    counts = scan_counts([merged, Stretch(1, {"ksm_visit": 1})], batch=2, warm_pages=1.0)
    fade = math.exp(-1)
    assert counts == {
        "ksm_wakeup": 3,  # 5 pages, 2 at a time
        "ksm_scan_start": 1,
        "ksm_merged_visit": 4,
        "ksm_merged_visit_cold": pytest.approx(2 * (1 + fade)),
        "ksm_dup": 7,  # is not dearer in cold caches
        "ksm_visit": 1,
        "ksm_visit_cold": 1,  # the first of its batch
    }


def test_a_scan_that_fills_its_last_batch_takes_one_more() -> None:
    pages = Stretch(4, {"ksm_visit": 4})
    assert scan_counts([pages], 2, WARM_PAGES)["ksm_wakeup"] == 3
    assert scan_counts([pages], 5, WARM_PAGES)["ksm_wakeup"] == 1
    assert scan_counts([], 5, WARM_PAGES) == {"ksm_wakeup": 1, "ksm_scan_start": 1}


def test_searches_of_large_trees_are_dearer() -> None:
    searches = Searches(np.array([3, 9, 11, 18]), np.array([0, 2**9, 2**11, 2**18]))
    assert stable_search(searches) == {"ksm_stable_compare": 41, "ksm_stable_depth": 2 + 9}
    assert unstable_search(searches)["ksm_unstable_far"] == 3


def test_searches_of_small_trees() -> None:
    tree = Tree(3)
    compared, pages = tree.insert(ids(1, 2))
    assert (compared.tolist(), pages.tolist()) == ([0, 1], [0, 1])
    assert tree.insert(ids(3)).compared[0] in (1, 2)
    compared, pages = tree.search(ids(1, 2, 3))
    assert sorted(compared.tolist()) == [1, 2, 2]  # balanced, whatever the order
    assert pages.tolist() == [3, 3, 3]
    # Content 1 lies between the others, so it is the root; its successor, 2, takes its place.
    compared, pages = tree.erase(ids(1, 2, 3))
    assert (compared.tolist(), pages.tolist()) == ([1, 1, 1], [3, 2, 1])
    assert tree.search(ids(1)).compared.tolist() == [0]


def test_searches_of_large_trees_are_near_those_of_a_perfect_tree() -> None:
    tree = Tree(1023)
    tree.insert(np.arange(1, 1024, dtype=np.uint64))
    found = tree.search(np.arange(1, 1024, dtype=np.uint64)).compared.mean()
    perfect = sum(level * 2 ** (level - 1) for level in range(1, 11)) / 1023
    assert perfect <= found < 1.1 * perfect


def test_dups_that_are_looked_at() -> None:
    # Three nodes of four sharers. The first two nodes make the chain, without a walk before the
    # second is full. The third pair walks two full dups three times; the other two copies of the
    # second and third node look at the one in front.
    assert dups_looked_at(3, 4) == 3 * 2 + 2 * 2
    assert dups_looked_at(1, 4) == 0


# Fitting


def test_two_scans_tell_two_costs() -> None:
    scans = [
        Scan("two visits", {"ksm_wakeup": 1, "ksm_visit": 2}, (16.0, 16.0, 160.0)),
        Scan("ten visits", {"ksm_wakeup": 1, "ksm_visit": 10}, (40.0, 40.0, 400.0)),
    ]
    figures = fit(scans, {})  # nothing is known of other machines
    assert figures["ksm_visit"].samples == pytest.approx((16.5, 16.5, 3.0))  # 88 and 220, 16 and 40
    assert figures["ksm_wakeup"].value == pytest.approx(55.0)


def test_what_one_scan_cannot_tell_apart_is_as_on_other_machines() -> None:
    scans = [Scan("both", {"ksm_visit": 10, "ksm_merge_pair": 10}, (90.0,))]
    figures = fit(scans, {"ksm_visit": 1.0, "ksm_merge_pair": 2.0})
    assert figures["ksm_visit"].value == pytest.approx(3.0)
    assert figures["ksm_merge_pair"].value == pytest.approx(6.0)


def test_what_makes_no_difference_is_taken_as_given() -> None:
    scans = [Scan("visits", {"ksm_visit": 100, "ksm_dup": 1}, (10_010.0,))]
    figures = fit(scans, {"ksm_visit": 50.0, "ksm_dup": 10.0})
    assert figures.keys() == {"ksm_visit"}
    assert figures["ksm_visit"].value == pytest.approx(100.0)


def test_no_cost_is_negative() -> None:
    table = np.array([[1.0, 0.0], [1.0, 1.0]])
    assert non_negative(table, np.array([2.0, 3.0])) == pytest.approx([2.0, 1.0])
    assert non_negative(table, np.array([2.0, 1.0])) == pytest.approx([1.5, 0.0])  # not 2 and -1
    assert non_negative(table, np.array([-1.0, -1.0])) == pytest.approx([0.0, 0.0])


def test_the_worst_scan_is_named() -> None:
    scans = [Scan("good", {"a": 2}, (10.0,)), Scan("bad", {"a": 1}, (10.0, 10.0, 99.0))]
    assert worst_residual(scans, {"a": 5.0}) == ("bad", -0.5)


class ModelRig:
    """Stands in for the kernel: a scan takes just what given costs say."""

    def __init__(self, costs: dict[str, float]) -> None:
        self.costs = costs
        self.scans: dict[str, Scan] = {}

    def fresh(self, pages: int, **settings: int) -> None:
        self.pages = pages

    def fill(self, first: int, contents: np.ndarray) -> None:
        assert 0 <= first <= first + contents.size <= self.pages

    def scan(self, title: str, *stretches: Stretch, batch: int = AT_ONE_GO) -> None:
        counts = scan_counts(stretches, batch, WARM_PAGES)
        took = sum(count * self.costs[key] for key, count in counts.items())
        if title:
            self.scans[title] = Scan(title, counts, (took, took))


@pytest.mark.parametrize("sizes", [QUICK_SIZES, FULL_SIZES], ids=["quick", "full"])
def test_the_experiments_tell_all_costs(sizes: Sizes) -> None:
    """From what ksmd with known costs would take, the fit finds these costs again."""
    base = {key: float(ns) for key, ns in load_profile(BASE).table().items()}
    ksm_costs = [key for key in base if key.startswith("ksm_")]
    truth = {key: base[key] * (1.3, 1.5, 1.9)[at % 3] for at, key in enumerate(ksm_costs)}
    rig = ModelRig({**truth, ZERO_HOLE: 20.0})
    assert len(list(run_experiments(rig, sizes))) > 5
    figures = fit(list(rig.scans.values()), base)
    # Left to the base: 1,000 pages in batches have hardly a level of depth, 4,000 none beyond 2^15.
    few = {"ksm_unstable_far", "ksm_unstable_depth_cold"} if not sizes.large else set()
    assert figures.keys() == rig.costs.keys() - few - {"ksm_warm_pages"}
    close = 0.1 if few else 0.06  # what is left to the base is in the others' way
    for key, figure in figures.items():
        small = key in ("ksm_unstable_depth", "ksm_stable_depth") or key.endswith("_cold")
        assert figure.value == pytest.approx(rig.costs[key], rel=0.2 if small else close), key


# Flushes


def test_what_a_flush_costs() -> None:
    quiet = Beside(acts=10, cpu_ns=0.0, flushes=0, work_ns=1_000.0)
    busy = Beside(acts=100, cpu_ns=2_500.0, flushes=50, work_ns=1_800.0)
    assert flush_costs(5.0, quiet, busy) == (40.0, 16.0)  # (2500 - 500) / 50, 800 / 50


def test_flushes_that_nobody_counts_are_two_for_each_pair() -> None:
    quiet = Beside(acts=10, cpu_ns=0.0, flushes=0, work_ns=1_000.0)
    busy = Beside(acts=100, cpu_ns=2_500.0, flushes=0, work_ns=900.0)
    assert flush_costs(5.0, quiet, busy) == (10.0, 0.0)


# From figures to primitives

TABLE = dict.fromkeys(PRIMITIVES, 10)


def test_a_fault_less_its_parts() -> None:
    figures = made_up(first_read=500, first_write=1_300, fork_break=2_200, copy_cold=600)
    found = primitives(figures, TABLE)
    assert found["native_fault"].ns == 500
    assert found["native_fault"].mark == "measured"
    assert found["zero_fill_cold"].ns == 1_300 - 500 - 10 - 10
    assert found["zero_fill_cold"].mark == "derived"
    assert found["violation_handler"].ns == 2_200 - 500 - 10 - 10 - 600


def test_a_break_of_a_merged_page_counts_more_than_one_after_fork() -> None:
    figures = made_up(ksm_break=2_100, fork_break=9_999)
    assert primitives(figures, TABLE)["violation_handler"].ns == 2_100 - 4 * 10


def test_a_merge_less_what_the_simulator_charges_by_itself() -> None:
    figures = made_up(
        ksm_merge_stable=470, ksm_merge_pair=1_100, ksm_merge_zero=743, unmap=97, ksm_unmap=30,
        compare_equal_hot=36, zero_check_hot=130,
    )  # fmt: skip
    table = {**TABLE, "rmap_step": 65, "entry_protect": 50, "entry_update": 50}
    found = primitives(figures, table)
    assert found["entry_zap"].ns == 30
    assert found["frame_free"].ns == 67
    remap = 65 + 50 + 65 + 50 + 67
    assert found["ksm_merge_stable"].ns == 470 - remap - 36
    assert found["ksm_merge_pair"].ns == 1_100 - remap - 36 - 65 - 50
    assert found["ksm_merge_zero"].ns == 743 - remap - 130


def test_parts_that_come_to_more_than_the_whole_leave_nothing() -> None:
    found = primitives(made_up(ksm_break=30), TABLE)
    assert found["violation_handler"].ns == 0
    assert found["violation_handler"].source.endswith("which come to more")


def test_a_cold_page_is_never_cheaper_than_a_hot_one() -> None:
    found = primitives(made_up(digest_fnv_cold=4_600, digest_fnv_hot=4_700), TABLE)
    assert found["digest_fnv_cold"].ns == 4_700
    assert "raised" in found["digest_fnv_cold"].source


def test_wholes_are_kept_beside_the_primitives() -> None:
    figures = made_up(first_read=500, first_write=1_300, syscall=80, ksm_merge_pair=1_100)
    also = further(figures, primitives(figures, TABLE))
    assert also.keys() == {"first_write", "syscall", "ksm_merge_pair"}


def test_every_primitive_is_measured_or_has_a_reason() -> None:
    found = primitives(made_up(first_read=500), TABLE)
    missing = not_measured(found, {"ksm_": "to measure ksmd takes root"})
    listed = [key for keys in missing.values() for key in keys]
    assert sorted([*found, *listed]) == sorted(PRIMITIVES)
    assert "ksm_visit" in missing["to measure ksmd takes root"]
    assert "exit" in missing["between processes there is nothing of the kind"]


def test_the_file_is_a_profile_that_costs_takes(tmp_path: Path) -> None:
    found = {"copy_cold": Estimate(620, "measured", 'memcpy, "random" pages \\ of ours', 0.1)}
    also = made_up(syscall=80)
    text = toml_text("host", "Some CPU", found, also, {"no reason": ["exit", "event"]})
    place = tmp_path / "host.toml"
    place.write_text(text)
    profile = find_profile(str(place))
    assert (profile.name, profile.description) == ("host", "Some CPU")
    assert profile.ns("copy_cold") == 620
    assert profile.figures["copy_cold"].source == 'memcpy, "random" pages \\ of ours'
    assert profile.figures["ksm_visit"] == load_profile(BASE).figures["ksm_visit"]
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert any("syscall: 80 ns" in line for line in comments)
    assert any("exit, event" in line for line in comments)


def test_pages_are_filled_in_the_order_of_their_contents() -> None:
    words = np.ones((3, 512), np.uint64)
    fill_with_ids(words, 1, ids(7, 0))
    assert words[0].tobytes() == np.ones(512, np.uint64).tobytes()
    assert words[1].tobytes() == int(mix64(np.uint64(7))).to_bytes(8, "big") * 512
    assert words[2].tobytes() == bytes(4096)
