"""``sharesim run``: runs a scenario or a study, prints a table, writes a folder."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError, nearest

if TYPE_CHECKING:
    from sharesim.results.folder import Folder
    from sharesim.results.progress import Interrupts
    from sharesim.results.provenance import Stopwatch
    from sharesim.results.run import Run
    from sharesim.spec.costs import CostProfile
    from sharesim.spec.scenario import Costs, Scenario
    from sharesim.spec.script import Target
    from sharesim.study import Findings, Study

COMPILE_SECONDS = 40
"""What compiling all kernels takes on a common machine."""
MOST_SLICES = 1_000_000_000
LARGEST_SEED = (1 << 63) - 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("target", metavar="TARGET",
        help="a script of a scenario or a study, a scenario.json or a run folder")  # fmt: skip
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="set a parameter of the script (see `sharesim params`)")  # fmt: skip
    add("--seed", metavar="N", help="seed of all that is random; of a study, its lowest")
    add("--out", metavar="DIR", help="the folder to write (default: out/ and the script's name)")
    add("--force", action="store_true", help="replace a folder of a run or study that exists")
    add("--baseline", action=argparse.BooleanOptionalAction, default=None,
        help="also run without sharing, and natively, to compare with")  # fmt: skip
    add("--exact", action="store_true", help="one event per access and scanned page; slow")
    add("--check", action="store_true", help="test the invariants of memory all along; slow")
    add("--events", action="store_true", help="record each fault, merge and break")
    add("--trace", action="store_true",
        help="write a timeline for the Perfetto viewer, ui.perfetto.dev")  # fmt: skip
    add("--trace-limit", metavar="N",
        help="slices of the trace at most (default: 1000000); a longer run is thinned")  # fmt: skip
    add("--costs", metavar="PROFILE",
        help="a cost profile (see `sharesim list costs`), or FILE.toml[#PROFILE]")  # fmt: skip
    add("--no-plot", action="store_true", help="draw no pictures")
    add("--quiet", action="store_true", help="no progress bar and no table")
    add("--json", action="store_true", help="print summary.json, or study.json, not the table")


def execute(options: argparse.Namespace) -> int:
    """Run it; 130 when Ctrl-C ended it early."""
    from sharesim.results.progress import Aborted
    from sharesim.results.provenance import Stopwatch
    from sharesim.spec.script import load_target

    watch = Stopwatch()
    target = load_target(options.target)
    execute_one = _execute_study if target.is_study else _execute_scenario
    try:
        return execute_one(target, options, watch)
    except Aborted:
        raise KeyboardInterrupt from None


def _execute_scenario(target: "Target", options: argparse.Namespace, watch: "Stopwatch") -> int:
    from sharesim.results.folder import new_run_folder
    from sharesim.results.progress import Interrupts

    scenario = build(target, options)
    trace_limit(options)  # what is wrong with it is said before the run
    interrupts = Interrupts()
    out = default_out(target, options.out)
    with new_run_folder(out, force=options.force) as folder, interrupts.watched():
        run = _run(scenario, folder, interrupts, watch, options)
        place = folder.finish()
    _report(run, place, target, options, watch.seconds)
    return 130 if run.summary["partial"] else 0


def _run(
    scenario: "Scenario",
    folder: "Folder",
    interrupts: "Interrupts",
    watch: "Stopwatch",
    options: argparse.Namespace,
) -> "Run":
    tell_compiling(quiet=options.quiet)
    from sharesim.conduct import run_into
    from sharesim.results.progress import Bar, observer, run_count

    bar = Bar(run_count(scenario)) if not options.quiet and sys.stderr.isatty() else None
    progress = observer(interrupts, bar)
    try:
        return run_into(
            folder,
            scenario,
            watch,
            progress=progress,
            picture=not options.no_plot,
            trace=trace_limit(options),
        )
    finally:
        if bar is not None:
            bar.close()


def _execute_study(target: "Target", options: argparse.Namespace, watch: "Stopwatch") -> int:
    from sharesim.results.folder import new_run_folder
    from sharesim.results.progress import Interrupts
    from sharesim.spec.script import CODE_FOLDER
    from sharesim.study import STUDY_FILE

    study, runs = build_study(target, options)
    interrupts = Interrupts()
    out = default_out(target, options.out)
    with (
        new_run_folder(out, force=options.force, main_file=STUDY_FILE) as folder,
        interrupts.watched(),
    ):
        for name, source in target.code().items():
            folder.copy_file(f"{CODE_FOLDER}/{name}", source)
        findings = run_study(
            study, runs, folder, interrupts, quiet=options.quiet, pictures=not options.no_plot
        )
        place = folder.finish()
    report_study(findings, options)
    if not (options.quiet or options.json):
        print(f"\n{watch.seconds:.1f} s; study folder {place}")
        if (place / "study.png").exists():
            print(f"picture    {place / 'study.png'}")
    return 0


def run_study(
    study: "Study",
    runs: Mapping[str, "Scenario"],
    folder: "Folder",
    interrupts: "Interrupts",
    *,
    quiet: bool,
    pictures: bool,
) -> "Findings":
    """Run all of a study with a progress bar; see :func:`sharesim.conduct.conduct`."""
    tell_compiling(quiet=quiet)
    from sharesim.conduct import conduct
    from sharesim.results.progress import StudyBar

    bar = StudyBar(study.name, runs) if not quiet and sys.stderr.isatty() else None
    try:
        return conduct(study, runs, folder, interrupts=interrupts, bar=bar, pictures=pictures)
    finally:
        if bar is not None:
            bar.close()


def report_study(findings: "Findings", options: argparse.Namespace) -> None:
    """Print what a study found, as ``--json`` and ``--quiet`` have it."""
    from sharesim.results.folder import json_text
    from sharesim.results.verdicts import findings_text

    if options.json:
        print(json_text(findings.to_json()))
    elif not options.quiet:
        print(findings_text(findings))


def trace_limit(options: argparse.Namespace) -> int | None:
    """The most slices of the trace that is asked for; None for no trace."""
    from sharesim.results.tracer import DEFAULT_LIMIT

    text = options.trace_limit
    if text is None:
        return DEFAULT_LIMIT if options.trace else None
    if not options.trace:
        raise UserError("--trace-limit is for --trace; give that too")
    if not text.isdecimal() or not 1 <= int(text) <= MOST_SLICES:
        raise UserError(f"--trace-limit {text}: a number from 1 to {MOST_SLICES:,} is needed")
    return int(text)


def build(target: "Target", options: argparse.Namespace) -> "Scenario":
    """The scenario, with what the options change of it."""
    scenario = target.build(_settings(target, options))
    if options.seed is not None:
        scenario = scenario.model_copy(update={"seed": parse_seed(options.seed)})
    return changed(scenario, options)


def build_study(
    target: "Target", options: argparse.Namespace
) -> tuple["Study", dict[str, "Scenario"]]:
    """The study and what it runs, with what the options change of that."""
    from sharesim.conduct import reseeded, scenarios_of

    if options.trace or options.trace_limit is not None:
        raise UserError("--trace is for one scenario; a study has several")
    if options.baseline is not None:
        raise UserError("--baseline is for one scenario; a study says itself what to compare with")
    study = target.build_study(_settings(target, options))
    runs = scenarios_of(study)
    if options.seed is not None:
        runs = reseeded(runs, parse_seed(options.seed))
    return study, {name: changed(one, options) for name, one in runs.items()}


def _settings(target: "Target", options: argparse.Namespace) -> dict[str, Any]:
    """Values of the script's parameters; ``--seed`` is one of them where it has such a one."""
    settings = target.parse(options.settings)
    if options.seed is not None and "seed" in target.parameters:
        settings.setdefault("seed", parse_seed(options.seed))
    return settings


def changed(scenario: "Scenario", options: argparse.Namespace) -> "Scenario":
    """A scenario with what the options change of any."""
    changes: dict[str, Any] = {}
    if options.baseline is not None:
        changes["baseline"] = options.baseline
    if options.exact:
        changes["mode"] = "exact"
    changes.update({name: True for name in ("check", "events") if getattr(options, name)})
    if options.costs is not None:
        costs = costs_named(options.costs, scenario.host.costs)
        changes["host"] = scenario.host.model_copy(update={"costs": costs})
    return scenario.model_copy(update=changes)


def parse_seed(text: str) -> int:
    """The number after ``--seed``; UserError where it is none."""
    try:
        seed = int(text)
    except ValueError:
        raise UserError(f"--seed {text}: a whole number is needed") from None
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"--seed {text}: a number from 0 to 2^63 - 1 is needed")
    return seed


def costs_named(name: str, before: "Costs") -> "Costs":
    """A shipped profile by name; or one of a file, all of whose figures go into the scenario."""
    from sharesim.spec.costs import find_profile, profile_names
    from sharesim.spec.scenario import Costs

    profile = find_profile(name)
    if profile.name in profile_names():  # no file may take such a name
        return Costs(profile=profile.name, override=before.override)
    return _inlined(profile, before.override)


def _inlined(profile: "CostProfile", override: dict[str, int]) -> "Costs":
    """Costs that need no file any more."""
    from sharesim.spec.scenario import Costs

    figures = sorted(profile.figures.items())
    table = {key: one.ns for key, one in figures}
    marks = {key: f"{one.mark}, {one.profile}: {one.source}" for key, one in figures}
    for key, ns in override.items():
        if key not in table:
            raise UserError(f"host.costs.override: no primitive '{key}'{nearest(key, table)}")
        table[key], marks[key] = ns, "given in the scenario"
    return Costs(profile=profile.name, override=override, table=table, marks=marks)


def default_out(target: "Target", out: str | None) -> Path:
    """``out/NAME``; beside its run folder, under a free name, where a run is repeated."""
    if out is not None:
        return Path(out)
    folder = target.run_folder
    if folder is None:
        return Path("out") / target.name
    number, place = 1, folder.resolve().with_name(f"{target.name}-again")
    while place.exists():
        number += 1
        place = place.with_name(f"{target.name}-again-{number}")
    return folder.parent / place.name if folder.name else place


def tell_compiling(*, quiet: bool) -> None:
    """Say why nothing seems to happen at first, where nothing is compiled yet."""
    from sharesim.kernel import JIT, cache_folder

    if JIT and not quiet and not any_compiled(cache_folder()):
        print(
            "sharesim: compiling kernels for this version"
            f" (once, about {COMPILE_SECONDS} s on a common machine)",
            file=sys.stderr,
        )


def any_compiled(folder: Path) -> bool:
    """Whether a cache holds kernels; Numba makes its subfolders before it compiles anything."""
    return any(folder.rglob("*.nbi"))


def _report(
    run: "Run", place: Path, target: "Target", options: argparse.Namespace, seconds: float
) -> None:
    """Say what came out and where it is."""
    from sharesim.results.folder import json_text
    from sharesim.results.table import summary_text
    from sharesim.results.tracer import TRACE_FILE

    if options.json:
        print(json_text(run.summary))
    elif not options.quiet:
        print(summary_text(run.summary))
        print(f"\n{seconds:.1f} s; run folder {place}")
        if not options.no_plot:
            print(f"picture    {place / 'timeline.png'}")
        if options.trace:
            note = f" ({run.trace_note})" if run.trace_note else ""
            print(f"trace      {place / TRACE_FILE}{note}; open it at https://ui.perfetto.dev")
        _compare(run, place, target)
    if run.summary["partial"]:
        at = run.summary["simulated_ns"] / 1e9
        print(f"sharesim: interrupted at {at:g} s; kept as partial in {place}", file=sys.stderr)


def _compare(run: "Run", place: Path, target: "Target") -> None:
    """Whether a repeated run came out as it was before."""
    from sharesim.results.folder import same_files
    from sharesim.results.load import read_summary
    from sharesim.version import MODEL_VERSION

    before = target.run_folder
    if before is None or run.summary["partial"] or not before.exists():
        return
    if before.resolve() == place.resolve():
        return
    differ = same_files(before, place)
    if not differ:
        print(f"the same, byte for byte, as {before}")
    elif "scenario.json" not in differ:
        print(f"the same scenario as {before}, but not the same {', '.join(differ)}")
        made_with = read_summary(before).get("model_version")
        if made_with != MODEL_VERSION:
            print(f"that was made by model version {made_with}; this is version {MODEL_VERSION}")
