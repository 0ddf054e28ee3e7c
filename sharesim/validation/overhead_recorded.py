"""What lies beside a file of overhead cases: the recordings, and figures of their machine.

``results.csv`` has a line for each window and worker, in order of time, ``summary.csv`` one for
each variant, ``costs.json`` what operations take undisturbed. Each may be missing.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from sharesim.content.ksm_tables import Fields, Source
from sharesim.content.overhead_case import OverheadCase, Worker
from sharesim.validation.overhead_figures import Figures, Result, results

RESULTS, SUMMARY, COSTS = "results.csv", "summary.csv", "costs.json"
RESULT_COLUMNS = (
    "case", "variant", "worker", "ops_s", "worker_cpu_share", "ksmd_cpu_share", "ksmd_wait_share",
    "pages_scanned_s", "full_scans", "cow_breaks_s",
)  # fmt: skip
SUMMARY_COLUMNS = (
    "case", "variant", "pairs", "rel_mean", "rel_se", "ksmd_cpu_share", "pages_scanned_s",
    "run_ms_per_batch", "wait_ms_per_batch", "sleep_ms", "cow_breaks_s", "worker_cpu_share",
)  # fmt: skip

MULTIPLY_ADD_NS = 1.05
"""A dependent multiply-add on the machine of the recordings."""
NEAR_NS, FAR_NS = 15.0, 200.0
"""An access with its draw, on the machine of the recordings: in a working set that the CPU's own
cache holds, and in a larger one."""


@dataclass(frozen=True)
class MachineFacts:
    """What is known of the machine apart from the cost profile."""

    operation_ns: Mapping[str, float] = field(default_factory=dict)
    """ns of an operation without scanning, by case."""
    multiply_add_ns: float = MULTIPLY_ADD_NS
    cpus: int | None = None
    cache_pages: int | None = None
    """Pages that a CPU's own cache holds."""


@dataclass(frozen=True)
class Recordings:
    """Everything beside a file of cases."""

    windows: Mapping[str, tuple[Figures, ...]]
    """Of each case, in order of time."""
    worker_ns: Mapping[tuple[str, int], float]
    """ns of an operation in the off windows, by case and worker."""
    summaries: Mapping[str, Mapping[str, Result]]
    machine: MachineFacts
    origin: str = f"off windows of {RESULTS}"
    """Where ``worker_ns`` is from."""

    def of(self, case: OverheadCase) -> Mapping[str, Result]:
        """Results of a case by variant; empty where it was not recorded."""
        if case.name in self.summaries:
            return self.summaries[case.name]
        return results(self.windows.get(case.name, ()))

    def with_live(
        self,
        case: OverheadCase,
        windows: tuple[Figures, ...],
        worker_ns: Sequence[float],
        cpus: int,
    ) -> "Recordings":
        """With what was just recorded of a case on a machine of so many CPUs, in place of files."""
        times = {(case.name, number): ns for number, ns in enumerate(worker_ns)}
        return Recordings(
            windows={**self.windows, case.name: windows},
            worker_ns={**self.worker_ns, **times},
            summaries={name: one for name, one in self.summaries.items() if name != case.name},
            machine=MachineFacts(cpus=cpus),
            origin="off windows of the live run",
        )

    def operation_ns(self, case: OverheadCase, cache_pages: int) -> tuple[list[int], str]:
        """ns of an undisturbed operation of each worker, and where that is known from."""
        known = self.machine.operation_ns.get(case.name)
        alike = len({_kind(worker) for worker in case.workers}) == 1
        if known is not None and alike:
            return [max(1, round(known))] * len(case.workers), COSTS
        keys = [(case.name, number) for number in range(len(case.workers))]
        if all(key in self.worker_ns for key in keys):
            return [max(1, round(self.worker_ns[key])) for key in keys], self.origin
        estimates = [
            worker.multiplications * self.machine.multiply_add_ns
            + (NEAR_NS if worker.reach <= cache_pages else FAR_NS)
            for worker in case.workers
        ]
        return [max(1, round(one)) for one in estimates], "estimate"


def _kind(worker: Worker) -> tuple[Any, ...]:
    """What makes an operation dear or cheap."""
    return worker.multiplications, worker.reach, worker.write_share


def read_recordings(cases: Path, known: Sequence[OverheadCase]) -> Recordings:
    """What lies beside the file ``cases``; UserError for a file that is there but is unsound."""
    windows, worker_ns = _read_results(cases.with_name(RESULTS), known)
    return Recordings(
        windows=windows,
        worker_ns=worker_ns,
        summaries=_read_summary(cases.with_name(SUMMARY)),
        machine=_read_machine(cases.with_name(COSTS)),
    )


class _Csv(Source):
    """A CSV table with a line of column names."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        super().__init__(path)
        text = self.bytes("a table of recordings").decode("utf-8", "replace")
        self.lines = list(csv.DictReader(text.splitlines()))
        found = self.lines[0].keys() if self.lines else ()
        missing = [name for name in columns if name not in found]
        if missing:
            self.fail(f"no column {', '.join(missing)}" if self.lines else "holds no line", 1)

    def number(self, at: int, column: str) -> float | None:
        """The number in a line; None where there is none."""
        text = self.lines[at][column]
        if text in ("", None):
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.fail(f"{column} is '{text}', expected a number", at + 2)
        return value

    def needed(self, at: int, column: str) -> float:
        """The number in a line, which must be there."""
        value = self.number(at, column)
        if value is None:
            self.fail(f"{column} is empty, expected a number", at + 2)
        return value


def _read_results(
    path: Path, known: Sequence[OverheadCase]
) -> tuple[dict[str, tuple[Figures, ...]], dict[tuple[str, int], float]]:
    if not path.exists():
        return {}, {}
    table = _Csv(path, RESULT_COLUMNS)
    cases = {case.name: case for case in known}
    windows: dict[str, list[Figures]] = {}
    off: dict[tuple[str, int], list[float]] = {}
    for at, line in enumerate(table.lines):
        case = cases.get(line["case"])
        if case is None:
            continue
        if line["worker"] == ("all" if len(case.workers) > 1 else "0"):
            windows.setdefault(case.name, []).append(_window(table, at, case))
        if line["variant"] == "off" and line["worker"].isdecimal():
            ns = 1e9 * table.needed(at, "worker_cpu_share") / (table.needed(at, "ops_s") or 1)
            off.setdefault((case.name, int(line["worker"])), []).append(ns)
    mean = {key: sum(values) / len(values) for key, values in off.items()}
    return {name: tuple(found) for name, found in windows.items()}, mean


def _window(table: _Csv, at: int, case: OverheadCase) -> Figures:
    variant = table.lines[at]["variant"]
    scanned = table.needed(at, "pages_scanned_s")
    seconds = (case.window_ns - case.skip_ns) / 1e9
    knobs = next((one.knobs for one in case.variants if one.name == variant), {})
    size = knobs.get("pages_to_scan")
    full = (scanned / size if isinstance(size, int) else 0.0) if scanned else 0.0
    return Figures(
        variant=variant,
        operations_s=table.needed(at, "ops_s"),
        worker_share=table.needed(at, "worker_cpu_share"),
        ksmd_share=table.needed(at, "ksmd_cpu_share"),
        ksmd_wait_share=table.number(at, "ksmd_wait_share"),
        # A full scan ends with a batch that is cut short.
        batches_s=full + table.needed(at, "full_scans") / seconds if full else 0.0,
        pages_scanned_s=scanned,
        breaks_s=table.needed(at, "cow_breaks_s"),
    )


def _read_summary(path: Path) -> dict[str, dict[str, Result]]:
    if not path.exists():
        return {}
    table = _Csv(path, SUMMARY_COLUMNS)
    found: dict[str, dict[str, Result]] = {}
    for at, line in enumerate(table.lines):
        found.setdefault(line["case"], {})[line["variant"]] = Result(
            rel=table.needed(at, "rel_mean"),
            rel_se=table.number(at, "rel_se"),
            windows=int(table.needed(at, "pairs")),
            worker_share=table.number(at, "worker_cpu_share"),
            ksmd_share=table.needed(at, "ksmd_cpu_share"),
            breaks_s=table.needed(at, "cow_breaks_s"),
            pages_scanned_s=table.needed(at, "pages_scanned_s"),
            run_ms=table.number(at, "run_ms_per_batch"),
            wait_ms=table.number(at, "wait_ms_per_batch"),
            sleep_ms=table.number(at, "sleep_ms"),
        )
    return found


def _read_machine(path: Path) -> MachineFacts:
    if not path.exists():
        return MachineFacts()
    fields = Fields.read(path, "the costs of the machine of the recordings")
    machine = _object(fields, "machine")
    times = _object(fields, "ns_per_operation_without_ksm")
    for name in times.values:
        if not _positive(times.values[name]):
            times.fail(f"'{times.where}{name}' is {times.values[name]!r}, expected ns above 0")
    cache = machine.values.get("l2_per_cpu_mib")
    cpus = machine.values.get("cpus")
    step = _object(fields, "primitive").values.get("lcg_iteration_ns_min")
    return MachineFacts(
        operation_ns=dict(times.values),
        multiply_add_ns=float(step) if _positive(step) else MULTIPLY_ADD_NS,
        cpus=int(cpus) if _positive(cpus) else None,
        cache_pages=round(cache * 256) if _positive(cache) else None,
    )


def _object(fields: Fields, key: str) -> Fields:
    return Fields(fields.path, fields.values.get(key, {}), f"{key}.")


def _positive(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e12
