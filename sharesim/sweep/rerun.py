"""One run of a sweep again, with its pairs, from nothing but what the sweep's folder holds."""

import os
import shutil
import tempfile
from pathlib import Path

from sharesim.errors import UserError
from sharesim.resolve import resolve
from sharesim.results.folder import new_run_folder, same_files
from sharesim.results.load import SCENARIO_FILE
from sharesim.simulate import native_without_sharing, without_sharing
from sharesim.spec.scenario import Scenario
from sharesim.spec.script import find_code_in
from sharesim.sweep.cell import Job, run_cell
from sharesim.sweep.plan import Cell
from sharesim.sweep.store import CODE, Store
from sharesim.sweep.sweep import Sweep


def rerun(sweep: Sweep, cell: Cell, out: Path | None, *, force: bool = False) -> list[str] | None:
    """Names of the result files in which the run now differs; None where there was none before.

    ``out`` receives the run folder. Raises UserError where the run fails.
    """
    scenario = _scenario(sweep, cell)
    pairs = {
        "P1": resolve(without_sharing(scenario)),
        "P0": resolve(native_without_sharing(scenario)),
    }
    with tempfile.TemporaryDirectory(prefix="sharesim-rerun-") as temporary:
        again = Store(temporary)
        again.write_manifest(sweep.manifest)
        shutil.copytree(sweep.folder / CODE, again.place / CODE)
        for label, key in cell.pairs.items():
            run_cell(temporary, Job(key, label, pairs[label].to_dict()).to_text())
        job = Job(cell.key, "with sharing", scenario.to_dict(), cell.pairs, cell.name)
        if run_cell(temporary, job.to_text()) == "failed":
            failure = again.read_failure(job.key) or {}
            raise UserError(f"{sweep.folder}: {cell.name} fails: {failure.get('message')}")
        made = again.run_folder(cell.key)
        before = sweep.store.run_folder(cell.key)
        differ = same_files(made, before) if before.is_dir() else None
        if out is not None:
            with new_run_folder(out, force=force) as folder:
                for name in os.listdir(made):
                    folder.copy_file(name, made / name)
                folder.finish()
    return differ


def _scenario(sweep: Sweep, cell: Cell) -> Scenario:
    """As the run was stored; of one that was not made, UserError."""
    path = sweep.store.run_folder(cell.key) / SCENARIO_FILE
    if not cell.key or not path.is_file():
        failure = sweep.store.read_failure(cell.key) or {"message": cell.problem or "not made yet"}
        raise UserError(f"{sweep.folder}: {cell.name} cannot be repeated: {failure['message']}")
    find_code_in(sweep.folder / CODE)
    return Scenario.from_json(path.read_text(encoding="utf-8"), str(path))
