"""Runs a recorded case against this machine's ksmd, and samples what the kernel makes of it."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from sharesim.content.ksm_case import Case
from sharesim.content.ksm_repeat import Repeat
from sharesim.errors import UserError
from sharesim.live.guest import Guest
from sharesim.live.ksmd import Scheduling, find_ksmd, make_urgent
from sharesim.live.sampler import BESIDE, COUNTERS, Sampler
from sharesim.live.sysfs import SCAN, SINCE, STOP, Ksm
from sharesim.live.tick import kernel_hz
from sharesim.live.users import check_unused, mergeable_processes
from sharesim.spec.units import PAGE_BYTES, show_size

Progress = Callable[[int, int], None]
"""Is told at each sample: how far the case is, and how long it takes, in ns."""

FROM_START = ("pages_scanned", "pages_skipped", "ksmd_cpu_ns", "cow_ksm", "ksmd_wait_ns")
"""Columns that the kernel never resets: they are given from the start of the case."""

SETTLE_NS = 300_000_000
"""From the last registration to time 0."""
REQUIRED = ("pages_scanned", "ksmd_cpu_ns", "cow_ksm")
"""What a comparison cannot do without; other counters that a kernel lacks are 0 there."""

URGENT_KSMD, URGENT = 10, 20
"""Real-time priorities of ksmd and of all else that takes part, which does very little."""

MOST_WAITED = 0.02
MOST_LATE_MS = 20.0
MOST_MISSED = 5
"""A repeat with more is disturbed: ksmd's wait for a CPU as a share of the time, the 99th
percentile of the writes' lateness, samples."""


def replay(
    case: Case, *, force: bool = False, progress: Progress | None = None, ksm: Ksm | None = None
) -> Repeat:
    """Play ``case`` with real processes, once, while ksmd scans them; takes as long as it took.

    Starts as the recordings did: all pages unmerged, ``full_scans`` 0, the case's settings and
    else the kernel's defaults, processes filled and registered in their order, and after a pause
    ``run`` is set to 1, which is time 0. Where that is allowed ksmd and the processes run with
    real-time priority: a busy machine would delay them, and a case says nothing of other work. A
    ksmd that never sleeps keeps its own, lest it takes a CPU from everyone. All settings and
    priorities are put back at the end, however that comes.

    `UserError` if this cannot be: no KSM, no root, too old a kernel, too little memory, or somebody
    else uses KSM and not ``force``.
    """
    ksm = ksm or Ksm()
    check_possible(case, ksm)
    with ksm.claimed():
        if not force:
            check_unused(ksm)
        with ksm.restored() as undo:
            return _Replay(case, ksm, undo, progress or _silent).run()


def check_possible(case: Case, ksm: Ksm) -> None:
    """`UserError` if this kernel and user cannot play the case at all."""
    ksm.check_writable()
    ksm.check_knows(case.knobs, str(case.path))
    with Sampler(ksm) as sampler:
        missing = [name for name in REQUIRED if name not in sampler.columns]
    if "ksmd_cpu_ns" in missing:
        raise UserError(
            f"the kernel thread ksmd cannot be seen in {ksm.proc}, so its CPU time is unknown:"
            " --live does not work inside a container with process ids of its own"
        )
    if missing:
        raise UserError(
            f"this kernel ({ksm.kernel}) does not count {missing[0]}: --live takes Linux"
            f" {SINCE['pages_scanned']} or newer"
        )
    wanted, there = sum(process.pages for process in case.processes), _available_pages(ksm)
    if wanted > there:
        raise UserError(
            f"{case.path} needs {show_size(wanted)} of memory, {show_size(there)} are available"
        )


def disturbances(repeat: Repeat) -> list[str]:
    """What spoiled a repeat that was just taken, in words; the recordings have none of it."""
    meta = repeat.meta
    late = max((process["late_ms_p99"] for process in meta["proc_stats"]), default=0.0)
    found = []
    if meta["ksmd_wait_share"] > MOST_WAITED:
        found.append(f"ksmd waited for a CPU {100 * meta['ksmd_wait_share']:.1f} % of the time")
    if late > MOST_LATE_MS:
        found.append(f"writes were late (99th percentile {late:.0f} ms)")
    if meta["missed_samples"] > MOST_MISSED:
        found.append(f"{meta['missed_samples']} samples are missing")
    if meta["foreign_mergeable_seen"]:
        found.append("another process had mergeable memory")
    return found


class _Replay:
    """One repeat: the processes, the samples, and how undisturbed it was."""

    def __init__(self, case: Case, ksm: Ksm, undo: ExitStack, progress: Progress) -> None:
        self.case = case
        self.ksm = ksm
        self.undo = undo
        self.progress = progress
        self.start = 0
        self.times: list[tuple[int, int]] = []
        """When each reading began and ended, ns from the start."""
        self.rows: list[list[int]] = []

    def run(self) -> Repeat:
        """Play it."""
        self.ksm.configure(self.case.knobs)
        real_time = self._prefer()
        with Sampler(self.ksm) as sampler:
            guests = self._guests()
            foreign = self._foreign(guests)
            before = dict(zip(sampler.columns, sampler.read(), strict=True))
            run_write = self._start(guests)
            self._sample(sampler)
            self.ksm.write("run", STOP)
            foreign |= self._foreign(guests)
            for guest in guests:
                guest.check()
            stats = [_lateness(guest) for guest in guests]
        samples = self._samples(sampler.columns, before)
        hz = kernel_hz(self.ksm.kernel)
        return Repeat("live", samples, {
            "case": self.case.name,
            "kernel": self.ksm.kernel,
            **({} if hz is None else {"hz": hz}),
            "run_write_ms": run_write,
            "ksmd_cpu_ns_at_start": before["ksmd_cpu_ns"],
            "foreign_mergeable_seen": len(foreign),
            "ksmd_wait_share": int(samples["ksmd_wait_ns"][-1]) / self.case.duration_ns,
            "ksmd_real_time": real_time,
            "missed_samples": self.case.duration_ns // self.case.sample_ns - len(self.rows),
            "proc_stats": stats,
        })  # fmt: skip

    def _prefer(self) -> bool:
        """Real-time priority for all that takes part; whether ksmd has got it."""
        ksmd = find_ksmd(self.ksm.proc)
        self.undo.callback(Scheduling.of(0).put_back)
        make_urgent(0, URGENT)  # the processes, which are forked later, inherit it
        if ksmd is None or self.ksm.read("sleep_millisecs") == "0":
            return False
        return make_urgent(ksmd, URGENT_KSMD)

    def _guests(self) -> list[Guest]:
        """All processes: filled, and those that are there from the start registered."""
        processes = self.case.processes
        guests = [Guest(self.case, number, self.undo) for number in range(len(processes))]
        for guest in guests:
            guest.ready()
        for guest, process in zip(guests, processes, strict=True):
            if process.arrive_ns == 0:
                guest.register()
        return guests

    def _foreign(self, guests: list[Guest]) -> set[str]:
        own = {f"({guest.pid})" for guest in guests}
        return {name for name in mergeable_processes(self.ksm.proc) if name.split()[-1] not in own}

    def _start(self, guests: list[Guest]) -> list[float]:
        """Write 1 to ``run`` at time 0; when that write began and ended, ms."""
        self.start = time.monotonic_ns() + SETTLE_NS
        for guest in guests:
            guest.begin(self.start)
        self._wait(0)
        began = self._now()
        self.ksm.write("run", SCAN)
        return [began / 1e6, self._now() / 1e6]

    def _sample(self, sampler: Sampler) -> None:
        """Read the counters every ``sample_ns`` until the end, leaving out what would be late."""
        step, end = self.case.sample_ns, self.case.duration_ns
        due = step
        while due <= end:
            self._wait(due)
            began = self._now()
            self.rows.append(sampler.read())
            self.times.append((began, self._now()))
            self.progress(due, end)
            due = (self._now() // step + 1) * step

    def _samples(self, columns: tuple[str, ...], before: dict[str, int]) -> dict[str, np.ndarray]:
        times = np.array(self.times, dtype=np.float64).reshape(-1, 2) / 1e6
        rows = np.array(self.rows, dtype=np.int64).reshape(len(self.rows), len(columns))
        values = dict(zip(columns, rows.T, strict=True))
        for name in FROM_START:
            if name in values:
                values[name] = values[name] - before[name]
        samples: dict[str, np.ndarray] = {"t_ms": times[:, 0], "read_ms": times[:, 1] - times[:, 0]}
        for name in (*COUNTERS, *BESIDE):
            samples[name] = values.get(name, np.zeros(len(rows), dtype=np.int64))
        return samples

    def _now(self) -> int:
        return time.monotonic_ns() - self.start

    def _wait(self, until: int) -> None:
        while (left := until - self._now()) > 0:
            time.sleep(left / 1e9)


def _lateness(guest: Guest) -> dict[str, Any]:
    late = guest.lateness() / 1e6
    middle, most, worst = np.percentile(late, (50, 99, 100)) if len(late) else (0.0, 0.0, 0.0)
    return {
        "n": len(late),
        "late_ms_p50": float(middle),
        "late_ms_p99": float(most),
        "late_ms_max": float(worst),
    }


def _available_pages(ksm: Ksm) -> int:
    for line in (ksm.proc / "meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 // PAGE_BYTES
    return 0


def _silent(_now: int, _end: int) -> None:
    return None
