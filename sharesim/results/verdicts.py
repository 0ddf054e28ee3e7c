"""The table of a study as text: what is published, what was simulated, and the verdicts."""

import math
import shutil
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sharesim.study import Findings, Row

HEADER = ("source, figure", "published", "simulated", "error", "tolerance", "verdict")
NARROWEST, WIDEST = 100, 140
"""Columns of a terminal that a table uses."""
LEAST_TEXT = 20
LONGEST_UNIT = 6
"""Letters of a unit that stands with its figures; a longer one is told once, with their name."""
_BOUNDS = {"near": "", "at most": "≤ ", "at least": "≥ ", "equal": "= "}
_SIGNS = {"near": "±", "at most": "+", "at least": "-"}
GAP = "  "


def findings_text(findings: "Findings") -> str:
    """The table, its remarks, the study's notes and the total, for a terminal."""
    width = min(max(shutil.get_terminal_size((NARROWEST, 24)).columns, NARROWEST), WIDEST)
    remarks = list(dict.fromkeys(row.note for row in findings.rows if row.note))
    lines = [f"{findings.name}: {findings.title}", ""]
    lines += _table(findings.rows, remarks, width)
    if remarks:
        lines += ["", *_folded([f"[{at}] {text}" for at, text in enumerate(remarks, 1)], width)]
    if findings.notes:
        lines += ["", *_folded(findings.notes, width)]
    return "\n".join([*lines, "", total([findings])])


def total(studies: Sequence["Findings"]) -> str:
    """How many rows of all these studies came out how."""
    passed, missed, shown = (
        sum(one.count(verdict) for one in studies) for verdict in ("pass", "miss", "shown")
    )
    return f"{passed} pass, {missed} miss, {shown} shown"


def _cells(row: "Row", remarks: Sequence[str]) -> list[str]:
    unit = "" if _is_long(row.unit) else row.unit
    published = _figure(row.published, unit)
    if row.published is not None:
        published = _BOUNDS[row.relation] + published
        published += f" [{row.mark}]" if row.mark != "quoted" else ""
    remark = f" [{remarks.index(row.note) + 1}]" if row.note else ""
    return [
        published,
        _figure(row.simulated, unit),
        "-" if row.error is None else f"{round(100 * row.error, 1) + 0.0:+.1f} %",
        _tolerance(row, unit),
        row.verdict + remark,
    ]


def _figure(value: float | None, unit: str) -> str:
    """Four significant digits, but all of a whole number."""
    if value is None or not math.isfinite(value):
        return "-"
    whole = abs(value) >= 1000 or value == int(value)
    return f"{f'{value:,.0f}' if whole else f'{value:.4g}'} {unit}".rstrip()


def _is_long(unit: str) -> bool:
    return len(unit) > LONGEST_UNIT


def _tolerance(row: "Row", unit: str) -> str:
    if row.relation == "equal":
        return "exact"
    if not row.judged:
        return "-"
    slack = row.tolerance if row.within is None else row.within
    if not slack:
        return "0"
    text = _figure(100 * slack, "%") if row.within is None else _figure(slack, unit)
    return _SIGNS[row.relation] + text


def _table(rows: Sequence["Row"], remarks: Sequence[str], width: int) -> list[str]:
    """A line for each source, and below it one for each of its rows."""
    cells = [_cells(row, remarks) for row in rows]
    names = [f"{row.figure}, {row.unit}" if _is_long(row.unit) else row.figure for row in rows]
    sizes = [max(map(len, column)) for column in zip(HEADER[1:], *cells, strict=True)]
    left = max(width - sum(sizes) - len(GAP) * len(sizes), LEAST_TEXT)
    text = min(left, max(len(one) for one in (HEADER[0], *(GAP + name for name in names))))
    lines = [_line(HEADER[0].ljust(text), HEADER[1:], sizes)]
    source = None
    for row, name, figures in zip(rows, names, cells, strict=True):
        if row.source != source:
            source = row.source
            lines += _folded([source], width)
        folded = textwrap.wrap(name, text, initial_indent=GAP, subsequent_indent=2 * GAP)
        first, *more = folded or [""]
        lines += [_line(first.ljust(text), figures, sizes), *more]
    return lines


def _line(text: str, figures: Sequence[str], sizes: Sequence[int]) -> str:
    """Figures to the right, the verdict, which is the last, to the left."""
    cells = [cell.rjust(size) for cell, size in zip(figures[:-1], sizes[:-1], strict=True)]
    return GAP.join([text, *cells, figures[-1]]).rstrip()


def _folded(texts: Sequence[str], width: int) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(text, width, subsequent_indent="  ")]
