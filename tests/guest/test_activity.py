"""A guest's page-table activity: the same in all paging modes, at what each of them adds to it."""

from typing import Any

import numpy as np
import pytest

from sharesim.content.capture import open_capture
from sharesim.content.classes import PageClass
from sharesim.errors import UserError
from sharesim.guest.activity import activity_step, activity_steps, guest_fault
from sharesim.guest.phases import PHASE
from sharesim.machine import tables as t
from sharesim.machine.flush import refill_after_flush
from sharesim.machine.tables import PINNED, REFILL
from sharesim.simulate import Simulation
from sharesim.spec.images import Captured, Segment, Segments
from sharesim.spec.paging import Direct, Native, Nested, PagingSpec, Shadow
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Host, Scenario, Sharing
from sharesim.spec.workloads import PageTableActivity, PageTableHeavy, RandomAccess, Replay
from tests.guest.machines import alone, finished
from tests.hypervisor.bench import Bench
from tests.hypervisor.spaces import in_place, use

MODES: dict[str, PagingSpec] = {
    "native": Native(),
    "nested": Nested(),
    "shadow": Shadow(),
    "direct": Direct(),
}
OPS = 7
COUNTS = [
    {"faults": 3, "updates": 3},
    {"faults": 2, "updates": 11},
    {"faults": 5, "updates": 2},
    {"updates": 2049},
    {"tables": 3, "switches": 2},
    {"faults": 3, "updates": 9, "tables": 2, "switches": 4},
]


def ran(paging: PagingSpec, *, accesses: int = 0, **counts: int) -> Simulation:
    """Operations of 5 ms with that activity on 40 pages, all of it at once."""
    work = RandomAccess(
        accesses=accesses, region=40, op_time="5 ms", ops=OPS, activity=PageTableActivity(**counts)
    )
    return finished(alone(work, paging=paging, check=True))


def totals(simulation: Simulation, *which: int) -> list[int]:
    """Running totals at the end."""
    return [int(simulation.engine.memory.totals[one]) for one in which]


def ledger(simulation: Simulation) -> dict[str, int]:
    """Where the only vCPU's time went, without what is 0, idleness and the CPU's own causes."""
    spent = simulation.engine.vcpus[0].ledger_at(10**9)
    values = {cause: int(ns) for cause, ns in zip(t.CAUSES, spent, strict=True)}
    assert sum(values.values()) == 10**9
    return {cause: ns for cause, ns in values.items() if ns and cause not in ("idle", "ready")}


# Counts belong to the operation


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_counts_and_work_are_those_of_the_operations_in_all_modes(counts: dict[str, int]) -> None:
    kinds = (t.T_PT_FAULTS, t.T_PT_UPDATES, t.T_PT_SWITCHES)
    declared = [OPS * counts.get(kind, 0) for kind in ("faults", "updates", "switches")]
    for paging in MODES.values():
        simulation = ran(paging, **counts)
        assert totals(simulation, *kinds) == declared
        assert simulation.engine.memory.vcpus["operations"].tolist() == [OPS]
        assert ledger(simulation)["work"] == OPS * 5_000_000


def test_faults_are_on_the_same_pages_in_all_modes() -> None:
    seen = {}
    for name, paging in MODES.items():
        table = ran(paging, faults=9, updates=4, accesses=2).event_table()
        chosen = np.asarray(table["kind"]) == "guest fault"
        seen[name] = np.asarray(table["page"])[chosen].tolist()
    assert len(seen["native"]) == 9 * OPS and len(set(seen["native"])) > 20
    assert set(seen["native"]) <= set(range(40))
    assert all(pages == seen["native"] for pages in seen.values())


def test_in_the_same_time_each_operation_has_the_same_counts() -> None:
    done = {}
    for name, paging in MODES.items():
        simulation = finished(alone(PageTableHeavy(), paging=paging, check=True))
        operations = int(simulation.engine.memory.vcpus["operations"][0])
        counts = totals(simulation, t.T_PT_FAULTS, t.T_PT_UPDATES, t.T_PT_SWITCHES)
        for count, declared in zip(counts, (572, 572, 4), strict=True):
            assert operations * declared <= count <= (operations + 1) * declared
        done[name] = operations
    assert done["native"] > done["direct"] > done["shadow"] > 100
    assert done["native"] >= done["nested"] > done["shadow"]


# What a mode adds


def added(name: str, simulation: Simulation, batch: int, **counts: int) -> int:
    """ns that paging adds to an operation without accesses, by the profile's primitives."""
    p = simulation.engine.primitives
    faults, updates = counts.get("faults", 0), counts.get("updates", 0)
    tables, switches = counts.get("tables", 0), counts.get("switches", 0)
    if name == "direct":
        batches = -(-max(updates - faults, 0) // batch)
        calls = min(faults, updates) + batches + 2 * tables
        ns = faults * p["bounce_direct"] + calls * p["hypercall"] + updates * p["pt_validate"]
        return ns + 2 * tables * p["pt_pin"] + switches * p["switch_direct"]
    if name == "shadow":
        ns = faults * p["bounce_shadow"] + updates * p["pt_sync"] + switches * p["switch_shadow"]
        return ns + 2 * tables * p["shadow_table"]
    return 0


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("name", MODES)
def test_what_paging_adds_is_its_ledger(name: str, counts: dict[str, int]) -> None:
    simulation = ran(MODES[name], **counts)
    table = simulation.engine.primitives["shadow_table"]
    ns = OPS * added(name, simulation, 2048, **counts)
    if name == "shadow":  # faults with an update fill entries, all in one table
        ns += table * bool(counts.get("faults") and counts.get("updates"))
    assert ledger(simulation).get("paging", 0) == ns
    assert set(ledger(simulation)) <= {"work", "paging"}


@pytest.mark.parametrize("batch", [1, 2, 7, 2048])
def test_updates_go_in_batches_under_direct_paging(batch: int) -> None:
    counts = {"faults": 3, "updates": 20, "tables": 1}
    simulation = ran(Direct(batch=batch), **counts)
    calls = 3 + -(-17 // batch) + 2
    assert totals(simulation, t.T_PT_HYPERCALLS, t.T_PT_UPDATES) == [OPS * calls, OPS * 20]
    assert ledger(simulation)["paging"] == OPS * added("direct", simulation, batch, **counts)


def test_tables_are_pinned_and_unpinned_under_direct_paging_only() -> None:
    for name, paging in MODES.items():
        pins = totals(ran(paging, tables=3), t.T_PT_PINS, t.T_PT_UNPINS)
        assert pins == ([3 * OPS, 3 * OPS] if name == "direct" else [0, 0])


@pytest.mark.parametrize("scale", [0.0, 0.25, 1.0])
def test_the_shadow_scale_scales_all_of_it(scale: float) -> None:
    counts = {"faults": 3, "updates": 9, "tables": 2, "switches": 4}
    simulation = ran(Shadow(scale=scale), **counts)
    p = simulation.engine.primitives
    names = {"bounce_shadow": 3, "pt_sync": 9, "shadow_table": 4, "switch_shadow": 4}
    each = sum(count * round(p[name] * scale) for name, count in names.items())
    table = round(p["shadow_table"] * scale)
    assert ledger(simulation).get("paging", 0) == OPS * each + table


def test_under_nested_paging_only_walks_after_a_switch_are_longer() -> None:
    simulation = ran(Nested(), accesses=1, faults=3, updates=3, switches=2)
    p = simulation.engine.primitives
    longer = p["walk_nested"] - p["walk_native"]
    # Before the first switch of an operation three pages were faulted on, and one accessed in the
    # operation before; between it and the second nothing was touched.
    assert ledger(simulation)["paging"] == (3 + (OPS - 1) * 4) * longer > 0


def test_a_switch_empties_no_more_than_the_region_holds() -> None:
    simulation = ran(Nested(), accesses=90, switches=1)  # 40 pages
    p = simulation.engine.primitives
    assert ledger(simulation)["paging"] == (OPS - 1) * 40 * (p["walk_nested"] - p["walk_native"])


# Steps


def phase_of(**counts: int) -> Any:
    """A phase whose operation has that activity, on pages 0 to 7."""
    row = np.zeros(1, PHASE)
    row["span"] = 8
    for kind, count in counts.items():
        row[f"act_{kind}"] = count
    return row[0]


def test_an_operations_activity_in_order() -> None:
    bench = Bench(paging=Direct(batch=4))
    phase = phase_of(faults=3, updates=12, tables=1, switches=2)
    steps = int(activity_steps(bench.cost, phase))
    assert steps == 3 + 3 + 1 + 2
    spent = [int(activity_step(bench.mem, bench.cost, phase, 0, at, 0)) for at in range(steps)]
    c = bench.cost_of
    fault = c("guest_fault") + c("single_update")
    full, last = (c("batch_call") + count * c("batch_update") for count in (4, 1))
    assert spent == [fault] * 3 + [full, full, last, c("new_table")] + [c("address_switch")] * 2
    kinds = [t.E_GUEST_FAULT] * 3 + [t.E_UPDATE] * 3 + [t.E_PIN] + [t.E_SWITCH] * 2
    assert bench.kinds() == kinds
    assert bench.mem.vcpus["space"].tolist() == [2, 0]


def test_faults_beyond_the_updates_write_no_entry() -> None:
    bench = Bench(paging=Shadow())
    phase = phase_of(faults=3, updates=1)
    spent = [int(activity_step(bench.mem, bench.cost, phase, 0, at, 0)) for at in range(3)]
    fault = bench.cost_of("guest_fault")
    assert spent == [fault + bench.cost_of("single_update"), fault, fault]
    assert bench.total(t.T_PT_UPDATES) == 1


def test_an_update_at_a_fault_fills_the_shadow_entry() -> None:
    bench = Bench(paging=Shadow())
    bench.mem.pages["map_count"][1] = 2
    bench.fill({1: 7})
    bench.mem.vcpus["space"][0] = 1
    plain = bench.cost_of("guest_fault")
    assert guest_fault(bench.mem, bench.cost, 0, 1, False, 0) == plain
    assert in_place(bench, 1) == set()  # the guest has mended something else
    filled = plain + bench.cost_of("single_update")
    assert guest_fault(bench.mem, bench.cost, 0, 1, True, 0) == filled + bench.cost_of(
        "table_setup"
    )
    assert guest_fault(bench.mem, bench.cost, 0, 1, True, 0) == filled
    assert in_place(bench, 1) == {1} and use(bench, 1, 1) == 0
    assert bench.total(t.T_HIDDEN_FAULTS) == 0
    assert guest_fault(bench.mem, bench.cost, 0, 2, True, 0) == filled  # a page without frame
    assert in_place(bench, 2) == set() and bench.flag(1, REFILL)
    bench.check()


@pytest.mark.parametrize("paging", MODES.values(), ids=MODES)
def test_after_a_switch_a_flush_finds_little_to_lose(paging: PagingSpec) -> None:
    bench = Bench(paging=paging)
    step = phase_of(switches=1)
    full = 100 * bench.cost_of("walk")
    assert refill_after_flush(bench.mem, bench.cost, 0, 10**9) == full
    activity_step(bench.mem, bench.cost, step, 0, 0, 2 * 10**9)
    soon = 2 * 10**9 + 3 * bench.cost_of("walk")
    assert refill_after_flush(bench.mem, bench.cost, 0, soon) == 3 * bench.cost_of("walk")


def test_an_operation_needs_a_nanosecond_for_each_step() -> None:
    activity = PageTableActivity(faults=60, updates=60, tables=20, switches=20)
    with pytest.raises(UserError, match="found 100 ns for 1 accesses and 160 steps"):
        finished(alone(RandomAccess(op_time=100, activity=activity)))


# Replays


def replayed(paging: PagingSpec, page_tables: Any = "data", sharing: Any = None) -> Simulation:
    """Six seconds of a web server, in which page tables were made and dropped."""
    image = Captured(capture="mixed6-60s", guest="nginx", at="15 s", page_tables=page_tables)
    return finished(
        Scenario(
            duration="6 s",
            sample_every="6 s",
            host=Host(cpus=1),
            vms=[VM(name="nginx", image=image, workload=Replay(cpu_scale=0.01))],
            paging=paging,
            sharing=sharing,
            check=True,
        )
    )


def page_tables_of_capture(seconds: int) -> np.ndarray:
    """bool[pages]: what the captured guest said were page tables."""
    classes = open_capture("mixed6-60s").guest("nginx").classes(seconds)
    assert classes is not None
    tables: np.ndarray = classes == PageClass.PAGE_TABLE
    return tables


def test_a_replay_has_the_same_activity_in_all_modes() -> None:
    runs = {name: replayed(paging) for name, paging in MODES.items()}
    counts = {name: totals(run, t.T_PT_FAULTS, t.T_PT_UPDATES) for name, run in runs.items()}
    faults, updates = counts["native"]
    assert faults == updates > 100
    assert all(count == counts["native"] for count in counts.values())
    assert totals(runs["direct"], t.T_PT_HYPERCALLS, t.T_PT_PINS) == [faults, 0]
    assert not (runs["direct"].engine.memory.pages["flags"] & PINNED).any()


@pytest.mark.parametrize("shared", [False, True])
def test_typed_page_tables_of_a_replay_are_pinned_and_unpinned(shared: bool) -> None:
    sharing = Sharing(design="paravirtual", policy=Cbps(scan_rate=40_000)) if shared else None
    before, after = page_tables_of_capture(15), page_tables_of_capture(20)
    made, dropped = int((after & ~before).sum()), int((before & ~after).sum())
    assert made > 50 and dropped > 20
    simulation = replayed(Direct(), "typed", sharing)
    faults, pins, unpins, calls = totals(
        simulation, t.T_PT_FAULTS, t.T_PT_PINS, t.T_PT_UNPINS, t.T_PT_HYPERCALLS
    )
    assert (pins, unpins, calls) == (made, dropped, faults + made + dropped)
    memory = simulation.engine.memory
    assert ((memory.pages["flags"] & PINNED != 0) == after).all()
    frames = memory.pages["mfn"][after]
    assert (memory.frames["ref"][frames[frames != t.NONE]] == 1).all()
    assert (memory.totals[t.T_SHARERS] > 1_000) == shared


@pytest.mark.parametrize("name", MODES)
def test_only_direct_paging_types_page_tables(name: str) -> None:
    segment = Segment(size=64, page_class="page-table")
    laid = finished(
        Scenario(
            duration="1 ms",
            vms=[VM(name="a", image=Segments(segments=[segment]))],
            paging=MODES[name],
            sharing=None,
        )
    )
    pinned = laid.engine.memory.pages["flags"] & PINNED != 0
    assert pinned.all() if name == "direct" else not pinned.any()


def test_where_paging_does_not_type_page_tables_a_replay_pins_none() -> None:
    simulation = replayed(Nested(), "typed")
    assert totals(simulation, t.T_PT_PINS, t.T_PT_UNPINS, t.T_PT_HYPERCALLS) == [0, 0, 0]
    assert not (simulation.engine.memory.pages["flags"] & PINNED).any()
