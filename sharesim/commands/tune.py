"""``sharesim tune``: searches the setting that is best at something, within limits."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.commands.sweeping import (
    add_running_options,
    command_line,
    manifest_of,
    master_seed,
    session_of,
    whole_number,
)
from sharesim.errors import UserError
from sharesim.extras import require

if TYPE_CHECKING:
    from sharesim.spec.script import Target
    from sharesim.sweep.answer import Answer
    from sharesim.sweep.ksm_host import HostLines
    from sharesim.sweep.manifest import Manifest
    from sharesim.sweep.objective import Question
    from sharesim.sweep.plan import Cell
    from sharesim.sweep.session import Session
    from sharesim.sweep.tune import Trial
    from sharesim.sweep.vary import Axis

TRIALS = 60
CONFIRM = 5
MOST_TRIALS = 5000
"""Each trial is weighed against all before it: with more the search itself takes hours."""
ANSWER_FILE = "tune.json"
PICTURE_FILE = "tune.png"
EXIT_INTERRUPTED = 130
EXIT_NOTHING = 1
LINE_EVERY_S = 60.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("target", metavar="SCRIPT", help="a scenario script")
    add("--vary", action="append", default=[], metavar="NAME=RANGE",
        help="search a parameter: LO:HI or LO:HI:log, or values a,b,c")  # fmt: skip
    add("--maximize", action="append", default=[], metavar="METRIC",
        help="what to make large, such as saved_mib")  # fmt: skip
    add("--minimize", action="append", default=[], metavar="METRIC",
        help="what to make small; two objectives give a front of settings")  # fmt: skip
    add("--subject-to", action="append", default=[], metavar="CONDITION",
        help='a limit to keep, such as "overhead <= 2%%"')  # fmt: skip
    add("--trials", metavar="N", default=str(TRIALS),
        help=f"settings to try (default: {TRIALS}); more of them go on with a search")  # fmt: skip
    add("--confirm", metavar="N", default=str(CONFIRM),
        help=f"replicates of the best settings (default: {CONFIRM}; 0: no more)")  # fmt: skip
    add("--no-plot", action="store_true", help="draw no picture")
    add_running_options(parser)


@dataclass(frozen=True)
class _Task:
    """What was asked on the command line."""

    target: "Target"
    axes: "tuple[Axis, ...]"
    question: "Question"
    trials: int
    replicates: int
    confirm: int
    seed: int
    first: dict[str, Any] | None


def execute(options: argparse.Namespace) -> int:
    """Search; 130 when Ctrl-C ended it early, 1 when no setting keeps the limits."""
    require("optuna", "tune")
    task = _task(options)
    manifest = _manifest(task, options)
    place = Path(options.out) if options.out else Path("out") / f"{task.target.name}-tune"
    bar = SearchBar(task.trials, quiet=options.quiet)
    session = session_of(task.target, options, place, manifest, bar)
    try:
        with session:
            forget(place, ANSWER_FILE, PICTURE_FILE)
            answer = _search(session, task, bar)
            host = _host(session, answer)
            session.store.replace_file(ANSWER_FILE, _json(task, answer, host).encode())
    except KeyboardInterrupt:
        bar.close()
        return _interrupted(session)
    finally:
        bar.close()
    return _report(answer, host, place, session, task, options)


def _task(options: argparse.Namespace) -> _Task:
    from sharesim.spec.script import load_target
    from sharesim.sweep.objective import parse_question
    from sharesim.sweep.vary import parse_vary

    question = parse_question(options.maximize, options.minimize, options.subject_to)
    target = load_target(options.target)
    if not options.vary:
        raise UserError("nothing to search: give --vary NAME=LO:HI for a parameter at least")
    axes = tuple(parse_vary(target, options.vary))
    fixed = target.parse(options.settings)
    for one in axes:
        if one.name in fixed:
            raise UserError(f"--set {one.name}: it is varied; leave one of the two out")
    return _Task(
        target,
        axes,
        question,
        whole_number("--trials", options.trials, most=MOST_TRIALS),
        whole_number("--replicates", options.replicates, most=1000),
        whole_number("--confirm", options.confirm, least=0, most=1000),
        master_seed(options),
        _own_setting(target, axes),
    )


def _own_setting(target: "Target", axes: "Sequence[Axis]") -> dict[str, Any] | None:
    """The script's defaults of what is varied; None where the ranges do not hold them."""
    from sharesim.sweep.asker import contains

    own = {one.name: target.parameters[one.name].default for one in axes}
    return own if all(contains(one, own[one.name]) for one in axes) else None


def _manifest(task: _Task, options: argparse.Namespace) -> "Manifest":
    """The question, so that the same folder is not asked another one by mistake."""
    from sharesim.sweep.asker import axis_text, scale_of
    from sharesim.sweep.manifest import Axis

    asked: dict[str, Any] = {f"vary {one.name}": axis_text(one) for one in task.axes}
    asked["objective"] = " and ".join(one.text for one in task.question.objectives)
    asked["limits"] = " and ".join(one.text for one in task.question.constraints) or "none"
    asked["replicates"] = task.replicates
    axes = tuple(Axis(one.name, (), scale_of(one)) for one in task.axes)
    return manifest_of(task.target, options, axes=axes, extra=asked, made_by="tune")


def _search(session: "Session", task: _Task, bar: "SearchBar") -> "Answer":
    from sharesim.sweep.answer import Answer
    from sharesim.sweep.evaluate import SweepEvaluator
    from sharesim.sweep.tune import Effort, Search

    search = Search(
        task.axes,
        task.question,
        SweepEvaluator(session, task.question.metrics),
        Effort(task.trials, task.replicates, task.confirm, task.seed),
        first=task.first,
        told=lambda trials: bar.told(trials, task.question),
    )
    trials = tuple(search.run())
    return Answer(task.question, task.axes, trials, task.first, search.exhausted)


def forget(place: Path, *files: str) -> None:
    """Remove an earlier answer: it must not stand beside what is run now."""
    for name in files:
        (place / name).unlink(missing_ok=True)


class SearchBar:
    """Trials done and the best so far: a bar on a terminal, else a line a minute."""

    def __init__(self, trials: int, *, quiet: bool) -> None:
        self.trials = trials
        self._quiet = quiet
        self._bar: Any = None

    def _new(self) -> Any:
        from tqdm import tqdm

        terminal = sys.stderr.isatty()
        return tqdm(
            total=self.trials,
            file=sys.stderr,
            dynamic_ncols=terminal,
            mininterval=0.1 if terminal else LINE_EVERY_S,
            maxinterval=10.0 if terminal else LINE_EVERY_S,
            ascii=None if terminal else True,
            bar_format="{percentage:3.0f}%|{bar}| {n} of {total} trials, {elapsed}{postfix}",
        )

    def begin(self, total: int, done: int) -> None:
        """Runs of a batch; trials are what is counted here."""
        if self._bar is None and not self._quiet:
            self._bar = self._new()

    def settled(self, cell: "Cell", outcome: str) -> None:
        """A run; on a terminal it moves the clock within a batch."""
        if self._bar is not None and sys.stderr.isatty():
            self._bar.refresh()

    def told(self, trials: "Sequence[Trial]", question: "Question") -> None:
        """Trials so far."""
        from sharesim.sweep.tune import ranked
        from sharesim.sweep.tune_report import with_unit

        if self._bar is None:
            return
        objective = question.objectives[0].metric
        best = next(iter(ranked(trials, question)), None)
        text = "none within the limits yet" if best is None else (
            f"best {with_unit(objective, best.mean(objective.name))}"
        )  # fmt: skip
        if len(trials) == self.trials:
            text += ", making sure of it"
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(len(trials) - self._bar.n)

    def close(self) -> None:
        """Leave the line as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _host(session: "Session", answer: "Answer") -> "HostLines | None":
    """What to write on a host, where the scenario's policy is KSM."""
    from sharesim.spec.ksm import Ksm
    from sharesim.sweep.ksm_host import host_lines

    if answer.best is None:
        return None
    policy = _policy(session, answer.best.settings)
    if not isinstance(policy, Ksm):
        return None
    tried = [_policy(session, one.settings) for one in answer.tried]
    return host_lines(policy, [one for one in tried if isinstance(one, Ksm)])


def _policy(session: "Session", settings: Mapping[str, Any]) -> Any:
    builder = session.builder
    scenario = builder.target.build({**builder.fixed, **settings})
    return scenario.sharing.policy if scenario.sharing is not None else None


def _json(task: _Task, answer: "Answer", host: "HostLines | None") -> str:
    from sharesim.results.folder import json_text
    from sharesim.sweep.tune_json import answer_json

    effort = {"trials": task.trials, "replicates": task.replicates, "confirm": task.confirm,
              "seed": task.seed}  # fmt: skip
    return json_text(answer_json(answer, effort, host)) + "\n"


def _interrupted(session: "Session") -> int:
    done = len(session.store.keys("runs"))
    print(
        f"\nsharesim: stopped: {done} runs are done; the same command goes on:\n"
        f"  {command_line(session.manifest.command)}",
        file=sys.stderr,
    )
    return EXIT_INTERRUPTED


def _report(
    answer: "Answer",
    host: "HostLines | None",
    place: Path,
    session: "Session",
    task: _Task,
    options: argparse.Namespace,
) -> int:
    from sharesim.sweep.tune_report import answer_text

    if options.json:
        print((place / ANSWER_FILE).read_text(encoding="utf-8"), end="")
    elif not options.quiet:
        print(answer_text(answer, host=host, fixed=_fixed(task, session)))
        print(f"\nfolder  {place} (sharesim sweep show, plot and report work on it)")
    if not options.no_plot and _draw(answer, place) and not (options.quiet or options.json):
        print(f"picture {place / PICTURE_FILE}")
    return 0 if answer.best is not None else EXIT_NOTHING


def _fixed(task: _Task, session: "Session") -> dict[str, Any]:
    """The script's other parameters."""
    varied = {one.name for one in task.axes}
    defaults = {name: one.default for name, one in task.target.parameters.items()}
    return {
        name: value
        for name, value in {**defaults, **session.builder.fixed}.items()
        if name not in varied
    }


def _draw(answer: "Answer", place: Path) -> bool:
    """The picture of the trials; False where there is nothing to draw."""
    from sharesim.results import style
    from sharesim.sweep.tune_picture import plot_search

    with style.settings():
        figure = plot_search(answer)
        if figure is None:
            return False
        (place / PICTURE_FILE).write_bytes(style.figure_bytes(figure))
    return True
