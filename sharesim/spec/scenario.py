"""The whole description of a run: host, guests, paging, sharing."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sharesim.errors import UserError, nearest
from sharesim.spec.base import Spec
from sharesim.spec.images import ImageField, MapCount, PageClassName, Segments
from sharesim.spec.ksm import Ksm as Ksm  # a member of the family from the start
from sharesim.spec.paging import Nested, PagingField
from sharesim.spec.policies import Cbps, PolicyField
from sharesim.spec.units import PositiveSize, PositiveTime, Size, Time, show_size
from sharesim.spec.workloads import Idle, WorkloadField

Design = Literal["none", "transparent", "paravirtual"]
Weight = Annotated[int, Field(ge=1, le=1 << 20)]


class Costs(Spec):
    """What operations cost on the simulated machine."""

    profile: str = "modern-x86-ept"
    override: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Primitives to replace, in ns."""
    table: dict[str, Annotated[int, Field(ge=0)]] | None = None
    """All primitives; filled in when a scenario is resolved, so that a run can be repeated."""
    marks: dict[str, str] | None = None
    """How sure each one is and which profile it comes from; filled in with ``table``."""


class Host(Spec):
    """The machine: memory, CPUs and how they are scheduled."""

    memory: PositiveSize | None = None
    """By default what the guests need together."""
    cpus: Annotated[int, Field(ge=1, le=1024)] = 2
    costs: Costs = Costs()
    time_slice: PositiveTime = 4_000_000
    """What a vCPU gets before another one of equal weight takes over."""
    wakeup_granularity: Time = 1_000_000
    """A vCPU that wakes preempts one that is ahead of it by more than this."""
    scheduler: Literal["fair", "eevdf"] = "fair"
    """Weighted fair shares in slices of ``time_slice``; or Linux's scheduler since 6.6, whose
    slices end at timer ticks."""
    hz: Literal[100, 250, 300, 1000] = 250
    """Timer ticks a second: ksmd's sleeps end with one, and eevdf's slices."""
    tick_offset: Time = 0
    """When the first tick comes."""
    backing: Literal["4 KiB", "2 MiB"] = "4 KiB"
    """Mapping size of the hypervisor; a merge or break splits a 2 MiB block."""
    reserve: Size = 0
    """Frames the hypervisor keeps for itself, beside what sharing needs."""
    overcommit: bool = False
    """Allow guests larger than the host; one that finds no free frame waits for one."""

    @property
    def tick(self) -> int:
        """ns from one timer tick to the next."""
        return 1_000_000_000 // self.hz


class Balloon(Spec):
    """A guest's balloon driver: the targets it is told, and how fast it follows them."""

    targets: tuple[tuple[Time, Size], ...] = ()
    """(when, how much memory the guest should keep)."""
    rate: Annotated[float, Field(gt=0, le=1e9)] = 25_600.0
    """Pages per second it inflates or deflates by at most."""
    period: PositiveTime = 10_000_000
    """It works this often while there is something to do."""


class Advice(Spec):
    """An ``madvise`` call: from a time on a part of a guest's memory is scanned, or is not."""

    at: Time
    advice: Literal["mergeable", "unmergeable"]
    start: Size = 0
    size: PositiveSize | None = None
    """By default all that follows ``start``."""


class VM(Spec):
    """A guest."""

    vm_name: str = Field(alias="name", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")
    memory: PositiveSize | None = None
    """By default the size of its image."""
    vcpus: Annotated[int, Field(ge=1, le=256)] = 1
    weight: Weight = 1024
    affinity: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """CPUs its vCPUs may run on; by default all."""
    image: ImageField = Segments()
    workload: WorkloadField = Idle()
    """What each of its vCPUs does."""
    start: Time = 0
    stop: Time | None = None
    map_counts: dict[PageClassName, MapCount] = Field(default_factory=dict)
    """How many page-table entries map a page of a class, where it is not 1."""
    populate: Literal["boot", "demand", "clone"] = "demand"
    """When its pages get frames: all at start (scrubbed to zero), on first touch, or as
    copy-on-write clones of ``clone_of``. What its image has stored is there from the start."""
    clone_of: str | None = None
    free_pages: Literal["kept", "zeroed"] = "kept"
    """Whether the guest zeroes pages it frees (Windows does, Linux does not)."""
    mergeable: bool = True
    """Whether the scanner looks at it, as long as no ``advice`` says otherwise."""
    advice: tuple[Advice, ...] = ()
    """``madvise`` calls in the course of the run; what is made unmergeable is unmerged."""
    balloon: Balloon = Balloon()
    willing: bool = True
    """Whether it takes offers to share (paravirtual design); an unwilling guest shares nothing."""

    model_config = Spec.model_config | {"populate_by_name": True}

    @property
    def name(self) -> str:
        """Its name, as it appears in timelines."""
        return self.vm_name

    @model_validator(mode="after")
    def _sense(self) -> "VM":
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"VM '{self.name}': stop must be after start")
        if (self.populate == "clone") != (self.clone_of is not None):
            raise ValueError(f"VM '{self.name}': populate='clone' and clone_of go together")
        if self.vm_name in ("host", "policy"):
            raise ValueError(f"VM '{self.name}': that name is taken in the timeline")
        return self


class Scanner(Spec):
    """Who runs the scanner, and where."""

    placement: Literal["thread", "softirq", "domain"] = "thread"
    """A schedulable thread; the hypervisor's own softirq, which interrupts whoever runs; or a
    vCPU of the control domain, which maps foreign pages to read them."""
    weight: Weight = 1024
    affinity: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    start: Time = 0


class Paravirtual(Spec):
    """How guests take part in sharing, where the design is paravirtual."""

    cow: Literal["upcall", "hypervisor"] = "upcall"
    """Who breaks a share: the guest, to which the fault is handed; or the hypervisor, which mends
    the faulting entry only, so that the page's other mappings fault later."""
    ring: Annotated[int, Field(ge=1, le=256)] = 256
    """Offers that a guest's ring holds; more are dropped, to be made again in the next pass."""
    expiry: PositiveTime = 1_000_000_000
    """Offers older than this are void."""
    free_pages: Literal["share", "balloon"] = "share"
    """What a guest does with offered pages that it knows to be free: shares them like others, or
    gives them to its balloon."""


class Sharing(Spec):
    """How memory is shared."""

    design: Design = "transparent"
    policy: PolicyField = Cbps()
    scanner: Scanner = Scanner()
    last_sharer: Literal["copy", "reuse"] | None = None
    """What a write to a shared frame with one mapping left does: copy it, or take it over. By
    default as the policy's authors do: KSM copies, the others take over."""
    paravirtual: Paravirtual = Paravirtual()
    split_blocks: bool = True
    """Whether 2 MiB blocks are split to share a page inside; otherwise they are not shared."""


class Scenario(Spec):
    """Everything that a run depends on, with the seed and the data files it names."""

    title: str = ""
    duration: PositiveTime
    warmup: Time = 0
    """Left out of throughput and overhead (memory is shown from the start)."""
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 1
    mode: Literal["decoupled", "exact"] = "decoupled"
    sync_quantum: PositiveTime | None = None
    """How far an actor may run ahead of the clock; by default 1 % of the shortest of scan
    period, scanner sleep and time slice."""
    sample_every: PositiveTime | None = None
    """By default a 200th of the duration, in whole sync quanta."""
    host: Host = Host()
    vms: Annotated[tuple[VM, ...], Field(min_length=1, max_length=4096)]
    paging: PagingField = Nested()
    """How guest page tables are virtualized: a name, or a paging mode with its parameters."""
    sharing: Sharing | None = Sharing()
    baseline: bool = False
    """Also run the pairs without sharing (P1) and native without sharing (P0)."""
    check: bool = False
    """Test the invariants of memory after each event."""
    events: bool = False
    """Record each fault, merge and break."""
    captures: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of each capture named, filled in when the scenario is resolved."""
    code: dict[str, str] = Field(default_factory=dict)
    """Hash of user code that is named, filled in when the scenario is resolved."""

    @property
    def shares(self) -> bool:
        """Whether anything looks for equal pages."""
        return self.sharing is not None and self.sharing.design != "none"

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        self._check_names()
        self._check_cpus()
        if self.warmup >= self.duration:
            raise ValueError("warmup: must be shorter than duration")
        self._check_paging()
        return self

    def _check_paging(self) -> None:
        name = self.paging.registered_name()
        design = self.sharing.design if self.sharing is not None else "none"
        if design not in self.paging.designs:
            raise ValueError(
                f"paging '{name}' with sharing design '{design}': {self.paging.why}; sharing design"
                " 'none' always works"
            )
        if design != "none" and self.sharing and design not in self.sharing.policy.designs:
            raise ValueError(
                f"sharing policy '{self.sharing.policy.registered_name()}' with sharing design"
                f" '{design}': it shares pages by itself, no guest takes part; use 'transparent'"
            )
        if self.host.backing == "2 MiB" and not self.paging.blocks:
            raise ValueError(
                f"host.backing '2 MiB' with paging '{name}': its tables map 4 KiB pages; use"
                " backing '4 KiB', or paging 'nested'"
            )

    def _check_names(self) -> None:
        names = [vm.name for vm in self.vms]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"vms: found two VMs named '{name}'; names must differ")
        seen: set[str] = set()
        for vm in self.vms:
            if vm.clone_of is not None and vm.clone_of not in seen:
                hint = nearest(vm.clone_of, seen)
                raise ValueError(
                    f"VM '{vm.name}': clone_of names no VM before it: '{vm.clone_of}'{hint}"
                )
            seen.add(vm.name)

    def _check_cpus(self) -> None:
        affinities = [(f"VM '{vm.name}'", vm.affinity) for vm in self.vms]
        if self.sharing is not None:
            affinities.append(("sharing.scanner", self.sharing.scanner.affinity))
        for who, affinity in affinities:
            if affinity is not None and not affinity:
                raise ValueError(f"{who}: affinity: found no CPU; name at least one")
            for cpu in affinity or ():
                if cpu >= self.host.cpus:
                    raise ValueError(
                        f"{who}: affinity: found CPU {cpu}; the host has CPUs 0 to"
                        f" {self.host.cpus - 1}"
                    )

    def vm(self, name: str) -> VM:
        """The VM of that name."""
        for vm in self.vms:
            if vm.name == name:
                return vm
        hint = nearest(name, [vm.name for vm in self.vms])
        raise UserError(f"no VM named '{name}'{hint}")

    def to_json(self) -> str:
        """Readable JSON, keys in a fixed order."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        data: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return data

    @classmethod
    def from_json(cls, text: str, where: str = "scenario") -> "Scenario":
        """The inverse of :meth:`to_json`; :class:`UserError` when it is none."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: no valid JSON: {error}") from None
        if not isinstance(data, dict) or "vms" not in data:
            raise UserError(f"{where}: no scenario; one is an object with 'duration' and 'vms'")
        try:
            return cls(**data)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None

    def key(self, model_version: str) -> str:
        """A stable name of this point: the hash of its JSON and the version of the model."""
        text = json.dumps(self.to_dict(), sort_keys=True) + model_version
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def size_problem(need: int, have: int) -> str:
    """The message for guests that do not fit."""
    return (
        f"the guests need {show_size(need)} but the host has {show_size(have)}: give host.memory"
        f" at least that, or set host.overcommit (a guest that finds no free frame then waits)"
    )
