"""Which parameter moves a result most: designs of SALib, their points those of a sweep.

Morris' method moves one parameter at a time, from many places: cheap, and enough to tell what
matters. Sobol's splits the variance of the result into shares of parameters: dearer, and a number
that means something by itself. Both see each parameter as a number from 0 to 1 over its range.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sharesim.errors import UserError
from sharesim.extras import require
from sharesim.sweep.evaluate import Outcome
from sharesim.sweep.sampling import from_unit
from sharesim.sweep.vary import Axis, Values

Method = Literal["morris", "sobol"]
Floats = NDArray[np.float64]

METHODS: dict[str, str] = {"morris": "Morris", "sobol": "Sobol"}
SAMPLES: dict[str, int] = {"morris": 10, "sobol": 64}
"""How many blocks of a design, where nobody says."""
LEVELS = 4
"""Of each parameter in Morris' design, at least."""
FEW = 10
"""Whole numbers of a range up to which each of them is a level."""
RESAMPLES = 1000
"""Of the bootstrap that gives the intervals."""
LEAST_BLOCKS = 4
"""With fewer there is no interval worth the name."""


@dataclass(frozen=True)
class Design:
    """Where to look: blocks of points that belong together, one block after the other.

    A block of Morris' is a trajectory: each point differs from the one before in one parameter. A
    block of Sobol's is two random points and what comes of putting parts of one into the other.
    """

    method: Method
    axes: tuple[Axis, ...]
    samples: int
    """Blocks."""
    seed: int
    unit: Floats = field(repr=False)
    """float[points, parameters], each from 0 to 1."""
    levels: int = LEVELS

    @property
    def block(self) -> int:
        """Points of a block."""
        return len(self.unit) // self.samples

    @property
    def points(self) -> list[dict[str, Any]]:
        """The settings, in order; some may be equal."""
        return [
            {one.name: from_unit(one, float(u)) for one, u in zip(self.axes, row, strict=True)}
            for row in self.unit
        ]


@dataclass(frozen=True)
class Influence:
    """How much a parameter matters for a metric."""

    name: str
    strength: float
    """Morris: mean size of an elementary effect (mu*), in the metric's unit, over the whole range.
    Sobol: share of the variance that would vanish with this parameter's (total index)."""
    half_width: float
    """Of its 95 % interval."""
    other: float
    """Morris: standard deviation of the effects (sigma): how much they differ from place to place.
    Sobol: share of the variance by this parameter alone (first-order index)."""
    other_half_width: float | None = None
    mean: float | None = None
    """Morris: the mean effect with its sign (mu): positive where more of it is more."""

    @property
    def low(self) -> float:
        """Lower end of the interval of ``strength``."""
        return self.strength - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.strength + self.half_width


def design(axes: Sequence[Axis], method: Method, samples: int, seed: int) -> Design:
    """A design; a larger one of the same seed begins with the points of a smaller one.

    Raises UserError without SALib, for fewer than two parameters, and for a number of samples that
    the method cannot use.
    """
    _check(axes, method, samples)
    problem = _problem(axes)
    levels = max(LEVELS, *(2 * _few(one) for one in axes))  # then each of them is met
    if method == "morris":
        sample = require("SALib.sample.morris", "sensitivity").sample
        seeds = [_integer(seed, number) for number in range(samples)]
        unit = np.vstack([sample(problem, 1, num_levels=levels, seed=one) for one in seeds])
    else:
        sample = require("SALib.sample.sobol", "sensitivity").sample
        unit = sample(problem, samples, calc_second_order=False, seed=_integer(seed, 0))
    return Design(method, tuple(axes), samples, seed, np.clip(unit, 0.0, 1.0), levels)


def _check(axes: Sequence[Axis], method: str, samples: int) -> None:
    if len(axes) < 2:
        raise UserError(
            f"found {len(axes)} parameter to vary; give --vary twice at least: of one alone there"
            " is nothing to compare (sweep it)"
        )
    for one in axes:
        if isinstance(one, Values) and len(one.values) < 2:
            raise UserError(f"--vary {one.name}: found a single value; give two at least")
    if samples < LEAST_BLOCKS:
        raise UserError(f"--samples {samples}: at least {LEAST_BLOCKS} are needed for an interval")
    if method == "sobol" and samples & (samples - 1):
        below = 1 << (samples.bit_length() - 1)
        raise UserError(
            f"--samples {samples}: Sobol's method needs a power of two, such as {below} or"
            f" {2 * below}"
        )


def _few(axis: Axis) -> int:
    """How many values an axis has, where they are few; else 0."""
    if isinstance(axis, Values):
        return len(axis.values)
    count = int(axis.high - axis.low) + 1
    return count if axis.integer and count <= FEW else 0


def _problem(axes: Sequence[Axis]) -> dict[str, Any]:
    return {
        "num_vars": len(axes),
        "names": [one.name for one in axes],
        "bounds": [[0.0, 1.0]] * len(axes),
    }


def _integer(*parts: int) -> int:
    """A seed from 1 for libraries that take no sequence of numbers (and 0 for none)."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0]) or 1


@dataclass(frozen=True)
class Findings:
    """How much each parameter matters, most first."""

    influences: tuple[Influence, ...]
    used: int
    """Blocks of the design that all ran."""
    failed: tuple[str, ...] = ()
    """Why points of the others failed, each reason once."""
    noise: float | None = None
    """Median half-width of a point's own 95 % interval over its replicates, in the metric's unit;
    None for a single replicate."""
    spread: float = 0.0
    """Standard deviation of the metric over all points used."""


def analyse(plan: Design, outcomes: Sequence[Outcome], metric: str) -> Findings:
    """What the outcomes of a design's points say of a metric.

    A block with a point that failed, or has no such figure, is left out. Raises UserError where too
    few are left.
    """
    results = np.array([one.mean(metric) for one in outcomes])
    blocks = np.isfinite(results).reshape(plan.samples, plan.block).all(axis=1)
    reasons = tuple(dict.fromkeys(one.error or f"no figure '{metric}'"
                                  for one, y in zip(outcomes, results, strict=True)
                                  if not math.isfinite(y)))  # fmt: skip
    used = int(blocks.sum())
    if used < LEAST_BLOCKS:
        raise UserError(
            f"only {used} of {plan.samples} blocks of points ran whole; {LEAST_BLOCKS} are needed."
            f" The first failure: {reasons[0]}"
        )
    rows = np.repeat(blocks, plan.block)
    kept = results[rows]
    found = _influences(plan, plan.unit[rows], kept)
    return Findings(
        tuple(sorted(found, key=lambda one: -one.strength)),
        used,
        reasons,
        _noise(outcomes, metric),
        float(kept.std()),
    )


def _influences(plan: Design, unit: Floats, results: Floats) -> list[Influence]:
    if np.ptp(results) == 0:  # nothing moves it: indices would be 0/0
        return [Influence(one.name, 0.0, 0.0, 0.0, 0.0, 0.0) for one in plan.axes]
    return (_morris if plan.method == "morris" else _sobol)(plan, unit, results)


def _morris(plan: Design, unit: Floats, results: Floats) -> list[Influence]:
    analyze = require("SALib.analyze.morris", "sensitivity").analyze
    found = analyze(
        _problem(plan.axes),
        unit,
        results,
        num_resamples=RESAMPLES,
        num_levels=plan.levels,
        seed=_integer(plan.seed, 1),
    )
    rows = zip(
        plan.axes, found["mu_star"], found["mu_star_conf"], found["sigma"], found["mu"], strict=True
    )
    return [
        Influence(one.name, float(star), float(half), float(sigma), mean=float(mu))
        for one, star, half, sigma, mu in rows
    ]


def _sobol(plan: Design, unit: Floats, results: Floats) -> list[Influence]:
    analyze = require("SALib.analyze.sobol", "sensitivity").analyze
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a resample without any variance
        found = analyze(
            _problem(plan.axes),
            results,
            calc_second_order=False,
            num_resamples=RESAMPLES,
            seed=_integer(plan.seed, 1),
        )
    rows = zip(plan.axes, found["ST"], found["ST_conf"], found["S1"], found["S1_conf"], strict=True)
    return [
        Influence(one.name, float(total), float(half), float(first), float(first_half))
        for one, total, half, first, first_half in rows
    ]


def _noise(outcomes: Sequence[Outcome], metric: str) -> float | None:
    from sharesim.statistics import mean_interval

    halves = []
    for one in outcomes:
        values = np.array(one.values.get(metric, ()))
        if len(values) > 1 and np.isfinite(values).all():
            halves.append(mean_interval(values).half_width or 0.0)
    return float(np.median(halves)) if halves else None


def runs_of(plan: Design) -> tuple[int, int]:
    """(points of the design, those with settings of their own)."""
    from sharesim.sweep.plan import settings_text

    return len(plan.unit), len({settings_text(point) for point in plan.points})


def to_json(found: Findings, plan: Design, metric: str) -> dict[str, Any]:
    """Plain data of ``sensitivity.json``."""
    names = _NAMES[plan.method]
    return {
        "method": plan.method,
        "metric": metric,
        "samples": plan.samples,
        "samples_used": found.used,
        "seed": plan.seed,
        "parameters": [_row(one, names) for one in found.influences],
        "noise_half_width": found.noise,
        "standard_deviation": found.spread,
        "failures": list(found.failed),
    }


_NAMES: dict[str, tuple[str, str]] = {"morris": ("mu_star", "sigma"), "sobol": ("ST", "S1")}


def _row(one: Influence, names: tuple[str, str]) -> dict[str, Any]:
    strength, other = names
    row: dict[str, Any] = {
        "name": one.name,
        strength: one.strength,
        f"{strength}_half_width": one.half_width,
        other: one.other,
    }
    if one.other_half_width is not None:
        row[f"{other}_half_width"] = one.other_half_width
    return row | ({"mu": one.mean} if one.mean is not None else {})
