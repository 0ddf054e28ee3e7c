"""Each workload touches what it says, as often as it says, and leaves what it says."""

import numpy as np
import pytest

from sharesim.machine import tables as t
from sharesim.spec.images import Segment, Segments
from sharesim.spec.scenario import VM, Host, Scenario
from sharesim.spec.workloads import (
    CpuBound,
    FileReader,
    HotSet,
    Idle,
    PageTableHeavy,
    RandomAccess,
    Sequential,
    ZipfAccess,
)
from tests.guest.machines import HOLE, accesses, alone, contents, finished


def counts_of(pages: np.ndarray, span: int) -> np.ndarray:
    """How often each of the pages was accessed."""
    return np.bincount(pages, minlength=span)


def test_random_access_is_uniform_over_its_region_and_nowhere_else() -> None:
    work = RandomAccess(op_time="10 us", region=500, region_start=300)
    _, pages, _ = accesses(finished(alone(work, duration="500 ms")))
    assert len(pages) == pytest.approx(50_000, abs=2)
    assert pages.min() >= 300 and pages.max() < 800
    counts = counts_of(pages - 300, 500)
    chi_square = ((counts - counts.mean()) ** 2).sum() / counts.mean()
    assert abs(chi_square - 499) < 5 * np.sqrt(2 * 499)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.3, 1.0])
def test_the_share_of_writes_is_the_fraction(fraction: float) -> None:
    work = RandomAccess(op_time="10 us", write_fraction=fraction)
    _, _, writes = accesses(finished(alone(work, duration="300 ms")))
    spread = np.sqrt(len(writes) * fraction * (1 - fraction))
    assert abs(writes.sum() - fraction * len(writes)) <= 5 * spread


@pytest.mark.parametrize("exponent", [0.0, 0.8, 1.0, 2.0])
def test_zipf_frequencies_follow_the_law(exponent: float) -> None:
    span = 400
    work = ZipfAccess(op_time="5 us", exponent=exponent)
    _, pages, _ = accesses(finished(alone(work, pages=span, duration="500 ms")))
    weights = np.arange(1, span + 1) ** -exponent
    expected = len(pages) * weights / weights.sum()
    counts = counts_of(pages, span)
    if exponent:
        counts = np.sort(counts)[::-1]
        assert np.abs(counts[:8] - expected[:8]).max() <= 5 * np.sqrt(expected[0])
        cumulated = np.abs(np.cumsum(counts) - np.cumsum(expected)).max()
        assert cumulated <= 0.01 * len(pages)
    else:
        assert ((counts - expected) ** 2 / expected).sum() < span + 5 * np.sqrt(2 * span)


def test_popular_pages_of_zipf_do_not_lie_side_by_side() -> None:
    _, pages, _ = accesses(finished(alone(ZipfAccess(op_time="5 us"), duration="200 ms")))
    popular = np.argsort(counts_of(pages, 1_000))[::-1][:5]
    assert np.abs(np.diff(np.sort(popular))).min() > 10


def test_the_hot_set_gets_its_share_of_accesses() -> None:
    work = HotSet(op_time="10 us", hot=0.1, hot_accesses=0.8)
    _, pages, _ = accesses(finished(alone(work, duration="500 ms")))
    hot = (pages < 100).sum()
    assert abs(hot - 0.8 * len(pages)) <= 5 * np.sqrt(len(pages) * 0.8 * 0.2)
    inside = counts_of(pages[pages < 100], 100)
    outside = counts_of(pages[pages >= 100] - 100, 900)
    for counts in (inside, outside):
        chi_square = ((counts - counts.mean()) ** 2).sum() / counts.mean()
        assert abs(chi_square - len(counts)) < 5 * np.sqrt(2 * len(counts))


def test_the_sequential_writer_covers_its_region_in_order_again_and_again() -> None:
    work = Sequential(op_time="100 us", region=70, region_start=5, ops=200)
    simulation = finished(alone(work, pages=100))
    _, pages, writes = accesses(simulation)
    assert pages.tolist() == [5 + number % 70 for number in range(200)]
    assert writes.all()


def test_operations_of_several_accesses_spread_their_time_over_them() -> None:
    work = Sequential(op_time=1_003, accesses=4, ops=10)
    simulation = finished(alone(work, duration="1 ms"))
    times, pages, _ = accesses(simulation)
    assert len(pages) == 40
    assert np.diff(times)[:4].tolist() == [250, 250, 250, 253]
    assert times[-4] - times[0] == 9 * 1_003
    assert simulation.engine.memory.vcpus[0]["operations"] == 10


def test_idle_uses_no_cpu_and_computing_touches_nothing() -> None:
    idle = finished(alone(Idle()))
    assert idle.engine.scheduler.utilisation(10**9)[1] == 0
    busy = finished(alone(CpuBound(op_time="1 ms")))
    assert len(accesses(busy)[0]) == 0
    # The last one is under way at the end.
    assert busy.engine.memory.vcpus[0]["operations"] == pytest.approx(1_000, abs=1)


# What writes leave


def test_unique_contents_never_repeat_and_are_never_zero() -> None:
    before = contents(finished(alone(Idle())))
    after = contents(finished(alone(RandomAccess(op_time="10 us", write_fraction=1.0))))
    assert len(np.unique(after)) == len(after)
    assert not np.isin(after, before).any()
    assert (after != 0).all()


def test_writes_of_the_same_leave_contents_as_they_were() -> None:
    work = RandomAccess(op_time="10 us", write_fraction=1.0, new_content="same")
    simulation = finished(alone(work))
    assert accesses(simulation)[2].all()
    assert (contents(simulation) == contents(finished(alone(Idle())))).all()


@pytest.mark.parametrize("name", [None, "both"])
def test_a_pool_is_shared_between_guests_if_it_has_a_name(name: str | None) -> None:
    work = RandomAccess(
        op_time="10 us", write_fraction=1.0, new_content="pool", pool=37, pool_name=name
    )
    scenario = Scenario(
        duration="200 ms",
        host=Host(cpus=2),
        vms=[VM(name=name, memory=500, populate="boot", workload=work) for name in ("a", "b")],
        sharing=None,
    )
    simulation = finished(scenario)
    one, other = (set(contents(simulation, vm).tolist()) for vm in (0, 1))
    assert len(one) == len(other) == 37
    assert len(one & other) == (37 if name else 0)


# The page cache


def readers(files: tuple[str, str], **more: object) -> Scenario:
    """Two guests that read a file each into empty memory."""
    return Scenario(
        duration="100 ms",
        host=Host(cpus=2),
        events=True,
        vms=[
            VM(
                name=f"vm{number}",
                memory=400,
                workload=FileReader(
                    file=file, op_time="50 us", region_start=50, region=300, **more
                ),
            )
            for number, file in enumerate(files)
        ],
        sharing=None,
    )


def test_a_file_read_fills_the_page_cache_with_the_same_contents_in_every_guest() -> None:
    simulation = finished(readers(("libc", "libc"), file_size=200))
    one, other = contents(simulation, 0), contents(simulation, 1)
    assert (one[:50] == HOLE).all() and (one[250:] == HOLE).all()
    assert len(np.unique(one[50:250])) == 200
    assert (one == other).all()


def test_other_files_have_other_contents() -> None:
    simulation = finished(readers(("libc", "libm"), file_size=200))
    assert not np.isin(contents(simulation, 0)[50:250], contents(simulation, 1)[50:250]).any()


def test_what_is_cached_is_not_read_again() -> None:
    simulation = finished(readers(("libc", "libc"), file_size=200))
    _, pages, writes = accesses(simulation, "vm0")
    assert len(pages) > 1_000
    assert writes.sum() == 200 and writes[:200].all()


def test_a_file_larger_than_the_cache_is_read_over_and_over() -> None:
    simulation = finished(readers(("libc", "libc"), file_size=500))
    _, pages, writes = accesses(simulation, "vm0")
    assert pages.min() == 50 and pages.max() == 349
    assert writes[500:1_000].sum() > 300


def test_random_reads_of_a_file_leave_its_contents_too() -> None:
    simulation = finished(readers(("libc", "libc"), file_size=200, order="random"))
    in_order = finished(readers(("libc", "libc"), file_size=200))
    read = contents(simulation)[50:250]
    assert np.isin(read[read != HOLE], contents(in_order)[50:250]).all()
    assert (read != HOLE).sum() > 190


# Page tables and the TLB


def test_page_table_activity_is_paging_under_nested_and_work_natively() -> None:
    work = PageTableHeavy(accesses=10, region=100, ops=20)
    ledgers = {}
    for paging in ("native", "nested"):
        simulation = finished(alone(work, paging=paging))
        assert simulation.engine.memory.vcpus[0]["operations"] == 20
        ledgers[paging] = simulation.engine.vcpus[0].ledger_at(10**9)
    assert ledgers["native"][t.PAGING] == 0
    assert ledgers["nested"][t.PAGING] > 0
    assert ledgers["nested"][t.WORK] == ledgers["native"][t.WORK] > 20 * 1_000_000


def test_tlb_misses_cost_a_walk_each() -> None:
    spent = {}
    for share in (0.0, 0.25):
        work = RandomAccess(op_time="10 us", tlb_miss=share, ops=20_000)
        simulation = finished(alone(work))
        spent[share] = simulation.engine.vcpus[0].ledger_at(10**9)
    walk = simulation.engine.primitives["walk_native"]
    misses = (spent[0.25][t.WORK] - spent[0.0][t.WORK]) / walk
    assert abs(misses - 5_000) <= 5 * np.sqrt(20_000 * 0.25 * 0.75)
    extra = simulation.engine.primitives["walk_nested"] - walk
    assert spent[0.25][t.PAGING] == misses * extra


def test_reading_what_was_never_touched_populates_it_once() -> None:
    scenario = Scenario(
        duration="500 ms",
        host=Host(cpus=1),
        events=True,
        vms=[VM(name="vm", memory=300, workload=RandomAccess(op_time="20 us"))],
        sharing=None,
    )
    simulation = finished(scenario)
    assert simulation.engine.memory.totals[t.T_POPULATES] == 300
    assert (contents(simulation) == 0).all()


def test_equal_guests_of_other_names_draw_other_pages() -> None:
    image = Segments(segments=(Segment(size=1_000),))
    scenario = Scenario(
        duration="100 ms",
        host=Host(cpus=2),
        events=True,
        vms=[
            VM(name=name, image=image, workload=RandomAccess(op_time="100 us"))
            for name in ("one", "two")
        ],
        sharing=None,
    )
    simulation = finished(scenario)
    one, two = (accesses(simulation, name)[1] for name in ("one", "two"))
    assert (one[:900] == two[:900]).mean() < 0.02
