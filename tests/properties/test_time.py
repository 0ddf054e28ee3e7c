"""The time contract: what may and what may not depend on the sync quantum, observers and pairs."""

from typing import Any

import numpy as np
import pytest

from sharesim.machine.tables import CAUSES, NONE
from sharesim.resolve import resolve
from sharesim.results.run import Run
from sharesim.sharing.conformance import run_difference, small_scenario, table_difference
from sharesim.simulate import Simulation, native_without_sharing, simulate, without_sharing
from sharesim.spec.images import Segment, Segments
from sharesim.spec.paging import Direct, Nested, PagingSpec, Shadow
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Balloon, Host, Scanner, Scenario, Sharing
from sharesim.spec.workloads import (
    CpuBound,
    FileReader,
    HotSet,
    Idle,
    PageTableActivity,
    PageTableHeavy,
    Phases,
    RandomAccess,
    Sequential,
    Workload,
    ZipfAccess,
)

MS = 1_000_000
QUANTA = (1_000, 7_000, 20_000, 100_000, 140_000)
SAMPLE = 1_400_000
"""A multiple of each of these."""
IMAGE = Segments(
    segments=(
        Segment(size=24, shared_as="kernel", page_class="kernel"),
        Segment(size=24, zero=0.4, duplicate=0.4, patterns=3),
    )
)
WORKLOADS: dict[str, Workload] = {
    "random": RandomAccess(write_fraction=0.3, op_time=3_100, accesses=3, tlb_miss=0.2),
    "sequential": Sequential(op_time=777),
    "zipf": ZipfAccess(op_time=2_003, write_fraction=0.5, new_content="pool"),
    "hot set": HotSet(op_time=2_003, accesses=2),
    "file": FileReader(op_time=5_000, file_size=80, order="random"),
    "processes": PageTableHeavy(op_time=400_001),
    "paced": RandomAccess(op_time=3_000, write_fraction=0.5, rate=20_000.7),
    "overloaded": RandomAccess(op_time=30_000, write_fraction=0.5, rate=50_000),
    "slow": RandomAccess(op_time=900_000, write_fraction=1.0),
    "phases": Phases(
        phases=(
            RandomAccess(op_time=2_000, write_fraction=1.0, ops=300),
            Idle(for_="500 us"),
            Sequential(op_time=1_500, for_="1200 us"),
            RandomAccess(op_time=1_000, rate=100_000, ops=55),
        ),
        repeat=True,
    ),
    "activity": RandomAccess(
        op_time=9_000, activity=PageTableActivity(faults=2, updates=5, tables=1, switches=1)
    ),
}
MODES: dict[str, tuple[PagingSpec, Any]] = {
    "nested": (Nested(), "transparent"),
    "shadow": (Shadow(pool=3), "transparent"),
    "shadow without rmap": (Shadow(pool=1, rmap="none"), "transparent"),
    "direct": (Direct(batch=2), "paravirtual"),
}
"""Paging modes, each with the sharing design that works with it; pools that are soon used up."""


def assert_same(one: Run, other: Run, *, but: tuple[str, ...] = ()) -> None:
    """Two runs agree in everything but some keys of the summary."""
    for key in ("mode", "sync_quantum_ns", "key", *but):
        one.summary[key] = other.summary[key] = None
    assert run_difference(one, other) == ""


def with_quantum(scenario: Scenario, quantum: int | None) -> Scenario:
    """The scenario at that sync quantum; None: exact mode."""
    if quantum is None:
        return scenario.model_copy(update={"mode": "exact", "sync_quantum": 1_000})
    return scenario.model_copy(update={"sync_quantum": quantum})


# T5: with one actor nothing depends on the sync quantum


def one_vcpu(name: str, paging: PagingSpec | None = None, **guest: Any) -> Scenario:
    """A guest on its own that does this work."""
    return Scenario(
        duration=10 * SAMPLE,
        sample_every=SAMPLE,
        host=Host(cpus=1, memory=256),
        vms=(VM(name="a", memory=64, image=IMAGE, workload=WORKLOADS[name], **guest),),
        paging=paging or Nested(),
        sharing=None,
        events=True,
        check=True,
    )


@pytest.mark.parametrize("populate", ["demand", "boot"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_one_vcpu_is_bit_identical_at_every_quantum(name: str, populate: Any) -> None:
    assert_identical_at_every_quantum(one_vcpu(name, populate=populate))


@pytest.mark.parametrize("mode", ["shadow", "shadow without rmap", "direct"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_one_vcpu_is_so_in_each_paging_mode(name: str, mode: str) -> None:
    scenario = one_vcpu(name, MODES[mode][0], map_counts={"kernel": 3, "anonymous": 2})
    counters = assert_identical_at_every_quantum(scenario).summary["counters"]
    assert (counters["hidden_faults"] > 0) == mode.startswith("shadow")
    if mode == "shadow without rmap" and name in ("processes", "activity"):
        assert counters["shadow_evictions"] > 10


def assert_identical_at_every_quantum(scenario: Scenario) -> Run:
    """A run is the same in exact mode and at each sync quantum; the exact one."""
    reference = simulate(with_quantum(scenario, None))
    operations = reference.timeline.query("entity == 'a'")["operations"].tolist()
    assert operations[0] == 0 and operations == sorted(operations)
    assert len(set(operations)) > 5  # samples see the run as it goes
    for quantum in QUANTA:
        assert_same(simulate(with_quantum(scenario, quantum)), reference)
    return reference


@pytest.mark.parametrize("order", ["linear", "random"])
@pytest.mark.parametrize("placement", ["thread", "softirq", "domain"])
def test_a_scanner_of_frozen_memory_is_bit_identical_at_every_quantum(
    placement: Any, order: Any
) -> None:
    policy = Cbps(scan_rate=20_000, wake_period=700_000, order=order, passes=2)
    scenario = small_scenario(policy, 1, frozen=True).model_copy(
        update={
            "mode": "decoupled",
            "duration": 10 * SAMPLE,
            "sample_every": SAMPLE,
            "sharing": Sharing(policy=policy, scanner=Scanner(placement=placement)),
        }
    )
    reference = simulate(with_quantum(scenario, None))
    assert reference.summary["memory"]["saved_pages"] > 20
    for quantum in QUANTA:
        assert_same(simulate(with_quantum(scenario, quantum)), reference)


# T3: watching changes nothing


@pytest.mark.parametrize("paging", ["nested", "shadow", "direct"])
@pytest.mark.parametrize("mode", ["decoupled", "exact"])
@pytest.mark.parametrize("tight", [False, True])
def test_watching_a_run_does_not_change_it(mode: Any, tight: bool, paging: str) -> None:
    policy = Cbps(scan_rate=40_000, wake_period=MS)
    base = small_scenario(policy, 3).model_copy(
        update={
            "mode": mode,
            "sync_quantum": 10_000,
            "sample_every": 400_000,
            "paging": MODES[paging][0],
            "sharing": Sharing(policy=policy, design=MODES[paging][1]),
        }
    )
    if tight:
        host = Host(cpus=2, memory=150, overcommit=True)
        base = base.model_copy(update={"host": host})
    reference = simulate(base)
    for change in (
        {"sample_every": 4_000_000},
        {"sample_every": 10_000},
        {"events": False},
        {"check": False},
        {"events": False, "check": False, "sample_every": 40_000_000},
    ):
        other = simulate(base.model_copy(update=change))
        common = set(other.timeline["time_ns"]) & set(reference.timeline["time_ns"])
        assert {0, base.duration} <= common
        rows = [run.timeline[run.timeline["time_ns"].isin(common)] for run in (reference, other)]
        assert table_difference(*rows) == ""
        for key in ("counters", "scanner", "guests"):
            assert other.summary[key] == reference.summary[key]


# The pairs have the same guests


def contents(simulation: Simulation) -> np.ndarray:
    """What each guest page holds; an unpopulated page is zero."""
    memory = simulation.engine.memory
    mfns = memory.pages["mfn"].astype(np.int64)
    held = memory.frames["content"][np.where(mfns == NONE, 0, mfns)]
    return np.where(mfns == NONE, 0, held)


@pytest.mark.parametrize("paging", MODES)
@pytest.mark.parametrize("mode", ["decoupled", "exact"])
@pytest.mark.parametrize("new_content", ["unique", "pool", "same"])
def test_memory_is_the_same_after_the_same_operations(
    mode: Any, new_content: Any, paging: str
) -> None:
    common: dict[str, Any] = {"write_fraction": 0.4, "new_content": new_content, "pool": 5}
    vms = tuple(
        VM(
            name=f"a{number}",
            memory=64,
            image=IMAGE,
            workload=Phases(
                phases=(
                    RandomAccess(op_time=20_000, accesses=2, ops=150, **common),
                    FileReader(op_time=9_000, file_size=30, ops=60),
                    ZipfAccess(op_time=15_000, ops=100, **common),
                )
            ),
        )
        for number in range(3)
    )
    policy = Cbps(scan_rate=50_000, wake_period=MS)
    scenario = resolve(
        Scenario(
            duration=60 * MS,
            mode=mode,
            host=Host(cpus=2, memory=300),
            vms=vms,
            paging=MODES[paging][0],
            sharing=Sharing(policy=policy, design=MODES[paging][1]),
            check=True,
        )
    )
    runs = []
    for pair in (scenario, without_sharing(scenario), native_without_sharing(scenario)):
        simulation = Simulation(pair)
        simulation.run()
        assert simulation.engine.memory.vcpus["operations"].tolist() == [310] * 3
        runs.append(simulation)
    assert runs[0].recorder.last["host"]["cow_breaks"] > 20
    for other in runs[1:]:
        assert other.recorder.last["host"]["merges"] == 0
        assert (contents(runs[0]) == contents(other)).all()


# Who gets a CPU


def shares_of_cpu(vms: tuple[VM, ...], **host: Any) -> dict[str, float]:
    """Part of a CPU that each guest has got, of 400 ms."""
    run = simulate(
        Scenario(
            duration=400 * MS,
            host=Host(time_slice=500_000, **host),
            vms=vms,
            sharing=None,
            check=True,
        )
    )
    last = run.timeline[run.timeline["time_ns"] == 400 * MS].set_index("entity")
    return {vm.name: float(last["cpu_ns"][vm.name]) / (400 * MS) for vm in vms}


def busy(name: str, **options: Any) -> VM:
    """A guest that computes all the time."""
    return VM(name=name, memory=4, workload=CpuBound(op_time=50_000), **options)


def test_cpu_time_is_proportional_to_weights() -> None:
    weights = {"a": 256, "b": 512, "c": 1024, "d": 2048}
    shares = shares_of_cpu(tuple(busy(name, weight=w) for name, w in weights.items()), cpus=1)
    used = sum(shares.values())
    assert used > 0.98
    for name, weight in weights.items():
        assert shares[name] / used == pytest.approx(weight / sum(weights.values()), rel=0.02)


def test_three_equal_guests_share_two_cpus_fairly() -> None:
    shares = shares_of_cpu((busy("a"), busy("b"), busy("c")), cpus=2)
    assert list(shares.values()) == pytest.approx([sum(shares.values()) / 3] * 3, rel=0.02)
    assert sum(shares.values()) > 1.96


def test_affinity_is_respected() -> None:
    vms = (busy("a", affinity=(0,)), busy("b", affinity=(0,)), busy("c", affinity=(1,)))
    shares = shares_of_cpu(vms, cpus=3)
    assert shares["a"] == pytest.approx(shares["b"], rel=0.02)
    assert 0.97 < shares["a"] + shares["b"] <= 1.0
    assert shares["c"] > 0.999
    many = shares_of_cpu((busy("a", vcpus=3, affinity=(1,)), busy("b")), cpus=2)
    assert many["a"] <= 1.0 and many["b"] > 0.999


def test_a_guest_of_more_vcpus_gets_more() -> None:
    shares = shares_of_cpu((busy("a", vcpus=3), busy("b")), cpus=1)
    assert shares["a"] / shares["b"] == pytest.approx(3, rel=0.03)


SCANNED = VM(name="scanned", memory=64, image=IMAGE)


def scanned_beside(workers: tuple[VM, ...], scanner: Scanner, rate: float) -> Run:
    """A run in which an idle guest is scanned while others compute."""
    return simulate(
        Scenario(
            duration=200 * MS,
            warmup=20 * MS,
            host=Host(cpus=1, time_slice=500_000, memory=256),
            vms=(SCANNED, *workers),
            sharing=Sharing(policy=Cbps(scan_rate=rate, wake_period=2 * MS), scanner=scanner),
            check=True,
        )
    )


def test_a_softirq_interrupts_whoever_runs_for_as_long_as_it_scans() -> None:
    run = scanned_beside((busy("a"),), Scanner(placement="softirq"), 50_000)
    summary = run.summary
    interrupted = summary["guests"]["a"]["ledger_ns"]["interrupted"]
    assert interrupted == summary["host"]["cpu_ns"]["scanner"] > 0
    assert summary["guests"]["a"]["ledger_ns"]["ready"] == 0


def test_a_softirq_that_never_catches_up_leaves_guests_nothing() -> None:
    run = scanned_beside((busy("a"),), Scanner(placement="softirq"), 10_000_000)
    assert run.summary["scanner"]["overruns"] >= 2
    assert run.summary["guests"]["a"]["operations"] == 0


@pytest.mark.parametrize("weight", [512, 1024])
def test_a_thread_that_never_catches_up_gets_its_weighted_share(weight: int) -> None:
    run = scanned_beside((busy("a"), busy("b")), Scanner(weight=weight), 10_000_000)
    share = run.summary["scanner"]["cpu_share"]
    assert share == pytest.approx(weight / (weight + 2048), rel=0.03)


def test_a_softirq_may_begin_in_the_instant_in_which_a_switch_ends() -> None:
    scenario = Scenario(
        duration=5 * MS,
        host=Host(cpus=1, memory=128),
        vms=(busy("a"),),
        sharing=Sharing(policy=Cbps(scan_rate=100_000, wake_period=MS)),
        check=True,
    )
    engine = Simulation(resolve(scenario)).engine
    start = engine.start_offset(0) + engine.primitives["vcpu_switch"]
    scanner = Scanner(placement="softirq", start=start)
    sharing = Sharing(policy=Cbps(scan_rate=100_000, wake_period=MS), scanner=scanner)
    run = simulate(scenario.model_copy(update={"sharing": sharing}))
    assert run.summary["scanner"]["batches"] == 5


@pytest.mark.parametrize("compiled", [True, False])
def test_a_scanner_that_finds_no_page_sleeps(compiled: bool) -> None:
    scenario = Scenario(
        duration=50 * MS,
        vms=(VM(name="a", memory=500),),
        sharing=Sharing(policy=Cbps(scan_rate=1_000, wake_period=10 * MS)),
        check=True,
    )
    summary = simulate(scenario, compiled=compiled).summary["scanner"]
    assert summary["pages_scanned"] == 0
    assert summary["cpu_share"] < 0.05
    assert summary["batches"] >= 4


def test_a_balloon_that_moves_more_at_once_than_the_log_holds() -> None:
    pages = 100_000
    vm = VM(name="a", memory=pages, balloon=Balloon(targets=((0, 1_000),), rate=1e9))
    run = simulate(Scenario(duration=50 * MS, vms=(vm,), sharing=None, events=True))
    assert run.summary["memory"]["ballooned_pages"] == pages - 1_000
    assert len(run.events.query("kind == 'balloon inflate'")) == pages - 1_000


def test_the_same_pages_are_scanned_wherever_the_scanner_runs() -> None:
    merges = set()
    for placement in ("thread", "softirq", "domain"):
        run = scanned_beside((busy("a"),), Scanner(placement=placement), 20_000)
        merges.add((run.summary["counters"]["merges"], run.summary["memory"]["saved_pages"]))
    assert len(merges) == 1


# Guests come and go


@pytest.mark.parametrize("paging", MODES)
@pytest.mark.parametrize("placement", ["thread", "softirq"])
@pytest.mark.parametrize("mode", ["decoupled", "exact"])
def test_guests_that_come_and_go_account_for_their_time(
    mode: Any, placement: Any, paging: str
) -> None:
    lives = {"a": (0, None), "b": (0, 7 * MS + 1), "c": (3 * MS + 17, None), "d": (5 * MS, 9 * MS)}
    work = RandomAccess(op_time=7_000, write_fraction=0.3)
    vms = tuple(
        VM(name=name, memory=48, image=IMAGE, workload=work, start=start, stop=stop, vcpus=2)
        for name, (start, stop) in lives.items()
    )
    run = simulate(
        Scenario(
            duration=20 * MS,
            mode=mode,
            host=Host(cpus=2, time_slice=300_000, memory=400),
            vms=vms,
            paging=MODES[paging][0],
            sharing=Sharing(
                design=MODES[paging][1],
                policy=Cbps(scan_rate=100_000, wake_period=MS),
                scanner=Scanner(placement=placement),
            ),
            check=True,
        )
    )
    last = run.timeline[run.timeline["time_ns"] == 20 * MS].set_index("entity")
    for name, (start, stop) in lives.items():
        spent = sum(int(last[f"{cause}_ns"][name]) for cause in CAUSES)
        assert spent == 2 * ((20 * MS if stop is None else stop) - start)
        assert (int(last["populated_pages"][name]) == 0) == (stop is not None)
    tables = 2 if paging.startswith("shadow") else 0  # one of each guest that still runs
    assert last["shadow_tables_pages"]["host"] == tables
    assert run.summary["counters"]["merges"] > 0
    causes = [int(last[f"cpu_{kind}_ns"]["host"]) for kind in ("idle", "vcpu", "scanner", "switch")]
    assert sum(causes) == 2 * 20 * MS


def test_a_guest_that_stops_frees_what_another_waits_for() -> None:
    writer = Phases(phases=(Sequential(op_time=1_000, ops=60),))
    vms = (
        VM(name="a", memory=60, populate="boot", stop=5 * MS),
        VM(name="b", memory=60, workload=writer),
    )
    run = simulate(
        Scenario(
            duration=10 * MS,
            host=Host(memory=80, overcommit=True),
            vms=vms,
            sharing=None,
            check=True,
        )
    )
    guest = run.summary["guests"]["b"]
    assert guest["operations"] == 60
    assert 4 * MS < guest["ledger_ns"]["blocked"] < 5 * MS


def test_a_balloon_gives_another_guest_room() -> None:
    writer = Phases(phases=(Sequential(op_time=1_000, ops=60),))
    vms = (
        VM(name="a", memory=60, populate="boot", balloon=Balloon(targets=((4 * MS, 10),))),
        VM(name="b", memory=60, workload=writer),
    )
    run = simulate(
        Scenario(
            duration=40 * MS,
            host=Host(memory=80, overcommit=True),
            vms=vms,
            sharing=None,
            check=True,
        )
    )
    assert run.summary["guests"]["b"]["operations"] == 60
    assert run.summary["memory"]["ballooned_pages"] == 50
