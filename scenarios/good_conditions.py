"""Good conditions for sharing: the same system and programs everywhere, and little is written."""

from sharesim import VM, Cbps, Host, Scenario, Segment, Segments, Sharing, ZipfAccess


def scenario(
    scan_rate: int = 5_000,
    vms: int = 4,
    cpus: int = 2,
    duration: str = "20 s",
    warmup: str = "0 s",
    heap_writes: float = 0.02,
) -> Scenario:
    """Equal guests that mostly read: sharing saves much and should cost little.

    Each guest has the same kernel and the same files in its page cache, and a heap of its own. It
    serves requests as fast as it can; what it writes, it writes to its heap.

    scan_rate: pages to scan per second, over all guests
    vms: how many guests
    cpus: CPUs of the host
    duration: simulated time
    warmup: left out of throughput and overhead, as "10 s" leaves out most of the merging
    heap_writes: fraction of the accesses to the heap that write
    """
    image = Segments(
        segments=(
            Segment(size="8 MiB", page_class="kernel", shared_as="kernel"),
            Segment(size="16 MiB", page_class="page-cache", shared_as="files"),
            Segment(size="6 MiB", page_class="anonymous", duplicate=0.1),
            Segment(size="2 MiB", page_class="free", zero=0.9),
        )
    )
    work = ZipfAccess(
        operation="request",
        accesses=10,
        op_time="1 ms",
        write_fraction=heap_writes,
        region="6 MiB",
        region_start="24 MiB",
        exponent=0.8,
    )
    return Scenario(
        title="Good conditions",
        duration=duration,
        warmup=warmup,
        host=Host(cpus=cpus),
        vms=[VM(name=f"vm{number + 1}", image=image, workload=work) for number in range(vms)],
        sharing=Sharing(policy=Cbps(scan_rate=scan_rate)),
        baseline=True,
    )
