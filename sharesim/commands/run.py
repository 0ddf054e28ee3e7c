"""``sharesim run``: runs a scenario, prints a table, writes a run folder."""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError, nearest

if TYPE_CHECKING:
    from sharesim.results.folder import RunFolder
    from sharesim.results.progress import Interrupts
    from sharesim.results.run import Run
    from sharesim.spec.costs import CostProfile
    from sharesim.spec.scenario import Costs, Scenario
    from sharesim.spec.script import Target

COMPILE_SECONDS = 40
"""What compiling all kernels takes on a common machine."""
LARGEST_SEED = (1 << 63) - 1


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("target", metavar="TARGET", help="a scenario script, a scenario.json or a run folder")
    add("--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="set a parameter of the script (see `sharesim params`)")  # fmt: skip
    add("--seed", metavar="N", help="seed of all that is random")
    add(
        "--out", metavar="DIR", help="the run folder to write (default: out/ and the script's name)"
    )
    add("--force", action="store_true", help="replace a run folder that exists")
    add("--baseline", action=argparse.BooleanOptionalAction, default=None,
        help="also run without sharing, and natively, to compare with")  # fmt: skip
    add("--exact", action="store_true", help="one event per access and scanned page; slow")
    add("--check", action="store_true", help="test the invariants of memory all along; slow")
    add("--events", action="store_true", help="record each fault, merge and break")
    add("--costs", metavar="PROFILE",
        help="a cost profile (see `sharesim list costs`), or FILE.toml[#PROFILE]")  # fmt: skip
    add("--no-plot", action="store_true", help="draw no timeline.png")
    add("--quiet", action="store_true", help="no progress bar and no table")


def execute(options: argparse.Namespace) -> int:
    """Run it; 130 when Ctrl-C ended it early."""
    from sharesim.results.progress import Aborted

    try:
        return _execute(options)
    except Aborted:
        raise KeyboardInterrupt from None


def _execute(options: argparse.Namespace) -> int:
    from sharesim.results.folder import new_run_folder
    from sharesim.results.progress import Interrupts
    from sharesim.results.provenance import Stopwatch
    from sharesim.spec.script import load_target

    watch = Stopwatch()
    target = load_target(options.target)
    scenario = build(target, options)
    interrupts = Interrupts()
    out = default_out(target, options.out)
    with new_run_folder(out, force=options.force) as folder, interrupts.watched():
        run = _simulate(scenario, folder, interrupts, quiet=options.quiet)
        _write(run, folder, picture=not options.no_plot)
        origin = watch.provenance(sys.argv, derived_tables(run.scenario))
        folder.write_json("provenance.json", origin)
        place = folder.finish()
    _report(run, place, target, options, watch.seconds)
    return 130 if run.summary["partial"] else 0


def build(target: "Target", options: argparse.Namespace) -> "Scenario":
    """The scenario, with what the options change of it."""
    settings = target.parse(options.settings)
    seed = None if options.seed is None else _seed(options.seed)
    if seed is not None and "seed" in target.parameters:
        settings.setdefault("seed", seed)
    scenario = target.build(settings)
    changes: dict[str, Any] = {}
    if seed is not None:
        changes["seed"] = seed
    if options.baseline is not None:
        changes["baseline"] = options.baseline
    if options.exact:
        changes["mode"] = "exact"
    changes.update({name: True for name in ("check", "events") if getattr(options, name)})
    if options.costs is not None:
        costs = _costs(options.costs, scenario.host.costs)
        changes["host"] = scenario.host.model_copy(update={"costs": costs})
    return scenario.model_copy(update=changes)


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        raise UserError(f"--seed {text}: a whole number is needed") from None
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"--seed {text}: a number from 0 to 2^63 - 1 is needed")
    return seed


def _costs(name: str, before: "Costs") -> "Costs":
    """A shipped profile by name; or one of a file, all of whose figures go into the scenario."""
    from sharesim.spec.costs import load_profile, load_profile_file, profile_names
    from sharesim.spec.scenario import Costs

    path, _, wanted = name.partition("#")
    if not path.endswith(".toml"):
        if name not in profile_names() and Path(name).exists():
            raise UserError(f"--costs {name}: a file of costs ends in .toml")
        load_profile(name)
        return Costs(profile=name, override=before.override)
    profiles = load_profile_file(path)
    if not wanted and len(profiles) > 1:
        known = ", ".join(profiles)
        raise UserError(f"--costs {name}: it has {known}; choose one: --costs {path}#NAME")
    wanted = wanted or next(iter(profiles))
    if wanted not in profiles:
        raise UserError(f"--costs {name}: {path} has no '{wanted}'{nearest(wanted, profiles)}")
    return _inlined(profiles[wanted], before.override)


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


def _simulate(
    scenario: "Scenario", folder: "RunFolder", interrupts: "Interrupts", *, quiet: bool
) -> "Run":
    from sharesim.kernel import JIT, cache_folder

    if JIT and not quiet and not any_compiled(cache_folder()):
        print(
            "sharesim: compiling kernels for this version"
            f" (once, about {COMPILE_SECONDS} s on a common machine)",
            file=sys.stderr,
        )
    from sharesim.results.progress import Bar, observer
    from sharesim.simulate import simulate

    runs = 3 if scenario.baseline and scenario.shares else 1
    bar = Bar(runs) if not quiet and sys.stderr.isatty() else None
    try:
        with folder.disk_errors():
            return simulate(scenario, progress=observer(interrupts, bar), folder=folder.path)
    finally:
        if bar is not None:
            bar.close()


def any_compiled(folder: Path) -> bool:
    """Whether a cache holds kernels; Numba makes its subfolders before it compiles anything."""
    return any(folder.rglob("*.nbi"))


def _write(run: "Run", folder: "RunFolder", *, picture: bool) -> None:
    from sharesim.spec.script import CODE_FOLDER, code_files

    folder.write_text("scenario.json", run.scenario.to_json())
    folder.write_json("summary.json", run.summary)
    modules = [name.partition(":")[0] for name in run.scenario.code]
    for name, source in code_files(modules).items():
        folder.copy_file(f"{CODE_FOLDER}/{name}", source)
    if picture:
        from sharesim.results.style import figure_bytes

        folder.write_bytes("timeline.png", figure_bytes(run.plot()))


def derived_tables(scenario: "Scenario") -> str | None:
    """SHA-256 of the integer tables that come from floats: those of Zipf popularity."""
    from sharesim.guest.build import alias_table
    from sharesim.spec.workloads import Phases, ZipfAccess

    shapes: set[tuple[int, float]] = set()
    for vm in scenario.vms:
        parts = vm.workload.phases if isinstance(vm.workload, Phases) else (vm.workload,)
        for part in parts:
            if isinstance(part, ZipfAccess) and part.accesses:
                span = part.region or (vm.memory or 0) - part.region_start
                shapes.add((span, part.exponent))
    if not shapes:
        return None
    digest = hashlib.sha256()
    for span, exponent in sorted(shapes):
        for table in alias_table(span, exponent):
            digest.update(table.astype("<u4").tobytes())
    return digest.hexdigest()


def _report(
    run: "Run", place: Path, target: "Target", options: argparse.Namespace, seconds: float
) -> None:
    """Say what came out and where it is."""
    from sharesim.results.table import summary_text

    if not options.quiet:
        print(summary_text(run.summary))
        print(f"\n{seconds:.1f} s; run folder {place}")
        if not options.no_plot:
            print(f"picture    {place / 'timeline.png'}")
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
