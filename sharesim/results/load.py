"""Reads what a run left behind: the files of a run folder, and its timeline as plain arrays."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sharesim.errors import UserError, nearest
from sharesim.study import STUDY_FILE, runs_within

if TYPE_CHECKING:
    import pandas

TIMELINE_FILE = "timeline.parquet"
SUMMARY_FILE = "summary.json"
SCENARIO_FILE = "scenario.json"
NS_PER_SECOND = 1e9

Floats = NDArray[np.float64]


def pair_timeline_file(label: str) -> str:
    """The file of a run folder that holds the timeline of the pair ``"P1"`` or ``"P0"``."""
    return f"timeline-{label}.parquet"


def read_timeline(folder: str | Path, file: str = TIMELINE_FILE) -> "pandas.DataFrame":
    """The timeline of a run: one row per sample and entity, sorted by ``time_ns``.

    Raises UserError when ``folder`` is no run folder, or its timeline is damaged or foreign.
    """
    path = _file_of_run(folder, file)
    table = _read_parquet(path)
    _require_timeline_columns(table, path)
    return table.sort_values("time_ns", kind="stable", ignore_index=True)


def read_summary(folder: str | Path) -> dict[str, Any]:
    """The headline figures of a run. Raises UserError as `read_timeline` does."""
    path = _file_of_run(folder, SUMMARY_FILE)
    return _json_object(_read_text(path), path)


def read_scenario_text(folder: str | Path) -> str:
    """The resolved scenario of a run, as the JSON text it was written in.

    Raises UserError as `read_timeline` does, also where the text is no JSON object.
    """
    path = _file_of_run(folder, SCENARIO_FILE)
    text = _read_text(path)
    _json_object(text, path)
    return text


def _file_of_run(folder: str | Path, name: str) -> Path:
    """Path of one file of a run folder, or a UserError that says what is there instead."""
    place = Path(folder)
    try:
        if place.is_file():
            raise UserError(f"{place} is a file; a run folder is needed, such as {place.parent}")
        if not place.is_dir():
            raise UserError(f"{place}: there is no such folder; give the --out folder of a run")
        found = sorted(entry.name for entry in place.iterdir())
    except OSError as error:
        raise UserError(f"{place} cannot be read: {error.strerror}") from None
    if name in found:
        return place / name
    if STUDY_FILE in found:
        raise UserError(f"{place} holds a study, not a run; {runs_within(place)}")
    if SCENARIO_FILE in found:
        raise UserError(f"{place}: this run folder lacks {name}; run its {SCENARIO_FILE} again")
    held = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "") if found else "nothing"
    raise UserError(f"{place} is not a run folder: it holds {held}, but no {name}")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged: it is not UTF-8 text") from None


def _json_object(text: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{path} is damaged: no valid JSON at {where} ({error.msg})") from None
    except RecursionError:
        raise UserError(f"{path} is damaged: its JSON is nested too deeply") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: a JSON object was expected, found {type(value).__name__}")
    return value


def _read_parquet(path: Path) -> "pandas.DataFrame":
    import pyarrow
    from pyarrow import parquet

    try:
        # The schema's pandas metadata is not needed, and a damaged one fails in many ways.
        return parquet.ParquetFile(path).read().to_pandas(ignore_metadata=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "unreadable"
        raise UserError(f"{path} is damaged or no parquet file: {reason}") from None


def _require_timeline_columns(table: "pandas.DataFrame", path: Path) -> None:
    from pandas.api.types import is_integer_dtype

    for column in ("time_ns", "entity"):
        if column not in table.columns:
            raise UserError(f"{path} is no timeline: it has no column '{column}'")
    if not is_integer_dtype(table["time_ns"].dtype):
        kind = table["time_ns"].dtype
        raise UserError(f"{path}: column time_ns must hold whole nanoseconds, found {kind}")
    if not all(isinstance(entity, str) for entity in table["entity"].unique()):
        raise UserError(f"{path}: column entity must hold names, found other values")


class TimelineSeries:
    """A timeline table as float arrays per entity, over a window of simulated seconds.

    Cumulative counters become rates by differences over *edges*, a subset of the sample times:
    a coarser grid is an exact mean over longer intervals, so smoothing never invents a value.
    """

    def __init__(
        self,
        table: "pandas.DataFrame",
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> None:
        self.table = table
        time_ns = table["time_ns"].to_numpy(dtype=np.int64)
        self._time_s: Floats = time_ns / NS_PER_SECOND
        self._entity = table["entity"].astype(str).to_numpy(dtype=object)
        self.entities: list[str] = list(dict.fromkeys(self._entity))
        self._rows = {name: np.flatnonzero(self._entity == name) for name in self.entities}
        self._first_s = float(self._time_s.min()) if len(table) else 0.0
        self.start_s, self.end_s = self._window(start_s, end_s)
        self.vms = self._entities_with("populated_pages", "operations")
        self.policies = self._entities_with("pages_scanned")

    def _window(self, start_s: float | None, end_s: float | None) -> tuple[float, float]:
        last_s = float(self._time_s.max()) if len(self._time_s) else 0.0
        start = 0.0 if start_s is None else float(start_s)
        end = last_s if end_s is None else min(float(end_s), last_s)
        if not (np.isfinite(start) and np.isfinite(end)) or start < 0:
            raise UserError(f"from {start:g} s to {end:g} s is no window: give seconds from 0 on")
        given = start_s is not None or end_s is not None
        if given and len(self._time_s) and start >= end:
            asked = last_s if end_s is None else end_s
            raise UserError(
                f"from {start:g} s to {asked:g} s is no window of a run that ends at {last_s:g} s"
            )
        return start, end

    def _entities_with(self, *columns: str) -> list[str]:
        others = [name for name in self.entities if name != "host"]
        return [name for name in others if any(self.has(name, column) for column in columns)]

    def column_names(self) -> list[str]:
        """The metrics of the table, in its order."""
        return [str(name) for name in self.table.columns if name not in ("time_ns", "entity")]

    def has(self, entity: str, column: str) -> bool:
        """Whether this entity has at least one value of the metric, anywhere in the run."""
        if column not in self.table.columns or entity not in self._rows:
            return False
        return bool(self.table[column].notna().to_numpy()[self._rows[entity]].any())

    def require_entity(self, name: str) -> None:
        """Raises UserError, with the nearest name, where the timeline has no such entity."""
        if name not in self._rows:
            raise UserError(f"no VM '{name}' in this timeline{nearest(name, self.entities)}")

    def samples(self, entity: str, column: str) -> tuple[Floats, Floats]:
        """Times in seconds and values of one metric, inside the window, gaps left out."""
        times, values = self._all_samples(entity, column)
        inside = (times >= self.start_s) & (times <= self.end_s)
        return times[inside], values[inside]

    def at(self, entity: str, column: str, times: Floats) -> Floats:
        """Values of an instantaneous metric at ``times``; NaN outside of its own samples."""
        sampled, values = self.samples(entity, column)
        if not len(sampled):
            return np.full(len(times), np.nan)
        return np.asarray(np.interp(times, sampled, values, left=np.nan, right=np.nan))

    def _all_samples(self, entity: str, column: str) -> tuple[Floats, Floats]:
        if column not in self.table.columns or entity not in self._rows:
            return np.empty(0), np.empty(0)
        rows = self._rows[entity]
        values = self.table[column].iloc[rows].to_numpy(dtype=np.float64, na_value=np.nan)
        known = np.isfinite(values)
        return self._time_s[rows][known], values[known]

    def edges(self, most: int) -> Floats:
        """At most ``most`` + 1 sample times that divide the window into even intervals."""
        inside = (self._time_s >= self.start_s) & (self._time_s <= self.end_s)
        times = np.unique(self._time_s[inside])
        if self._first_s > 0.0 and self.start_s == 0.0 and len(times):
            times = np.concatenate(([0.0], times))
        if len(times) <= most + 1:
            return times
        return np.asarray(times[np.linspace(0, len(times) - 1, most + 1).round().astype(np.int64)])

    def growth(self, entity: str, column: str, edges: Floats) -> Floats:
        """How much a cumulative counter grew in each interval; NaN where it was not sampled.

        Counters start at zero at time 0, also where the first sample comes later.
        """
        times, values = self._all_samples(entity, column)
        if len(times) == 0 or len(edges) < 2:
            return np.full(max(len(edges) - 1, 0), np.nan)
        if times[0] == self._first_s > 0.0:
            times, values = np.concatenate(([0.0], times)), np.concatenate(([0.0], values))
        at_edges = np.interp(edges, times, values, left=np.nan, right=np.nan)
        return np.asarray(np.diff(at_edges))

    def rate(self, entities: Iterable[str], column: str, edges: Floats) -> Floats:
        """Growth per second of a cumulative counter, summed over entities that have it."""
        grown = [self.growth(name, column, edges) for name in entities if self.has(name, column)]
        if not grown:
            return np.full(max(len(edges) - 1, 0), np.nan)
        stacked = np.vstack(grown)
        total = np.where(np.isnan(stacked).all(axis=0), np.nan, np.nansum(stacked, axis=0))
        return np.asarray(total / np.diff(edges))
