"""Memory and writes made to measure: how much is equal, how often it is written."""

from typing import Literal

from sharesim import Cbps, Host, PageTableActivity, Scenario, Sharing
from sharesim.reproductions.conditions import synthetic_guests


def scenario(
    scan_rate: int = 5_000,
    vms: int = 4,
    cpus: int = 2,
    memory: str = "32 MiB",
    duration: str = "20 s",
    warmup: str = "0 s",
    common: float = 0.3,
    zero: float = 0.1,
    duplicate: float = 0.1,
    write_rate: float = 100.0,
    rewrites: Literal["unique", "pool", "same"] = "unique",
    baseline: bool = True,
) -> Scenario:
    """Guests whose equal pages and writes are parameters, to find where sharing ceases to pay.

    The guests compute as fast as they can; they read and write at random all over their memory.

    scan_rate: pages to scan per second, over all guests
    vms: how many guests
    cpus: CPUs of the host
    memory: of each guest
    duration: simulated time
    warmup: left out of throughput and overhead
    common: fraction of memory that is equal in all guests, page by page
    zero: fraction of the rest that is all zero
    duplicate: fraction of the rest that repeats one of 16 contents within the guest
    write_rate: pages that each guest writes per second of its CPU time
    rewrites: what a write leaves: something new, one of 256 contents, or what was there
    baseline: also run the pairs without sharing
    """
    return Scenario(
        title="Synthetic memory",
        duration=duration,
        warmup=warmup,
        host=Host(cpus=cpus),
        vms=synthetic_guests(
            vms,
            memory=memory,
            common=common,
            zero=zero,
            duplicate=duplicate,
            write_rate=write_rate,
            rewrites=rewrites,
            activity=PageTableActivity(),
        ),
        sharing=Sharing(policy=Cbps(scan_rate=scan_rate)),
        baseline=baseline,
    )
