"""(g) What exact mode costs, on the same scenario."""

from functools import partial

from benchmarks import cases
from benchmarks.measure import Figure, alternate, median, time_engine

ROUNDS = 3


def run(quick: bool) -> list[Figure]:
    """Two busy guests and a scanner, in both modes."""
    accesses = 50_000 if quick else 400_000
    figures = []
    for op_time in (1_000, 10_000):
        decoupled, exact = (
            cases.accessing("64 MiB", accesses, guests=2, op_time=op_time, mode=mode)
            for mode in ("decoupled", "exact")
        )
        runs = alternate(partial(time_engine, exact), partial(time_engine, decoupled), ROUNDS)
        ratio = median([one.seconds / other.seconds for one, other in runs])
        different = [
            f"{name} {one} / {runs[0][1].counters[name]}"
            for name, one in runs[0][0].counters.items()
            if one != runs[0][1].counters[name]
        ]
        note = "exact / decoupled: " + (", ".join(different) or "all counters equal")
        name = f"exact mode, an access each {op_time // 1000} us"
        figures.append(Figure(name, ratio, "x the time", note=note))
    return figures
