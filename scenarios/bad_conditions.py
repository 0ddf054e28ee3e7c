"""Bad conditions for sharing: unlike guests, pages written as soon as shared, many processes."""

from sharesim import (
    VM,
    Cbps,
    Host,
    PageTableHeavy,
    RandomAccess,
    Scenario,
    Segment,
    Segments,
    Sharing,
)


def scenario(
    scan_rate: int = 5_000,
    vms: int = 4,
    cpus: int = 2,
    duration: str = "20 s",
    warmup: str = "0 s",
    write_rate: int = 2_000,
    patterns: int = 64,
) -> Scenario:
    """Guests for which sharing is work for nothing: little in common, and that is written at once.

    Every other guest writes a few patterns over and over its memory, so that the scanner finds
    equal pages which are soon broken; the ones between start processes, which is hard on page
    tables. No two have the same kernel or files.

    scan_rate: pages to scan per second, over all guests
    vms: how many guests
    cpus: CPUs of the host
    duration: simulated time
    warmup: left out of throughput and overhead
    write_rate: pages that each writer writes per second of its CPU time
    patterns: how many contents the writers choose from
    """
    writes = RandomAccess(
        operation="page written",
        op_time=1_000_000_000 // write_rate,
        write_fraction=1.0,
        region="24 MiB",
        region_start="8 MiB",
        new_content="pool",
        pool=patterns,
        pool_name="patterns",
    )
    starts = PageTableHeavy(accesses=12, region="24 MiB", region_start="8 MiB")
    return Scenario(
        title="Bad conditions",
        duration=duration,
        warmup=warmup,
        host=Host(cpus=cpus),
        vms=[
            VM(name=f"vm{number + 1}", image=unlike(number), workload=(writes, starts)[number % 2])
            for number in range(vms)
        ],
        sharing=Sharing(policy=Cbps(scan_rate=scan_rate)),
        baseline=True,
    )


def unlike(number: int) -> Segments:
    """Memory that has next to nothing in common with another guest's."""
    return Segments(
        segments=(
            Segment(size="8 MiB", page_class="kernel", shared_as=f"kernel {number}"),
            Segment(size="8 MiB", page_class="page-cache", shared_as=f"files {number}"),
            Segment(size="16 MiB", page_class="anonymous", zero=0.02, duplicate=0.02),
        )
    )
