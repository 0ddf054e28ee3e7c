"""Rows of the thesis's study: claims with their verdicts, how far they reach, what was measured.

The thesis's abstract has no figures; where it says "significant" there are bounds of ours. Those on
what sharing costs, what the scanner takes and what paging carries were set before anything was run,
the other two when first runs had been seen.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sharesim.reproductions.losses import Cell, Crossing, Loss, crossing
from sharesim.reproductions.thesis_outcome import (
    DESIGNS,
    DIRECT,
    SHADOW,
    Design,
    Outcome,
    Points,
)
from sharesim.reproductions.two_designs import CONDITIONS, Conditions
from sharesim.study import Relation, Row

SHARING_COSTS = 1.0
"""Percent of throughput, at most, under good conditions."""
SCANNER_TAKES = 5.0
"""Percent of a CPU, at most, for that."""
PAGING_CARRIES = 80.0
"""Percent of the total loss, at least, under shadow paging."""
SHADOW_OVER_PARAVIRTUAL = 2.0
"""Times the paravirtual design's total loss, at least. A fault or an update costs Xen an eighth of
what it costs Workstation (lmbench, SOSP 2003); what sharing itself costs does not shrink."""
SAVED = 90.0
"""Percent of what perfect sharing would save, at least, under good conditions."""
LEVELS = (1.0, 5.0)
"""Losses by sharing alone, in percent, for which the sweeps look."""

_SHARING = "Thesis, abstract: sharing as such has no significant overhead"
_PAGING = "Thesis, abstract: shadow page tables are what costs"
_PARAVIRTUAL = "Thesis, abstract: a paravirtualized design should remove that cost (predicted)"
_MEMORY = "Thesis, abstract: similar systems and programs share memory"
_SCALE = "How far that reaches: shadow_scale, which multiplies the cost of keeping shadow tables"
_OURS = "ours"
_PAGE_MIB = 1 / 256


def all_rows(outcome: Outcome) -> list[Row]:
    """Of the whole study."""
    parts = (_verdict, _reach, _thresholds, _points, _grid)
    return [row for part in parts for row in part(outcome)]


def _verdict(outcome: Outcome) -> Iterator[Row]:
    """What is judged."""
    for design in DESIGNS:
        case = f"good, {design.label}"
        sharing = outcome.cells["good", design].sharing
        yield bound_row(
            _SHARING, f"{case}: loss by sharing alone", "at most", SHARING_COSTS, sharing
        )
        scanner = Loss(outcome.scanner("good", design))
        yield bound_row(_SHARING, f"{case}: scanner, of a CPU", "at most", SCANNER_TAKES, scanner)
    for design in DESIGNS:  # the claim is not about this
        figure = f"good, {design.label}: in the first pass, before the window"
        yield shown_row(_SHARING, figure, outcome.while_merging(design))
    for conditions in CONDITIONS:
        share = outcome.cells[conditions, SHADOW].paging_share
        figure = f"{conditions}, {SHADOW.label}: paging's share of the loss"
        yield bound_row(_PAGING, figure, "at least", PAGING_CARRIES, share)
    for conditions in CONDITIONS:
        times = outcome.times_paravirtual(conditions, outcome.cells[conditions, SHADOW])
        figure = f"{conditions}: total loss of {SHADOW.label}, over that of {DIRECT.label}"
        yield Row(
            _PARAVIRTUAL, figure, SHADOW_OVER_PARAVIRTUAL, times, "times", relation="at least",
            within=0.0, mark=_OURS,
        )  # fmt: skip
    for design in DESIGNS:
        saved, best = (
            outcome.at_end("good", design, f"{column}_pages") for column in ("saved", "opportunity")
        )
        figure = f"good, {design.label}: memory saved, of what could be"
        yield bound_row(
            _MEMORY, figure, "at least", SAVED, Loss(100 * saved / best if best else None)
        )


def bound_row(source: str, figure: str, relation: Relation, bound: float, found: Loss) -> Row:
    """Judged as it stands; where its interval holds the bound, the note says so."""
    note = _interval(found)
    if found.half is not None and found.within(bound):
        note = f"not distinguishable from the bound: {note}"
    return Row(
        source, figure, bound, found.percent, "%", relation=relation, within=0.0, mark=_OURS,
        note=note,
    )  # fmt: skip


def shown_row(source: str, figure: str, found: Loss, unit: str = "%") -> Row:
    """Not judged; what is inside its own interval is called that."""
    note = _interval(found)
    if found.half is not None and not found.distinguishable:
        note = f"not distinguishable from none: {note}"
    return Row(source, figure, None, found.percent, unit, note=note)


def _interval(found: Loss) -> str:
    """With one significant digit, so that equal ones are told once."""
    if found.half is None:
        return ""
    return f"95 % interval ± {float(f'{found.half:.1g}'):g} points"


def _reach(outcome: Outcome) -> Iterator[Row]:
    """Over which range of shadow_scale the conclusion holds."""
    reached = []
    for conditions in CONDITIONS:
        at = crossing(_paging_shares(outcome, conditions), PAGING_CARRIES)
        reached.append(at)
        yield _crossed(_SCALE, f"{conditions}: paging carries {PAGING_CARRIES:g} %, from", at)
    for conditions in CONDITIONS:
        at = crossing(_times(outcome, conditions), SHADOW_OVER_PARAVIRTUAL)
        reached.append(at)
        words = f"{SHADOW_OVER_PARAVIRTUAL:g} times the paravirtual design's loss"
        yield _crossed(_SCALE, f"{conditions}: {words}, from", at)
    most = max(
        (cell.sharing for _, cell in outcome.scales["good"]), key=lambda one: one.percent or 0.0
    )
    yield shown_row(_SCALE, "good: loss by sharing alone, at the most", most)
    values = [at.at for at in reached if at.at is not None]
    whole = len(values) == len(reached) and (most.percent or 0.0) <= SHARING_COSTS
    note = "up to 1" if whole else "not even at 1"
    yield Row(_SCALE, "all claims hold, from", None, max(values) if whole else None, note=note)
    for conditions in CONDITIONS:
        for factor, cell in outcome.scales[conditions]:
            figure = f"{conditions}, {factor:g}: paging's share of the loss"
            yield shown_row(_SCALE, figure, cell.paging_share)


def _paging_shares(outcome: Outcome, conditions: Conditions) -> list[tuple[float, float]]:
    shares = [(at, cell.paging_share.percent) for at, cell in outcome.scales[conditions]]
    return [(at, share) for at, share in shares if share is not None]


def _times(outcome: Outcome, conditions: Conditions) -> list[tuple[float, float]]:
    found = [
        (at, outcome.times_paravirtual(conditions, cell)) for at, cell in outcome.scales[conditions]
    ]
    return [(at, times) for at, times in found if times is not None]


def _crossed(source: str, figure: str, found: Crossing, unit: str = "") -> Row:
    return Row(source, figure, None, found.at, unit, note=found.note)


class Sweep(NamedTuple):
    """Losses by sharing alone against a rate in pages per second."""

    what: str
    conditions: Conditions
    points: Mapping[Design, Points]


def sweeps(outcome: Outcome) -> tuple[Sweep, Sweep]:
    """Both sweeps of a rate."""
    return (
        Sweep("scan rate", "good", outcome.scans),
        Sweep("write rate", "synthetic", outcome.writes),
    )


def _thresholds(outcome: Outcome) -> Iterator[Row]:
    """At which rates sharing alone costs so much."""
    for sweep in sweeps(outcome):
        source = f"When it stops being true: the {sweep.what}, {sweep.conditions} conditions"
        for design, points in sweep.points.items():
            for level in LEVELS:
                at = crossing(_percents(points), level, " pages/s")
                figure = f"{design.label}: {sweep.what} at which sharing costs {level:g} %"
                yield _crossed(source, figure, at, "pages/s")


def _percents(points: Points) -> list[tuple[float, float]]:
    return [(rate, found.percent) for rate, found in points if found.percent is not None]


def _points(outcome: Outcome) -> Iterator[Row]:
    """The points of the sweeps."""
    for sweep in sweeps(outcome):
        for design, points in sweep.points.items():
            source = f"Swept: the {sweep.what}, {sweep.conditions} conditions, {design.label}"
            for rate, found in points:
                yield shown_row(source, f"{rate:,g} pages/s: loss by sharing alone", found)


def _grid(outcome: Outcome) -> Iterator[Row]:
    """Every cell: losses, what the ledger leaves unexplained, scanner, breaks and memory."""
    for (conditions, design), cell in outcome.cells.items():
        source = f"Loss of throughput, scanner, memory: {conditions} conditions, {design.label}"
        yield shown_row(source, "by paging alone", cell.paging)
        yield shown_row(source, "by sharing alone", cell.sharing)
        yield shown_row(source, "by both", cell.total)
        yield from _residuals(source, cell)
        yield Row(source, "scanner", None, outcome.scanner(conditions, design), "% of a CPU")
        if conditions == "bad":
            yield from _kinds(source, outcome, design)
        yield Row(source, "COW breaks", None, outcome.breaks(conditions, design), "per s")
        for column, words in (("saved", "memory saved"), ("net_saved", "less tables and pools")):
            pages = outcome.at_end(conditions, design, f"{column}_pages")
            yield Row(source, words, None, pages * _PAGE_MIB, "MiB")


def _kinds(source: str, outcome: Outcome, design: Design) -> Iterator[Row]:
    """Under bad conditions there are two kinds of guests, which lose by different things."""
    for what, cell in outcome.kinds(design).items():
        yield shown_row(source, f"{what}: by paging alone", cell.paging)
        yield shown_row(source, f"{what}: by sharing alone", cell.sharing)


def _residuals(source: str, cell: Cell) -> Iterator[Row]:
    for what in ("paging", "sharing"):
        residual = cell.residual(what)
        yield Row(source, f"by {what}: residual of the ledger", None, residual, "points")
