"""Seeds of replicates."""

import numpy as np


def replicate_seed(master: int, replicate: int) -> int:
    """The seed of a replicate, counted from 1, of all points of a sweep: at least 0, below 2^63.

    The first replicate has the master seed itself, so it is the run that ``sharesim run`` makes.

    It depends on nothing else, least of all on the point, and that is on purpose. Replicate 3 sees
    the same memory contents and the same accesses at every point (common random numbers), so the
    difference between two points has only the part of chance in it that differs between them, and
    is known more precisely from the same number of runs. See docs/statistics.md.
    """
    if replicate < 1:
        raise ValueError(f"replicates count from 1; found {replicate}")
    if replicate == 1:
        return master
    words = np.random.SeedSequence([master, replicate]).generate_state(1, np.uint64)
    return int(words[0]) >> 1
