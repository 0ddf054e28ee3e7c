"""Differences between two runs over the same stretch of simulated time, with intervals.

The stretch is cut into at most twenty batches at times that both runs sampled. Where runs share
their seed, equal guests draw equal random numbers (each draw is a function of seed, guest and
index), so their batches are compared pair by pair: what both went through alike cancels out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sharesim.results.load import Floats, TimelineSeries
from sharesim.results.summary import BATCHES, LEAST_BATCHES, T_95

Estimate = dict[str, Any]
"""``value``, ``half_width`` of its 95 % interval (None: too few batches), ``distinguishable``."""
NOTHING: Estimate = {"value": None, "half_width": None, "distinguishable": False}


@dataclass(frozen=True)
class Change:
    """How a measure of a guest or the host changed from the first run to another one."""

    entity: str
    measure: str
    unit: str
    """Of ``first`` and ``other``; ``""`` for a share."""
    first: float | None
    other: float | None
    change: Estimate
    """Relative to the first, or in the unit."""
    relative: bool
    paired: bool


def batch_times(one: TimelineSeries, other: TimelineSeries) -> tuple[Floats, bool]:
    """Edges of the batches of two runs' common window, and whether both sampled at all of them.

    Where too few of their samples coincide the window is cut evenly, and counters are interpolated
    between the samples.
    """
    begin, end = max(one.start_s, other.start_s), min(one.end_s, other.end_s)
    both = np.intersect1d(one.edges(len(one.table)), other.edges(len(other.table)))
    times = both[(both >= begin) & (both <= end)]
    if len(times) > LEAST_BATCHES:
        chosen = np.linspace(0, len(times) - 1, min(BATCHES, len(times) - 1) + 1)
        return times[chosen.round().astype(np.int64)], True
    fewest = min(len(series.edges(len(series.table))) for series in (one, other))
    if fewest > LEAST_BATCHES and end > begin:
        return np.linspace(begin, end, BATCHES + 1), False
    return times, True


def ratio_change(ours: Floats, theirs: Floats, *, paired: bool) -> Estimate:
    """How much a ratio of sums is above another, as a share of that other.

    Both float[batches, 2]: what is summed, and over what (seconds, operations). Paired it is the
    negative of :func:`sharesim.results.summary.paired_loss`.
    """
    if min(ours[:, 1].sum(), *theirs.sum(axis=0)) <= 0:
        return NOTHING
    a, b = _mean(ours), _mean(theirs)
    half = _half_width(_deviations(ours) / b, _deviations(theirs) * (a / b) / b, paired=paired)
    return _estimate(a / b - 1.0, half)


def difference(ours: Floats, theirs: Floats, *, paired: bool) -> Estimate:
    """How much a ratio of sums is above another, in its unit; arrays as of ratio_change."""
    if min(ours[:, 1].sum(), theirs[:, 1].sum()) <= 0:
        return NOTHING
    half = _half_width(_deviations(ours), _deviations(theirs), paired=paired)
    return _estimate(_mean(ours) - _mean(theirs), half)


def _mean(batches: Floats) -> float:
    return float(batches[:, 0].sum() / batches[:, 1].sum())


def _deviations(batches: Floats) -> Floats:
    """Of each batch from the ratio of the sums, in its unit; they sum to zero."""
    sums, over = batches.T
    return np.asarray((sums - _mean(batches) * over) / over.mean())


def _half_width(ours: Floats, theirs: Floats, *, paired: bool) -> float | None:
    count = len(ours)
    if count < LEAST_BATCHES:
        return None
    parts = [ours - theirs] if paired else [ours, theirs]
    variance = sum(float((part**2).sum()) for part in parts) / (count * (count - 1))
    return float(np.sqrt(variance)) * T_95[count - 1]


def _estimate(value: float, half: float | None) -> Estimate:
    stands_out = half is not None and abs(value) > max(half, 1e-12)
    return {"value": value, "half_width": half, "distinguishable": bool(stands_out)}


@dataclass(frozen=True)
class Measure:
    """What is measured: cumulative columns, by the second or by the operation."""

    name: str
    unit: str
    """``""`` for a share."""
    columns: tuple[str, ...]
    by_operation: bool = False
    relative: bool = True
    """Whether its change is a share of what it was, or in its unit."""
    scale: float = 1.0


THROUGHPUT = Measure("throughput", "operations/s", ("operations",))
CPU = Measure("CPU per operation", "ns", ("cpu_ns",), by_operation=True)
HOST_CPU = Measure(
    CPU.name, "ns", ("cpu_vcpu_ns", "cpu_scanner_ns", "cpu_switch_ns"), by_operation=True
)
LATENESS = Measure("lateness", "ns", ("lateness_ns",), by_operation=True, relative=False)
SCANNER = Measure("scanner's share of a CPU", "", ("cpu_scanner_ns",), relative=False, scale=1e-9)
BREAKS = Measure("COW breaks", "per second", ("cow_breaks",), relative=False)


class Pair:
    """Batches of two runs: the first, and the other that is compared with it."""

    def __init__(self, first: TimelineSeries, other: TimelineSeries, edges: Floats) -> None:
        self.first = first
        self.other = other
        self.edges = edges

    def change(
        self,
        measure: Measure,
        entities: Sequence[str],
        *,
        workers: Sequence[str] = (),
        paired: bool,
        name: str = "",
    ) -> Change | None:
        """A measure, summed over entities; None where it was not recorded in both runs all along.

        ``workers`` are those whose operations count, if others than ``entities``.
        """
        who = workers or entities
        ours = self._batches(self.other, measure, entities, who)
        theirs = self._batches(self.first, measure, entities, who)
        if ours is None or theirs is None:
            return None
        estimate = (ratio_change if measure.relative else difference)(ours, theirs, paired=paired)
        before, now = (_mean(one) if one[:, 1].sum() > 0 else None for one in (theirs, ours))
        named = name or entities[0]
        return Change(
            named, measure.name, measure.unit, before, now, estimate, measure.relative, paired
        )

    def _batches(
        self,
        series: TimelineSeries,
        measure: Measure,
        entities: Sequence[str],
        workers: Sequence[str],
    ) -> Floats | None:
        """float[batches, 2]: what is summed, and seconds or operations."""
        sums = self._growth(series, entities, measure.columns)
        over = np.diff(self.edges)
        if measure.by_operation:
            over = self._growth(series, workers, THROUGHPUT.columns)
        batches = np.column_stack([sums * measure.scale, over])
        return batches if len(batches) and np.isfinite(batches).all() else None

    def _growth(
        self, series: TimelineSeries, entities: Sequence[str], columns: tuple[str, ...]
    ) -> Floats:
        parts = [series.growth(name, column, self.edges) for name in entities for column in columns]
        return np.asarray(np.sum(parts, axis=0))
