"""Losses of throughput between paired runs, from their timelines alone.

Whoever has the timelines of a run and of its pairs can derive the same figures again. Losses are
ratios of sums over one window, with the paired interval of :mod:`sharesim.results.summary`.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sharesim.machine.tables import CAUSES
from sharesim.results.summary import BATCHES, paired_loss

if TYPE_CHECKING:
    import pandas


class Loss(NamedTuple):
    """A difference between paired runs, in percent; with half of its 95 % interval, if any."""

    percent: float | None
    half: float | None = None

    @property
    def distinguishable(self) -> bool:
        """Whether it stands out from none."""
        return not self.within(0.0)

    def within(self, bound: float) -> bool:
        """Whether a bound lies in its interval; without an interval it cannot be told."""
        if self.percent is None or self.half is None:
            return True
        return abs(self.percent - bound) <= self.half


@dataclass(frozen=True)
class Window:
    """What guests of one run did between two times."""

    operations: np.ndarray
    """float[batches]: operations finished in each."""
    ledger: dict[str, float]
    """ns of all their vCPUs, by cause."""
    seconds: float

    @property
    def rate(self) -> float:
        """Operations per second."""
        return float(self.operations.sum() / self.seconds)


def window(
    timeline: "pandas.DataFrame",
    start: int,
    end: int | None = None,
    vms: Collection[str] | None = None,
) -> Window:
    """The window from ``start`` to ``end`` (by default the last sample), both ns of a sample.

    ``vms``: the guests that are counted, by default all.
    """
    guests = timeline[timeline.operations.notna()]
    if vms is not None:
        guests = guests[guests.entity.isin(list(vms))]
    if end is not None:
        guests = guests[guests.time_ns <= end]
    guests = guests[guests.time_ns >= start]
    sums = guests.groupby("time_ns")[["operations", *(f"{cause}_ns" for cause in CAUSES)]].sum()
    edges = np.linspace(0, len(sums) - 1, min(BATCHES, len(sums) - 1) + 1).round().astype(int)
    grown = sums.iloc[-1] - sums.iloc[0]
    return Window(
        np.diff(sums.operations.to_numpy(np.float64)[edges]),
        {cause: float(grown[f"{cause}_ns"]) for cause in CAUSES},
        float(sums.index[-1] - sums.index[0]) / 1e9,
    )


def loss(with_it: Window, without: Window) -> Loss:
    """1 - X/Y of the throughputs."""
    return _ratio_from_one(with_it.operations, without.operations)


def _ratio_from_one(with_it: np.ndarray, without: np.ndarray) -> Loss:
    found = paired_loss(with_it, without)
    half = found["half_width"]
    if found["value"] is None:
        return Loss(None)
    return Loss(100 * found["value"], None if half is None else 100 * half)


def ledger(with_it: Window, without: Window) -> dict[str, float]:
    """A loss as the ledger has it, in percent: how much each cause grew, over the work without.

    The causes fill the window; were there no contention, their sum would be the loss.
    """
    work = without.ledger["work"]
    return {
        cause: 100 * (with_it.ledger[cause] - without.ledger[cause]) / work
        for cause in CAUSES
        if cause != "work" and work
    }


def host_rate(timeline: "pandas.DataFrame", column: str, start: int) -> float:
    """Growth per second, from ``start`` on, of a cumulative column of the host."""
    host = timeline[(timeline.entity == "host") & (timeline.time_ns >= start)]
    grown = host.iloc[-1][["time_ns", column]] - host.iloc[0][["time_ns", column]]
    return float(1e9 * grown[column] / grown.time_ns)


@dataclass(frozen=True)
class Cell:
    """Guests run natively (P0), under a paging mode (P1), and sharing under it (P2)."""

    native: Window
    off: Window
    on: Window

    @property
    def paging(self) -> Loss:
        """By paging alone: 1 - X1/X0."""
        return loss(self.off, self.native)

    @property
    def sharing(self) -> Loss:
        """By sharing alone: 1 - X2/X1."""
        return loss(self.on, self.off)

    @property
    def total(self) -> Loss:
        """By both: 1 - X2/X0."""
        return loss(self.on, self.native)

    @property
    def paging_share(self) -> Loss:
        """Paging's share of the total: (X0 - X1) / (X0 - X2)."""
        lost = self.native.operations - self.on.operations
        sharing = _ratio_from_one(self.native.operations - self.off.operations, lost)
        if sharing.percent is None:
            return sharing
        return Loss(100 - sharing.percent, sharing.half)

    def residual(self, of: str) -> float | None:
        """What of a loss (``"paging"`` or ``"sharing"``) the ledger does not explain, in points."""
        pair = (self.off, self.native) if of == "paging" else (self.on, self.off)
        measured = loss(*pair).percent
        return None if measured is None else measured - sum(ledger(*pair).values())


class Crossing(NamedTuple):
    """Where a swept figure reaches a level; none if it does not, and then why."""

    at: float | None
    note: str


def crossing(points: Sequence[tuple[float, float]], level: float, unit: str = "") -> Crossing:
    """The least x at which y reaches ``level``, between points by straight lines over log x.

    Where both neighbours are above zero, over log y as well. ``points`` ascend in x.
    """
    (first, value), (last, _) = points[0], points[-1]
    if value >= level:
        return Crossing(first, f"or below; {first:,g}{unit} is the least that was run")
    for (x0, y0), (x1, y1) in pairwise(points):
        if y1 >= level:
            part = (level - y0) / (y1 - y0)
            if y0 > 0:
                part = math.log(level / y0) / math.log(y1 / y0)
            between = f"between the points at {x0:,g} and {x1:,g}{unit}"
            return Crossing(x0 * (x1 / x0) ** part, between)
    most, highest = max((y, x) for x, y in points)
    return Crossing(
        None, f"not reached up to {last:,g}{unit}; at most {most:.3g}, at {highest:,g}{unit}"
    )
