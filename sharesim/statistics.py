"""Means with intervals, paired differences, warm-up, and how many replicates are enough.

SciPy and NumPy do what they can; docs/statistics.md explains, with an example to check by hand.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sharesim.errors import UserError

CONFIDENCE = 0.95
BATCH = 5
"""Observations of a batch: the 5 of MSER-5."""
LEAST_BATCHES = 10
"""With fewer nothing is said about warm-up."""
LEAST_REPLICATES = 3
"""With fewer no mean counts as precise: two values are often alike by chance."""
LAST_BATCHES = 5
"""Batches at the end that are never all that is left: a few may be alike by chance."""


@dataclass(frozen=True)
class Estimate:
    """A mean, and Student's t-interval of the true one."""

    mean: float
    half_width: float | None
    """Half of the interval; None for a single value, which tells nothing of its own precision."""
    count: int
    confidence: float

    @property
    def low(self) -> float | None:
        """The lower end of the interval."""
        return None if self.half_width is None else self.mean - self.half_width

    @property
    def high(self) -> float | None:
        """The upper end of the interval."""
        return None if self.half_width is None else self.mean + self.half_width


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE) -> Estimate:
    """The mean of independent values, and its t-interval.

    The order of the values does not matter, not even for the last digit. Raises ValueError for no
    values, values that are not finite, and a confidence that is not between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"a confidence is between 0 and 1; found {confidence}")
    numbers = [float(one) for one in values]
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ValueError(f"one finite value or more is needed; found {numbers}")
    count = len(numbers)
    half = None
    if count > 1:
        half = _student(count - 1, confidence) * statistics.stdev(numbers) / math.sqrt(count)
    return Estimate(statistics.mean(numbers), half, count, confidence)


def paired_difference(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, confidence: float = CONFIDENCE
) -> Estimate:
    """The mean of a - b and its interval, where values at the same place belong together.

    As those of two points at the same replicate do. Raises ValueError as :func:`mean_interval`,
    and where there are not equally many.
    """
    if len(a) != len(b):
        raise ValueError(f"pairs need equally many values; found {len(a)} and {len(b)}")
    differences = [float(one) - float(other) for one, other in zip(a, b, strict=True)]
    return mean_interval(differences, confidence)


def _student(freedom: int, confidence: float) -> float:
    """Student's t, two-sided."""
    from scipy.special import stdtrit  # a tenth of the import of scipy.stats

    return float(stdtrit(freedom, (1.0 + confidence) / 2.0))


# Warm-up


@dataclass(frozen=True)
class Truncation:
    """Where a series is taken to have settled."""

    index: int
    """Observations at the beginning to leave out; a multiple of five."""
    kept: int
    """Observations that are left, in whole batches."""
    statistic: float
    """The squared standard error of the mean of what is left, but for a factor close to 1; nan
    where the series is too short for one."""
    settled: bool
    """Whether there is a warm-up to be seen that ends before half of the series. If not, the run is
    too short to tell."""


def mser5(series: Sequence[float] | np.ndarray) -> Truncation:
    """Where the warm-up of a series of equally spaced observations ends, by MSER-5.

    The series is cut into batches of five; the warm-up is as many of them as must be left out for
    the mean of the others to have the least standard error. What is worse for the mean than fewer
    observations is no longer the same process. White, Cobb & Spratt, "A comparison of five
    steady-state truncation heuristics for simulation", Winter Simulation Conference 2000. A minimum
    in the last half means that the run was too short; the last five batches are not looked at.
    Raises ValueError for values that are not finite.
    """
    means = _batch_means(series)
    count = len(means)
    if count < LEAST_BATCHES:
        return Truncation(0, count * BATCH, math.nan, False)
    errors = _squared_errors(means)[: count - LAST_BATCHES + 1]
    best = int(np.argmin(errors[: count // 2 + 1]))
    return Truncation(
        index=best * BATCH,
        kept=(count - best) * BATCH,
        statistic=float(errors[best]),
        settled=bool(errors[best] <= errors.min()),
    )


def _batch_means(series: Sequence[float] | np.ndarray) -> np.ndarray:
    """float64[batches]; observations at the end that fill no batch are left out."""
    values = np.asarray(series, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("a series of finite values is needed")
    count = len(values) // BATCH
    return values[: count * BATCH].reshape(count, BATCH).mean(axis=1)


def _squared_errors(means: np.ndarray) -> np.ndarray:
    """float64[batches]: sum of (y - mean)^2 over n^2, of the n batches from each one on."""
    # From the last one, so that what is constant to the end has an error of exactly 0.
    offsets = (means - means[-1])[::-1]
    numbers = np.arange(1, len(means) + 1)
    squares = np.cumsum(offsets**2) - np.cumsum(offsets) ** 2 / numbers
    return (np.maximum(squares, 0.0) / numbers**2)[::-1]


# Enough replicates


@dataclass(frozen=True)
class Precision:
    """How wide half an interval may be: one of the two."""

    relative: float | None = None
    """As a share of the mean."""
    absolute: float | None = None
    """In the figure's own unit."""

    def limit(self, mean: float) -> float:
        """The largest half-width."""
        if self.relative is not None:
            return self.relative * abs(mean)
        assert self.absolute is not None
        return self.absolute


def parse_precision(text: str) -> Precision:
    """``5%`` of the mean, or ``0.01`` in the figure's unit. UserError for anything else."""
    number = text.strip()
    relative = number.endswith("%")
    try:
        value = float(number.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not (value > 0.0 and math.isfinite(value)):
        raise UserError(
            f"--until-precision {text}: a share of the mean is needed, such as 5%, or a number in"
            " the figure's own unit, such as 0.01"
        )
    return Precision(relative=value / 100.0) if relative else Precision(absolute=value)


def precise(values: Sequence[float], precision: Precision, confidence: float = CONFIDENCE) -> bool:
    """Whether half of the values' interval is as small as asked for, of three values or more."""
    found = mean_interval(values, confidence)
    if found.half_width is None or found.count < LEAST_REPLICATES:
        return False
    return found.half_width <= precision.limit(found.mean)


def replicates_needed(
    values: Sequence[float], precision: Precision, confidence: float = CONFIDENCE
) -> int:
    """How many more replicates are likely to make values precise: from 1 to as many again.

    n = (t s / limit)^2, with t and s as they are now; the bound is there because s of a few values
    may be far too large. Law, Simulation Modeling and Analysis, 5th ed., 9.4.1.
    """
    found = mean_interval(values, confidence)
    half, limit = found.half_width, precision.limit(found.mean)
    if half is None or half <= limit:
        return 1
    if half >= math.sqrt(2.0) * limit:
        return found.count
    return max(math.ceil(found.count * ((half / limit) ** 2 - 1.0)), 1)
