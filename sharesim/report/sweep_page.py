"""The report of a sweep: what was asked, what came out, how sure that is, and how to repeat it."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sharesim.report.blocks import Block, Cell, Code, Facts, Page, Section, Table, Text, Tile, Tiles
from sharesim.report.estimates import (
    GAIN,
    Points,
    estimate_cell,
    estimate_text,
    in_sentence,
    title,
)
from sharesim.report.found import finding_blocks, found_point, read_findings
from sharesim.report.setup import (
    made_by,
    note,
    paragraphs,
    provenance_facts,
    read_provenance,
    set_up,
    sources,
)
from sharesim.report.sweep_pictures import answer_pictures, point_pictures
from sharesim.results.cells import duration
from sharesim.results.run import Run
from sharesim.results.sides import read_scenario_data
from sharesim.spec.parameters import value_text
from sharesim.sweep.manifest import Axis
from sharesim.sweep.sweep import Sweep

MOST_POINTS = 5_000
"""Rows of the table of points: more would make a page that browsers are slow with."""
MOST_FAILURES = 200
MOST_VALUES = 12


def sweep_page(sweep: Sweep, heading: str = "") -> Page:
    """The report of a sweep, under its own title or another."""
    points = Points(sweep)
    findings = read_findings(sweep.folder, sweep.manifest.made_by)
    found = found_point(findings, points)
    shown = found or points.balance or next(iter(points.settings), None)
    run = None if shown is None else sweep.run(shown, _first_done(sweep, shown))
    sections = [
        Section("question", "The question", tuple(_question(sweep))),
        Section("answer", "The answer", tuple(_answer(points, findings))),
        *_one_point(points, shown, run, "found" if found else ""),
        Section("points", "All points", tuple(_tables(points))),
        Section("statistics", "How sure it is", tuple(_statistics(points))),
        *_setup(points, shown, run),
        Section("repeat", "How to repeat it", tuple(_repeat(sweep, run))),
    ]
    summary = {"model_version": sweep.manifest.model_version}
    return Page(
        heading or (sweep.manifest.title if run is None else str(run.summary["scenario"])),
        {"tune": "Search", "sensitivity": "Sensitivity"}.get(sweep.manifest.made_by, "Sweep"),
        _subtitle(points),
        tuple(sections),
        made_by(summary, {"sharesim": sweep.manifest.sharesim}),
        _data(points),
    )


def _first_done(sweep: Sweep, point: int) -> int:
    done = sweep.done
    return int(done.loc[done["point"] == point, "replicate"].min())


def _subtitle(points: Points) -> str:
    sweep = points.sweep
    varied = " and ".join(axis.name for axis in sweep.parameters) or "nothing"
    count = len({cell.point for cell in sweep.cells})
    replicates = sweep.manifest.replicates
    times = f", {replicates} replicates each" if replicates > 1 else ""
    return f"{varied} varied over {count} point{'s' if count != 1 else ''}{times}"


# The question


def _question(sweep: Sweep) -> Iterator[Block]:
    manifest = sweep.manifest
    if manifest.help:
        yield Text(paragraphs(manifest.help))
    helps = {str(one["name"]): str(one.get("help", "")) for one in manifest.parameters}
    rows = [
        (Cell(axis.name), Cell(_values(axis)), Cell(helps.get(axis.name, "")))
        for axis in sweep.parameters
    ]
    if rows:
        yield Table("What was varied", ("Parameter", "Values", "What it is"), tuple(rows))
    fixed = [(name, value_text(value)) for name, value in manifest.settings.items()]
    options = [
        (name, _option_text(value))
        for name, value in manifest.options.items()
        if value not in (None, False)
    ]
    extra = [(name, _option_text(value)) for name, value in manifest.extra.items() if value]
    if fixed or options or extra:
        yield Facts(tuple((name, text) for name, text in [*fixed, *options, *extra]))


def _values(axis: Axis) -> str:
    numeric = all(isinstance(one, int | float) for one in axis.values)
    values = [value_text(one) for one in (sorted(axis.values) if numeric else axis.values)]
    shown = ", ".join(values)
    if len(values) > MOST_VALUES:
        shown = f"{', '.join(values[: MOST_VALUES - 1])} … {values[-1]} ({len(values)} values)"
    return shown + (" (log scale)" if axis.scale == "log" and len(values) > 2 else "")


def _option_text(value: Any) -> str:
    return "yes" if value is True else value_text(value)


# The answer


def _answer(points: Points, findings: Mapping[str, Any]) -> Iterator[Block]:
    sweep = points.sweep
    yield from _incomplete(sweep)
    if not points.settings:
        yield note("No run has finished yet: there is nothing to show.")
        return
    yield from finding_blocks(findings, points)
    if found_point(findings, points) is None:
        yield Tiles(tuple(_tiles(points)))
        words = _in_words(points)
        if words:
            yield Text((words,))
    yield from answer_pictures(points)


def _incomplete(sweep: Sweep) -> Iterator[Block]:
    failed, missing = len(sweep.failed), sweep.missing
    if failed:
        yield note(f"{failed} of {len(sweep.cells)} runs failed; see “All points”.", role="warning")
    if missing:
        words = (
            f"{missing} of {len(sweep.cells)} runs are still to be made: this is how far it got."
        )
        yield note(words, role="warning")


def _tiles(points: Points) -> Iterator[Tile]:
    done, asked = len(points.sweep.done), len(points.sweep.cells)
    yield Tile("Runs", f"{done:,}", f"of {asked:,}, at {len(points.settings):,} points")
    gain, cost = points.sweep.metric(GAIN), points.cost
    top = points.best(gain)
    if top is not None:
        value = estimate_text(gain, points.of(GAIN).get(top))
        yield Tile("Most memory saved", f"{value} MiB", points.name(top))
    if top is not None and cost is not None:
        value = estimate_text(cost, points.of(cost.name).get(top))
        yield Tile(cost.label, value, f"there, at point {top}")
    if points.balance is not None and cost is not None and points.balance != top:
        yield Tile(
            "A balance of both",
            f"{estimate_text(gain, points.of(GAIN)[points.balance])} MiB",
            f"for {estimate_text(cost, points.of(cost.name)[points.balance])}:"
            f" {points.name(points.balance)}",
        )


def _in_words(points: Points) -> str:
    """What the pictures show, for those who cannot see them too."""
    cost = points.cost
    if cost is None or points.balance is None or len(points.settings) < 2:
        return ""
    count = len(points.frontier)
    beaten = f"{count} of {len(points.settings)} points are" if count > 1 else "One point is"
    return (
        f"{beaten} beaten by no other in both memory saved and {in_sentence(cost.label)}. Of these,"
        f" {points.name(points.balance)} is nearest to the best of both, each scaled to its range."
    )


# One point


def _one_point(points: Points, point: int | None, run: Run | None, why: str) -> Iterator[Section]:
    if point is None or run is None:
        return
    why = why or ("balanced" if points.balance else "first")
    heading = "The setting found, over time" if why == "found" else f"The {why} point over time"
    yield Section("point", heading, tuple(point_pictures(points, point, run)))


# Tables


def _tables(points: Points) -> Iterator[Block]:
    if points.settings:
        yield _table_of_points(points)
    failed = points.sweep.failed
    if len(failed):
        yield _table_of_failures(points.sweep)


def _table_of_points(points: Points) -> Table:
    names = [axis.name for axis in points.sweep.parameters]
    best = {one.name: points.best(one) for one in points.metrics}
    rows = []
    for point, settings in list(points.settings.items())[:MOST_POINTS]:
        cells = [Cell(str(point), point, numeric=True)]
        cells += [_setting(settings.get(name)) for name in names]
        for one in points.metrics:
            is_best = best[one.name] == point
            cells.append(estimate_cell(one, points.of(one.name).get(point), best=is_best))
        rows.append(tuple(cells))
    columns = ("Point", *names, *(title(one) for one in points.metrics))
    left_out = len(points.settings) - len(rows)
    remark = f" {left_out:,} more points are in table.parquet of the sweep." if left_out else ""
    return Table(
        "Means of the replicates ± half of the 95 % interval",
        columns,
        tuple(rows),
        live=True,
        note=f"The best of each column is marked.{remark}",
    )


def _setting(value: Any) -> Cell:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(value_text(value), value, numeric=True)
    return Cell("" if value is None else value_text(value))


def _table_of_failures(sweep: Sweep) -> Table:
    names = [axis.name for axis in sweep.parameters]
    failed = sweep.failed
    rows = []
    for row in failed.head(MOST_FAILURES).to_dict("records"):
        cell = sweep.cell(int(row["point"]), int(row["replicate"]))
        number = Cell(f"{cell.point}/{cell.replicate}", numeric=True)
        settings = [_setting(cell.settings.get(name)) for name in names]
        rows.append((number, *settings, Cell(str(row["error"]))))
    more = len(failed) - len(rows)
    return Table(
        "Runs that failed",
        ("Point/replicate", *names, "Error"),
        tuple(rows),
        live=len(rows) > 10,
        note=f"{more:,} more are in failed/ of the sweep." if more else "",
    )


# Statistics


def _statistics(points: Points) -> Iterator[Block]:
    sweep = points.sweep
    yield Text(tuple(_on_replicates(sweep)))
    warmup = _on_warmup(sweep)
    if warmup:
        yield Text((warmup,))
    versions = sorted(set(sweep.done["model_version"]))
    if len(versions) > 1:
        words = f"Runs of different versions of the model are mixed here: {', '.join(versions)}."
        yield note(words, role="warning")


def _on_replicates(sweep: Sweep) -> Iterator[str]:
    counts = sorted(set(sweep.done.groupby("point").size()))
    if not counts:
        return
    if counts[-1] == 1:
        yield (
            "Each point was run once, so there are no intervals: what chance does is not known."
            " Give --replicates to see it."
        )
        return
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    yield (
        f"Each point was run {span} times with different seeds. Figures are means of these"
        " replicates, and ± is half of the 95 % interval by Student’s t: were the sweep repeated"
        " with other seeds many times, 95 % of such intervals would hold the true mean."
    )
    yield (
        f"The seed of a replicate is a function of the master seed ({sweep.manifest.seed}) and its"
        " number, the same at every point (common random numbers). Points therefore differ by less"
        " chance than their single intervals suggest: differences are best taken replicate by"
        " replicate, as “sharesim sweep show --against” does."
    )


def _on_warmup(sweep: Sweep) -> str:
    done = sweep.done
    if "warmup_detected_s" not in done or not len(done):
        return ""
    given, found = done["warmup_given_s"].dropna(), done["warmup_detected_s"].dropna()
    cut = f"The first {_seconds(given.max())} of each run" if given.max() > 0 else "Nothing"
    words = f"{cut} was left out as warm-up. "
    if found.empty:
        return words + "The runs are too short to detect how long theirs takes."
    late = int((found > done.loc[found.index, "warmup_given_s"]).sum())
    words += (
        f"By MSER-5 on the host’s throughput it takes {_seconds(found.median())} (median;"
        f" at most {_seconds(found.max())})"
    )
    if late:
        return f"{words}: in {late} of {len(found)} runs more than was left out."
    return f"{words}: no more than was left out in any run."


def _seconds(value: float) -> str:
    return "0 s" if not value or math.isnan(value) else duration(value * 1e9)


# Set-up and repeating


def _setup(points: Points, point: int | None, run: Run | None) -> Iterator[Section]:
    if point is None or run is None or run.folder is None:
        return
    blocks: list[Block] = []
    if len(points.settings) > 1:
        blocks.append(note(f"As of {points.name(point)}: what was varied differs at other points."))
    blocks += set_up(read_scenario_data(run.folder), run.summary)
    yield Section("setup", "The set-up", tuple(blocks))


def _repeat(sweep: Sweep, run: Run | None) -> Iterator[Block]:
    manifest, folder = sweep.manifest, sweep.folder.resolve().name
    if manifest.command:
        yield Code(shlex.join(manifest.command), "All of it; what is finished is not run again")
    for command, label in _commands(manifest.made_by, folder):
        yield Code(shlex.join(command), label)
    yield Facts(
        (
            ("Model version", manifest.model_version),
            ("Master seed", str(manifest.seed)),
            ("Hash of the question", manifest.inputs),
        )
    )
    if run is not None and run.folder is not None:
        yield provenance_facts(read_provenance(run.folder))
    yield from sources(Path(sweep.folder))


def _commands(kind: str, folder: str) -> Sequence[tuple[list[str], str]]:
    rerun = ["sharesim", "sweep", "rerun", folder, "--point", "1", "--replicate", "1"]
    show = ["sharesim", "sweep", "show", folder]
    return [
        (rerun, "One run again, alone, compared with this one bit for bit"),
        (show, "The table of points, on a terminal"),
        (["sharesim", "plot", folder, "--frontier", "saved", "overhead"], "The trade-off"),
        (["sharesim", "report", folder], "This page"),
    ]


# For programs


def _data(points: Points) -> dict[str, Any]:
    """The table of points as plain data."""
    return {
        "parameters": [axis.name for axis in points.sweep.parameters],
        "metrics": {one.name: {"label": one.label, "unit": one.unit} for one in points.metrics},
        "points": [
            {
                "point": point,
                "settings": {name: _plain(value) for name, value in settings.items()},
                "estimates": {
                    one.name: [found.mean, found.half_width, found.count]
                    for one in points.metrics
                    if (found := points.of(one.name).get(point)) is not None
                },
            }
            for point, settings in list(points.settings.items())[:MOST_POINTS]
        ],
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else value_text(value)
