"""Opens the runs that are laid side by side: run folders, and cells of sweeps by their number."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError
from sharesim.results.load import (
    TIMELINE_FILE,
    TimelineSeries,
    pair_timeline_file,
    read_scenario_text,
    read_summary,
    read_timeline,
)

if TYPE_CHECKING:
    import pandas

_CELL = re.compile(r"(.+):(\d+)(?:/(\d+))?")
"""``SWEEP:POINT`` or ``SWEEP:POINT/REPLICATE``."""


@dataclass(frozen=True)
class Side:
    """One of the runs that are compared."""

    given: str
    """As the user named it."""
    label: str
    """The end of that name that tells it from the others."""
    folder: Path
    scenario: Mapping[str, Any]
    """As in ``scenario.json``."""
    summary: Mapping[str, Any]
    pair_place: tuple[Path, str] | None
    """Folder and file of the timeline of its pair P1, where there is one."""

    @cached_property
    def timeline(self) -> "pandas.DataFrame":
        """Of all its samples."""
        return read_timeline(self.folder)

    @property
    def window(self) -> tuple[float, float]:
        """Seconds from the end of its warm-up to its end."""
        begin, end = self.summary["window_ns"]
        return begin / 1e9, end / 1e9

    @property
    def measured(self) -> bool:
        """Whether it came to the end of its warm-up."""
        return "memory" in self.summary

    def series(self, begin: float | None = None, end: float | None = None) -> TimelineSeries:
        """Its timeline over a stretch of simulated seconds."""
        return TimelineSeries(self.timeline, begin, end)

    def pair_series(self, begin: float, end: float) -> TimelineSeries | None:
        """The same of its pair without sharing, where that was stored."""
        if self.pair_place is None:
            return None
        return TimelineSeries(read_timeline(*self.pair_place), begin, end)

    def guest(self, name: str) -> Mapping[str, Any]:
        """The description of one of its guests."""
        return next(vm for vm in self.scenario["vms"] if vm["name"] == name)


def open_sides(places: Sequence[str]) -> list[Side]:
    """The runs of these places, with labels that tell them apart.

    Raises UserError for fewer than two, for one given twice, and for what is no run.
    """
    if len(places) < 2:
        raise UserError(
            f"found {len(places)} run to compare; two or more are needed, the first being the one"
            " that the others are compared with"
        )
    sides = [open_side(place) for place in places]
    folders = [side.folder.resolve() for side in sides]
    for number, folder in enumerate(folders):
        if folder in folders[:number]:
            earlier = sides[folders.index(folder)].given
            raise UserError(
                f"{sides[number].given} is the same run as {earlier}; give different ones"
            )
    labels = short_labels([side.label for side in sides])
    return [replace(side, label=label) for side, label in zip(sides, labels, strict=True)]


def open_side(place: str) -> Side:
    """One run. Raises UserError where there is none."""
    from sharesim.sweep.store import MANIFEST_FILE

    cell = _CELL.fullmatch(place)
    if cell is not None and not Path(place).exists():
        return _open_cell(place, cell[1], int(cell[2]), int(cell[3] or 1))
    folder = Path(place)
    if (folder / MANIFEST_FILE).is_file():
        raise UserError(
            f"{place} holds a sweep, not a run; name one of its points, such as {place}:1, or"
            f" {place}:1/2 for its second replicate"
        )
    pair = pair_timeline_file("P1")
    known = (folder, pair) if (folder / pair).is_file() else None
    return _opened(place, str(folder.resolve()), folder, known)


def _open_cell(place: str, sweep_place: str, point: int, replicate: int) -> Side:
    from sharesim.sweep.store import PAIRS
    from sharesim.sweep.sweep import load_sweep

    sweep = load_sweep(sweep_place)
    cell = sweep.cell(point, replicate)
    folder = sweep.run(point, replicate).folder
    assert folder is not None
    pair = sweep.store.place / PAIRS / cell.p1 if cell.p1 else None
    known = (pair, TIMELINE_FILE) if pair is not None and (pair / TIMELINE_FILE).is_file() else None
    end = f"{point}/{replicate}" if sweep.manifest.replicates > 1 else f"{point}"
    return _opened(place, f"{Path(sweep_place).resolve()}:{end}", folder, known)


def _opened(given: str, name: str, folder: Path, pair: tuple[Path, str] | None) -> Side:
    return Side(given, name, folder, read_scenario_data(folder), read_summary(folder), pair)


def read_scenario_data(folder: Path) -> dict[str, Any]:
    """``scenario.json`` of a run as plain data: the user's own classes need not be there."""
    data: dict[str, Any] = json.loads(read_scenario_text(folder))
    return data


def short_labels(names: Sequence[str]) -> list[str]:
    """The shortest ends of paths that still tell them apart."""
    parts = [re.split(r"[/\\](?!\d+$)", name) for name in names]
    for count in range(1, max(map(len, parts)) + 1):
        ends = ["/".join(part[-count:]) for part in parts]
        if len(set(ends)) == len(ends):
            return ends
    return list(names)
