"""What of a sweep is drawn: chosen points, means with intervals, and what must be said of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.errors import UserError, nearest
from sharesim.results.load import read_summary
from sharesim.results.style import number
from sharesim.sweep.manifest import Axis
from sharesim.sweep.metrics import Metric
from sharesim.sweep.sweep import Sweep

if TYPE_CHECKING:
    import pandas

    from sharesim.sweep.plan import Cell

Where = Mapping[str, Sequence[Any]]
"""Parameters, and the values of them that are wanted."""
MOST_SETTINGS = 4
"""Fixed parameters that are named below the title."""


def is_number(value: Any) -> bool:
    """Whether a parameter's value has a place on an axis of numbers."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)


def value_words(value: Any) -> str:
    """A parameter's value as labels have it."""
    if not is_number(value):
        return str(value)
    if float(value) == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return number(float(value))


@dataclass(frozen=True)
class Levels:
    """A parameter as an axis: its values among the points that are drawn, in order."""

    name: str
    column: str
    values: tuple[Any, ...]
    scale: str
    help: str = ""

    @property
    def is_numeric(self) -> bool:
        """Whether all its values are numbers."""
        return all(is_number(value) for value in self.values)

    @property
    def is_log(self) -> bool:
        """Whether it belongs on a logarithmic axis."""
        return self.is_numeric and self.scale == "log" and min(self.values) > 0

    @property
    def label(self) -> str:
        """For an axis: its name, what the script says of it (which has its unit), and ``log``."""
        words = f"{self.name}: {self.help}" if self.help else self.name
        return f"{words}, log" if self.is_log else words

    def words(self) -> str:
        """Its name and values."""
        shown = [value_words(value) for value in self.values]
        if len(shown) > 4:
            shown = [*shown[:2], "…", shown[-1]]
        return f"{self.name} ({', '.join(shown)})"


class Points:
    """The finished runs of a sweep that fit ``where``."""

    def __init__(self, sweep: Sweep, where: Where | None = None) -> None:
        """Raises UserError for parameters or values that the sweep has not, and where no finished
        run is left."""
        self.sweep = sweep
        self.where = {name: self._wanted(name, values) for name, values in (where or {}).items()}
        done = sweep.table["status"] == "done"
        self.table = self._chosen(sweep.table[done])
        if self.table.empty:
            fitting = " fits --where" if self.where else " has finished"
            raise UserError(f"{sweep.folder}: no run{fitting}; there is nothing to draw")
        self.incomplete = 0
        """Means that were left out since some of their runs are missing."""

    def _wanted(self, name: str, values: Sequence[Any]) -> list[Any]:
        known = self.sweep.parameter(name).values
        found = [[one for one in known if _same(one, value)] for value in values]
        for value, matches in zip(values, found, strict=True):
            if not matches:
                hint = nearest(str(value), [str(one) for one in known])
                raise UserError(f"--where {name}={value}: no point has that value{hint}")
        return [one for matches in found for one in matches]

    def _chosen(self, table: "pandas.DataFrame") -> "pandas.DataFrame":
        for name, values in self.where.items():
            wanted = {self._key(name, value) for value in values}
            keys = [self._key(name, value) for value in table[self.sweep.column(name)]]
            table = table[np.array([key in wanted for key in keys], dtype=np.bool_)]
        return table

    def _key(self, name: str, value: Any) -> Any:
        """A value so that it is equal to itself in the table, where types may have been changed."""
        is_text = self.sweep.table[self.sweep.column(name)].dtype.kind not in "iufb"
        return float(value) if is_number(value) and not is_text else str(value)

    @cached_property
    def _asked(self) -> "list[Cell]":
        """All that was to be made of what is drawn."""
        return [
            cell
            for cell in self.sweep.cells
            if all(
                any(_same(cell.settings.get(name), value) for value in values)
                for name, values in self.where.items()
            )
        ]

    # Parameters

    @cached_property
    def levels(self) -> dict[str, Levels]:
        """The parameters that still vary, in the sweep's order."""
        return {name: one for name, one in self.all_levels.items() if len(one.values) > 1}

    @cached_property
    def all_levels(self) -> dict[str, Levels]:
        """The parameters of the sweep, also those that have one value in what is drawn."""
        helps = {one["name"]: one.get("help", "") for one in self.sweep.manifest.parameters}
        found = [self._levels(axis, helps.get(axis.name, "")) for axis in self.sweep.parameters]
        return {one.name: one for one in found}

    def _levels(self, axis: Axis, text: str) -> Levels:
        column = self.sweep.column(axis.name)
        values = self.table[column].dropna().unique().tolist()
        if all(is_number(one) for one in values):
            values.sort()
        else:
            order = {str(value): at for at, value in enumerate(axis.values)}
            values.sort(key=lambda one: order.get(str(one), len(order)))
        return Levels(axis.name, column, tuple(values), axis.scale, text)

    def level(self, name: str, option: str) -> Levels:
        """A parameter that varies; UserError that names ``option`` for any other."""
        if name in self.levels:
            return self.levels[name]
        known = [axis.name for axis in self.sweep.parameters]
        if name in known:
            raise UserError(f"{option} {name}: it has one value only in what is drawn")
        hint = nearest(name, known) if known else "; nothing varies"
        raise UserError(f"{option} {name}: no parameter of that name varies{hint}")

    # Figures

    def metric(self, name: str, option: str) -> Metric:
        """A metric that at least one run has; UserError that names ``option`` for any other."""
        try:
            found = self.sweep.metric(name)
            values = self.sweep.values(name)[self.table.index]
        except UserError as error:
            raise UserError(f"{option} {name}: {error}") from None
        if not np.isfinite(values).any():
            raise UserError(f"{option} {name}: no run has a figure of that name{_why(found)}")
        return found

    def estimates(self, metrics: Sequence[Metric], by: Sequence[str]) -> "pandas.DataFrame":
        """A row for each setting of the parameters ``by``: their columns, and of each metric
        ``NAME``, ``NAME.low``, ``NAME.high`` and ``NAME.count``.

        Where several points have the setting, a replicate's value is its mean over them: points
        share their random numbers, so that replicates remain independent. One that misses a point
        is left out. Without two replicates low and high are NaN.
        """
        columns = [self.sweep.column(name) for name in by]
        asked = self._asked_points(by)
        rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        for one in metrics:
            for key, replicates in self._replicates(one, columns).items():
                points = asked[tuple(self._key(*pair) for pair in zip(by, key, strict=True))]
                row = rows.setdefault(key, dict(zip(columns, key, strict=True)))
                row |= self._estimate(one, replicates, points)
        self._require_means(list(rows.values()), metrics)
        return _frame(list(rows.values()), columns)

    def _replicates(
        self, metric: Metric, columns: list[str]
    ) -> dict[tuple[Any, ...], list[tuple[float, int]]]:
        """Of each setting its replicates: their mean, and from how many points it is."""
        values = self._values[metric.name][self.table.index]
        known = self.table[[*columns, "replicate"]].assign(**{"metric value": values})
        groups = known.groupby([*columns, "replicate"], sort=False)["metric value"]
        found: dict[tuple[Any, ...], list[tuple[float, int]]] = {}
        for row in groups.agg(["mean", "count"]).itertuples():
            found.setdefault(tuple(row[0][:-1]), []).append((float(row[1]), int(row[2])))
        return found

    def _require_means(self, rows: list[dict[str, Any]], metrics: Sequence[Metric]) -> None:
        for one in metrics:
            if not any(np.isfinite(row[one.name]) for row in rows):
                raise UserError(
                    f"{self.sweep.folder}: no mean of {one.name} has all the runs that it needs;"
                    " complete the sweep, or choose points with --where"
                )

    def _asked_points(self, by: Sequence[str]) -> "Counter[tuple[Any, ...]]":
        """How many points each setting of the parameters ``by`` has."""
        points = {cell.point: cell.settings for cell in self._asked}
        return Counter(
            tuple(self._key(name, settings.get(name)) for name in by)
            for settings in points.values()
        )

    def _estimate(
        self, metric: Metric, replicates: list[tuple[float, int]], points: int
    ) -> dict[str, Any]:
        from sharesim.statistics import mean_interval

        whole = [mean for mean, count in replicates if count == points]
        names = [metric.name, *(f"{metric.name}.{part}" for part in ("low", "high", "count"))]
        if not whole:
            self.incomplete += any(count for _, count in replicates)
            return dict(zip(names, (np.nan, np.nan, np.nan, 0), strict=True))
        estimate = mean_interval(whole)
        low = np.nan if estimate.low is None else estimate.low
        high = np.nan if estimate.high is None else estimate.high
        return dict(zip(names, (estimate.mean, low, high, len(whole)), strict=True))

    @cached_property
    def _values(self) -> "_Values":
        return _Values(self.sweep)

    def is_crossed(self, by: Sequence[str]) -> bool:
        """Whether some setting of the parameters ``by`` belongs to several points."""
        return any(count > 1 for count in self._asked_points(by).values())

    # Words

    @property
    def title(self) -> str:
        """What was swept: the scenarios' title where they have the same."""
        keys = [self.table["key"].iloc[at] for at in (0, -1)]
        titles = {self._title_of(key) for key in keys}
        manifest = self.sweep.manifest
        return (titles.pop() if len(titles) == 1 else "") or manifest.title or manifest.script

    def _title_of(self, key: str) -> str:
        try:
            return str(read_summary(self.sweep.store.run_folder(key)).get("scenario", ""))
        except UserError:  # the table has its figures all the same
            return ""

    def fixed(self) -> str:
        """Parameters that are the same all over the picture, unless they are too many."""
        same = {**self.sweep.manifest.settings}
        same |= {name: values[0] for name, values in self.where.items() if len(values) == 1}
        words = [f"{name} = {value_words(value)}" for name, value in same.items()]
        return ", ".join(words) if len(words) <= MOST_SETTINGS else ""

    def left_out(self) -> str:
        """How many runs that were asked for are not in the picture, and why."""
        failed = len(self._chosen(self.sweep.failed))
        missing = len(self._asked) - len(self.table) - failed
        counts = [(failed, "failed"), (missing, "not made yet")]
        words = [f"{count} {what}" for count, what in counts if count > 0]
        if not words:
            return ""
        return f"left out: {' and '.join(words)} of {len(self._asked)} runs"


class _Values(dict[str, "pandas.Series"]):
    """Metrics of a sweep by name, each looked up once."""

    def __init__(self, sweep: Sweep) -> None:
        super().__init__()
        self._sweep = sweep

    def __missing__(self, name: str) -> "pandas.Series":
        self[name] = self._sweep.values(name)
        return self[name]


def _same(value: Any, wanted: Any) -> bool:
    """Whether a value is what was asked for, as a number or as text."""
    if str(value) == str(wanted):
        return True
    try:
        return is_number(value) and float(value) == float(wanted)
    except (TypeError, ValueError):
        return False


def _why(metric: Metric) -> str:
    if metric.name.startswith(("overhead", "cpu_excess")):
        return ": it compares with runs without sharing, which --no-baseline left out"
    return ""


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> "pandas.DataFrame":
    import pandas as pd

    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)


def counts_words(counts: Iterable[int]) -> str:
    """How many runs are behind means and intervals."""
    known = sorted({int(count) for count in counts if count > 0})
    if not known:
        return ""
    if known == [1]:
        return "single runs, so no intervals"
    runs = f"{known[-1]}" if len(known) == 1 else f"{known[0]} to {known[-1]}"
    words = f"mean of {runs} runs, with 95 % t-intervals"
    return f"{words} (none for a single run)" if known[0] == 1 else words
