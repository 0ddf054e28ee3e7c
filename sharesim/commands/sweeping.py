"""What the commands that run many scenarios have in common: options, executor, progress."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.commands.run import any_compiled, changed, costs_named, parse_seed
from sharesim.errors import UserError

if TYPE_CHECKING:
    from sharesim.spec.script import Target
    from sharesim.sweep.driver import Progress
    from sharesim.sweep.executors import Executor
    from sharesim.sweep.manifest import Manifest
    from sharesim.sweep.plan import Builder, Cell
    from sharesim.sweep.session import Session

DEFAULT_SEED = 1
"""As of a scenario."""
_LINE_EVERY_S = 60.0


def add_running_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options on how runs are made and where they go."""
    add = parser.add_argument
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="set a parameter of the script, the same for all points")  # fmt: skip
    add("--replicates", metavar="N", default="1",
        help="runs of each point, with seeds of their own (default: 1)")  # fmt: skip
    add("--seed", metavar="N", help="master seed, of which the replicates' seeds are made")
    add("--jobs", metavar="N", help="runs at a time (default: as many as there are CPUs)")
    add("--dask", metavar="ADDRESS",
        help="run on a Dask cluster: tcp://HOST:8786, or local for one here")  # fmt: skip
    add("--out", metavar="DIR", help="the sweep's folder; an unfinished sweep there goes on")
    add("--force", action="store_true", help="begin anew: remove the sweep that is there")
    add("--update", action="store_true",
        help="ask another question in a folder; runs that are done are used")  # fmt: skip
    add("--retry-failed", action="store_true", help="make failed runs again")
    add("--keep-model", action="store_true",
        help="keep runs that an older version of the model made")  # fmt: skip
    add("--baseline", action=argparse.BooleanOptionalAction, default=True,
        help="compare with runs without sharing, each made once (default: yes)")  # fmt: skip
    add("--exact", action="store_true", help="one event per access and scanned page; slow")
    add("--check", action="store_true", help="test the invariants of memory all along; slow")
    add("--costs", metavar="PROFILE",
        help="a cost profile (see `sharesim list costs`), or FILE.toml[#PROFILE]")  # fmt: skip
    add("--quiet", action="store_true", help="no progress and no table")
    add("--json", action="store_true", help="print JSON, not a table")


def master_seed(options: argparse.Namespace) -> int:
    """The seed of all replicates' seeds."""
    return DEFAULT_SEED if options.seed is None else parse_seed(options.seed)


def whole_number(option: str, text: str, least: int = 1, most: int = 1_000_000) -> int:
    """The number after an option; UserError where it is none."""
    try:
        number = int(text)
    except ValueError:
        raise UserError(f"{option} {text}: a whole number is needed") from None
    if not least <= number <= most:
        raise UserError(f"{option} {text}: a number from {least} to {most:,} is needed")
    return number


def builder_of(target: "Target", options: argparse.Namespace) -> "Builder":
    """What builds the scenarios, as options change them."""
    from sharesim.sweep.plan import Builder

    if target.is_study:
        raise UserError(f"{target.path} is a study; a sweep needs a scenario")
    options.events = False  # of a single run only
    plain = argparse.Namespace(**{**vars(options), "baseline": None})
    if options.costs is not None:
        _check_costs(target, options)
    return Builder(
        target,
        target.parse(options.settings),
        lambda scenario: changed(scenario, plain),
        options=changes(options),
        seed=master_seed(options),
        baseline=options.baseline,
    )


def _check_costs(target: "Target", options: argparse.Namespace) -> None:
    """A wrong profile is the command's error, not one of each point."""
    from sharesim.spec.scenario import Costs

    costs_named(options.costs, Costs())


def changes(options: argparse.Namespace) -> dict[str, Any]:
    """Options that change every scenario, as the manifest keeps them."""
    kept: dict[str, Any] = {"baseline": options.baseline}
    kept |= {name: True for name in ("exact", "check") if getattr(options, name)}
    return kept | ({"costs": options.costs} if options.costs is not None else {})


def session_of(
    target: "Target",
    options: argparse.Namespace,
    place: Path,
    manifest: "Manifest",
    progress: "Progress | None",
) -> "Session":
    """A session as the options have it."""
    from sharesim.kernel import JIT, cache_folder
    from sharesim.sweep.session import Manners, Session

    manners = Manners(options.force, options.update, options.retry_failed, options.keep_model)
    return Session(
        place,
        target,
        manifest,
        builder_of(target, options),
        executor_maker(options),
        manners=manners,
        progress=progress,
        tell=(lambda text: None) if options.quiet else None,
        cold=JIT and not any_compiled(cache_folder()),
    )


def manifest_of(target: "Target", options: argparse.Namespace, **more: Any) -> "Manifest":
    """The question as far as all such commands ask it alike."""
    from sharesim.sweep.manifest import Manifest

    return Manifest(
        script=target.path.name,
        settings=_plain(target.parse(options.settings)),
        options=changes(options),
        replicates=whole_number("--replicates", options.replicates, most=100_000),
        command=options.words,
        **more,
    )


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    import json

    plain: dict[str, Any] = json.loads(json.dumps(dict(settings), default=str))
    return plain


def executor_maker(options: argparse.Namespace) -> "Callable[[], Executor]":
    """Starts what makes the runs, when it is called."""
    from sharesim.sweep import executors

    jobs = (
        usable_cpus() if options.jobs is None else whole_number("--jobs", options.jobs, most=4096)
    )
    if options.dask is not None:
        return lambda: executors.dask(options.dask, jobs)
    if jobs == 1:
        return executors.serial
    return lambda: executors.local(jobs)


def usable_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def command_line(words: tuple[str, ...]) -> str:
    """A command to be typed again."""
    return shlex.join(words)


class Bar:
    """How far a sweep is: a bar on a terminal, else a line a minute."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._bar: Any = None
        self._failed = 0

    def begin(self, total: int, done: int) -> None:
        """Say what is done and what is to do."""
        self.close()
        if self.quiet or done == total:
            return
        print(f"sharesim: {done} done, {total - done} to do", file=sys.stderr)
        from tqdm import tqdm

        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=done,
            file=sys.stderr,
            unit="run",
            dynamic_ncols=terminal,
            mininterval=0.1 if terminal else _LINE_EVERY_S,
            maxinterval=10.0 if terminal else _LINE_EVERY_S,
            ascii=None if terminal else True,
            bar_format="{desc}{percentage:3.0f}%|{bar}| {n} of {total} runs, {elapsed},"
            " {remaining} left{postfix}",
        )

    def settled(self, cell: "Cell", outcome: str) -> None:
        """One more."""
        if self._bar is None:
            return
        if outcome == "failed":
            self._failed += 1
            self._bar.set_postfix_str(f"{self._failed} failed", refresh=False)
        self._bar.update(1)

    def close(self) -> None:
        """Leave the line as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
