"""The table that ``sharesim run`` prints, from a summary as it is in ``summary.json``."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from sharesim.results.cells import aligned, duration, quantity
from sharesim.spec.units import PAGE_BYTES

Table = tuple[str, list[str], list[list[str]]]
"""Title, column names (the first is empty), rows of cells."""

MOST_GUESTS = 12
EDGE_GUESTS = 4
"""Of more guests, this many of the least and of the most affected ones are shown."""
PPM_BELOW = 1e-3
WIDTH = 100
PREDICTION = (
    "paravirtual sharing is our reading of a design that was only proposed: these are predictions"
)
LEGEND = (
    "n.d.: not distinguishable from no difference; ± half of the 95 % interval (paired batches)"
)


def summary_rows(summary: Mapping[str, Any]) -> list[Table]:
    """The headline figures as tables of text."""
    if "memory" not in summary:
        return []
    everyone = summary["guests"]
    guests = _shown_guests(everyone, list(everyone))
    tables = [
        _memory(summary["memory"]),
        _held(summary["memory"]),
        _counters(summary["counters"]),
        _offers(summary["counters"]),
        _page_tables(summary["counters"]),
        _scanner(summary["scanner"]),
        _throughput(summary),
        _lateness(summary),
        _ledger(summary, guests),
        _latency(summary, guests),
    ]
    return [_without_empty_columns(table) for table in tables if table is not None]


def _without_empty_columns(table: Table) -> Table:
    title, header, rows = table
    kept = [
        column
        for column in range(len(header))
        if column == 0 or any(row[column] not in ("", "-") for row in rows)
    ]
    return title, [header[at] for at in kept], [[row[at] for at in kept] for row in rows]


def summary_text(summary: Mapping[str, Any]) -> str:
    """The same for a terminal, about 100 columns wide."""
    tables = summary_rows(summary)
    parts = ["\n".join([_heading(summary), *warnings(summary)])]
    parts += [_set(table) for table in tables]
    if not tables:
        parts.append("nothing was measured: the run ended before its warm-up did")
    return "\n\n".join([*parts, "\n".join(_remarks(summary))]).rstrip()


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must not miss."""
    lines = []
    if summary.get("partial"):
        at, end = _seconds(summary["simulated_ns"]), _seconds(summary["duration_ns"])
        lines.append(f"PARTIAL: interrupted; {at} of {end} simulated, pairs may be missing")
    counters = summary.get("counters", {})
    corrupted, wrong = counters.get("corrupted_pages", 0), counters.get("wrong_merges", 0)
    if corrupted or wrong:
        lines.append(
            f"CORRUPTED: {corrupted:,} pages of guests hold wrong contents, after {wrong:,} merges"
            " of pages with equal digests but unequal bytes"
        )
    return lines


def _heading(summary: Mapping[str, Any]) -> str:
    sharing = summary["sharing"]
    scanner = summary.get("scanner")
    by = f" by {scanner['policy']}" if scanner else ""
    shared = "no sharing" if sharing == "none" else f"{sharing} sharing{by}"
    parameters = ", ".join(f"{k}={v}" for k, v in summary.get("paging_parameters", {}).items())
    paging = f"{summary['paging']} paging" + (f" ({parameters})" if parameters else "")
    mode = summary["mode"]
    if mode == "decoupled":
        mode += f" (quantum {duration(summary['sync_quantum_ns'])})"
    return (
        f"{summary['scenario']}, seed {summary['seed']}: {_seconds(summary['duration_ns'])},"
        f" {paging}, {shared}, {mode}"
    )


def _warmup(summary: Mapping[str, Any]) -> list[str]:
    """What the window leaves out at its start, and what MSER-5 would."""
    warmup = summary.get("warmup", {})
    if warmup.get("detected_ns") is None:
        return []
    given = f"measured from {_seconds(warmup['given_ns'])} on"
    if not warmup["settled"]:
        return [f"{given}; too short a run to tell when throughput has settled (MSER-5)"]
    return [f"{given}; by MSER-5 throughput had settled after {_seconds(warmup['detected_ns'])}"]


def _remarks(summary: Mapping[str, Any]) -> list[str]:
    lines = []
    for pair, reason in summary.get("pairs_failed", {}).items():
        lines += textwrap.wrap(f"{pair} could not be run: {reason}", WIDTH, subsequent_indent="  ")
    if _compared(summary):
        lines.append(LEGEND)
    elif "memory" in summary and summary["sharing"] != "none":
        lines.append("overhead was not measured: --baseline also runs without sharing")
    lines += _warmup(summary)
    replayed = _replayed_activity(summary)
    if replayed:
        lines += textwrap.wrap(replayed, WIDTH, subsequent_indent="  ")
    if summary["sharing"] == "paravirtual":
        lines.append(PREDICTION)
    if "costs" in summary:
        lines.append(f"costs: {summary['costs']['profile']}")
    if summary.get("not_modelled"):
        text = f"not modelled: {'; '.join(summary['not_modelled'])}"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ")
    return lines


def _replayed_activity(summary: Mapping[str, Any]) -> str:
    """Where the page-table activity of replayed guests comes from; empty when none is replayed."""
    guests = summary.get("guests", {})
    known = {name: guest.get("page_table_activity") for name, guest in guests.items()}
    replayed = {name: one for name, one in known.items() if one and "capture" in one["profile"]}
    if not replayed:
        return ""
    faults = ", ".join(f"{name} {one['faults']:,}" for name, one in list(replayed.items())[:8])
    more = ", ..." if len(replayed) > 8 else ""
    profile = next(iter(replayed.values()))["profile"]
    return f"guest page faults of replayed guests, from {profile}: {faults}{more}"


def _compared(summary: Mapping[str, Any]) -> bool:
    return bool(summary.get("host", {}).get("overhead"))


# Memory and scanner


def _memory(memory: Mapping[str, Any]) -> Table:
    saved, zero = memory["saved_pages"] or 0, memory["saved_zero_pages"] or 0
    best, best_zero = memory["opportunity_pages"], memory["opportunity_zero_pages"]
    rows = [
        ["zero pages", _mib(zero), _mib(best_zero), _share(zero, best_zero)],
        ["other pages", _mib(saved - zero), _mib(_minus(best, best_zero)),
         _share(saved - zero, _minus(best, best_zero))],
        ["together", _mib(saved), _mib(best), _share(saved, best)],
        ["net of what is held for it", _mib(memory["net_saved_pages"]), "",
         _share(memory["net_saved_pages"], best)],
        ["highest", _mib(memory["peak_saved_pages"]), "", ""],
    ]  # fmt: skip
    if memory.get("realised") is not None:
        rows.append(
            ["mean over the window", "", "", f"{memory['realised']:.1%}".replace("%", " %")]
        )
    title = "Memory saved at the end, of what perfect sharing would save"
    if memory.get("time_to_90_percent_ns") is not None:
        title += f"; 90 % of it after {_seconds(memory['time_to_90_percent_ns'])}"
    return title, ["MiB", "saved", "possible", "share"], rows


HELD = ("policy_table", "shadow_pool", "rmap", "domain_state")
"""What the hypervisor holds frames for, by its keys in the summary."""


def _held(memory: Mapping[str, Any]) -> Table | None:
    """What is held for sharing and paging, where it is more than the policy's own table."""
    pages = {kind: memory.get(f"{kind}_pages") or 0 for kind in HELD}
    kinds = [kind for kind in HELD if pages[kind]]
    if not set(kinds) - {"policy_table"}:
        return None
    row = ["MiB", *(_mib(pages[kind]) for kind in kinds), _mib(sum(pages.values()))]
    names = [kind.replace("_", " ") for kind in kinds]
    return "Held by the hypervisor for paging and sharing", ["", *names, "together"], [row]


def _minus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other


def _counters(counters: Mapping[str, int]) -> Table:
    names = {
        "merges": "merges", "zero_merges": "of zeros", "merge_aborted": "aborted",
        "false_matches": "false matches", "cow_breaks": "COW breaks", "zero_breaks": "of zeros",
        "reuses": "reuses", "splits": "splits", "near_races": "near races",
        "corrupted_pages": "corrupted",
    }  # fmt: skip
    always = ("merges", "zero_merges", "merge_aborted", "false_matches", "cow_breaks",
              "zero_breaks", "near_races", "corrupted_pages")  # fmt: skip
    kept = [key for key in names if key in always or counters.get(key)]
    row = [f"{counters.get(key, 0):,}" for key in kept]
    return "Merging", ["", *(names[key] for key in kept)], [["pages", *row]]


_OFFERS = {
    "offers": "offered",
    "offer_batches": "batches",
    "offers_shared": "shared",
    "offers_refused": "refused",
    "offers_expired": "expired",
    "offers_dropped": "dropped",
    "upcalls": "breaks by guests",
    "breaks_without_copy": "without a copy",
}
"""Counters of the paravirtual design, and the names of their columns."""
_GUESTS_DID = {"guest_faults": "guest faults", "pt_updates": "updates", "pt_switches": "switches"}
_PAGING_DID = {
    "hidden_faults": "hidden faults",
    "shadow_tables_pages": "shadow tables now",
    "shadow_evictions": "evictions",
    "pt_hypercalls": "hypercalls",
    "pt_pins": "pins",
    "pt_unpins": "unpins",
    "updates_refused": "made read-only",
}
"""The same of page tables: what guests did to theirs, and what the hypervisor did about it."""


def _offers(counters: Mapping[str, int]) -> Table | None:
    """What guests were offered, and what became of it."""
    if not counters.get("offers"):
        return None
    header, rows = _non_zero(counters, _OFFERS)
    return "Offers to guests", header, rows


def _page_tables(counters: Mapping[str, int]) -> Table | None:
    """Page-table activity, in paging modes in which the hypervisor has to do with it."""
    if not any(counters.get(key) for key in _PAGING_DID):
        return None
    header, rows = _non_zero(counters, _GUESTS_DID | _PAGING_DID)
    return "Page tables", header, rows


def _non_zero(
    counters: Mapping[str, int], names: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Header and one row of those counters that are not zero."""
    kept = [key for key in names if counters.get(key)]
    return ["", *(names[key] for key in kept)], [["", *(f"{counters[key]:,}" for key in kept)]]


def _scanner(scanner: Mapping[str, Any] | None) -> Table | None:
    if scanner is None:
        return None
    header = ["", "asked/s", "scanned/s", "% of a CPU", "ns/page", "passes", "hashed", "overruns"]
    share = scanner["cpu_share"]
    row = [
        f"{scanner['policy']} ({scanner['placement']})",
        quantity(scanner["requested_rate"]),
        quantity(scanner["achieved_rate"]),
        "-" if share is None else f"{100 * share:.3g}",
        quantity(scanner["ns_per_page"]),
        f"{scanner['passes']:,}",
        f"{scanner['pages_hashed']:,}",
        f"{scanner['overruns']:,}",
    ]
    return "Scanner", header, [row]


# Guests

Shown = Sequence[str | int]
"""Names of guests, with the number of those left out where they are left out."""


def _shown_guests(guests: Mapping[str, Mapping[str, Any]], names: list[str]) -> Shown:
    if len(names) <= MOST_GUESTS:
        return names
    ordered = sorted(names, key=lambda name: _harm(guests[name]))
    left_out = len(names) - 2 * EDGE_GUESTS
    return [*ordered[:EDGE_GUESTS], left_out, *ordered[-EDGE_GUESTS:]]


def _harm(guest: Mapping[str, Any]) -> float:
    overhead = guest["overhead"]
    if "lateness_ns" in overhead:
        return float(overhead["lateness_ns"]["difference"])
    loss = overhead.get("sharing", {}).get("value")
    return float(loss) if loss is not None else -float(guest["throughput_per_s"] or 0.0)


def _lines(guests: Shown, columns: int, line: Any) -> list[list[str]]:
    """A row for each guest shown; one that says how many lie between the least and the most."""
    rows = []
    for name in guests:
        if isinstance(name, int):
            rows.append([f"... {name} between ...", *[""] * columns])
        else:
            rows.append([name, *line(name)])
    return rows


def _throughput(summary: Mapping[str, Any]) -> Table | None:
    """Guests that work as fast as they can, and the host."""
    everyone = summary["guests"]
    closed = _shown_guests(everyone, [name for name in everyone if not everyone[name]["paced"]])
    compared = _compared(summary)
    header = ["", "operations/s"]
    header += ["loss by sharing", "by paging", "by both"] if compared else []
    header += ["CPU/operation"] + (["change"] if compared else [])

    def cells(guest: Mapping[str, Any], rate: float | None) -> list[str]:
        overhead = guest["overhead"]
        row = [quantity(rate)]
        if compared:
            row += [_loss(overhead.get(key)) for key in ("sharing", "paging", "total")]
        row.append(duration(guest["cpu_ns_per_operation"]))
        return row + ([_loss(overhead.get("cpu_per_operation"))] if compared else [])

    rows = _lines(
        closed,
        len(header) - 1,
        lambda name: cells(everyone[name], everyone[name]["throughput_per_s"]),
    )
    window = summary["window_ns"][1] - summary["window_ns"][0]
    host = summary["host"]
    rows.append(["host", *cells(host, host["operations"] * 1e9 / window if window else None)])
    return "Throughput, and CPU time per operation (the host's with the scanner's)", header, rows


def _lateness(summary: Mapping[str, Any]) -> Table | None:
    """Guests whose operations come at a given rate."""
    everyone = summary["guests"]
    paced = _shown_guests(everyone, [name for name in everyone if everyone[name]["paced"]])
    if not paced:
        return None
    compared = _compared(summary)
    header = ["", "operations/s", "late"] + (["without sharing", "difference"] if compared else [])
    header += ["CPU/operation"] + (["change"] if compared else [])

    def cells(name: str) -> list[str]:
        guest = everyone[name]
        row = [quantity(guest["throughput_per_s"]), duration(guest["lateness_ns_per_operation"])]
        if compared:
            late = guest["overhead"].get("lateness_ns", {})
            row += [duration(late.get("without")), _later(late)]
        row.append(duration(guest["cpu_ns_per_operation"]))
        return row + ([_loss(guest["overhead"].get("cpu_per_operation"))] if compared else [])

    title = "Lateness of paced guests, mean per operation"
    return title, header, _lines(paced, len(header) - 1, cells)


def _ledger(summary: Mapping[str, Any], guests: Shown) -> Table | None:
    everyone, host = summary["guests"], summary["host"]
    causes = [cause for cause, spent in host["ledger_ns"].items() if spent]
    if not causes:
        return None

    def cells(ledger: Mapping[str, int]) -> list[str]:
        total = sum(ledger.values())
        return [_part(ledger[cause], total) for cause in causes]

    rows = _lines(guests, len(causes), lambda name: cells(everyone[name]["ledger_ns"]))
    rows.append(["all guests", *cells(host["ledger_ns"])])
    return "Where the time of the vCPUs went, %", ["", *causes], rows


def _latency(summary: Mapping[str, Any], guests: Shown) -> Table | None:
    everyone = summary["guests"]
    shown = [name for name in guests if isinstance(name, str)]
    kinds = list(dict.fromkeys(kind for name in shown for kind in everyone[name]["latency"]))
    if not kinds:
        return None

    def cells(name: str) -> list[str]:
        known = everyone[name]["latency"]
        return [
            f"{duration(known[kind]['p50_ns'])} / {duration(known[kind]['p99_ns'])}"
            if kind in known
            else "-"
            for kind in kinds
        ]

    title = "Latency of faults, median / 99th percentile"
    return title, ["", *kinds], _lines(guests, len(kinds), cells)


# Cells


def _loss(difference: Mapping[str, Any] | None) -> str:
    """A share with half its interval; ppm where it is small."""
    if not difference or difference.get("value") is None:
        return "-"
    value, half = difference["value"], difference["half_width"]
    if half is None:  # too short a window for an interval
        return f"{_ratio(value, value)} ± ?"
    if not difference["distinguishable"]:
        return f"n.d. ± {_ratio(half, half)}"
    return f"{_ratio(value, value, unit=False)} ± {_ratio(half, value)}"


def _later(late: Mapping[str, Any]) -> str:
    """A difference of lateness with half its interval."""
    if late.get("difference") is None:
        return "-"
    if late.get("half_width") is None:
        return f"{duration(late['difference'])} ± ?"
    half = duration(late["half_width"])
    return (
        f"{duration(late['difference'])} ± {half}" if late["distinguishable"] else f"n.d. ± {half}"
    )


def _ratio(value: float, measure: float, *, unit: bool = True) -> str:
    """In ppm when ``measure`` is below 0.1 %, else in %."""
    small = abs(measure) < PPM_BELOW
    scaled = value * (1e6 if small else 100)
    digits = 0 if small or abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2
    least = 10.0**-digits
    text = f"<{least:g}" if 0 < scaled < least / 2 else f"{scaled:,.{digits}f}"
    return text + ((" ppm" if small else " %") if unit else "")


def _part(value: int, total: int) -> str:
    if not total or not value:
        return "0"
    percent = 100 * value / total
    return f"{percent:.1f}" if percent >= 10 else f"{percent:.2g}" if percent >= 1e-3 else "<0.001"


def _share(part: int | None, whole: int | None) -> str:
    if part is None or not whole:
        return "-"
    return f"{100 * part / whole:.1f} %"


def _mib(pages: int | None) -> str:
    return "-" if pages is None else f"{pages * PAGE_BYTES / 2**20:,.2f}"


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:.4g} s"


def _set(table: Table) -> str:
    """A table under its title."""
    title, header, rows = table
    return "\n".join([title, *aligned([header, *rows])])
