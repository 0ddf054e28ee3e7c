"""The report of a single run."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sharesim.report.blocks import Block, Code, Page, Section, Tile, Tiles, plain_table
from sharesim.report.setup import (
    made_by,
    note,
    provenance_facts,
    read_provenance,
    set_up,
    sources,
)
from sharesim.report.sweep_pictures import run_pictures
from sharesim.results.compare import half_width
from sharesim.results.compare_text import figure_text
from sharesim.results.folder import load_run
from sharesim.results.run import Run
from sharesim.results.sides import read_scenario_data
from sharesim.results.table import LEGEND, summary_rows, warnings
from sharesim.spec.units import show_time
from sharesim.sweep.metrics import METRICS, row_of

TILES = ("saved_mib", "realised", "overhead", "cpu_excess", "scanner_cpu", "throughput")


def run_page(place: str | Path, heading: str = "") -> Page:
    """The report of a run folder. Raises UserError where there is none."""
    run = load_run(place)
    folder = Path(place)
    scenario, provenance = read_scenario_data(folder), read_provenance(folder)
    sections = (
        Section("result", "The result", tuple(_result(run.summary))),
        Section("pictures", "Over time", tuple(run_pictures(run))),
        Section("figures", "All figures", tuple(_tables(run.summary))),
        Section("setup", "The set-up", tuple(set_up(scenario, run.summary))),
        Section("repeat", "How to repeat it", tuple(_repeat(folder, provenance))),
    )
    return Page(
        heading or str(run.summary["scenario"]),
        "Run",
        _subtitle(run.summary),
        sections,
        made_by(run.summary, provenance),
        {"metrics": _data(run)},
    )


def _subtitle(summary: Mapping[str, Any]) -> str:
    return (
        f"{show_time(summary['duration_ns'])} simulated, {summary['paging']} paging,"
        f" {summary['sharing']} sharing, seed {summary['seed']}"
    )


def _result(summary: Mapping[str, Any]) -> Iterator[Block]:
    for line in warnings(summary):
        yield note(line, role="warning")
    tiles = tuple(_tiles(summary))
    if tiles:
        yield Tiles(tiles)
    else:
        yield note("Nothing was measured: the run ended before its warm-up did.", role="warning")


def _tiles(summary: Mapping[str, Any]) -> Iterator[Tile]:
    for name in TILES:
        metric = METRICS[name]
        value = metric.of(summary)
        if value is not None and "memory" in summary:
            unit = f" {metric.unit}" if metric.unit else ""
            text = figure_text(metric, value, half_width(metric, summary))
            yield Tile(metric.label, text + unit)


def _tables(summary: Mapping[str, Any]) -> Iterator[Block]:
    for title, header, rows in summary_rows(summary):
        yield plain_table(title, header, rows)
    yield note(LEGEND, role="aside")


def _repeat(folder: Path, provenance: Mapping[str, Any]) -> Iterator[Block]:
    name = folder.resolve().name
    if provenance.get("command"):
        yield Code(shlex.join(provenance["command"]), "As it was run")
    yield Code(shlex.join(["sharesim", "run", name]), "From this folder, compared bit for bit")
    yield Code(shlex.join(["sharesim", "plot", name]), "Its picture")
    yield Code(shlex.join(["sharesim", "report", name]), "This page")
    yield provenance_facts(provenance)
    yield from sources(folder)


def _data(run: Run) -> dict[str, float]:
    return {name: value for name, value in row_of(run.summary).items() if value == value}
