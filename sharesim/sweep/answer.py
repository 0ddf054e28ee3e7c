"""What a search found: the setting, what it gives up, how sure that is, what was not looked at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from sharesim.statistics import Estimate, mean_interval, paired_difference
from sharesim.sweep.evaluate import Settings
from sharesim.sweep.objective import Constraint, Question
from sharesim.sweep.tune import Trial, distinct, front, ranked
from sharesim.sweep.vary import Axis, Range

STEP = 0.05
"""Of the objective: how much more, or less, one asks the price of."""
NEAR = 0.25
"""A limit is missed narrowly by no more than this share of it."""
EDGE = 0.02
"""Of a range: the best is at its end when it is as near as this."""
MOST_NEAR_MISSES = 3


@dataclass(frozen=True)
class Rival:
    """Another good setting, and how much the best is ahead of it, replicate by replicate."""

    trial: Trial
    ahead: Estimate
    """Positive where the best is better; in the objective's unit."""

    @property
    def apart(self) -> bool:
        """Whether chance is ruled out as the reason, at 95 %."""
        return self.ahead.low is not None and self.ahead.low > 0


@dataclass(frozen=True)
class Edge:
    """The best is at the end of a range: what lies beyond was not looked at."""

    name: str
    value: float
    end: Literal["lower", "upper"]


@dataclass(frozen=True)
class Gap:
    """Between these values of a parameter nothing but the best was tried."""

    name: str
    below: float | None
    value: float
    above: float | None


@dataclass(frozen=True)
class Answer:
    """All that can be said about a finished search with one objective, or with two."""

    question: Question
    axes: tuple[Axis, ...]
    trials: tuple[Trial, ...]
    first: Settings | None = None
    """The script's own setting, where it was among them."""
    exhausted: bool = False
    """Whether there are no other settings."""

    @cached_property
    def tried(self) -> list[Trial]:
        """The settings that ran, each once, in the order of the search."""
        return [one for one in distinct(self.trials) if not one.failed]

    @cached_property
    def ranked(self) -> list[Trial]:
        """Settings within the limits, best first."""
        return ranked(self.trials, self.question)

    @cached_property
    def best(self) -> Trial | None:
        """The best within the limits; None where none is. Of two objectives, by the first one."""
        return next(iter(self.ranked), None)

    @cached_property
    def front(self) -> list[Trial]:
        """Settings than which no other is better in all objectives."""
        return front(self.trials, self.question)

    @cached_property
    def failed(self) -> list[Trial]:
        """Settings that could not be run, each once."""
        return [one for one in distinct(self.trials) if one.failed]

    @property
    def own(self) -> Trial | None:
        """The trial of the script's own setting."""
        if self.first is None:
            return None
        return next((one for one in self.trials if dict(one.settings) == dict(self.first)), None)

    def estimate(self, trial: Trial, name: str) -> Estimate:
        """A metric of a trial with its interval."""
        return mean_interval(trial.outcome.values[name])

    # What it costs

    def breaking(self, limit: Constraint) -> list[Trial]:
        """Settings better than the best that keep all limits but this one: why it binds."""
        others = [one for one in self.question.constraints if one != limit]
        return [
            one
            for one in self._better_than(0.0)
            if not limit.holds(one.mean(limit.metric.name))
            and all(other.holds(one.mean(other.metric.name)) for other in others)
        ]

    def dearer(self) -> Trial | None:
        """Of those that are better by 5 % or more, the one that breaks the limits least."""
        return min(self._better_than(STEP), key=self.excess, default=None)

    def cheaper(self, limit: Constraint) -> Trial | None:
        """The setting that keeps furthest from a limit and is at most 5 % worse than the best.

        None where that is the best itself.
        """
        best = self.best
        near = [one for one in self.ranked if self._gain(one) >= -STEP]
        if best is None or not near:
            return None
        name = limit.metric.name
        found = min(near, key=lambda one: one.mean(name) if limit.upper else -one.mean(name))
        return None if found.mean(name) == best.mean(name) else found

    def near_misses(self) -> list[Trial]:
        """Settings better than the best that break a limit, but narrowly; nearest first."""
        close = [one for one in self._better_than(0.0) if 0 < self.excess(one) <= NEAR]
        return sorted(close, key=self.excess)[:MOST_NEAR_MISSES]

    def nearest(self) -> Trial | None:
        """Of all that ran, the one that breaks the limits least."""
        return min(self.tried, key=self.excess, default=None)

    def _better_than(self, step: float) -> list[Trial]:
        if self.best is None:
            return []
        return [one for one in self.tried if self._gain(one) > 0 and self._gain(one) >= step]

    def _gain(self, trial: Trial) -> float:
        """How much better a trial is than the best, as a share of that one's objective."""
        objective, best = self.question.objectives[0], self.best
        assert best is not None
        base = best.mean(objective.metric.name)
        ahead = objective.sign * (trial.mean(objective.metric.name) - base)
        return ahead / abs(base) if base else math.copysign(math.inf, ahead) if ahead else 0.0

    def excess(self, trial: Trial) -> float:
        """By how much a trial breaks the limit that it breaks most, as a share of it."""
        limits = self.question.constraints
        return max((one.excess(trial.mean(one.metric.name)) for one in limits), default=0.0)

    # How sure

    def rivals(self) -> list[Rival]:
        """The next best settings that were run with several replicates, too."""
        best = self.best
        if best is None:
            return []
        objective = self.question.objectives[0]
        mine = best.outcome.values[objective.metric.name]
        found = []
        for one in self.ranked[1:]:
            theirs = one.outcome.values[objective.metric.name]
            count = min(len(mine), len(theirs))
            if count > 1:
                more, less = (mine, theirs) if objective.sign > 0 else (theirs, mine)
                found.append(Rival(one, paired_difference(more[:count], less[:count])))
        return found

    def doubtful(self) -> list[Constraint]:
        """Limits that the best keeps by its mean, but not with its whole interval."""
        best = self.best
        if best is None:
            return []
        ends = [(one, self.estimate(best, one.metric.name)) for one in self.question.constraints]
        worst = [(one, found.high if one.upper else found.low) for one, found in ends]
        return [one for one, end in worst if end is not None and not one.holds(end)]

    # What was not looked at

    def edges(self) -> list[Edge]:
        """Ranges at whose end the best is."""
        if self.best is None:
            return []
        found = [_edge(one, self.best.settings[one.name]) for one in self.axes]
        return [one for one in found if one is not None]

    def gaps(self) -> list[Gap]:
        """The nearest values on both sides of the best that were tried, of each range."""
        if self.best is None:
            return []
        tried = distinct(self.trials)
        return [
            _gap(one, self.best.settings[one.name], [other.settings[one.name] for other in tried])
            for one in self.axes
            if isinstance(one, Range)
        ]


def _edge(axis: Axis, value: float) -> Edge | None:
    if not isinstance(axis, Range) or axis.low == axis.high:
        return None
    place = _place(axis, value)
    if EDGE < place < 1 - EDGE:
        return None
    return Edge(axis.name, value, "lower" if place <= EDGE else "upper")


def _place(axis: Range, value: float) -> float:
    """Where a value is in its range, from 0 to 1, on the range's own scale."""
    low, high, at = axis.low, axis.high, value
    if axis.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low)


def _gap(axis: Range, value: float, tried: Sequence[float]) -> Gap:
    below = max((one for one in tried if one < value), default=None)
    above = min((one for one in tried if one > value), default=None)
    return Gap(axis.name, below, value, above)
