"""``sharesim reproduce``: runs published results again, and says which come out."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sharesim.results.folder import Folder, RunFolder
    from sharesim.results.progress import Interrupts
    from sharesim.study import Findings, Study

EXIT_MISSED = 1
EXIT_INTERRUPTED = 130


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="reproductions to run (default: all)")
    add("--list", action="store_true", help="only list what there is")
    add("--seed", metavar="N", help="seed of all that is random: the lowest of each study")
    add("--out", metavar="DIR", help="keep the studies' folders there (default: keep nothing)")
    add("--force", action="store_true", help="replace folders that exist")
    add("--no-plot", action="store_true", help="draw no pictures")
    add("--strict", action="store_true", help="exit status 1 if anything misses")
    add("--quiet", action="store_true", help="no progress bar and no tables")
    add("--json", action="store_true", help="as JSON")


def execute(options: argparse.Namespace) -> int:
    """Run them; 1 if one missed and that was asked for, 130 when Ctrl-C ended it."""
    from sharesim.results.progress import Aborted, Interrupts

    studies = dict(_studies(options.names))
    if options.list:
        _list(studies, options)
        return 0
    found: list[Findings] = []
    interrupts = Interrupts()
    try:
        with _folders(list(studies), options) as folders, interrupts.watched():
            for name, study in studies.items():
                found.append(_reproduce(study, folders.get(name), interrupts, options))
    except (Aborted, KeyboardInterrupt):
        if options.out is None or not found:
            raise KeyboardInterrupt from None
        kept = ", ".join(one.name for one in found)
        print(f"sharesim: interrupted; kept in {options.out}: {kept}", file=sys.stderr)
        return EXIT_INTERRUPTED
    _report(found, options)
    missed = any(one.count("miss") for one in found)
    return EXIT_MISSED if options.strict and missed else 0


def _studies(wanted: list[str]) -> Iterator[tuple[str, "Study"]]:
    """Those asked for, or all; of all, a plug-in that does not load is told and left out."""
    from sharesim.reproductions import BrokenPluginError, load, names

    for name in dict.fromkeys(wanted or names()):
        try:
            yield name, load(name)
        except BrokenPluginError as error:
            if wanted:
                raise
            print(f"sharesim: {error}", file=sys.stderr)


def _list(studies: dict[str, "Study"], options: argparse.Namespace) -> None:
    from sharesim.commands.list import aligned
    from sharesim.results.folder import json_text

    if options.json:
        print(json_text([{"name": name, "title": one.title} for name, one in studies.items()]))
    else:
        print("\n".join(aligned([[name, one.title] for name, one in studies.items()])))


@contextmanager
def _folders(names: list[str], options: argparse.Namespace) -> Iterator[dict[str, "RunFolder"]]:
    """A folder for each study, where they are kept; all are known to be free before any runs."""
    from sharesim.results.folder import new_run_folder
    from sharesim.study import STUDY_FILE

    with ExitStack() as stack:
        folders = {}
        for name in names if options.out is not None else ():
            place = Path(options.out) / name
            folder = new_run_folder(place, force=options.force, main_file=STUDY_FILE)
            folders[name] = stack.enter_context(folder)
        yield folders


def _reproduce(
    study: "Study",
    folder: "RunFolder | None",
    interrupts: "Interrupts",
    options: argparse.Namespace,
) -> "Findings":
    """Run one study in its folder, or where nothing stays, and print its table."""
    from sharesim.results.folder import Folder
    from sharesim.results.verdicts import findings_text

    if folder is not None:
        findings = _run(study, folder, interrupts, options, pictures=not options.no_plot)
        folder.finish()
    else:
        with TemporaryDirectory(prefix="sharesim-", ignore_cleanup_errors=True) as place:
            passing = Folder(Path(place), Path(place))
            findings = _run(study, passing, interrupts, options, pictures=False)
    if not (options.json or options.quiet):
        print(findings_text(findings), end="\n\n", flush=True)
    return findings


def _run(
    study: "Study",
    folder: "Folder",
    interrupts: "Interrupts",
    options: argparse.Namespace,
    *,
    pictures: bool,
) -> "Findings":
    from sharesim.commands.run import parse_seed, run_study
    from sharesim.conduct import reseeded, scenarios_of

    runs = scenarios_of(study)
    if options.seed is not None:
        runs = reseeded(runs, parse_seed(options.seed))
    return run_study(study, runs, folder, interrupts, quiet=options.quiet, pictures=pictures)


def _report(found: list["Findings"], options: argparse.Namespace) -> None:
    """What all studies came to."""
    from sharesim.results.folder import json_text
    from sharesim.results.verdicts import total

    if options.json:
        print(json_text({"studies": [one.to_json() for one in found]}))
    elif not options.quiet:
        if len(found) > 1:
            print(f"{len(found)} studies: {total(found)}")
        if options.out is not None:
            print(f"kept in {options.out}")
