"""More replicates where the interval is still too wide."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sharesim.statistics import Precision, precise, replicates_needed
from sharesim.sweep.metrics import Metric

if TYPE_CHECKING:
    from sharesim.sweep.plan import Cell
    from sharesim.sweep.session import Session


@dataclass(frozen=True)
class Goal:
    """When there are replicates enough."""

    metric: Metric
    precision: Precision
    most: int
    """Replicates of a point, precise or not."""


def add_replicates(
    session: "Session",
    points: Sequence[Mapping[str, Any]],
    goal: Goal,
    *,
    tell: Callable[[str], None],
) -> None:
    """Add replicates point by point until the metric's interval is small enough.

    All points grow in the same rounds, so the result does not depend on the executor. A point with
    failed runs is left as it is.
    """
    wanted, precision, most = goal.metric, goal.precision, goal.most
    while True:
        more: list[Cell] = []
        for point in points:
            cells = session.add([point], 1)
            values = _values(session, cells, wanted.of)
            if values is None or len(cells) >= most or precise(values, precision):
                continue
            number = min(most, len(cells) + replicates_needed(values, precision))
            more += session.add([point], number)
        if not more:
            break
        session.complete(more)
        session.update_table()
    wide = [one for one in points if _too_wide(session, one, wanted.of, precision)]
    if wide:
        tell(
            f"{len(wide)} of {len(points)} points are less precise than asked for, with {most}"
            f" replicates ({wanted.name}); raise --max-replicates"
        )


def _too_wide(
    session: "Session", point: Mapping[str, Any], of: Callable[..., Any], precision: Precision
) -> bool:
    values = _values(session, session.add([point], 1), of)
    return values is not None and not precise(values, precision)


def _values(
    session: "Session", cells: Sequence["Cell"], of: Callable[..., float | None]
) -> list[float] | None:
    """The metric of each replicate; None where one has none."""
    values: list[float] = []
    for cell in cells:
        summary = session.store.read_summary(cell.key) if session.driver.is_done(cell) else None
        value = None if summary is None else of(summary)
        if value is None or not math.isfinite(value):
            return None
        values.append(value)
    return values
