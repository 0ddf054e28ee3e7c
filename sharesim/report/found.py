"""What a search or a sensitivity analysis concluded, from the file it left in its folder."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sharesim.report.blocks import Block, Cell, Code, Table, Text, Tile, Tiles, number_cell
from sharesim.report.estimates import Estimate, Points, estimate_text, in_sentence
from sharesim.report.setup import note
from sharesim.sweep.metrics import Metric

Data = Mapping[str, Any]

SHARE = Metric("share", "Share of the variance", "", lambda _: None, percent=True)
_METHODS = {
    "morris": ("mu_star", "sigma", "Moves it over its range by", "Spread of that"),
    "sobol": ("ST", "S1", "Share of the variance, with its interactions", "On its own"),
}
"""Keys of the two figures that a method gives of each parameter, and their names."""


def read_findings(folder: Path, made_by: str) -> dict[str, Any]:
    """The conclusion of ``tune`` or ``sensitivity``; empty where there is none yet."""
    if made_by not in ("tune", "sensitivity"):
        return {}
    try:
        data = json.loads((folder / f"{made_by}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def found_point(findings: Data, points: Points) -> int | None:
    """The point that a search ended at."""
    point = (findings.get("best") or {}).get("point")
    return point if point in points.settings else None


def finding_blocks(findings: Data, points: Points) -> Iterator[Block]:
    """The conclusion, before all that it rests on."""
    if "trials" in findings:
        yield from _search(findings, points)
    elif findings.get("method") in _METHODS:
        yield from _sensitivity(findings, points)


def _search(findings: Data, points: Points) -> Iterator[Block]:
    question, best = findings["question"]["text"], findings["best"]
    count = len(findings["trials"])
    if best is None:
        yield note(f"None of {count} trials answers it: {question}.", role="warning")
        return
    point = best["point"]
    name = points.name(point) if point in points.settings else f"point {point}"
    yield Text((f"To {question}, the best of {count} trials is {name}:",))
    tiles = []
    for key, one in best["metrics"].items():
        metric = points.sweep.metric(key)
        estimate = Estimate(one["mean"], one["half_width"], one["count"])
        runs = f"{one['count']} replicates" if one["count"] > 1 else "a single run"
        figure = f"{estimate_text(metric, estimate)} {metric.unit}".rstrip()
        tiles.append(Tile(metric.label, figure, runs))
    yield Tiles(tuple(tiles))
    yield from _host_lines(findings.get("host"))


def _host_lines(host: Data | None) -> Iterator[Block]:
    if host and host["lines"]:
        yield Code("\n".join(host["lines"]), "That setting on a host, as root")
        if host["remarks"]:
            yield Text(tuple(host["remarks"]), "note")


def _sensitivity(findings: Data, points: Points) -> Iterator[Block]:
    strength, other, first, second = _METHODS[findings["method"]]
    metric = points.sweep.metric(findings["metric"])
    shown = SHARE if findings["method"] == "sobol" else metric
    rows = []
    for one in findings["parameters"]:
        figures = (_figure(shown, one, strength), _figure(shown, one, other))
        rows.append((Cell(one["name"]), *figures))
    unit = f", {shown.unit}" if shown.unit else ""
    yield Table(
        f"What moves {in_sentence(metric.label)} most",
        ("Parameter", first + unit, second + unit),
        tuple(rows),
        note=f"By the method of {findings['method'].capitalize()},"
        f" from {findings['samples_used']} places.",
    )


def _figure(metric: Metric, row: Data, key: str) -> Cell:
    value = row.get(key)
    if value is None:
        return number_cell("–", None)
    estimate = Estimate(value, row.get(f"{key}_half_width"), 1)
    return number_cell(estimate_text(metric, estimate), value)
