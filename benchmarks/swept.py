"""The scenario whose sweeps are timed: a run of a few milliseconds, or longer."""

from sharesim import VM, Cbps, Host, RandomAccess, Scenario, Segment, Segments, Sharing


def scenario(rate: int = 10_000, milliseconds: int = 20, guests: int = 1) -> Scenario:
    """Guests that access pages at random beside a scanner, sampled twenty times.

    rate: pages scanned per second
    milliseconds: simulated time
    guests: how many
    """
    image = Segments(segments=(Segment(size="1 MiB", zero=0.1, duplicate=0.1),))
    work = RandomAccess(op_time="2 us", write_fraction=0.1)
    return Scenario(
        duration=f"{milliseconds} ms",
        sample_every=f"{max(milliseconds // 20, 1)} ms",
        host=Host(cpus=guests + 1),
        vms=[VM(name=f"vm{number}", image=image, workload=work) for number in range(guests)],
        sharing=Sharing(policy=Cbps(scan_rate=rate)),
    )
