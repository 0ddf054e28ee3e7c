"""The headline figures of a run, and of the difference to its pairs without sharing.

Differences are ratios of sums over one window after warm-up. Each has an interval from the means of
twenty batches of the window, paired; a difference inside its interval is not distinguishable from
none.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.machine.tables import CAUSES, LATENCY_BUCKETS, LATENCY_KINDS
from sharesim.version import MODEL_VERSION

if TYPE_CHECKING:
    from sharesim.engine import Engine
    from sharesim.spec.scenario import Scenario

BATCHES = 20
T_95 = 2.093
"""Student's t for 19 degrees of freedom, two-sided 95 %."""

Rows = Mapping[str, Mapping[str, Any]]


class Part:
    """What the summary needs of one run: rows at both ends of the window, and series between."""

    def __init__(self, label: str, engine: "Engine") -> None:
        self.label = label
        self.engine = engine
        self.first: dict[str, dict[str, Any]] = {}
        self.last: dict[str, dict[str, Any]] = {}
        self.times: list[int] = []
        self.series: dict[str, list[tuple[int, int]]] = {}
        """For each VM and ``host``: (operations, CPU ns) at each sample."""
        self.saved: list[tuple[int, int, int]] = []
        """(time, saved, opportunity) at each sample."""
        self._latency: np.ndarray | None = None
        phases = engine.work.phases
        self.paced = {
            vm.name: any(phases[row]["period"] for row in engine.vcpus[at].phases)
            for vm, at in self._first_vcpus()
        }

    def _first_vcpus(self) -> list[tuple[Any, int]]:
        vms = self.engine.scenario.vms
        rows = self.engine.memory.vms["vcpu_first"].tolist()
        return list(zip(vms, rows, strict=True))

    def take(self, time: int, rows: Rows) -> None:
        """A sample at or after the warm-up."""
        if not self.first:
            self.first = {name: dict(row) for name, row in rows.items()}
            self._latency = self.engine.memory.latency.copy()
        self.last = {name: dict(row) for name, row in rows.items()}
        self.times.append(time)
        host = rows["host"]
        operations = 0
        for name in self.paced:
            row = rows[name]
            self.series.setdefault(name, []).append((row["operations"], row["cpu_ns"]))
            operations += row["operations"]
        spent = host["cpu_vcpu_ns"] + host["cpu_scanner_ns"] + host["cpu_switch_ns"]
        self.series.setdefault("host", []).append((operations, spent))
        self.saved.append((time, host["saved_pages"], host.get("opportunity_pages", 0)))

    @property
    def window(self) -> int:
        """ns of the window."""
        return self.times[-1] - self.times[0] if self.times else 0

    def gain(self, entity: str, metric: str) -> int:
        """How much a cumulative metric grew in the window."""
        if not self.first:
            return 0
        return int(self.last[entity].get(metric, 0)) - int(self.first[entity].get(metric, 0))

    def latency(self, vm: int) -> dict[str, dict[str, int]]:
        """Count and percentiles, in ns, of each kind of fault in the window."""
        if self._latency is None:
            return {}
        counts = self.engine.memory.latency[vm] - self._latency[vm]
        return {
            kind: percentiles(counts[at])
            for at, kind in enumerate(LATENCY_KINDS)
            if counts[at].sum()
        }

    def batches(self, entity: str) -> np.ndarray:
        """float[BATCHES, 2]: operations and CPU ns of each batch of the window."""
        series = np.array(self.series[entity], np.float64)
        edges = np.linspace(self.times[0], self.times[-1], BATCHES + 1)
        at = np.stack([np.interp(edges, self.times, series[:, c]) for c in (0, 1)], axis=1)
        return np.diff(at, axis=0)


def bucket_bounds() -> np.ndarray:
    """int64[LATENCY_BUCKETS + 1]: lower bounds in ns, eight buckets an octave above 16 ns."""
    bounds = list(range(16))
    for bucket in range(16, LATENCY_BUCKETS + 1):
        octave, step = divmod(bucket - 16, 8)
        bounds.append((8 + step) << (octave + 1))
    return np.array(bounds, np.int64)


def percentiles(counts: np.ndarray) -> dict[str, int]:
    """Count, p50, p99, p99.9 of a histogram, as the middle of the bucket they fall in."""
    bounds = bucket_bounds()
    reached = np.cumsum(counts)
    total = int(reached[-1])
    result = {"count": total}
    for name, share in (("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999)):
        at = int(np.searchsorted(reached, share * total))
        result[name] = int(bounds[at] + bounds[at + 1]) // 2
    return result


def paired_loss(with_it: np.ndarray, without: np.ndarray) -> dict[str, Any]:
    """1 - X/Y of paired batches: value, half of its 95 % interval, and whether it stands out.

    The interval is that of a ratio estimate, from the batches' deviations d = x - r y.
    """
    if without.sum() <= 0:
        return {"value": None, "half_width": None, "distinguishable": False}
    ratio = with_it.sum() / without.sum()
    deviation = with_it - ratio * without
    count = len(deviation)
    error = np.sqrt((deviation**2).sum() / (count * (count - 1))) / without.mean()
    half = T_95 * error
    loss = 1.0 - ratio
    return {
        "value": float(loss),
        "half_width": float(half),
        "distinguishable": bool(abs(loss) > half and abs(loss) > 1e-12),
    }


def summarise(
    scenario: "Scenario", main: Part, pairs: Mapping[str, Part], *, partial: bool
) -> dict[str, Any]:
    """All headline figures as plain data."""
    end = main.times[-1] if main.times else 0
    summary: dict[str, Any] = {
        "scenario": scenario.title or "scenario",
        "model_version": MODEL_VERSION,
        "key": scenario.key(MODEL_VERSION),
        "seed": scenario.seed,
        "partial": partial,
        "mode": scenario.mode,
        "sync_quantum_ns": scenario.sync_quantum,
        "duration_ns": scenario.duration,
        "simulated_ns": end,
        "window_ns": [scenario.warmup, end],
        "paging": scenario.paging,
        "sharing": scenario.sharing.design if scenario.sharing else "none",
    }
    if not main.times:
        return summary
    summary["memory"] = _memory(main)
    summary["counters"] = _counters(main)
    summary["scanner"] = _scanner(main)
    summary["guests"] = {
        vm.name: _guest(main, pairs, number, vm.name) for number, vm in enumerate(scenario.vms)
    }
    summary["host"] = _host(main, pairs)
    summary["costs"] = _costs(scenario)
    summary["not_modelled"] = _not_modelled(scenario)
    return summary


def _memory(main: Part) -> dict[str, Any]:
    host = main.last["host"]
    names = ("saved_pages", "saved_zero_pages", "net_saved_pages", "shared_frames_pages",
             "sharers_pages", "opportunity_pages", "opportunity_zero_pages",
             "opportunity_intra_pages", "opportunity_inter_pages", "free_pages",
             "unpopulated_pages", "ballooned_pages", "memory_pages")  # fmt: skip
    memory = {name: host.get(name) for name in names}
    saved = np.array(main.saved, np.int64)
    best = int(saved[:, 2].sum())
    memory["peak_saved_pages"] = int(saved[:, 1].max())
    memory["realised"] = float(saved[:, 1].sum() / best) if best else None
    final = int(saved[-1, 1])
    reached = np.flatnonzero(saved[:, 1] >= 0.9 * final)
    memory["time_to_90_percent_ns"] = int(saved[reached[0], 0]) if final > 0 else None
    return memory


def _counters(main: Part) -> dict[str, int]:
    host = main.last["host"]
    kept = ("merges", "zero_merges", "merge_aborted", "false_matches", "ineligible", "cow_breaks",
            "zero_breaks", "reuses", "populates", "refills", "unprotects", "splits",
            "corrupted_pages", "wrong_merges", "near_races", "flushes", "flush_remote_ns",
            "lock_waits", "lock_wait_ns", "balloon_popped")  # fmt: skip
    return {name: int(host[name]) for name in kept}


def _scanner(main: Part) -> dict[str, Any] | None:
    scanner = main.engine.scanner
    if scanner is None:
        return None
    name = main.engine.policy.name
    row, seconds = main.last[name], main.window / 1e9
    spent = main.gain("host", "cpu_scanner_ns")
    scanned = main.gain(name, "pages_scanned")
    return {
        "policy": name,
        "placement": scanner.spec.placement,
        "requested_rate": main.gain(name, "requested_pages") / seconds if seconds else None,
        "achieved_rate": scanned / seconds if seconds else None,
        "cpu_ns": int(main.last["host"]["cpu_scanner_ns"]),
        "cpu_share": spent / main.window if main.window else None,
        "ns_per_page": spent / scanned if scanned else None,
        "passes": int(row["passes"]),
        "batches": int(row["batches"]),
        "overruns": int(row["overruns"]),
        "pages_scanned": int(row["pages_scanned"]),
        "pages_hashed": int(row["pages_hashed"]),
        **main.engine.policy.counters(),
    }


def _guest(main: Part, pairs: Mapping[str, Part], number: int, name: str) -> dict[str, Any]:
    operations, seconds = main.gain(name, "operations"), main.window / 1e9
    late = main.gain(name, "lateness_ns")
    paced = bool(main.paced[name])
    return {
        "paced": paced,
        "operations": operations,
        "throughput_per_s": operations / seconds if seconds else None,
        "lateness_ns_per_operation": late / operations if paced and operations else None,
        "cpu_ns_per_operation": main.gain(name, "cpu_ns") / operations if operations else None,
        "ledger_ns": {cause: main.gain(name, f"{cause}_ns") for cause in CAUSES},
        "latency": main.latency(number),
        "cow_breaks": main.gain(name, "cow_breaks"),
        "faults": main.gain(name, "faults"),
        "overhead": _overhead(main, pairs, name, paced),
    }


def _host(main: Part, pairs: Mapping[str, Part]) -> dict[str, Any]:
    names = list(main.paced)
    operations = sum(main.gain(name, "operations") for name in names)
    spent = [main.gain("host", f"cpu_{kind}_ns") for kind in ("vcpu", "scanner", "switch")]
    paced = all(main.paced[name] or not main.gain(name, "operations") for name in names)
    return {
        "operations": operations,
        "cpu_ns": dict(zip(("vcpu", "scanner", "switch"), spent, strict=True))
        | {"idle": main.gain("host", "cpu_idle_ns")},
        "cpu_ns_per_operation": sum(spent) / operations if operations else None,
        "ledger_ns": {c: sum(main.gain(name, f"{c}_ns") for name in names) for c in CAUSES},
        "overhead": _overhead(main, pairs, "host", paced),
    }


def _overhead(main: Part, pairs: Mapping[str, Part], name: str, paced: bool) -> dict[str, Any]:
    """Losses of throughput (closed loop), lateness (paced) and CPU time against the pairs."""
    if "P1" not in pairs or not main.window:
        return {}
    p1, p0 = pairs["P1"], pairs.get("P0")
    result: dict[str, Any] = {"cpu_per_operation": _cpu_excess(main, p1, name)}
    if paced:
        result["lateness_ns"] = _lateness(main, p1, name)
        return result
    result["sharing"] = paired_loss(main.batches(name)[:, 0], p1.batches(name)[:, 0])
    if p0 is not None:
        result["paging"] = paired_loss(p1.batches(name)[:, 0], p0.batches(name)[:, 0])
        result["total"] = paired_loss(main.batches(name)[:, 0], p0.batches(name)[:, 0])
    result["attributed"] = _attributed(main, p1, name, result["sharing"]["value"])
    return result


def _cpu_excess(main: Part, p1: Part, name: str) -> dict[str, Any]:
    """Extra CPU time per operation, as a share of that without sharing."""
    ours, theirs = main.batches(name), p1.batches(name)
    if ours[:, 0].sum() <= 0 or theirs[:, 0].sum() <= 0 or theirs[:, 1].sum() <= 0:
        return {"value": None, "half_width": None, "distinguishable": False}
    scale = theirs[:, 0].sum() / ours[:, 0].sum()
    loss = paired_loss(ours[:, 1] * scale, theirs[:, 1])
    return {**loss, "value": -loss["value"]}


def _lateness(main: Part, p1: Part, name: str) -> dict[str, Any]:
    names = list(main.paced) if name == "host" else [name]
    values = []
    for part in (main, p1):
        operations = sum(part.gain(vm, "operations") for vm in names)
        late = sum(part.gain(vm, "lateness_ns") for vm in names)
        values.append(late / operations if operations else 0.0)
    return {"with_sharing": values[0], "without": values[1], "difference": values[0] - values[1]}


def _attributed(main: Part, p1: Part, name: str, measured: float | None) -> dict[str, Any]:
    """The ledger's view of the loss: how much more of each cause, over the work without sharing.

    Work and the other causes fill the window, so their differences sum to the loss of work; what
    is left of the measured loss (operations of unequal cost, contention) is the residual.
    """
    names = list(main.paced) if name == "host" else [name]

    def spent(part: Part, cause: str) -> int:
        return sum(part.gain(vm, f"{cause}_ns") for vm in names)

    work = spent(p1, "work")
    if not work or measured is None:
        return {}
    shares = {
        cause: (spent(main, cause) - spent(p1, cause)) / work for cause in CAUSES if cause != "work"
    }
    total = sum(shares.values())
    return {"causes": shares, "sum": total, "residual": measured - total}


def _costs(scenario: "Scenario") -> dict[str, Any]:
    costs = scenario.host.costs
    marks = costs.marks or {}
    return {
        "profile": costs.profile,
        "primitives": {
            key: {"ns": ns, "source": marks.get(key, "")}
            for key, ns in sorted((costs.table or {}).items())
        },
    }


def _not_modelled(scenario: "Scenario") -> list[str]:
    missing = ["faster reads when merged frames fit the caches better"]
    if not (scenario.host.costs.table or {}).get("interference_page"):
        missing.insert(0, "interference: cache lines evicted by the scanner and by copies")
    return missing
