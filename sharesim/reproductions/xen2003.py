"""R18 to R20: direct paging under Xen and shadow tables under VMware, against native paging.

Barham et al., Xen and the Art of Virtualization, SOSP 2003. Three rows of lmbench give what each
paging mode takes for a fault, an update and a switch (:mod:`sharesim.reproductions.lmbench`); the
runs of all others show what those figures lead to.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from sharesim.reproductions.lmbench import (
    CALIBRATING,
    GUEST_MEMORY,
    LARGER_SWITCHES,
    LENGTH,
    OPERATIONS,
    PREDICTED,
    PROFILE,
    Operation,
    lmbench,
)
from sharesim.results.run import Run
from sharesim.spec.costs import load_targets
from sharesim.spec.images import Segment, Segments
from sharesim.spec.paging import LARGEST_BATCH, Direct
from sharesim.spec.scenario import VM, Balloon, Costs, Host, Scenario
from sharesim.spec.workloads import PageTableActivity, PageTableHeavy
from sharesim.study import Row, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODES = ("direct", "shadow")
TOLERANCE = 0.10
"""Of the published excess."""
_PAPER = "Xen, SOSP 2003"
_MIB = 256
"""In pages."""

_CALIBRATED = "calibrated: one of the rows that the profile's figures come from"
_SWITCHING = "predicted as 2p/0K: what the caches lose with larger working sets is not modelled"
_WHOLE_SECONDS = "published in whole seconds: 8 s are 7 to 9 s"
_SYSTEM_CALLS = {
    "null_call": "null call", "null_io": "null I/O", "stat": "stat", "open_close": "open/close",
    "select_tcp": "select TCP", "sig_inst": "signal install", "sig_handle": "signal handle",
}  # fmt: skip
_NO_SYSTEM_CALLS = (
    "entering the kernel, and what Workstation's binary translation adds to it: no page tables"
)
_APPLICATIONS = {
    "spec_int": ("SPEC INT2000", "computes; page tables have no part in it"),
    "osdb_ir": ("OSDB-IR", "its excess is I/O"),
    "osdb_oltp": ("OSDB-OLTP", "its excess is I/O"),
    "dbench": ("dbench", "its excess is I/O"),
    "spec_web99": ("SPEC WEB99", "its excess is I/O"),
}

_PICTURED = {**CALIBRATING, **PREDICTED}
_PART = {"linux_build": 1_000}
"""Drawn as one part of so many."""
_KERNEL, _DAEMONS = round(4.2 * _MIB), round(2.0 * _MIB)
"""R19: what nothing moves, and what goes to swap where there is some: the published figures."""


def batch(entries: int, paging: Direct, operations: int = 100) -> Scenario:
    """R20: operations that write so many page-table entries each, without a fault."""
    work = PageTableHeavy(
        operation=f"{entries:,} entries written",
        accesses=0,
        ops=operations,
        activity=PageTableActivity(updates=entries),
    )
    # Twice what it should take, so that all operations are done.
    duration = 2 * operations * (work.op_time + 1_000 * entries)
    return Scenario(
        title=f"{entries:,} entries, {paging.batch:,} in a batch",
        duration=duration,
        sample_every=duration // 20,
        host=Host(cpus=1, costs=Costs(profile=PROFILE)),
        vms=[VM(name="guest", image=_memory(Segment(size=GUEST_MEMORY)), workload=work)],
        paging=paging,
        sharing=None,
    )


def shrinking(swap: bool) -> Scenario:
    """R19: a domain that is told to give all of its memory back.

    Its balloon takes whatever is not pinned. With ``swap`` that includes the daemons' memory, as if
    it were paged out, which is not modelled.
    """
    return Scenario(
        title=f"A domain shrinks, {'with' if swap else 'without'} swap",
        duration="1 s",
        sample_every="20 ms",
        host=Host(cpus=1, costs=Costs(profile=PROFILE)),
        vms=[
            VM(
                name="guest",
                memory=GUEST_MEMORY,
                populate="boot",
                image=_memory(
                    Segment(size=_KERNEL, page_class="kernel", pinned=True),
                    Segment(size=_DAEMONS, pinned=not swap),
                    Segment(size=24 * _MIB, page_class="page-cache"),
                ),
                balloon=Balloon(targets=(("100 ms", 0),)),
            )
        ],
        paging=Direct(),
        sharing=None,
    )


def _memory(*segments: Segment) -> Segments:
    return Segments(segments=segments)


@dataclass
class Xen2003(Study):
    """All rows of the paper that page tables explain, and those that they do not."""

    name: ClassVar[str] = "xen2003"
    title: ClassVar[str] = "Xen 2003: what direct paging and shadow tables add to native times"
    length: int = LENGTH
    """Operations that a run lasts natively."""

    def runs(self) -> dict[str, Scenario]:
        runs = {
            f"{row}-{mode}": lmbench(row, mode, self.length)
            for row in OPERATIONS
            for mode in ("native", *MODES)
        }
        runs["batch-full"] = batch(LARGEST_BATCH, Direct())
        runs["batch-one-more"] = batch(LARGEST_BATCH + 1, Direct())
        runs["batch-none"] = batch(LARGEST_BATCH, Direct(batch=1))
        runs["shrink"], runs["shrink-swap"] = shrinking(swap=False), shrinking(swap=True)
        return runs

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        return [
            *_excesses(runs, PREDICTED, tolerance=TOLERANCE),
            *_excesses(runs, CALIBRATING, note=_CALIBRATED),
            *_ratios(runs),
            *_excesses(runs, LARGER_SWITCHES, note=_SWITCHING),
            *_beyond_page_tables(),
            *_shrunk(runs),
            *_batches(runs),
        ]

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        counts = ", ".join(f"{one.title} {one.faults:,}" for one in PREDICTED.values())
        switches = ", ".join(f"{one.title} {one.switches}" for one in PREDICTED.values())
        calibrated, predicted = len(CALIBRATING) * len(MODES), len(PREDICTED) * len(MODES)
        build = PREDICTED["linux_build"]
        return [
            f"Degrees of freedom: {len(CALIBRATING)} calibrated rows in {len(MODES)} modes give"
            f" {calibrated} figures, which fix {calibrated} costs: of a fault, an update and a"
            f" switch in each mode. The {predicted} predicted figures have one fitted count a row:"
            f" {len(PREDICTED)} taken, {predicted - len(PREDICTED)} left.",
            f"Counts, the same in both modes: {counts}. The paper does not give them. Each is the"
            " one with which the larger of its row's two errors is the least, so these come"
            " out about equal and opposite; that one count serves both modes is what is tested.",
            f"Switches are assumed: {switches}.",
            "Native times are published and are inputs. A run repeats an operation on one vCPU;"
            " its excess is its CPU time per operation less that of the native run.",
            f"The Linux build is run as {build.slices:,} equal slices of"
            f" {build.faults // build.slices} faults each.",
            "A domain shrinks to what its image says is pinned, which is put equal to the published"
            " figures: the row shows that the balloon gets there. Reclaim and swap within the"
            " guest are not modelled.",
        ]

    def picture(self, runs: Mapping[str, Run], rows: list[Row]) -> "Figure":
        from sharesim.results.style import heading, stacked_figure
        from sharesim.results.titled import titled

        figure, (axes,) = stacked_figure([4.0])
        axes.set_yscale("log")  # first, for it sets its own ticks and their words
        titled(
            figure,
            "One count a row fits both hypervisors",
            f"What an operation takes longer than natively: published ({_PAPER}) and simulated",
        )
        heading(axes, "Excess over native", unit="us")
        _draw(axes, runs)
        return figure


# R18


def _time(runs: Mapping[str, Run], row: str, mode: str) -> float | None:
    """ns of one operation, or one build, in a run."""
    return OPERATIONS[row].measured(runs[f"{row}-{mode}"])


def _excess(runs: Mapping[str, Run], row: str, mode: str) -> float | None:
    """ns by which a run's operation takes longer than the native run's."""
    ours, native = _time(runs, row, mode), _time(runs, row, "native")
    return None if ours is None or native is None else ours - native


def _published_excess(operation: Operation, mode: str) -> int:
    return operation.published(mode).ns - operation.published("native").ns


def _source(where: str) -> str:
    return f"R18: {_PAPER}, {where}: excess over native"


def _unit(operation: Operation) -> tuple[str, float]:
    """The unit in which the paper has the row, and its ns."""
    return ("s", 1e9) if operation.where == "figure 3" else ("us", 1e3)


def _excesses(
    runs: Mapping[str, Run],
    operations: Mapping[str, Operation],
    *,
    tolerance: float | None = None,
    note: str = "",
) -> Iterator[Row]:
    for row, operation in operations.items():
        unit, ns = _unit(operation)
        for mode in MODES:
            excess = _excess(runs, row, mode)
            coarse = operation.where == "figure 3" and mode == "direct"
            yield Row(
                _source(operation.where), f"{operation.title}, {mode}",
                _published_excess(operation, mode) / ns, None if excess is None else excess / ns,
                unit, tolerance=tolerance, mark="derived", note=_WHOLE_SECONDS if coarse else note,
            )  # fmt: skip


def _ratios(runs: Mapping[str, Run]) -> Iterator[Row]:
    """Times as multiples of the native one, as the paper is usually quoted."""
    for row in ("page_fault", "protection_fault", *PREDICTED):
        operation = OPERATIONS[row]
        native = _time(runs, row, "native")
        for mode in MODES:
            ours = _time(runs, row, mode)
            yield Row(
                f"R18: {_PAPER}, the same tables: ratio to native", f"{operation.title}, {mode}",
                operation.published(mode).ns / operation.published("native").ns,
                ours / native if ours and native else None, "times", mark="derived",
                note=_CALIBRATED if row in CALIBRATING else "",
            )  # fmt: skip


def _beyond_page_tables() -> Iterator[Row]:
    """Rows of which page tables say nothing."""
    targets = load_targets()
    for row, title in _SYSTEM_CALLS.items():
        native = targets[f"lmbench_{row}_native"].ns
        for mode in MODES:
            yield Row(
                _source("table 3"), f"{title}, {mode}",
                (targets[f"lmbench_{row}_{mode}"].ns - native) / 1e3, None, "us", mark="derived",
                note=_NO_SYSTEM_CALLS,
            )  # fmt: skip
    for row, (title, note) in _APPLICATIONS.items():
        native = targets[f"{row}_native"].ns
        for mode in MODES:
            yield Row(
                f"R18: {_PAPER}, figure 3: ratio to native", f"{title}, {mode}",
                targets[f"{row}_{mode}"].ns / native, None, "times", mark="derived", note=note,
            )  # fmt: skip


# R19


def _shrunk(runs: Mapping[str, Run]) -> Iterator[Row]:
    """Where ballooning ends, and what the hypervisor keeps of a domain."""
    where = f"R19: {_PAPER}, a domain of 64 MB"
    for name, words, published in (
        ("shrink", "without swap", 6.2),
        ("shrink-swap", "with swap", 4.2),
    ):
        left = GUEST_MEMORY - runs[name].summary["memory"]["ballooned_pages"]
        yield Row(
            where, f"told to shrink, {words}: memory that is left", published, left / _MIB, "MB",
            note="by construction: the image says what cannot be reclaimed",
        )  # fmt: skip
    direct, shadow = (runs[f"fork-{mode}"].summary for mode in MODES)
    yield Row(
        where, "the hypervisor's state of it, direct", 20,
        4 * direct["memory"]["domain_state_pages"], "kB", note="an input, not a result",
    )  # fmt: skip
    held = shadow["memory"]["shadow_pool_pages"] + shadow["memory"]["rmap_pages"]
    yield Row(
        where, "the hypervisor's state of it, shadow", None, 4 * held, "kB",
        note="an input: the default size of the pool of shadow tables, and their rmap",
    )  # fmt: skip
    yield Row(
        where, "shadow tables in use at the end of repeated forks", None,
        4 * shadow["counters"]["shadow_tables_pages"], "kB",
    )  # fmt: skip


# R20


def _batches(runs: Mapping[str, Run]) -> Iterator[Row]:
    """Hypercalls of operations that write many entries; what each entry costs."""
    row = partial(Row, f"R20: {_PAPER}, queued updates")
    for name, words, published, mark in (
        ("batch-full", f"{LARGEST_BATCH:,} entries in one operation", 1, "quoted"),
        ("batch-one-more", f"{LARGEST_BATCH + 1:,} entries in one operation", 2, "derived"),
        ("batch-none", f"{LARGEST_BATCH:,} entries, not queued", LARGEST_BATCH, "derived"),
    ):
        calls = runs[name].summary["counters"]["pt_hypercalls"] / _done(runs[name])
        yield row(f"{words}: hypercalls", published, calls, relation="equal", mark=mark)
    full = runs["batch-full"].summary["counters"]
    reached = full["pt_updates"] / full["pt_hypercalls"] / _MIB
    yield row("address space that a hypercall maps", 8, reached, "MB", relation="equal")
    for name, words in (("batch-full", "queued"), ("batch-none", "not queued")):
        spent = runs[name].summary["guests"]["guest"]["ledger_ns"]["paging"]
        entries = runs[name].summary["counters"]["pt_updates"]
        yield row(f"excess over native of an entry, {words}", None, spent / entries, "ns")


def _done(run: Run) -> int:
    """Operations that a run finished."""
    done: int = run.summary["guests"]["guest"]["operations"]
    return done


# The picture


def _pictured(runs: Mapping[str, Run], mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Published and simulated excess of each pictured row, float64[rows], in us."""
    scale = np.array([1e3 * _PART.get(row, 1) for row in _PICTURED])
    published = [_published_excess(one, mode) for one in _PICTURED.values()]
    simulated = [_excess(runs, row, mode) or np.nan for row in _PICTURED]
    return published / scale, simulated / scale


def _draw(axes: "Axes", runs: Mapping[str, Run]) -> None:
    """For each row and mode a bar of what is published and one of the runs, their error above."""
    from sharesim.results.style import BLUE, INK, MUTED, ORANGE, SKY, VERMILLION

    # A gap parts what the figures come from and what they predict.
    places = np.arange(len(_PICTURED)) + 0.4 * (np.arange(len(_PICTURED)) >= len(CALIBRATING))
    for mode, middle, hypervisor, pale, full in (
        ("direct", places - 0.2, "Xen", SKY, BLUE),
        ("shadow", places + 0.2, "VMware", ORANGE, VERMILLION),
    ):
        published, simulated = _pictured(runs, mode)
        axes.bar(middle - 0.09, published, 0.17, color=pale, label=f"{mode}, {hypervisor}")
        axes.bar(middle + 0.09, simulated, 0.17, color=full, label=f"{mode}, simulated")
        errors = 100 * (simulated / published - 1)
        tops = np.fmax(published, simulated)
        for at in range(len(CALIBRATING), len(places)):
            axes.annotate(
                f"{errors[at]:+.1f} %".replace("-", "−"), (middle[at], tops[at]), xytext=(0, 3),
                textcoords="offset points", ha="center", fontsize=7.5, color=INK,
            )  # fmt: skip
    axes.set_ylim(0.1, 1e6)
    parts = np.split(places, [len(CALIBRATING)])
    for part, words in zip(parts, ("calibrated", "predicted, with the error"), strict=True):
        axes.text(part.mean(), 4e5, words, ha="center", color=MUTED)
    axes.set_xticks(places, [_label(row) for row in _PICTURED])
    axes.minorticks_off()
    axes.tick_params(axis="x", length=0)
    axes.grid(False, axis="x")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)


def _label(row: str) -> str:
    """A row's name on the axis, in two lines."""
    title = _PICTURED[row].title
    if row in _PART:
        return f"{title},\n1/{_PART[row]:,}"
    return "\n".join(title.rsplit(" ", 1))


def study() -> Study:
    """As ``sharesim reproduce xen2003`` runs it."""
    return Xen2003()
