"""The parts of a report that say what was simulated, and where the figures come from."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from sharesim.report.blocks import Block, Cell, Code, Facts, Fold, Table, Text, number_cell
from sharesim.results.scenario_diff import member_text
from sharesim.spec.costs import MARKS
from sharesim.spec.script import CODE_FOLDER
from sharesim.spec.units import show_size, show_time

LONGEST_FILE = 200_000
"""Characters of a source file that are shown."""
LONGEST_CELL = 200

Data = Mapping[str, Any]


def set_up(scenario: Data, summary: Data) -> list[Block]:
    """Host, guests, paging, sharing and costs of a run."""
    return [
        Facts(tuple(_facts(scenario, summary))),
        _guests(scenario["vms"]),
        *_costs(summary.get("costs")),
    ]


def _facts(scenario: Data, summary: Data) -> Iterator[tuple[str, str]]:
    host, sharing = scenario["host"], scenario.get("sharing")
    yield "Host", _host(host)
    yield "Paging", member_text(scenario["paging"])
    yield "Sharing", _sharing(sharing)
    if sharing and sharing["design"] != "none":
        scanner = sharing["scanner"]
        yield "Scanner runs as", f"{scanner['placement']}, weight {scanner['weight']}"
    warmup = f", the first {show_time(scenario['warmup'])} left out" if scenario["warmup"] else ""
    yield "Simulated time", show_time(scenario["duration"]) + warmup
    quantum = f", sync quantum {show_time(scenario['sync_quantum'])}"
    yield "Mode", scenario["mode"] + (quantum if scenario["mode"] == "decoupled" else "")
    for name, digest in scenario.get("captures", {}).items():
        yield "Capture", f"{name}, SHA-256 {digest}"
    if summary.get("not_modelled"):
        yield "Not modelled", "; ".join(summary["not_modelled"])


def _host(host: Data) -> str:
    cpus = f"{host['cpus']} CPU{'s' if host['cpus'] != 1 else ''}"
    words = [show_size(host["memory"]), cpus, f"{host['scheduler']} scheduler"]
    words.append(f"slices of {show_time(host['time_slice'])}")
    words.append(f"memory in blocks of {host['backing']}")
    return ", ".join(words + (["overcommitted"] if host["overcommit"] else []))


def _sharing(sharing: Data | None) -> str:
    if not sharing or sharing["design"] == "none":
        return "none"
    return f"{sharing['design']}, by {member_text(sharing['policy'])}"


def _guests(vms: Sequence[Data]) -> Table:
    """Guests that are alike but for their names, one after the other, are one row."""
    rows = []
    for texts, group in groupby(vms, key=_guest):
        names = [str(vm["name"]) for vm in group]
        name = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        memory, vcpus, image, workload = texts
        figures = (str(len(names)), memory, vcpus)
        cells = (Cell(name), *(Cell(one, numeric=True) for one in figures))
        rows.append((*cells, Cell(image), Cell(workload)))
    columns = ("Guest", "How many", "Memory", "vCPUs", "Image", "Work")
    return Table("Guests", columns, tuple(rows))


def _guest(vm: Data) -> tuple[str, str, str, str]:
    image = vm["image"]
    in_words = _segments(image["segments"]) if image["name"] == "segments" else member_text(image)
    work = member_text(vm["workload"])
    return show_size(vm["memory"]), str(vm["vcpus"]), _shorter(in_words), _shorter(work)


def _segments(segments: Sequence[Data]) -> str:
    """``16 MiB kernel (shared as kernel), 32 MiB anonymous (30 % duplicate)``."""
    return ", ".join(_segment(one) for one in segments) or "empty"


def _segment(one: Data) -> str:
    about = [f"shared as {one['shared_as']}"] if one.get("shared_as") else []
    about += [f"{100 * one[kind]:g} % {kind}" for kind in ("zero", "duplicate") if one.get(kind)]
    kind = f"{show_size(one['size'])} {one['page_class']}"
    return f"{kind} ({', '.join(about)})" if about else kind


def _shorter(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"


def _costs(costs: Data | None) -> list[Block]:
    """The cost profile, and how sure each of its figures is."""
    if costs is None:
        return []
    marks = Counter(_mark(one) for one in costs["primitives"].values())
    counted = ", ".join(f"{count} {mark}" for mark, count in marks.most_common())
    rows = tuple(
        (Cell(key), number_cell(f"{one['ns']:,}", one["ns"]), Cell(_mark(one)), Cell(_source(one)))
        for key, one in costs["primitives"].items()
    )
    table = Table("Primitives", ("Primitive", "ns", "Mark", "Source"), rows, live=True)
    meanings = Facts(tuple((mark, MARKS[mark]) for mark in marks if mark in MARKS))
    words = f"Costs: profile {costs['profile']}; of {len(rows)} figures {counted}"
    return [Fold(words, (meanings, table))]


def _mark(primitive: Data) -> str:
    return str(primitive["source"]).partition(",")[0] or "given"


def _source(primitive: Data) -> str:
    return str(primitive["source"]).partition(",")[2].strip()


# Where it comes from


def made_by(summary: Data, provenance: Data) -> str:
    """The version that made a run."""
    version = provenance.get("sharesim", "")
    return f"sharesim {version} (model {summary.get('model_version', '?')})".replace("  ", " ")


def provenance_facts(provenance: Data) -> Facts:
    """Versions and the kind of machine; its name is nobody's concern."""
    machine = provenance.get("machine", {})
    libraries = provenance.get("libraries", {})
    kind = [str(machine[key]) for key in ("system", "processor") if key in machine]
    rows = [
        ("sharesim", provenance.get("sharesim")),
        ("Python", provenance.get("python")),
        ("Libraries", ", ".join(f"{name} {text}" for name, text in libraries.items() if text)),
        ("Machine", ", ".join(kind)),
        ("CPUs of the machine", machine.get("cpus")),
        ("Started", provenance.get("started")),
    ]  # fmt: skip
    return Facts(tuple((name, str(value)) for name, value in rows if value))


def read_provenance(folder: Path) -> dict[str, Any]:
    """What is known of where a run was made; empty where that is missing."""
    try:
        data = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def sources(folder: Path) -> list[Block]:
    """The script and the modules that a folder keeps below ``code/``."""
    place = folder / CODE_FOLDER
    files = sorted(path for path in place.rglob("*") if path.suffix in (".py", ".json", ".toml"))
    found: list[Block] = []
    for path in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        if len(text) <= LONGEST_FILE:
            name = path.relative_to(place).as_posix()
            found.append(Fold(name, (Code(text, f"{CODE_FOLDER}/{name}", command=False),)))
    return found


def paragraphs(text: str) -> tuple[str, ...]:
    """Of a docstring: lines within one belong together."""
    return tuple(" ".join(part.split()) for part in text.split("\n\n") if part.strip())


def note(*words: str, role: str = "note") -> Text:
    """An aside."""
    return Text(tuple(words), role)
