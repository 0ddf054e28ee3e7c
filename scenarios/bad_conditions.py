"""Bad conditions for sharing: unlike guests, pages written as soon as shared, many processes."""

from sharesim import Cbps, Host, Scenario, Sharing
from sharesim.reproductions.conditions import bad_guests


def scenario(
    scan_rate: int = 5_000,
    vms: int = 4,
    cpus: int = 2,
    memory: str = "32 MiB",
    duration: str = "20 s",
    warmup: str = "0 s",
    write_rate: float = 2_000.0,
    patterns: int = 64,
) -> Scenario:
    """Guests for which sharing is work for nothing: little in common, and that is written at once.

    Every other guest writes a few patterns over and over its memory, so that the scanner finds
    equal pages which are soon broken; the ones between start processes, which is hard on page
    tables. No two have the same kernel or files.

    scan_rate: pages to scan per second, over all guests
    vms: how many guests
    cpus: CPUs of the host
    memory: of each guest
    duration: simulated time
    warmup: left out of throughput and overhead
    write_rate: pages that each writer writes per second of its CPU time
    patterns: how many contents the writers choose from
    """
    return Scenario(
        title="Bad conditions",
        duration=duration,
        warmup=warmup,
        host=Host(cpus=cpus),
        vms=bad_guests(vms, memory=memory, write_rate=write_rate, patterns=patterns),
        sharing=Sharing(policy=Cbps(scan_rate=scan_rate)),
        baseline=True,
    )
