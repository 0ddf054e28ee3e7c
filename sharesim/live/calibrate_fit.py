"""Arithmetic of ksmd's costs: what scans of known memory are made of, and what each part took.

A scan of memory whose contents are known consists of known numbers of primitive steps. Its CPU time
is their sum; enough different scans give the cost of each step by least squares. Nothing in here
touches the machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sharesim.live.calibrate_figures import Figures, Measured
from sharesim.live.calibrate_trees import Searches
from sharesim.sharing.ksm_state import FAR_LEVELS, NEAR_LEVELS

Counts = dict[str, float]
"""How often each primitive occurs in a scan, by its key."""

COLD = (
    "ksm_first_visit",
    "ksm_visit",
    "ksm_merged_visit",
    "ksm_stable_compare",
    "ksm_unstable_compare",
    "ksm_unstable_depth",
    "ksm_merge_stable",
    "ksm_merge_pair",
)
"""Primitives that cost more right after a wake-up; KEY_cold is how much more."""
LEAST_SHARE = 0.01
LEAST_REPEATS = 2
PRIOR = 0.02
"""A cost that is off by 100 % from another machine's counts as much as a scan off by this."""
NEGLIGIBLE = 1e-9


def stable_search(searches: Searches) -> Counts:
    """Steps of searches of the stable tree."""
    return {
        "ksm_stable_compare": float(searches.compared.sum()),
        "ksm_stable_depth": _levels_beyond(int(NEAR_LEVELS), searches),
    }


def unstable_search(searches: Searches) -> Counts:
    """Steps of searches of the unstable tree."""
    return {
        "ksm_unstable_compare": float(searches.compared.sum()),
        "ksm_unstable_depth": _levels_beyond(int(NEAR_LEVELS), searches),
        "ksm_unstable_far": _levels_beyond(int(FAR_LEVELS), searches),
    }


def _levels_beyond(levels: int, searches: Searches) -> float:
    """By how much balanced trees of these sizes are deeper than so many levels, all together."""
    depths = np.log2(np.maximum(searches.pages, 1))
    return float(np.maximum(depths - levels, 0).sum())


def added(*parts: Mapping[str, float]) -> Counts:
    """The sum of several counts."""
    total: Counts = {}
    for part in parts:
        for key, count in part.items():
            total[key] = total.get(key, 0.0) + count
    return total


@dataclass(frozen=True)
class Stretch:
    """Pages of one kind that a scan examines one after the other, and all their steps."""

    pages: int
    steps: Mapping[str, float]


def scan_counts(stretches: Sequence[Stretch], batch: int, warm_pages: float) -> Counts:
    """All of a full scan in batches of ``batch`` pages: steps, wake-ups, start, cold caches.

    The extra cost of cold caches fades as exp(-pages examined since the wake-up / ``warm_pages``).
    The end of a scan is noticed by the first request beyond its last page, which may take one more
    batch.
    """
    pages = sum(one.pages for one in stretches)
    cold = np.exp(-(np.arange(pages) % batch) / warm_pages)
    total: Counts = {"ksm_wakeup": pages // batch + 1, "ksm_scan_start": 1}
    first = 0
    for one in stretches:
        share = float(cold[first : first + one.pages].mean()) if one.pages else 0.0
        extra = {f"{key}_cold": one.steps[key] * share for key in COLD if key in one.steps}
        total = added(total, one.steps, extra)
        first += one.pages
    return total


@dataclass(frozen=True)
class Scan:
    """A kind of full scan: what it is made of, and what it took each time."""

    title: str
    counts: Counts
    cpu_ns: tuple[float, ...]


def fit(scans: Sequence[Scan], base: Mapping[str, float]) -> Figures:
    """Costs of the primitives that the scans tell, none negative, by least squares.

    Fitted to the median CPU time of each scan, errors counting relative to it; with several
    repeats once for each one left out, which gives the spread. ``base`` has costs of another
    machine: a primitive that by them makes up less than a 100th of every scan cannot be told, and
    is taken from there; and they say gently how the costs of the others relate to one another.
    """
    keys = _told(scans, base)
    repeats = min(len(scan.cpu_ns) for scan in scans)
    left_out = list(range(repeats)) if repeats >= LEAST_REPEATS else [None]
    samples = [_fit_once(scans, keys, base, one) for one in left_out]
    how = f"fitted to ksmd's CPU time in {len(scans)} kinds of scans, each repeat left out in turn"
    columns = np.array(samples).T.tolist()
    return {key: Measured(tuple(one), how) for key, one in zip(keys, columns, strict=True)}


def _fit_once(
    scans: Sequence[Scan], keys: Sequence[str], base: Mapping[str, float], left_out: int | None
) -> np.ndarray:
    """float64[keys], without one repeat of each scan."""
    kept = [[ns for at, ns in enumerate(scan.cpu_ns) if at != left_out] for scan in scans]
    took = np.array([float(np.median(one)) for one in kept])
    table = np.array([[scan.counts.get(key, 0.0) for key in keys] for scan in scans])
    given = base.keys() - set(keys)
    rest = np.array([sum(scan.counts.get(k, 0.0) * base[k] for k in given) for scan in scans])
    table, values = table / took[:, None], (took - rest) / took
    known = [at for at, key in enumerate(keys) if key in base]
    typical = np.array([base[keys[at]] for at in known])
    modelled = table[:, known] @ typical
    typical = typical * (modelled @ values) / (modelled @ modelled)  # this machine's speed
    prior = np.zeros((len(known), len(keys)))
    prior[np.arange(len(known)), known] = PRIOR / typical
    return non_negative(
        np.vstack([table, prior]), np.concatenate([values, np.full(len(known), PRIOR)])
    )


def _told(scans: Sequence[Scan], base: Mapping[str, float]) -> list[str]:
    """Primitives that make a difference to any of the scans."""
    keys = sorted({key for scan in scans for key in scan.counts})
    took = [float(np.median(scan.cpu_ns)) for scan in scans]

    def weight(key: str) -> float:
        shares = (scan.counts.get(key, 0.0) / ns for scan, ns in zip(scans, took, strict=True))
        return max(shares) * base[key]

    return [key for key in keys if key not in base or weight(key) >= LEAST_SHARE]


def non_negative(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Least squares with no negative solution (Lawson and Hanson, 1974, chapter 23).

    ``table`` is float64[m, n], ``values`` float64[m]; returns float64[n]. Columns are scaled to
    one length first, as they differ by orders of magnitude.
    """
    length = np.linalg.norm(table, axis=0)
    length[length == 0] = 1.0
    matrix = table / length
    solution = np.zeros(matrix.shape[1])
    free = np.zeros(matrix.shape[1], bool)
    gradient = matrix.T @ values
    for _ in range(3 * matrix.shape[1]):
        if free.all() or gradient[~free].max() <= NEGLIGIBLE:
            break
        free[np.argmax(np.where(free, -np.inf, gradient))] = True
        solution = _inside(matrix, values, solution, free)
        gradient = matrix.T @ (values - matrix @ solution)
    return np.asarray(solution / length)


def _inside(
    matrix: np.ndarray, values: np.ndarray, solution: np.ndarray, free: np.ndarray
) -> np.ndarray:
    """The best with only the ``free`` places above 0; frees no longer what would be negative."""
    while True:
        trial = np.zeros_like(solution)
        trial[free] = np.linalg.lstsq(matrix[:, free], values, rcond=None)[0]
        below = free & (trial <= 0)
        if not below.any():
            return trial
        step = np.min(solution[below] / (solution[below] - trial[below]))
        solution = solution + step * (trial - solution)
        free &= solution > NEGLIGIBLE
        solution[~free] = 0.0


def worst_residual(scans: Sequence[Scan], costs: Mapping[str, float]) -> tuple[str, float]:
    """The scan that the costs reproduce worst, and modelled over measured CPU time, less 1."""
    errors = {}
    for scan in scans:
        modelled = sum(count * costs[key] for key, count in scan.counts.items())
        errors[scan.title] = modelled / float(np.median(scan.cpu_ns)) - 1
    worst = max(errors, key=lambda title: abs(errors[title]))
    return worst, errors[worst]
