"""What a search wants: what to make large or small, and within which limits."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sharesim.errors import UserError
from sharesim.spec.units import PAGE_BYTES, parse_time
from sharesim.sweep.metrics import Metric, metric

Direction = Literal["maximize", "minimize"]
Operator = Literal["<=", ">=", "<", ">"]

MOST_OBJECTIVES = 2
"""More than two make a front that nobody can look at."""

_CONDITION = re.compile(
    r"\s*(?P<name>[^<>=!\s]+)\s*(?P<operator>[<>=!]+)\s*(?P<limit>(?![<>=!]).*\S)\s*"
)
_LIMIT = re.compile(r"(?P<number>[-+]?[0-9][0-9_]*\.?[0-9]*(?:[eE][-+]?[0-9]+)?)\s*(?P<unit>\D*)")
_EXAMPLE = '"overhead <= 2%"'

_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
          "kB": 10**3, "MB": 10**6, "GB": 10**9}  # fmt: skip
_MEMORY = {"MiB": 1 << 20, "pages": PAGE_BYTES}
"""Bytes in the units that metrics of memory have."""
_TIME = {"s": 1_000_000_000, "ns": 1}
"""Nanoseconds in the units that metrics of time have."""


@dataclass(frozen=True)
class Objective:
    """A metric to be made as large, or as small, as it can be."""

    metric: Metric
    direction: Direction

    @property
    def text(self) -> str:
        """As it was asked, such as ``maximize saved_mib``."""
        return f"{self.direction} {self.metric.name}"

    @property
    def sign(self) -> int:
        """What the metric is multiplied by so that more is better."""
        return 1 if self.direction == "maximize" else -1


@dataclass(frozen=True)
class Constraint:
    """A metric that has to stay on one side of a limit."""

    metric: Metric
    operator: Operator
    limit: float
    """In the metric's own unit; of a share, 0.02 for 2 %."""
    text: str
    """As the user wrote it, blanks put in order."""

    @property
    def upper(self) -> bool:
        """Whether the metric has to stay below."""
        return self.operator in ("<=", "<")

    def holds(self, value: float) -> bool:
        """Whether a value is within the limit; one that is NaN never is."""
        if self.operator == "<=":
            return value <= self.limit
        if self.operator == ">=":
            return value >= self.limit
        return value < self.limit if self.operator == "<" else value > self.limit

    def excess(self, value: float) -> float:
        """How far a value is beyond the limit, as a share of it: positive just where it breaks it.

        Of a limit of 0 there is no share: then in the metric's unit.
        """
        beyond = value - self.limit if self.upper else self.limit - value
        share = beyond / abs(self.limit) if self.limit else beyond
        if self.holds(value):
            return min(share, 0.0)
        return math.inf if math.isnan(value) else max(share, 5e-324)


@dataclass(frozen=True)
class Question:
    """All that a search is asked for."""

    objectives: tuple[Objective, ...]
    constraints: tuple[Constraint, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of all metrics that it is about, each once, objectives first."""
        return tuple(self.by_name)

    @property
    def by_name(self) -> dict[str, Metric]:
        """The same with their labels and units."""
        asked: list[Objective | Constraint] = [*self.objectives, *self.constraints]
        return {one.metric.name: one.metric for one in asked}

    @property
    def text(self) -> str:
        """In one line."""
        wanted = " and ".join(one.text for one in self.objectives)
        limits = " and ".join(one.text for one in self.constraints)
        return f"{wanted}, subject to {limits}" if limits else wanted

    def feasible(self, values: Mapping[str, float]) -> bool:
        """Whether all limits are kept."""
        return all(one.holds(values[one.metric.name]) for one in self.constraints)


def parse_question(
    maximize: Sequence[str], minimize: Sequence[str], subject_to: Sequence[str]
) -> Question:
    """What ``--maximize``, ``--minimize`` and ``--subject-to`` ask. Raises UserError."""
    wanted = [
        *(_objective("maximize", name) for name in maximize),
        *(_objective("minimize", name) for name in minimize),
    ]
    if not wanted:
        raise UserError("nothing to search for: give --maximize METRIC or --minimize METRIC")
    if len(wanted) > MOST_OBJECTIVES:
        raise UserError(
            f"found {len(wanted)} objectives; at most {MOST_OBJECTIVES} can be weighed against each"
            " other: make the others limits with --subject-to"
        )
    names = [one.metric.name for one in wanted]
    if len(set(names)) < len(names):
        raise UserError(f"{names[0]} is an objective twice; give each metric once")
    return Question(tuple(wanted), tuple(parse_constraint(text) for text in subject_to))


def _objective(direction: Direction, name: str) -> Objective:
    try:
        return Objective(metric(name.strip()), direction)
    except UserError as error:
        raise UserError(f"--{direction} {name}: {error}") from None


def parse_constraint(text: str) -> Constraint:
    """A condition such as ``overhead <= 2%`` or ``saved_mib >= 64 MiB``. Raises UserError."""
    option = f'--subject-to "{text}"'
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UserError(f"{option}: write it as a metric, an operator and a number: {_EXAMPLE}")
    operator = match["operator"]
    if operator not in ("<=", ">=", "<", ">"):
        raise UserError(
            f"{option}: found operator '{operator}'; it is one of <=, >=, < and >, as in {_EXAMPLE}"
        )
    try:
        found = metric(match["name"])
        limit = _limit(match["limit"], found)
    except UserError as error:
        raise UserError(f"{option}: {error}") from None
    written = f"{found.name} {operator} {match['limit']}"
    return Constraint(found, operator, limit, written)  # type: ignore[arg-type]


def _limit(text: str, of: Metric) -> float:
    """A number in the unit of a metric."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise UserError(f"found '{text}'; a number is needed, as in {_EXAMPLE}")
    number, unit = float(match["number"].replace("_", "")), match["unit"].strip()
    if not math.isfinite(number):
        raise UserError(f"found '{text}'; a smaller number is needed")
    if not unit or unit == of.unit:
        return _plain(number, of)
    if unit == "%" and not of.unit:
        return number / 100
    if unit in _BYTES and of.unit in _MEMORY:
        return number * _BYTES[unit] / _MEMORY[of.unit]
    if of.unit in _TIME:
        try:
            return parse_time(text) / _TIME[of.unit]
        except ValueError as error:
            raise UserError(str(error)) from None
    raise UserError(f"found '{text}', but {of.name} is {_kind(of)}")


def _plain(number: float, of: Metric) -> float:
    """A number without a unit; of a share, one that can hardly be meant is refused."""
    if of.percent and abs(number) > 1:
        raise UserError(
            f"{of.name} is a share, of which {number:g} would be {number * 100:g} %; write"
            f" {number:g}% or {number / 100:g} for {number:g} %"
        )
    return number


def _kind(of: Metric) -> str:
    if of.unit in _MEMORY:
        return f"a size in {of.unit}; a limit is such a number, or a size such as '64 MiB'"
    if of.unit:
        return f"in {of.unit}; a limit is such a number without unit"
    if of.percent:
        return "a share; a limit is a number such as 0.02, or 2%"
    return "a number without unit; a limit is one, too"
