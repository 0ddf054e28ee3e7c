"""Writes files of overhead cases, as one who measures would, for tests that read them."""

import json
from pathlib import Path
from typing import Any


def worker(**changes: Any) -> dict[str, Any]:
    """A worker that reads 8 of its 200 pages, each different, unless told otherwise."""
    return {
        "cpu": 1, "pages": 200, "fill": "0:200:1:1", "mergeable": 1, "seed": 1, "a0": 0, "an": 8,
        "pa": 1, "b0": 0, "bn": 0, "w": 0, "wmode": "same8", "k": 200,
    } | changes  # fmt: skip


def variant(name: str = "p1000", **knobs: Any) -> dict[str, Any]:
    """A variant of ksmd."""
    plain = {"pages_to_scan": 1000, "sleep_millisecs": 20, "smart_scan": 0}
    return {"name": name} | plain | knobs


def case(name: str = "c1-small", **changes: Any) -> dict[str, Any]:
    """A case of one worker and one variant on the worker's CPU; None leaves a key out."""
    found = {
        "name": name, "workers": [worker()], "variants": [variant()], "ksmd_cpus": [1],
        "window_s": 0.3, "skip_s": 0.1, "rounds": 2, "off": "stop", "prewarm_scans": 1,
    } | changes  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


def write_cases(folder: Path, *cases: dict[str, Any]) -> Path:
    """A file of these cases, or of a single plain one."""
    path = folder / "cases.json"
    path.write_text(json.dumps(list(cases) or [case()]))
    return path
