"""A search's answer as plain data: ``tune.json``."""

from collections.abc import Mapping
from typing import Any

from sharesim.extras import require
from sharesim.statistics import Estimate
from sharesim.sweep.answer import Answer
from sharesim.sweep.asker import axis_text
from sharesim.sweep.ksm_host import HostLines
from sharesim.sweep.objective import Question
from sharesim.sweep.tune import Trial


def answer_json(
    answer: Answer, effort: Mapping[str, Any], host: HostLines | None = None
) -> dict[str, Any]:
    """All of an answer: the question, the setting, how sure it is, and each trial."""
    best = answer.best
    return {
        "question": _question(answer.question),
        "vary": {one.name: axis_text(one) for one in answer.axes},
        "effort": {**effort, "optuna": require("optuna", "tune").__version__},
        "exhausted": answer.exhausted,
        "best": None if best is None else _trial(answer, best),
        "front": [one.number for one in answer.front],
        "ranking": [one.number for one in answer.ranked],
        "trade_off": _trade_off(answer),
        "certainty": _certainty(answer),
        "unexplored": _unexplored(answer),
        "host": None if host is None else {"lines": host.lines, "remarks": host.remarks},
        "trials": [_trial(answer, one) for one in answer.trials],
    }


def _question(question: Question) -> dict[str, Any]:
    return {
        "text": question.text,
        "objectives": [
            {"metric": one.metric.name, "direction": one.direction} for one in question.objectives
        ],
        "limits": [
            {"metric": one.metric.name, "operator": one.operator, "limit": one.limit}
            for one in question.constraints
        ],
    }


def _trial(answer: Answer, trial: Trial) -> dict[str, Any]:
    about = {
        "trial": trial.number,
        "point": trial.outcome.point,
        "settings": dict(trial.settings),
    }
    if trial.failed:
        return {**about, "error": trial.outcome.error}
    figures = {n: _estimate(answer.estimate(trial, n)) for n in answer.question.metrics}
    return {**about, "feasible": trial.feasible(answer.question), "metrics": figures}


def _estimate(found: Estimate) -> dict[str, Any]:
    return {"mean": found.mean, "half_width": found.half_width, "count": found.count}


def _trade_off(answer: Answer) -> dict[str, Any]:
    if answer.best is None or len(answer.question.objectives) > 1:
        return {}
    return {
        "dearer": _number(answer.dearer()),
        "limits": [
            {
                "limit": limit.text,
                "broken_by_better": [one.number for one in answer.breaking(limit)],
                "cheaper": _number(answer.cheaper(limit)),
            }
            for limit in answer.question.constraints
        ],
        "own": _number(answer.own),
    }


def _certainty(answer: Answer) -> dict[str, Any]:
    if answer.best is None or len(answer.question.objectives) > 1:
        return {}
    return {
        "doubtful_limits": [one.text for one in answer.doubtful()],
        "rivals": [
            {"trial": one.trial.number, "ahead": _estimate(one.ahead), "apart": one.apart}
            for one in answer.rivals()
        ],
        "near_misses": [one.number for one in answer.near_misses()],
    }


def _unexplored(answer: Answer) -> dict[str, Any]:
    return {
        "edges": [{"name": one.name, "value": one.value, "end": one.end} for one in answer.edges()],
        "gaps": [
            {"name": one.name, "below": one.below, "value": one.value, "above": one.above}
            for one in answer.gaps()
        ],
    }


def _number(trial: Trial | None) -> int | None:
    return None if trial is None else trial.number
