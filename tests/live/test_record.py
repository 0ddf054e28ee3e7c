"""Recording KSM into a Parquet file."""

import json
import os
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import sharesim.live.record as recording
from sharesim.cli import main
from sharesim.live.picture import draw_recording
from sharesim.live.record import METADATA, Recording, record
from sharesim.live.summary import recording_text
from tests.live.kernel import FakeKsm

MS = 1_000_000


def test_a_recording(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path, run=1)
    place = tmp_path / "rec.parquet"

    def scan(now: int, _end: int) -> None:
        (ksm.folder / "pages_scanned").write_text(f"{now // MS}\n")

    made = record(place, duration_ns=40 * MS, interval_ns=5 * MS, ksm=ksm, progress=scan)
    table = pq.read_table(place).to_pydict()
    assert len(table["time_ns"]) == made.samples == 9 - made.missed
    assert table["time_ns"] == sorted(table["time_ns"])
    assert table["run"] == [1] * made.samples
    assert set(table["cow_ksm"]) == {77}
    assert table["pages_scanned"][0] == 0 < table["pages_scanned"][-1]
    assert made.change("pages_scanned") == table["pages_scanned"][-1]
    about = json.loads(pq.read_schema(place).metadata[METADATA])
    assert about["settings"]["pages_to_scan"] == "100"
    assert about["interval_ns"] == 5 * MS
    assert sorted(os.listdir(tmp_path)) == ["ksm", "proc", "rec.parquet"]


def test_groups_are_written_as_they_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "GROUP", 4)
    place = tmp_path / "rec.parquet"
    made = record(place, duration_ns=20 * MS, interval_ns=2 * MS, ksm=FakeKsm(tmp_path))
    file = pq.ParquetFile(place)
    assert file.num_row_groups == -(-made.samples // 4)
    assert file.metadata.num_rows == made.samples


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_early_and_keeps_it(tmp_path: Path, number: int) -> None:
    place = tmp_path / "rec.parquet"

    def stop(now: int, _end: int) -> None:
        if now >= 4 * MS:
            os.kill(os.getpid(), number)

    ksm = FakeKsm(tmp_path)
    made = record(place, duration_ns=60_000 * MS, interval_ns=2 * MS, ksm=ksm, progress=stop)
    assert made.ended_by == number
    assert pq.read_metadata(place).num_rows == made.samples < 100
    assert made.last["time_ns"] < 60_000 * MS


def test_an_error_leaves_nothing_and_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "rec.parquet"
    place.write_text("older")

    def fail(_now: int, _end: int) -> None:
        raise RuntimeError

    ksm = FakeKsm(tmp_path)
    with pytest.raises(RuntimeError):
        record(place, duration_ns=9 * MS, interval_ns=MS, ksm=ksm, progress=fail)
    assert place.read_text() == "older"
    assert sorted(os.listdir(tmp_path)) == ["ksm", "proc", "rec.parquet"]


def told(first: dict[str, int], last: dict[str, int]) -> str:
    made = Recording(Path("rec.parquet"), 2401, 0, None, first, last)
    return recording_text(made)


FIRST = {
    "time_ns": 0, "run": 1, "full_scans": 4, "pages_scanned": 1000, "ksmd_cpu_ns": 10**9,
    "pages_shared": 10, "pages_sharing": 256, "pages_unshared": 5, "pages_volatile": 6,
    "ksm_zero_pages": 0, "cow_ksm": 7,
}  # fmt: skip


def test_the_summary() -> None:
    last = FIRST | {
        "time_ns": 60 * 10**9, "pages_scanned": 251_000, "full_scans": 16, "pages_sharing": 3072,
        "ksmd_cpu_ns": 4 * 10**9, "ksm_zero_pages": 1024, "cow_ksm": 1207,
    }  # fmt: skip
    text = told(FIRST, last)
    assert "2,401 samples in 60 s\n" in text
    assert "250,000 pages examined (4,167/s), 12 full scans, ksmd used 5 % of a CPU" in text
    assert "1 MiB -> 16 MiB" in text
    assert "pages_sharing 256 -> 3,072" in text
    assert "1,200 copy-on-write breaks" in text


def test_the_summary_of_a_machine_that_shows_less() -> None:
    hidden = ("pages_scanned", "ksmd_cpu_ns", "cow_ksm", "ksm_zero_pages")
    shown = {key: value for key, value in FIRST.items() if key not in hidden}
    text = told(shown, shown | {"run": 0})
    assert "stopped (run=0), 0 full scans, ksmd is out of sight" in text
    assert "breaks" not in text


@pytest.mark.parametrize("scanned", [True, False])
def test_the_picture(tmp_path: Path, scanned: bool) -> None:
    ksm = FakeKsm(tmp_path, pages_shared=5 if scanned else 0)
    place = tmp_path / "rec.parquet"
    record(place, duration_ns=10 * MS, interval_ns=2 * MS, ksm=ksm)
    figure = draw_recording(place)
    words = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert ("pages_shared" in words) == scanned
    assert len(figure.axes) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seconds", "0"], "must be a time above 0"),
        (["--seconds", "soon"], "--seconds: found 'soon'"),
        (["--seconds", "1", "--interval", "10 us"], "the shortest is 1 ms"),
        (["--seconds", "0.01", "--interval", "1 s"], "less than one --interval"),
        (["--seconds", "1", "--interval", "nan"], "--interval: found 'nan'"),
    ],
)
def test_wrong_arguments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["record", "ksm", "--out", str(tmp_path / "x"), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ksm = FakeKsm(tmp_path)
    monkeypatch.setattr(recording, "Ksm", lambda: ksm)
    place = tmp_path / "rec.parquet"
    arguments = ["--seconds", "0.02", "--interval", "2ms", "--plot"]
    assert main(["record", "ksm", "--out", str(place), *arguments]) == 0
    assert " samples in " in capsys.readouterr().out
    assert place.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    nowhere = tmp_path / "no" / "such.parquet"
    assert main(["record", "ksm", "--out", str(nowhere), *arguments]) == 2
    assert f"{nowhere} cannot be written" in capsys.readouterr().err
    assert main(["record", "ksm", "--out", str(tmp_path), *arguments]) == 2
    assert "is a folder" in capsys.readouterr().err
