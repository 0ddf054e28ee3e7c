"""What the runs of the thesis's study came to: the grid, and the sweeps."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sharesim.reproductions.losses import Cell, Loss, host_rate, loss, window
from sharesim.reproductions.two_designs import CONDITIONS, Conditions
from sharesim.results.run import Run
from sharesim.spec.workloads import PageTableHeavy

if TYPE_CHECKING:
    from sharesim.reproductions.thesis import Thesis


@dataclass(frozen=True)
class Design:
    """One of the two: a way of paging, with the way of sharing that is legal under it."""

    name: Literal["shadow", "direct"]
    sharing: Literal["transparent", "paravirtual"]

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.name} + {self.sharing}"


SHADOW, DIRECT = Design("shadow", "transparent"), Design("direct", "paravirtual")
DESIGNS = (SHADOW, DIRECT)
Points = list[tuple[float, Loss]]
"""A sweep: what was varied, and the loss by sharing alone."""


def grid(conditions: Conditions, design: Design) -> str:
    """Name of a run of the grid."""
    return f"{conditions}-{design.name}"


def scan(rate: float, design: Design) -> str:
    """Name of a run of the sweep of the scan rate."""
    return f"scan-{rate:g}-{design.name}"


def write(rate: float, design: Design, on: bool) -> str:
    """Name of a run of the sweep of the write rate."""
    return f"write-{rate:g}-{design.name}-{'on' if on else 'off'}"


def scale(factor: float, conditions: Conditions, on: bool) -> str:
    """Name of a run of the sweep of shadow_scale."""
    return f"scale-{factor:g}-{conditions}-{'on' if on else 'off'}"


class Outcome:
    """What the runs of the study came to."""

    def __init__(self, study: "Thesis", runs: Mapping[str, Run]) -> None:
        self.study = study
        self.runs = runs
        self._start = runs[grid("good", SHADOW)].scenario.warmup
        self.cells = {
            (conditions, design): self._cell(grid(conditions, design))
            for conditions in CONDITIONS
            for design in DESIGNS
        }
        self.scans = {design: self._scans(design) for design in DESIGNS}
        self.writes = {design: self._writes(design) for design in DESIGNS}
        self.scales = {conditions: self._scales(conditions) for conditions in CONDITIONS}

    def _cell(self, name: str, vms: Collection[str] | None = None) -> Cell:
        run = self.runs[name]
        timelines = (run.pair_timeline("P0"), run.pair_timeline("P1"), run.timeline)
        return Cell(*(window(timeline, self._start, vms=vms) for timeline in timelines))

    def kinds(self, design: Design) -> dict[str, Cell]:
        """Under bad conditions, by what guests do: write, or start processes."""
        name = grid("bad", design)
        guests: dict[str, list[str]] = {}
        for vm in self.runs[name].scenario.vms:
            starts = isinstance(vm.workload, PageTableHeavy)
            guests.setdefault("start processes" if starts else "write", []).append(vm.name)
        return {f"guests that {what}": self._cell(name, vms) for what, vms in guests.items()}

    def _pair(self, name_on: str, name_off: str) -> Loss:
        on, off = (window(self.runs[name].timeline, self._start) for name in (name_on, name_off))
        return loss(on, off)

    def _scans(self, design: Design) -> Points:
        cell = self.cells["good", design]
        points = {
            rate: loss(window(self.runs[scan(rate, design)].timeline, self._start), cell.off)
            for rate in self.study.scan_rates
        }
        return sorted({**points, self.study.scan_rate: cell.sharing}.items())

    def _writes(self, design: Design) -> Points:
        points = {
            rate: self._pair(write(rate, design, True), write(rate, design, False))
            for rate in self.study.write_rates
        }
        cell = self.cells["synthetic", design]
        return sorted({**points, self.study.write_rate: cell.sharing}.items())

    def _scales(self, conditions: Conditions) -> list[tuple[float, Cell]]:
        """Natively nothing depends on it."""
        whole = self.cells[conditions, SHADOW]
        cells = {1.0: whole}
        for factor in self.study.shadow_scales:
            off, on = (
                window(self.runs[scale(factor, conditions, on)].timeline, self._start)
                for on in (False, True)
            )
            cells[factor] = Cell(whole.native, off, on)
        return sorted(cells.items())

    def while_merging(self, design: Design) -> Loss:
        """By sharing alone, under good conditions, from the start to the window."""
        run = self.runs[grid("good", design)]
        on, off = (window(one, 0, self._start) for one in (run.timeline, run.pair_timeline("P1")))
        return loss(on, off)

    def scanner(self, conditions: Conditions, design: Design) -> float:
        """Percent of a CPU."""
        timeline = self.runs[grid(conditions, design)].timeline
        return 100 * host_rate(timeline, "cpu_scanner_ns", self._start) / 1e9

    def at_end(self, conditions: Conditions, design: Design, column: str) -> float:
        """A figure of the host at the end of a run of the grid."""
        timeline = self.runs[grid(conditions, design)].timeline
        return float(timeline[timeline.entity == "host"][column].iloc[-1])

    def breaks(self, conditions: Conditions, design: Design) -> float:
        """COW breaks per second of the window."""
        timeline = self.runs[grid(conditions, design)].timeline
        return host_rate(timeline, "cow_breaks", self._start)

    def times_paravirtual(self, conditions: Conditions, shadow: Cell) -> float | None:
        """The shadow design's total loss over the paravirtual one's."""
        ours, theirs = shadow.total, self.cells[conditions, DIRECT].total
        if ours.percent is None or not theirs.percent:
            return None
        return ours.percent / theirs.percent
