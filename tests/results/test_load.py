"""Reading run folders: what comes back, and what a user is told who gives something else."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from sharesim.errors import UserError
from sharesim.results.load import read_scenario_text, read_summary, read_timeline

READERS = (read_timeline, read_summary, read_scenario_text)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A complete run folder, as small as can be."""
    folder = tmp_path / "run"
    folder.mkdir()
    timeline(["host", "vm0", "host", "vm0"]).to_parquet(folder / "timeline.parquet", index=False)
    (folder / "summary.json").write_text(json.dumps({"scenario": "small", "partial": False}))
    (folder / "scenario.json").write_text('{\n  "seed": 7\n}\n')
    return folder


def timeline(entities: list[str]) -> pd.DataFrame:
    count = len(entities)
    times = [row // 2 * 1_000 for row in range(count)]
    return pd.DataFrame({"time_ns": times, "entity": entities, "saved_pages": [1.0] * count})


def refusal(reader: Callable[[Path], object], folder: Path) -> str:
    """The message of the UserError that the reader raises; one line, naming the folder."""
    with pytest.raises(UserError) as caught:
        reader(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_a_run_folder_reads_back(run_folder: Path) -> None:
    table = read_timeline(run_folder)
    assert table["time_ns"].tolist() == [0, 0, 1_000, 1_000]
    assert table["entity"].tolist() == ["host", "vm0", "host", "vm0"]
    assert read_summary(str(run_folder)) == {"scenario": "small", "partial": False}
    assert read_scenario_text(run_folder) == '{\n  "seed": 7\n}\n'


def test_rows_come_sorted_by_time_and_keep_their_order_within(run_folder: Path) -> None:
    table = timeline(["host", "vm0", "cbps", "host"]).iloc[[2, 3, 0, 1]]
    table.to_parquet(run_folder / "timeline.parquet", index=False)
    assert read_timeline(run_folder)["entity"].tolist() == ["host", "vm0", "cbps", "host"]


def test_an_empty_timeline_is_a_timeline(run_folder: Path) -> None:
    table = timeline(["host"]).iloc[:0]
    table.to_parquet(run_folder / "timeline.parquet", index=False)
    assert len(read_timeline(run_folder)) == 0


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_run_folder_is_named(reader: Callable[[Path], object], tmp_path: Path) -> None:
    assert "there is no such folder" in refusal(reader, tmp_path / "absent")
    assert "it holds nothing" in refusal(reader, tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    assert "is not a run folder: it holds notes.txt" in refusal(reader, tmp_path)
    assert "is a file; a run folder is needed" in refusal(reader, tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("reader", "name"), [(read_timeline, "timeline.parquet"), (read_summary, "summary.json")]
)
def test_a_missing_file_is_named(
    reader: Callable[[Path], object], name: str, run_folder: Path
) -> None:
    (run_folder / name).unlink()
    assert f"this run folder lacks {name}" in refusal(reader, run_folder)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all, but long enough" * 9])
def test_a_foreign_timeline_is_refused(content: bytes, run_folder: Path) -> None:
    (run_folder / "timeline.parquet").write_bytes(content)
    assert "damaged or no parquet file" in refusal(read_timeline, run_folder)


def test_a_truncated_or_overwritten_timeline_is_refused(run_folder: Path) -> None:
    path = run_folder / "timeline.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged or no parquet file" in refusal(read_timeline, run_folder)
    path.write_bytes(whole[:4] + b"\xff" * (len(whole) - 600) + whole[len(whole) - 596 :])
    refusal(read_timeline, run_folder)


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("time_ns", None, "no column 'time_ns'"),
        ("entity", None, "no column 'entity'"),
        ("time_ns", [0.5, 1.5], "whole nanoseconds, found float64"),
        ("entity", [1, 2], "entity must hold names"),
    ],
)
def test_a_parquet_file_of_something_else_is_refused(
    column: str, values: list[float] | None, words: str, run_folder: Path
) -> None:
    table = timeline(["host", "vm0"])
    table = table.drop(columns=column) if values is None else table.assign(**{column: values})
    table.to_parquet(run_folder / "timeline.parquet", index=False)
    assert words in refusal(read_timeline, run_folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"seed": ', "no valid JSON at line 1, column 10"),
        (b"", "no valid JSON at line 1"),
        (b"[1, 2]", "a JSON object was expected, found list"),
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
@pytest.mark.parametrize(
    ("reader", "name"), [(read_summary, "summary.json"), (read_scenario_text, "scenario.json")]
)
def test_broken_json_says_where(
    reader: Callable[[Path], object], name: str, content: bytes, words: str, run_folder: Path
) -> None:
    (run_folder / name).write_bytes(content)
    message = refusal(reader, run_folder)
    assert name in message
    assert words in message
