"""R36: the conclusion of the 2006 thesis, and how far it reaches.

Kloster, Kristensen and Mejlholm found no significant overhead of sharing except that of shadow page
tables, which a paravirtualized design was expected to remove; and that memory is saved under good
conditions. So much is in the abstract; the thesis's figures are not available to us.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sharesim.errors import UserError
from sharesim.reproductions.conditions import MEMORY
from sharesim.reproductions.thesis_outcome import (
    DESIGNS,
    SHADOW,
    Design,
    Outcome,
    grid,
    scale,
    scan,
    write,
)
from sharesim.reproductions.thesis_rows import all_rows
from sharesim.reproductions.two_designs import CONDITIONS, Conditions, two_designs
from sharesim.results.run import Run
from sharesim.spec.scenario import Scenario
from sharesim.study import Row, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLES = 100
"""Of each run."""


@dataclass(frozen=True)
class Thesis(Study):
    """Both designs under three kinds of conditions, and sweeps of what the outcome hangs on."""

    name: ClassVar[str] = "thesis"
    title: ClassVar[str] = "What sharing costs, and what shadow page tables cost: two designs"
    scan_rate: float
    scan_rates: tuple[float, ...]
    write_rate: float
    write_rates: tuple[float, ...]
    shadow_scales: tuple[float, ...]
    duration: str
    warmup: str
    vms: int
    cpus: int
    memory: str

    def runs(self) -> dict[str, Scenario]:
        """The grid with its pairs; of the sweeps what the grid has not."""
        runs = {
            grid(conditions, design): self._scenario(conditions, design, baseline=True)
            for conditions in CONDITIONS
            for design in DESIGNS
        }
        for design in DESIGNS:
            for rate in self.scan_rates:  # without sharing it is the grid's
                runs[scan(rate, design)] = self._scenario("good", design, scan_rate=rate)
            for rate in self.write_rates:
                for on in (False, True):
                    runs[write(rate, design, on)] = self._scenario(
                        "synthetic", design, on=on, write_rate=rate
                    )
        for conditions in CONDITIONS:
            for factor in self.shadow_scales:
                for on in (False, True):
                    runs[scale(factor, conditions, on)] = self._scenario(
                        conditions, SHADOW, on=on, shadow_scale=factor
                    )
        return runs

    def _scenario(
        self,
        conditions: Conditions,
        design: Design,
        *,
        on: bool = True,
        scan_rate: float | None = None,
        write_rate: float | None = None,
        shadow_scale: float = 1.0,
        baseline: bool = False,
    ) -> Scenario:
        if conditions == "synthetic" and write_rate is None:
            write_rate = self.write_rate
        built = two_designs(
            conditions=conditions,
            paging=design.name,
            sharing=design.sharing if on else "none",
            scan_rate=self.scan_rate if scan_rate is None else scan_rate,
            write_rate=write_rate,
            shadow_scale=shadow_scale,
            vms=self.vms,
            cpus=self.cpus,
            memory=self.memory,
            duration=self.duration,
            warmup=self.warmup,
            baseline=baseline,
        )
        return built.model_copy(update={"sample_every": built.duration // SAMPLES})

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        return all_rows(Outcome(self, runs))

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        outcome = Outcome(self, runs)
        rates = [
            f"{conditions}, {design.label}: {cell.native.rate:,.0f} natively,"
            f" {cell.off.rate:,.0f} with sharing off, {cell.on.rate:,.0f} with sharing on"
            for (conditions, design), cell in outcome.cells.items()
        ]
        return [
            "X0, X1 and X2 are the guests' operations per second natively, under the paging mode"
            " with sharing off, and with sharing on. Paging costs 1 - X1/X0, sharing alone"
            " 1 - X2/X1, both 1 - X2/X0; paging's share of the total is (X0 - X1)/(X0 - X2). The"
            " window begins when memory has been scanned once: that pass merges most, for more.",
            "The ledger books each nanosecond of a guest to one cause; the residual is what of a"
            " loss is not in the causes that grew.",
            f"Operations per second: {'; '.join(rates)}.",
            "Degrees of freedom: the bounds, the guests, their page-table activity and the rates of"
            " scanning and writing are ours. The costs (profile xen-2006-p4) are estimates, those"
            " of shadow paging scaled from VMware Workstation in 2003, an upper bound:"
            " shadow_scale takes them down.",
            "The bounds of 1, 5 and 80 % were set before anything was run, those of 2 times and"
            " 90 % after first runs; so were two things of the set-up: scanning in random order and"
            " operations of equal work under bad conditions.",
            "The paravirtual protocol is our reading of a design that was not built then: its"
            " figures are predictions.",
        ]

    def picture(self, runs: Mapping[str, Run], rows: list[Row]) -> "Figure":
        from sharesim.reproductions.thesis_picture import picture

        return picture(Outcome(self, runs))


def study(
    scan_rate: float = 5_000.0,
    scan_rates: tuple[float, ...] = (10_000.0, 20_000.0, 40_000.0, 80_000.0),
    write_rate: float = 100.0,
    write_rates: tuple[float, ...] = (10.0, 1_000.0, 3_000.0, 10_000.0, 100_000.0),
    shadow_scales: tuple[float, ...] = (0.25, 0.5, 0.7),
    vms: int = 4,
    cpus: int = 2,
    memory: str = MEMORY,
    duration: str = "20 s",
    warmup: str = "8 s",
) -> Study:
    """The thesis's conclusion, tried again: sharing costs little but for shadow page tables.

    Each design under good, bad and synthetic conditions, with sharing off and on and natively; the
    scan rate swept under good conditions, the write rate under synthetic ones, and the cost of
    keeping shadow tables under all. Single runs: scenarios/two_designs.py.

    scan_rate: pages to scan per second, over all guests, where it is not swept
    scan_rates: the sweep of it
    write_rate: pages that each guest writes per second of its CPU time under synthetic conditions
    write_rates: the sweep of it
    shadow_scales: the sweep of what multiplies the cost of keeping shadow tables, below 1
    vms: how many guests
    cpus: CPUs of the host
    memory: of each guest
    duration: simulated time of each run
    warmup: left out of throughput and overhead; memory should have been scanned once by then
    """
    swept = {
        "scan_rate": (scan_rate, *scan_rates),
        "write_rate": (write_rate, *write_rates),
        "shadow_scale": shadow_scales,
    }
    for name, values in swept.items():
        for value in values:
            if not 0 < value < math.inf:
                raise UserError(f"{name}: found {value:g}; to be swept it must be above 0")
    return Thesis(
        scan_rate, scan_rates, write_rate, write_rates, shadow_scales,
        duration, warmup, vms, cpus, memory,
    )  # fmt: skip
