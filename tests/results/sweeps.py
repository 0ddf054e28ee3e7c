"""Sweep folders made up for tests: the folder is a real one, its figures are a formula."""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from sharesim.sweep.manifest import Axis, Manifest
from sharesim.sweep.metrics import METRICS
from sharesim.sweep.plan import Cell
from sharesim.sweep.store import FAILED, RUNS, Store
from sharesim.sweep.sweep import Sweep, load_sweep
from sharesim.sweep.table import parameter_column

Figures = Callable[[Mapping[str, Any], int], Mapping[str, float]]
Scales = Mapping[str, str]


def figures(settings: Mapping[str, Any], replicate: int) -> dict[str, float]:
    """More scanning saves more and costs more; replicates are 1 % apart."""
    rate, vms = settings.get("scan_rate", 1000), settings.get("vms", 4)
    chance = 1 + 0.01 * (replicate - 2)
    saved = 100 * vms * rate / (rate + 2000)
    return {
        "saved_mib": saved * chance,
        "overhead": 1e-6 * rate * vms * chance,
        "throughput": 2000 - 0.01 * rate * chance,
        "memory.saved_pages": 256 * saved * chance,
        "counters.cow_breaks": 10 * rate * chance,
    }


def grid(**values: Sequence[Any]) -> list[dict[str, Any]]:
    """All pairs of values."""
    return [dict(zip(values, one, strict=True)) for one in product(*values.values())]


def make_sweep(
    place: Path,
    points: Sequence[Mapping[str, Any]],
    *,
    replicates: int = 3,
    figures: Figures = figures,
    scales: Scales | None = None,
    failed: Sequence[tuple[int, int]] = (),
    missing: Sequence[tuple[int, int]] = (),
    settings: Mapping[str, Any] | None = None,
) -> Sweep:
    """A stored sweep of these points; ``failed`` and ``missing`` name (point, replicate)."""
    scales = scales or {"scan_rate": "log", "vms": "linear", "cpus": "linear"}
    store = Store(place)
    place.mkdir(parents=True)
    helps = [{"name": "scan_rate", "help": "pages to scan per second"}]
    axes = tuple(
        Axis(name, (), scales.get(name, "category"))  # type: ignore[arg-type]
        for name in points[0]
    )
    store.write_manifest(
        Manifest("made.py", axes, settings or {}, title="Made up", parameters=tuple(helps))
    )
    cells = [
        Cell(point, replicate, replicate, one, f"{point:08x}{replicate:08x}")
        for point, one in enumerate(points, 1)
        for replicate in range(1, replicates + 1)
    ]
    store.write_cells(cells, "")
    rows = []
    for cell in cells:
        at = (cell.point, cell.replicate)
        if at in missing:
            continue
        is_failed = at in failed
        (place / (FAILED if is_failed else RUNS) / cell.key).mkdir(parents=True)
        row = {"point": cell.point, "replicate": cell.replicate, "seed": cell.seed}
        row |= {
            "key": cell.key,
            "status": "failed" if is_failed else "done",
            "error": "",
            "model_version": "",
        }
        row |= {parameter_column(name): value for name, value in cell.settings.items()}
        row |= {} if is_failed else dict(figures(cell.settings, cell.replicate))
        rows.append(row)
    table = pd.DataFrame(rows)
    for name in points[0]:
        kinds = {type(one[name]) for one in points}
        if len(kinds) > 1 and kinds != {int, float}:  # the table of a sweep has these as text
            table[parameter_column(name)] = table[parameter_column(name)].map(str)
    for name in METRICS:
        if name not in table:
            table[name] = float("nan")
    table.to_parquet(place / "table.parquet")
    return load_sweep(place)
