"""The run folder appears whole or not at all, whatever happens."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sharesim.errors import UserError
from sharesim.results.folder import RunFolder, load_run, new_run_folder, same_files


def write(place: Path, text: str = "new", **options: bool) -> Path:
    with new_run_folder(place, **options) as folder:
        folder.write_text("scenario.json", text)
        folder.write_json("code/deep.json", {"a": 1})
        return folder.finish()


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_it_appears_when_finished(tmp_path: Path) -> None:
    place = tmp_path / "a" / "b" / "run"
    with new_run_folder(place) as folder:
        folder.write_text("scenario.json", "{}")
        assert not place.exists()
        assert folder.finish() == place
    assert names(place) == ["scenario.json"]
    assert names(place.parent) == ["run"]


def test_nothing_stays_of_one_that_is_not_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyError), new_run_folder(tmp_path / "a" / "b" / "run") as folder:
        folder.write_text("scenario.json", "{}")
        raise KeyError
    assert names(tmp_path) == []


def test_force_replaces_a_run_folder_only(tmp_path: Path) -> None:
    place = write(tmp_path / "run", "old")
    with pytest.raises(UserError, match="--force"):
        write(place)
    assert (place / "scenario.json").read_text() == "old"
    write(place, force=True)
    assert (place / "scenario.json").read_text() == "new"
    other = tmp_path / "precious"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="no run folder"):
        write(other, force=True)
    assert names(tmp_path) == ["precious", "run"]
    assert names(other) == ["thesis.tex"]


def test_a_study_is_written_and_replaced_alike(tmp_path: Path) -> None:
    for force in (False, True):
        with new_run_folder(tmp_path / "s", force=force, main_file="study.json") as folder:
            folder.write_json("study.json", {"forced": force})
            run = folder.subfolder("runs/one")
            run.write_text("scenario.json", "{}")
            assert run.path == folder.path / "runs" / "one"
            folder.finish()
    assert names(tmp_path) == ["s"]
    assert names(tmp_path / "s") == ["runs", "study.json"]
    assert "true" in (tmp_path / "s" / "study.json").read_text()
    write(tmp_path / "s", force=True)  # a run may take the place of a study
    assert names(tmp_path / "s") == ["code", "scenario.json"]


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert (write(tmp_path / "run") / "scenario.json").read_text() == "new"


def test_a_failed_exchange_puts_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write(tmp_path / "run", "old")
    rename = os.rename

    def sometimes(source: Path, target: Path) -> None:
        if "partial" in Path(source).name:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", sometimes)
    with pytest.raises(UserError, match="Input/output error"):
        write(place, force=True)
    assert (place / "scenario.json").read_text() == "old"
    assert names(tmp_path) == ["run"]


def test_somebody_faster_wins(tmp_path: Path) -> None:
    place = tmp_path / "run"
    with pytest.raises(UserError, match="exists"), new_run_folder(place) as folder:
        place.mkdir()
        (place / "scenario.json").write_text("theirs")
        folder.finish()
    assert (place / "scenario.json").read_text() == "theirs"
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="run: the disk it is on is full"):
        write(tmp_path / "run")
    assert names(tmp_path) == []


def test_leftovers_of_dead_processes_go(tmp_path: Path) -> None:
    dead, alive = dead_process(), os.getppid()
    for name in (f".run.partial-{dead}", f".other.partial-{dead}", f".run.partial-{alive}"):
        (tmp_path / name).mkdir()
    write(tmp_path / "run")
    assert names(tmp_path) == sorted([f".other.partial-{dead}", f".run.partial-{alive}", "run"])


def test_one_killed_in_the_exchange_comes_back(tmp_path: Path) -> None:
    place = write(tmp_path / "run", "old")
    os.rename(place, tmp_path / f".run.old-{dead_process()}")
    with pytest.raises(UserError, match="exists"):
        RunFolder(place)
    assert (place / "scenario.json").read_text() == "old"
    assert names(tmp_path) == ["run"]


def test_files_are_compared_byte_for_byte(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one", "a"), write(tmp_path / "other", "a")
    assert same_files(one, other) == []
    (other / "summary.json").write_text("{}")
    (one / "timeline-P1.parquet").write_bytes(b"of a pair")
    assert same_files(one, other) == ["summary.json", "timeline-P1.parquet"]


def test_a_finished_run_can_be_read_back(tmp_path: Path) -> None:
    from sharesim import VM, Idle, Scenario, simulate

    guest = VM(name="a", memory="64 KiB", workload=Idle())
    place = tmp_path / "run"
    with new_run_folder(place) as folder:
        run = simulate(Scenario(duration="4 ms", vms=[guest]), folder=folder.path)
        folder.write_text("scenario.json", run.scenario.to_json())
        folder.write_json("summary.json", run.summary)
        folder.finish()
    again = load_run(place)
    assert again.summary == run.summary
    assert again.scenario == run.scenario
    assert set(again.timeline["entity"]) >= {"host", "a"}
    shutil.rmtree(place)
    with pytest.raises(UserError, match="no such folder"):
        load_run(place)
