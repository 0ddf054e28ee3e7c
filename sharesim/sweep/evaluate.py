"""Asking for points one after the other, as searches and designs of experiments do."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sharesim.errors import UserError
from sharesim.sweep.metrics import Metric, metric

if TYPE_CHECKING:
    from sharesim.sweep.plan import Cell
    from sharesim.sweep.session import Session

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What came of one point."""

    point: int
    """Its number in the sweep, from 1."""
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The figure of each replicate, by the metric's name; NaN where it does not apply."""
    error: str = ""
    """Why there are no figures; empty where there are."""

    def mean(self, name: str) -> float:
        """Of a metric over the replicates; NaN where there is none."""
        values = self.values.get(name, ())
        return math.fsum(values) / len(values) if values else math.nan


class Evaluate(Protocol):
    """Whatever gives outcomes for points: a sweep, or in a test a formula."""

    def __call__(self, points: Sequence[Settings], replicates: int) -> list[Outcome]:
        """The outcomes of these points, in their order; what fails is an outcome, too."""


class SweepEvaluator:
    """Runs points as cells of a sweep: what its store holds already is not run again."""

    def __init__(self, session: "Session", metrics: Sequence[str]) -> None:
        self.session = session
        self.metrics: tuple[Metric, ...] = tuple(metric(name) for name in metrics)

    def __call__(self, points: Sequence[Settings], replicates: int) -> list[Outcome]:
        """See :class:`Evaluate`. Raises what :meth:`Session.complete` does."""
        self.session.add(points, replicates)
        cells = [self.session.plan.add(point, replicates)[:replicates] for point in points]
        everything = [cell for some in cells for cell in some]
        self.session.complete(everything)
        outcomes = [self._outcome(some) for some in cells]
        if any(one is None for one in outcomes):  # damaged on disk, and now known to be missing
            self.session.complete(everything)
            outcomes = [self._outcome(some) for some in cells]
        return [one or Outcome(0, error="its result cannot be read") for one in outcomes]

    def _outcome(self, cells: Sequence["Cell"]) -> Outcome | None:
        """None where a finished run turns out to be damaged."""
        point = cells[0].point
        rows: list[list[float]] = []
        for cell in cells:
            if not self.session.driver.is_done(cell):
                return Outcome(point, error=self._problem(cell))
            summary = self.session.store.read_summary(cell.key)
            if summary is None:
                self.session.driver.forget(cell.key)
                return None
            rows.append([_figure(one, summary) for one in self.metrics])
        columns = zip(*rows, strict=True)
        return Outcome(
            point, {one.name: col for one, col in zip(self.metrics, columns, strict=True)}
        )

    def _problem(self, cell: "Cell") -> str:
        failure = self.session.store.read_failure(cell.key) if cell.key else None
        return str(failure["message"]) if failure else cell.problem or "it failed"


def _figure(of: Metric, summary: Mapping[str, Any]) -> float:
    value = of.of(summary)
    return math.nan if value is None else float(value)


def require_figures(outcomes: Sequence[Outcome], names: Sequence[str]) -> None:
    """UserError where all of these failed, or where none has a figure that is needed."""
    finished = [one for one in outcomes if not one.error]
    if outcomes and not finished:
        raise UserError(
            f"all of the first {len(outcomes)} settings failed; the first one says: "
            f"{outcomes[0].error}"
        )
    for name in names:
        if finished and all(math.isnan(one.mean(name)) for one in finished):
            raise UserError(
                f"no run has a figure '{name}': {_why_none(name)}; `sharesim sweep show` lists what"
                " they have"
            )


def _why_none(name: str) -> str:
    if name.startswith("overhead") or name == "cpu_excess":
        return (
            "losses are against runs without sharing (leave --no-baseline out), of guests that"
            " work as fast as they can"
        )
    return "it does not apply to this scenario"
