"""A search as a picture: what each trial reached, against what is limited."""

from typing import TYPE_CHECKING

import numpy as np

from sharesim.results import style
from sharesim.sweep.answer import Answer
from sharesim.sweep.metrics import Metric
from sharesim.sweep.objective import Constraint
from sharesim.sweep.tune import Trial
from sharesim.sweep.tune_report import plain, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 3.6
"""Inches of the panel."""
TOP = 0.5
"""Inches above it."""
FURTHEST = 5.0
"""Times an upper limit: what lies further to the right is only counted."""
MOST_LINES = 5
"""Of parameters beside the best."""


def plot_search(answer: Answer) -> "Figure | None":
    """One objective over the other, over the first limit, or over the trials; None without any.

    Within the limits trials are filled, beyond hollow; the best, or those that no other one beats,
    are marked. Draw within :func:`sharesim.results.style.settings`.
    """
    tried = answer.tried
    if not tried:
        return None
    figure, (axes,) = style.stacked_figure([HEIGHT], top=TOP)
    vertical = answer.question.objectives[0].metric
    across = _across(answer)
    _draw_trials(axes, answer, tried, across, vertical)
    for limit in answer.question.constraints:
        _draw_limit(axes, limit, across, vertical)
    remark = "; ".join(filter(None, [_remark(answer), _cut(axes, answer, tried, across)]))
    style.heading(axes, f"{vertical.label} of each setting tried", remark, _unit(vertical))
    axes.set_xlabel(_across_label(across))
    _draw_best(axes, answer, across, vertical)
    return figure


def _across(answer: Answer) -> Metric | None:
    """What goes to the right: the second objective, the first limit, or (None) the trials."""
    others = list(answer.question.by_name.values())[1:]
    return others[0] if others else None


def _at(trial: Trial, of: Metric | None) -> float:
    if of is None:
        return float(trial.number)
    return trial.mean(of.name) * (100.0 if of.percent else 1.0)


def _unit(of: Metric) -> str:
    return "%" if of.percent else of.unit


def _across_label(of: Metric | None) -> str:
    if of is None:
        return "Trial"
    unit = _unit(of)
    return f"{of.label} ({unit})" if unit else of.label


def _remark(answer: Answer) -> str:
    kept = len(answer.ranked)
    return f"{kept} of {len(answer.tried)} keep the limits" if answer.question.constraints else ""


def _cut(axes: "Axes", answer: Answer, tried: list[Trial], across: Metric | None) -> str:
    """Leave out what is far beyond an upper limit, so that what is near it can be told apart."""
    limits = [one for one in answer.question.constraints if across and one.metric is across]
    if across is None or not limits or not limits[0].upper or limits[0].limit <= 0:
        return ""
    scale = 100.0 if across.percent else 1.0
    end = FURTHEST * limits[0].limit * scale
    beyond = sum(_at(one, across) > end for one in tried)
    low, high = axes.get_xlim()
    if high <= end:
        return ""
    inside = [_at(one, across) for one in tried if _at(one, across) <= end]
    low = min(inside, default=0.0)
    axes.set_xlim(low - 0.03 * (end - low), end)
    return f"{beyond} further to the right" if beyond else ""


def _draw_trials(
    axes: "Axes", answer: Answer, tried: list[Trial], across: Metric | None, vertical: Metric
) -> None:
    for kept, fill in ((False, "white"), (True, style.SKY)):
        some = [one for one in tried if one.feasible(answer.question) == kept]
        axes.plot(
            [_at(one, across) for one in some],
            [_at(one, vertical) for one in some],
            "o",
            markersize=4.5,
            color=fill,
            markeredgecolor=style.SKY if kept else style.MUTED,
            markeredgewidth=0.7,
            zorder=3,
        )


def _draw_limit(axes: "Axes", limit: Constraint, across: Metric | None, vertical: Metric) -> None:
    """A line at the limit, and what lies beyond it shaded."""
    value = limit.limit * (100.0 if limit.metric.percent else 1.0)
    if across is not None and limit.metric.name == across.name:
        low, high = axes.get_xlim()
        low, high = min(low, value), max(high, value)
        axes.axvspan(*((value, high) if limit.upper else (low, value)), color=style.PALE, lw=0)
        axes.axvline(value, color=style.MUTED, linewidth=0.8)
        axes.set_xlim(low, high)
        axes.annotate(
            limit.text,
            (value, 0),
            (4 if limit.upper else -4, 5),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="left" if limit.upper else "right",
            color=style.MUTED,
            fontsize=style.small(),
        )
    elif limit.metric.name == vertical.name:
        axes.axhline(value, color=style.MUTED, linewidth=0.8)


def _draw_best(axes: "Axes", answer: Answer, across: Metric | None, vertical: Metric) -> None:
    """The front as steps, and the best by name with its intervals."""
    best = answer.best
    if best is None:
        return
    front = answer.front
    if len(answer.question.objectives) > 1:
        points = sorted((_at(one, across), _at(one, vertical)) for one in front)
        axes.plot(*np.array(points).T, color=style.BLUE, linewidth=1.2, zorder=2)
    marked = front if len(answer.question.objectives) > 1 else [best]
    for one in marked:
        axes.errorbar(
            _at(one, across),
            _at(one, vertical),
            xerr=_half(answer, one, across),
            yerr=_half(answer, one, vertical),
            fmt="o",
            markersize=6,
            color=style.BLUE,
            elinewidth=1.0,
            capsize=2,
            zorder=4,
        )
    if len(marked) == 1:
        height = _at(best, vertical)
        style.end_labels(axes, [style.EndLabel(height, _label(answer, best), style.BLUE)])


def _label(answer: Answer, best: Trial) -> str:
    settings = [f"{name}={plain(value)}" for name, value in best.settings.items()]
    shown = [style.shortened(one, 20) for one in settings[:MOST_LINES]]
    metrics = answer.question.objectives[0].metric
    return "\n".join(["best", with_unit(metrics, best.mean(metrics.name)), *shown])


def _half(answer: Answer, trial: Trial, of: Metric | None) -> float | None:
    if of is None:
        return None
    half = answer.estimate(trial, of.name).half_width
    return None if half is None else half * (100.0 if of.percent else 1.0)
