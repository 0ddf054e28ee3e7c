"""Offers in whole runs: who is told when, who is left out, and what the mode of time may change."""

from typing import Any

import pytest

from sharesim.guest.phases import REPLAY
from sharesim.machine import tables as t
from sharesim.resolve import resolve
from sharesim.simulate import Simulation, simulate
from sharesim.spec.images import Captured, Segment, Segments
from sharesim.spec.paging import Direct
from sharesim.spec.policies import Cbps, Oracle, PolicySpec
from sharesim.spec.scenario import VM, Host, Paravirtual, Scenario, Sharing
from sharesim.spec.workloads import RandomAccess, Replay, Sequential
from tests.golden.case import common, script, vm, write
from tests.golden.cases_paravirtual import together

MS = 1_000_000


def scenario(
    *vms: VM, policy: PolicySpec, options: dict[str, Any] | None = None, **more: Any
) -> Scenario:
    """Guests that cooperate, with all invariants checked."""
    guests = Paravirtual(**options or {})
    sharing = Sharing(design="paravirtual", policy=policy, paravirtual=guests)
    values: dict[str, Any] = {"duration": 20 * MS, "host": Host(cpus=4), "check": True} | more
    return Scenario(vms=vms, paging=Direct(), sharing=sharing, **values)


def guest(name: str, pages: int, **options: Any) -> VM:
    """A guest whose pages are those of every other, page by page; it idles."""
    return VM(
        name=name, image=Segments(segments=(Segment(size=pages, shared_as="all"),)), **options
    )


def finished(run: Scenario) -> Simulation:
    """The scenario, run to its end."""
    simulation = Simulation(resolve(run))
    simulation.run()
    return simulation


@pytest.mark.parametrize("mode", ["exact", "decoupled"])
@pytest.mark.parametrize("rate", [100_000, 300_000, 500_000])
@pytest.mark.parametrize("period", [40_000, 60_000, 200_000])
def test_no_event_is_lost_on_a_guest_about_to_idle(mode: Any, rate: int, period: int) -> None:
    """It may come while the guest's driver runs ahead of the clock with the offers before."""
    policy = Cbps(scan_rate=rate, wake_period=period)
    simulation = finished(
        scenario(guest("a", 64), guest("b", 64), policy=policy, mode=mode, sync_quantum=period // 5)
    )
    vms = simulation.engine.memory.vms
    assert simulation.recorder.last["host"]["saved_pages"] == 64
    assert vms["offer_count"].tolist() == vms["notified"].tolist() == [0, 0]


def offers(mode: Any, quantum: int) -> dict[str, int]:
    """Counts of a long batch whose rings are soon full."""
    policy = Cbps(scan_rate=100_000, wake_period=20 * MS)
    vms = (guest("a", 512), guest("b", 512))
    run = simulate(
        scenario(
            *vms, policy=policy, options={"ring": 16}, mode=mode, sync_quantum=quantum,
            duration=30 * MS,
        )
    )  # fmt: skip
    counters = run.summary["counters"]
    return {name: counters[name] for name in ("offers", "offers_dropped", "offers_shared")}


def test_a_full_ring_is_told_in_the_middle_of_a_batch_though_all_guests_idle() -> None:
    exact = offers("exact", 1_000)
    assert exact["offers_dropped"] > 0 and exact["offers_shared"] > 900
    assert offers("decoupled", 1_000) == exact
    loose = offers("decoupled", 20_000)
    assert loose["offers_shared"] == pytest.approx(exact["offers_shared"], rel=0.01)


@pytest.mark.parametrize("policy", [Cbps(scan_rate=100_000, wake_period=MS), Oracle()])
@pytest.mark.parametrize("unwilling", [0, 1, 2])
def test_others_share_as_if_an_unwilling_guest_were_not_there(
    unwilling: int, policy: PolicySpec
) -> None:
    vms = [guest(name, 8, willing=at != unwilling) for at, name in enumerate("abc")]
    last = finished(scenario(*vms, policy=policy)).recorder.last
    assert last["host"]["saved_pages"] == last["host"]["opportunity_pages"] == 8
    assert [last[name]["sharing_pages"] for name in "abc"] == [
        0 if at == unwilling else 8 for at in range(3)
    ]


def test_willingness_matters_only_where_guests_are_asked() -> None:
    vms = [guest(name, 8, willing=False) for name in "ab"]
    policy = Cbps(scan_rate=100_000, wake_period=MS)
    asked = scenario(*vms, policy=policy)
    transparent = asked.model_copy(update={"paging": "nested", "sharing": Sharing(policy=policy)})
    for run, saved in ((asked, 0), (Scenario.from_json(transparent.to_json()), 8)):
        assert simulate(run).summary["memory"]["saved_pages"] == saved


def test_a_write_that_changes_nothing_makes_a_page_dirty_all_the_same() -> None:
    pair = together(
        vm("a", common("kernel")),
        vm("b", common("kernel"), workload=script(30, write(0, "same"))),
        us=200,
        scanned=2,
    )
    counters = simulate(pair).summary["counters"]
    assert counters["offers_refused"] == 1 and counters["merges"] == 0


def test_an_event_does_not_start_a_guest_before_its_time() -> None:
    """Replayed guests start up to a tick late, each at its own time; sharing must not move them."""
    vms = [
        VM(name=f"g{at}", image=Captured(capture="mixed6-60s", guest=at), workload=Replay())
        for at in range(3)
    ]
    policy = Cbps(scan_rate=500_000, wake_period=MS)
    engine = finished(scenario(*vms, policy=policy, duration=15 * MS, check=False)).engine
    offsets = [engine.start_offset(row) for row in range(len(vms))]
    assert max(offsets) > MS and engine.memory.totals[t.T_OFFERS] > 0
    assert (engine.work.phases["pattern"] == REPLAY).all()
    assert engine.memory.vcpus["phase_start"].tolist() == offsets


def test_a_guest_that_waits_for_a_frame_can_give_up_what_frees_one() -> None:
    """Its own driver holds the frames that it waits for: the event must end the wait."""
    filled = Segments(
        segments=(Segment(size=32, duplicate=1.0, patterns=1), Segment(size=8, populated=False))
    )
    wants = VM(name="a", memory=40, image=filled,
               workload=Sequential(region_start=32, region=8, op_time=1_000, ops=8))  # fmt: skip
    policy = Cbps(scan_rate=100_000, wake_period=MS)
    host = Host(cpus=2, memory=32 + 5 + 1, overcommit=True)
    summary = simulate(scenario(wants, policy=policy, host=host)).summary
    assert summary["guests"]["a"]["operations"] == 8
    assert summary["guests"]["a"]["ledger_ns"]["blocked"] > 0


@pytest.mark.parametrize("mode", ["exact", "decoupled"])
def test_guests_that_write_what_they_share_keep_their_books(mode: Any) -> None:
    """Every option of the design at once, under pressure; all invariants are checked."""
    work = RandomAccess(
        op_time=9_000, write_fraction=0.5, overwrites=0.5, new_content="pool", pool=3
    )
    image = Segments(
        segments=(Segment(size=48, shared_as="all"), Segment(size=16, page_class="free", zero=1.0))
    )
    for cow in ("upcall", "hypervisor"):
        vms = [VM(name=name, image=image, vcpus=2, workload=work) for name in "abc"]
        policy = Cbps(scan_rate=200_000, wake_period=MS)
        options = {"cow": cow, "free_pages": "balloon", "ring": 7, "expiry": 300_000}
        run = simulate(scenario(*vms, policy=policy, options=options, mode=mode, host=Host(cpus=2)))
        counters = run.summary["counters"]
        for name in ("merges", "cow_breaks", "breaks_without_copy", "offers_refused",
                     "offers_dropped", "balloon_popped"):  # fmt: skip
            assert counters[name] > 0, name
        assert (counters["upcalls"] > 0) == (cow == "upcall")
