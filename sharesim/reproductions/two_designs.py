"""The two designs of the 2006 thesis: one host, any legal pair of paging and sharing.

Transparent sharing needs tables that the guest does not see (shadow, or nested ones); under direct
paging the guest has to take part (paravirtual). The machine is a guess at one of 2006: the cost
profile xen-2006-p4 holds estimates, scaled from published figures of other machines.
"""

from typing import Any, Literal

from sharesim.reproductions.conditions import (
    ACTIVITY,
    MEMORY,
    bad_guests,
    good_guests,
    synthetic_guests,
)
from sharesim.spec.paging import Direct, Native, Nested, Shadow
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Costs, Host, Paravirtual, Scanner, Scenario, Sharing
from sharesim.spec.workloads import PageTableActivity

Conditions = Literal["good", "bad", "synthetic"]
CONDITIONS: tuple[Conditions, ...] = ("good", "bad", "synthetic")

PROFILE = "xen-2006-p4"
TIME_SLICE = "30 ms"
"""As of Xen's credit scheduler (from memory); of no consequence to a guest that always has work."""


def two_designs(
    conditions: Conditions = "good",
    paging: Literal["native", "direct", "shadow", "nested"] = "shadow",
    sharing: Literal["none", "transparent", "paravirtual"] = "transparent",
    scan_rate: float = 5_000.0,
    write_rate: float | None = None,
    faults: int = ACTIVITY.faults,
    switches: int = ACTIVITY.switches,
    shadow_scale: float = 1.0,
    rmap: Literal["entries", "none"] = "entries",
    cow: Literal["upcall", "hypervisor"] = "upcall",
    vms: int = 4,
    cpus: int = 2,
    memory: str = MEMORY,
    duration: str = "20 s",
    warmup: str = "8 s",
    baseline: bool = True,
) -> Scenario:
    """Guests of the thesis's three kinds under one way of paging and one of sharing.

    Legal pairs are shadow or nested paging with transparent sharing, and direct paging with
    paravirtual sharing; sharing "none" goes with all. There are more vCPUs than CPUs, all of them
    busy, so that whatever the scanner takes is missing elsewhere. It runs in the hypervisor.

    conditions: what the guests are and do: good for sharing, bad for it, or made to measure
    paging: how guest page tables are virtualized
    sharing: the sharing design
    scan_rate: pages to scan per second, over all guests
    write_rate: pages that each guest (bad: each writer) writes per second of its CPU time
    faults: page faults of a guest in a request, each with an update (bad: not used)
    switches: address-space switches of a guest in a request (bad: not used)
    shadow_scale: multiplies what keeping shadow tables costs
    rmap: whether the hypervisor knows a frame's shadow entries, or searches all shadow tables
    cow: paravirtual: who breaks a share
    vms: how many guests
    cpus: CPUs of the host
    memory: of each guest
    duration: simulated time
    warmup: left out of throughput and overhead: the first pass, which does most of the merging
    baseline: also run the pairs without sharing
    """
    modes = {
        "native": Native(),
        "direct": Direct(),
        "shadow": Shadow(scale=shadow_scale, rmap=rmap),
        "nested": Nested(),
    }
    activity = PageTableActivity(faults=faults, updates=faults, switches=switches)
    return Scenario(
        title=f"{conditions.capitalize()} conditions, paging {paging}, sharing {sharing}",
        duration=duration,
        warmup=warmup,
        host=Host(cpus=cpus, time_slice=TIME_SLICE, costs=Costs(profile=PROFILE)),
        vms=_guests(conditions, vms, memory, write_rate, activity),
        paging=modes[paging],
        sharing=Sharing(
            design=sharing,
            policy=Cbps(scan_rate=scan_rate, order="random"),
            scanner=Scanner(placement="softirq"),
            paravirtual=Paravirtual(cow=cow),
        ),
        baseline=baseline,
    )


def _guests(
    conditions: Conditions,
    vms: int,
    memory: str,
    write_rate: float | None,
    activity: PageTableActivity,
) -> list[VM]:
    rate: dict[str, Any] = {} if write_rate is None else {"write_rate": write_rate}
    if conditions == "good":
        return good_guests(vms, memory=memory, activity=activity, **rate)
    if conditions == "bad":
        return bad_guests(vms, memory=memory, **rate)
    return synthetic_guests(vms, memory=memory, rewrites="pool", activity=activity, **rate)
