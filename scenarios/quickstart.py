"""Real guests share memory: how much, how soon, and what it costs each of them."""

from typing import Literal

from sharesim import (
    VM,
    Captured,
    Cbps,
    Host,
    Replay,
    Scanner,
    Scenario,
    Segment,
    Segments,
    Sharing,
    ZipfAccess,
    open_capture,
)
from sharesim.errors import UserError

CAPTURE = "mixed6-60s"
"""Six Debian guests, a minute of each; it comes with sharesim."""
WORK = Replay(tick="20 ms", cpu_scale=0.25)
"""They were captured under software emulation: this host is taken to be four times as fast."""


def scenario(
    scan_rate: int = 10_000,
    vms: int = 4,
    duration: str = "30 s",
    cpus: int = 2,
    busy: int = 2,
    order: Literal["linear", "random"] = "linear",
    passes: int = 1,
    hash: Literal["sfh", "mmh3", "xxh3", "xxh64", "jhash2", "crc32", "sha1", "fnv"] = "sfh",
    verify: bool = True,
    placement: Literal["thread", "softirq", "domain"] = "thread",
) -> Scenario:
    """Captured guests replayed under a background scanner, beside guests that never rest.

    There are more vCPUs than CPUs, so that the scanner's time is missing elsewhere. The captured
    guests do what they were seen to do at their own pace: for them sharing shows as CPU time and
    lateness. The busy guests do as much as they can: for them it shows as lost throughput.

    scan_rate: pages to scan per second, over all guests
    vms: how many captured guests; after the sixth they come again
    duration: simulated time; the capture has 60 s
    cpus: CPUs of the host
    busy: guests that read and write as fast as they can
    order: order in which a pass over memory visits pages
    passes: passes over intervals of hash values that cover memory once; 1/passes of the table
    hash: the hash function that finds candidates
    verify: compare bytes before merging; False trusts equal digests
    placement: who runs the scanner
    """
    if not 1 <= vms <= 512:
        raise UserError(f"vms: found {vms}; from 1 to 512 captured guests can run")
    if not 0 <= busy <= 512:
        raise UserError(f"busy: found {busy}; from 0 to 512 busy guests can run")
    return Scenario(
        title="Captured guests under a scanner",
        duration=duration,
        sample_every="500 ms",
        host=Host(cpus=cpus),
        vms=[*(captured(number) for number in range(vms)), *(saturating(n) for n in range(busy))],
        sharing=Sharing(
            policy=Cbps(
                scan_rate=scan_rate, order=order, passes=passes, digest=hash, verify=verify
            ),
            scanner=Scanner(placement=placement),
        ),
        baseline=True,
    )


def captured(number: int) -> VM:
    """A guest of the capture: its memory at the start, and what changed in it from then on."""
    guests = open_capture(CAPTURE).guests
    again, which = divmod(number, len(guests))
    name = guests[which].name + (f"-{again + 1}" if again else "")
    return VM(name=name, image=Captured(capture=CAPTURE, guest=which), workload=WORK)


def saturating(number: int) -> VM:
    """A guest that serves requests as fast as it can, from memory it mostly reads."""
    image = Segments(
        segments=(
            Segment(size="16 MiB", page_class="kernel", shared_as="kernel"),
            Segment(size="16 MiB", page_class="page-cache", shared_as="files"),
            Segment(size="32 MiB", page_class="anonymous", duplicate=0.3),
        )
    )
    work = ZipfAccess(
        operation="request", accesses=2, op_time="4 ms", write_fraction=0.2, exponent=0.8
    )
    return VM(name=f"busy{number + 1}", image=image, workload=work)
