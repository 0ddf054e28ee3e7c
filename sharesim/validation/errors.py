"""How far a simulated run of counters is from recorded ones, by time and by scan progress.

All errors are weighted, sum |a - b| / sum |b| over the samples of the recording b: a counter's
small values weigh as little as they matter. Where b is zero throughout there is nothing to weigh
by; the error is then 0 if a is zero as well, and None if it is not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

PROGRESS = ("pages_scanned", "pages_skipped")
"""Their sum is how far a scan has come, whatever time that took."""

SUMS = {"pages_unshared+pages_volatile": ("pages_unshared", "pages_volatile")}
"""Counters that are compared as a sum, too: smart_scan moves pages from one to the other."""


@dataclass(frozen=True, eq=False)
class Series:
    """Counters over time: ``times`` in ns (int64, ascending) and an array of that length for each.

    Between two samples a counter is what it was at the earlier one.
    """

    times: np.ndarray
    counters: Mapping[str, np.ndarray]

    def __getitem__(self, counter: str) -> np.ndarray:
        """The samples of a counter, or of a sum of counters, as float64."""
        parts = [self.counters[part] for part in SUMS.get(counter, (counter,))]
        return np.vstack(parts).sum(axis=0, dtype=np.float64)

    @property
    def progress(self) -> np.ndarray:
        """Pages that the scan has dealt with, at each sample; never falls."""
        passed = np.vstack([self.counters[part] for part in PROGRESS]).sum(axis=0)
        return np.maximum.accumulate(passed)


@dataclass(frozen=True)
class CounterErrors:
    """What became of one counter, simulated once and recorded in several repeats."""

    error: float | None
    """Mean of the errors against each repeat."""
    nearest: float | None
    """Error against the repeat that it is nearest to."""
    spread: float | None
    """Mean error of the repeats against one another; None for a single repeat."""
    by_progress: float | None
    """As ``error``, with the samples compared at equal progress of the scan, not at equal times."""
    spread_by_progress: float | None
    final_simulated: int
    final_recorded: tuple[int, ...]
    """Last sample of each repeat."""


def compare(simulated: Series, repeats: Sequence[Series], counter: str) -> CounterErrors:
    """The errors of a counter. ``simulated`` has a sample at each time of every repeat."""
    errors = [weighted_error(at_times(simulated, one, counter), one[counter]) for one in repeats]
    progress = [error_by_progress(simulated, one, counter) for one in repeats]
    ends = [one.times[-1] for one in repeats]
    last = np.searchsorted(simulated.times, max(ends), side="right") - 1
    known = [error for error in errors if error is not None]
    return CounterErrors(
        error=_mean(errors),
        nearest=min(known, default=None),
        spread=_spread(repeats, counter, error_of_repeat),
        by_progress=_mean(progress),
        spread_by_progress=_spread(repeats, counter, error_by_progress),
        final_simulated=int(simulated[counter][last]),
        final_recorded=tuple(int(one[counter][-1]) for one in repeats),
    )


def weighted_error(values: np.ndarray, recorded: np.ndarray) -> float | None:
    """sum |values - recorded| / sum |recorded|; of a recording that is all zero, 0 or None."""
    weight = float(np.abs(recorded).sum())
    apart = float(np.abs(values - recorded).sum())
    if weight:
        return apart / weight
    return None if apart else 0.0


def error_of_repeat(one: Series, other: Series, counter: str) -> float | None:
    """How far a repeat is from another one, as the error of a simulation is defined."""
    return weighted_error(nearest_in_time(one, other, counter), other[counter])


def error_by_progress(series: Series, other: Series, counter: str) -> float | None:
    """The error at equal progress, over the samples of ``other`` that are not beyond the end."""
    reached = other.progress <= series.progress[-1]
    return weighted_error(at_progress(series, other, counter)[reached], other[counter][reached])


def at_times(series: Series, other: Series, counter: str) -> np.ndarray:
    """The counter as it was at each sample time of ``other``; 0 before the first sample."""
    place = np.searchsorted(series.times, other.times, side="right") - 1
    return np.where(place < 0, 0.0, series[counter][np.maximum(place, 0)])


def nearest_in_time(series: Series, other: Series, counter: str) -> np.ndarray:
    """The counter's sample nearest to each sample of ``other``: both sampled at about one time."""
    after = np.clip(np.searchsorted(series.times, other.times), 1, max(1, len(series.times) - 1))
    before = after - 1
    after = np.minimum(after, len(series.times) - 1)
    to_before = np.abs(other.times - series.times[before])
    later = np.abs(series.times[after] - other.times) < to_before
    return series[counter][np.where(later, after, before)]


def at_progress(series: Series, other: Series, counter: str) -> np.ndarray:
    """The counter when the scan of ``series`` was as far as that of ``other`` at each sample.

    While ksmd sleeps the progress stands still and guests go on, so of several samples with the
    wanted progress the one nearest in time counts. Where there is none, as in the middle of a
    batch, the counter is taken to move evenly from the sample before to the one after.
    """
    progress, wanted = series.progress, other.progress
    first = np.searchsorted(progress, wanted, side="left")
    behind = np.searchsorted(progress, wanted, side="right")
    values = series[counter]
    exact = _nearest_between(series.times, other.times, first, behind)
    return np.where(
        first < behind, values[exact], np.interp(wanted, *_ends_of_steps(progress, values))
    )


def _nearest_between(
    times: np.ndarray, wanted: np.ndarray, first: np.ndarray, behind: np.ndarray
) -> np.ndarray:
    """For each wanted time the nearest sample of those from ``first`` to before ``behind``."""
    place = np.clip(np.searchsorted(times, wanted), first, np.maximum(first, behind - 1))
    earlier = np.maximum(place - 1, first)
    last = len(times) - 1
    place, earlier = np.minimum(place, last), np.minimum(earlier, last)
    nearer = np.abs(times[earlier] - wanted) < np.abs(times[place] - wanted)
    return np.where(nearer, earlier, place)


def _ends_of_steps(progress: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Progress and values at the first and last sample of each standstill, for interpolation."""
    edges = np.flatnonzero(np.diff(progress)) + 1
    kept = np.unique(np.concatenate(([0], edges - 1, edges, [len(progress) - 1])))
    return progress[kept], values[kept]


def _spread(
    repeats: Sequence[Series], counter: str, error: Callable[[Series, Series, str], float | None]
) -> float | None:
    return _mean([error(one, other, counter) for one, other in permutations(repeats, 2)])


def _mean(errors: Sequence[float | None]) -> float | None:
    """The mean, if there is one and none is unknown."""
    known = [error for error in errors if error is not None]
    return float(np.mean(known)) if errors and len(known) == len(errors) else None
