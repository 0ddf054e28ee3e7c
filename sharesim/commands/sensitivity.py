"""``sharesim sensitivity``: says which parameter moves a result most."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.commands.sweeping import (
    Bar,
    add_running_options,
    command_line,
    manifest_of,
    master_seed,
    session_of,
    whole_number,
)
from sharesim.commands.tune import forget
from sharesim.errors import UserError, nearest
from sharesim.extras import require

if TYPE_CHECKING:
    from sharesim.spec.script import Target
    from sharesim.sweep.manifest import Manifest
    from sharesim.sweep.metrics import Metric
    from sharesim.sweep.sensitivity import Design, Findings
    from sharesim.sweep.session import Session

FINDINGS_FILE = "sensitivity.json"
PICTURE_FILE = "sensitivity.png"
MOST_SAMPLES = 65_536
EXIT_INTERRUPTED = 130


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("target", metavar="SCRIPT", help="a scenario script")
    add("--vary", action="append", default=[], metavar="NAME=RANGE",
        help="a parameter and where it may be: LO:HI or LO:HI:log, or values a,b,c")  # fmt: skip
    add("--of", metavar="METRIC", default="saved_mib",
        help="the result that is moved (default: saved_mib)")  # fmt: skip
    add("--method", metavar="NAME", default="morris",
        help="morris: which ones matter (the default); sobol: shares of the variance")  # fmt: skip
    add("--samples", metavar="N",
        help="places to look from (default: 10 for morris, 64 for sobol); more go on")  # fmt: skip
    add("--no-plot", action="store_true", help="draw no picture")
    add_running_options(parser)


@dataclass(frozen=True)
class _Task:
    """What was asked on the command line."""

    target: "Target"
    design: "Design"
    metric: "Metric"
    replicates: int


def execute(options: argparse.Namespace) -> int:
    """Run the design's points and weigh them; 130 when Ctrl-C ended it early."""
    require("SALib", "sensitivity")
    task = _task(options)
    place = Path(options.out) if options.out else Path("out") / f"{task.target.name}-sensitivity"
    if not options.quiet:
        print(f"sharesim: {_effort(task)}", file=sys.stderr)
    bar = Bar(quiet=options.quiet)
    session = session_of(task.target, options, place, _manifest(task, options), bar)
    try:
        with session:
            forget(place, FINDINGS_FILE, PICTURE_FILE)
            findings = _findings(session, task)
            _write(session, task, findings)
    except KeyboardInterrupt:
        bar.close()
        return _interrupted(session)
    finally:
        bar.close()
    return _report(task, findings, place, options)


def _task(options: argparse.Namespace) -> _Task:
    from sharesim.spec.script import load_target
    from sharesim.sweep.metrics import metric
    from sharesim.sweep.sensitivity import METHODS, SAMPLES, design
    from sharesim.sweep.vary import parse_vary

    if options.method not in METHODS:
        hint = nearest(options.method, METHODS)
        raise UserError(f"--method {options.method}: there is no such method{hint}")
    try:
        of = metric(options.of)
    except UserError as error:
        raise UserError(f"--of {options.of}: {error}") from None
    target = load_target(options.target)
    axes = parse_vary(target, options.vary)
    for name in target.parse(options.settings):
        if any(one.name == name for one in axes):
            raise UserError(f"--set {name}: it is varied; leave one of the two out")
    samples = SAMPLES[options.method]
    if options.samples is not None:
        samples = whole_number("--samples", options.samples, most=MOST_SAMPLES)
    return _Task(
        target,
        design(axes, options.method, samples, master_seed(options)),
        of,
        whole_number("--replicates", options.replicates, most=1000),
    )


def _effort(task: _Task) -> str:
    """What it will take, before anything is run."""
    from sharesim.sweep.sensitivity import METHODS, runs_of

    design = task.design
    points, different = runs_of(design)
    what = "places, each left in one direction after the other" if design.method == "morris" else (
        "pairs of places, mixed one parameter at a time"
    )  # fmt: skip
    text = f"{METHODS[design.method]}: {design.samples} {what}: {points} points"
    if different < points:
        text += f", {different} of them different"
    if task.replicates > 1:
        text += f", {task.replicates} replicates of each"
    return f"{text}: {different * task.replicates} runs, and those they are compared with"


def _manifest(task: _Task, options: argparse.Namespace) -> "Manifest":
    from sharesim.sweep.asker import axis_text, scale_of
    from sharesim.sweep.manifest import Axis

    axes = task.design.axes
    asked: dict[str, Any] = {f"vary {one.name}": axis_text(one) for one in axes}
    asked["method"] = task.design.method
    return manifest_of(
        task.target,
        options,
        axes=tuple(Axis(one.name, (), scale_of(one)) for one in axes),
        extra=asked,
        made_by="sensitivity",
    )


def _findings(session: "Session", task: _Task) -> "Findings":
    from sharesim.sweep.evaluate import SweepEvaluator
    from sharesim.sweep.sensitivity import analyse

    evaluate = SweepEvaluator(session, [task.metric.name])
    outcomes = evaluate(task.design.points, task.replicates)
    return analyse(task.design, outcomes, task.metric.name)


def _write(session: "Session", task: _Task, findings: "Findings") -> None:
    from sharesim.results.folder import json_text
    from sharesim.sweep.sensitivity import to_json

    text = json_text(to_json(findings, task.design, task.metric.name)) + "\n"
    session.store.replace_file(FINDINGS_FILE, text.encode())


def _interrupted(session: "Session") -> int:
    done = len(session.store.keys("runs"))
    print(
        f"\nsharesim: stopped: {done} runs are done; the same command goes on:\n"
        f"  {command_line(session.manifest.command)}",
        file=sys.stderr,
    )
    return EXIT_INTERRUPTED


def _report(task: _Task, findings: "Findings", place: Path, options: argparse.Namespace) -> int:
    from sharesim.sweep.sensitivity_report import findings_text

    if options.json:
        print((place / FINDINGS_FILE).read_text(encoding="utf-8"), end="")
    elif not options.quiet:
        print(findings_text(findings, task.design, task.metric))
        print(f"\nfolder  {place} (sharesim sweep show, plot and report work on it)")
    if not options.no_plot:
        _draw(task, findings, place)
        if not (options.quiet or options.json):
            print(f"picture {place / PICTURE_FILE}")
    return 0


def _draw(task: _Task, findings: "Findings", place: Path) -> None:
    from sharesim.results import style
    from sharesim.sweep.sensitivity_report import plot_findings

    with style.settings():
        figure = plot_findings(findings, task.design, task.metric)
        (place / PICTURE_FILE).write_bytes(style.figure_bytes(figure))
