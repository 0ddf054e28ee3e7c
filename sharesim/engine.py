"""The run-time: everything a scenario describes, built, on one SimPy clock of integer nanoseconds.

The engine is what the actors (vCPUs, scanner, balloons) share: the tables, the costs, the
scheduler, and the answer to how far each may run ahead of the clock.
"""

from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from sharesim.content.mixing import combine
from sharesim.errors import ModelError, PolicyError, UserError
from sharesim.guest.balloon import BalloonDriver
from sharesim.guest.build import WorkBuilder
from sharesim.guest.layout import Layout, lay_out
from sharesim.guest.phases import REPLAY
from sharesim.guest.vcpu import VCpu
from sharesim.hypervisor.design import set_design, set_digest
from sharesim.hypervisor.handlers import Handlers
from sharesim.hypervisor.offers import has_work
from sharesim.hypervisor.orders import follow_advice, write_knobs
from sharesim.machine import tables as t
from sharesim.machine.check import BREACHES
from sharesim.machine.cost_row import ALL, FILLED, ONE
from sharesim.machine.mapping import clone_vm, fill_vm, start_vm, stop_vm
from sharesim.machine.scheduler import STOPPED
from sharesim.machine.schedulers import scheduler_for
from sharesim.machine.tables import (
    LOG_RESERVE,
    Memory,
    allocate,
    with_changes,
    with_log,
    with_offers,
    with_owners,
    with_shadow_tables,
)
from sharesim.resolve import held_frames
from sharesim.sharing.drivers import driver_for
from sharesim.sharing.pace import pace_of
from sharesim.sharing.policy import Policy, View
from sharesim.sharing.scanner import Scanner
from sharesim.spec.scenario import VM, Scenario
from sharesim.spec.units import show_size

LOG_ROWS = 1 << 15
CHANGE_ROWS = 1 << 14


class Engine:
    """A resolved scenario, ready to run.

    ``compiled=False`` runs policies in their array form; ``log`` notes each fault and merge, as the
    scenario itself may ask for.
    """

    def __init__(self, scenario: Scenario, *, compiled: bool = True, log: bool = False) -> None:
        self.scenario = scenario
        self.env = simpy.Environment(0)
        self.inline = scenario.mode == "decoupled"
        assert scenario.sync_quantum and scenario.host.memory and scenario.host.costs.table
        self.quantum: int = scenario.sync_quantum
        self.limit = 0
        """The time up to which the run is being advanced."""
        self.primitives = dict(scenario.host.costs.table)
        self.paging = scenario.paging.runtime(self.primitives)
        self.cost = self.paging.cost_row()
        self.memory = self._allocate(log=log or scenario.events)
        self.scheduler = scheduler_for(self.env, scenario.host, self.primitives["vcpu_switch"])
        self.handlers = Handlers(self)
        self.logs: list[np.ndarray] = []
        self._waiting: simpy.Event | None = None
        self._changed: list[np.ndarray] = []
        self.policy: Any = None
        self.scanner: Scanner | None = None
        self.vcpus: list[VCpu] = []
        self.balloons: list[BalloonDriver] = []
        self._build_guests()
        self._build_sharing(compiled)
        self._sync_mark = self._pressure_mark()

    # Building

    def _allocate(self, *, log: bool) -> Memory:
        scenario = self.scenario
        vms = scenario.vms
        pages = sum(vm.memory or 0 for vm in vms)
        frames = scenario.host.memory or 0
        vcpus = sum(vm.vcpus for vm in vms)
        memory = allocate(pages, frames, len(vms), vcpus, check=scenario.check)
        first = row = 0
        for number, vm in enumerate(vms):
            table = memory.vms[number]
            table["first"], table["pages"] = first, vm.memory
            table["vcpu_first"], table["vcpus"] = row, vm.vcpus
            table["willing"] = int(vm.willing)
            table["pool"] = scenario.paging.held_pages(vm.memory or 0, vm.vcpus).get(
                "shadow_pool", 0
            )
            memory.vcpus["vm"][row : row + vm.vcpus] = number
            first += vm.memory or 0
            row += vm.vcpus
        memory.vcpus["step"] = -1
        if log:
            memory = with_log(memory, LOG_ROWS)
        if self.paging.entries == FILLED:
            if memory.vms["pool"].min() < 1:
                name = scenario.paging.registered_name()
                raise UserError(
                    f"paging mode '{name}': its held_pages() names no 'shadow_pool' for each guest,"
                    " from which shadow tables could be taken"
                )
            memory = with_shadow_tables(memory)
        if scenario.shares and scenario.sharing and scenario.sharing.design == "paravirtual":
            memory = with_offers(memory)
        return memory

    def _build_guests(self) -> None:
        scenario = self.scenario
        builder = WorkBuilder(
            scenario.seed,
            self.paging,
            self.primitives["tlb_entries"],
            blocks=scenario.host.backing == "2 MiB",
        )
        self.held = held_frames(scenario)
        self._reserve(scenario.host.reserve + sum(self.held.values()))
        row = 0
        for number, vm in enumerate(scenario.vms):
            first = int(self.memory.vms[number]["first"])
            for index in range(vm.vcpus):
                name = vm.name if vm.vcpus == 1 else f"{vm.name}.{index}"
                vcpu = VCpu(self, row, name, vm.weight, vm.affinity)
                vcpu.phases = builder.add(vm, first, index)
                vcpu.repeat = bool(getattr(vm.workload, "repeat", False))
                self.vcpus.append(vcpu)
                row += 1
            self.balloons.append(BalloonDriver(self, number, vm.balloon))
        self.work = builder.build()
        self.activity = builder.activity
        for vcpu in self.vcpus:
            vcpu.begin_phase(vcpu.phases[0], 0)
        for number, vm in enumerate(scenario.vms):
            if vm.start == 0:
                self._start_memory(number, vm)
            self.env.process(self._life(number, vm))

    def _reserve(self, frames: int) -> None:
        totals = self.memory.totals
        if frames > totals[t.T_FREE]:
            raise UserError(
                f"host.memory: found {show_size(self.scenario.host.memory or 0)}; the hypervisor"
                f" alone needs {show_size(frames)} for itself and its tables"
            )
        for _ in range(frames):
            totals[t.T_FREE_HEAD] = self.memory.frames[totals[t.T_FREE_HEAD]]["head"]
        totals[t.T_FREE] -= frames
        totals[t.T_RESERVED] += frames

    def _start_memory(self, number: int, vm: VM) -> None:
        if vm.populate == "clone":
            parent = next(i for i, v in enumerate(self.scenario.vms) if v.name == vm.clone_of)
            clone_vm(self.memory, number, parent)
            self._enter_clone(number)
        else:
            self._fill_memory(number, vm)
        if self.paging.lazy:  # no entry is in place before its first use
            row = self.memory.vms[number]
            mine = slice(int(row["first"]), int(row["first"] + row["pages"]))
            self.memory.pages["flags"][mine] |= np.uint16(t.REFILL)

    def _enter_clone(self, number: int) -> None:
        """A clone's entries: its own tables are made with all of them, or none is filled yet.

        Only where the hypervisor has one entry for each page has cloning taken anything away.
        """
        row = self.memory.vms[number]
        flags = self.memory.pages["flags"][int(row["first"]) : int(row["first"] + row["pages"])]
        if self.paging.entries != ONE:
            flags &= ~np.uint16(t.MOVED)
        if self.paging.entries == ALL:
            flags &= ~np.uint16(t.REFILL)

    def _fill_memory(self, number: int, vm: VM) -> None:
        layout: Layout = lay_out(
            vm,
            self.scenario.host.backing,
            linear_map=self.paging.linear_map,
            typed=self.paging.types_tables,
        )
        filled = fill_vm(
            self.memory, number, layout.contents, layout.populated, layout.classes,
            layout.map_counts, layout.flags,
        )  # fmt: skip
        if not filled:
            raise UserError(
                f"VM '{vm.name}' does not fit at its start: the host has no frame left; give"
                " host.memory more"
            )

    def _build_sharing(self, compiled: bool) -> None:
        sharing = self.scenario.sharing
        if sharing is None:
            return
        costs = self.cost[0]
        set_design(self.cost, self.primitives, sharing)
        costs["quantum"] = self.quantum
        if not self.scenario.shares:
            return
        spec = sharing.policy
        digest, bits, verify = spec.hashing()
        set_digest(self.cost, self.primitives, digest=digest, bits=bits, verify=verify)
        if sharing.scanner.placement != "domain":
            costs["foreign_map"] = costs["foreign_unmap"] = 0
        self.policy = policy = spec.runtime()
        if any(vm.name == policy.name for vm in self.scenario.vms):
            raise UserError(f"VM '{policy.name}': in the timeline that is the policy's name")
        if type(policy).changed is not Policy.changed:
            self.memory = with_changes(self.memory, CHANGE_ROWS)
        if policy.OWNS_FRAMES:
            self.memory = with_owners(self.memory)
            costs["partner_stays"] = 1
        if policy.PAGE.itemsize > 12:
            raise PolicyError(
                f"policy '{policy.name}', PAGE: found {policy.PAGE.itemsize} bytes a page; at most"
                " 12 are allowed"
            )
        policy.page = np.zeros(len(self.memory.pages), policy.PAGE)
        view = View(self.memory, self.cost, self.primitives, spec)
        policy.view = view
        self.refresh_ranges()
        seed = int(combine(np.uint64(self.scenario.seed), np.uint64(0x5CA4)))
        policy.start(view, np.random.Generator(np.random.PCG64(seed)))
        driver = driver_for(self, policy, compiled)
        host = self.scenario.host
        pace = pace_of(spec, policy, sharing.scanner.start, host.tick, host.tick_offset)
        self.scanner = Scanner(self, sharing.scanner, driver, pace)
        self.scanner.process = self.env.process(self.scanner.run())
        if getattr(spec, "changes", ()):
            self.env.process(write_knobs(self, spec.changes))

    def _pressure_mark(self) -> int:
        """Free frames below which actors must go in step; none if nobody can ever be refused."""
        memory = self.memory
        if len(memory.frames) - int(memory.totals[t.T_RESERVED]) >= len(memory.pages):
            return -1
        cheapest = max(1, int(self.cost[0]["populate_fault"]) + int(self.cost[0]["frame_alloc"]))
        return len(self.vcpus) * (self.quantum // cheapest + 1)

    # The lives of guests

    def _life(self, number: int, vm: VM) -> Generator[simpy.Event, Any, None]:
        env = self.env
        if vm.start:
            yield env.timeout(vm.start)
            self._start_memory(number, vm)
        start_vm(self.memory, number)
        if vm.advice:
            env.process(follow_advice(self, number, vm))
        self.tell_mergeable(number)
        mine = [vcpu for vcpu in self.vcpus if int(self.memory.vcpus[vcpu.row]["vm"]) == number]
        for vcpu in mine:
            vcpu.process = env.process(vcpu.run())
        if vm.balloon.targets:
            env.process(self.balloons[number].announcements())
            env.process(self.balloons[number].run())
        if vm.stop is None:
            return
        yield env.timeout(vm.stop - int(env.now))
        for vcpu in mine:
            assert vcpu.process is not None
            vcpu.process.interrupt(STOPPED)
        yield env.timeout(0)
        self._stop_memory(number)
        self.refresh_ranges()
        if self.policy is not None:
            self.policy.left(number)
        self.frames_may_be_free()

    def _stop_memory(self, number: int) -> None:
        """All frames of a VM are freed; the policy hears of each page that it has exited."""
        row = self.memory.vms[number]
        stop_vm(self.memory._replace(changes=self.memory.changes[:0]), number)
        self.drain()
        self.note_changes(np.arange(int(row["first"]), int(row["first"] + row["pages"])), t.EXITED)

    def note_changes(self, pages: np.ndarray, why: int) -> None:
        """Tell the policy, if it listens, of many pages at once."""
        if len(self.memory.changes):
            rows = np.stack([pages.astype(np.int64), np.full(len(pages), why)], axis=1)
            self._changed.append(rows)

    def new_cycle(self, vcpu: VCpu) -> None:
        """A repeated sequence of phases draws from new streams each time."""
        for phase in vcpu.phases:
            for key in ("access", "content", "miss", "activity", "overwrite"):
                key = f"{key}_key"
                old = np.uint64(self.work.phases[phase][key])
                self.work.phases[phase][key] = combine(old, np.uint64(vcpu.cycle))

    def start_offset(self, row: int) -> int:
        """A seeded offset for each vCPU, so that equal guests do not move in step.

        Below 1 us; for a replayed guest below its tick, as guests' timers are not synchronous.
        """
        draw = int(combine(np.uint64(self.scenario.seed), np.uint64(row + 1)))
        phase = self.work.phases[self.vcpus[row].phases[0]]
        return draw % (int(phase["period"]) if phase["pattern"] == REPLAY else 1_000)

    def wake_first_vcpu(self, vm: int) -> None:
        """The guest has work to do though it may be idle."""
        self.vcpus[int(self.memory.vms[vm]["vcpu_first"])].wake()

    def has_errand(self, row: int) -> bool:
        """Whether a vCPU has the balloon's work to do, or its guest's part in sharing."""
        vm = int(self.memory.vcpus[row]["vm"])
        guest = self.memory.vms[vm]
        if int(guest["vcpu_first"]) != row:
            return False
        if guest["debt_reclaim"] or guest["debt_sharing"]:
            return True
        drives = len(self.memory.offers) and guest["willing"]
        return bool(drives and has_work(self.memory, vm))

    # What actors ask

    def horizon(self, now: int) -> int:
        """Up to where an actor may start steps.

        In exact mode and under memory pressure: the time before which nobody else can act.
        Decoupled: the next grid point, or the last one before that time, which costs no accuracy.
        Who is alone goes no further than the next sample; on the grid, that changes nothing.
        """
        alone = min(self.env.peek(), self.limit)
        if not self.inline or self.memory.totals[t.T_FREE] <= self._sync_mark:
            return int(alone)
        grid = min((now // self.quantum + 1) * self.quantum, self.scenario.duration)
        if self._waiting is not None:  # somebody may be served as soon as a frame is free
            return grid
        return max(grid, int(alone // self.quantum * self.quantum))

    def frame_wait(self) -> simpy.Event:
        """An event that comes when a frame has become free."""
        if self._waiting is None:
            self._waiting = self.env.event()
        return self._waiting

    def frames_may_be_free(self) -> None:
        """Called after anything that can free frames."""
        if self._waiting is not None and self.memory.totals[t.T_FREE] > 0:
            waiting, self._waiting = self._waiting, None
            waiting.succeed()

    @property
    def frames_awaited(self) -> bool:
        """Whether a vCPU is blocked for want of a frame."""
        return self._waiting is not None

    def refresh_ranges(self) -> None:
        """Tell the policy which guests there are to scan now."""
        if self.policy is not None:
            self.policy.view._ranges = self.ranges()

    def ranges(self) -> np.ndarray:
        """int64[n, 2]: (first page, count) of each guest that runs and may be scanned, in order."""
        rows = [
            (int(row["first"]), int(row["pages"]))
            for row, vm in zip(self.memory.vms, self.scenario.vms, strict=True)
            if row["running"]
            and (vm.mergeable or vm.advice)
            and (vm.willing or not len(self.memory.offers))
        ]
        return np.array(rows, np.int64).reshape(-1, 2)

    def tell_mergeable(self, number: int) -> None:
        """A VM has started, or more or fewer of its pages may be scanned."""
        self.refresh_ranges()
        if self.policy is not None:
            row = self.memory.vms[number]
            mine = slice(int(row["first"]), int(row["first"] + row["pages"]))
            hidden = self.memory.pages["flags"][mine] & np.uint16(t.UNMERGEABLE)
            self.policy.arrived(number, int((hidden == 0).sum()))

    def unmap_foreign(self, pages: int) -> int:
        """ns for a control domain to unmap what it had mapped, and to flush."""
        costs = self.cost[0]
        return pages * int(costs["foreign_unmap"]) + int(costs["flush_base"])

    # Logs and changes, drained without a simulated moment passing

    def drain(self) -> None:
        """Move the event log and the ring of changes out of the tables."""
        memory = self.memory
        count = int(memory.totals[t.T_LOG_COUNT])
        if count:
            self.logs.append(memory.log[:count].copy())
            memory.totals[t.T_LOG_COUNT] = 0
        count = int(memory.totals[t.T_CHANGE_COUNT])
        if count:
            self._changed.append(memory.changes[:count].copy())
            memory.totals[t.T_CHANGE_COUNT] = 0

    def make_room_in_log(self, rows: int) -> int:
        """Before many pages change at once; returns how many of ``rows`` may be logged or noted."""
        self.drain()
        for table in (self.memory.log, self.memory.changes):
            if len(table):
                rows = min(rows, len(table) - LOG_RESERVE)
        return rows

    def tell_guests(self, *, batch_is_over: bool) -> None:
        """An event to each willing guest with offers: at a batch's end, or for a full ring."""
        vms = self.memory.vms
        fresh = vms["offer_count"] - vms["driver_batch"]
        least = 1 if batch_is_over else int(self.cost[0]["ring"])
        for vm in np.flatnonzero((fresh >= least) & (vms["willing"] == 1) & (vms["notified"] == 0)):
            vms["notified"][vm] = 1
            self.wake_first_vcpu(int(vm))

    def tell_outcomes(self) -> None:
        """Before a batch: the policy learns what became of its offers."""
        totals = self.memory.totals
        count = int(totals[t.T_OUTCOME_COUNT])
        if count:
            rows = self.memory.outcomes[:count].copy()
            totals[t.T_OUTCOME_COUNT] = 0
            self.policy.merged(rows[:, 0], rows[:, 1], rows[:, 2])

    def tell_changes(self) -> None:
        """Before a batch: the policy learns which pages are not what they were."""
        if len(self.memory.changes):
            self.drain()
        if self._changed:
            rows = np.concatenate(self._changed)
            self._changed = []
            self.policy.changed(rows[:, 0].astype(np.uint32), rows[:, 1])

    # Breaches

    @property
    def broken(self) -> bool:
        """Whether check mode has found an invariant broken."""
        return bool(self.memory.totals[t.T_BREACH])

    def breach(self) -> None:
        """Raise what check mode has found."""
        totals = self.memory.totals
        what = BREACHES[int(totals[t.T_BREACH])]
        page = int(totals[t.T_BREACH_PAGE])
        vm = int(np.searchsorted(self.memory.vms["first"], page, side="right")) - 1
        frame = int(self.memory.pages[page]["mfn"])
        raise ModelError(
            f"at {int(self.env.now)} ns: {what}: VM '{self.scenario.vms[vm].name}', guest page"
            f" {page - int(self.memory.vms[vm]['first'])}, frame {frame}"
        )
