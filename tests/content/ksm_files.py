"""Writes small KSM cases, as a recorder would, for tests that read them."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sharesim.content.ksm_repeat import COUNTERS

INIT_HEAD = "proc,page,count,first_id,step"
WRITES_HEAD = "t_ms,proc,page,id"


def zipped(path: Path, lines: Sequence[str]) -> Path:
    """A gzipped text of these lines."""
    path.write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    return path


def write_case(
    folder: Path,
    name: str = "small",
    *,
    init: Sequence[str] = ("0,0,4,10,1", "1,0,4,10,1"),
    writes: Sequence[str] | None = None,
    **changes: Any,
) -> Path:
    """Two processes of four pages with the same contents, unless told otherwise.

    ``changes`` replaces keys of the JSON, ``None`` leaves one out.
    """
    content: dict[str, Any] = {
        "name": name,
        "title": "a small case",
        "duration_ms": 400,
        "sample_ms": 25,
        "ksm": {"pages_to_scan": 4, "sleep_millisecs": 20, "smart_scan": 0},
        "processes": [process("a"), process("b")],
        "events": [],
        "init_file": f"{name}.init.csv.gz",
        "writes_file": None if writes is None else f"{name}.writes.csv.gz",
    }
    content = {key: value for key, value in (content | changes).items() if value is not None}
    if writes is None:
        content["writes_file"] = None
    else:
        zipped(folder / f"{name}.writes.csv.gz", [WRITES_HEAD, *writes])
    zipped(folder / f"{name}.init.csv.gz", [INIT_HEAD, *init])
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def process(name: str, pages: int = 4, arrive: float = 0, leave: float | None = None) -> Any:
    """An entry of ``processes``."""
    return {"name": name, "pages": pages, "arrive_ms": arrive, "exit_ms": leave}


def write_repeat(
    case: Path, number: int, times_ms: Sequence[float], counters: Mapping[str, Sequence[int]]
) -> Path:
    """A repeat beside a case; counters that are not given are 0."""
    head = ["t_ms", "read_ms", *COUNTERS]
    rows = [",".join(head)]
    for at, time in enumerate(times_ms):
        values = [str(counters[one][at]) if one in counters else "0" for one in COUNTERS]
        rows.append(",".join([str(time), "0.1", *values]))
    meta = case.with_name(f"{case.stem}.r{number}.meta.json")
    meta.write_text(json.dumps({"ksmd_cpu_ns_at_start": 7_000_000 * number}))
    return zipped(case.with_name(f"{case.stem}.r{number}.csv.gz"), rows)
