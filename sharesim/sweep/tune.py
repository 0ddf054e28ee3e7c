"""A search: tries settings, learns from what came of them, and makes sure of the best ones."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sharesim.results.frontier import non_dominated
from sharesim.sweep.asker import Asker, settings_count
from sharesim.sweep.evaluate import Evaluate, Outcome, Settings, require_figures
from sharesim.sweep.objective import Question
from sharesim.sweep.plan import settings_text
from sharesim.sweep.vary import Axis

FINALISTS = 3
"""So many of the best are run with more replicates, where there is one objective."""
MOST_CONFIRMED = 12
"""Settings that are run with more replicates at most: each may turn out to be worse than it was."""


@dataclass(frozen=True)
class Trial:
    """A setting that was tried."""

    number: int
    """From 1, in the order of the search."""
    settings: Settings
    outcome: Outcome

    @property
    def failed(self) -> bool:
        """Whether there are no figures of it."""
        return bool(self.outcome.error)

    def mean(self, name: str) -> float:
        """Of a metric over the replicates that were run."""
        return self.outcome.mean(name)

    def replicates(self, question: Question) -> int:
        """How many there are."""
        return len(self.outcome.values.get(question.metrics[0], ()))

    def feasible(self, question: Question) -> bool:
        """Whether it ran, and keeps all limits by the means."""
        return not self.failed and question.feasible({n: self.mean(n) for n in question.metrics})


@dataclass(frozen=True)
class Effort:
    """How much is to be tried, and how."""

    trials: int
    replicates: int = 1
    """Of each setting tried."""
    confirm: int = 0
    """Replicates of the best ones, if more."""
    seed: int = 1


class Search:
    """Tries settings batch by batch; ``trials`` is what was tried so far.

    All of it follows from question, space, effort and outcomes: gone through again it is the same.
    """

    def __init__(
        self,
        axes: Sequence[Axis],
        question: Question,
        evaluate: Evaluate,
        effort: Effort,
        *,
        first: Settings | None = None,
        told: Callable[[Sequence[Trial]], None] | None = None,
    ) -> None:
        """``first`` is tried before all others; ``told`` is called after each batch."""
        self.axes = tuple(axes)
        self.question = question
        self.effort = effort
        self.trials: list[Trial] = []
        self.confirmed: set[str] = set()
        """Settings that were run with more replicates."""
        self._evaluate = evaluate
        self._first = first
        self._told = told or (lambda trials: None)

    def run(self) -> list[Trial]:
        """Search, then confirm. Raises UserError where no setting has the figures asked for."""
        self._search()
        if self.effort.confirm > self.effort.replicates:
            self._confirm()
        return self.trials

    @property
    def exhausted(self) -> bool:
        """Whether all settings that there are have been tried."""
        return len(distinct(self.trials)) >= settings_count(self.axes)

    def _search(self) -> None:
        asker = Asker(self.axes, self.question, seed=self.effort.seed, first=self._first)
        while len(self.trials) < self.effort.trials and not self.exhausted:
            asked = asker.ask()
            wanted = asked[: self.effort.trials - len(self.trials)]
            batch = self._try(wanted)
            if not self.trials:
                require_figures([one.outcome for one in batch], self.question.metrics)
            self.trials += [self._checked(one) for one in batch]
            self._told(self.trials)
            if len(wanted) < len(asked):
                return
            asker.tell([self._means(one) for one in self.trials[-len(batch) :]])

    def _try(self, settings: Sequence[Settings]) -> list[Trial]:
        outcomes = self._evaluate(settings, self.effort.replicates)
        return [
            Trial(len(self.trials) + at, one, outcome)
            for at, (one, outcome) in enumerate(zip(settings, outcomes, strict=True), 1)
        ]

    def _checked(self, trial: Trial) -> Trial:
        """A trial without one of the figures has failed as well."""
        if trial.failed:
            return trial
        for name in self.question.metrics:
            if not math.isfinite(trial.mean(name)):
                return replace(trial, outcome=replace(trial.outcome, error=f"no figure '{name}'"))
        return trial

    def _means(self, trial: Trial) -> dict[str, float] | None:
        return None if trial.failed else {name: trial.mean(name) for name in self.question.metrics}

    # Making sure

    def _confirm(self) -> None:
        """Run the best with more replicates, until those that are best then have had them.

        The best of many noisy figures is partly luck: its first replicates flatter it.
        """
        while len(self.confirmed) < MOST_CONFIRMED:
            doubtful = [
                one
                for one in leaders(self.trials, self.question)
                if settings_text(one.settings) not in self.confirmed
            ][: MOST_CONFIRMED - len(self.confirmed)]
            if not doubtful:
                return
            outcomes = self._evaluate([one.settings for one in doubtful], self.effort.confirm)
            for trial, outcome in zip(doubtful, outcomes, strict=True):
                self._put(trial.settings, outcome)
            self._told(self.trials)

    def _put(self, settings: Settings, outcome: Outcome) -> None:
        """What is known now of a setting, in all trials of it."""
        text = settings_text(settings)
        self.confirmed.add(text)
        self.trials = [
            self._checked(replace(one, outcome=outcome))
            if settings_text(one.settings) == text
            else one
            for one in self.trials
        ]


def distinct(trials: Sequence[Trial]) -> list[Trial]:
    """The first trial of each setting."""
    found: dict[str, Trial] = {}
    for one in trials:
        found.setdefault(settings_text(one.settings), one)
    return list(found.values())


def ranked(trials: Sequence[Trial], question: Question) -> list[Trial]:
    """Settings within the limits, best first; of two objectives, by the first one."""
    objective = question.objectives[0]
    kept = [one for one in distinct(trials) if one.feasible(question)]
    return sorted(kept, key=lambda one: -objective.sign * one.mean(objective.metric.name))


def front(trials: Sequence[Trial], question: Question) -> list[Trial]:
    """Settings within the limits than which no other is better in all objectives (Pareto)."""
    kept = ranked(trials, question)
    if not kept:
        return []
    names = [one.metric.name for one in question.objectives]
    better = ["high" if one.sign > 0 else "low" for one in question.objectives]
    values = np.array([[one.mean(name) for name in names] for one in kept])
    unbeaten = non_dominated(values, better)
    return [one for one, is_best in zip(kept, unbeaten, strict=True) if is_best]


def leaders(trials: Sequence[Trial], question: Question) -> list[Trial]:
    """Those of which one has to be sure: the few best, or the whole front."""
    if len(question.objectives) > 1:
        return front(trials, question)
    return ranked(trials, question)[:FINALISTS]
