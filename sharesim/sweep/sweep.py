"""A stored sweep, as plots, reports, scripts and notebooks use it."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError, nearest
from sharesim.sweep.manifest import Axis, Manifest, axes_of
from sharesim.sweep.metrics import ALIASES, METRICS, Metric, at_path, metric
from sharesim.sweep.plan import Cell
from sharesim.sweep.store import Store
from sharesim.sweep.table import parameter_column, read_table, update_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pandas
    from matplotlib.figure import Figure

    from sharesim.results.run import Run


class Sweep:
    """What a sweep asked and found; see :func:`load_sweep`."""

    def __init__(self, place: str | Path) -> None:
        """Raises UserError where there is no sweep, or a damaged one."""
        self.store = Store(place)
        self.folder = Path(place)
        self.manifest: Manifest = self.store.read_manifest()

    @cached_property
    def cells(self) -> list[Cell]:
        """All that was asked for, done or not."""
        return self.store.read_cells()

    @cached_property
    def parameters(self) -> tuple[Axis, ...]:
        """The parameters that vary, with the values that the points have."""
        scales = {axis.name: axis.scale for axis in self.manifest.axes}
        points = {cell.point: cell.settings for cell in self.cells}
        return axes_of(list(points.values()), scales)

    def parameter(self, name: str) -> Axis:
        """The parameter of that name; UserError with the nearest name where none varies so."""
        names = [axis.name for axis in self.parameters]
        if name not in names:
            known = nearest(name, names) or "; nothing varies"
            raise UserError(f"{self.folder}: no parameter '{name}' varies there{known}")
        return self.parameters[names.index(name)]

    @cached_property
    def table(self) -> "pandas.DataFrame":
        """One row per finished or failed replicate of each point; see docs/sweeps.md.

        Read from ``table.parquet``; made from the runs where that is missing, damaged or behind.
        """
        settled = self.store.keys("runs") | self.store.keys("failed")
        wanted = sum(not cell.key or cell.key in settled for cell in self.cells)
        try:
            table = read_table(self.store)
            if len(table) == wanted:
                return table
        except (OSError, ValueError):
            pass
        update_table(self.store, self.cells)
        return read_table(self.store)

    @property
    def done(self) -> "pandas.DataFrame":
        """The table's rows of finished runs."""
        return self.table[self.table["status"] == "done"].reset_index(drop=True)

    @property
    def failed(self) -> "pandas.DataFrame":
        """The table's rows of failed runs."""
        return self.table[self.table["status"] == "failed"].reset_index(drop=True)

    @property
    def missing(self) -> int:
        """How many runs are still to be made."""
        return len(self.cells) - len(self.table)

    def column(self, name: str) -> str:
        """The table's column of a parameter."""
        return parameter_column(self.parameter(name).name)

    def values(self, name: str) -> "pandas.Series":
        """A metric of each row of the table, NaN where it does not apply or the run failed.

        By a column's name, an alias, or a path into the summaries, such as
        ``guests.busy1.throughput_per_s``. Raises UserError where no run has such a figure.
        """
        import pandas as pd

        found = self.metric(name)
        if found.name in self.table:
            return self.table[found.name].astype(float)
        figures = [
            at_path(self.store.read_summary(row.key) or {}, found.name)
            if row.status == "done"
            else None
            for row in self.table.itertuples()
        ]
        if len(figures) and all(one is None for one in figures):
            raise UserError(f"{self.folder}: no run has a figure '{name}'{self._near(name)}")
        return pd.Series(figures, dtype=float, name=found.name, index=self.table.index)

    def metric(self, name: str) -> Metric:
        """Label, unit and direction of a metric."""
        return metric(name)

    def _near(self, name: str) -> str:
        columns = [one for one in self.table.columns if one in METRICS or "." in one]
        hint = nearest(name, [*columns, *ALIASES])
        return hint if "did you mean" in hint else "; `sharesim plot FOLDER --list` has all names"

    def estimates(self, name: str, *, confidence: float = 0.95) -> "pandas.DataFrame":
        """A metric at each point over its replicates.

        One row per point that has a finished run: point, the parameters, mean, low, high,
        half_width (of the t-interval; NaN for a single replicate), count.
        """
        import numpy as np
        import pandas as pd

        from sharesim.statistics import mean_interval

        values = self.values(name).to_numpy(float)
        columns = [parameter_column(axis.name) for axis in self.parameters]
        settings = {column: self.table[column].to_numpy() for column in columns}
        rows: list[dict[str, Any]] = []
        for point, places in _places_of(self.table["point"].to_numpy()):
            known = values[places][np.isfinite(values[places])]
            if len(known) == 0:
                continue
            found = mean_interval(known, confidence)
            half = np.nan if found.half_width is None else found.half_width
            row = {"point": point} | {one: settings[one][places[0]] for one in columns}
            row |= {"mean": found.mean, "low": found.mean - half, "high": found.mean + half}
            rows.append(row | {"half_width": half, "count": len(known)})
        names = ["point", *columns, "mean", "low", "high", "half_width", "count"]
        return pd.DataFrame(rows, columns=names)

    def cell(self, point: int, replicate: int = 1) -> Cell:
        """UserError where there is no such one."""
        for cell in self.cells:
            if (cell.point, cell.replicate) == (point, replicate):
                return cell
        points = max((cell.point for cell in self.cells), default=0)
        most = max((cell.replicate for cell in self.cells if cell.point == point), default=0)
        if not 1 <= point <= points:
            raise UserError(f"{self.folder}: found point {point}; its points are 1 to {points}")
        raise UserError(
            f"{self.folder}: found replicate {replicate}; point {point} has 1 to {most}"
        )

    def run(self, point: int, replicate: int = 1) -> "Run":
        """A finished run. Raises UserError where there is none, or it failed."""
        from sharesim.results.folder import load_run

        cell = self.cell(point, replicate)
        folder = self.store.run_folder(cell.key)
        if not cell.key or not folder.is_dir():
            failure = self.store.read_failure(cell.key) or {"message": cell.problem}
            reason = failure["message"] or "it has not been made yet"
            raise UserError(f"{self.folder}: {cell.name} has no result: {reason}")
        return load_run(folder)

    def plot(
        self, x: str | None = None, *y: str, color: str | None = None, **options: Any
    ) -> "Figure":
        """Metrics over a parameter; see :func:`sharesim.results.plot_sweep.plot_sweep`."""
        from sharesim.results.plot_sweep import plot_sweep

        return plot_sweep(self, x, y, color, **options)

    def __repr__(self) -> str:
        asked = ", ".join(axis.name for axis in self.parameters) or "nothing varied"
        return f"<Sweep of {self.manifest.script} over {asked}: {len(self.table)} runs>"

    def _repr_html_(self) -> str:
        """In a notebook: the table."""
        return str(self.table._repr_html_())


def _places_of(points: "np.ndarray") -> "Iterator[tuple[int, np.ndarray]]":
    """Each point, in order, and the rows of a table that it has."""
    import numpy as np

    order = np.argsort(points, kind="stable")
    distinct, begins = np.unique(points[order], return_index=True)
    for point, places in zip(distinct, np.split(order, begins[1:]), strict=True):
        yield int(point), places


def load_sweep(place: str | Path) -> Sweep:
    """The sweep in a folder. Raises UserError where there is none."""
    return Sweep(place)
