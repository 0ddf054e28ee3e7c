"""A case of a page scanner's overhead as a scenario: the same windows, one after another.

Workers are VMs in paging mode ``process`` with one vCPU each and closed-loop accesses; ksmd is the
scanner thread, with the weight of nice 5. Before the first window the workers idle while all memory
is scanned; then windows follow one another as in the live measurement, an off window before every
one or two others and one at the end, and knobs are written to the simulated sysfs at their edges.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sharesim.content.ksm_tables import MILLISECOND
from sharesim.content.overhead_case import HOG, OFF, OverheadCase, Variant, Worker
from sharesim.errors import UserError
from sharesim.spec.images import Numbered
from sharesim.spec.ksm import Knobs, Ksm
from sharesim.spec.paging import Process
from sharesim.spec.scenario import VM, Costs, Host, Scanner, Scenario, Sharing
from sharesim.spec.workloads import CpuBound, Idle, Phases, RandomAccess, TwoRegions, Workload
from sharesim.validation.machine import COSTS, CPUS, HZ, NICE_5

TICK_OFFSET = 500_000_000 // HZ
"""Half a tick: the phase of the recordings is not known."""
PREWARM_PAGE = 10_000
"""ns for each page of a full scan before the windows: more than any visit takes."""
SPARE = 2
"""Times the workers' memory that the host has: breaks always find a free frame."""
HOG_NAME = "hog"
HOG_UNIT = 100_000
"""ns of computing that the control counts as one operation."""


@dataclass(frozen=True)
class Window:
    """A stretch of one variant; only from ``measured`` on it counts."""

    variant: str
    start: int
    measured: int
    end: int


@dataclass(frozen=True)
class Session:
    """A case as it is simulated: the scenario, and which of its time is which variant."""

    case: OverheadCase
    scenario: Scenario
    windows: tuple[Window, ...]


def worker_name(number: int) -> str:
    """The VM that stands for a worker."""
    return f"worker{number}"


def order_of(variants: Sequence[Variant], rounds: int) -> Iterator[str]:
    """Which variant each window has: off before every one or two others, and at the end."""
    for _ in range(rounds):
        for at, variant in enumerate(variants):
            if at % 2 == 0:
                yield OFF
            yield variant.name
    yield OFF


def build_session(
    case: OverheadCase,
    operation_ns: Sequence[int],
    *,
    variants: Sequence[Variant],
    rounds: int,
    cpus: int = CPUS,
    seed: int = 1,
    costs: Costs = COSTS,
) -> Session:
    """The scenario of a case.

    ``operation_ns`` is what an operation of each worker takes undisturbed. ``cpus`` are those of
    the machine; more are taken where the case names more.
    """
    length, skip = case.window_ns, case.skip_ns
    begin = _scan_time(case) * 2 * (case.prewarm_scans + 1)
    windows = tuple(
        Window(name, start, start + skip, start + length)
        for at, name in enumerate(order_of(variants, rounds))
        for start in [begin + at * length]
    )
    cpus = max(cpus, case.cpus)
    workers = [
        _vm(number, worker, operation_ns[number], begin)
        for number, worker in enumerate(case.workers)
    ]
    if any(variant.name == HOG for variant in variants):
        workers.append(_hog(case, windows, cpus))
    scenario = Scenario(
        title=case.name,
        duration=windows[-1].end,
        warmup=begin,
        seed=seed,
        host=Host(
            memory=SPARE * sum(worker.pages for worker in case.workers) + SPARE,
            cpus=cpus,
            scheduler="eevdf",
            hz=HZ,
            tick_offset=TICK_OFFSET,
            costs=costs,
        ),
        vms=tuple(workers),
        paging=Process(),
        sharing=Sharing(
            policy=_policy(case, variants, windows),
            scanner=Scanner(placement="thread", weight=NICE_5, affinity=case.ksmd_cpus),
        ),
    )
    return Session(case, scenario, windows)


def _scan_time(case: OverheadCase) -> int:
    """ns that a full scan of all memory takes at most, in whole ms."""
    pages = sum(worker.pages for worker in case.workers)
    return -(-pages * PREWARM_PAGE // MILLISECOND) * MILLISECOND


def _vm(number: int, worker: Worker, operation_ns: int, begin: int) -> VM:
    return VM(
        name=worker_name(number),
        memory=worker.pages,
        affinity=None if worker.cpu is None else (worker.cpu,),
        image=Numbered(runs=worker.runs),
        workload=Phases(phases=(Idle(for_=begin), _workload(worker, operation_ns))),
        mergeable=worker.mergeable,
    )


def _workload(worker: Worker, operation_ns: int) -> Workload:
    common: dict[str, Any] = {
        "operation": "access and computing",
        "op_time": operation_ns,
        "write_fraction": worker.write_share,
        "new_content": "same",
    }
    regions = [(worker.a_first, worker.a_pages), (worker.b_first, worker.b_pages)]
    if 0 < worker.a_share < 1:
        (common["region_start"], common["region"]) = regions[0]
        (common["other_start"], common["other"]) = regions[1]
        return TwoRegions(share=worker.a_share, **common)
    start, region = regions[0 if worker.a_share else 1]
    return RandomAccess(region_start=start, region=region, **common)


def _hog(case: OverheadCase, windows: Sequence[Window], cpus: int) -> VM:
    """The control: it computes in its windows, on a CPU that no worker is pinned to."""
    taken = {worker.cpu for worker in case.workers}
    free = [cpu for cpu in range(cpus) if cpu not in taken]
    if not free:
        raise UserError(
            f"case '{case.name}': variant '{HOG}' computes on a CPU without a worker; all"
            f" {cpus} have one"
        )
    phases: list[Workload] = []
    time = 0
    for window in windows:
        if window.variant == HOG:
            phases.append(Idle(for_=window.start - time))
            phases.append(CpuBound(op_time=HOG_UNIT, for_=window.end - window.start))
            time = window.end
    return VM(
        name=HOG_NAME,
        memory=1,
        affinity=(free[0],),
        workload=Phases(phases=(*phases, Idle())),
        mergeable=False,
    )


def _policy(case: OverheadCase, variants: Sequence[Variant], windows: Sequence[Window]) -> Ksm:
    """KSM that scans all memory fast, and from the first window on does what each window asks."""
    scan = _scan_time(case)
    by_name = {variant.name: variant for variant in variants}
    touched = {knob for variant in variants for knob in variant.knobs}
    changes: list[tuple[int, Knobs]] = []
    for window in windows:
        if window.variant in (OFF, HOG):
            run = 2 if case.unmerges and window.variant == OFF else 0
            changes.append((window.start, Knobs(run=run)))
        else:
            for knobs in settings(by_name[window.variant], touched):
                changes.append((window.start, Knobs(**knobs)))
    return Ksm(
        pages_to_scan=sum(worker.pages for worker in case.workers) + 1,
        sleep_millisecs=scan // MILLISECOND,
        smart_scan=False,
        changes=tuple(changes),
    )


def settings(variant: Variant, touched: set[str]) -> Iterator[dict[str, Any]]:
    """What is written to sysfs for a variant, in order, ``run`` last.

    ``touched`` are the knobs that any variant of the case sets: those that this one does not set
    get their defaults. The advisor goes first, as it sets ``pages_to_scan``.
    """
    fields = Ksm.model_fields
    always = {"pages_to_scan", "sleep_millisecs", "smart_scan"}
    values = {
        knob: variant.knobs.get(knob, fields[knob].default) for knob in sorted(touched | always)
    }
    mode = values.pop("advisor_mode", None)
    if mode == "scan-time":
        del values["pages_to_scan"]  # the advisor's
    if mode is not None:
        yield {"advisor_mode": mode}
    yield values | {"run": 1}
