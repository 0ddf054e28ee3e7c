"""Which points no other point beats: the frontier of several aims."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sharesim.results.style import Floats

Bools = NDArray[np.bool_]


def non_dominated(values: Floats, better: Sequence[str]) -> Bools:
    """Of float[points, aims], the points that no other one is better than in one aim and no worse
    than in any.

    ``better`` says of each aim whether ``"high"`` or ``"low"`` is better. Equal points do not beat
    one another. A point with a NaN is never among them, and beats none. Raises ValueError for
    another direction, or a number of them that does not fit.
    """
    wanted = {"high": -1.0, "low": 1.0}
    if values.ndim != 2 or values.shape[1] != len(better) or not set(better) <= set(wanted):
        raise ValueError(f"{values.shape} values do not fit the directions {list(better)}")
    costs = values * [wanted[one] for one in better]
    best = np.zeros(len(costs), dtype=np.bool_)
    known = np.flatnonzero(np.isfinite(costs).all(axis=1))
    # In lexical order nobody is beaten by one that comes later; so those found so far suffice.
    for at in known[np.lexsort(costs[known].T[::-1])]:
        found = costs[best]
        beaten = (found <= costs[at]).all(axis=1) & (found < costs[at]).any(axis=1)
        best[at] = not beaten.any()
    return best
