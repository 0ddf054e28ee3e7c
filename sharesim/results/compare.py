"""Lays runs side by side: what differs in their scenarios, in their figures, and by how much."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sharesim.results import paired
from sharesim.results.paired import Change, Pair
from sharesim.results.scenario_diff import Difference, scenario_differences
from sharesim.results.sides import Side
from sharesim.sweep.metrics import Metric, at_path, metric

MOST_GUESTS = 12
"""Whose figures are told one by one, unless all are asked for."""
SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Memory", ("saved_mib", "net_saved_mib", "peak_saved_mib", "realised", "time_to_90_s")),
    ("Cost", ("overhead", "overhead_paging", "overhead_total", "cpu_excess", "throughput")),
    ("Scanner", ("scanner_cpu", "scanner.requested_rate", "scan_rate_achieved",
                 "scanner.ns_per_page", "scanner.passes", "scanner.overruns")),
    ("Events", ("merges", "counters.zero_merges", "counters.merge_aborted",
                "counters.false_matches", "cow_breaks", "counters.reuses", "counters.refills",
                "counters.hidden_faults", "counters.near_races", "corrupted_pages")),
)  # fmt: skip
_LABELS = {
    "scanner.requested_rate": ("Pages asked for", "pages/s"),
    "scanner.ns_per_page": ("Scanner's time per page", "ns"),
    "scanner.passes": ("Passes over memory", ""),
    "scanner.overruns": ("Wake-ups that began late", ""),
    "counters.zero_merges": ("Merges with the zero page", ""),
    "counters.merge_aborted": ("Merges given up", ""),
    "counters.false_matches": ("Equal digests, unequal bytes", ""),
    "counters.reuses": ("Breaks without a copy", ""),
    "counters.refills": ("First accesses after a merge", ""),
    "counters.hidden_faults": ("Hidden faults", ""),
    "counters.near_races": ("Near races", ""),
}
_HALF_WIDTHS = {
    "overhead": "sharing",
    "overhead_paging": "paging",
    "overhead_total": "total",
    "cpu_excess": "cpu_per_operation",
}
"""Figures that a summary gives with an interval, and their names there."""


@dataclass(frozen=True)
class Figure:
    """A figure of each run, over that run's own window."""

    section: str
    metric: Metric
    values: tuple[float | None, ...]
    half_widths: tuple[float | None, ...]

    @property
    def differences(self) -> tuple[float | None, ...]:
        """To the first run, in the figure's unit."""
        first = self.values[0]
        return tuple(
            None if first is None or value is None else value - first for value in self.values
        )


@dataclass(frozen=True)
class Changes:
    """What changed from the first run to another one, over their common window."""

    label: str
    unpaired: str
    """Why the host's figures are not compared batch by batch; empty where they are."""
    begin_s: float
    end_s: float
    batches: int
    interpolated: bool
    """Whether the runs sampled at other times, so that counters are interpolated."""
    rows: tuple[Change, ...]


@dataclass(frozen=True)
class Comparison:
    """All that is told of runs that are laid side by side; the first is what others are held to."""

    sides: tuple[Side, ...]
    scenario: tuple[Difference, ...]
    figures: tuple[Figure, ...]
    changes: tuple[Changes, ...]
    notes: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the runs."""
        return tuple(side.label for side in self.sides)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "runs": [_run_json(side) for side in self.sides],
            "notes": list(self.notes),
            "scenario": [asdict(one) for one in self.scenario],
            "figures": [_figure_json(one) for one in self.figures],
            "changes": [asdict(one) for one in self.changes],
        }


def compare(sides: Sequence[Side], metrics: Sequence[str] = ()) -> Comparison:
    """Compare runs with the first of them.

    ``metrics`` are the figures to tell instead of the headline ones, by the names that sweeps use.
    Raises UserError for one that none of the runs has.
    """
    chosen = [("Figures", metric(name)) for name in dict.fromkeys(metrics)]
    figures = [_figure(section, one, sides) for section, one in chosen or _headline()]
    for one in figures if metrics else ():
        if all(value is None for value in one.values):
            raise _unknown(one.metric.name, sides)
    if not metrics:
        figures = [one for one in figures if _tells(one)] + _guest_figures(sides)
    changes = [_changes(sides[0], other) for other in sides[1:]]
    return Comparison(
        tuple(sides),
        tuple(scenario_differences([side.scenario for side in sides])),
        tuple(figures),
        tuple(one for one in changes if one is not None),
        tuple(_notes(sides)),
    )


# Figures


def _headline() -> list[tuple[str, Metric]]:
    return [(section, _named(metric(name))) for section, names in SECTIONS for name in names]


def _named(one: Metric) -> Metric:
    label, unit = _LABELS.get(one.name, (one.label, one.unit))
    return replace(one, label=label, unit=unit)


def _figure(section: str, one: Metric, sides: Sequence[Side]) -> Figure:
    halves = tuple(half_width(one, side.summary) for side in sides)
    return Figure(section, one, tuple(one.of(side.summary) for side in sides), halves)


def half_width(one: Metric, summary: Mapping[str, Any]) -> float | None:
    """Half of the interval that a summary gives a figure with; None where it gives none."""
    kind = _HALF_WIDTHS.get(one.name)
    return None if kind is None else at_path(summary, f"host.overhead.{kind}.half_width")


def _tells(figure: Figure) -> bool:
    """Events that nowhere happened say nothing."""
    quiet = figure.section in ("Events", "Scanner")
    return any(value is not None and (value or not quiet) for value in figure.values)


def _unknown(name: str, sides: Sequence[Side]) -> Exception:
    from sharesim.errors import UserError, nearest
    from sharesim.sweep.metrics import row_of

    known = {column for side in sides for column in row_of(side.summary)}
    return UserError(f"--metric {name}: none of these runs has such a figure{nearest(name, known)}")


def _guest_figures(sides: Sequence[Side]) -> list[Figure]:
    """Throughput of each guest in a closed loop, lateness of each paced one."""
    guests = [side.summary.get("guests", {}) for side in sides]
    names = list(dict.fromkeys(name for one in guests for name in one))
    figures = []
    for name in names:
        known = [one[name] for one in guests if name in one]
        late = all(guest["paced"] for guest in known)
        key = "lateness_ns_per_operation" if late else "throughput_per_s"
        label, unit = (f"{name}, late", "ns") if late else (name, "operations/s")
        of = _of_guest(name, key)
        one = Metric(f"guests.{name}.{key}", label, unit, of, "low" if late else "high")
        figures.append(_figure("Guests", one, sides))
    return [one for one in figures if any(one.values)]


def _of_guest(name: str, key: str) -> Callable[[Mapping[str, Any]], float | None]:
    """Not by a path: names of guests may hold dots."""

    def find(summary: Mapping[str, Any]) -> float | None:
        value = summary.get("guests", {}).get(name, {}).get(key)
        return None if value is None else float(value)

    return find


# Changes


def _changes(first: Side, other: Side) -> Changes | None:
    """None where the runs have no window in common."""
    begin, end = common_window([first, other])
    if not (first.measured and other.measured) or end <= begin:
        return None
    series = first.series(begin, end), other.series(begin, end)
    edges, sampled = paired.batch_times(*series)
    if len(edges) < 2:
        return None
    pair = Pair(*series, edges)
    unpaired = _why_unpaired(first, other)
    rows = [*_host_changes(pair, first, other, not unpaired), *_guest_changes(pair, first, other)]
    return Changes(
        other.label,
        unpaired,
        float(edges[0]),
        float(edges[-1]),
        len(edges) - 1,
        not sampled,
        tuple(rows),
    )


def common_window(sides: Sequence[Side]) -> tuple[float, float]:
    """The simulated seconds that all runs measured."""
    return max(side.window[0] for side in sides), min(side.window[1] for side in sides)


def same_work(first: Side, other: Side, name: str) -> bool:
    """Whether a guest draws the same random numbers for the same work in both runs."""
    if first.summary["seed"] != other.summary["seed"]:
        return False
    one, two = first.guest(name), other.guest(name)
    return all(one.get(field) == two.get(field) for field in ("image", "workload", "vcpus"))


def _common_guests(first: Side, other: Side) -> list[str]:
    return [name for name in first.summary["guests"] if name in other.summary["guests"]]


def _counted(first: Side, other: Side) -> list[str]:
    """Guests whose operations count as the host's throughput in both runs."""
    theirs = other.summary["host"]["guests_counted"]
    return [name for name in first.summary["host"]["guests_counted"] if name in theirs]


def _why_unpaired(first: Side, other: Side) -> str:
    if first.summary["seed"] != other.summary["seed"]:
        return f"seeds {first.summary['seed']} and {other.summary['seed']}"
    unlike = [name for name in _common_guests(first, other) if not same_work(first, other, name)]
    if unlike:
        return f"memory or work differs of {', '.join(unlike[:3])}{' ...' if unlike[3:] else ''}"
    return "" if _common_guests(first, other) else "no guest in common"


def _host_changes(pair: Pair, first: Side, other: Side, is_paired: bool) -> list[Change]:
    counted = _counted(first, other)
    found: list[Change | None] = []
    if len(counted) > 1 and not first.summary["guests"][counted[0]]["paced"]:
        whose = "guests in a closed loop"
        found.append(pair.change(paired.THROUGHPUT, counted, paired=is_paired, name=whose))
    if set(first.summary["guests"]) == set(other.summary["guests"]):
        found.append(pair.change(paired.HOST_CPU, ["host"], workers=counted, paired=is_paired))
    found += [
        pair.change(one, ["host"], paired=is_paired) for one in (paired.SCANNER, paired.BREAKS)
    ]
    return [one for one in found if one is not None and (one.first or one.other)]


def _guest_changes(pair: Pair, first: Side, other: Side) -> list[Change]:
    found: list[Change] = []
    for name in _common_guests(first, other):
        paces = {side.summary["guests"][name]["paced"] for side in (first, other)}
        if len(paces) > 1:
            continue  # lateness cannot be compared with throughput
        measures = (paired.LATENESS if paces == {True} else paired.THROUGHPUT, paired.CPU)
        is_paired = same_work(first, other, name)
        for measure in measures:
            one = pair.change(measure, [name], paired=is_paired)
            if one is not None and (one.first or one.other):
                found.append(one)
    return found


# Notes


def _notes(sides: Sequence[Side]) -> list[str]:
    """What a reader must know to take the figures as they are meant."""
    first = sides[0]
    notes = [*_partial(sides), *_windows(sides)]
    versions = {side.label: side.summary["model_version"] for side in sides}
    if len(set(versions.values())) > 1:
        shown = ", ".join(f"{label} {version}" for label, version in versions.items())
        notes.append(f"made by different versions of the model: {shown}")
    seeds = [side.label for side in sides[1:] if side.summary["seed"] != first.summary["seed"]]
    if seeds:
        notes.append(
            f"{', '.join(seeds)}: not the seed of {first.label}, so other random numbers:"
            " differences hold that chance too, and their intervals (unpaired) tell variation over"
            " time only; compare replicates of a sweep"
        )
    return notes + _guests_missing(sides)


def _partial(sides: Sequence[Side]) -> list[str]:
    notes = []
    for side in sides:
        at, end = side.summary["simulated_ns"] / 1e9, side.summary["duration_ns"] / 1e9
        if side.summary["partial"]:
            notes.append(f"{side.label} is PARTIAL: interrupted at {at:g} s of {end:g} s")
        if not side.measured:
            notes.append(f"{side.label} ended before its warm-up did: nothing was measured")
    return notes


def _windows(sides: Sequence[Side]) -> list[str]:
    measured = [side for side in sides if side.measured]
    if len({side.window for side in measured}) < 2:
        return []
    shown = ", ".join(f"{one.label} {one.window[0]:g} to {one.window[1]:g} s" for one in measured)
    begin, end = common_window(measured)
    together = f"changes are over {begin:g} to {end:g} s" if begin < end else "nothing in common"
    return [f"figures are each over the run's own window ({shown}); {together}"]


def _guests_missing(sides: Sequence[Side]) -> list[str]:
    first = {vm["name"] for vm in sides[0].scenario["vms"]}
    notes = []
    for side in sides[1:]:
        names = {vm["name"] for vm in side.scenario["vms"]}
        if names != first:
            both = len(names & first)
            common = f"{both} in both, only these are compared" if both else "none in both"
            notes.append(f"{side.label} has other VMs than {sides[0].label}: {common}")
    return notes


# Plain data


def _run_json(side: Side) -> dict[str, Any]:
    keys = ("scenario", "seed", "model_version", "partial", "duration_ns", "window_ns")
    return {
        "label": side.label,
        "folder": str(side.folder),
        **{key: side.summary.get(key) for key in keys},
    }


def _figure_json(one: Figure) -> dict[str, Any]:
    return {
        "section": one.section,
        "name": one.metric.name,
        "label": one.metric.label,
        "unit": one.metric.unit,
        "values": list(one.values),
        "half_widths": list(one.half_widths),
        "differences": list(one.differences),
    }
