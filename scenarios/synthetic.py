"""Memory and writes made to measure: how much is equal, how often it is written."""

from typing import Literal

from sharesim import VM, Cbps, Host, RandomAccess, Scenario, Segment, Segments, Sharing


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

    The guests compute as fast as they can and write at random all over their memory.

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
    pages = VM(name="size", memory=memory).memory or 0
    equal = round(common * pages)
    segments = (
        Segment(size=equal, page_class="page-cache", shared_as="common") if equal else None,
        Segment(size=pages - equal, zero=zero, duplicate=duplicate) if equal < pages else None,
    )
    image = Segments(segments=tuple(segment for segment in segments if segment))
    work = RandomAccess(
        operation="page written",
        op_time=round(1e9 / write_rate) if write_rate else 10_000_000,
        write_fraction=1.0 if write_rate else 0.0,
        new_content=rewrites,
    )
    return Scenario(
        title="Synthetic memory",
        duration=duration,
        warmup=warmup,
        host=Host(cpus=cpus),
        vms=[VM(name=f"vm{number + 1}", image=image, workload=work) for number in range(vms)],
        sharing=Sharing(policy=Cbps(scan_rate=scan_rate)),
        baseline=baseline,
    )
