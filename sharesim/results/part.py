"""What the summary needs of one run: it outlives the machine's tables, and can be stored."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sharesim.engine import Engine

Rows = Mapping[str, Mapping[str, Any]]
Edge = Mapping[str, tuple[int, int, int]]


class Measured:
    """Figures of one run's window: enough to compare another run with this one.

    Plain integers throughout, so that stored and read back it gives the very same results.
    """

    def __init__(self, label: str, warmup: int, paced: Mapping[str, bool]) -> None:
        self.label = label
        self.warmup = warmup
        self.paced = dict(paced)
        """Of each VM, in the scenario's order: whether it works at a given pace."""
        self.first: dict[str, dict[str, Any]] = {}
        """The row of each entity at the start of the window ..."""
        self.last: dict[str, dict[str, Any]] = {}
        """... and at its end."""
        self.times: list[int] = []
        """Of the samples in the window."""
        self.edges: list[dict[str, tuple[int, int, int]]] = []
        """(operations, CPU ns, lateness ns) of each VM and the host at each batch's edge."""

    @property
    def counted(self) -> list[str]:
        """The guests whose operations the host's throughput counts: those in a closed loop, for a
        paced one cannot lose any; all of them when none is in a closed loop."""
        closed = [name for name, paced in self.paced.items() if not paced]
        return [name for name in closed if self.gain(name, "operations")] or list(self.paced)

    @property
    def window(self) -> int:
        """ns of the window."""
        return self.times[-1] - self.times[0] if self.times else 0

    def gain(self, entity: str, metric: str) -> int:
        """How much a cumulative metric grew in the window."""
        if not self.first:
            return 0
        return int(self.last[entity].get(metric, 0)) - int(self.first[entity].get(metric, 0))

    def batches(self, entity: str) -> np.ndarray:
        """float[n, 3]: operations, CPU ns and lateness ns of each batch of the window.

        The host's operations and lateness are the sums over the guests that are counted.
        """
        names = self.counted if entity == "host" else [entity]
        series = np.array([np.sum([edge[name] for name in names], axis=0) for edge in self.edges])
        if entity == "host":
            series[:, 1] = [edge["host"][1] for edge in self.edges]
        return np.diff(series, axis=0).astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain data; the inverse of :meth:`from_json`."""
        return {
            "label": self.label,
            "warmup": self.warmup,
            "paced": self.paced,
            "first": self.first,
            "last": self.last,
            "times": self.times,
            "edges": self.edges,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Measured":
        """From what :meth:`to_json` gave."""
        measured = Measured(data["label"], data["warmup"], data["paced"])
        measured.first, measured.last = data["first"], data["last"]
        measured.times = data["times"]
        measured.edges = [
            {name: (values[0], values[1], values[2]) for name, values in edge.items()}
            for edge in data["edges"]
        ]
        return measured


class Part(Measured):
    """The same while its run goes on, and what only a run's own summary tells."""

    def __init__(self, label: str, engine: "Engine") -> None:
        phases = engine.work.phases
        rows = engine.memory.vms["vcpu_first"].tolist()
        paced = {
            vm.name: any(phases[row]["period"] for row in engine.vcpus[at].phases)
            for vm, at in zip(engine.scenario.vms, rows, strict=True)
        }
        super().__init__(label, engine.scenario.warmup, paced)
        self.engine: Engine | None = engine
        self.saved: list[tuple[int, int, int]] = []
        """(time, saved, opportunity) at each sample from the start."""
        closed = [name for name, at_pace in paced.items() if not at_pace]
        self._working = closed or list(paced)
        self.work: list[int] = []
        """Operations of the guests in a closed loop (of all if none is), at the same times."""
        self.latency = engine.memory.latency.copy()
        """Of the window, once it is finished."""
        self.unpaid_ns = 0
        self.scanner: dict[str, Any] | None = None
        self.activity = engine.activity

    def take(self, time: int, rows: Rows) -> None:
        """A sample."""
        host = rows["host"]
        self.saved.append((time, host["saved_pages"], host.get("opportunity_pages", 0)))
        self.work.append(sum(int(rows[name]["operations"] or 0) for name in self._working))
        if time < self.warmup:
            return
        assert self.engine is not None
        if not self.first:
            self.first = {name: dict(row) for name, row in rows.items()}
            self.latency = self.engine.memory.latency.copy()
        self.last = {name: dict(row) for name, row in rows.items()}
        self.times.append(time)

    def edge(self, measures: dict[str, tuple[int, int, int]]) -> None:
        """Measures at the edge of a batch."""
        self.edges.append(measures)

    def finish(self) -> None:
        """Keep what the summary needs and let the machine's tables go."""
        engine = self.engine
        assert engine is not None
        self.latency = engine.memory.latency - self.latency
        vcpus, vms = engine.memory.vcpus, engine.memory.vms
        self.unpaid_ns = int(vcpus["debt"].sum() + vcpus["cold"].sum() + vms["debt_reclaim"].sum())
        if engine.scanner is not None and self.times:
            self.scanner = _scanner(self, engine)
        self.engine = None


def _scanner(main: Measured, engine: "Engine") -> dict[str, Any]:
    scanner = engine.scanner
    assert scanner is not None
    name = engine.policy.name
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
        **engine.policy.counters(),
    }
