"""A comparison as text for a terminal, and as CSV."""

import csv
import shutil
import textwrap
from collections.abc import Callable, Sequence
from io import StringIO
from itertools import groupby
from typing import Any

from sharesim.results import cells
from sharesim.results.compare import MOST_GUESTS, Changes, Comparison, Figure
from sharesim.results.paired import Change
from sharesim.results.sides import Side
from sharesim.results.style import shortened
from sharesim.sweep.metrics import Metric

NARROWEST, WIDEST = 80, 160
"""Columns of a terminal that tables use."""
LONGEST_LABEL, LONGEST_VALUE, LONGEST_FIELD = 24, 44, 48
MOST_FIELDS = 40
CSV_COLUMNS = (
    "table", "section", "name", "unit", "run", "value", "first", "change", "relative",
    "half_width", "distinguishable", "paired",
)  # fmt: skip

Lines = list[list[str]]


def comparison_text(comparison: Comparison) -> str:
    """What the command prints."""
    parts = [_runs(comparison), _scenario(comparison), _figures(comparison), _changes(comparison)]
    notes = [
        line
        for one in comparison.notes
        for line in textwrap.wrap(f"note: {one}", _terminal_width(), subsequent_indent="      ")
    ]
    return "\n\n".join(part for part in ["\n".join([parts[0], *notes]), *parts[1:]] if part)


def _runs(comparison: Comparison) -> str:
    first, *others = comparison.sides
    lines = [[side.label, _about(side), str(side.given)] for side in (first, *others)]
    widths = [max(len(line[at]) for line in lines) for at in range(2)]
    text = [f"{line[0]:{widths[0]}}  {line[1]:{widths[1]}}  {line[2]}" for line in lines]
    return "\n".join(["Runs; the first is what the others are compared with", *_indented(text)])


def _about(side: Side) -> str:
    summary = side.summary
    return f"{summary['scenario']}, seed {summary['seed']}, {summary['duration_ns'] / 1e9:g} s"


def _indented(lines: Sequence[str]) -> list[str]:
    return [cells.GAP + line.rstrip() for line in lines]


def _labels(comparison: Comparison) -> list[str]:
    return [shortened(label, LONGEST_LABEL) for label in comparison.labels]


# What differs in the scenarios


def _scenario(comparison: Comparison) -> str:
    rows = comparison.scenario
    if not rows:
        return "Scenarios: nothing differs"
    lines = [["", *_labels(comparison)]]
    lines += [
        [shortened(row.field, LONGEST_FIELD), *(shortened(v, LONGEST_VALUE) for v in row.values)]
        for row in rows[:MOST_FIELDS]
    ]
    text = ["What differs in their scenarios", *_side_by_side(lines, 1)]
    if len(rows) > MOST_FIELDS:
        text.append(_more(len(rows) - MOST_FIELDS, "fields"))
    return "\n".join(text)


def _more(count: int, what: str) -> str:
    return f"{cells.GAP}... and {count} more {what}: --json and --csv have them all"


def _side_by_side(lines: Lines, columns: int) -> list[str]:
    """Tables of as many runs as the terminal has room for; ``columns`` belong to each but the
    first."""
    width = _terminal_width()
    kept = 2
    text: list[str] = []
    while kept < len(lines[0]):
        count = columns
        while kept + count < len(lines[0]) and _width(lines, kept, count + columns) <= width:
            count += columns
        chosen = [[*line[:2], *line[kept : kept + count]] for line in lines]
        text += ([""] if text else []) + cells.aligned(chosen)
        kept += count
    return text


def _terminal_width() -> int:
    return min(max(shutil.get_terminal_size((100, 24)).columns, NARROWEST), WIDEST)


def _width(lines: Lines, kept: int, count: int) -> int:
    chosen = [0, 1, *range(kept, kept + count)]
    return sum(max(len(line[at]) for line in lines) + len(cells.GAP) for at in chosen)


# Figures


def _figures(comparison: Comparison) -> str:
    labels = _labels(comparison)
    header = [labels[0]]
    for label in labels[1:]:
        header += [label, "change"]
    blocks = []
    for section, group in groupby(comparison.figures, lambda one: one.section):
        figures = list(group)
        shown = figures[: MOST_GUESTS if section == "Guests" else None]
        lines = [["", *header], *(_figure_cells(one) for one in shown)]
        text = [section, *_side_by_side(lines, 2)]
        if len(shown) < len(figures):
            text.append(_more(len(figures) - len(shown), "guests"))
        blocks.append("\n".join(text))
    return "\n\n".join(blocks)


def _figure_cells(figure: Figure) -> list[str]:
    one = figure.metric
    each = zip(figure.values, figure.half_widths, strict=True)
    shown = [figure_text(one, value, half) for value, half in each]
    row = [f"{one.label}, {one.unit}" if one.unit and one.unit != "ns" else one.label, shown[0]]
    for text, value in zip(shown[1:], figure.values[1:], strict=True):
        row += [text, _figure_change(one, figure.values[0], value)]
    return row


def figure_text(one: Metric, value: float | None, half: float | None = None) -> str:
    """A figure of one run, with half of its interval where it has one."""
    if value is None:
        return "-"
    if not one.percent:
        return measure_text(one.unit)(value)
    if half is None or value == half == 0:
        return cells.percent(value)
    estimate = {"value": value, "half_width": half, "distinguishable": abs(value) > half}
    return cells.with_interval(estimate, _unsigned)


def _unsigned(value: float, measure: float, *, signed: bool) -> str:
    return cells.percent(value, measure)


def measure_text(unit: str) -> Callable[[float], str]:
    """How a plain figure in a unit is written: times choose theirs."""
    return cells.duration if unit == "ns" else cells.quantity


def _figure_change(one: Metric, first: float | None, value: float | None) -> str:
    """A share of the first; in points where they are shares themselves."""
    if first is None or value is None:
        return "-"
    if value == first:
        return "="
    if one.percent:
        return cells.points(value - first, signed=True)
    if first <= 0 or value < 0:  # no share of that means anything
        return _signed(measure_text(one.unit), value - first)
    return cells.percent(value / first - 1, signed=True)


def _signed(show: Callable[[float], str], value: float) -> str:
    return f"{'+' if value > 0 else ''}{show(value)}"


# Changes


def _changes(comparison: Comparison) -> str:
    first = shortened(comparison.labels[0], LONGEST_LABEL)
    blocks = [_changes_of(first, one) for one in comparison.changes if one.rows]
    return "\n\n".join([*blocks, cells.LEGEND] if blocks else [])


def _changes_of(first: str, changes: Changes) -> str:
    label = shortened(changes.label, LONGEST_LABEL)
    rows = changes.rows[: 2 * MOST_GUESTS]
    lines = [["", first, label, "change"], *(_change_cells(one) for one in rows)]
    text = [_changes_title(first, label, changes), *cells.aligned(lines)]
    if len(rows) < len(changes.rows):
        text.append(_more(len(changes.rows) - len(rows), "lines"))
    return "\n".join(text)


def _changes_title(first: str, label: str, changes: Changes) -> str:
    kind = f"NOT paired ({changes.unpaired})" if changes.unpaired else "paired"
    between = ", counters interpolated between samples" if changes.interpolated else ""
    return (
        f"From {first} to {label}: {changes.begin_s:g} to {changes.end_s:g} s in {changes.batches}"
        f" batches, {kind}{between}"
    )


def _change_cells(one: Change) -> list[str]:
    unit = f", {one.unit}" if one.unit not in ("", "ns") else ""
    show = cells.percent if one.unit == "" else measure_text(one.unit)
    values = ["-" if value is None else show(value) for value in (one.first, one.other)]
    return [f"{one.entity}: {one.measure}{unit}", *values, change_text(one)]


def change_text(one: Change) -> str:
    """Its change with half of its interval."""
    if one.relative:
        return cells.with_interval(one.change, cells.percent)
    if one.unit == "":
        return cells.with_interval(one.change, cells.points)

    def show(value: float, measure: float, *, signed: bool) -> str:
        plain = measure_text(one.unit)
        return _signed(plain, value) if signed else plain(value)

    return cells.with_interval(one.change, show)


# CSV


def comparison_csv(comparison: Comparison) -> str:
    """All of it, one line for each value of each run."""
    sink = StringIO()
    writer = csv.DictWriter(sink, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows([*_scenario_rows(comparison), *_figure_rows(comparison)])
    writer.writerows(_change_rows(comparison))
    return sink.getvalue()


def _scenario_rows(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {"table": "scenario", "name": row.field, "run": label, "value": value}
        for row in comparison.scenario
        for label, value in zip(comparison.labels, row.values, strict=True)
    ]


def _figure_rows(comparison: Comparison) -> list[dict[str, Any]]:
    rows = []
    for one in comparison.figures:
        about = {
            "table": "figure",
            "section": one.section,
            "name": one.metric.name,
            "unit": one.metric.unit,
            "first": one.values[0],
        }
        each = zip(comparison.labels, one.values, one.differences, one.half_widths, strict=True)
        for label, value, change, half in each:
            row = {"run": label, "value": value, "change": change, "half_width": half}
            rows.append(about | row)
    return rows


def _change_rows(comparison: Comparison) -> list[dict[str, Any]]:
    rows = []
    for changes in comparison.changes:
        for one in changes.rows:
            row = {
                "table": "change",
                "section": one.entity,
                "name": one.measure,
                "unit": one.unit,
                "run": changes.label,
                "value": one.other,
                "first": one.first,
                "relative": one.relative,
                "paired": one.paired,
                "half_width": one.change["half_width"],
                "distinguishable": one.change["distinguishable"],
            }
            rows.append(row | {"change": one.change["value"]})
    return rows
