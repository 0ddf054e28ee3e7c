"""Reading recorded KSM cases, and what is said of those that are wrong."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharesim.content.ksm_case import content_ids, open_case
from sharesim.errors import UserError
from tests.content.ksm_files import INIT_HEAD, process, write_case, write_repeat, zipped

SPLITMIX_1 = 0x910A2DEC89025CC1
"""splitmix64(1): the first number that the published generator gives from state 1."""


def refused(path: Path, *wanted: str) -> None:
    """Opening the case (and its repeats) fails with one message that has these words."""
    with pytest.raises(UserError) as caught:
        open_case(path).repeats()
    for words in wanted:
        assert words in str(caught.value)


def event(**changes: Any) -> dict[str, Any]:
    return {"t_ms": 100, "proc": 0, "op": "unmergeable", "page0": 1, "npages": 2} | changes


def test_what_a_case_says(tmp_path: Path) -> None:
    path = write_case(
        tmp_path,
        init=["0,1,2,5,3", "0,3,1,0,0", "1,0,3,7,0"],
        writes=["10,1,3,9", "10,0,0,8", "10.5,1,3,0"],
        processes=[process("a"), process("b", arrive=1.5, leave=300)],
        events=[event()],
    )
    case = open_case(path)
    assert (case.name, case.title) == ("small", "a small case")
    assert (case.duration_ns, case.sample_ns) == (400_000_000, 25_000_000)
    assert case.knobs == {"pages_to_scan": 4, "sleep_millisecs": 20, "smart_scan": 0}
    assert [one.name for one in case.processes] == ["a", "b"]
    assert (case.processes[1].arrive_ns, case.processes[1].exit_ns) == (1_500_000, 300_000_000)
    assert case.processes[0].exit_ns is None
    (only,) = case.events
    assert (only.time_ns, only.process, only.advice) == (100_000_000, 0, "unmergeable")
    assert (only.first, only.count) == (1, 2)
    assert case.ids(0).tolist() == [0, 5, 8, 0]
    assert case.contents(0)[1].tolist() == [False, True, True, True]
    assert case.ids(1).tolist() == [7, 7, 7, 0]
    times, pages, ids = case.raw_writes(1)
    assert times.tolist() == [10_000_000, 10_500_000]
    assert (pages.tolist(), ids.tolist()) == ([3, 3], [9, 0])


def test_content_ids_are_the_bytes_of_the_pages(tmp_path: Path) -> None:
    ids = np.array([0, 1, 2**63 + 5], dtype=np.uint64)
    found = content_ids(ids)
    assert found.dtype == np.uint64
    assert found[:2].tolist() == [0, SPLITMIX_1]
    case = open_case(write_case(tmp_path, writes=["1,0,0,1"]))
    assert case.writes(0)[2].tolist() == [SPLITMIX_1]
    assert case.contents(0)[0].tolist() == content_ids(np.arange(10, 14)).tolist()


def test_the_hash_covers_what_is_replayed(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one = open_case(write_case(tmp_path, writes=["1,0,0,1"]))
    other = open_case(write_case(tmp_path / "other", writes=["1,0,0,2"]))
    assert one.sha256 != other.sha256
    assert one.sha256 == open_case(one.path).sha256


def test_repeats_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = write_case(tmp_path)
    for number in (10, 2):
        write_repeat(path, number, [25.5, 50], {"full_scans": [0, number]})
    first, second = open_case(path).repeats()
    assert (first.name, second.name) == ("r2", "r10")
    assert first.times_ns.tolist() == [25_500_000, 50_000_000]
    assert second.samples["full_scans"].tolist() == [0, 10]
    assert first.cpu_before_ns == 14_000_000


def test_a_case_without_recordings_has_no_repeats(tmp_path: Path) -> None:
    assert open_case(write_case(tmp_path)).repeats() == ()


WRONG_JSON: dict[str, tuple[dict[str, Any], list[str]]] = {
    "knob": ({"ksm": {"page_to_scan": 4}}, ["page_to_scan", "did you mean 'pages_to_scan'?"]),
    "value of a knob": ({"ksm": {"pages_to_scan": 0}}, ["'ksm.pages_to_scan' is 0", "from 1"]),
    "switch": ({"ksm": {"smart_scan": 2}}, ["'ksm.smart_scan' is 2", "0 or 1"]),
    "advisor": ({"ksm": {"advisor_mode": "on"}}, ["'on'", "none or scan-time"]),
    "no processes": ({"processes": []}, ["'processes' is empty"]),
    "process": ({"processes": [7]}, ["processes[0] is 7", "an object"]),
    "pages": ({"processes": [process("a", pages=0)]}, ["'processes[0].pages' is 0", "from 1"]),
    "twins": ({"processes": [process("a"), process("a")]}, ["'processes[1].name'", "taken"]),
    "exit": (
        {"processes": [process("a"), process("b", arrive=50, leave=50)]},
        ["'processes[1].exit_ms'", "not after its arrival at 50 ms"],
    ),
    "op": ({"events": [event(op="mergable")]}, ["'events[0].op'", "did you mean 'mergeable'?"]),
    "event's process": ({"events": [event(proc=2)]}, ["'events[0].proc' is 2", "0 .. 1"]),
    "event's pages": ({"events": [event(page0=3)]}, ["reach page 4", "a has pages 0 .. 3"]),
    "event's time": ({"events": [event(t_ms=401)]}, ["'events[0].t_ms'", "outside"]),
    "events' order": (
        {"events": [event(), event(t_ms=99)]},
        ["'events[1].t_ms'", "in order of time"],
    ),
    "duration": ({"duration_ms": 0}, ["'duration_ms' is 0", "above 0"]),
    "time": ({"sample_ms": "25"}, ["'sample_ms' is '25'"]),
}


@pytest.mark.parametrize("changes, wanted", WRONG_JSON.values(), ids=list(WRONG_JSON))
def test_wrong_json(tmp_path: Path, changes: dict[str, Any], wanted: list[str]) -> None:
    refused(write_case(tmp_path, **changes), "small.json", *wanted)


@pytest.mark.parametrize("key", ["name", "ksm", "processes", "events", "duration_ms", "init_file"])
def test_missing_key(tmp_path: Path, key: str) -> None:
    path = write_case(tmp_path)
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    refused(path, "small.json", f"'{key}' is missing")


def test_no_case_at_all(tmp_path: Path) -> None:
    refused(tmp_path / "none.json", "none.json: no such file", "a recorded KSM case")
    (tmp_path / "text.json").write_text("{")
    refused(tmp_path / "text.json", "text.json", "is not JSON")
    (tmp_path / "list.json").write_text("[]")
    refused(tmp_path / "list.json", "list.json", "an object")


WRONG_TABLES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "init out of range": (
        {"init": ["0,0,4,1,1", "1,2,3,1,1"]},
        ["small.init.csv.gz, line 3", "page 4 is out of range", "b has pages 0 .. 3"],
    ),
    "init overlaps": (
        {"init": ["0,0,3,1,1", "1,0,1,1,1", "0,2,1,1,1"]},
        ["small.init.csv.gz, line 4", "page 2 of a was already given in line 2"],
    ),
    "init count": ({"init": ["0,0,0,1,1"]}, ["line 2", "count is 0"]),
    "init process": ({"init": ["2,0,1,1,1"]}, ["line 2", "proc is 2", "0 .. 1"]),
    "init number": ({"init": ["0,0,1,x,1"]}, ["line 2", "first_id is 'x'", "a whole number"]),
    "init id": ({"init": ["0,0,1,-1,1"]}, ["line 2", "first_id is '-1'"]),
    "init columns": ({"init": ["0,0,1,1,1", "0,1,1"]}, ["line 3", "3 values, expected 5"]),
    "writes order": (
        {"writes": ["5,0,0,1", "4,1,0,1"]},
        ["small.writes.csv.gz, line 3", "t_ms is 4 after 5", "in order of time"],
    ),
    "writes page": ({"writes": ["5,0,4,1"]}, ["line 2", "page 4 is out of range", "0 .. 3"]),
    "writes before": ({"writes": ["-5,0,3,1"]}, ["line 2", "t_ms is -5"]),
    "writes not a time": ({"writes": ["nan,0,3,1"]}, ["line 2", "t_ms is nan"]),
    "writes after exit": (
        {"writes": ["60,0,3,1"], "processes": [process("a", leave=50), process("b")]},
        ["line 2", "a write at 60 ms", "the exit of a at 50 ms"],
    ),
}


@pytest.mark.parametrize("changes, wanted", WRONG_TABLES.values(), ids=list(WRONG_TABLES))
def test_wrong_tables(tmp_path: Path, changes: dict[str, Any], wanted: list[str]) -> None:
    refused(write_case(tmp_path, **changes), *wanted)


def break_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-12])


def not_zipped(path: Path) -> None:
    path.write_bytes(gzip.decompress(path.read_bytes()))


def other_columns(path: Path) -> None:
    zipped(path, [INIT_HEAD.replace("page", "gfn"), "0,0,1,1,1"])


@pytest.mark.parametrize(
    "damage, wanted",
    [
        (break_off, "damaged"),
        (not_zipped, "not a gzipped CSV table"),
        (other_columns, "no column page"),
        (Path.unlink, "no such file, expected the case's initial memory"),
    ],
)
def test_damaged_tables(tmp_path: Path, damage: Callable[[Path], None], wanted: str) -> None:
    path = write_case(tmp_path)
    damage(tmp_path / "small.init.csv.gz")
    refused(path, "small.init.csv.gz", wanted)


def test_damaged_repeats(tmp_path: Path) -> None:
    path = write_case(tmp_path)
    table = write_repeat(path, 1, [25, 24], {})
    refused(path, "small.r1.csv.gz, line 3", "t_ms is 24 after 25")
    write_repeat(path, 1, [], {})
    refused(path, "small.r1.csv.gz", "no samples")
    zipped(table, ["t_ms,pages_shared", "25,0"])
    refused(path, "small.r1.csv.gz, line 1", "no column", "pages_sharing")
    write_repeat(path, 1, [25], {})
    (tmp_path / "small.r1.meta.json").write_text("no")
    refused(path, "small.r1.meta.json", "is not JSON")
