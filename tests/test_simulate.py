"""Whole runs: what the summary says of pairs, mixes of guests, bounds and options."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharesim import (
    VM,
    Balloon,
    Cbps,
    Costs,
    CpuBound,
    Host,
    Idle,
    Oracle,
    Phases,
    RandomAccess,
    Scenario,
    Segment,
    Segments,
    Sharing,
    simulate,
)
from sharesim.errors import UserError
from sharesim.results.summary import paired_difference, paired_loss
from sharesim.simulate import Moment


def image(size: str = "1 MiB", **more: Any) -> Segments:
    return Segments(segments=(Segment(size=size, shared_as="common", **more),))


def vm(name: str, workload: Any = None, **more: Any) -> VM:
    return VM(name=name, image=more.pop("image", image()), workload=workload or Idle(), **more)


def scenario(*vms: VM, **more: Any) -> Scenario:
    policy = more.pop("policy", Cbps(scan_rate=20_000))
    sharing = more.pop("sharing", Sharing(policy=policy))
    return Scenario(duration=more.pop("duration", "200 ms"), vms=vms, sharing=sharing, **more)


BUSY = RandomAccess(op_time="20 us", write_fraction=0.05)


def test_the_hosts_throughput_is_that_of_guests_in_a_closed_loop() -> None:
    """A paced guest cannot lose throughput, so it must not dilute what the others lose."""
    paced = RandomAccess(op_time="5 us", rate=5_000)
    summary = simulate(
        scenario(vm("busy", BUSY), vm("paced", paced), host=Host(cpus=1), baseline=True)
    ).summary
    busy, host = summary["guests"]["busy"]["overhead"], summary["host"]
    assert host["guests_counted"] == ["busy"]
    assert host["overhead"]["sharing"] == busy["sharing"]
    assert busy["sharing"]["value"] > 0


def test_intervals_do_not_depend_on_who_samples() -> None:
    def interval(sample_every: str) -> Any:
        run = simulate(
            scenario(
                vm("a", BUSY), vm("b"), host=Host(cpus=1), baseline=True, sample_every=sample_every
            )
        )
        return run.summary["guests"]["a"]["overhead"]

    assert interval("1 ms") == interval("100 ms")


def test_a_window_of_few_quanta_has_no_interval() -> None:
    few = np.array([3.0, 4.0, 5.0])
    assert paired_loss(few, few + 1)["half_width"] is None
    assert not paired_loss(few, few + 1)["distinguishable"]
    pairs = np.stack([few, few], axis=1)
    assert paired_difference(pairs, pairs)["half_width"] is None


def test_a_paired_difference_is_found_and_its_absence_too() -> None:
    operations = np.full(20, 100.0)
    noise = np.sin(np.arange(20.0))
    without = np.stack([1_000 + noise, operations], axis=1)
    more = np.stack([1_200 + noise, operations], axis=1)
    found = paired_difference(more, without)
    assert found["distinguishable"]
    assert found["value"] == pytest.approx(2)
    same = paired_difference(np.stack([1_000 - noise, operations], axis=1), without)
    assert not same["distinguishable"]


def test_pairs_that_do_not_fit_are_named_and_the_run_is_kept() -> None:
    """Two guests of one image on a host that has room for them only when they share."""
    filling = RandomAccess(op_time="50 us", region_start="1 MiB", write_fraction=1.0)
    guests = [vm(name, filling, memory="1.25 MiB") for name in ("a", "b")]
    run = simulate(
        scenario(
            *guests,
            host=Host(cpus=2, memory=610, overcommit=True),
            policy=Cbps(scan_rate=200_000, wake_period="1 ms"),
            baseline=True,
        )
    )
    assert run.summary["memory"]["saved_pages"] > 200
    assert "wait for a free frame" in run.summary["pairs_failed"]["P1"]
    assert run.summary["host"]["overhead"] == {}
    with pytest.raises(UserError, match=r"no pair 'P1': .* wait for a free frame"):
        run.pair_timeline("P1")


@pytest.mark.parametrize("in_folder", [False, True])
def test_timelines_of_the_pairs_are_kept(tmp_path: Path, in_folder: bool) -> None:
    run = simulate(
        scenario(vm("busy", BUSY), vm("idle"), host=Host(cpus=1), baseline=True),
        folder=tmp_path if in_folder else None,
    )
    files = {path.name for path in tmp_path.iterdir()}
    kept = {f"timeline{pair}.parquet" for pair in ("", "-P1", "-P0")}
    assert files == (kept if in_folder else set())
    for pair, measure in (("P1", "sharing"), ("P0", "total")):
        timeline = run.pair_timeline(pair)
        assert list(timeline.columns) == list(run.timeline.columns)
        host = timeline[timeline["entity"] == "host"]
        assert host["time_ns"].iloc[-1] == run.scenario.duration
        assert not host["saved_pages"].any()
        done = {
            name: int(table[table["entity"] == "busy"]["operations"].max())
            for name, table in (("with", run.timeline), ("without", timeline))
        }
        loss = run.summary["guests"]["busy"]["overhead"][measure]["value"]
        assert 1 - done["with"] / done["without"] == pytest.approx(loss)
    with pytest.raises(UserError, match="no pair 'P2'"):
        run.pair_timeline("P2")


def test_an_interrupted_pair_leaves_no_timeline(tmp_path: Path) -> None:
    def stop(moment: Moment) -> None:
        if moment.label == "P0" and moment.time_ns > 10_000_000:
            raise KeyboardInterrupt

    busy = scenario(vm("busy", BUSY), host=Host(cpus=1), baseline=True)
    run = simulate(busy, folder=tmp_path, progress=stop)
    assert run.summary["partial"] is True
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"timeline.parquet", "timeline-P1.parquet"}


def test_a_vm_cannot_be_named_like_the_policy() -> None:
    with pytest.raises(UserError, match="cbps"):
        simulate(scenario(vm("cbps"), duration="20 ms"))


def test_the_oracle_takes_no_time_from_anybody() -> None:
    busy = [vm("a", CpuBound(op_time="10 us")), vm("b", CpuBound(op_time="10 us"))]
    free = simulate(scenario(*busy, host=Host(cpus=2), sharing=Sharing(design="none")))
    shared = simulate(scenario(*busy, host=Host(cpus=2), policy=Oracle()))
    assert shared.summary["memory"]["saved_pages"] == 256
    assert shared.summary["scanner"]["cpu_ns"] == 0
    assert shared.summary["host"]["operations"] == free.summary["host"]["operations"]


def test_interference_is_charged_where_a_profile_has_a_figure() -> None:
    def spent(ns: int) -> int:
        run = simulate(
            scenario(
                vm("a", BUSY),
                vm("b"),
                host=Host(cpus=1, costs=Costs(override={"interference_page": ns})),
                check=True,
            )
        )
        return int(run.summary["guests"]["a"]["ledger_ns"]["interference"])

    assert spent(0) == 0
    assert spent(100) > 0


def test_pinned_pages_of_a_parent_are_copied_into_its_clone() -> None:
    parent = vm("parent", image=image(pinned=True), memory="2 MiB")
    run = simulate(
        scenario(
            parent, VM(name="child", populate="clone", clone_of="parent"), check=True,
            sharing=Sharing(design="none"), duration="10 ms",
        )
    )  # fmt: skip
    assert run.summary["memory"]["sharers_pages"] == 0
    assert run.timeline.query("entity == 'child'")["populated_pages"].iloc[-1] == 256


def test_giving_pages_back_costs_the_guest_and_flushes() -> None:
    guest = vm("a", BUSY, vcpus=2, balloon=Balloon(targets=(("20 ms", "512 KiB"),)))
    run = simulate(scenario(guest, sharing=Sharing(design="none"), host=Host(cpus=2)))
    assert run.summary["guests"]["a"]["ledger_ns"]["reclaim"] > 0
    assert run.summary["counters"]["flushes"] > 0


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Phases(phases=(Idle(ops=3), CpuBound())), "no operations"),
        (lambda: CpuBound(rate=1e-5), "rate"),
        (lambda: scenario(vm("a"), duration="1 s", warmup="1 s"), "shorter than duration"),
    ],
)
def test_descriptions_that_make_no_sense(build: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build()


def test_warmup_rounded_up_to_the_end_is_refused() -> None:
    late = scenario(vm("a"), duration="10.01 ms", warmup="10.005 ms")
    with pytest.raises(UserError, match="whole sync quanta"):
        simulate(late)


def test_more_samples_than_anybody_can_look_at_are_refused() -> None:
    with pytest.raises(UserError, match="sample_every"):
        simulate(scenario(vm("a"), duration="60 s", sample_every="1 ns"))
