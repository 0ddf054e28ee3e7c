"""Which setting to try next: Optuna's sampler, made a function of the seed and what is known.

Settings are asked for in batches of a fixed size, whoever runs them and however many at a time, and
the sampler starts anew from (seed, number of the trial) each time. So a search takes the same way
on one CPU and on a hundred, and one that was interrupted is gone on with by being walked through
again: what was run before is in the store, and nothing else has to be kept.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from sharesim.extras import require
from sharesim.spec.parameters import value_text
from sharesim.sweep.evaluate import Settings
from sharesim.sweep.objective import Question
from sharesim.sweep.sampling import sample
from sharesim.sweep.vary import Axis, Range, Values

START = 10
"""Settings of a Latin hypercube that a search begins with, before there is anything to learn."""
BATCH = 4
"""Settings that are then asked for at a time."""
DIGITS = 4
"""Significant digits of a parameter that is a float: what a person would write down."""


class Asker:
    """Proposes settings by a tree-structured Parzen estimator with constraints, in batches.

    TPE: Bergstra et al., NeurIPS 2011; as Optuna has it, with several parameters taken together.
    """

    def __init__(
        self, axes: Sequence[Axis], question: Question, *, seed: int, first: Settings | None = None
    ) -> None:
        """``first`` is a setting to try before all others. Raises UserError without Optuna."""
        self._optuna = require("optuna", "tune")
        self.axes = tuple(axes)
        self.question = question
        self.seed = seed
        self._distributions = {one.name: self._distribution(one) for one in self.axes}
        directions = [one.direction for one in question.objectives]
        with self._calm():
            self._study = self._optuna.create_study(directions=directions)
        self._asked: list[Any] = []
        self._begin = [dict(first)] if first is not None else []
        drawn = sample(self.axes, START, seed=seed, method="lhs")
        self._begin += [self._settings_of(one) for one in drawn]

    def ask(self) -> list[dict[str, Any]]:
        """The next batch. All of the one before must have been told."""
        with self._calm():
            if self._begin:
                self._asked = [self._given(one) for one in self._begin]
                self._begin = []
            else:
                self._asked = [self._sampled() for _ in range(BATCH)]
            return [self._settings(trial.params) for trial in self._asked]

    def tell(self, means: Sequence[Mapping[str, float] | None]) -> None:
        """What came of the batch, in its order: figures by metric, or None for what failed."""
        states = self._optuna.trial.TrialState
        with self._calm():
            for trial, found in zip(self._asked, means, strict=True):
                if found is None:
                    self._study.tell(trial, state=states.FAIL)
                    continue
                self._constrain(trial, found)
                values = [found[one.metric.name] for one in self.question.objectives]
                self._study.tell(trial, values)
        self._asked = []

    def _given(self, settings: Settings) -> Any:
        params = {one.name: _internal(one, settings[one.name]) for one in self.axes}
        self._study.enqueue_trial(params)
        return self._study.ask(self._distributions)

    def _sampled(self) -> Any:
        number = len(self._study.get_trials(deepcopy=False))
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        options: dict[str, Any] = {}
        if self.question.constraints and not self._sets_constraints:
            options["constraints_func"] = _kept_constraints
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=START,
            multivariate=len(self.question.objectives) == 1,
            constant_liar=True,  # keeps the settings of a batch apart
            **options,
        )
        return self._study.ask(self._distributions)

    @property
    def _sets_constraints(self) -> bool:
        """Whether this Optuna has them given trial by trial (since 5.0)."""
        return hasattr(self._optuna.trial.Trial, "set_constraint")

    def _constrain(self, trial: Any, found: Mapping[str, float]) -> None:
        limits = self.question.constraints
        excess = [one.excess(found[one.metric.name]) for one in limits]
        if not self._sets_constraints:
            trial.set_user_attr(_CONSTRAINTS, excess)
            return
        for number, value in enumerate(excess):
            trial.set_constraint(str(number), value)

    def _distribution(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        if isinstance(axis, Range):
            kind = kinds.IntDistribution if axis.integer else kinds.FloatDistribution
            return kind(axis.low, axis.high, log=axis.log)
        last = len(axis.values) - 1
        if _ordered(axis):
            return kinds.IntDistribution(0, last)
        return kinds.CategoricalDistribution(tuple(range(last + 1)))

    def _settings_of(self, drawn: Settings) -> dict[str, Any]:
        return {one.name: _rounded(one, drawn[one.name]) for one in self.axes}

    def _settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {one.name: _external(one, params[one.name]) for one in self.axes}

    @contextmanager
    def _calm(self) -> Iterator[None]:
        """Without Optuna's log lines, and its remarks on what is experimental in some version."""
        logging = self._optuna.logging
        before = logging.get_verbosity()
        logging.set_verbosity(logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            logging.set_verbosity(before)


_CONSTRAINTS = "sharesim.constraints"


def _kept_constraints(trial: Any) -> Sequence[float]:
    """Of a finished trial, for an Optuna before 5.0."""
    found: Sequence[float] = trial.user_attrs[_CONSTRAINTS]
    return found


def _ordered(axis: Values) -> bool:
    """Whether the values are numbers, so that neighbours are likely to be alike."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in axis.values)
    return numbers and list(axis.values) == sorted(axis.values)


def _internal(axis: Axis, value: Any) -> Any:
    """A value as the sampler has it: of a list, its place in it."""
    return value if isinstance(axis, Range) else axis.values.index(value)


def _external(axis: Axis, value: Any) -> Any:
    if isinstance(axis, Values):
        return axis.values[value]
    return _rounded(axis, value)


def _rounded(axis: Axis, value: Any) -> Any:
    if isinstance(axis, Values) or axis.integer:
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), axis.low), axis.high)


def settings_count(axes: Sequence[Axis]) -> float:
    """How many different settings there are; infinite where a parameter is continuous."""
    count = 1.0
    for one in axes:
        if isinstance(one, Values):
            count *= len(one.values)
        else:
            count *= one.high - one.low + 1 if one.integer else float("inf")
    return count


def contains(axis: Axis, value: Any) -> bool:
    """Whether a value is among those that are searched."""
    if isinstance(axis, Values):
        return value in axis.values
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and axis.low <= value <= axis.high


def scale_of(axis: Axis) -> Literal["linear", "log", "category"]:
    """How its values are to be laid out."""
    if isinstance(axis, Range):
        return "log" if axis.log else "linear"
    return axis.scale


def axis_text(axis: Axis) -> str:
    """As ``--vary`` would take it: what tells two questions apart."""
    if isinstance(axis, Range):
        return f"{axis.low:.17g}:{axis.high:.17g}" + (":log" if axis.log else "")
    return value_text(axis.values)
