"""Runs scenarios into folders: a single one, or all of a study, with what the study found."""

import gc
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sharesim.errors import PolicyError, UserError
from sharesim.guest.build import alias_table
from sharesim.resolve import resolve
from sharesim.results import style
from sharesim.results.folder import Folder
from sharesim.results.progress import Interrupts, StudyBar, observer
from sharesim.results.provenance import Stopwatch
from sharesim.results.run import Run
from sharesim.simulate import Progress, simulate
from sharesim.spec.scenario import Scenario
from sharesim.spec.script import CODE_FOLDER, SCENARIO_FILE, code_files
from sharesim.spec.workloads import Phases, ZipfAccess
from sharesim.study import RUNS_FOLDER, STUDY_FILE, Findings, Row, Study

_NAME = re.compile(r"[A-Za-z0-9][\w.,=+-]{0,99}", re.ASCII)
"""What may be a folder's name everywhere, and is easily typed."""
SEEDS = 1 << 63


def run_into(
    folder: Folder,
    scenario: Scenario,
    watch: Stopwatch,
    *,
    progress: Progress,
    picture: bool,
    trace: int | None = None,
) -> Run:
    """Run a scenario, and write all files of a run folder; those of a partial run as well."""
    with folder.disk_errors():
        run = simulate(scenario, progress=progress, folder=folder.path, trace=trace)
    folder.write_text(SCENARIO_FILE, run.scenario.to_json())
    folder.write_json("summary.json", run.summary)
    modules = [name.partition(":")[0] for name in run.scenario.code]
    for name, source in code_files(modules).items():
        folder.copy_file(f"{CODE_FOLDER}/{name}", source)
    if picture:
        folder.write_bytes("timeline.png", style.figure_bytes(run.plot()))
    origin = watch.provenance(sys.argv, derived_tables(run.scenario))
    if trace is not None:
        origin["trace"] = run.trace_note or "complete"
    folder.write_json("provenance.json", origin)
    return run


def derived_tables(scenario: Scenario) -> str | None:
    """SHA-256 of the integer tables that come from floats: those of Zipf popularity."""
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


def scenarios_of(study: Study) -> dict[str, Scenario]:
    """What a study wants to run. Raises UserError where names or values are no good."""
    runs = study.runs()
    if not isinstance(runs, dict) or not runs:
        raise UserError(f"study '{study.name}' has nothing to run: runs() returned {_found(runs)}")
    taken: dict[str, str] = {}
    for name, scenario in runs.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                f"study '{study.name}': {name!r} is no name for a run; it becomes a folder, so"
                " give letters, digits and . , = + - _ only"
            )
        if not isinstance(scenario, Scenario):
            raise UserError(f"study '{study.name}': run '{name}' is no Scenario")
        other = taken.setdefault(name.lower(), name)
        if other != name:  # on some disks they are one folder
            raise UserError(
                f"study '{study.name}': runs '{other}' and '{name}' differ in case only"
            )
    return {
        name: one if one.title else one.model_copy(update={"title": name})
        for name, one in runs.items()
    }


def reseeded(runs: Mapping[str, Scenario], seed: int) -> dict[str, Scenario]:
    """The runs with ``seed`` as the lowest of their seeds, the others as far from it as before.

    So runs that were paired by their seed stay so, and replicates stay different.
    """
    lowest = min(one.seed for one in runs.values())
    return {
        name: one.model_copy(update={"seed": (seed + one.seed - lowest) % SEEDS})
        for name, one in runs.items()
    }


def conduct(
    study: Study,
    runs: Mapping[str, Scenario],
    folder: Folder,
    *,
    interrupts: Interrupts | None = None,
    bar: StudyBar | None = None,
    pictures: bool = True,
) -> Findings:
    """Run all of a study's scenarios and write its folder. Ctrl-C is a KeyboardInterrupt.

    ``runs`` are those of :func:`scenarios_of`, perhaps changed by options. Raises UserError that
    names the run for what is wrong with one; all are looked at before the first is run.
    """
    interrupts = interrupts or Interrupts()
    for name, scenario in runs.items():
        with _named(name):
            resolve(scenario)
    done: dict[str, Run] = {}
    for name, scenario in runs.items():
        if bar is not None:
            bar.begin(name)
        place = folder.subfolder(f"{RUNS_FOLDER}/{name}")
        progress = observer(interrupts, bar)
        with _named(name):
            run = run_into(place, scenario, Stopwatch(), progress=progress, picture=pictures)
        if run.summary["partial"] or interrupts.asked:
            raise KeyboardInterrupt
        done[name] = Run(run.scenario, run.summary, folder=place.path)  # without what is drawn
        gc.collect()  # the machine's tables are large, and in cycles
    findings = judge(study, done)
    folder.write_json(STUDY_FILE, findings.to_json())
    if pictures:
        with style.settings():
            figure = study.picture(done, list(findings.rows))
        if figure is not None:
            folder.write_bytes("study.png", style.figure_bytes(figure))
    if interrupts.asked:
        raise KeyboardInterrupt
    return findings


def judge(study: Study, runs: Mapping[str, Run]) -> Findings:
    """What a study finds in its finished runs, new ones or such as are read back from folders."""
    rows, notes = study.rows(runs), study.notes(runs)
    if not isinstance(rows, list) or not all(isinstance(row, Row) for row in rows):
        raise UserError(f"study '{study.name}': rows() must return a list of Row")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise UserError(f"study '{study.name}': notes() must return a list of lines")
    seed = min(run.scenario.seed for run in runs.values())
    return Findings(study.name, study.title, tuple(rows), tuple(notes), seed)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors inside name the run that they are about."""
    try:
        yield
    except (UserError, PolicyError) as error:
        raise type(error)(f"run '{name}': {error}") from None


def _found(value: Any) -> str:
    return f"a value of type {type(value).__name__}" if value else "nothing"
