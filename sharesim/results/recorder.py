"""Samples of a run: what the timeline has a row for, at each sample time and entity.

A recorder is no actor: it is called between events, after all of an instant, and reads. Rows are
written to disk as they come, so that memory does not grow with the length of a run.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sharesim.content.classes import PageClass
from sharesim.machine import tables as t
from sharesim.machine.tables import CAUSES, EVENT_KINDS
from sharesim.results.opportunity import O_CLASS, O_INTER, O_INTRA, O_TOTAL, O_ZERO, opportunity

if TYPE_CHECKING:
    from sharesim.engine import Engine

CLASS_COLUMNS = tuple(f"opportunity_{kind.name.lower()}_pages" for kind in PageClass)
HOST_COLUMNS = (
    "memory_pages", "free_pages", "reserved_pages", "pending_flush_pages", "private_pages",
    "shared_frames_pages", "sharers_pages", "saved_pages", "saved_zero_pages", "net_saved_pages",
    "policy_table_pages", "shadow_pool_pages", "rmap_pages", "domain_state_pages",
    "unpopulated_pages", "ballooned_pages", "opportunity_pages", "opportunity_zero_pages",
    "opportunity_intra_pages", "opportunity_inter_pages", *CLASS_COLUMNS,
    "merges", "zero_merges", "merge_aborted", "false_matches", "ineligible", "cow_breaks",
    "zero_breaks", "reuses", "populates", "refills", "unprotects", "splits", "corrupted_pages",
    "wrong_merges", "near_races", "flushes", "flush_remote_ns", "lock_waits", "lock_wait_ns",
    "balloon_popped", "hidden_faults", "shadow_tables_pages", "shadow_evictions", "guest_faults",
    "pt_updates", "pt_hypercalls", "pt_switches", "pt_pins", "pt_unpins", "updates_refused",
    "offers", "offer_batches", "offers_refused", "offers_expired", "offers_dropped",
    "offers_shared", "upcalls", "breaks_without_copy",
    "cpu_idle_ns", "cpu_vcpu_ns", "cpu_scanner_ns", "cpu_switch_ns",
)  # fmt: skip
HELD = ("policy_table", "shadow_pool", "rmap", "domain_state")
"""What the hypervisor holds frames for, beside ``host.reserve``."""
_COUNTERS = {
    "merges": t.T_MERGES, "zero_merges": t.T_ZERO_MERGES, "merge_aborted": t.T_MERGE_ABORTED,
    "false_matches": t.T_FALSE_MATCHES, "ineligible": t.T_INELIGIBLE,
    "cow_breaks": t.T_COW_BREAKS, "zero_breaks": t.T_ZERO_BREAKS, "reuses": t.T_REUSES,
    "populates": t.T_POPULATES, "refills": t.T_REFILLS, "unprotects": t.T_UNPROTECTS,
    "splits": t.T_SPLITS, "corrupted_pages": t.T_CORRUPTED, "wrong_merges": t.T_WRONG_MERGES,
    "near_races": t.T_NEAR_RACES, "flushes": t.T_FLUSHES, "flush_remote_ns": t.T_REMOTE_NS,
    "lock_waits": t.T_LOCK_WAITS, "lock_wait_ns": t.T_LOCK_WAIT_NS,
    "balloon_popped": t.T_BALLOON_POPPED, "shadow_tables_pages": t.T_SHADOW_TABLES,
    "hidden_faults": t.T_HIDDEN_FAULTS, "shadow_evictions": t.T_SHADOW_EVICTIONS,
    "guest_faults": t.T_PT_FAULTS, "pt_updates": t.T_PT_UPDATES,
    "pt_hypercalls": t.T_PT_HYPERCALLS, "pt_switches": t.T_PT_SWITCHES, "pt_pins": t.T_PT_PINS,
    "pt_unpins": t.T_PT_UNPINS, "updates_refused": t.T_REFUSED_UPDATES, "offers": t.T_OFFERS,
    "offer_batches": t.T_OFFER_BATCHES, "offers_refused": t.T_OFFERS_REFUSED,
    "offers_expired": t.T_OFFERS_EXPIRED, "offers_dropped": t.T_OFFERS_DROPPED,
    "offers_shared": t.T_OFFERS_SHARED, "upcalls": t.T_UPCALLS, "breaks_without_copy": t.T_NOCOPY,
}  # fmt: skip
VM_COLUMNS = (
    "populated_pages", "sharing_pages", "operations", "accesses", "writes", "faults", "merged",
    *(f"{cause}_ns" for cause in CAUSES), "lateness_ns", "cpu_ns",
)  # fmt: skip
POLICY_COLUMNS = (
    "pages_scanned", "pages_hashed", "passes", "batches", "overruns", "scanner_cpu_ns",
    "requested_pages", "pages_in_pass", "scanner_wait_ns",
)  # fmt: skip
EVENT_COLUMNS = (
    "time_ns", "duration_ns", "kind", "actor", "vm", "page", "other_vm", "other_page",
)  # fmt: skip


class Recorder:
    """Collects rows; ``rows`` holds those not yet taken by a sink."""

    def __init__(self, engine: "Engine", *, with_opportunity: bool) -> None:
        self.engine = engine
        self.with_opportunity = with_opportunity
        sharing = engine.scenario.sharing
        self._splits = sharing is None or sharing.split_blocks
        self.columns = self._columns()
        self.rows: list[dict[str, Any]] = []
        self.last: dict[str, dict[str, Any]] = {}
        """The newest row of each entity."""

    def _columns(self) -> list[str]:
        columns = [*HOST_COLUMNS]
        columns += [name for name in VM_COLUMNS if name not in columns]
        if self.engine.policy is not None:
            columns += [name for name in POLICY_COLUMNS if name not in columns]
            own = self.engine.policy.counters()
            own = own | self.engine.policy.vm_counters(0)
            columns += [name for name in own if name not in columns]
        return columns

    def sample(self, time: int) -> None:
        """Rows of all entities at a time no earlier than the clock."""
        rows = {"host": self._host(time)}
        for number, vm in enumerate(self.engine.scenario.vms):
            rows[vm.name] = self._vm(number, time)
        if self.engine.scanner is not None:
            rows[self.engine.policy.name] = self._policy(time)
        for entity, row in rows.items():
            row.update(time_ns=time, entity=entity)
            self.rows.append(row)
        self.last = rows

    def measures(self, time: int) -> dict[str, tuple[int, int, int]]:
        """(operations, CPU ns, lateness ns) so far of each VM, and CPU ns of all CPUs as ``host``.

        What the paired statistics need at the edges of their batches, without a whole sample.
        """
        found = {}
        for number, vm in enumerate(self.engine.scenario.vms):
            row = self._vm(number, time)
            found[vm.name] = (row["operations"], row["cpu_ns"], row["lateness_ns"])
        found["host"] = (0, sum(self.engine.scheduler.utilisation(time)[1:]), 0)
        return found

    def _host(self, time: int) -> dict[str, Any]:
        engine = self.engine
        totals, vms = engine.memory.totals, engine.memory.vms
        size = len(engine.memory.pages)
        populated, ballooned = int(vms["populated"].sum()), int(vms["ballooned"].sum())
        running = sum(int(vm["pages"]) for vm in vms if vm["running"])
        saved = int(totals[t.T_SHARERS] - totals[t.T_SHARED_FRAMES])
        held = sum(engine.held.values())
        row: dict[str, Any] = {
            "memory_pages": len(engine.memory.frames),
            "free_pages": int(totals[t.T_FREE]),
            "reserved_pages": int(totals[t.T_RESERVED]),
            "pending_flush_pages": int(totals[t.T_PENDING]),
            "private_pages": int(totals[t.T_USED] - totals[t.T_SHARED_FRAMES]),
            "shared_frames_pages": int(totals[t.T_SHARED_FRAMES]),
            "sharers_pages": int(totals[t.T_SHARERS]),
            "saved_pages": saved,
            "saved_zero_pages": int(totals[t.T_ZERO_SHARERS] - totals[t.T_ZERO_SHARED_FRAMES]),
            "net_saved_pages": saved - held,
            "unpopulated_pages": min(size, running) - populated - ballooned,
            "ballooned_pages": ballooned,
        }
        if self.with_opportunity:
            best = opportunity(engine.memory, engine.ranges(), self._splits)
            row["opportunity_pages"] = int(best[O_TOTAL])
            row["opportunity_zero_pages"] = int(best[O_ZERO])
            row["opportunity_intra_pages"] = int(best[O_INTRA])
            row["opportunity_inter_pages"] = int(best[O_INTER])
            for at, name in enumerate(CLASS_COLUMNS):
                row[name] = int(best[O_CLASS + at])
        row.update({name: int(totals[at]) for name, at in _COUNTERS.items()})
        row.update({f"{kind}_pages": engine.held.get(kind, 0) for kind in HELD})
        names = ("cpu_idle_ns", "cpu_vcpu_ns", "cpu_scanner_ns", "cpu_switch_ns")
        row.update(zip(names, engine.scheduler.utilisation(time), strict=True))
        return row

    def _vm(self, number: int, time: int) -> dict[str, Any]:
        engine = self.engine
        vm = engine.memory.vms[number]
        first, count = int(vm["vcpu_first"]), int(vm["vcpus"])
        vcpus = engine.memory.vcpus[first : first + count]
        ledger = np.zeros(len(CAUSES), np.int64)
        seized = 0
        for vcpu in engine.vcpus[first : first + count]:
            if vcpu.process is not None:
                ledger += vcpu.ledger_at(time)
                seized += vcpu.seized_at(time)
        # An operation that ends at this very time has ended, though its vCPU will note it later.
        ended = (vcpus["step"] == vcpus["steps"]) & (vcpus["due"] <= time) & (vcpus["running"] == 1)
        paced = engine.work.phases["period"][vcpus["phase"]] > 0
        late = np.where(ended & paced, vcpus["due"] - vcpus["arrival"], 0)
        row: dict[str, Any] = {
            "populated_pages": int(vm["populated"]),
            "unpopulated_pages": int(
                (vm["pages"] if vm["running"] else 0) - vm["populated"] - vm["ballooned"]
            ),
            "ballooned_pages": int(vm["ballooned"]),
            "sharing_pages": int(vm["sharing"]),
            "operations": int(vcpus["operations"].sum() + ended.sum()),
            "accesses": int(vcpus["accesses"].sum()),
            "writes": int(vcpus["writes"].sum()),
            "faults": int(vm["faults"]),
            "cow_breaks": int(vm["cow_breaks"]),
            "merged": int(vm["merged"]),
            "lateness_ns": int(vcpus["lateness"].sum() + late.sum()),
            "cpu_ns": int(ledger[: t.INTERRUPTED + 1].sum()) - seized,
        }
        row.update({f"{cause}_ns": int(ns) for cause, ns in zip(CAUSES, ledger, strict=True)})
        if engine.policy is not None:
            row.update(engine.policy.vm_counters(number))
        return row

    def _policy(self, time: int) -> dict[str, Any]:
        scanner, policy = self.engine.scanner, self.engine.policy
        assert scanner is not None
        driver = scanner.driver
        row: dict[str, Any] = {
            "pages_scanned": driver.scanned,
            "pages_hashed": driver.hashed,
            "passes": driver.passes,
            "batches": scanner.batches,
            "overruns": scanner.overruns,
            "scanner_cpu_ns": self.engine.scheduler.utilisation(time)[2],
            "requested_pages": scanner.requested(time),
            "pages_in_pass": driver.position,
            "scanner_wait_ns": scanner.waited(time),
        }
        row.update(policy.counters())
        return row


class EventNames:
    """Turns rows of the event log into the columns of ``events.parquet``."""

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self._vms = [vm.name for vm in engine.scenario.vms]
        self._firsts = engine.memory.vms["first"]
        self._vcpus = [vcpu.name for vcpu in engine.vcpus]

    def _where(self, pages: np.ndarray) -> tuple[list[str | None], np.ndarray]:
        vm = np.searchsorted(self._firsts, pages, side="right") - 1
        gfn = np.where(pages < 0, -1, pages - self._firsts[np.maximum(vm, 0)])
        names = [None if page < 0 else self._vms[v] for page, v in zip(pages, vm, strict=True)]
        return names, gfn

    def _actor(self, number: int) -> str:
        if number >= 0:
            return self._vcpus[number]
        return "scanner" if number == -1 else f"{self._vms[-2 - number]} balloon"

    def columns(self, rows: np.ndarray) -> dict[str, Any]:
        """Columns by name for int64[n, LOG_COLUMNS] rows."""
        vm, page = self._where(rows[:, 4])
        other_vm, other_page = self._where(rows[:, 5])
        return {
            "time_ns": rows[:, 0],
            "duration_ns": rows[:, 1],
            "kind": [EVENT_KINDS[kind] for kind in rows[:, 2]],
            "actor": [self._actor(int(number)) for number in rows[:, 3]],
            "vm": vm,
            "page": page,
            "other_vm": other_vm,
            "other_page": other_page,
        }


class ParquetSink:
    """Writes rows to a Parquet file as they come, in row groups of a fixed size."""

    GROUP = 4096

    def __init__(self, path: Path, columns: list[tuple[str, str]]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"int": pa.int64(), "str": pa.string()}
        self._schema = pa.schema([(name, kinds[kind]) for name, kind in columns])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._pending: list[dict[str, Any]] = []

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Take rows over; writes whole groups."""
        self._pending.extend(rows)
        while len(self._pending) >= self.GROUP:
            self._write(self._pending[: self.GROUP])
            del self._pending[: self.GROUP]

    def add_columns(self, columns: dict[str, Any]) -> None:
        """Write one group of whole columns."""
        import pyarrow as pa

        arrays = [pa.array(columns[field.name], field.type) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def _write(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))

    def close(self) -> None:
        """Write the rest and finish the file."""
        if self._pending:
            self._write(self._pending)
            self._pending = []
        self._writer.close()
