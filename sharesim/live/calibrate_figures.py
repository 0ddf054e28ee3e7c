"""What a calibration measures: samples of one thing each, their median and their spread."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

NOISY = 0.20
"""A spread above this is worth a warning: something else was running, or the machine is shared."""


@dataclass(frozen=True)
class Effort:
    """How much work goes into a calibration."""

    repeats: int
    """Samples of each figure."""
    pages: int
    """Pages that are touched, copied or hashed for one sample."""
    cold_bytes: int
    """Size of the memory from which pages are taken that shall be in no cache."""
    switches: int
    """Context switches, timers or flushes for one sample."""


FULL = Effort(repeats=9, pages=8192, cold_bytes=512 << 20, switches=2000)
QUICK = Effort(repeats=3, pages=2048, cold_bytes=128 << 20, switches=400)


@dataclass(frozen=True)
class Measured:
    """Samples of one figure, in ns for each operation unless ``how`` says otherwise."""

    samples: tuple[float, ...]
    how: str
    """How it was measured, in a few words; goes into the profile as the figure's source."""

    @property
    def value(self) -> float:
        """The median."""
        return median(self.samples)

    @property
    def spread(self) -> float:
        """Range of the middle half of the samples, as a part of the median; 0 for a zero median."""
        return quartile_range(self.samples) / abs(self.value) if self.value else 0.0

    def map(self, change: Callable[[float], float]) -> "Measured":
        """The same with each sample changed."""
        return Measured(tuple(change(one) for one in self.samples), self.how)


Figures = dict[str, Measured]


def quartile_range(samples: Iterable[float]) -> float:
    """Upper less lower quartile, interpolated between the samples; 0 for one sample."""
    ordered = sorted(samples)

    def at(part: float) -> float:
        place = part * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (place - below) * (ordered[above] - ordered[below])

    return at(0.75) - at(0.25)


def timed(work: Callable[[], Any], operations: int) -> float:
    """CPU time in ns that each of the ``operations`` takes which ``work`` does at one go.

    Of this thread: what runs in between on the same CPU does not count, nor does waiting.
    """
    begin = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - begin) / operations


def sampled(take: Callable[[], float], repeats: int, how: str) -> Measured:
    """``repeats`` samples, after one more that warms up and is thrown away."""
    take()
    return Measured(tuple(take() for _ in range(repeats)), how)
