"""The folder of a sweep. What is in it is what is done: nothing else keeps count.

Each result is written under a temporary name and renamed, so it is there whole or not at all, and
whoever computes it (this process, a worker of a pool, a machine of a cluster, a shard) needs no
message to say so. One driver at a time holds the folder's lock.
"""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sharesim.errors import UserError
from sharesim.results.files import write_whole
from sharesim.results.folder import Folder, disk_errors, json_text, process_runs
from sharesim.results.load import SCENARIO_FILE, SUMMARY_FILE, TIMELINE_FILE
from sharesim.results.part import Measured
from sharesim.sweep.manifest import Manifest
from sharesim.sweep.plan import Cell, settings_text

MANIFEST_FILE = "sweep.json"
POINTS_FILE = "points.parquet"
TABLE_FILE = "table.parquet"
PART_FILE = "part.json"
RUNS, PAIRS, FAILED, CODE = "runs", "pairs", "failed", "code"
_LOCK_FILE, _DRIVER_FILE = ".lock", ".driver.json"
_STALE_SECONDS = 24 * 3600
"""After which what a worker of another machine left half written is taken to be abandoned."""


class Store:
    """A sweep's folder, to read from and to add results to."""

    def __init__(self, place: str | Path) -> None:
        self.place = Path(place)

    def exists(self) -> bool:
        """Whether a sweep was begun here."""
        return (self.place / MANIFEST_FILE).is_file()

    # The question

    def read_manifest(self) -> Manifest:
        """UserError where there is none, or a damaged one."""
        path = self.place / MANIFEST_FILE
        if not path.is_file():
            raise UserError(f"{self.place} {_what_is_there(self.place)}")
        try:
            return Manifest.from_text(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read: {error}") from None

    def write_manifest(self, manifest: Manifest) -> None:
        """Whole or not at all, as everything here."""
        self.replace_file(MANIFEST_FILE, (json_text(manifest.to_json()) + "\n").encode())

    def read_cells(self) -> list[Cell]:
        """The cells as noted down last; none where that file is missing or damaged."""
        import pyarrow.parquet as pq

        try:
            rows = pq.read_table(self.place / POINTS_FILE).to_pylist()
            return [
                Cell(
                    row["point"], row["replicate"], row["seed"], json.loads(row["settings"]),
                    row["key"], row["p1"], row["p0"], row["problem"],
                )
                for row in rows
            ]  # fmt: skip
        except (OSError, ValueError, KeyError):  # pyarrow's errors are among them
            return []

    def read_inputs(self) -> str:
        """Of what the keys noted down were made; empty where there are none."""
        import pyarrow.parquet as pq

        try:
            about = pq.read_schema(self.place / POINTS_FILE).metadata or {}
            return str(about.get(b"inputs", b"").decode())
        except (OSError, ValueError):
            return ""

    def write_cells(self, cells: Sequence[Cell], inputs: str) -> None:
        """Note down all cells, with the keys under which their results will be.

        ``inputs`` is the hash of what the keys follow from, in the same file: the two cannot come
        apart, wherever a command is killed.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, list[Any]] = {
            name: [getattr(cell, name) for cell in cells]
            for name in ("point", "replicate", "seed", "key", "p1", "p0", "problem")
        }
        columns["settings"] = [settings_text(cell.settings, in_order=True) for cell in cells]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns).replace_schema_metadata({"inputs": inputs}), sink)
        self.replace_file(POINTS_FILE, sink.getvalue().to_pybytes())

    # Results

    def run_folder(self, key: str) -> Path:
        """Where the run of that key is, or will be."""
        return self.place / RUNS / key

    def keys(self, kind: str) -> set[str]:
        """Keys of what is done, of RUNS or PAIRS, or has FAILED."""
        try:
            names = os.listdir(self.place / kind)
        except FileNotFoundError:
            return set()
        return {name.partition(".")[0] for name in names if not name.startswith(".")}

    def read_summary(self, key: str) -> dict[str, Any] | None:
        """The summary of a finished run; None where it is damaged."""
        folder = self.run_folder(key)
        try:
            summary = json.loads((folder / SUMMARY_FILE).read_bytes())
            whole = isinstance(summary, dict) and _ends_well(folder / TIMELINE_FILE)
        except (OSError, ValueError):
            return None
        return summary if whole else None

    def read_part(self, key: str) -> Measured | None:
        """What a pair measured; None where it is missing or damaged."""
        folder = self.place / PAIRS / key
        try:
            return Measured.from_json(json.loads((folder / PART_FILE).read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def discard(self, kind: str, key: str) -> None:
        """Remove a result that is damaged: it is made again."""
        shutil.rmtree(self.place / kind / key, ignore_errors=True)

    def read_failure(self, key: str) -> dict[str, Any] | None:
        """Why a run failed; None where it did not."""
        try:
            failure = json.loads((self.place / FAILED / f"{key}.json").read_bytes())
            return failure if isinstance(failure, dict) else None
        except (OSError, ValueError):
            return None

    @contextmanager
    def new_result(self, kind: str, key: str) -> Iterator[Folder]:
        """A folder to fill that becomes the result of a key when the block ends well."""
        place = self.place / kind / key
        beside = place.with_name(f".{key}.partial-{socket.gethostname()}-{os.getpid()}")
        try:
            with disk_errors(self.place):
                beside.parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(beside, ignore_errors=True)
                beside.mkdir()
            yield Folder(beside, self.place)
            with disk_errors(self.place):
                _move(beside, place)
                (self.place / FAILED / f"{key}.json").unlink(missing_ok=True)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def write_failure(self, key: str, failure: dict[str, Any]) -> None:
        """Keep why a run failed, and how often it was tried."""
        before = self.read_failure(key) or {}
        failure = {**failure, "attempts": int(before.get("attempts", 0)) + 1}
        self.replace_file(f"{FAILED}/{key}.json", (json_text(failure) + "\n").encode())

    def forget_failures(self, keys: set[str]) -> None:
        """Let these runs be tried again."""
        for key in keys:
            (self.place / FAILED / f"{key}.json").unlink(missing_ok=True)

    def replace_file(self, name: str, content: bytes) -> None:
        """Write a file beside its place and rename it."""
        path = self.place / name
        with disk_errors(self.place):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)

    # One driver at a time

    @contextmanager
    def driven(self, command: Sequence[str]) -> Iterator[None]:
        """Hold the folder's lock; UserError that names who holds it already.

        The system gives the lock back when its holder dies, however it dies.
        """
        from filelock import FileLock, Timeout

        with disk_errors(self.place):
            self.place.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.place / _LOCK_FILE)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise UserError(
                    f"--out {self.place}: another sweep is at work in that folder"
                    f"{self._driver()}; wait for it, stop it, or give another --out"
                ) from None
        try:
            about = {"pid": os.getpid(), "host": socket.gethostname(), "command": list(command)}
            self.replace_file(_DRIVER_FILE, json.dumps(about).encode())
            self._clean()
            yield
        finally:
            self._clean()  # what workers killed meanwhile have left
            with suppress(OSError):
                (self.place / _DRIVER_FILE).unlink(missing_ok=True)
            lock.release()

    def _driver(self) -> str:
        try:
            about = json.loads((self.place / _DRIVER_FILE).read_bytes())
            return f" (process {about['pid']} on {about['host']})"
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _clean(self) -> None:
        """Remove what workers that are no more left half written."""
        for kind in (RUNS, PAIRS):
            for leftover in (self.place / kind).glob(".*.partial-*"):
                host, _, process = leftover.name.partition(".partial-")[2].rpartition("-")
                if host == socket.gethostname():
                    abandoned = process.isdecimal() and not process_runs(int(process))
                else:
                    abandoned = time.time() - leftover.stat().st_mtime > _STALE_SECONDS
                if abandoned:
                    shutil.rmtree(leftover, ignore_errors=True)
        for folder in (self.place, self.place / FAILED):
            for leftover in folder.glob(".*.part"):
                process = leftover.name.split(".")[-2]
                if process.isdecimal() and not process_runs(int(process)):
                    leftover.unlink(missing_ok=True)


def is_sweep(place: str | Path) -> bool:
    """Whether that folder holds a sweep."""
    return Store(place).exists()


def _what_is_there(place: Path) -> str:
    if not place.exists():
        return "does not exist; give the --out folder of `sharesim sweep`"
    if (place / SCENARIO_FILE).is_file():
        return "is the folder of one run; a sweep's folder holds a sweep.json"
    return "holds no sweep (there is no sweep.json in it); give the --out folder of one"


def _move(beside: Path, place: Path) -> None:
    """Rename, where nobody was faster; who was has written the same."""
    try:
        os.rename(beside, place)
    except OSError:
        if not place.is_dir():
            raise


def _ends_well(path: Path) -> bool:
    """Whether a Parquet file has its end: where its last bytes are its magic number."""
    with open(path, "rb") as file:
        file.seek(-4, os.SEEK_END)
        return file.read() == b"PAR1"
