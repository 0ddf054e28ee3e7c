"""Good conditions for sharing: the same system and programs everywhere, and little is written."""

from sharesim import Cbps, Host, PageTableActivity, Scenario, Sharing
from sharesim.reproductions.conditions import good_guests


def scenario(
    scan_rate: int = 5_000,
    vms: int = 4,
    cpus: int = 2,
    memory: str = "32 MiB",
    duration: str = "20 s",
    warmup: str = "0 s",
    write_rate: float = 200.0,
) -> Scenario:
    """Equal guests that mostly read: sharing saves much and should cost little.

    Each guest has the same kernel and the same files in its page cache, and a heap of its own. It
    serves requests as fast as it can; what it writes, it writes to its heap.

    scan_rate: pages to scan per second, over all guests
    vms: how many guests
    cpus: CPUs of the host
    memory: of each guest
    duration: simulated time
    warmup: left out of throughput and overhead, as "10 s" leaves out most of the merging
    write_rate: pages of its heap that each guest writes per second of its CPU time
    """
    return Scenario(
        title="Good conditions",
        duration=duration,
        warmup=warmup,
        host=Host(cpus=cpus),
        vms=good_guests(vms, memory=memory, write_rate=write_rate, activity=PageTableActivity()),
        sharing=Sharing(policy=Cbps(scan_rate=scan_rate)),
        baseline=True,
    )
