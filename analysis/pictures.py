"""The pictures of docs/paging.md, docs/paravirtual.md and docs/ksm-published.md, from runs.

    python -m analysis.pictures [paging] [paravirtual] [ksm-host]

writes ``docs/images/paging.png`` and so on, and prints the figures that the pages quote. Nothing is
computed that was not simulated.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.ksm_pictures import draw_ksm_host
from sharesim import (
    VM,
    Cbps,
    Costs,
    Direct,
    Host,
    Native,
    Nested,
    PageTableHeavy,
    PagingSpec,
    Paravirtual,
    RandomAccess,
    Run,
    Scenario,
    Segment,
    Segments,
    Shadow,
    Sharing,
    ZipfAccess,
    simulate,
)
from sharesim.results import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES = Path(__file__).parents[1] / "docs" / "images"
MACHINE = "xen-2006-p4"
"""A machine of the years of direct and shadow paging: estimates, but of one kind for all modes."""
MODES: dict[str, PagingSpec] = {
    "native": Native(),
    "direct": Direct(),
    "shadow": Shadow(),
    "nested": Nested(),
}
DESIGNS: dict[str, tuple[PagingSpec, str]] = {
    "nested, transparent": (Nested(), "transparent"),
    "shadow, transparent": (Shadow(), "transparent"),
    "shadow, no rmap": (Shadow(rmap="none"), "transparent"),
    "direct, paravirtual": (Direct(), "paravirtual"),
}

# docs/paging.md


def start_processes(paging: PagingSpec) -> Scenario:
    """A guest alone on a CPU that starts processes: what paging costs when page tables change."""
    work = PageTableHeavy(region="24 MiB", region_start="8 MiB")
    image = Segments(segments=(Segment(size="32 MiB"),))
    return Scenario(
        title="Processes",
        duration="2 s",
        warmup="500 ms",
        host=Host(cpus=1, costs=Costs(profile=MACHINE)),
        vms=[VM(name="guest", image=image, workload=work)],
        paging=paging,
        sharing=None,
    )


def many_spaces(pool: int) -> Scenario:
    """A guest of 16 MiB whose pages are mapped by four processes each, under a pool of tables."""
    work = ZipfAccess(
        operation="request",
        accesses=20,
        op_time="400 us",
        exponent=0.6,
        activity={"switches": 1},
    )
    return Scenario(
        title="Shadow pool",
        duration="4 s",
        warmup="3 s",
        host=Host(cpus=1, costs=Costs(profile=MACHINE)),
        vms=[
            VM(
                name="guest",
                image=Segments(segments=(Segment(size="16 MiB"),)),
                map_counts={"anonymous": 4},
                workload=work,
            )
        ],
        paging=Shadow(pool=pool),
        sharing=None,
    )


TABLES = 32
"""Pages of shadow tables that this guest needs: 8 of the lowest level for each address space."""
POOLS = (2, 4, 8, 12, 16, 20, 24, 28, 30, TABLES, 36)


def draw_paging() -> "Figure":
    """Time of an operation in each mode, and what a pool that is too small costs."""
    figure, (left, right) = _figure(10.5, 3.9, ((0.085, 0.30), (0.535, 0.38)))
    _draw_modes(left, {name: simulate(start_processes(mode)) for name, mode in MODES.items()})
    _draw_pools(right, {pool: simulate(many_spaces(pool)) for pool in POOLS})
    for axes in (left, right):
        axes.yaxis.set_label_coords(-0.15, 0.5)
    return figure


def _draw_modes(axes: "Axes", runs: Mapping[str, Run]) -> None:
    style.heading(axes, "A process started, by paging mode", "", "us of CPU")
    for at, (name, run) in enumerate(runs.items()):
        guest = run.summary["guests"]["guest"]
        work, paging = (
            guest["ledger_ns"][cause] / guest["operations"] / 1e3 for cause in ("work", "paging")
        )
        axes.bar(at, work, 0.6, color=style.FAINT)
        axes.bar(at, paging, 0.6, bottom=work, color=style.VERMILLION)
        words = f"+{100 * paging / work:.0f} %" if paging else "work"
        axes.text(at, work + paging, words, ha="center", va="bottom", fontsize=8.5)
        print(f"{name}: {work:,.1f} us of work, {paging:,.1f} us of paging an operation")
    axes.set_xticks(range(len(runs)), list(runs))
    axes.tick_params(axis="x", length=0)
    axes.grid(False, axis="x")
    axes.margins(y=0.12)


def _draw_pools(axes: "Axes", runs: Mapping[int, Run]) -> None:
    style.heading(axes, "Time lost to paging, by size of the shadow pool", "", "% of CPU time")
    shares, evictions = [], []
    for pool, run in runs.items():
        guest, counters = run.summary["guests"]["guest"], run.summary["counters"]
        shares.append(100 * guest["ledger_ns"]["paging"] / sum(guest["ledger_ns"].values()))
        evictions.append(counters["shadow_evictions"])
        print(
            f"pool of {pool} pages: {shares[-1]:.2f} %, {evictions[-1]:,} evictions,"
            f" {counters['hidden_faults']:,} hidden faults"
        )
    axes.plot(list(runs), shares, "o-", color=style.BLUE, markersize=4)
    axes.axvline(TABLES, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.text(TABLES - 0.5, max(shares), "all tables fit", ha="right", va="top", color=style.MUTED)
    axes.set_xlabel("pages of shadow tables")
    axes.set_xlim(0, max(runs) + 1)
    axes.set_ylim(0, None)


# docs/paravirtual.md


def one_batch() -> Scenario:
    """Two guests of 16 pages, 12 of them equal, scanned in one batch; they write now and then."""
    image = Segments(
        segments=(Segment(size=12, page_class="page-cache", shared_as="files"), Segment(size=4))
    )
    work = RandomAccess(operation="request", accesses=1, op_time="12 us", write_fraction=0.04)
    return Scenario(
        title="One batch of offers",
        duration="640 us",
        mode="exact",
        sync_quantum="500 ns",
        sample_every="1 us",
        events=True,
        host=Host(cpus=3, costs=Costs(profile=MACHINE)),
        vms=[VM(name=name, image=image, workload=work) for name in ("left", "right")],
        paging=Direct(),
        sharing=Sharing(design="paravirtual", policy=Cbps(scan_rate=6_400, wake_period="5 ms")),
    )


def merging(paging: PagingSpec, design: str) -> Scenario:
    """Two guests that read all their memory, three quarters of it equal, on CPUs of their own."""
    image = Segments(
        segments=(
            Segment(size="8 MiB", page_class="page-cache", shared_as="files"),
            Segment(size="2 MiB"),
        )
    )
    work = RandomAccess(operation="request", accesses=1, op_time="20 us")
    guests = [
        VM(name=name, image=image, workload=work, map_counts={"page-cache": 2})
        for name in ("left", "right")
    ]
    return Scenario(
        title="What a merge costs",
        duration="2 s",
        events=True,
        host=Host(cpus=3, costs=Costs(profile=MACHINE)),
        vms=guests,
        paging=paging,
        sharing=Sharing(design=design, policy=Cbps(scan_rate=5_000)),
    )


def breaking(
    paging: PagingSpec, sharing: Sharing, profile: str, overwrites: float = 0.0
) -> Scenario:
    """Two equal guests that write now and then to what they share; pages are mapped three times."""
    image = Segments(segments=(Segment(size="4 MiB", page_class="page-cache", shared_as="files"),))
    work = RandomAccess(
        operation="request",
        accesses=1,
        op_time="200 us",
        write_fraction=0.05,
        overwrites=overwrites,
    )
    guests = [
        VM(name=name, image=image, workload=work, map_counts={"page-cache": 3})
        for name in ("left", "right")
    ]
    return Scenario(
        title="What a break costs",
        duration="1 s",
        events=True,
        host=Host(cpus=3, costs=Costs(profile=profile)),
        vms=guests,
        paging=paging,
        sharing=sharing,
    )


def ways_to_break(profile: str) -> dict[str, Scenario]:
    """The same guests under each design and each way to break a share."""
    policy = Cbps(scan_rate=5_000)
    upcall = Sharing(design="paravirtual", policy=policy)
    alone = Sharing(design="paravirtual", policy=policy, paravirtual=Paravirtual(cow="hypervisor"))
    return {
        "nested": breaking(Nested(), Sharing(policy=policy), profile),
        "shadow": breaking(Shadow(), Sharing(policy=policy), profile),
        "upcall": breaking(Direct(), upcall, profile),
        "hypervisor": breaking(Direct(), alone, profile),
        "overwriting": breaking(Direct(), upcall, profile, overwrites=1.0),
    }


def break_ns(run: Run) -> float:
    """Median ns of a COW break."""
    events = run.events
    return float(events[events.kind == "cow break"].duration_ns.median())


PAYERS = {
    "scanner: visits": style.FAINT,
    "scanner: merging": style.BLUE,
    "guests: interrupted by flushes": style.ORANGE,
    "guests: refills": style.PURPLE,
    "guests: their drivers": style.VERMILLION,
}


def draw_paravirtual() -> "Figure":
    """The steps of one batch on a time axis; who pays for a merge under each design."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 7.4), facecolor="white")
    lanes = figure.add_axes((0.085, 0.70, 0.80, 0.24))
    memory = figure.add_axes((0.085, 0.52, 0.80, 0.15), sharex=lanes)
    bars = figure.add_axes((0.17, 0.075, 0.715, 0.25))
    run = simulate(one_batch())
    _draw_lanes(lanes, run)
    _draw_frames(memory, run)
    _draw_payers(bars, {name: simulate(merging(*pair)) for name, pair in DESIGNS.items()})
    for profile in (MACHINE, "modern-x86-ept"):
        medians = {name: break_ns(simulate(one)) for name, one in ways_to_break(profile).items()}
        print(f"{profile}: " + ", ".join(f"{name} {ns:,.0f} ns" for name, ns in medians.items()))
    return figure


STEPS = {
    "visit": style.FAINT,
    "consent": style.ORANGE,
    "share": style.BLUE,
    "rewrite": style.GREEN,
    "break": style.VERMILLION,
}
BREAKS = ("cow break", "zero fill", "reuse")


def _draw_lanes(axes: "Axes", run: Run) -> None:
    events = run.events
    actors = ("scanner", "left", "right")
    for lane, actor in enumerate(reversed(actors)):
        mine = events[events.actor == actor]
        if actor != "scanner":
            axes.broken_barh(
                [(0, run.scenario.duration / 1e3)], (lane - 0.3, 0.6), color=style.PALE
            )
        for kind, spans in spans_of(mine, run).items():
            axes.broken_barh(
                spans, (lane - 0.3, 0.6), facecolor=STEPS[kind], edgecolor="white", lw=0.4
            )
    offers = events[events.kind == "offer"].time_ns.unique() / 1e3
    axes.plot(offers, [2.42] * len(offers), "v", color=style.INK, markersize=3.5)
    axes.set_yticks(range(3), [f"guest {actors[2]}", f"guest {actors[1]}", actors[0]])
    axes.set_ylim(-0.45, 2.6)
    axes.set_title("One batch of offers, step by step", loc="left", color=style.INK, weight="bold")
    axes.tick_params(labelbottom=False, left=False)
    names = {
        "visit": "visit (▼ offer)",
        "consent": "event and consent",
        "rewrite": "rewrite, flush",
    }
    handles = [_patch(colour, names.get(kind, kind)) for kind, colour in STEPS.items()]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.36, 1.0), ncols=5,
                frameon=False, fontsize=8.5, handlelength=1, columnspacing=1.2)  # fmt: skip


def spans_of(events: Any, run: Run) -> dict[str, list[tuple[float, float]]]:
    """(start, length) in us of each step of an actor. Consent lasts until the call that shares."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for kind in ("visit", "share", "rewrite"):
        rows = events[events.kind == kind]
        spans[kind] = list(zip(rows.time_ns / 1e3, rows.duration_ns / 1e3, strict=True))
    rows = events[events.kind.isin(BREAKS)]
    spans["break"] = list(zip(rows.time_ns / 1e3, rows.duration_ns / 1e3, strict=True))
    hypercall = (run.scenario.host.costs.table or {})["hypercall"]
    shares = np.sort(events[events.kind == "share"].time_ns)
    spans["consent"] = []
    for begin in events[events.kind == "consent"].time_ns.unique():
        call = shares[np.searchsorted(shares, begin)] - hypercall
        spans["consent"].append((begin / 1e3, (call - begin) / 1e3))
        spans["share"].append((call / 1e3, hypercall / 1e3))
    return spans


def _draw_frames(axes: "Axes", run: Run) -> None:
    host = run.timeline[run.timeline.entity == "host"]
    times = host.time_ns / 1e3
    style.heading(axes, "", "", "frames")
    lines = (
        ("saved_pages", "saved", style.GREEN),
        ("pending_flush_pages", "not yet flushed", style.ORANGE),
    )
    for column, _, colour in lines:
        axes.plot(times, host[column], color=colour, drawstyle="steps-post")
    axes.set_xlabel("simulated time, us")
    axes.set_xlim(0, run.scenario.duration / 1e3)
    axes.set_ylim(0, 13)
    style.end_labels(
        axes,
        [
            style.EndLabel(float(host[column].iloc[-1]), name, colour)
            for column, name, colour in lines
        ],
    )


def _draw_payers(axes: "Axes", runs: dict[str, Run]) -> None:
    for at, (name, run) in enumerate(reversed(runs.items())):
        parts = time_per_merge(run)
        left = 0.0
        for payer, colour in PAYERS.items():
            axes.barh(at, parts[payer], 0.6, left=left, color=colour)
            left += parts[payer]
        axes.text(left + 0.5, at, f"{left:.1f} us", va="center", fontsize=8.5)
        print(f"{name}: " + ", ".join(f"{payer} {us:.1f} us" for payer, us in parts.items()))
    axes.set_yticks(range(len(runs)), list(reversed(runs)))
    axes.set_xlabel("CPU time for each page merged, us")
    axes.set_title("Who pays for a merge", loc="left", color=style.INK, weight="bold", pad=24)
    axes.tick_params(axis="y", length=0)
    axes.grid(True, axis="x")
    axes.margins(x=0.08)
    handles = [_patch(colour, payer) for payer, colour in PAYERS.items()]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.01, 0.98), ncols=5,
                frameon=False, fontsize=8.5, handlelength=1, columnspacing=1.2)  # fmt: skip


def time_per_merge(run: Run) -> dict[str, float]:
    """us of CPU time for each page merged, by who spends it on what; from ledger and events."""
    summary, merges = run.summary, run.summary["counters"]["merges"]
    ledger, spent = summary["host"]["ledger_ns"], run.events.groupby("kind").duration_ns.sum()
    refills = spent.get("refill", 0)
    parts = {
        "scanner: visits": spent["visit"],
        "scanner: merging": summary["scanner"]["cpu_ns"] - spent["visit"],
        "guests: interrupted by flushes": ledger["interrupted"],
        "guests: refills": refills,
        "guests: their drivers": ledger["sharing"] - refills,
    }
    return {payer: float(ns) / merges / 1e3 for payer, ns in parts.items()}


# Both


def _figure(
    width: float, height: float, places: Sequence[tuple[float, float]]
) -> tuple["Figure", list["Axes"]]:
    """Panels side by side, each at (left, width) of the figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    return figure, [figure.add_axes((left, 0.16, span, 0.70)) for left, span in places]


def _patch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, label=label)


PICTURES: dict[str, Callable[[], "Figure"]] = {
    "paging": draw_paging,
    "paravirtual": draw_paravirtual,
    "ksm-host": draw_ksm_host,
}


def main() -> None:
    """Draw what is asked for, by default all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    names = parser.parse_args().names or list(PICTURES)
    for name in names:
        with style.settings():
            figure = PICTURES[name]()
        print(style.save_timeline(figure, IMAGES / f"{name}.png"))


if __name__ == "__main__":
    main()
