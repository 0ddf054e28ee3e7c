"""What a run's summary comes to in figures: the columns of a sweep's table."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sharesim.errors import UserError, nearest

Summary = Mapping[str, Any]
Better = Literal["high", "low", ""]

PAGES_PER_MIB = 256
SECTIONS = ("memory", "counters", "scanner", "host")
"""Of a summary: all their figures are columns, under ``section.name``."""


@dataclass(frozen=True)
class Metric:
    """One figure of a run: what it is called, its unit, and which way is better."""

    name: str
    label: str
    """For an axis, without the unit."""
    unit: str
    of: Callable[[Summary], float | None]
    """The figure of a summary; None where that has none."""
    better: Better = ""
    percent: bool = False
    """A share, which is shown in percent."""


def at_path(data: Any, path: str) -> float | None:
    """The number at a dotted path of nested data; None where there is none."""
    for name in path.split("."):
        if not isinstance(data, Mapping) or name not in data:
            return None
        data = data[name]
    if isinstance(data, bool):
        return float(data)
    return float(data) if isinstance(data, int | float) else None


def _at(path: str, scale: float = 1.0) -> Callable[[Summary], float | None]:
    def find(summary: Summary) -> float | None:
        value = at_path(summary, path)
        return None if value is None else value * scale

    return find


def _loss(kind: str) -> Callable[[Summary], float | None]:
    """A loss against a pair; a run that shares nothing is its own pair, and loses nothing."""

    def find(summary: Summary) -> float | None:
        if summary.get("sharing") == "none":
            return 0.0
        return at_path(summary, f"host.overhead.{kind}.value")

    return find


def _throughput(summary: Summary) -> float | None:
    operations = at_path(summary, "host.operations")
    begin, end = summary.get("window_ns", (0, 0))
    return None if operations is None or end <= begin else operations / ((end - begin) / 1e9)


_MIB = 1.0 / PAGES_PER_MIB

METRICS: dict[str, Metric] = {
    one.name: one
    for one in (
        Metric("saved_mib", "Memory saved", "MiB", _at("memory.saved_pages", _MIB), "high"),
        Metric("net_saved_mib", "Memory saved, less the scanner's own", "MiB",
               _at("memory.net_saved_pages", _MIB), "high"),
        Metric("peak_saved_mib", "Most memory saved", "MiB",
               _at("memory.peak_saved_pages", _MIB), "high"),
        Metric("time_to_90_s", "Time to 90 % of the final saving", "s",
               _at("memory.time_to_90_percent_ns", 1e-9), "low"),
        Metric("realised", "Opportunity realised", "", _at("memory.realised"), "high", True),
        Metric("overhead", "Throughput lost to sharing", "", _loss("sharing"), "low", True),
        Metric("overhead_paging", "Throughput lost to paging", "",
               _at("host.overhead.paging.value"), "low", True),
        Metric("overhead_total", "Throughput lost to paging and sharing", "",
               _at("host.overhead.total.value"), "low", True),
        Metric("cpu_excess", "CPU per operation, more than without sharing", "",
               _loss("cpu_per_operation"), "low", True),
        Metric("throughput", "Throughput", "operations/s", _throughput, "high"),
        Metric("scanner_cpu", "Scanner's share of a CPU", "", _at("scanner.cpu_share"), "low",
               True),
        Metric("scan_rate_achieved", "Pages scanned", "pages/s", _at("scanner.achieved_rate")),
        Metric("merges", "Merges", "", _at("counters.merges")),
        Metric("cow_breaks", "COW breaks", "", _at("counters.cow_breaks"), "low"),
        Metric("corrupted_pages", "Corrupted pages", "", _at("counters.corrupted_pages"), "low"),
        Metric("warmup_given_s", "Warm-up left out", "s", _at("warmup.given_ns", 1e-9)),
        Metric("warmup_detected_s", "Warm-up detected", "s", _at("warmup.detected_ns", 1e-9)),
    )
}  # fmt: skip
"""The headline figures, in the order of the table's columns."""

ALIASES = {"saved": "saved_mib", "net_saved": "net_saved_mib", "peak_saved": "peak_saved_mib"}


def metric(name: str) -> Metric:
    """The metric of a name, an alias, or a dotted path into the summary.

    Raises UserError, with the nearest name, for a word that is neither.
    """
    name = ALIASES.get(name, name)
    if name in METRICS:
        return METRICS[name]
    if "." not in name:
        hint = nearest(name, [*METRICS, *ALIASES])
        raise UserError(
            f"no metric '{name}'{hint} (any figure of a summary can be given by its path, such as"
            " counters.cow_breaks or guests.busy1.throughput_per_s)"
        )
    return Metric(name, *_words(name), _at(name))


def _words(path: str) -> tuple[str, str]:
    """Label and unit of a figure that is known by its path only."""
    units = (("_pages", "pages"), ("_ns", "ns"), ("_per_s", "per second"))
    for part in reversed(path.split(".")):  # ledger_ns.work ends in a cause
        for ending, unit in units:
            if part.endswith(ending):
                return path.replace(part, part.removesuffix(ending)), unit
    return path, ""


def row_of(summary: Summary) -> dict[str, float]:
    """All metrics of one run by column name; NaN where a headline figure does not apply."""
    row = {name: _number(one.of(summary)) for name, one in METRICS.items()}
    for section in SECTIONS:
        row |= _flat(summary.get(section), section)
    return row


def _flat(data: Any, path: str) -> dict[str, float]:
    if isinstance(data, Mapping):
        found: dict[str, float] = {}
        for name, value in data.items():
            found |= _flat(value, f"{path}.{name}")
        return found
    if isinstance(data, int | float):
        return {path: float(data)}
    return {}


def _number(value: float | None) -> float:
    return math.nan if value is None else value
