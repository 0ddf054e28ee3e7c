"""The headline figures of a run, and of the difference to its pairs without sharing.

Differences are ratios of sums over one window after warm-up. Each has an interval from the means of
twenty batches of the window, paired; a difference inside its interval is not distinguishable from
none.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.machine.tables import CAUSES, LATENCY_BUCKETS, LATENCY_KINDS
from sharesim.results.part import Measured, Part
from sharesim.version import MODEL_VERSION

if TYPE_CHECKING:
    from sharesim.spec.scenario import Scenario

BATCHES = 20
LEAST_BATCHES = 8
"""With fewer no interval is given, and nothing counts as distinguishable."""
LEAST_SAMPLES = 50
"""Ten batches of five; with fewer no warm-up is looked for."""
T_95 = {7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 11: 2.201, 12: 2.179, 13: 2.160, 14: 2.145,
        15: 2.131, 16: 2.120, 17: 2.110, 18: 2.101, 19: 2.093}  # fmt: skip
"""Student's t, two-sided 95 %, by degrees of freedom."""


def batch_edges(scenario: "Scenario") -> list[int]:
    """Times between which the window is cut into batches: whole sync quanta, whoever samples."""
    quantum = scenario.sync_quantum or 1
    start, end = scenario.warmup, scenario.duration
    edges = {start + (end - start) * number // BATCHES // quantum * quantum
             for number in range(1, BATCHES)}  # fmt: skip
    return sorted({start, *edges, end})


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


def _latencies(counts: np.ndarray) -> dict[str, dict[str, int]]:
    """Count and percentiles, in ns, of each kind of a VM's faults in the window."""
    return {
        kind: percentiles(counts[at]) for at, kind in enumerate(LATENCY_KINDS) if counts[at].sum()
    }


def paired_loss(with_it: np.ndarray, without: np.ndarray) -> dict[str, Any]:
    """1 - X/Y of paired batches: value, half of its 95 % interval, and whether it stands out.

    The interval is that of a ratio estimate, from the batches' deviations d = x - r y; None when
    there are too few batches for one.
    """
    if without.sum() <= 0:
        return {"value": None, "half_width": None, "distinguishable": False}
    ratio = with_it.sum() / without.sum()
    half = _half_width(with_it - ratio * without)
    loss = 1.0 - ratio
    return _with_interval(loss, None if half is None else half / without.mean())


def paired_difference(with_it: np.ndarray, without: np.ndarray) -> dict[str, Any]:
    """Difference of the means per operation of paired batches, each float[n, 2]: (sum, operations).

    As :func:`paired_loss`, in the unit of the sums.
    """
    (x, n), (y, m) = with_it.T, without.T
    if n.sum() <= 0 or m.sum() <= 0:
        return {"value": None, "half_width": None, "distinguishable": False}
    value = x.sum() / n.sum() - y.sum() / m.sum()
    deviation = (x - x.sum() / n.sum() * n) / n.mean() - (y - y.sum() / m.sum() * m) / m.mean()
    return _with_interval(value, _half_width(deviation))


def paired_excess(with_it: np.ndarray, without: np.ndarray) -> dict[str, Any]:
    """How much more per operation, as a share: paired batches, each float[n, 2]: (sum, operations).

    As :func:`paired_difference`, over the mean per operation without it; both means vary.
    """
    (x, n), (y, m) = with_it.T, without.T
    if n.sum() <= 0 or m.sum() <= 0 or y.sum() <= 0:
        return {"value": None, "half_width": None, "distinguishable": False}
    ours, theirs = x.sum() / n.sum(), y.sum() / m.sum()
    ratio = ours / theirs
    deviation = (x - ours * n) / n.mean() - ratio * (y - theirs * m) / m.mean()
    return _with_interval(ratio - 1.0, _half_width(deviation / theirs))


def _half_width(deviation: np.ndarray) -> float | None:
    """Half of the 95 % interval of a mean from deviations that sum to zero; None for too few."""
    count = len(deviation)
    if count < LEAST_BATCHES:
        return None
    return float(np.sqrt((deviation**2).sum() / (count * (count - 1)))) * T_95[count - 1]


def _with_interval(value: float, half: float | None) -> dict[str, Any]:
    stands_out = half is not None and abs(value) > half and abs(value) > 1e-12
    return {
        "value": float(value),
        "half_width": None if half is None else float(half),
        "distinguishable": bool(stands_out),
    }


def summarise(
    scenario: "Scenario",
    main: Part,
    pairs: Mapping[str, Measured],
    *,
    partial: bool,
    failed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """All headline figures as plain data. ``failed``: pairs that could not be run, and why."""
    end = main.saved[-1][0] if main.saved else 0
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
        "paging": scenario.paging.registered_name(),
        "paging_parameters": {
            name: value
            for name, value in scenario.paging.model_dump(exclude_defaults=True).items()
            if name != "name"
        },
        "sharing": scenario.sharing.design if scenario.sharing else "none",
    }
    if not main.times:
        return summary
    if failed:
        summary["pairs_failed"] = dict(failed)
    summary["warmup"] = _warmup(main)
    summary["memory"] = _memory(main)
    summary["counters"] = _counters(main)
    summary["scanner"] = main.scanner
    summary["guests"] = {
        vm.name: _guest(main, pairs, number, vm.name) for number, vm in enumerate(scenario.vms)
    }
    summary["host"] = _host(main, pairs)
    summary["costs"] = _costs(scenario)
    summary["not_modelled"] = _not_modelled(scenario)
    return summary


def _warmup(main: Part) -> dict[str, Any]:
    """How long throughput took to settle, by MSER-5 on what was done between samples."""
    from sharesim.statistics import mser5

    found: dict[str, Any] = {"given_ns": main.warmup, "detected_ns": None, "settled": None}
    times = np.array([time for time, _, _ in main.saved], np.int64)
    if len(times) <= LEAST_SAMPLES or main.work[-1] == 0:
        return found
    truncation = mser5(np.diff(main.work) / np.diff(times))
    return found | {
        "detected_ns": int(times[truncation.index]),
        "settled": truncation.settled,
    }


def _memory(main: Part) -> dict[str, Any]:
    host = main.last["host"]
    names = ("saved_pages", "saved_zero_pages", "net_saved_pages", "policy_table_pages",
             "shadow_pool_pages", "rmap_pages", "domain_state_pages", "shared_frames_pages",
             "sharers_pages", "opportunity_pages", "opportunity_zero_pages",
             "opportunity_intra_pages", "opportunity_inter_pages", "free_pages",
             "unpopulated_pages", "ballooned_pages", "memory_pages")  # fmt: skip
    memory = {name: host.get(name) for name in names}
    saved = np.array(main.saved, np.int64)
    window = saved[saved[:, 0] >= main.warmup]
    best = int(window[:, 2].sum())
    memory["peak_saved_pages"] = int(saved[:, 1].max())
    memory["realised"] = float(window[:, 1].sum() / best) if best else None
    final = int(saved[-1, 1])
    reached = np.flatnonzero(saved[:, 1] >= 0.9 * final)
    memory["time_to_90_percent_ns"] = int(saved[reached[0], 0]) if final > 0 else None
    return memory


def _counters(main: Part) -> dict[str, int]:
    host = main.last["host"]
    kept = ("merges", "zero_merges", "merge_aborted", "false_matches", "ineligible", "cow_breaks",
            "zero_breaks", "reuses", "populates", "refills", "unprotects", "splits",
            "corrupted_pages", "wrong_merges", "near_races", "flushes", "flush_remote_ns",
            "lock_waits", "lock_wait_ns", "balloon_popped", "hidden_faults", "shadow_tables_pages",
            "shadow_evictions", "guest_faults", "pt_updates", "pt_hypercalls", "pt_switches",
            "pt_pins", "pt_unpins", "updates_refused", "offers", "offer_batches",
            "offers_refused", "offers_expired", "offers_dropped", "offers_shared", "upcalls",
            "breaks_without_copy")  # fmt: skip
    return {name: int(host[name]) for name in kept} | {"unpaid_ns": main.unpaid_ns}


def _guest(main: Part, pairs: Mapping[str, Measured], number: int, name: str) -> dict[str, Any]:
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
        "latency": _latencies(main.latency[number]),
        "cow_breaks": main.gain(name, "cow_breaks"),
        "faults": main.gain(name, "faults"),
        "page_table_activity": main.activity.get(name),
        "overhead": _overhead(main, pairs, name, paced),
    }


def _host(main: Part, pairs: Mapping[str, Measured]) -> dict[str, Any]:
    names, counted = list(main.paced), main.counted
    operations = sum(main.gain(name, "operations") for name in counted)
    spent = [main.gain("host", f"cpu_{kind}_ns") for kind in ("vcpu", "scanner", "switch")]
    paced = all(main.paced[name] for name in counted)
    return {
        "guests_counted": counted,
        "operations": operations,
        "cpu_ns": dict(zip(("vcpu", "scanner", "switch"), spent, strict=True))
        | {"idle": main.gain("host", "cpu_idle_ns")},
        "cpu_ns_per_operation": sum(spent) / operations if operations else None,
        "ledger_ns": {c: sum(main.gain(name, f"{c}_ns") for name in names) for c in CAUSES},
        "overhead": _overhead(main, pairs, "host", paced),
    }


def _overhead(
    main: Measured, pairs: Mapping[str, Measured], name: str, paced: bool
) -> dict[str, Any]:
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
        result["attributed_paging"] = _attributed(p1, p0, name, result["paging"]["value"])
    result["attributed"] = _attributed(main, p1, name, result["sharing"]["value"])
    return result


def _cpu_excess(main: Measured, p1: Measured, name: str) -> dict[str, Any]:
    """Extra CPU time per operation, as a share of that without sharing."""
    return paired_excess(main.batches(name)[:, [1, 0]], p1.batches(name)[:, [1, 0]])


def _lateness(main: Measured, p1: Measured, name: str) -> dict[str, Any]:
    """Mean lateness per operation with and without sharing, and their paired difference."""
    ours, theirs = (part.batches(name)[:, [2, 0]] for part in (main, p1))
    means = [
        float(batches[:, 0].sum() / batches[:, 1].sum()) if batches[:, 1].sum() else 0.0
        for batches in (ours, theirs)
    ]
    difference = paired_difference(ours, theirs)
    return {
        "with_sharing": means[0],
        "without": means[1],
        "difference": means[0] - means[1],
        "half_width": difference["half_width"],
        "distinguishable": difference["distinguishable"],
    }


def _attributed(
    main: Measured, base: Measured, name: str, measured: float | None
) -> dict[str, Any]:
    """The ledger's view of a loss: how much more of each cause, over the work of the base run.

    Work and the other causes fill the window, so their differences sum to the loss of work; what
    is left of the measured loss (operations of unequal cost, contention) is the residual.
    """
    names = main.counted if name == "host" else [name]

    def spent(part: Measured, cause: str) -> int:
        return sum(part.gain(vm, f"{cause}_ns") for vm in names)

    work = spent(base, "work")
    if not work or measured is None:
        return {}
    shares = {
        cause: (spent(main, cause) - spent(base, cause)) / work
        for cause in CAUSES
        if cause != "work"
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
