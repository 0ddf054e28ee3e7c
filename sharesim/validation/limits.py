"""What a replayed KSM case has to reach: limits on errors, and exact ends where nothing changes."""

from collections.abc import Iterator
from dataclasses import dataclass

from sharesim.content.ksm_case import Case
from sharesim.validation.errors import CounterErrors

PAGES = "pages_unshared+pages_volatile"
CPU = "ksmd_cpu_ns"


@dataclass(frozen=True)
class Limit:
    """An error may be up to ``share``, or ``spreads`` times what the repeats differ."""

    share: float
    spreads: float = 0.0

    def of(self, spread: float | None) -> float:
        """The limit for a counter whose repeats differ so much."""
        return max(self.share, self.spreads * (spread or 0.0))


LIMITS: dict[str, Limit] = {
    "pages_shared": Limit(0.02, spreads=2),
    "pages_sharing": Limit(0.02, spreads=2),
    PAGES: Limit(0.05, spreads=2),
    "ksm_zero_pages": Limit(0.02, spreads=2),
    "full_scans": Limit(0.02, spreads=2),
    "pages_scanned": Limit(0.02, spreads=2),
    "cow_ksm": Limit(0.02, spreads=2),
    CPU: Limit(0.15),
}
"""Judged by time; the other counters are shown only."""

BY_PROGRESS = Limit(0.005, spreads=2)
BY_PROGRESS_COUNTERS = tuple(counter for counter in LIMITS if counter not in (CPU, "cow_ksm"))
"""Judged by the progress of the scan as well; CPU time and guests' writes do not follow from it.

There, too, repeats may differ: an arrival that falls into another batch changes all that follows.
"""

SCANS_APART = 1
"""Full scans by which a static case with smart_scan may end apart from the recordings: a scan in
which everything is skipped takes one batch, so that the end falls into one scan or the next."""


@dataclass(frozen=True)
class Miss:
    """A figure outside its limit, in words."""

    counter: str
    kind: str
    """``"error"``, ``"by_progress"`` or ``"final"``."""
    found: str
    wanted: str


def is_static(case: Case) -> bool:
    """Whether guests only sit there: no write, no madvise, nobody comes or goes."""
    quiet = all(len(case.raw_writes(number)[0]) == 0 for number in range(len(case.processes)))
    stay = all(one.arrive_ns == 0 and one.exit_ns is None for one in case.processes)
    return quiet and stay and not case.events


def misses(case: Case, counters: dict[str, CounterErrors]) -> Iterator[Miss]:
    """All that lies outside its limits."""
    for name, limit in LIMITS.items():
        yield from _beyond(name, "error", counters[name].error, limit.of(counters[name].spread))
    for name in BY_PROGRESS_COUNTERS:
        limit_there = BY_PROGRESS.of(counters[name].spread_by_progress)
        yield from _beyond(name, "by_progress", counters[name].by_progress, limit_there)
    if is_static(case):
        for name, errors in counters.items():
            yield from _wrong_end(case, name, errors)


def _beyond(counter: str, kind: str, error: float | None, limit: float) -> Iterator[Miss]:
    if error is None:
        yield Miss(counter, kind, "not 0", "0 as recorded")
    elif error > limit:
        yield Miss(counter, kind, f"{100 * error:.2f} %", f"≤ {100 * limit:.2f} %")


def _wrong_end(case: Case, counter: str, errors: CounterErrors) -> Iterator[Miss]:
    """In a static case the end has to be exact, as far as the repeats agree on it."""
    slack = _slack(case, counter)
    if slack is None:
        return
    low, high = min(errors.final_recorded) - slack, max(errors.final_recorded) + slack
    if not low <= errors.final_simulated <= high:
        wanted = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        yield Miss(counter, "final", f"{errors.final_simulated:,}", wanted)


def _slack(case: Case, counter: str) -> int | None:
    """By how much the end of a static case may be off; None where it is not judged."""
    if counter == CPU:
        return None
    if case.knobs.get("smart_scan", 1):
        return SCANS_APART if counter == "full_scans" else None
    return 0
