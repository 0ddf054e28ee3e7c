"""The sweep's table: a row for each finished or failed replicate of each point, as Parquet.

It is made of what is in the store and of nothing else, in a fixed order, so it does not tell which
executor made the runs, in how many goes, or on how many machines.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sharesim.sweep.metrics import METRICS, row_of
from sharesim.sweep.plan import Cell
from sharesim.sweep.store import TABLE_FILE, Store

if TYPE_CHECKING:
    import pandas
    import pyarrow

ABOUT = ("point", "replicate", "seed", "key", "status", "error", "model_version")
"""The first columns; parameters and metrics follow."""


def parameter_column(name: str) -> str:
    """The column of a parameter; it has another name where its own is taken."""
    return f"parameter.{name}" if name in ABOUT or name in METRICS else name


def update_table(store: Store, cells: Sequence[Cell]) -> list[Cell]:
    """Write the table of these cells; returns those whose results are damaged, to be made again.

    Rows that the table holds already are taken as they are.
    """
    before = read_rows(store)
    done, failed = store.keys("runs"), store.keys("failed")
    rows: list[dict[str, Any]] = []
    damaged: list[Cell] = []
    for cell in cells:
        row: dict[str, Any] | None = None
        if cell.key in done:
            row = _finished(store, cell, before)
            if row is None:
                damaged.append(cell)
        elif not cell.key or cell.key in failed:
            row = _failed(store, cell)
        if row is not None:
            rows.append(row)
    _write(store, rows, cells)
    return damaged


def read_rows(store: Store) -> dict[str, dict[str, Any]]:
    """Metrics of the finished runs in the table, by key; none where it is missing or damaged."""
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(store.place / TABLE_FILE)
        kept = ("model_version", "error")
        names = [name for name in table.column_names if name in kept or _is_metric(name)]
        keys = table.column("key").to_pylist()
        finished = table.column("status").to_pylist()
        rows = table.select(names).to_pylist()
    except (OSError, ValueError, KeyError):  # pyarrow's errors are among them
        return {}
    return {
        key: {name: value for name, value in row.items() if value is not None}
        for key, status, row in zip(keys, finished, rows, strict=True)
        if status == "done"
    }


def read_table(store: Store) -> "pandas.DataFrame":
    """The table as it is on disk. Raises OSError or ValueError where it is missing or damaged."""
    import pandas as pd

    return pd.read_parquet(store.place / TABLE_FILE)


def _is_metric(name: str) -> bool:
    return name in METRICS or name.split(".")[0] in ("memory", "counters", "scanner", "host")


def _about(cell: Cell, status: str, error: str, model_version: str) -> dict[str, Any]:
    about = {
        "point": cell.point, "replicate": cell.replicate, "seed": cell.seed, "key": cell.key,
        "status": status, "error": error, "model_version": model_version,
    }  # fmt: skip
    settings = {parameter_column(name): value for name, value in cell.settings.items()}
    return about | settings


def _finished(
    store: Store, cell: Cell, before: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
    metrics: Mapping[str, Any] | None = before.get(cell.key)
    if metrics is None:
        summary = store.read_summary(cell.key)
        if summary is None:
            return None
        metrics = {
            "model_version": str(summary.get("model_version", "")),
            "error": _unpaired(summary),
            **row_of(summary),
        }
    about = _about(cell, "done", str(metrics["error"]), str(metrics["model_version"]))
    return about | {name: value for name, value in metrics.items() if name not in about}


def _unpaired(summary: Mapping[str, Any]) -> str:
    """Why a finished run has nothing to be compared with; empty where it has."""
    failed = summary.get("pairs_failed") or {}
    return "; ".join(f"no pair {label}: {why}" for label, why in failed.items())


def _failed(store: Store, cell: Cell) -> dict[str, Any]:
    problem = cell.problem
    if not problem:
        failure = store.read_failure(cell.key) or {}
        problem = f"{failure.get('type', 'Error')}: {failure.get('message', '')}"
    return _about(cell, "failed", problem, "")


def _write(store: Store, rows: Sequence[Mapping[str, Any]], cells: Sequence[Cell]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = dict.fromkeys(name for cell in cells for name in cell.settings)
    parameters = [parameter_column(name) for name in names]
    known = {name for row in rows for name in row} - set(ABOUT) - set(parameters) - set(METRICS)
    columns: dict[str, pa.Array] = {}
    for name in ("point", "replicate", "seed"):
        columns[name] = pa.array([row[name] for row in rows], pa.int64())
    for name in ("key", "status", "error", "model_version"):
        columns[name] = pa.array([row[name] for row in rows], pa.string())
    for name in parameters:
        columns[name] = _parameter([row.get(name) for row in rows])
    for name in (*METRICS, *sorted(known)):
        columns[name] = pa.array([row.get(name) for row in rows], pa.float64(), from_pandas=True)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    store.replace_file(TABLE_FILE, sink.getvalue().to_pybytes())


def _parameter(values: list[Any]) -> "pyarrow.Array":
    """Values of one type as they are; of several, or of none that a table knows, as text."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pa.array([None if value is None else float(value) for value in values])
    if len(kinds) <= 1 and kinds <= {int, float, bool, str}:
        return pa.array(values) if kinds else pa.array(values, pa.string())
    return pa.array([None if value is None else str(value) for value in values])
