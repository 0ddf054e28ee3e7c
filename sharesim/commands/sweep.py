"""``sharesim sweep``: runs a scenario with many settings, in a folder that can be gone on with."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.cli import ACTIONS
from sharesim.commands.sweeping import (
    Bar,
    add_running_options,
    command_line,
    manifest_of,
    master_seed,
    session_of,
    whole_number,
)
from sharesim.errors import ModelError, UserError

if TYPE_CHECKING:
    from sharesim.spec.script import Target
    from sharesim.sweep.manifest import Manifest
    from sharesim.sweep.precision import Goal
    from sharesim.sweep.session import Session
    from sharesim.sweep.shards import Shard

EXIT_INTERRUPTED = 130
MOST_REPLICATES = 30


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    parser.epilog = "Also: " + "; ".join(f"sharesim {name}: {ACTIONS[name]}" for name in ACTIONS)
    add("target", metavar="TARGET", help="a scenario script, a scenario.json or a run folder")
    add("--vary", action="append", default=[], metavar="NAME=VALUES",
        help="a,b,c; LO:HI:N, LO:HI:log:N, LO:HI:step:S; LO:HI[:log] with --sample")  # fmt: skip
    add("--zip", action="append", default=[], metavar="NAMES", dest="zipped",
        help="let these parameters, a,b, go together instead of crossing them")  # fmt: skip
    add("--sample", metavar="N", help="draw N points from the ranges instead of a grid")
    add("--sampler", metavar="NAME", default="lhs",
        help="how to draw them: lhs (Latin hypercube), random or sobol (default: lhs)")  # fmt: skip
    add("--until-precision", metavar="P",
        help="add replicates until half the interval is P: 5%% of the mean, or 0.01")  # fmt: skip
    add("--precision-of", metavar="METRIC",
        help="whose interval (default: overhead, or saved_mib without a baseline)")  # fmt: skip
    add("--max-replicates", metavar="N", default=str(MOST_REPLICATES),
        help=f"at most so many for --until-precision (default: {MOST_REPLICATES})")  # fmt: skip
    add("--shard", metavar="I/N",
        help="make only the I-th of N parts, in a folder of its own; auto or auto/N reads I from"
        " the array job (SLURM, Kubernetes)")  # fmt: skip
    add("--dry-run", action="store_true", help="say what would be run, and leave")
    add_running_options(parser)


def execute(options: argparse.Namespace) -> int:
    """Run it; 130 when Ctrl-C ended it early, 1 when runs failed."""
    from sharesim.spec.script import load_target
    from sharesim.sweep.precision import add_replicates
    from sharesim.sweep.session import with_axes

    target = load_target(options.target)
    goal = _goal(options)
    points, scales = _points(target, options)
    manifest = with_axes(manifest_of(target, options, axes=scales), points)
    shard = _shard(options)
    if shard is not None:
        manifest = replace(manifest, extra={"shard": str(shard)})
    place = _place(target, options, shard)
    if options.dry_run:
        return _dry_run(points, manifest)
    bar = Bar(quiet=options.quiet)
    session = session_of(target, options, place, manifest, bar)
    try:
        with session:
            _run(session, points, manifest.replicates, shard)
            if goal is not None:
                add_replicates(session, points, goal, tell=_teller(options))
    except KeyboardInterrupt:
        bar.close()
        return _interrupted(session)
    finally:
        bar.close()
    return _report(place, options)


def _points(target: "Target", options: argparse.Namespace) -> tuple[list[dict[str, Any]], Any]:
    """The points, and the varied parameters with their scales."""
    from sharesim.sweep.manifest import Axis
    from sharesim.sweep.sampling import sample
    from sharesim.sweep.vary import Range, grid, parse_vary

    axes = parse_vary(target, options.vary)
    fixed = target.parse(options.settings)
    for axis in axes:
        if axis.name in fixed:
            raise UserError(f"--vary {axis.name}: --set gives it, too; leave one of the two")
    zipped = [[name.strip() for name in names.split(",")] for names in options.zipped]
    if options.sample is None:
        points = grid(axes, zipped)
    else:
        if zipped:
            raise UserError("--zip: a sample draws each parameter for itself; leave it out")
        count = whole_number("--sample", options.sample)
        points = sample(axes, count, seed=master_seed(options), method=options.sampler)
    scales = tuple(
        Axis(
            one.name, (), ("log" if one.log else "linear") if isinstance(one, Range) else one.scale
        )
        for one in axes
    )
    return points, scales


def _shard(options: argparse.Namespace) -> "Shard | None":
    from sharesim.sweep.shards import parse_shard

    return None if options.shard is None else parse_shard(options.shard)


def _place(target: "Target", options: argparse.Namespace, shard: "Shard | None") -> Path:
    place = Path(options.out) if options.out else Path("out") / f"{target.name}-sweep"
    return place if shard is None else shard.folder(place)


def _dry_run(points: list[dict[str, Any]], manifest: "Manifest") -> int:
    from sharesim.sweep.plan import settings_text

    points = list({settings_text(point): point for point in points}.values())
    runs = len(points) * manifest.replicates
    print(f"{len(points)} points x {manifest.replicates} replicates = {runs} runs")
    for axis in manifest.axes:
        print(f"  {axis.name} ({axis.scale}): {', '.join(str(one) for one in axis.values)}")
    return 0


def _run(
    session: "Session",
    points: list[dict[str, Any]],
    replicates: int,
    shard: "Shard | None",
) -> None:
    """Make what is missing, and what turns out to be damaged once more."""
    cells = session.add(points, replicates)
    if shard is not None:
        cells = shard.of(cells)
        session.narrow(cells)
    session.update_table()
    session.complete(cells)
    if session.update_table():
        session.complete(cells)
    left = [cell for cell in cells if not session.driver.is_settled(cell)]
    if left:
        raise ModelError(f"{len(left)} runs were neither made nor failed, {left[0].name} first")


def _goal(options: argparse.Namespace) -> "Goal | None":
    """What --until-precision asks."""
    from sharesim.statistics import parse_precision
    from sharesim.sweep.metrics import metric
    from sharesim.sweep.precision import Goal

    most = whole_number("--max-replicates", options.max_replicates, least=2)
    name = options.precision_of or ("overhead" if options.baseline else "saved_mib")
    if options.until_precision is None:
        if options.precision_of is not None:
            raise UserError("--precision-of is for --until-precision; give that too")
        return None
    if options.shard is not None:
        raise UserError("--until-precision: a shard has not all replicates; leave one of the two")
    return Goal(metric(name), parse_precision(options.until_precision), most)


def _teller(options: argparse.Namespace) -> Any:
    def tell(text: str) -> None:
        if not options.quiet:
            print(f"sharesim: {text}", file=sys.stderr)

    return tell


def _interrupted(session: "Session") -> int:
    if not session.is_open:
        print("\nsharesim: stopped before anything was run", file=sys.stderr)
        return EXIT_INTERRUPTED
    done = sum(session.driver.is_done(cell) for cell in session.wanted)
    left = len(session.wanted) - done
    print(
        f"\nsharesim: stopped: {done} done, {left} to do; the same command goes on:\n"
        f"  {command_line(session.manifest.command)}",
        file=sys.stderr,
    )
    return EXIT_INTERRUPTED


def _report(place: Path, options: argparse.Namespace) -> int:
    from sharesim.sweep.show import sweep_json, sweep_text
    from sharesim.sweep.sweep import Sweep

    sweep = Sweep(place)
    if options.json:
        from sharesim.results.folder import json_text

        print(json_text(sweep_json(sweep, [])))
    elif not options.quiet:
        print(sweep_text(sweep, []))
    return 1 if len(sweep.failed) else 0
