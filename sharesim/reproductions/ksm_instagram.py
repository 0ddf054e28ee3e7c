"""A host like Instagram's under KSM, scaled down: what R09, R10 and R11 have in common.

Mails on KSM of 2023 tell the counters of a host of 64 GB with 36 worker processes and side-cars
after 560 scans. From them follow how many pages are equal, unlike and changing; which of the
changing ones are old pages that are written, and which are new ones of processes that come and go,
does not, and is a parameter.

One page stands for ``scale`` pages. So that times stay what they are ksmd sleeps ``scale`` times as
long, and takes ``scale`` times as long for a page; ``pages_to_scan`` and the seconds that the
advisor looks at keep their values.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sharesim.results.run import Run
from sharesim.spec.costs import load_profile
from sharesim.spec.images import Segment, Segments
from sharesim.spec.ksm import Ksm
from sharesim.spec.paging import Process
from sharesim.spec.scenario import VM, Costs, Host, Scenario, Sharing
from sharesim.spec.workloads import RandomAccess

SHARED, SHARING, UNSHARED, VOLATILE = 125_446, 5_259_506, 1_897_537, 12_389_223
"""Published pages in each state."""
TRACKED = SHARED + SHARING + UNSHARED + VOLATILE
CHAINS, DUPS = 176, 2_604
PROFIT = 20_620_539_008
"""Published general_profit, bytes."""
PAGES_TO_SCAN, SLEEP_MS = 3_000, 20
WORKERS = 36
MAX_SHARING = 256
NOMINAL_SCAN_S = round(TRACKED / (PAGES_TO_SCAN / SLEEP_MS * 1e3))
"""131 s."""

PROFILE = "linux-6.18"
_CPUS = 32
_WRITES = 4
"""Times that a changing page is written in a nominal scan: nearly each visit finds it changed."""
_AT_ONCE = 500
"""Pages written in an operation."""
_LIFE_S = 400
"""How long a short-lived process lives: three nominal scans."""
_TURNS = 8
"""Short-lived processes at a time; one ends and another begins every 50 s."""


@dataclass(frozen=True)
class Instagram:
    """The host's processes."""

    scale: int = CHAINS
    """Pages that one stands for; a divisor of the 176 contents that occur by the thousand."""
    old: float = 0.3
    """Share of the changing pages that belong to workers and are written again and again; the rest
    belongs to processes that are there for some minutes. An assumption."""
    ramp_s: int = 1_200
    """Seconds over which the workers start, one after another."""
    dearer: int = 1
    """How many times the measured costs ksmd's work takes: on a large host whose memory all CPUs
    use, and with a tree of millions of pages, it takes more than on the small one measured."""

    def scenario(self, policy: Ksm, seconds: int, sample_s: int = 40) -> Scenario:
        """The host under a policy, see :meth:`policy`, for so many seconds."""
        vms = [self._worker(number) for number in range(WORKERS)]
        if self.old < 1:
            born = range(0, seconds, _LIFE_S // _TURNS)
            vms += [self._passing(at, seconds) for at in born]
        table = load_profile(PROFILE).table()
        times = self.scale * self.dearer
        override = {key: times * ns for key, ns in table.items() if key.startswith("ksm_")}
        override["ksm_warm_pages"] = table["ksm_warm_pages"]
        return Scenario(
            title=f"A host of {WORKERS} workers, 1/{self.scale}",
            duration=f"{seconds} s",
            sample_every=f"{sample_s} s",
            host=Host(
                cpus=_CPUS, hz=1000, time_slice="1 s",
                costs=Costs(profile=PROFILE, override=override),
            ),
            vms=vms,
            paging=Process(),
            sharing=Sharing(policy=policy),
        )  # fmt: skip

    def policy(self, **knobs: Any) -> Ksm:
        """KSM that scans as there, if ``knobs`` do not say otherwise."""
        scaled = {"pages_to_scan": PAGES_TO_SCAN, "sleep_millisecs": self.scale * SLEEP_MS}
        prune = self.scale * 2_000
        return Ksm(**scaled | {"stable_node_chains_prune_millisecs": prune} | knobs)

    def _scaled(self, pages: float) -> int:
        return round(pages / self.scale)

    @property
    def written(self) -> int:
        """Pages of a worker that are written again and again."""
        return self._scaled(self.old * VOLATILE / WORKERS)

    def _worker(self, number: int) -> VM:
        """Contents that all workers have, contents that occur by the thousand, and its own."""
        copies = round(DUPS * MAX_SHARING / CHAINS / WORKERS)
        often = (
            Segment(size=copies, shared_as=f"often {number}", duplicate=1.0, patterns=1)
            for number in range(CHAINS // self.scale)
        )
        segments = [
            *([Segment(size=self.written)] if self.written else []),
            Segment(size=self._scaled(SHARED - DUPS), shared_as="program"),
            Segment(size=self._scaled(UNSHARED / WORKERS)),
            *often,
        ]
        return VM(
            name=f"worker{number + 1}",
            image=Segments(segments=tuple(segments)),
            workload=_writing(self.written) if self.written else "idle",
            start=f"{number * self.ramp_s // WORKERS} s",
        )

    def _passing(self, born_s: int, seconds: int) -> VM:
        """A process that is there for some minutes, and changes all that it has.

        ksmd comes to a new process a whole scan after it began, and counts its pages from then on.
        """
        counted = 1 - NOMINAL_SCAN_S / _LIFE_S
        pages = self._scaled((1 - self.old) * VOLATILE / counted / _TURNS)
        end = born_s + _LIFE_S
        return VM(
            name=f"passing{born_s}",
            image=Segments(segments=(Segment(size=pages),)),
            workload=_writing(pages),
            start=f"{born_s} s",
            stop=f"{end} s" if end < seconds else None,
        )


def _writing(pages: int) -> RandomAccess:
    """Random writes to the first pages of a process."""
    rate = pages * _WRITES / NOMINAL_SCAN_S
    return RandomAccess(operation="pages written", accesses=_AT_ONCE, op_time="1 ms",
                        rate=rate / _AT_ONCE, write_fraction=1.0, region=pages)  # fmt: skip


@dataclass(frozen=True)
class Steady:
    """What ksmd did between two times of a run."""

    examined: float
    """Pages examined per second."""
    skipped: float
    """Share of the pages that it came to and skipped."""
    cpu: float
    """Share of a CPU."""
    scan_s: float
    """Seconds of a full scan."""
    sharing: float
    """Mean of pages_sharing."""
    tracked: float
    """Mean of rmap_items."""
    pages_to_scan: float
    """Mean."""

    @property
    def per_scan(self) -> float:
        """Pages examined in a scan: of all that it came to, those not skipped."""
        return self.tracked * (1 - self.skipped)


def steady(run: Run, from_s: float, to_s: float | None = None) -> Steady:
    """Figures of ksmd over the samples from a time on, up to another or the end."""
    ksm = run.timeline.query("entity == 'ksm'")
    end = run.scenario.duration if to_s is None else to_s * 1e9
    part = ksm[(ksm.time_ns >= from_s * 1e9) & (ksm.time_ns <= end)]
    change = part.iloc[-1].drop("entity") - part.iloc[0].drop("entity")
    met = change.pages_scanned + change.pages_skipped
    ends = part[part.full_scans.diff() > 0]
    return Steady(
        examined=float(1e9 * change.pages_scanned / change.time_ns),
        skipped=float(change.pages_skipped / met),
        cpu=float(change.scanner_cpu_ns / change.time_ns),
        scan_s=float(np.ptp(ends.time_ns) / np.ptp(ends.full_scans) / 1e9),
        sharing=float(np.mean(part.pages_sharing)),
        tracked=float(np.mean(part.rmap_items)),
        pages_to_scan=float(np.mean(part.pages_to_scan)),
    )
