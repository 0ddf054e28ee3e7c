"""A snapshot of captured guests that nobody writes to: what a scanner must find, exactly."""

from typing import Literal

from sharesim import VM, Captured, Cbps, Host, Oracle, Scenario, Sharing, open_capture


def scenario(
    capture: str = "mixed6-60s",
    at: str = "0 s",
    policy: Literal["cbps", "oracle"] = "cbps",
    order: Literal["linear", "random"] = "linear",
    passes: int = 1,
    verify: bool = True,
    scan_rate: int = 100_000,
) -> Scenario:
    """All guests of a capture, frozen: saved memory must come to the closed form.

    That is what `sharesim inspect` counts in the same snapshot: reclaimable + zero_backed - 1.

    capture: name of a capture that comes with sharesim, or path of one
    at: time within the capture
    policy: how equal pages are found; oracle needs one wake-up
    order: order in which a pass over memory visits pages
    passes: passes over intervals of hash values that cover memory once
    verify: compare bytes before merging; False trusts equal digests
    scan_rate: pages to scan per second; one CPU manages 100,000 and more
    """
    guests = open_capture(capture).guests
    pages = sum(guest.pages for guest in guests)
    # Every pass once, and time for the last batch.
    seconds = 0.1 if policy == "oracle" else pages * passes / scan_rate + 0.1
    cbps = Cbps(scan_rate=scan_rate, order=order, passes=passes, verify=verify)
    return Scenario(
        title="A frozen snapshot",
        duration=f"{seconds:.3f} s",
        sample_every=f"{seconds / 10:.3f} s",
        host=Host(cpus=2),
        vms=[
            VM(name=guest.name, image=Captured(capture=capture, guest=guest.name, at=at))
            for guest in guests
        ],
        sharing=Sharing(policy=Oracle() if policy == "oracle" else cbps),
    )
