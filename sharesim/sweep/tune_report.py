"""A search's answer for people to read."""

import math
import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sharesim.spec.parameters import value_text
from sharesim.statistics import Estimate, mean_interval
from sharesim.sweep.answer import STEP, Answer, Edge, Gap
from sharesim.sweep.evaluate import Settings
from sharesim.sweep.ksm_host import HostLines
from sharesim.sweep.metrics import Metric
from sharesim.sweep.objective import Constraint, Question
from sharesim.sweep.show import figure
from sharesim.sweep.tune import Trial, distinct
from sharesim.sweep.vary import Range

TABLE_ROWS = 10
WIDTH = 100
MOST_RIVALS = 3


def answer_text(
    answer: Answer, *, host: HostLines | None = None, fixed: Mapping[str, Any] | None = None
) -> str:
    """The whole answer.

    ``host`` holds the lines to write on a host, of a scenario under KSM; ``fixed`` are the script's
    other parameters, which nothing was tried of.
    """
    sections = [_head(answer), _table(answer)]
    if answer.best is None:
        sections.append(_nothing(answer))
    elif len(answer.question.objectives) > 1:
        sections.append(_front_remarks(answer))
    else:
        sections += [_setting(answer), _trade_off(answer), _certainty(answer)]
    sections.append(_unexplored(answer, fixed or {}))
    if host is not None and answer.best is not None and len(answer.question.objectives) == 1:
        sections.append(_host(host))
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _head(answer: Answer) -> list[str]:
    tried = len(distinct(answer.trials))
    about = f"{len(answer.trials)} trials, {tried} different settings"
    if answer.exhausted:
        about = f"all {tried} settings that there are"
    failed = f", {len(answer.failed)} failed" if answer.failed else ""
    return [f"{answer.question.text}: {about}{failed}"]


def _nothing(answer: Answer) -> list[str]:
    nearest, question = answer.nearest(), answer.question
    if nearest is None:
        return ["No setting could be run."]
    broken = [one for one in question.constraints if not one.holds(nearest.mean(one.metric.name))]
    how = ", ".join(
        f"{with_unit(o.metric, nearest.mean(o.metric.name))} ({o.text})" for o in broken
    )
    lines = [f"No setting tried keeps all limits. Nearest is trial {nearest.number}: {how}"]
    return [*lines, f"  {as_options(nearest.settings)}"]


def _setting(answer: Answer) -> list[str]:
    best = answer.best
    assert best is not None
    lines = [f"The setting (trial {best.number}, point {best.outcome.point} of the sweep)"]
    lines += [f"  {as_options(best.settings)}", ""]
    for name in answer.question.metrics:
        found = answer.question.by_name[name]
        text = f"  {found.label}: {with_interval(found, answer.estimate(best, name))}"
        limits = [one for one in answer.question.constraints if one.metric.name == name]
        lines += _folded("; ".join([text, *(_limit(answer, one) for one in limits)]), hang="    ")
    return lines


def _limit(answer: Answer, limit: Constraint) -> str:
    better = len(answer.breaking(limit))
    text = f"the limit ({limit.text})"
    if not better:
        return f"{text} does not bind: nothing better breaks it alone"
    return f"{text} binds: {_count(better, 'better setting')} break{'s' * (better == 1)} it"


def _trade_off(answer: Answer) -> list[str]:
    best, limits = answer.best, answer.question.constraints
    assert best is not None
    lines = []
    dearer = answer.dearer()
    more = f"at least {STEP * 100:.0f} % {_more(answer.question)}"
    if limits and dearer is not None:
        lines.append(f"{more} costs {_costs(answer, dearer)}: {_named(answer, dearer)}")
    elif limits:
        lines.append(f"{more}: no setting tried has that, at whatever cost")
    for limit in limits:
        cheaper = answer.cheaper(limit)
        if cheaper is not None:
            less = f"within {STEP * 100:.0f} % of the best one gets by with"
            price = _said(answer, cheaper, limit.metric)
            lines.append(f"{less} {price}: {_named(answer, cheaper)}")
    own = answer.own
    if own is not None and own is not best and not own.failed:
        said = ", ".join(_said(answer, own, answer.question.by_name[n]) for n in
                         answer.question.metrics)  # fmt: skip
        lines.append(f"the script's own setting: {said} ({as_settings(own.settings)})")
    return _listed("What it trades", lines)


def _certainty(answer: Answer) -> list[str]:
    best = answer.best
    assert best is not None
    lines = []
    replicates = best.replicates(answer.question)
    if replicates == 1:
        lines.append(
            "a single run of each setting: how much is chance is not known; give --confirm"
        )
    else:
        lines.append(f"{replicates} replicates of the best; ± is half of the 95 % interval")
    for limit in answer.doubtful():
        end = answer.estimate(best, limit.metric.name)
        worst = end.high if limit.upper else end.low
        reach = with_unit(limit.metric, end.mean if worst is None else worst)
        lines.append(f"not sure to keep {limit.text}: its interval reaches {reach}")
    for rival in answer.rivals()[:MOST_RIVALS]:
        objective = answer.question.objectives[0].metric
        ahead = with_interval(objective, rival.ahead)
        verdict = "ahead" if rival.apart else "not distinguishable from it; ahead"
        lines.append(f"{verdict} of {_named(answer, rival.trial)} by {ahead}")
    for miss in answer.near_misses():
        broken = [one for one in answer.question.constraints
                  if not one.holds(miss.mean(one.metric.name))]  # fmt: skip
        said = ", ".join(f"{_said(answer, miss, one.metric)} ({one.text})" for one in broken)
        gets = _said(answer, miss, answer.question.objectives[0].metric)
        lines.append(f"near miss: {gets} at {said}: {_named(answer, miss)}")
    return _listed("How sure it is", lines)


def _front_remarks(answer: Answer) -> list[str]:
    first, second = (one.metric for one in answer.question.objectives)
    count = len(answer.front)
    return _folded(
        f"{_count(count, 'setting')} that no other one beats in both {first.label.lower()} and"
        f" {second.label.lower()}; which of them is right is for you to say."
    )


def _unexplored(answer: Answer, fixed: Mapping[str, Any]) -> list[str]:
    lines = [_edge(answer, one) for one in answer.edges()]
    if len(answer.question.objectives) == 1 and not answer.exhausted:
        lines += [text for one in answer.gaps() if (text := _gap(one))]
    if fixed:
        lines.append(f"not varied: {as_settings(fixed)}")
    for one in answer.failed[:MOST_RIVALS]:
        why = one.outcome.error.partition("\n")[0]
        lines.append(f"failed: {as_settings(one.settings)}: {why}")
    if len(answer.failed) > MOST_RIVALS:
        lines.append(f"... and {len(answer.failed) - MOST_RIVALS} more settings that failed")
    return _listed("What was not explored", lines)


def _edge(answer: Answer, edge: Edge) -> str:
    axis = next(one for one in answer.axes if one.name == edge.name)
    assert isinstance(axis, Range)
    span = f"{plain(axis.low)}:{plain(axis.high)}"
    return (
        f"{edge.name}: the best, {plain(edge.value)}, is at the {edge.end} end of {span}; what lies"
        " beyond may be better"
    )


def _gap(gap: Gap) -> str:
    sides = [plain(one) for one in (gap.below, gap.above) if one is not None]
    if not sides:
        return ""
    return f"{gap.name}: next to the best, {plain(gap.value)}, were tried {' and '.join(sides)}"


def _host(host: HostLines) -> list[str]:
    lines = ["On a host, as root", *(f"  {line}" for line in host.lines)]
    for remark in host.remarks:
        lines += _folded(f"  ({remark})", hang="   ")
    return lines


# The table


def _table(answer: Answer) -> list[str]:
    from sharesim.commands.list import aligned

    question = answer.question
    two = len(question.objectives) > 1
    shown = (answer.front if two else answer.ranked)[:TABLE_ROWS]
    shown = shown or sorted(answer.tried,
                            key=answer.excess)[:TABLE_ROWS]  # fmt: skip
    if not shown:
        return []
    metrics = list(question.by_name.values())
    names = [axis.name for axis in answer.axes]
    head = ["trial", *names, *(_title(one) for one in metrics), "runs"]
    return aligned([head, *(_row(answer, one, names, metrics) for one in shown)])


def _row(
    answer: Answer, trial: Trial, names: Sequence[str], metrics: Sequence[Metric]
) -> list[str]:
    cells = [str(trial.number), *(plain(trial.settings[name]) for name in names)]
    cells += [with_interval(one, answer.estimate(trial, one.name), unit=False) for one in metrics]
    return [*cells, str(trial.replicates(answer.question))]


def _title(one: Metric) -> str:
    unit = "%" if one.percent else one.unit
    return f"{one.name} ({unit})" if unit else one.name


# Words and figures


def with_interval(of: Metric, found: Estimate, *, unit: bool = True) -> str:
    """``312 ± 4 MiB``, ``1.8 ± 0.2 %``; without the half where there is none."""
    scale, name = (100.0, " %") if of.percent else (1.0, f" {of.unit}" if of.unit else "")
    name = name if unit else ""
    mean, half = found.mean * scale, found.half_width
    if half is None:
        return f"{figure(mean)}{name}"
    half *= scale
    if half < 1e-9 * abs(mean):  # all replicates came to the same
        return f"{figure(mean)} ± 0{name}"
    places = _decimals(half)
    return f"{mean:,.{places}f} ± {half:,.{places}f}{name}"


def _decimals(value: float) -> int:
    """Places that show two digits of a value."""
    return min(max(1 - math.floor(math.log10(abs(value))), 0), 6) if value else 0


def with_unit(of: Metric, value: float) -> str:
    """A value of a metric, with its unit."""
    return with_interval(of, mean_interval([value]))


def _said(answer: Answer, trial: Trial, of: Metric) -> str:
    return f"{of.name} {with_unit(of, trial.mean(of.name))}"


def _costs(answer: Answer, trial: Trial) -> str:
    limits = answer.question.constraints
    said = [_said(answer, trial, one.metric) for one in limits]
    gets = _said(answer, trial, answer.question.objectives[0].metric)
    return f"{', '.join(dict.fromkeys(said))} ({gets})"


def _named(answer: Answer, trial: Trial) -> str:
    return f"trial {trial.number}, {as_settings(trial.settings)}"


def _more(question: Question) -> str:
    objective = question.objectives[0]
    return f"{'more' if objective.direction == 'maximize' else 'less'} {objective.metric.name}"


def as_options(settings: Settings) -> str:
    """Settings to be given to ``sharesim run``."""
    return " ".join(
        f"--set {shlex.quote(f'{name}={value_text(value)}')}" for name, value in settings.items()
    )


def as_settings(settings: Settings) -> str:
    """Settings within a sentence."""
    return ", ".join(f"{name}={value_text(value)}" for name, value in settings.items())


def plain(value: Any) -> str:
    """A parameter's value: as it is typed, a float without the digits that nobody asked for."""
    return f"{value:.10g}" if isinstance(value, float) else value_text(value)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *_items(lines)] if lines else []


def _items(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield from _folded(f"  {line}", hang="    ")


def _folded(text: str, hang: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False
    )
