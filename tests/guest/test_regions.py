"""Images of numbered contents, two regions of accesses, and what a working set has in a cache."""

import numpy as np
import pytest

from sharesim import VM, Costs, Host, Numbered, RandomAccess, Scenario, Sharing, TwoRegions
from sharesim.engine import Engine
from sharesim.errors import UserError
from sharesim.guest.accesses import draw_at, pick_page
from sharesim.guest.layout import image_pages, lay_out
from sharesim.resolve import resolve


def contents(vm: VM) -> np.ndarray:
    return lay_out(vm, "4 KiB").contents


def test_equal_numbers_are_equal_contents_everywhere() -> None:
    one = VM(name="one", memory=10, image=Numbered(runs=((0, 3, 5, 1), (6, 2, 0, 0))))
    other = VM(name="other", memory=4, image=Numbered(runs=((1, 3, 7, 0),)))
    mine, theirs = contents(one), contents(other)
    assert mine[2] == theirs[1] == theirs[2] == theirs[3]
    assert len(np.unique(mine[:3])) == 3 and (mine[:3] > 0).all()
    assert (mine[6:8] == 0).all()
    assert (
        lay_out(one, "4 KiB").populated.tolist()
        == [True] * 3 + [False] * 3 + [True] * 2 + [False] * 2
    )
    assert image_pages(one.image) == 8


def test_of_two_runs_over_a_page_the_later_counts() -> None:
    over = VM(name="a", memory=4, image=Numbered(runs=((0, 4, 1, 1), (2, 1, 1, 0))))
    assert contents(over)[2] == contents(over)[0]


def engine(*vms: VM, **override: int) -> Engine:
    host = Host(cpus=len(vms), costs=Costs(override=override))
    scenario = Scenario(duration="1 ms", host=host, vms=vms, sharing=Sharing(design="none"))
    return Engine(resolve(scenario))


def reading(**changes: object) -> VM:
    fields = {"region_start": 10, "region": 4, "other_start": 50, "other": 20, "share": 0.25}
    workload = TwoRegions(op_time=10, **(fields | changes))
    return VM(name="a", memory=100, image=Numbered(runs=((0, 100, 1, 1),)), workload=workload)


def visited(vm: VM, accesses: int = 4_000) -> np.ndarray:
    """How often each page is gone to."""
    made = engine(vm)
    phase = made.work.phases[0]
    counts = np.zeros(vm.memory or 0, np.int64)
    for index in range(accesses):
        draw = np.uint64(draw_at(np.uint64(phase["access_key"]), index))
        counts[pick_page(made.work, phase, index, draw)] += 1
    return counts


def test_accesses_go_to_two_regions_that_need_not_touch() -> None:
    counts = visited(reading())
    assert counts[10:14].min() > 0 and counts[50:70].min() > 0
    assert counts[10:14].sum() + counts[50:70].sum() == 4_000
    assert counts[10:14].sum() / 4_000 == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize(("share", "pages"), [(0, slice(50, 70)), (1, slice(10, 14))])
def test_one_of_two_regions_alone(share: float, pages: slice) -> None:
    assert visited(reading(share=share), 500)[pages].sum() == 500


def test_regions_may_overlap() -> None:
    counts = visited(reading(other_start=0, other=100, share=0.5))
    assert counts.min() > 0 and counts[10:14].mean() > 10 * counts[14:].mean()


def test_the_other_region_lies_within_the_guest() -> None:
    with pytest.raises(UserError, match="other: found 80 KiB from 360 KiB on; the VM has"):
        engine(reading(other_start=90))


@pytest.mark.parametrize(
    ("span", "cached"),
    [
        (64, 64),  # fits
        (100, 100),
        (200, 50),  # half of it is there, and half of that is gone to again before it is replaced
        (10_000, 1),
    ],
)
def test_what_a_working_set_has_in_the_cache(span: int, cached: int) -> None:
    vm = VM(name="a", memory=10_000, workload=RandomAccess(region=span))
    assert engine(vm, cache_pages=100).work.phases["cached"][0] == cached


def test_both_regions_are_the_working_set() -> None:
    assert engine(reading(), cache_pages=100).work.phases["cached"][0] == 24
    assert engine(reading(), cache_pages=12).work.phases["cached"][0] == 6
