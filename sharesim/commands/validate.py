"""``sharesim validate``: replays what was recorded on real machines, and says how far off it is."""

import argparse
import sys
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from sharesim.spec.scenario import Costs
    from sharesim.validation.outcome import How, Outcome

SUBJECTS = {
    "ksm": "KSM's counters, sample by sample",
    "overhead": "what KSM costs the processes that it works on",
}
"""What can be validated; each is a module of :mod:`sharesim.validation`."""
EXIT_MISSED = 1
EXIT_INTERRUPTED = 130
CLEAR = "\r\x1b[K"
"""Of a terminal's line."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options: each subject's own, and what they have in common."""
    subjects = parser.add_subparsers(
        title="subjects", dest="subject", metavar="SUBJECT", required=True,
        parser_class=type(parser),
    )  # fmt: skip
    own = {"ksm": _add_ksm, "overhead": _add_overhead}
    for name, text in SUBJECTS.items():
        one = subjects.add_parser(name, help=text, description=text, allow_abbrev=False)
        own[name](one)
        _add_common(one)
        one.set_defaults(parser=one)


def _add_ksm(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("cases", nargs="*", metavar="CASE.json", help="recorded cases")
    add("--repeats", type=int, default=3, metavar="N", help="live runs of each case (default: 3)")


def _add_overhead(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("cases", nargs="*", metavar="CASES.json", help="files of cases")
    add("--case", action="append", default=[], metavar="NAME", dest="names",
        help="only this case of the files (more than once: these)")  # fmt: skip
    add("--variant", action="append", default=[], metavar="NAME", dest="variants",
        help="only this variant of the cases (more than once: these)")  # fmt: skip
    add("--rounds", type=int, metavar="N",
        help="windows of each variant (default: as the case says)")  # fmt: skip


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--live", action="store_true",
        help="run the cases on this machine's kernel now, to compare with (root)")  # fmt: skip
    add("--force", action="store_true", help="live: go on although somebody else uses KSM")
    add("--costs", metavar="PROFILE",
        help="a cost profile (see `sharesim list costs`), or FILE.toml[#PROFILE]"
        " (default: the machine of the recordings)")  # fmt: skip
    add("--out", metavar="DIR",
        help="where the pictures go (default: out/validate- and the subject)")  # fmt: skip
    add("--no-plot", action="store_true", help="draw no pictures")
    add("--strict", action="store_true", help="exit status 1 if anything misses its limit")
    add("--quiet", action="store_true", help="no progress and no tables")
    add("--json", action="store_true", help="as JSON")


def execute(options: argparse.Namespace) -> int:
    """Validate; 1 if something missed and that was asked for, 130 when Ctrl-C ended it."""
    from sharesim.commands.run import tell_compiling

    subject = options.subject
    if not options.cases and not options.live:
        raise UserError(f"validate {subject}: give the cases, CASE.json ..., or --live")
    for option in ("repeats", "rounds"):
        number = getattr(options, option, None)
        if number is not None and number < 1:
            raise UserError(f"--{option} {number}: at least 1 is needed")
    tell_compiling(quiet=options.quiet)
    done: list[Outcome] = []
    pictures = Path(options.out or f"out/validate-{subject}")
    try:
        with _how(options) as how:
            _validate(options, how, pictures, done)
    except KeyboardInterrupt:
        if not done:
            raise
        names = ", ".join(one.case for one in done)
        print(f"sharesim: interrupted; validated so far: {names}", file=sys.stderr)
        return EXIT_INTERRUPTED
    _report(done, pictures, options)
    missed = any(one.misses for one in done)
    return EXIT_MISSED if options.strict and missed else 0


def _validate(
    options: argparse.Namespace, how: "How", pictures: Path, done: list["Outcome"]
) -> None:
    """Fill ``done``, with a table and a picture for each as soon as it is there."""
    module = import_module(f"sharesim.validation.{options.subject}")
    for outcome in module.outcomes(options.cases, how):
        how.tell("")
        if not (options.json or options.quiet):
            print(outcome.text(), end="\n\n", flush=True)
        if not options.no_plot:
            _draw(outcome.picture(), pictures, outcome.case)
        done.append(outcome)
    overview = getattr(module, "overview", None)
    if overview is not None and len(done) > 1 and not options.no_plot:
        _draw(overview(done), pictures, "overview")


def _draw(picture: "Figure | None", folder: Path, name: str) -> None:
    from sharesim.results.style import save_timeline

    if picture is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be made ({error.strerror})") from None
    save_timeline(picture, folder / f"{name}.png")


@contextmanager
def _how(options: argparse.Namespace) -> "Iterator[How]":
    """What the options ask for; on a terminal, progress is one line that is wiped at the end."""
    from sharesim.validation.outcome import How

    how = How(costs=_costs(options.costs), live=options.live, force=options.force)
    if options.subject == "ksm":
        how = replace(how, repeats=options.repeats)
    else:
        cases, variants = tuple(options.names), tuple(options.variants)
        how = replace(how, cases=cases, variants=variants, rounds=options.rounds)
    if options.quiet or not sys.stderr.isatty():
        yield how
        return
    try:
        yield replace(how, tell=_show)
    finally:
        _show("")


def _show(line: str) -> None:
    print(CLEAR + line, end="", file=sys.stderr, flush=True)


def _costs(name: str | None) -> "Costs | None":
    if name is None:
        return None
    from sharesim.commands.run import costs_named
    from sharesim.spec.scenario import Costs

    return costs_named(name, Costs())


def _entries(outcome: "Outcome") -> list[dict[str, Any]]:
    """The data of a case, or of each of its variants."""
    found = outcome.to_json()
    return found if isinstance(found, list) else [found]


def _report(done: list["Outcome"], pictures: Path, options: argparse.Namespace) -> None:
    """What all cases came to."""
    from sharesim.results.folder import json_text

    missed = sum(one.misses for one in done)
    if options.json:
        print(json_text({"cases": [entry for one in done for entry in _entries(one)],
                         "missed": missed}))  # fmt: skip
    elif not options.quiet:
        cases = "1 case" if len(done) == 1 else f"{len(done)} cases"
        well = sum(not one.misses for one in done)
        print(f"{cases}: {well} within all limits, {missed} figures beyond theirs")
        if not options.no_plot:
            print(f"pictures in {pictures}")
