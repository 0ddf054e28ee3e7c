"""From workloads as described to phase tables as kernels read them."""

from fractions import Fraction
from math import gcd
from typing import Any

import numpy as np

from sharesim.content.mixing import combine, stable_hash64
from sharesim.errors import UserError
from sharesim.guest import phases as ph
from sharesim.guest.phases import PHASE, Work
from sharesim.guest.replay import Ticks, replay_ticks, scripted_ticks
from sharesim.hypervisor.paging import PagingMode
from sharesim.spec import workloads as w
from sharesim.spec.images import Captured
from sharesim.spec.scenario import VM
from sharesim.spec.units import show_size

_PATTERNS: dict[type[w.Workload], int] = {
    w.CpuBound: ph.UNIFORM,
    w.RandomAccess: ph.UNIFORM,
    w.ZipfAccess: ph.ZIPF,
    w.HotSet: ph.HOT,
    w.TwoRegions: ph.HOT,
    w.Sequential: ph.SEQUENTIAL,
    w.FileReader: ph.FILE,
    w.PageTableHeavy: ph.UNIFORM,
}
_CONTENTS = {"unique": ph.UNIQUE, "pool": ph.POOL, "same": ph.SAME}
_DECISIONS = {"access": 1, "content": 2, "miss": 3, "activity": 4, "overwrite": 5}


class Key:
    """A counter-based stream's name: the seed and who decides what."""

    def __init__(self, seed: int) -> None:
        self.value = np.uint64(seed)

    def of(self, *parts: int | str) -> np.uint64:
        """The key for these parts; equal parts, equal key."""
        value = self.value
        for part in parts:
            number = stable_hash64(part) if isinstance(part, str) else part
            value = np.uint64(combine(value, np.uint64(number)))
        return value


class WorkBuilder:
    """Collects the phases of all vCPUs and the tables they share."""

    def __init__(self, seed: int, paging: PagingMode, tlb_entries: int, blocks: bool) -> None:
        self.blocks = blocks
        self.key = Key(seed)
        self.paging = paging
        self.tlb_entries = tlb_entries
        self.activity: dict[str, dict[str, Any]] = {}
        """For each VM the page-table activity of its work, and where the figures come from."""
        self._rows: list[np.ndarray] = []
        self._zipf: dict[tuple[int, float], int] = {}
        self._accept: list[np.ndarray] = []
        self._alias: list[np.ndarray] = []
        self._ticks: list[Ticks] = []
        self._first_pages: list[int] = []
        self._tick_count = 0

    def add(self, vm: VM, first_page: int, vcpu: int) -> list[int]:
        """Rows of the phases of one vCPU of a VM whose pages start at ``first_page``."""
        assert vm.memory is not None
        phases = vm.workload.phases if isinstance(vm.workload, w.Phases) else (vm.workload,)
        rows = []
        for number, workload in enumerate(phases):
            row = np.zeros((), PHASE)
            row["ops"], row["time"] = workload.ops or 0, workload.for_ or 0
            self._fill(row, workload, vm, first_page, vcpu)
            for decision, code in _DECISIONS.items():
                row[f"{decision}_key"] = self.key.of(vm.name, vcpu, number, code)
            rows.append(len(self._rows))
            self._rows.append(row)
        return rows

    def _fill(
        self, row: np.ndarray, workload: w.Workload, vm: VM, first_page: int, vcpu: int
    ) -> None:
        if isinstance(workload, w.Accessing):
            self._fill_accessing(row, workload, vm, first_page)
        elif isinstance(workload, w.Replay) and vcpu == 0:
            self._fill_replay(row, workload, vm, first_page)
        elif isinstance(workload, w.Scripted) and vcpu == 0:
            self._fill_scripted(row, workload, vm, first_page)
        elif isinstance(workload, w.Idle | w.Replay | w.Scripted):
            row["idle"] = 1
            if isinstance(workload, w.Replay) and workload.ops:  # the guest's other vCPUs
                row["ops"], row["time"] = 0, workload.ops * workload.tick
        else:
            raise UserError(
                f"VM '{vm.name}': workload '{workload.registered_name()}' says neither an"
                " operation (subclass Accessing) nor that it is idle"
            )

    def _fill_accessing(
        self, row: np.ndarray, workload: w.Accessing, vm: VM, first_page: int
    ) -> None:
        span = _region(vm, "region", workload.region_start, workload.region)
        pattern = next(
            (code for kind, code in _PATTERNS.items() if isinstance(workload, kind)), ph.UNIFORM
        )
        row["pattern"] = pattern
        row["first"], row["span"] = first_page + workload.region_start, span
        row["write_share"] = _share(workload.write_fraction)
        row["miss_share"] = _share(workload.tlb_miss)
        row["overwrite_share"] = _share(workload.overwrites)
        row["accesses"] = workload.accesses
        activity = workload.activity.model_dump()
        self.activity[vm.name] = {"profile": "declared for each operation", **activity}
        for kind, count in activity.items():
            row[f"act_{kind}"] = count
        row["op_ns"] = workload.op_time
        if isinstance(workload, w.TwoRegions):
            row["hot"], row["hot_share"] = span, _share(workload.share)
            row["other"] = first_page + workload.other_start
            span += _region(vm, "other", workload.other_start, workload.other)
            row["span"] = span
        row["refill_entries"] = min(self.tlb_entries, span) if workload.accesses else 0
        row["cached"] = self._cached(span) if workload.accesses else 0
        # What a walk is natively depends on the host's mappings as they were at first, so that a
        # split is seen as what it adds, not as other work.
        native = "walk_native_block" if self.blocks else "walk_native"
        row["miss_work"] = self.paging.primitives[native]
        row["miss_excess"] = self.paging.walk() - row["miss_work"]
        row["miss_excess_block"] = self.paging.walk(block=True) - row["miss_work"]
        row["content"] = _CONTENTS[workload.new_content]
        row["pool"] = workload.pool
        row["pool_key"] = stable_hash64(f"pool:{workload.pool_name or vm.name}")
        steps = workload.accesses + sum(activity.values())
        if workload.op_time < max(1, steps):
            raise UserError(
                f"VM '{vm.name}': workload.op_time: found {workload.op_time} ns for"
                f" {workload.accesses} accesses and {sum(activity.values())} steps of page-table"
                " activity; at least 1 ns each is needed"
            )
        if workload.rate is not None:
            _set_rate(row, workload.rate)
        if isinstance(workload, w.HotSet):
            row["hot"] = max(1, min(span, round(workload.hot * span)))
            row["hot_share"] = _share(workload.hot_accesses)
            row["other"] = row["first"] + row["hot"]
        if isinstance(workload, w.ZipfAccess):
            row["table"] = self._zipf_table(span, workload.exponent)
            row["scatter"] = _coprime(span)
        if isinstance(workload, w.FileReader):
            row["file_pages"] = workload.file_size
            row["file_random"] = int(workload.order == "random")
            row["pool_key"] = stable_hash64(f"file:{workload.file}")

    def _cached(self, span: int) -> int:
        """Pages of a working set that it has in the CPU's own cache, and will come back to.

        All of one that fits. Of a larger one, gone through at random, each page is there with
        probability cache / span, and as rarely it is needed again before others replace it.
        """
        cache = self.paging.primitives["cache_pages"]
        return span if span <= cache else cache * cache // span

    def _fill_replay(self, row: np.ndarray, workload: w.Replay, vm: VM, first_page: int) -> None:
        if not isinstance(vm.image, Captured):
            raise UserError(
                f"VM '{vm.name}': workload 'replay' replays the guest of its image; give"
                " image=Captured(...)"
            )
        seed = int(self.key.of(vm.name, "replay"))
        ticks = replay_ticks(vm.image, workload, seed, vm.free_pages == "zeroed")
        faults = int(ticks.faults.sum())
        self.activity[vm.name] = {
            "profile": "pages of the capture that ceased to be free (all of it; a lower bound)",
            "faults": faults,
            "updates": faults,
            "switches": 0,
            "tables": 0,
        }
        self._add_ticks(row, ticks, vm, first_page, workload.tick)
        # What a tick goes back to after a flush is not known; a new page for each microsecond of
        # its work is taken as the bound (docs/model.md).
        microseconds = int(ticks.work.sum() // max(1, len(ticks.work))) // 1_000
        row["refill_entries"] = min(self.tlb_entries, max(1, microseconds))
        row["cached"] = self._cached(max(1, microseconds))
        if not workload.repeat and workload.ops is None and workload.for_ is None:
            row["ops"] = len(ticks.work)

    def _fill_scripted(
        self, row: np.ndarray, workload: w.Scripted, vm: VM, first_page: int
    ) -> None:
        ticks = scripted_ticks(workload)
        if len(ticks.at) == 0:
            row["idle"] = 1
            return
        self._add_ticks(row, ticks, vm, first_page, 1)
        row["refill_entries"] = 1
        row["ops"] = len(ticks.at)

    def _add_ticks(
        self, row: np.ndarray, ticks: Ticks, vm: VM, first_page: int, period: int
    ) -> None:
        row["pattern"] = ph.REPLAY
        row["first"], row["span"] = first_page, vm.memory
        row["period"], row["period_den"] = period, 1
        row["table"], row["ticks"] = self._tick_count, len(ticks.at)
        self._ticks.append(ticks)
        self._first_pages.append(first_page)
        self._tick_count += len(ticks.at)

    def _zipf_table(self, span: int, exponent: float) -> int:
        key = (span, exponent)
        if key not in self._zipf:
            self._zipf[key] = sum(len(table) for table in self._accept)
            accept, alias = alias_table(span, exponent)
            self._accept.append(accept)
            self._alias.append(alias)
        return self._zipf[key]

    def build(self) -> Work:
        """The finished tables. After it, no more may be added."""
        phases = np.array(self._rows, PHASE) if self._rows else np.zeros(0, PHASE)
        firsts, changes = [], 0
        for ticks in self._ticks:
            firsts.append(ticks.first[:-1] + changes)
            changes += len(ticks.gfn)
        firsts.append(np.array([changes], np.int64))
        pages = [
            (ticks.gfn.astype(np.int64) + first).astype(np.uint32)
            for ticks, first in zip(self._ticks, self._first_pages, strict=True)
        ]
        return Work(
            phases=phases,
            zipf_accept=_joined(self._accept, np.uint32),
            zipf_alias=_joined(self._alias, np.uint32),
            tick_at=_joined([ticks.at for ticks in self._ticks], np.int64),
            tick_first=_joined(firsts, np.int64),
            tick_work=_joined([ticks.work for ticks in self._ticks], np.int64),
            tick_faults=_joined([ticks.faults for ticks in self._ticks], np.int64),
            change_page=_joined(pages, np.uint32),
            change_content=_joined([ticks.content for ticks in self._ticks], np.uint64),
            change_kind=_joined([ticks.kind for ticks in self._ticks], np.uint8),
        )


def _joined(parts: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate(parts).astype(kind) if parts else np.zeros(0, kind)


def _region(vm: VM, name: str, start: int, size: int | None) -> int:
    """Pages of a region of the guest's memory; all from its start on where no size is given."""
    assert vm.memory is not None
    rest = vm.memory - start
    span = size or rest
    if span > rest or rest <= 0:
        raise UserError(
            f"VM '{vm.name}': workload.{name}: found {show_size(span)} from {show_size(start)} on;"
            f" the VM has {show_size(vm.memory)}"
        )
    return span


def _share(fraction: float) -> int:
    return round(fraction * (1 << ph.FRACTION_BITS))


def _set_rate(row: np.ndarray, rate: float) -> None:
    """Operation i arrives at i * 1e9 / rate ns, in integers."""
    period = Fraction(1_000_000_000) / Fraction(rate).limit_denominator(1000)
    whole = period.numerator // period.denominator
    row["period"] = whole
    row["period_num"] = period.numerator - whole * period.denominator
    row["period_den"] = period.denominator


def _coprime(span: int) -> int:
    """A multiplier that scatters ranks over a span without two of them meeting."""
    step = max(1, int(span * 0.6180339887))
    while gcd(step, span) != 1:
        step += 1
    return step


def alias_table(count: int, exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """Walker's alias tables of a Zipf law over ``count`` ranks: uint32 acceptance and alias.

    Weights are floats; what kernels draw with are these integers, and their hash goes into the
    provenance of a run.
    """
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    scaled = weights * (count / weights.sum())
    accept = np.full(count, 0xFFFFFFFF, np.uint32)
    alias = np.arange(count, dtype=np.uint32)
    small = np.flatnonzero(scaled < 1.0)[::-1].tolist()
    large = np.flatnonzero(scaled >= 1.0)[::-1].tolist()
    while small and large:
        less, more = small.pop(), large[-1]
        accept[less] = min(int(scaled[less] * 2**32), 0xFFFFFFFF)
        alias[less] = more
        scaled[more] -= 1.0 - scaled[less]
        if scaled[more] < 1.0:
            small.append(large.pop())
    return accept, alias
