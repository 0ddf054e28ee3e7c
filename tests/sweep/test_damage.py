"""Sweeps on disks that fill up, and with files that are damaged: the same command again ends with
the table of a sweep that nothing ever happened to, byte for byte."""

import errno
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sharesim.sweep.store import Store
from tests.sweep.faults import GRID, PAIRS, RUNS, results, same_as
from tests.sweep.tiny import script, stored, sweep, table_bytes

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    assert sweep(folder, *GRID) == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a sweep is to go."""
    script(tmp_path)
    return tmp_path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """The whole sweep, to be damaged."""
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


# The disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Where the sweep's folder goes there is a disk of its own, whose size can be set."""
    place = tmp_path / "out"
    place.mkdir()

    def mount(*options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", *options, "tmpfs", str(place)], capture_output=True
        )
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")

    if sys.platform != "linux" or shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system, and that on Linux")
    mount("size=600k")
    try:
        yield lambda size: mount(f"remount,size={size}")
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_full_disk(
    whole: Path, folder: Path, small_disk: Callable[[str], None], capsys: Captured, jobs: str
) -> None:
    assert sweep(folder, *GRID, "--jobs", jobs) == 2
    told = capsys.readouterr().err
    assert f"--out {folder / 'out'}: the disk it is on is full" in told
    assert "Traceback" not in told
    assert 0 < results(folder) < RUNS + PAIRS
    small_disk("20m")
    assert same_as(whole, folder)


class FullFrom:
    """Every write from the n-th on fails."""

    WRITES = (
        (os, "replace"), (os, "rename"), (os, "fsync"), (Path, "mkdir"), (Path, "write_bytes"),
        (shutil, "copyfile"),
    )  # fmt: skip

    def __init__(self, patch: pytest.MonkeyPatch, first: int) -> None:
        self.first = first
        self.count = 0
        for owner, name in self.WRITES:
            patch.setattr(owner, name, self._failing(getattr(owner, name)))

    def _failing(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self.count >= self.first:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(*args, **options)

        return failing


SMALL = ("--vary", "rate=10000,20000")


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A small sweep and how often it writes."""
    folder = tmp_path_factory.mktemp("writes")
    script(folder)
    with pytest.MonkeyPatch.context() as patch:
        full = FullFrom(patch, first=10**9)
        assert sweep(folder, *SMALL) == 0
    return folder, full.count


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
def test_a_disk_that_fills_up_at_any_write(
    writes: tuple[Path, int], folder: Path, capsys: Captured, share: float
) -> None:
    """``share``: of the writes that went well before."""
    unhurt, count = writes
    with pytest.MonkeyPatch.context() as patch:
        FullFrom(patch, first=max(1, round(share * count)))
        assert sweep(folder, *SMALL) == 2
    told = capsys.readouterr().err
    assert "the disk it is on is full" in told and "Traceback" not in told
    assert sweep(folder, *SMALL) == 0
    assert table_bytes(folder) == table_bytes(unhurt)


# Damaged files, as a power failure leaves them


def cut(path: Path, share: float) -> None:
    """Cut the end off; ``share`` is what stays."""
    content = path.read_bytes()
    path.write_bytes(content[: min(int(share * len(content)), len(content) - 3)])


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["summary.json", "timeline.parquet"])
def test_torn_result(whole: Path, copy: Path, name: str, share: float) -> None:
    """It is made again; without the table, which would do without it."""
    torn = copy / "out" / "runs" / stored(copy).cell(3).key / name
    good = torn.read_bytes()
    cut(torn, share)
    (copy / "out" / "table.parquet").unlink()
    assert same_as(whole, copy)
    assert torn.read_bytes() == good


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_torn_pair(whole: Path, copy: Path, share: float) -> None:
    """It is noticed, and made again, when a run is compared with it."""
    cell = stored(copy).cell(3)
    for key in cell.pairs.values():
        cut(copy / "out" / "pairs" / key / "part.json", share)
    shutil.rmtree(copy / "out" / "runs" / cell.key)
    assert same_as(whole, copy)
    for key in cell.pairs.values():
        assert (copy / "out" / "pairs" / key / "part.json").read_bytes() == (
            whole / "out" / "pairs" / key / "part.json"
        ).read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["table.parquet", "points.parquet"])
def test_torn_table(whole: Path, copy: Path, name: str, share: float) -> None:
    cut(copy / "out" / name, share)
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sharesim.sweep.driver.run_cell", made.append)
        assert same_as(whole, copy)
    assert not made
    assert stored(copy).cells == stored(whole).cells


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_torn_question(whole: Path, copy: Path, capsys: Captured, share: float) -> None:
    """What was asked is not guessed: the message says what to do."""
    question = copy / "out" / "sweep.json"
    cut(question, share)
    assert sweep(copy, *GRID) == 2
    assert f"{question} is damaged" in capsys.readouterr().err
    question.unlink()
    assert same_as(whole, copy)


def test_torn_failure(copy: Path) -> None:
    """The row stays, and says that it does not know why any more; the run can be tried again."""
    key = stored(copy).cell(3).key
    shutil.rmtree(copy / "out" / "runs" / key)
    (copy / "out" / "failed").mkdir(exist_ok=True)
    (copy / "out" / "failed" / f"{key}.json").write_text('{"type": "Us')
    assert sweep(copy, *GRID) == 1
    assert list(stored(copy).table.query("status == 'failed'")["point"]) == [3]
    assert sweep(copy, *GRID, "--retry-failed") == 0


def test_what_dead_processes_left_half_written_is_removed(copy: Path) -> None:
    """Of those that still run it is theirs."""
    out, host = copy / "out", socket.gethostname()
    files = [out / f".{name}.parquet.{{}}.part" for name in ("table", "points")]
    folders = [out / kind / f".0123.partial-{host}-{{}}" for kind in ("runs", "pairs")]
    dead, alive = 2**30, os.getppid()
    for process in (dead, alive):
        for path in files:
            Path(str(path).format(process)).write_bytes(b"PAR1")
        for path in folders:
            Path(str(path).format(process)).mkdir()
    assert sweep(copy, *GRID) == 0
    for path in (*files, *folders):
        assert Path(str(path).format(alive)).exists()
        assert not Path(str(path).format(dead)).exists()


# Stopped between two files that belong together


def test_an_edit_is_noticed_though_the_sweep_was_stopped_as_it_began(folder: Path) -> None:
    """Killed after the question was written and before its points were: the keys that an earlier
    command noted down are not taken for those of the edited script."""
    words = ("--vary", "rate=10000:70000:linear:7", "--no-baseline")
    assert sweep(folder, *words) == 0
    before = [cell.key for cell in stored(folder).cells]
    path = folder / "tiny.py"
    only_one = "    if rate == 20_000:\n        write = 0.3\n    image ="
    path.write_text(path.read_text().replace("    image =", only_one))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "write_cells", _interrupt)
        assert sweep(folder, *words) == 130
    assert sweep(folder, *words) == 0
    after = [cell.key for cell in stored(folder).cells]
    assert [old != new for old, new in zip(before, after, strict=True)].index(True) == 1
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
