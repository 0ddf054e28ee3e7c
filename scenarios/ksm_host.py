"""A KVM host under Linux KSM: what the kernel's counters say, and what is really saved."""

from sharesim import VM, Host, HotSet, Ksm, Scenario, Segment, Segments, Sharing
from sharesim.errors import UserError

LEAST_MIB = 16
"""Of a guest; a smaller one has nothing to show."""
WRITES = 20
"""In a batch: an operation of a guest."""


def scenario(
    pages_to_scan: int = 1000,
    sleep_millisecs: int = 20,
    smart_scan: bool = True,
    use_zero_pages: bool = False,
    max_page_sharing: int = 256,
    advisor: bool = False,
    checksum_first: bool = True,
    guests: int = 6,
    memory: int = 128,
    write_rate: float = 1000.0,
    duration: str = "60 s",
    cpus: int = 2,
) -> Scenario:
    """Guests of one operating system share its image, files, zeros; ksmd merges, writes break.

    The last guest boots when a third of the time is over, the first one is shut down after three
    quarters of it. KSM's counters follow what happens only as ksmd comes by.

    pages_to_scan: pages that ksmd examines in a batch
    sleep_millisecs: its sleep after each batch
    smart_scan: skip pages that did not merge in earlier scans (Linux 6.7)
    use_zero_pages: map pages of zeros to the kernel's zero page
    max_page_sharing: pages that one frame may stand for
    advisor: let the kernel choose pages_to_scan after each full scan (Linux 6.8)
    checksum_first: the order of ksmd's tests since Linux 6.11; false: the one before
    guests: how many there are
    memory: MiB of each
    write_rate: pages that each guest writes per second
    duration: simulated time
    cpus: CPUs of the host
    """
    if not 2 <= guests <= 512:
        raise UserError(f"guests: found {guests}; from 2 to 512 can run")
    if memory < LEAST_MIB:
        raise UserError(f"memory: found {memory}; at least {LEAST_MIB} MiB are needed")
    policy = Ksm(
        pages_to_scan=pages_to_scan,
        sleep_millisecs=sleep_millisecs,
        smart_scan=smart_scan,
        use_zero_pages=use_zero_pages,
        max_page_sharing=max_page_sharing,
        advisor_mode="scan-time" if advisor else "none",
        checksum_first=checksum_first,
    )
    running = Scenario(
        title=f"KSM on a host of {guests} guests",
        duration=duration,
        host=Host(cpus=cpus),
        vms=[guest(f"guest{number + 1}", memory, write_rate) for number in range(guests)],
        sharing=Sharing(policy=policy),
    )
    first, *others, last = running.vms
    early = first.model_copy(update={"stop": running.duration * 3 // 4})
    late = last.model_copy(update={"start": running.duration // 3})
    return running.model_copy(update={"vms": (early, *others, late)})


def guest(name: str, memory: int, write_rate: float) -> VM:
    """A guest of so many MiB: an eighth its kernel, a third files, an eighth zeros, the rest data.

    Kernel and files are those of all guests. It writes to its data, most often to a small hot part,
    and to the files that it has cached; what it writes is one of the contents that all of them use.
    """
    pages = memory * 256
    kernel, files, free = pages // 8, pages // 3, pages // 8
    data = pages - kernel - files - free
    image = Segments(
        segments=(
            Segment(size=kernel, page_class="kernel", shared_as="kernel"),
            Segment(size=data, page_class="anonymous", duplicate=0.25, zero=0.05, patterns=64),
            Segment(size=files, page_class="page-cache", shared_as="files"),
            Segment(size=free, page_class="free", zero=1.0),
        )
    )
    work = HotSet(
        operation="batch of writes",
        accesses=WRITES,
        op_time="200 us",
        write_fraction=1.0,
        rate=write_rate / WRITES,
        region_start=kernel,
        region=data + files,
        hot=0.1,
        hot_accesses=0.5,
        new_content="pool",
        pool=1 << 15,
        pool_name="data",
    )
    return VM(name=name, image=image, workload=work)
