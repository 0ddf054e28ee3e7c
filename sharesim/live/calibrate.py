"""Measures this machine's costs: what a profile for ``--costs`` is made of.

Faults, copies, digests, switches and flushes take no rights. What ksmd does takes root and KSM, and
is left out, with the reason, where there is neither.
"""

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sharesim.errors import UserError
from sharesim.kernel import JIT
from sharesim.live.calibrate_cpu import measure_switches
from sharesim.live.calibrate_faults import measure_faults
from sharesim.live.calibrate_figures import FULL, NOISY, QUICK, Effort, Figures, Measured
from sharesim.live.calibrate_fit import Scan, fit, worst_residual
from sharesim.live.calibrate_flushes import measure_flushes
from sharesim.live.calibrate_kernels import PAGE_BYTES
from sharesim.live.calibrate_ksmd import LiveRig, measure_breaks, on_the_bench
from sharesim.live.calibrate_memory import cache_bytes, measure_digests, measure_memory
from sharesim.live.calibrate_profile import (
    BASE,
    Estimate,
    further,
    not_measured,
    primitives,
    toml_text,
)
from sharesim.live.calibrate_scans import FULL_SIZES, QUICK_SIZES, Sizes, run_experiments
from sharesim.live.sysfs import Ksm
from sharesim.live.users import check_unused
from sharesim.spec.costs import load_profile

KSM_REPEATS = 5
QUICK_KSM_REPEATS = 2
BAD_FIT = 0.25
"""Scans that the fitted costs miss by more than this are worth a warning."""
_NO_ROOM = 1 << 30
"""With less memory available than this, nothing is measured."""
_ROOM_FOR_LARGE = 2 << 30

Tell = Callable[[str], None]
"""Hears what is measured next."""


@dataclass(frozen=True)
class Calibration:
    """What this machine's costs are, as far as they could be measured."""

    machine: str
    figures: Figures
    """All that was measured, in ns for each operation unless it says otherwise."""
    why_not: dict[str, str]
    """By what a primitive's key begins with: why it could not be measured."""
    warnings: tuple[str, ...]

    @property
    def found(self) -> dict[str, Estimate]:
        """The primitives, in the order of :data:`sharesim.spec.costs.PRIMITIVES`."""
        return primitives(self.figures, load_profile(BASE).table())

    def to_toml(self, name: str) -> str:
        """A file for ``--costs`` with one profile, called ``name``."""
        found = self.found
        also = further(self.figures, found)
        return toml_text(name, self.machine, found, also, not_measured(found, self.why_not))

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        found = self.found
        also = further(self.figures, found)
        return {
            "machine": self.machine,
            "inherits": BASE,
            "figures": {key: vars(one) for key, one in found.items()},
            "also": {
                key: {"ns": one.value, "source": one.how, "spread": one.spread}
                for key, one in also.items()
            },
            "not_measured": not_measured(found, self.why_not),
            "warnings": list(self.warnings),
        }


def calibrate(*, quick: bool, ksm: bool, force: bool, tell: Tell) -> Calibration:
    """Measure. ``quick``: less exactly; ``ksm``: ksmd too, if it can be; ``force``: though used.

    Raises:
        UserError: not on Linux, nothing is compiled, or there is not enough memory.
    """
    _check_machine()
    effort = _fitting(QUICK if quick else FULL)
    figures: Figures = {}
    for what, measure in _PLAIN.items():
        tell(what)
        figures |= measure(effort)
    why_not: dict[str, str] = {}
    warnings = _missing_plain(figures, why_not) + _noise(figures)
    reason = _ksm_obstacle(force=force) if ksm else "--no-ksm was given"
    if reason is None:
        ksm_figures, remarks = _measure_ksmd(effort, quick=quick, tell=tell)
        figures |= ksm_figures
        warnings += remarks
    else:
        why_not["ksm_"] = reason
    return Calibration(_machine(), figures, why_not, tuple(warnings))


_PLAIN: dict[str, Callable[[Effort], Figures]] = {
    "system calls, switches and timers": measure_switches,
    "TLB flushes": measure_flushes,
    "page faults": measure_faults,
    "copies and comparisons": measure_memory,
    "digests": measure_digests,
}


def _check_machine() -> None:
    if platform.system() != "Linux":
        raise UserError(f"calibrate measures what Linux does; this is {platform.system()}")
    if not JIT:
        raise UserError("calibrate times compiled loops, but NUMBA_DISABLE_JIT forbids compiling")
    if os.sysconf("SC_PAGE_SIZE") != PAGE_BYTES:
        raise UserError(
            f"calibrate measures pages of {PAGE_BYTES} bytes; here they have"
            f" {os.sysconf('SC_PAGE_SIZE')}"
        )


def _fitting(effort: Effort) -> Effort:
    """With no more cold memory than a quarter of what is available."""
    available = available_bytes()
    if available < _NO_ROOM:
        raise UserError(
            f"calibrate needs 1 GiB of memory, and {available / 2**30:.1f} GiB are available"
        )
    return replace(effort, cold_bytes=min(effort.cold_bytes, available // 4))


def available_bytes() -> int:
    """Memory that could be taken without swapping, by ``/proc/meminfo``."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0


def _missing_plain(figures: Figures, why_not: dict[str, str]) -> list[str]:
    """What could not be measured, or not well, without any need of rights."""
    if "flush" not in figures:
        why_not["flush_"] = "a flush takes two CPUs to be measured, and there is one to use"
    cache = cache_bytes()
    if cache >= FULL.cold_bytes:
        return [
            f"the largest cache has {cache >> 20} MiB, so that pages taken to be in no cache may"
            " have been in it"
        ]
    return []


def _ksm_obstacle(*, force: bool) -> str | None:
    """Why ksmd cannot be measured, or None."""
    try:
        ksm = Ksm()
        if os.geteuid() != 0:
            return "to measure ksmd takes root"
        if not os.access(ksm.folder / "run", os.W_OK):
            return f"{ksm.folder} is read-only here"
        if not force:
            check_unused(ksm)
    except UserError as error:
        return str(error)
    return None


def _measure_ksmd(effort: Effort, *, quick: bool, tell: Tell) -> tuple[Figures, list[str]]:
    """Costs of ksmd and of broken shares, and remarks on how well they fit."""
    base = {key: float(ns) for key, ns in load_profile(BASE).table().items()}
    sizes = QUICK_SIZES if quick else FULL_SIZES
    if available_bytes() < _ROOM_FOR_LARGE:
        sizes = replace(sizes, large=0)
    repeats = QUICK_KSM_REPEATS if quick else KSM_REPEATS
    with on_the_bench(Ksm(), base["ksm_warm_pages"]) as rig:
        tell("breaks of merged pages")
        breaks = measure_breaks(rig, effort)
        _repeat_experiments(rig, sizes, repeats, tell)
    scans = rig.scans()
    figures = fit(scans, base)
    samples = {f"scan '{scan.title}'": Measured(scan.cpu_ns, "CPU time") for scan in scans}
    return breaks | figures, _noise(breaks | samples) + _fit_remarks(scans, figures, base)


def _repeat_experiments(rig: LiveRig, sizes: Sizes, repeats: int, tell: Tell) -> None:
    for repeat in range(repeats + 1):  # the first one warms up: code, caches, free lists
        for what in run_experiments(rig, sizes):
            tell(f"{what} ({repeat} of {repeats})")
        rig.end_repeat(keep=repeat > 0)


def _fit_remarks(scans: list[Scan], figures: Figures, base: Mapping[str, float]) -> list[str]:
    costs = {**base, **{key: figure.value for key, figure in figures.items()}}
    title, error = worst_residual(scans, costs)
    if abs(error) <= BAD_FIT:
        return []
    return [
        f"the costs of ksmd add up to {error:+.0%} of what the scan '{title}' took: the machine was"
        " not quiet, or behaves otherwise than the model"
    ]


def _noise(figures: Figures) -> list[str]:
    noisy = [key for key, figure in figures.items() if figure.spread > NOISY]
    if not noisy:
        return []
    return [
        f"{len(noisy)} of {len(figures)} measurements spread by more than {NOISY:.0%}"
        f" ({', '.join(noisy)}): something else was running, or the machine is shared"
    ]


def _machine() -> str:
    """A line about this machine, for the profile's description."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cpus = os.cpu_count() or 1
    day = time.strftime("%Y-%m-%d")
    return f"{model}, {cpus} CPUs, Linux {platform.release()}; measured on {day}"
