"""R09: the counters of a host like Instagram's: what follows from 36 workers under KSM."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from sharesim.reproductions.ksm_instagram import (
    CHAINS,
    DUPS,
    MAX_SHARING,
    NOMINAL_SCAN_S,
    PROFIT,
    SHARED,
    SHARING,
    TRACKED,
    UNSHARED,
    VOLATILE,
    WORKERS,
    Instagram,
    steady,
)
from sharesim.results.run import Run
from sharesim.spec.scenario import Scenario
from sharesim.study import Row, Study

SECONDS, SETTLED_S = 1_900, 1_300
"""Of the run, and when its last worker has been there for three scans."""
_SOURCE = "R09: KSM statistics of April 2023, host of 64 GB"
_INPUT = "an input: the scenario has as many such pages; tested is that ksmd counts them so"
_COPIES = f"predicted: {WORKERS} workers with equal pages, no side-car that has any of them"
_PROFIT = (
    "an rmap_item has 64 B. The published profit allows for 64 B each of 14,412,462 items, which"
    " are, but for 256, the shared, unshared and volatile ones: pages_sharing have none there"
)


@dataclass
class Statistics(Study):
    """One run, without smart scan and in the order of tests of its time."""

    name: ClassVar[str] = "ksm_statistics"
    title: ClassVar[str] = "KSM's counters on a host like Instagram's"
    host: Instagram = field(default_factory=lambda: Instagram(scale=CHAINS // 2, ramp_s=600))

    def runs(self) -> dict[str, Scenario]:
        policy = self.host.policy(smart_scan=False, checksum_first=False)
        return {"instagram": self.host.scenario(policy, SECONDS, sample_s=100)}

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        run = runs["instagram"]
        mean = self._means(run)
        shared, sharing = mean["pages_shared"], mean["pages_sharing"]
        items, scale = mean["rmap_items"], self.host.scale
        dups = mean["stable_node_dups"] / mean["stable_node_chains"]
        scan = steady(run, SETTLED_S)

        row = partial(Row, _SOURCE)
        return [
            row("pages_sharing / pages_shared", SHARING / SHARED, sharing / shared,
                tolerance=0.10, note=_COPIES),
            row("general_profit / (pages_sharing x 4 KiB)", PROFIT / SHARING / 4096,
                mean["general_profit"] / sharing / 4096, within=0.02, note=_PROFIT),
            row("volatile, of all tracked", 100 * VOLATILE / TRACKED,
                100 * mean["pages_volatile"] / items, "%", within=5, note=_INPUT),
            row("unshared, of all tracked", 100 * UNSHARED / TRACKED,
                100 * mean["pages_unshared"] / items, "%", within=3, note=_INPUT),
            row("stable_node_dups / stable_node_chains", DUPS / CHAINS, dups, within=1,
                note=f"from contents of {DUPS * MAX_SHARING // CHAINS:,} copies each, an input"),
            row(f"pages_shared, times {scale}", SHARED, scale * shared, tolerance=0.05,
                note=_INPUT),
            row(f"pages_sharing, times {scale}", SHARING, scale * sharing, tolerance=0.10,
                note=_COPIES),
            row("a full scan", NOMINAL_SCAN_S, scan.scan_s, "s", mark="derived",
                note="published: pages and knobs; ksmd's own time comes on top"),
            row("ksmd's share of a CPU", None, 100 * scan.cpu, "%"),
        ]  # fmt: skip

    def _means(self, run: Run) -> Mapping[str, float]:
        ksm = run.timeline.query("entity == 'ksm'")
        settled = ksm[ksm.time_ns >= SETTLED_S * 1e9].drop(columns="entity")
        means: Mapping[str, float] = settled.mean().to_dict()
        return means

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        host = self.host
        return [
            f"One page stands for {host.scale}, so that {CHAINS // host.scale} of {CHAINS} contents"
            " with chains are there; copies of each are as many as there, like max_page_sharing.",
            f"Assumed: {100 * host.old:g} % of the volatile pages are written again and again by"
            " workers, the others are those of processes that live 400 s.",
            "Tolerances: a tenth for copies, as nothing is known of the side-cars; 2 % of the"
            " saving for the profit, as the size of an item may have been another.",
        ]


def study() -> Study:
    """As ``sharesim reproduce ksm_statistics`` runs it."""
    return Statistics()
