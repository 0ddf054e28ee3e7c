"""What a page of arithmetic says about a run must come out of it."""

import pytest

from sharesim.simulate import simulate
from sharesim.spec.images import Segment, Segments
from sharesim.spec.policies import Cbps, Oracle
from sharesim.spec.scenario import VM, Host, Scanner, Scenario, Sharing
from sharesim.spec.workloads import CpuBound, Idle, RandomAccess

SECOND = 1_000_000_000


@pytest.mark.parametrize(("rate", "size"), [(5_000, 5_000), (20_000, 3_000)])
def test_a_scan_cycle_takes_pages_over_rate(rate: int, size: int) -> None:
    scenario = Scenario(
        duration=round(4.5 * 2 * size / rate * SECOND),
        sample_every="20 ms",
        vms=[
            VM(name=name, image=Segments(segments=(Segment(size=size),))) for name in ("one", "two")
        ],
        sharing=Sharing(policy=Cbps(scan_rate=rate)),
    )
    run = simulate(scenario)
    rows = run.timeline[run.timeline.entity == "cbps"]
    scanner = run.summary["scanner"]
    assert scanner["passes"] == 4
    assert scanner["achieved_rate"] == pytest.approx(rate, rel=0.01)
    for number in range(1, 5):
        ended = rows.loc[rows.passes >= number, "time_ns"].iloc[0]
        assert ended == pytest.approx(number * 2 * size / rate * SECOND, abs=40_000_000)


@pytest.mark.parametrize("policy", [Cbps(scan_rate=100_000), Oracle()], ids=lambda p: p.name)
def test_static_contents_save_all_but_one_of_each(policy: Cbps | Oracle) -> None:
    vms, common, own, patterns = 5, 700, 400, 8
    image = Segments(
        segments=(
            Segment(size=common, shared_as="common"),
            Segment(size=own),
            Segment(size=300, duplicate=1.0, patterns=patterns),
            Segment(size=100, zero=1.0),
        )
    )
    scenario = Scenario(
        duration="400 ms",
        vms=[VM(name=f"vm{number}", image=image) for number in range(vms)],
        sharing=Sharing(policy=policy),
        check=True,
    )
    memory = simulate(scenario).summary["memory"]
    total = vms * (common + own + 300 + 100)
    distinct = common + vms * own + vms * patterns + 1
    assert memory["saved_pages"] == memory["opportunity_pages"] == total - distinct
    assert memory["saved_zero_pages"] == vms * 100 - 1
    assert memory["shared_frames_pages"] == common + vms * patterns + 1


@pytest.mark.parametrize(("cpus", "guests"), [(1, 1), (2, 3), (3, 2), (2, 7)])
def test_guests_that_always_compute_fill_the_cpus_and_share_them_evenly(
    cpus: int, guests: int
) -> None:
    scenario = Scenario(
        duration="2 s",
        host=Host(cpus=cpus),
        vms=[
            VM(name=f"vm{n}", memory="1 MiB", workload=CpuBound(op_time="50 us"))
            for n in range(guests)
        ],
        sharing=None,
    )
    summary = simulate(scenario).summary
    used = summary["host"]["cpu_ns"]
    busy = min(cpus, guests) * 2 * SECOND
    assert used["vcpu"] + used["switch"] == pytest.approx(busy, abs=5_000)
    share = summary["host"]["operations"] / guests
    for guest in summary["guests"].values():
        assert guest["operations"] == pytest.approx(share, rel=0.01)


def test_weights_divide_a_cpu_in_proportion() -> None:
    scenario = Scenario(
        duration="4 s",
        host=Host(cpus=1),
        vms=[
            VM(name=f"w{weight}", memory="1 MiB", weight=weight, workload=CpuBound())
            for weight in (512, 1024, 2048)
        ],
        sharing=None,
    )
    guests = simulate(scenario).summary["guests"]
    total = sum(guest["operations"] for guest in guests.values())
    for weight, share in ((512, 1 / 7), (1024, 2 / 7), (2048, 4 / 7)):
        assert guests[f"w{weight}"]["operations"] / total == pytest.approx(share, rel=0.01)


@pytest.mark.parametrize("placement", ["thread", "softirq", "domain"])
def test_the_cpu_that_the_scanner_takes_is_missing_from_a_guest_that_needs_it_all(
    placement: str,
) -> None:
    scenario = Scenario(
        duration="2 s",
        host=Host(cpus=1),
        vms=[
            VM(
                name="busy",
                image=Segments(segments=(Segment(size="8 MiB"),)),
                workload=CpuBound(op_time="50 us"),
            )
        ],
        sharing=Sharing(policy=Cbps(scan_rate=10_000), scanner=Scanner(placement=placement)),
        baseline=True,
    )
    host = simulate(scenario).summary["host"]
    lost = host["overhead"]["sharing"]["value"]
    taken = (host["cpu_ns"]["scanner"] + host["cpu_ns"]["switch"]) / (2 * SECOND)
    assert taken > 0.01
    assert lost == pytest.approx(taken, abs=0.001)


def test_an_idle_host_loses_no_throughput_to_the_scanner_but_its_cpu_time() -> None:
    scenario = Scenario(
        duration="1 s",
        host=Host(cpus=2),
        vms=[
            VM(
                name="busy",
                image=Segments(segments=(Segment(size="8 MiB"),)),
                workload=CpuBound(op_time="50 us"),
            ),
            VM(name="idle", memory="8 MiB", workload=Idle()),
        ],
        sharing=Sharing(policy=Cbps(scan_rate=10_000)),
        baseline=True,
    )
    summary = simulate(scenario).summary
    assert abs(summary["host"]["overhead"]["sharing"]["value"]) < 1e-4
    cpu = summary["host"]["overhead"]["cpu_per_operation"]["value"]
    assert cpu == pytest.approx(summary["scanner"]["cpu_share"], rel=0.05)


def test_breaks_of_random_writes_to_shared_pages_follow_the_coupon_law() -> None:
    pages, writes = 4_000, 6_000
    image = Segments(segments=(Segment(size=pages, shared_as="all"),))
    scenario = Scenario(
        duration="1 s",
        host=Host(cpus=2),
        vms=[
            VM(
                name="writer",
                image=image,
                workload=RandomAccess(write_fraction=1.0, op_time="100 us", ops=writes),
            ),
            VM(name="still", image=image),
        ],
        sharing=Sharing(policy=Oracle(wake_period="10 s")),
    )
    run = simulate(scenario)
    broken = run.summary["counters"]["cow_breaks"]
    missed = (1 - 1 / pages) ** writes
    spread = (pages * missed * (1 - missed)) ** 0.5
    assert run.summary["guests"]["writer"]["operations"] == writes
    assert abs(broken - pages * (1 - missed)) <= 4 * spread
