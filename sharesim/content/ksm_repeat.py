"""What the real ksmd did with a case: one table of KSM's counters for each repeat.

``CASE.rN.csv.gz`` has one line per sample: ``t_ms`` (when the reading began), the counters of
``/sys/kernel/mm/ksm`` under their names, ``ksmd_cpu_ns`` (CPU time of ksmd) and ``cow_ksm``
(copy-on-write breaks of KSM pages, from ``/proc/vmstat``). ``pages_scanned``, ``pages_skipped``,
``ksmd_cpu_ns`` and ``cow_ksm`` count from the start of the case. ``CASE.rN.meta.json`` says how
undisturbed the repeat was.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sharesim.content.ksm_tables import Fields, Table

COUNTERS = (
    "pages_shared",
    "pages_sharing",
    "pages_unshared",
    "pages_volatile",
    "pages_scanned",
    "pages_skipped",
    "full_scans",
    "ksm_zero_pages",
    "stable_node_chains",
    "stable_node_dups",
    "general_profit",
    "pages_to_scan",
    "ksmd_cpu_ns",
    "cow_ksm",
)
"""The columns that a repeat must have, beside ``t_ms``."""

_REPEAT = "a repeat's samples (t_ms and KSM's counters)"
_META = "a repeat's circumstances (a JSON object)"


@dataclass(frozen=True, eq=False)
class Repeat:
    """One run of a case on a real kernel.

    ``name`` is such as ``"r1"``. ``samples`` has an array per column: float64 for times in ms,
    int64 for counters. ``meta`` is the file of circumstances as it is, empty where there is none.
    """

    name: str
    samples: dict[str, np.ndarray]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def times_ns(self) -> np.ndarray:
        """When each sample was taken, int64 nanoseconds from the start of the case."""
        return np.round(self.samples["t_ms"] * 1e6).astype(np.int64)

    @property
    def cpu_before_ns(self) -> int:
        """CPU time that ksmd had used, since the machine started, before the case began."""
        return int(self.meta.get("ksmd_cpu_ns_at_start", 0))


def read_repeats(case: Path) -> tuple[Repeat, ...]:
    """The repeats that lie beside the case file ``CASE.json``; `UserError` if one is damaged."""
    pattern = re.compile(re.escape(case.stem) + r"\.r([0-9]+)\.csv\.gz")
    found = [(match, path) for path in case.parent.iterdir()
             if (match := pattern.fullmatch(path.name))]  # fmt: skip
    numbered = sorted((int(match[1]), path) for match, path in found)
    return tuple(read_repeat(path, f"r{number}") for number, path in numbered)


def read_repeat(path: Path, name: str) -> Repeat:
    """The samples at ``path`` (``....csv.gz``) with the ``....meta.json`` beside them."""
    table = Table(path, _REPEAT)
    table.need(("t_ms", *COUNTERS))
    table.times()
    if not table.rows:
        table.fail(f"no samples, expected {_REPEAT}")
    samples = {
        column: table.decimal(column) if column.endswith("_ms") else table.whole(column)
        for column in table.columns
    }
    meta = path.with_name(path.name.removesuffix(".csv.gz") + ".meta.json")
    return Repeat(name, samples, Fields.read(meta, _META).values if meta.exists() else {})
