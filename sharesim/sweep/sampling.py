"""Points drawn from ranges, instead of a grid: at random, Latin hypercube, or Sobol' sequence.

All three draw numbers from 0 to 1, which :func:`from_unit` turns into values of each parameter, as
do tuning and sensitivity analysis. Latin hypercube: McKay, Beckman & Conover, Technometrics 21
(1979); Sobol' sequence, scrambled: Owen, J. Complexity 14 (1998). Both are SciPy's.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sharesim.errors import UserError, nearest
from sharesim.sweep.vary import MOST_POINTS, Axis, Range, Values, in_range

METHODS = ("lhs", "random", "sobol")


def sample(axes: Sequence[Axis], count: int, *, seed: int, method: str) -> list[dict[str, Any]]:
    """The settings of ``count`` points, the same for the same seed.

    Of a list, all values are drawn equally often, as far as possible. Under ``random`` and
    ``sobol`` more points of one seed begin with the fewer; of a Latin hypercube they are others.
    Points may be equal where there are few values. UserError for a method that does not exist, no
    axes or a count out of bounds.
    """
    if method not in METHODS:
        raise UserError(f"--sampler {method}: there is no such sampler{nearest(method, METHODS)}")
    if not axes:
        raise UserError("--sample: nothing to draw from; give --vary NAME=LOW:HIGH or NAME=a,b,c")
    if not 1 <= count <= MOST_POINTS:
        raise UserError(f"--sample {count}: a number from 1 to {MOST_POINTS:,} is needed")
    rows = _unit(len(axes), count, seed, method).tolist()
    return [
        {axis.name: from_unit(axis, one) for axis, one in zip(axes, row, strict=True)}
        for row in rows
    ]


def from_unit(axis: Axis, u: float) -> Any:
    """The value at a place from 0 to 1 of an axis.

    Values of a list have equal parts of it, and so have the whole numbers of a linear range. On a
    logarithmic one the whole number k has the part of it from log k to log (k + 1).
    """
    if isinstance(axis, Values):
        return axis.values[min(int(u * len(axis.values)), len(axis.values) - 1)]
    if not axis.integer:
        return in_range(_between(axis, u, axis.high), axis.low, axis.high)
    low, high = int(axis.low), int(axis.high)
    return min(math.floor(in_range(_between(axis, u, high + 1), low, high + 1)), high)


def _between(axis: Range, u: float, high: float) -> float:
    if axis.log:
        first, last = math.log(axis.low), math.log(high)
        return math.exp(first + u * (last - first))
    return axis.low + u * (high - axis.low)


def _unit(dimensions: int, count: int, seed: int, method: str) -> np.ndarray:
    """float64[count, dimensions], each at least 0 and below 1."""
    generator = np.random.default_rng(np.random.SeedSequence(seed))
    if method == "random":
        return generator.random((count, dimensions))
    from scipy.stats import qmc

    if method == "lhs":
        points: np.ndarray = qmc.LatinHypercube(dimensions, seed=generator).random(count)
        return points
    # A sequence is even in powers of two; fewer points are its beginning.
    power = (count - 1).bit_length()
    points = qmc.Sobol(dimensions, scramble=True, seed=generator).random_base2(power)
    return points[:count]
