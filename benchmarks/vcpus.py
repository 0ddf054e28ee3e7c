"""(f) Simulated seconds per second with many busy vCPUs."""

from benchmarks import cases
from benchmarks.measure import Figure, median, time_engine
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import Host, Scenario, Sharing
from sharesim.spec.workloads import RandomAccess

ROUNDS = 3


def scenario(vcpus: int, cpus: int, milliseconds: int) -> Scenario:
    """Guests of four busy vCPUs; an operation is ten accesses in 100 us."""
    work = RandomAccess(op_time="100 us", accesses=10, write_fraction=0.1)
    guests = [
        cases.guest(f"vm{number}", "64 MiB", work).model_copy(update={"vcpus": 4})
        for number in range(vcpus // 4)
    ]
    return Scenario(
        duration=f"{milliseconds} ms",
        sample_every=f"{milliseconds} ms",
        host=Host(cpus=cpus),
        vms=guests,
        sharing=Sharing(policy=Cbps(scan_rate=10_000)),
    )


def run(quick: bool) -> list[Figure]:
    """16 and 256 vCPUs, on as many CPUs and on a quarter of them."""
    figures = []
    for vcpus, simulated in ((16, 800), (256, 100)):
        for cpus in (vcpus, vcpus // 4):
            milliseconds = simulated // 4 if quick else simulated
            runs = [time_engine(scenario(vcpus, cpus, milliseconds)) for _ in range(ROUNDS)]
            speed = milliseconds / 1000 / median([one.seconds for one in runs])
            note = f"{runs[0].counters['accesses']} accesses in {milliseconds} ms"
            name = f"{vcpus} busy vCPUs on {cpus} CPUs"
            figures.append(Figure(name, speed, "simulated s/s", note=note))
    return figures
