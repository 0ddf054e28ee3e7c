"""A finished run, as a notebook or script uses it."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError
from sharesim.results.load import pair_timeline_file, read_timeline
from sharesim.spec.scenario import Scenario

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class Run:
    """Results of one run: ``timeline``, ``events``, ``summary``, ``pair_timeline()``, ``plot()``.

    Read from the run folder when there is one, else from memory.
    """

    def __init__(
        self,
        scenario: Scenario,
        summary: dict[str, Any],
        *,
        folder: Path | None = None,
        rows: list[dict[str, Any]] | None = None,
        pair_rows: dict[str, list[dict[str, Any]]] | None = None,
        columns: list[str] | None = None,
        events: dict[str, Any] | None = None,
        trace_note: str = "",
    ) -> None:
        self.scenario = scenario
        self.summary = summary
        self.folder = folder
        self.trace_note = trace_note
        """What the trace that was just written leaves out; empty where nothing."""
        self._rows = rows or []
        self._pair_rows = pair_rows or {}
        self._columns = columns
        self._events = events
        self._timeline: DataFrame | None = None

    @property
    def timeline(self) -> "DataFrame":
        """One row per sample and entity; see docs/results.md for the columns."""
        if self._timeline is None:
            if self.folder is not None:
                self._timeline = read_timeline(self.folder)
            else:
                self._timeline = self._table(self._rows)
        return self._timeline

    def pair_timeline(self, label: str) -> "DataFrame":
        """The timeline of a pair without sharing; needs ``baseline=True`` in the scenario.

        ``"P1"`` is the same scenario without sharing, ``"P0"`` the one on native paging. The
        columns are those of ``timeline``; what belongs to sharing is empty. Raises UserError where
        there is none.
        """
        if label in self._pair_rows:
            return self._table(self._pair_rows[label])
        file = pair_timeline_file(label)
        if self.folder is None or not (self.folder / file).exists():
            reason = self.summary.get("pairs_failed", {}).get(label, "it needs baseline=True")
            raise UserError(f"this run has no pair '{label}': {reason}")
        return read_timeline(self.folder, file)

    def _table(self, rows: list[dict[str, Any]]) -> "DataFrame":
        import pandas as pd

        return pd.DataFrame(rows, columns=["time_ns", "entity", *(self._columns or [])])

    @property
    def events(self) -> "DataFrame":
        """One row per fault, merge and break; needs ``events=True`` in the scenario."""
        import pandas as pd

        if self._events is not None:
            return pd.DataFrame(self._events)
        if self.folder is not None and (self.folder / "events.parquet").exists():
            return pd.read_parquet(self.folder / "events.parquet")
        raise AttributeError("this run recorded no events: give events=True in its scenario")

    def plot(self, **options: Any) -> "Figure":
        """The picture of the run; options as of :func:`sharesim.results.plot.plot_timeline`."""
        from sharesim.results.plot import plot_timeline

        return plot_timeline(self.timeline, self.summary, **options)

    def __repr__(self) -> str:
        memory = self.summary.get("memory", {})
        saved = memory.get("saved_pages", 0) or 0
        return f"<Run of '{self.summary['scenario']}': {saved} pages saved>"

    def _repr_html_(self) -> str:
        from sharesim.results.table import summary_rows

        parts = []
        for title, header, rows in summary_rows(self.summary):
            head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
            body = "".join(
                "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
                for row in rows
            )
            parts.append(
                f"<h4>{escape(title)}</h4><table><thead><tr>{head}</tr></thead>"
                f"<tbody>{body}</tbody></table>"
            )
        return "".join(parts)
