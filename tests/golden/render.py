"""A run as text: its heading, costs, events one a line, counters, and each vCPU's ledger."""

from typing import Any

from sharesim.machine.tables import CAUSES
from sharesim.resolve import resolve
from sharesim.results.recorder import HOST_COLUMNS
from sharesim.simulate import Simulation
from tests.golden.case import Case

_MEMORY = ("free_pages", "shared_frames_pages", "sharers_pages", "saved_pages", "ballooned_pages")
_POLICY = ("pages_scanned", "pages_hashed", "passes", "batches", "overruns")
_GUEST = ("operations", "accesses", "writes", "faults", "lateness_ns")
_COUNTERS = HOST_COLUMNS[HOST_COLUMNS.index("merges") : HOST_COLUMNS.index("cpu_idle_ns")]
_CPU = ("idle", "vcpu", "scanner", "switch")


def us(ns: int) -> str:
    """Microseconds, without a fraction where there is none."""
    return f"{ns / 1000:.3f}".rstrip("0").rstrip(".")


def text_of(case: Case, *, compiled: bool = True) -> str:
    """Run a case; the whole text of its golden file. Without ``compiled``: the array form."""
    scenario = resolve(case.build())
    simulation = Simulation(scenario, compiled=compiled)
    events = _count_clock_events(simulation) if case.clock_events else None
    simulation.run()
    lines = [case.name.replace("_", " "), "", case.heading, "", *_costs(scenario), ""]
    lines += [*_events(simulation.event_table()), ""]
    if len(simulation.sinks.kept) > 2 * len(simulation.recorder.last):
        lines += [*_samples(simulation), ""]
    lines += _counters(simulation)
    if events is not None:
        lines.append(f"events of the clock: {events[0]}")
    lines += ["", *_ledgers(simulation)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _count_clock_events(simulation: Simulation) -> list[int]:
    env, count = simulation.engine.env, [0]
    plain = env.step

    def step() -> None:
        count[0] += 1
        plain()

    env.step = step  # type: ignore[method-assign]
    return count


def _costs(scenario: Any) -> list[str]:
    table = scenario.host.costs.table
    texts = [
        f"{key} {ns if key == 'tlb_entries' else us(ns)}" for key, ns in sorted(table.items()) if ns
    ]
    lines = ["costs, us (all others are 0):"]
    while texts:
        line = "  " + texts.pop(0)
        while texts and len(line) + len(texts[0]) < 98:
            line += ", " + texts.pop(0)
        lines.append(line)
    return lines if len(lines) > 1 else ["costs: none"]


def _events(table: dict[str, Any]) -> list[str]:
    lines = [_row("time_us", "actor", "what", "page", "with", "takes_us")]
    for at in range(len(table["time_ns"])):
        page = _page(table["vm"][at], table["page"][at])
        other = _page(table["other_vm"][at], table["other_page"][at])
        lines.append(
            _row(
                us(int(table["time_ns"][at])),
                str(table["actor"][at]),
                table["kind"][at],
                page,
                other,
                us(int(table["duration_ns"][at])),
            )
        )
    return lines


def _row(time: str, actor: str, what: str, page: str, other: str, takes: str) -> str:
    return f"{time:>8}  {actor:<10} {what:<16} {page:<8} {other:<8} {takes:>8}"


def _page(vm: str | None, page: int) -> str:
    return "" if vm is None else f"{vm}.{page}"


def _samples(simulation: Simulation) -> list[str]:
    rows = [row for row in simulation.sinks.kept if row["entity"] == "host"]
    titles = ("free", "shared", "sharers", "saved", "balloon")
    lines = ["  just before" + "".join(f"{title:>9}" for title in titles)]
    for row in rows:
        values = "".join(f"{row[name]:>9}" for name in _MEMORY)
        lines.append(f"{us(row['time_ns']):>10} us{values}")
    return lines


def _counters(simulation: Simulation) -> list[str]:
    last = simulation.recorder.last
    host = last["host"]
    lines = [
        "memory: " + _pairs({name.removesuffix("_pages"): host[name] for name in _MEMORY}, True),
        "hypervisor: " + _pairs({name: host[name] for name in _COUNTERS}),
    ]
    for entity, row in last.items():
        if entity == "host":
            continue
        names = _GUEST
        if "pages_scanned" in row:
            names = (*_POLICY, *simulation.engine.policy.counters())
        values = {name: row[name] for name in dict.fromkeys(names)}
        lines.append(f"{entity}: " + _pairs(values))
    return lines


def _pairs(values: dict[str, Any], zero: bool = False) -> str:
    texts = []
    for name, value in values.items():
        if name.endswith("_ns"):
            name, value = name.removesuffix("_ns") + "_us", us(value) if value else 0
        if zero or value:
            texts.append(f"{name} {value}")
    return ", ".join(texts) or "nothing"


def _ledgers(simulation: Simulation) -> list[str]:
    engine, end = simulation.engine, simulation.scenario.duration
    lines = ["where the time went, us:"]
    for vcpu in engine.vcpus:
        spent = vcpu.ledger_at(end if vcpu.stopped is None else vcpu.stopped)
        values = {cause: us(int(ns)) for cause, ns in zip(CAUSES, spent, strict=True) if ns}
        lines.append(f"  vCPU {vcpu.name}: " + _pairs(values))
    for cpu in engine.scheduler.cpus:
        times = {cause: us(ns) for cause, ns in zip(_CPU, cpu.times(end), strict=True) if ns}
        lines.append(f"  CPU {cpu.number}: " + _pairs(times))
    return lines
