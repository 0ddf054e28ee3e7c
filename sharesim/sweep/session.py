"""A sweep at work: its folder locked, its question written down, its runs being made.

What `sharesim sweep`, `tune` and `sensitivity` have in common. They differ in which points they ask
for: all at once, one after the other, or by a design of experiments.
"""

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from sharesim.errors import UserError
from sharesim.results.folder import DiskError, disk_errors
from sharesim.spec.script import Target
from sharesim.sweep.driver import Driver, Progress, stopped_by_signals
from sharesim.sweep.executors import Executor
from sharesim.sweep.manifest import Manifest, axes_of
from sharesim.sweep.plan import Builder, Cell, Plan, Settings
from sharesim.sweep.store import CODE, MANIFEST_FILE, POINTS_FILE, RUNS, TABLE_FILE, Store
from sharesim.sweep.table import update_table
from sharesim.version import MODEL_VERSION, package_version

_OURS = (MANIFEST_FILE, POINTS_FILE, TABLE_FILE, "runs", "pairs", "failed", "code")


@dataclass(frozen=True)
class Manners:
    """How a folder that is there already is dealt with."""

    force: bool = False
    """Begin anew: what a sweep left there is removed."""
    update: bool = False
    """Take another question than it was begun with; runs that both need are used."""
    retry_failed: bool = False
    keep_model: bool = False
    """Keep what an older version of the model found, where it is done."""


class Session:
    """Use as a context: it holds the folder's lock inside, and leaves the table up to date."""

    def __init__(
        self,
        place: Path,
        target: Target,
        manifest: Manifest,
        builder: Builder,
        executor: Callable[[], Executor],
        *,
        manners: Manners | None = None,
        progress: Progress | None = None,
        tell: Callable[[str], None] | None = None,
        cold: bool = False,
    ) -> None:
        """``manifest`` without what follows from target and builder; ``tell`` takes remarks;
        ``cold``: no kernel is compiled yet."""
        self.place = place
        self.target = target
        self.builder = builder
        self.store = Store(place)
        self.manners = manners or Manners()
        self.manifest = replace(
            manifest,
            script=target.path.name,
            title=target.name,
            help=target.help,
            parameters=_parameters(target),
            inputs=builder.inputs(),
            model_version=MODEL_VERSION,
            sharesim=package_version(),
            seed=builder.seed,
        )
        self._maker = executor
        self._progress = progress
        self._tell = tell or (lambda text: print(f"sharesim: {text}", file=sys.stderr))
        self._cold = cold
        self._share: list[Cell] | None = None
        self._table_of: tuple[int, int] | None = None
        """How many cells and results the table was made of that is there now."""
        self._exits = ExitStack()
        self._workers = self._exits.enter_context(ExitStack())
        self.is_open = False
        """Whether the folder is locked and the question written down."""

    def __enter__(self) -> "Session":
        with self._exits:
            self._check_place()
            self._exits.enter_context(self.store.driven(self.manifest.command))
            self._check_place()
            known = self._known()
            self.plan = Plan(self.builder, known, keep=self.manners.keep_model)
            with disk_errors(self.place):
                self._keep_code()
            self.driver = Driver(
                self.store,
                self.builder,
                self._executor,
                progress=self._progress,
                command=self.manifest.command,
                cold=self._cold,
            )
            self.store.write_manifest(self.manifest)
            self._exits.enter_context(stopped_by_signals())
            self._exits = self._exits.pop_all()
        self.is_open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop workers; write the table of what is there, unless the disk is what stopped us."""
        with self._exits:
            self._workers.close()
            if not isinstance(error, DiskError):
                self.update_table()

    def _executor(self) -> Executor:
        executor = self._maker()
        self._workers.callback(executor.shutdown, True, cancel_futures=True)
        return executor

    # Points

    def add(self, points: Iterable[Settings], replicates: int) -> list[Cell]:
        """Put points on the plan, and note it down; returns their cells."""
        before = self.plan.count
        cells = [cell for point in points for cell in self.plan.add(point, replicates)]
        if self.plan.count != before or not (self.place / POINTS_FILE).exists():
            self.store.write_cells(self.plan.cells, self.manifest.inputs)
        if self.manners.retry_failed:
            self.driver.retry(cells)
        return cells

    @property
    def wanted(self) -> list[Cell]:
        """The cells that are this session's to make: all, or its shard's."""
        return self.plan.cells if self._share is None else self._share

    def narrow(self, cells: list[Cell]) -> None:
        """Leave all other cells of the plan to others."""
        self._share = cells

    def complete(self, cells: Sequence[Cell]) -> None:
        """Make the runs that these cells lack; see :meth:`Driver.complete`."""
        self.driver.complete(cells)

    def update_table(self) -> list[Cell]:
        """Bring the table up to what is in the store; returns cells whose results are damaged."""
        state = (self.plan.count, self.driver.settled)
        if state == self._table_of:
            return []
        damaged = update_table(self.store, self.plan.cells)
        for cell in damaged:
            self.store.discard(RUNS, cell.key)
            self.driver.forget(cell.key)
        self._table_of = None if damaged else state
        return damaged

    def note_axes(self, manifest: Manifest) -> None:
        """Write the manifest again: a search learns its points as it goes."""
        self.manifest = manifest
        self.store.write_manifest(manifest)

    # What is there already

    def _check_place(self) -> None:
        place = self.place
        if not place.exists():
            return
        if not place.is_dir():
            raise UserError(f"--out {place}: there is a file of that name; give another one")
        with disk_errors(place):
            held = {entry.name for entry in place.iterdir() if not entry.name.startswith(".")}
        if held and not held & set(_OURS):
            raise UserError(
                f"--out {place}: that folder is not empty and holds no sweep; give another --out"
            )

    def _known(self) -> list[Cell]:
        """Cells noted down before; UserError where they are another question's."""
        if self.manners.force:
            self._begin_anew()
        if not self.store.exists():
            return []
        before = self.store.read_manifest()
        differences = before.differences(self.manifest)
        if differences and not self.manners.update:
            raise UserError(
                f"--out {self.place} holds another sweep: {'; '.join(differences)}. To go on with"
                " that one give its command again; to ask this instead, with what is done of it,"
                " add --update; or give another --out"
            )
        replicates = max(before.replicates, self.manifest.replicates)
        self.manifest = replace(self.manifest, replicates=replicates)
        return self._still_good(before)

    def _still_good(self, before: Manifest) -> list[Cell]:
        cells = self.store.read_cells()
        done = self.store.keys(RUNS)
        if before.model_version != MODEL_VERSION:
            kept = [cell for cell in cells if cell.key in done]
            versions = f"of model version {before.model_version}; this is version {MODEL_VERSION}"
            if self.manners.keep_model:
                self._tell(f"{len(kept)} runs are kept that are {versions}")
                self.manifest = replace(self.manifest, model_version=before.model_version)
                return kept
            self._tell(
                f"the {len(kept)} runs there are {versions}: they are made again"
                " (--keep-model keeps them)"
            )
            return []
        if self.store.read_inputs() not in ("", self.manifest.inputs):
            self._tell(
                f"{self.manifest.script}, or what it depends on, has changed: runs that came out of"
                " it otherwise are made again"
            )
            return []
        return cells

    def _begin_anew(self) -> None:
        with disk_errors(self.place):
            for name in _OURS:
                path = self.place / name
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def _keep_code(self) -> None:
        """A copy of the script and its modules: of what is run, whatever happens to the script."""
        code = self.place / CODE
        shutil.rmtree(code, ignore_errors=True)
        for name, source in self.target.code().items():
            (code / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, code / name)


def with_axes(manifest: Manifest, points: Sequence[Settings]) -> Manifest:
    """The manifest with the values that these points take; scales as it has them."""
    scales = {axis.name: axis.scale for axis in manifest.axes}
    return replace(manifest, axes=axes_of(points, scales))


def _parameters(target: Target) -> tuple[dict[str, str], ...]:
    from sharesim.spec.parameters import value_text

    return tuple(
        {
            "name": one.name,
            "type": one.type_text,
            "default": value_text(one.default),
            "help": one.help,
        }
        for one in target.parameters.values()
    )
