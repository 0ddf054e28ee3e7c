"""The running ksmd on a bench: one full scan at a time, over memory whose contents are known."""

import mmap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sharesim.errors import UserError
from sharesim.live.calibrate_areas import Area
from sharesim.live.calibrate_faults import write_pages
from sharesim.live.calibrate_figures import Effort, Figures, Measured, sampled, timed
from sharesim.live.calibrate_fit import Counts, Scan, Stretch, scan_counts
from sharesim.live.calibrate_kernels import fill_with_ids
from sharesim.live.calibrate_scans import AT_ONE_GO
from sharesim.live.ksmd import find_ksmd
from sharesim.live.sampler import Sampler
from sharesim.live.sysfs import SCAN, Ksm

MADV_MERGEABLE = getattr(mmap, "MADV_MERGEABLE", 12)
_LONG_SLEEP_MS = 1_000_000
"""ksmd sleeps between two batches until its sleep is changed, which cuts it short."""
_PATIENCE_SECONDS = 20.0
_POLL_SECONDS = 0.01
_NS_EXPECTED = 6_000
"""What a page takes ksmd, at most, to look for its end in time: looking early disturbs it."""
_CONTENTS = 64
"""Different contents among merged pages whose shares are then broken."""


class LiveRig:
    """One full scan of the running ksmd at a time. Inside :func:`on_the_bench` only."""

    def __init__(self, ksm: Ksm, sampler: Sampler, state: Path, warm_pages: float) -> None:
        self._ksm = ksm
        self._sampler = sampler
        self._state = state
        self._warm_pages = warm_pages
        self._sleep_ms = _LONG_SLEEP_MS
        self._area: Area | None = None
        self._counts: dict[str, Counts] = {}
        self._cpu_ns: dict[str, list[float]] = {}
        self._run: dict[str, list[float]] = {}

    @property
    def area(self) -> Area:
        """The memory that ksmd scans."""
        assert self._area is not None
        return self._area

    def fresh(self, pages: int, **settings: int) -> None:
        """Nothing is merged or known to ksmd; there are ``pages`` untouched mergeable pages."""
        self.close()
        base = {"pages_to_scan": AT_ONE_GO, "sleep_millisecs": self._sleep_ms, "smart_scan": 0}
        self._ksm.configure({k: v for k, v in (base | settings).items() if self._ksm.has(k)})
        self._area = Area(pages)
        self._area.advise(MADV_MERGEABLE)
        before = self._read()
        self._ksm.write("run", SCAN)  # it scans at once: nothing is there yet
        self._wait(before, _pause(0, AT_ONE_GO))

    def fill(self, first: int, ids: np.ndarray) -> None:
        """Give pages from ``first`` on the contents with these ids, uint64[n]; 0 is all zero."""
        fill_with_ids(self.area.words, first, ids)

    def scan(self, title: str, *stretches: Stretch, batch: int = AT_ONE_GO) -> None:
        """One full scan in batches of so many pages; what it took is remembered under a title."""
        self._ksm.write("pages_to_scan", batch)
        before = now = self._read()
        pages = sum(one.pages for one in stretches)
        while now["full_scans"] == before["full_scans"]:
            now = self._batch(now, _pause(self.area.pages, batch))
        examined = now["pages_scanned"] - before["pages_scanned"]
        if title and examined != pages:
            raise UserError(
                f"calibrating ksmd, {title}: it examined {examined:,} pages where {pages:,} were"
                " expected; another process must have mergeable memory"
            )
        if title:
            self._counts[title] = scan_counts(stretches, batch, self._warm_pages)
            self._run.setdefault(title, []).append(now["ksmd_cpu_ns"] - before["ksmd_cpu_ns"])

    def end_repeat(self, *, keep: bool = True) -> None:
        """All experiments have been done once more: each title gets one sample, the median."""
        for title, samples in self._run.items():
            if keep:
                self._cpu_ns.setdefault(title, []).append(float(np.median(samples)))
        self._run.clear()

    def scans(self) -> list[Scan]:
        """What was scanned and what it took, one sample of each for each repeat."""
        return [Scan(t, c, tuple(self._cpu_ns[t])) for t, c in self._counts.items()]

    def close(self) -> None:
        """Give the memory back."""
        if self._area is not None:
            self._area.close()
            self._area = None

    def _batch(self, before: dict[str, int], pause: float) -> dict[str, int]:
        """Have ksmd work through one batch; the counters after it."""
        self._sleep_ms = 2 * _LONG_SLEEP_MS + 1 - self._sleep_ms
        self._ksm.write("sleep_millisecs", self._sleep_ms)
        return self._wait(before, pause)

    def _wait(self, before: dict[str, int], pause: float) -> dict[str, int]:
        """Until ksmd has gone on from there, and sleeps again; first looks after ``pause`` s."""
        time.sleep(pause)
        end = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < end:
            now = self._read()
            gone_on = any(now[key] != before[key] for key in ("full_scans", "pages_scanned"))
            if gone_on and self._asleep():
                return self._read()
            time.sleep(_POLL_SECONDS)
        raise UserError(
            f"calibrating ksmd: it has not finished a batch in {_PATIENCE_SECONDS:g} s; is somebody"
            " else changing its settings?"
        )

    def _asleep(self) -> bool:
        return self._state.read_text().rpartition(")")[2].split()[0] in ("S", "I")

    def _read(self) -> dict[str, int]:
        return dict(zip(self._sampler.columns, self._sampler.read(), strict=True))


def _pause(pages: int, batch: int) -> float:
    """Seconds until a batch should be over; by the kernel's default where caches shall be cold."""
    if batch == 1:
        return 0.004
    return 0.024 if batch < pages else 0.004 + pages * _NS_EXPECTED / 1e9


@contextmanager
def on_the_bench(ksm: Ksm, warm_pages: float) -> Iterator[LiveRig]:
    """KSM is ours inside; after, all its settings are as before, and nothing of ours is merged."""
    number = find_ksmd(ksm.proc)
    with ksm.claimed(), ksm.restored(), Sampler(ksm) as sampler:
        if number is None or "ksmd_cpu_ns" not in sampler.columns:
            raise UserError("calibrating ksmd: its CPU time cannot be seen in /proc")
        rig = LiveRig(ksm, sampler, ksm.proc / f"{number}/stat", warm_pages)
        try:
            yield rig
        finally:
            rig.close()


def measure_breaks(rig: LiveRig, effort: Effort) -> Figures:
    """ns for each page: ``ksm_break``, ``ksm_zero_break``, ``ksm_unmap``."""
    repeated = np.arange(effort.pages, dtype=np.uint64) % np.uint64(_CONTENTS) + np.uint64(1)
    zeros = np.zeros(effort.pages, np.uint64)

    def merged(ids: np.ndarray, **settings: int) -> None:
        rig.fresh(effort.pages, **settings)
        rig.fill(0, ids)
        for _ in range(2):
            rig.scan("")

    def breaking(ids: np.ndarray, **settings: int) -> float:
        merged(ids, **settings)
        return write_pages(rig.area)

    def unmapping() -> float:
        merged(repeated)
        return timed(rig.close, effort.pages)

    def figure(take: Callable[[], float], how: str) -> Measured:
        return sampled(take, effort.repeats, f"{how}, {effort.pages} pages at one go")

    breaks = figure(lambda: breaking(repeated), "write to a page merged by KSM")
    how = "write to a page merged with the zero page"
    zero_breaks = figure(lambda: breaking(zeros, use_zero_pages=1), how)
    unmaps = figure(unmapping, "unmapping pages merged by KSM")
    return {"ksm_break": breaks, "ksm_zero_break": zero_breaks, "ksm_unmap": unmaps}
