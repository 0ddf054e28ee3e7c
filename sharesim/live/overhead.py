"""Runs an overhead case on this machine: real workers, its ksmd, windows one after another."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from sharesim.content.overhead_case import HOG, OFF, OverheadCase, Variant, Worker
from sharesim.errors import UserError
from sharesim.live.ksmd import find_ksmd
from sharesim.live.sampler import Sampler
from sharesim.live.sysfs import SCAN, STOP, UNMERGE, Ksm
from sharesim.live.users import check_unused
from sharesim.live.worker import LiveWorker, prepare
from sharesim.validation.outcome import How
from sharesim.validation.overhead_figures import Figures
from sharesim.validation.overhead_session import order_of, settings

REQUIRED = ("pages_scanned", "full_scans", "ksmd_cpu_ns", "cow_ksm")
SCAN_PATIENCE = 200e-6
"""Seconds for each page of a full scan before the windows, at most."""
HOG_WORKER = Worker(
    cpu=None, pages=1, runs=((0, 1, 1, 1),), mergeable=False, seed=1, a_first=0, a_pages=1,
    a_share=1.0, b_first=0, b_pages=0, write_share=0.0, multiplications=100_000,
)  # fmt: skip
"""What the control does: computing, and next to no memory."""


@dataclass(frozen=True)
class LiveRecord:
    """What a live run of a case gave."""

    windows: tuple[Figures, ...]
    worker_ns: tuple[float, ...]
    """CPU time of an operation in the off windows, of each worker."""


def record(case: OverheadCase, variants: Sequence[Variant], how: How) -> LiveRecord:
    """Run a case on this machine's kernel now; takes as long as its windows together.

    All settings of KSM and ksmd's affinity are put back at the end, however that comes. `UserError`
    if it cannot be run here: no KSM, no root, too few CPUs, too old a kernel, or KSM is in use and
    not ``how.force``.
    """
    ksm = Ksm()
    ksmd = _check(case, variants, ksm)
    prepare()
    with ksm.claimed():
        if not how.force:
            check_unused(ksm)
        with ksm.restored() as undo, Sampler(ksm) as sampler:
            return _Session(case, variants, how, ksm, ksmd, sampler, undo).run()


def _check(case: OverheadCase, variants: Sequence[Variant], ksm: Ksm) -> int:
    """ksmd's process id; `UserError` for what this machine has not got."""
    ksm.check_writable()
    for variant in variants:
        ksm.check_knows(variant.knobs, f"case '{case.name}', variant '{variant.name}'")
    usable = os.sched_getaffinity(0)
    wanted = {worker.cpu for worker in case.workers if worker.cpu is not None} | set(case.ksmd_cpus)
    if missing := sorted(wanted - usable):
        raise UserError(
            f"case '{case.name}' needs CPU {missing[0]}; this process may use CPU"
            f" {', '.join(map(str, sorted(usable)))}"
        )
    if any(one.name == HOG for one in variants) and not _free_cpus(case):
        raise UserError(f"case '{case.name}': '{HOG}' needs a CPU without a worker")
    with Sampler(ksm) as sampler:
        unknown = [name for name in REQUIRED if name not in sampler.columns]
    ksmd = find_ksmd(ksm.proc)
    if unknown or ksmd is None:
        what = unknown[0] if unknown else "ksmd"
        raise UserError(
            f"this kernel ({ksm.kernel}) does not show {what}: --live takes Linux 6.6 or newer, and"
            " no container with process ids of its own"
        )
    return ksmd


def _free_cpus(case: OverheadCase) -> list[int]:
    """CPUs that no worker is pinned to."""
    return sorted(os.sched_getaffinity(0) - {worker.cpu for worker in case.workers})


@dataclass(frozen=True)
class _Reading:
    """Counters at one time."""

    time_ns: int
    operations: tuple[int, ...]
    cpu_ns: tuple[int, ...]
    ksm: dict[str, int]


class _Session:
    """One set of processes, all windows of a case."""

    def __init__(
        self,
        case: OverheadCase,
        variants: Sequence[Variant],
        how: How,
        ksm: Ksm,
        ksmd: int,
        sampler: Sampler,
        undo: ExitStack,
    ) -> None:
        self.case = case
        self.variants = {variant.name: variant for variant in variants}
        self.how = how
        self.ksm = ksm
        self.sampler = sampler
        undo.callback(os.sched_setaffinity, ksmd, os.sched_getaffinity(ksmd))
        ksm.configure({})
        os.sched_setaffinity(ksmd, set(case.ksmd_cpus))
        self.workers = [
            LiveWorker(worker, f"worker {number} of case '{case.name}'", undo)
            for number, worker in enumerate(case.workers)
        ]
        for worker in self.workers:
            worker.ready()
        self.undo = undo

    def run(self) -> LiveRecord:
        """Scan everything, then let the workers work through the windows."""
        self._scan_all()
        for worker in self.workers:
            worker.work()
        windows: list[Figures] = []
        off: list[tuple[_Reading, _Reading]] = []
        names = list(order_of(list(self.variants.values()), self.how.rounds or self.case.rounds))
        for number, name in enumerate(names, 1):
            self.how.tell(f"{self.case.name}: live, window {number} of {len(names)}: {name}")
            begin, end = self._window(name)
            windows.append(self._figures(name, begin, end))
            if name == OFF:
                off.append((begin, end))
        return LiveRecord(tuple(windows), self._worker_ns(off))

    def _scan_all(self) -> None:
        pages = sum(worker.pages for worker in self.case.workers)
        self._write(
            {"pages_to_scan": pages + 1, "sleep_millisecs": 1, "smart_scan": 0, "run": SCAN}
        )
        wanted = self.case.prewarm_scans + 1
        limit = time.monotonic() + 10 + wanted * pages * SCAN_PATIENCE
        while int(self.ksm.read("full_scans")) < wanted:
            if time.monotonic() > limit:
                raise UserError(
                    f"case '{self.case.name}': ksmd has not scanned all memory {wanted} times"
                    f" within {limit:.0f} s; is it allowed to run?"
                )
            time.sleep(0.02)
        self.ksm.write("run", STOP)

    def _write(self, knobs: dict[str, int | str]) -> None:
        for knob, value in knobs.items():
            if self.ksm.has(knob) and self.ksm.read(knob) != str(value):
                self.ksm.write(knob, int(value) if isinstance(value, bool) else value)

    def _window(self, name: str) -> tuple[_Reading, _Reading]:
        """Switch to a variant, let it settle, and read its counters at both ends."""
        start = time.monotonic_ns()
        with ExitStack() as stack:
            self._switch(name, stack)
            _sleep_until(start + self.case.skip_ns)
            begin = self._read()
            _sleep_until(start + self.case.window_ns)
            return begin, self._read()

    def _switch(self, name: str, stack: ExitStack) -> None:
        if name == OFF and self.case.unmerges:
            self.ksm.write("run", UNMERGE)
        elif name in (OFF, HOG):
            self._write({"run": STOP})
        else:
            touched = {knob for one in self.variants.values() for knob in one.knobs}
            for knobs in settings(self.variants[name], touched):
                self._write(knobs)
        if name == HOG:
            cpu = _free_cpus(self.case)[0]
            hog = LiveWorker(replace(HOG_WORKER, cpu=cpu), "the control", stack)
            hog.ready()
            hog.work()

    def _read(self) -> _Reading:
        return _Reading(
            time.monotonic_ns(),
            tuple(worker.operations for worker in self.workers),
            tuple(worker.cpu_ns() for worker in self.workers),
            dict(zip(self.sampler.columns, self.sampler.read(), strict=True)),
        )

    def _figures(self, name: str, begin: _Reading, end: _Reading) -> Figures:
        elapsed = end.time_ns - begin.time_ns

        def rate(counter: str) -> float:
            """Per ns."""
            return (end.ksm[counter] - begin.ksm[counter]) / elapsed

        scanned, size = 1e9 * rate("pages_scanned"), end.ksm["pages_to_scan"]
        return Figures(
            variant=name,
            operations_s=1e9 * (sum(end.operations) - sum(begin.operations)) / elapsed,
            worker_share=(sum(end.cpu_ns) - sum(begin.cpu_ns)) / elapsed,
            ksmd_share=rate("ksmd_cpu_ns"),
            ksmd_wait_share=rate("ksmd_wait_ns"),
            batches_s=scanned / size + 1e9 * rate("full_scans") if scanned else 0.0,
            pages_scanned_s=scanned,
            breaks_s=1e9 * rate("cow_ksm"),
        )

    def _worker_ns(self, off: Sequence[tuple[_Reading, _Reading]]) -> tuple[float, ...]:
        """CPU time of an operation, by worker."""
        found = []
        for at in range(len(self.workers)):
            cpu = sum(end.cpu_ns[at] - begin.cpu_ns[at] for begin, end in off)
            made = sum(end.operations[at] - begin.operations[at] for begin, end in off)
            found.append(cpu / max(made, 1))
        return tuple(found)


def _sleep_until(due: int) -> None:
    while (left := due - time.monotonic_ns()) > 0:
        time.sleep(left / 1e9)
