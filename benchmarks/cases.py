"""The scenarios that are timed."""

from sharesim.spec.images import Segment, Segments
from sharesim.spec.ksm import Ksm
from sharesim.spec.policies import Cbps, SharingPolicy
from sharesim.spec.scenario import VM, Costs, Host, Scenario, Sharing
from sharesim.spec.units import parse_size
from sharesim.spec.workloads import Idle, RandomAccess

HOT = "32 MiB"
"""8192 pages."""

WITHOUT_INTERRUPTS = Costs(
    override={
        "flush_base": 0,
        "flush_per_cpu": 0,
        "flush_target": 0,
        "walk_native": 0,
        "walk_nested": 0,
        "lock_hold": 0,
        "vcpu_switch": 0,
        "interference_page": 0,
    }
)
"""Costs of the plain model: accesses, faults, visits and merges take time, interrupts none."""

ZERO, DUPLICATE = 0.1, 0.1


def guest(name: str, memory: str, workload: RandomAccess | Idle, **options: bool) -> VM:
    """A guest full of pages, a fifth of which could be shared."""
    image = Segments(segments=(Segment(size=memory, zero=ZERO, duplicate=DUPLICATE),))
    return VM(name=name, image=image, workload=workload, **options)


def accessing(
    memory: str,
    accesses: int,
    *,
    guests: int = 1,
    op_time: int = 200,
    scan_rate: float = 10_000,
    mode: str = "decoupled",
    costs: Costs | None = None,
) -> Scenario:
    """Guests that access pages at random, ``accesses`` in all, a tenth of them writes.

    Each guest has a CPU and so has the scanner: nobody waits.
    """
    work = RandomAccess(op_time=op_time, write_fraction=0.1)
    return Scenario(
        duration=accesses // guests * op_time,
        sample_every=accesses // guests * op_time,
        mode=mode,
        host=Host(cpus=guests + 1, costs=costs or Costs()),
        vms=[guest(f"vm{number}", memory, work) for number in range(guests)],
        sharing=Sharing(policy=Cbps(scan_rate=scan_rate)),
    )


def scanning(
    memory: str,
    milliseconds: int,
    *,
    guests: int = 1,
    outside: str | None = None,
    busy: bool = False,
    costs: Costs | None = None,
    policy: SharingPolicy | None = None,
) -> Scenario:
    """Guests scanned as fast as the scanner's CPU allows; by default they idle.

    ``outside`` adds a guest of that size that the scanner does not look at.
    """
    work = RandomAccess(op_time=1_000, write_fraction=0.1) if busy else Idle()
    vms = [guest(f"vm{number}", memory, work) for number in range(guests)]
    if outside is not None:
        vms.append(guest("outside", outside, Idle(), mergeable=False))
    return Scenario(
        duration=f"{milliseconds} ms",
        sample_every=f"{milliseconds} ms",
        host=Host(cpus=guests + 1, costs=costs or Costs()),
        vms=vms,
        sharing=Sharing(policy=policy or Cbps(scan_rate=1_000_000)),
    )


def under_ksm(memory: str, milliseconds: int) -> Scenario:
    """A guest that `ksmd` scans without ever sleeping, faithful trees and all."""
    ksm = Ksm(pages_to_scan=10_000, sleep_millisecs=0, smart_scan=False)
    return scanning(memory, milliseconds, policy=ksm)


def pages(size: str) -> int:
    """Pages of a size in words."""
    return parse_size(size)
