"""Figures of a sweep's points with their intervals, as the report writes and ranks them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sharesim.report.blocks import Cell, number_cell
from sharesim.results import cells
from sharesim.spec.parameters import value_text
from sharesim.sweep.metrics import Metric
from sharesim.sweep.sweep import Sweep

MAIN = (
    "saved_mib", "net_saved_mib", "realised", "overhead", "cpu_excess", "throughput", "scanner_cpu",
    "time_to_90_s", "cow_breaks", "corrupted_pages",
)  # fmt: skip
COSTS = ("overhead", "cpu_excess", "scanner_cpu")
"""What saving memory costs: the first of them that the runs have."""
GAIN = "saved_mib"


@dataclass(frozen=True)
class Estimate:
    """A metric at a point, over its replicates."""

    mean: float
    half_width: float | None
    """Of the 95 % interval; None for a single replicate."""
    count: int


class Points:
    """The finished points of a sweep with all of their main figures."""

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep

    @cached_property
    def settings(self) -> dict[int, Mapping[str, Any]]:
        """Of each point that has a finished run."""
        finished = set(self.sweep.done["point"])
        return {cell.point: cell.settings for cell in self.sweep.cells if cell.point in finished}

    @cached_property
    def metrics(self) -> list[Metric]:
        """Those that any run has a figure of; counts that are always zero tell nothing."""
        return [self.sweep.metric(name) for name in MAIN if self._tells(name)]

    def _tells(self, name: str) -> bool:
        figures = [one.mean for one in self.of(name).values()]
        return any(figures) if name in ("cow_breaks", "corrupted_pages") else bool(figures)

    @cached_property
    def replicated(self) -> bool:
        """Whether any point was run more than once."""
        return bool(self.sweep.done["point"].duplicated().any())

    def of(self, name: str) -> dict[int, Estimate]:
        """A metric of each point that has one."""
        if name not in self._known:
            table = self.sweep.estimates(name)
            self._known[name] = {
                int(row["point"]): Estimate(
                    float(row["mean"]),
                    None if math.isnan(row["half_width"]) else float(row["half_width"]),
                    int(row["count"]),
                )
                for row in table.to_dict("records")
            }
        return self._known[name]

    @cached_property
    def _known(self) -> dict[str, dict[int, Estimate]]:
        return {}

    @cached_property
    def cost(self) -> Metric | None:
        """What is set against the memory saved."""
        names = [one.name for one in self.metrics]
        return next((self.sweep.metric(name) for name in COSTS if name in names), None)

    def best(self, metric: Metric) -> int | None:
        """The point with the best mean; None where neither way is better, or all are alike."""
        figures = {point: one.mean for point, one in self.of(metric.name).items()}
        if not metric.better or len(set(figures.values())) < 2:
            return None
        sign = 1.0 if metric.better == "low" else -1.0
        return min(figures, key=lambda point: (sign * figures[point], point))

    @cached_property
    def frontier(self) -> list[int]:
        """Points that no other beats in both memory saved and its cost."""
        from sharesim.results.frontier import non_dominated

        if self.cost is None:
            return []
        both = self._both(self.cost)
        kept = non_dominated(np.array(list(both.values())), ("high", "low"))
        return [point for point, it in zip(both, kept, strict=True) if it]

    def _both(self, cost: Metric) -> dict[int, tuple[float, float]]:
        gains, costs = self.of(GAIN), self.of(cost.name)
        return {point: (gains[point].mean, costs[point].mean) for point in gains if point in costs}

    @cached_property
    def balance(self) -> int | None:
        """Of the frontier the point nearest to the best of both, each scaled to its range."""
        if self.cost is None or not self.frontier:
            return None
        both = self._both(self.cost)
        gains, costs = zip(*both.values(), strict=True)

        def distance(point: int) -> float:
            gain, cost = both[point]
            return math.hypot(_scaled(max(gains) - gain, gains), _scaled(cost - min(costs), costs))

        return min(self.frontier, key=lambda point: (distance(point), point))

    def name(self, point: int) -> str:
        """``point 3 (scan_rate 1000, vms 4)``."""
        words = ", ".join(f"{key} {value_text(v)}" for key, v in self.settings[point].items())
        return f"point {point} ({words})" if words else f"point {point}"


def _scaled(value: float, among: Sequence[float]) -> float:
    spread = max(among) - min(among)
    return value / spread if spread else 0.0


def estimate_text(metric: Metric, one: Estimate | None) -> str:
    """The mean, and half of its interval where there are replicates; of a share also its unit."""
    if one is None:
        return "–"
    scale, unit = _scale(metric, one)
    parts = [part * scale for part in (one.mean, one.half_width) if part is not None]
    digits = _decimals(parts[0], parts[1] if len(parts) > 1 else None)
    texts = [f"{part:,.{digits}f}" if round(part, digits) else "0" for part in parts]
    return f"{' ± '.join(texts)} {unit}".rstrip()


def _scale(metric: Metric, one: Estimate) -> tuple[float, str]:
    """Shares are in %, or in ppm where they are small."""
    if not metric.percent:
        return 1.0, ""
    size = max(abs(one.mean), one.half_width or 0.0)
    return (1e6, "ppm") if 0 < size < cells.PPM_BELOW else (100.0, "%")


def _decimals(mean: float, half: float | None) -> int:
    """Two digits of the interval, but at most five of the mean; without one three of the mean."""
    if half:
        most = max(4 - math.floor(math.log10(abs(mean))), 0) if mean else 4
        return min(max(1 - math.floor(math.log10(half)), 0), most, 4)
    return 0 if mean == int(mean) else min(cells.decimals(mean), 4)


def estimate_cell(metric: Metric, one: Estimate | None, *, best: bool = False) -> Cell:
    """A cell of it, sorted by the mean."""
    return number_cell(estimate_text(metric, one), None if one is None else one.mean, best=best)


def in_sentence(label: str) -> str:
    """A label within a sentence; abbreviations stay."""
    return label if label[1:2].isupper() else f"{label[:1].lower()}{label[1:]}"


def title(metric: Metric) -> str:
    """Name and unit, as a column's head; a share has its unit in the cells."""
    return f"{metric.label}, {metric.unit}" if metric.unit else metric.label
