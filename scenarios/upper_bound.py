"""Perfect sharing of captured guests: what no scanner can better, and what breaks alone cost."""

from sharesim import VM, Captured, Host, Oracle, Replay, Scenario, Sharing, open_capture


def scenario(
    capture: str = "mixed6-60s",
    vms: int = 4,
    cpus: int = 2,
    duration: str = "10 s",
    every: str = "500 ms",
) -> Scenario:
    """Captured guests under an oracle that shares all equal pages for nothing, again and again.

    The scanner's time is left out, so that what is left of the cost is that of breaks.

    capture: name of a capture that comes with sharesim, or path of one
    vms: how many of its guests, from the first on
    cpus: CPUs of the host
    duration: simulated time
    every: how often the oracle shares what is equal
    """
    guests = open_capture(capture).guests[:vms]
    return Scenario(
        title="Upper bound",
        duration=duration,
        sample_every=every,
        host=Host(cpus=cpus),
        vms=[
            VM(
                name=guest.name,
                image=Captured(capture=capture, guest=guest.name),
                workload=Replay(cpu_scale=0.25),
            )
            for guest in guests
        ],
        sharing=Sharing(policy=Oracle(wake_period=every)),
        baseline=True,
    )
