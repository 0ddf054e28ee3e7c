"""(e) Memory that the scanner does not look at must not slow the simulation down."""

from functools import partial

from benchmarks import cases
from benchmarks.measure import Figure, Timed, alternate, at_most, median, time_engine

ROUNDS = 9
SAME_WORK = 0.01


def run(quick: bool) -> list[Figure]:
    """The same accesses and pages scanned, without and with an idle guest of the same size."""
    milliseconds = 60 if quick else 400
    figures = []
    for size in (cases.HOT, "1 GiB"):
        small = cases.scanning(size, milliseconds, busy=True)
        large = cases.scanning(size, milliseconds, busy=True, outside=size)
        # the first pair warms up
        runs = alternate(partial(time_engine, small), partial(time_engine, large), ROUNDS)[1:]
        ratio = median([_relative(*pair, cpu=False) for pair in runs])
        cpu_ratio = median([_relative(*pair, cpu=True) for pair in runs])
        note = ", ".join(f"{value} {name}" for name, value in runs[0][0].counters.items())
        name = f"twice the memory, half outside the scan list, {size}"
        figures.append(at_most(name, ratio, "x", 1.10, note))
        figures.append(Figure(f"the same in CPU time, {size}", cpu_ratio, "x"))
    return figures


def _relative(small: Timed, large: Timed, *, cpu: bool) -> float:
    """Time for a piece of work with the guest outside, relative to without it.

    In decoupled mode the guest's events cut quanta up differently, so a handful of accesses or
    merges may fall out otherwise; more than one in a hundred would be other work.
    """
    work = [one.counters["accesses"] + one.counters["pages_scanned"] for one in (small, large)]
    if abs(work[1] - work[0]) > SAME_WORK * work[0]:
        raise AssertionError(f"{small.counters} without, {large.counters} with the guest")
    if cpu:
        return large.cpu_seconds / work[1] / (small.cpu_seconds / work[0])
    return large.seconds / work[1] / (small.seconds / work[0])
