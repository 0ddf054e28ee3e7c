"""R36: passes over intervals of hash values, the scheme of the 2006 thesis.

A hypervisor without room for a table of all pages enters only digests of one of k intervals in each
pass over memory (Kloster, Kristensen and Mejlholm 2006; Difference Engine, OSDI 2008, used five).
What that must mean can be derived: nothing less is found in unchanging memory, but later, for more
hashing, and a pair is lost if one of its pages changes before its interval's turn.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sharesim.results.run import Run
from sharesim.spec.images import Segment, Segments
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Host, Scenario, Sharing
from sharesim.spec.workloads import Idle, RandomAccess, Workload
from sharesim.study import Row, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAIRS = 8_000
"""Pages of each of two guests; where their memory is equal, page by page, so many pairs."""
RATE = 20_000
"""Pages scanned per second."""
PERIOD_NS = 2 * PAIRS * 1_000_000_000 // RATE
"""A scan period: every page once."""

_SOURCE = "R36: multi-pass scan of the 2006 thesis"
_PASSES = (1, 2, 3, 5)
_REWRITTEN = 0.1
"""Pages that each guest writes per scan period where it writes, as a share of its memory."""
_SIGMAS = 4


def two_guests(
    passes: int, duration_ns: int, *, equal: bool = True, rewritten: float = 0.0, **settings: Any
) -> Scenario:
    """Two guests, scanned in random order; ``settings`` are further fields of the scenario.

    ``equal``: each page of one has the content of a page of the other; else no two pages are equal.
    ``rewritten``: pages that each guest writes per scan period, as a share of its memory.
    """
    work: Workload = Idle()
    if rewritten:
        rate = rewritten * PAIRS / (PERIOD_NS / 1e9)
        work = RandomAccess(operation="page rewritten", rate=rate, write_fraction=1.0)
    image = Segments(segments=(Segment(size=PAIRS, shared_as="pairs" if equal else None),))
    return Scenario(
        title=f"{passes} passes over hash intervals",
        duration=duration_ns,
        host=Host(cpus=3),  # nobody waits for a CPU
        vms=[VM(name=name, image=image, workload=work) for name in ("left", "right")],
        sharing=Sharing(
            policy=Cbps(scan_rate=RATE, order="random", passes=passes, wake_period="5 ms")
        ),
        **settings,
    )


def mean_delay(passes: int) -> float:
    """Scan periods until a pair of unchanging pages is merged, on average.

    The interval's own pass is one of k, equally likely. Within it the second of two pages in random
    order comes at 2/3.
    """
    return (passes - 1) / 2 + 2 / 3


def share_found(passes: int, rewritten: float) -> float:
    """Share of pairs that are merged before one of their pages is written.

    Both stay unwritten for t scan periods with probability exp(-a t). The pair is merged in the
    pass i = 0 .. k - 1 of its interval, when the second page comes, at time i + m where m has the
    density 2 m: the mean of exp(-a (i + m)) over both.
    """
    a = -2 * rewritten * PAIRS * math.log1p(-1 / PAIRS)
    within = 2 * (1 - math.exp(-a) * (1 + a)) / a**2
    return within * sum(math.exp(-a * turn) for turn in range(passes)) / passes


def merge_times(run: Run) -> np.ndarray:
    """float64[merges]: scan periods after which each was done; needs the run's events."""
    events = run.events
    times: np.ndarray = events.loc[events.kind == "merge", "time_ns"].to_numpy() / PERIOD_NS
    return times


class Passes(Study):
    """One pass against several: in unchanging memory, in unlike memory, in memory that changes."""

    name: ClassVar[str] = "passes"
    title: ClassVar[str] = "Passes over intervals of hash values: as much is found, later"

    def runs(self) -> dict[str, Scenario]:
        runs = {}
        for k in _PASSES:
            end = round((k + 0.02) * PERIOD_NS)
            runs[f"pairs-{k}"] = two_guests(k, end, events=True)
            runs[f"rewritten-{k}"] = two_guests(k, end, rewritten=_REWRITTEN)
            # Ends before the wake-up that would begin another pass.
            runs[f"unlike-{k}"] = two_guests(k, k * PERIOD_NS - 1_000_000, equal=False)
        return runs

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        rows = []
        for k in _PASSES:
            rows += _found(k, runs)
            if k > 1:
                rows += _price(k, runs)
        return rows

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        return [
            f"Two guests of {PAIRS:,} pages; a scan period is {PERIOD_NS / 1e9:g} s; the order"
            " within a pass is random. The expected figures are derived: no measurement of the"
            " thesis is available.",
            "Hashing is exactly k-fold in unlike memory only: what is shared already is not hashed"
            " again.",
        ]

    def picture(self, runs: Mapping[str, Run], rows: list[Row]) -> "Figure":
        from sharesim.results.style import heading, stacked_figure
        from sharesim.results.titled import titled

        figure, (still, changing) = stacked_figure([2.4, 2.4])
        titled(figure, "As much is found, later", f"k passes over a memory of {PAIRS:,} pairs")
        heading(still, "Unchanging memory", unit="% of pairs found")
        _draw(still, runs, "pairs")
        remark = f"{100 * _REWRITTEN:g} % of memory written per scan period"
        heading(changing, "Changing memory", remark, "% of pairs found")
        _draw(changing, runs, "rewritten")
        still.tick_params(labelbottom=False)
        changing.set_xlabel("scan periods")
        return figure


def _found(k: int, runs: Mapping[str, Run]) -> list[Row]:
    """What is found, and when."""
    still, changing = runs[f"pairs-{k}"], runs[f"rewritten-{k}"]
    share = share_found(k, _REWRITTEN)
    source = f"{_SOURCE}, k = {k}"
    return [
        Row(
            source, "pairs shared in the end", PAIRS, still.summary["memory"]["saved_pages"],
            relation="equal", mark="derived", note="all of them, whatever k is",
        ),
        Row(
            source, "mean delay of a pair, in scan periods", mean_delay(k),
            float(merge_times(still).mean()), tolerance=0.03, mark="derived",
            note="(k - 1)/2 + 2/3",
        ),
        Row(
            source, "pairs found in changing memory", 100 * share,
            100 * changing.summary["counters"]["merges"] / PAIRS, "%",
            within=100 * _SIGMAS * math.sqrt(share * (1 - share) / PAIRS), mark="derived",
            note=f"{100 * _REWRITTEN:g} % of pages written per scan period; within {_SIGMAS} sigma",
        ),
    ]  # fmt: skip


def _price(k: int, runs: Mapping[str, Run]) -> list[Row]:
    """What k passes cost, over one pass."""
    source = f"{_SOURCE}, k = {k}, as multiples of one pass"

    def ratio(kind: str, figure: str) -> float:
        return _costs(runs[f"{kind}-{k}"])[figure] / _costs(runs[f"{kind}-1"])[figure]

    return [
        Row(
            source, "pages hashed, unlike memory", k, ratio("unlike", "hashed"),
            relation="equal", mark="derived",
        ),
        Row(
            source, "pages hashed, pairs", (k + 1) / 2, ratio("pairs", "hashed"),
            tolerance=0.03, mark="derived", note="(k + 1)/2: a shared frame is not hashed again",
        ),
        Row(
            source, "scanner's CPU time, unlike memory", k, ratio("unlike", "cpu"),
            mark="derived", note="less than k: each page is still looked up only once",
        ),
        Row(
            source, "memory of the table", 1 / k, ratio("unlike", "held"),
            mark="derived", note="more than 1/k: it has room for chance",
        ),
    ]  # fmt: skip


def _costs(run: Run) -> dict[str, float]:
    scanner, memory = run.summary["scanner"], run.summary["memory"]
    return {
        "hashed": scanner["pages_hashed"],
        "cpu": scanner["cpu_ns"],
        "held": memory["saved_pages"] - memory["net_saved_pages"],
    }


def _draw(axes: "Axes", runs: Mapping[str, Run], kind: str) -> None:
    """Pairs found over time, a line for each k, labelled where it ends."""
    from sharesim.results.style import LINE_COLOURS, TEXT_COLOURS

    axes.set_ylim(0, 105)
    for colour, k in zip(LINE_COLOURS, _PASSES, strict=False):
        host = runs[f"{kind}-{k}"].timeline.query("entity == 'host'")
        times, found = host.time_ns / PERIOD_NS, 100 * host.merges / PAIRS
        axes.plot(times, found, color=colour)
        axes.annotate(
            f"k = {k}", (times.iloc[-1], found.iloc[-1]), xytext=(5, 0), va="center",
            textcoords="offset points", color=TEXT_COLOURS.get(colour, colour),
        )  # fmt: skip


def study() -> Study:
    """As ``sharesim reproduce passes`` runs it."""
    return Passes()
