"""The run folder: written beside its place and renamed, so that it is whole or not there at all.

A run writes to ``.NAME.partial-PID``. With ``force`` the folder that is in the way moves to
``.NAME.old-PID`` for the moment of the exchange. What a killed process left of either is dealt with
by the next run of the same name. A study is written in the same way, its runs within its folder.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError
from sharesim.results.load import SCENARIO_FILE
from sharesim.study import STUDY_FILE

if TYPE_CHECKING:
    from sharesim.results.run import Run

FILES = (
    "scenario.json", "summary.json", "timeline.parquet", "timeline-P1.parquet",
    "timeline-P0.parquet", "events.parquet",
)  # fmt: skip
"""What a repeated run reproduces byte for byte, as far as it wrote it."""
MAIN_FILES = (SCENARIO_FILE, STUDY_FILE)
"""What tells the folder of a run, or of a study, from any other."""
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class DiskError(UserError):
    """The disk is full, or does not let itself be written: no result can be kept there now."""


class Folder:
    """A folder to fill, in which the disk's errors become UserErrors that name ``shown``."""

    def __init__(self, path: Path, shown: Path) -> None:
        self.path = path
        self.shown = shown

    def subfolder(self, name: str) -> "Folder":
        """A new folder in this one."""
        path = self.path / name
        with self.disk_errors():
            path.mkdir(parents=True)
        return Folder(path, self.shown)

    def write_text(self, name: str, text: str) -> None:
        """Add a text file, in a subfolder if ``name`` says so."""
        self.write_bytes(name, text.encode("utf-8"))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Add a file."""
        path = self.path / name
        with self.disk_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Add plain data as readable JSON, keys in their order."""
        self.write_text(name, json_text(data) + "\n")

    def copy_file(self, name: str, source: Path) -> None:
        """Add a copy of a file."""
        with self.disk_errors():
            content = source.read_bytes()
        self.write_bytes(name, content)

    def disk_errors(self) -> Any:
        """A context in which the disk's errors become UserErrors that name the folder."""
        return disk_errors(self.shown)


class RunFolder(Folder):
    """A folder in the making, of a run or a study.

    Write below ``path``, then :meth:`finish` or :meth:`discard`.
    """

    def __init__(
        self, place: str | Path, *, force: bool = False, main_file: str = SCENARIO_FILE
    ) -> None:
        """Check that ``place`` is free (or may be replaced) and can be written, before a run.

        ``main_file`` is the one of MAIN_FILES that it will hold. Raises UserError when ``place``
        is not free.
        """
        self.shown = Path(place)
        self.place = _resolved(self.shown)
        self.force = force
        self.main_file = main_file
        self._made: list[Path] = []
        self._check_free()
        with disk_errors(self.shown):
            self._make_parents()
            _clean(self.place)
            self._check_free()
            self.path = self.place.with_name(f".{self.place.name}.partial-{os.getpid()}")
            try:
                self._begin()
            except OSError:
                self.discard()
                raise

    def _begin(self) -> None:
        self.path.mkdir()
        (self.path / self.main_file).write_bytes(b"")  # fails here, not after an hour of running

    def _make_parents(self) -> None:
        missing = [folder for folder in self.place.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir()
            self._made.append(folder)

    def _check_free(self) -> None:
        place, shown = self.place, self.shown
        if not os.path.lexists(place):
            return
        if not place.is_dir():
            raise UserError(f"--out {shown}: there is a file of that name; give another one")
        with disk_errors(shown):
            held = [entry.name for entry in place.iterdir()]
        if not held:
            return
        if not self.force:
            raise UserError(
                f"--out {shown}: that folder exists; replace it with --force, or give another --out"
            )
        if not set(MAIN_FILES) & set(held):
            raise UserError(
                f"--out {shown}: that folder is no run folder ({len(held)} entries, no"
                f" {' or '.join(MAIN_FILES)}), so --force does not replace it; give another --out"
            )

    def finish(self) -> Path:
        """Put the folder in its place; what was there goes only then. Returns it as given."""
        with disk_errors(self.shown):
            _flush_to_disk(self.path)
            self._exchange()
        return self.shown

    def _exchange(self) -> None:
        self._check_free()  # somebody else may have been faster
        old = self.place.with_name(f".{self.place.name}.old-{os.getpid()}")
        if self.place.exists():
            os.rename(self.place, old)
        try:
            os.rename(self.path, self.place)
        except OSError:
            if old.exists():
                os.rename(old, self.place)
            raise
        shutil.rmtree(old, ignore_errors=True)
        self._made = []

    def discard(self) -> None:
        """Leave nothing behind. After :meth:`finish` there is nothing to do."""
        shutil.rmtree(self.path, ignore_errors=True)
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def new_run_folder(
    place: str | Path, *, force: bool = False, main_file: str = SCENARIO_FILE
) -> Iterator[RunFolder]:
    """A run's or study's folder that is discarded unless :meth:`RunFolder.finish` was called."""
    folder = RunFolder(place, force=force, main_file=main_file)
    try:
        yield folder
    finally:
        folder.discard()


def load_run(place: str | Path) -> "Run":
    """A finished run read back from its folder. Raises UserError when there is none."""
    from sharesim.results.load import read_scenario_text, read_summary
    from sharesim.results.run import Run
    from sharesim.spec.script import load_target

    read_scenario_text(place)  # its messages tell what is there instead of a run folder
    scenario = load_target(place).build()
    return Run(scenario, read_summary(place), folder=Path(place))


def json_text(data: Any) -> str:
    """Plain data as readable JSON, keys in their order; as in the files, so on the terminal."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)


def same_files(one: Path, other: Path) -> list[str]:
    """Names of the result files in which two run folders differ; empty where they are alike."""
    return [name for name in FILES if _bytes(one / name) != _bytes(other / name)]


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _resolved(place: Path) -> Path:
    try:
        return place.expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"--out {place}: no such place: {error}") from None


@contextmanager
def disk_errors(shown: Path) -> Iterator[None]:
    """A context in which the disk's errors become a DiskError that names the folder ``shown``."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskError(
                f"--out {shown}: the disk it is on is full; nothing of this run was kept there"
            ) from None
        # Some libraries raise OSError with a text only.
        raise DiskError(f"--out {shown}: cannot be written: {error.strerror or error}") from None


def _flush_to_disk(folder: Path) -> None:
    """Have the files on disk before their folder gets its name: a full disk may tell only now."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())


def _clean(place: Path) -> None:
    """Remove what processes that no longer run left of runs of this name."""
    for kind in ("old", "partial"):
        for leftover in place.parent.glob(f".{_escaped(place.name)}.{kind}-*"):
            number = leftover.name.rpartition("-")[2]
            if not number.isdecimal() or process_runs(int(number)):
                continue
            if kind == "old" and not place.exists():
                os.rename(leftover, place)  # killed in the middle of an exchange
            else:
                shutil.rmtree(leftover, ignore_errors=True)


def _escaped(name: str) -> str:
    from glob import escape

    return escape(name)


def process_runs(process: int) -> bool:
    """Whether a process of that number runs here; True where it cannot be told."""
    if os.name != "posix":
        return True  # there is no harmless way to ask
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
