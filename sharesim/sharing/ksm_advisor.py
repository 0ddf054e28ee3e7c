"""KSM's advisor in mode scan-time (Linux 6.8): sets ``pages_to_scan`` after each full scan."""

from sharesim.spec.ksm import Knobs, Ksm

EWMA_NEW = 30
"""Percent weight of the newest change of the scan time."""
MIN_CPU = 10
"""Percent of a CPU that ksmd is to use at least."""


class Advisor:
    """Integers throughout, divisions truncate, as in the kernel."""

    def __init__(self, spec: Ksm) -> None:
        self.on = spec.advisor_mode == "scan-time"
        self.target = spec.advisor_target_scan_time
        self.min_pages = spec.advisor_min_pages_to_scan
        self.max_pages = spec.advisor_max_pages_to_scan
        self.max_cpu = spec.advisor_max_cpu
        self._before = spec.ksmd_cpu_before
        self._change = 0
        self._scan_time = 0
        self._cpu = 0

    def begin(self) -> int:
        """It is switched on: its memory is cleared. Returns the ``pages_to_scan`` to begin with."""
        self._change = self._scan_time = self._cpu = 0
        return self.min_pages

    def write(self, knobs: Knobs) -> None:
        """Take over what is written to sysfs."""
        if knobs.advisor_mode is not None:
            self.on = knobs.advisor_mode == "scan-time"
        self.target = knobs.advisor_target_scan_time or self.target
        self.min_pages = knobs.advisor_min_pages_to_scan or self.min_pages
        self.max_pages = knobs.advisor_max_pages_to_scan or self.max_pages
        self.max_cpu = knobs.advisor_max_cpu or self.max_cpu

    def step(self, pages_to_scan: int, elapsed: int, cpu: int) -> int:
        """The new ``pages_to_scan`` after a full scan of ``elapsed`` ns, ksmd's time being ``cpu``.

        The first time it takes ksmd's whole CPU time since boot for that of the scan.
        """
        scan_time = max(1, elapsed // 1_000_000_000)
        cpu += self._before
        cpu_percent = max(1, (cpu - self._cpu) // 1_000_000 * 100 // (scan_time * 1000))
        last = self._scan_time or scan_time
        factor = max(1, self.target * 100 // scan_time)
        change = max(1, scan_time * 100 // last)
        change = ((100 - EWMA_NEW) * self._change + EWMA_NEW * change) // 100
        pages = pages_to_scan * 100 // factor
        pages = pages * change // 100
        per_percent = max(1, pages_to_scan // cpu_percent)
        pages = min(pages, per_percent * self.max_cpu)
        pages = max(pages, per_percent * MIN_CPU)
        self._change, self._scan_time, self._cpu = change, scan_time, cpu
        return min(pages, self.max_pages)
