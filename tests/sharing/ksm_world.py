"""Small worlds that ksmd scans, told once and run twice: by the engine and by the plain model.

Nothing in them takes any CPU time: a batch falls in the instant of a timer tick, in both. What
processes and the administrator do falls between ticks, and so do the samples.
"""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sharesim.content.ksm_case import content_ids
from sharesim.machine.check import check_all
from sharesim.resolve import resolve
from sharesim.simulate import Simulation
from sharesim.spec.costs import PRIMITIVES
from sharesim.spec.images import Scripted as ScriptedImage
from sharesim.spec.ksm import Knobs, Ksm
from sharesim.spec.paging import Process as ProcessPaging
from sharesim.spec.scenario import VM, Advice, Costs, Host, Scenario, Sharing
from sharesim.spec.workloads import Scripted as ScriptedWorkload
from tests.model import plain_memory
from tests.model.plain_ksm import Action, PlainKsm, replay

MS = 1_000_000
Row = dict[str, int]
COUNTERS = (
    "pages_shared", "pages_sharing", "pages_unshared", "pages_volatile", "rmap_items",
    "pages_scanned", "pages_skipped", "full_scans", "ksm_zero_pages", "stable_node_chains",
    "stable_node_dups", "cow_ksm", "general_profit", "pages_to_scan",
)  # fmt: skip
FREE = Costs(table=dict.fromkeys(PRIMITIVES, 0) | {"ksm_warm_pages": 1, "tlb_entries": 1})

SPARE = 64
"""Frames beyond what all pages need: nobody ever waits for one."""


@dataclass(frozen=True)
class Life:
    """A process: ``contents`` of its pages by number (others are untouched), when it comes, goes.

    ``arrives`` None: it never asks to be merged, unless advice does.
    """

    pages: int
    contents: Mapping[int, int]
    arrives: int | None = 0
    exits: int | None = None


@dataclass(frozen=True)
class World:
    """Times are ns. Contents are small numbers; what order they have, ``in_order`` tells."""

    lives: tuple[Life, ...]
    duration: int
    knobs: Mapping[str, Any] = field(default_factory=dict)
    writes: tuple[tuple[int, int, int, int], ...] = ()
    """(time, process, page, content), in order of time"""
    advice: tuple[tuple[int, int, str, int, int], ...] = ()
    """(time, process, advice, first page, pages)"""
    changes: tuple[tuple[int, str, Any], ...] = ()
    """(time, knob, value)"""
    hz: int = 250
    cpu_before: int = 0
    """CPU time that ksmd has used before, ns."""

    @property
    def tick(self) -> int:
        """A timer tick, ns."""
        return 1_000_000_000 // self.hz

    @property
    def samples(self) -> range:
        """When counters are read: in the middle between two ticks."""
        return range(self.tick // 2, self.duration, self.tick)


def in_order(numbers: Iterable[int]) -> list[int]:
    """Contents in ascending order of the bytes of their pages."""
    return sorted(numbers, key=value_of)


def value_of(number: int) -> int:
    """What a page of that content holds."""
    return int(content_ids(np.array([number], np.uint64))[0])


# The plain model


def plain_rows(world: World) -> list[Row]:
    """Counters at each sample."""
    return _plain_run(world)[0]


def copies_at_the_end(world: World) -> Counter[int]:
    """How many pages of each content ksmd may merge at the end."""
    _rows, processes = _plain_run(world)
    pages = [page for process in processes for page in process.pages]
    return Counter(
        page.content for page in pages if page.mergeable and page.kind and page.content is not None
    )


def _plain_run(world: World) -> tuple[list[Row], list[plain_memory.Process]]:
    knobs = plain_memory.Knobs(**world.knobs)
    ksm = PlainKsm(knobs, world.tick)
    ksm.cpu = world.cpu_before
    processes = [
        plain_memory.Process(
            life.pages, {page: value_of(number) for page, number in life.contents.items()}
        )
        for life in world.lives
    ]
    return list(replay(ksm, _actions(world, ksm, processes), world.samples)), processes


def _actions(
    world: World, ksm: PlainKsm, processes: list[plain_memory.Process]
) -> Iterable[Action]:
    for process, life in zip(processes, world.lives, strict=True):
        if life.arrives is not None:
            yield life.arrives, partial(ksm.register, process)
        if life.exits is not None:
            yield life.exits, partial(ksm.exit, process)
    for time, number, page, content in world.writes:
        yield time, partial(ksm.write, processes[number], page, value_of(content))
    for time, number, advice, first, count in world.advice:
        yield time, partial(ksm.advise, processes[number], advice, first, count)
    for time, knob, value in world.changes:
        yield time, partial(ksm.change_knob, knob, value)


# The engine


def engine_rows(
    world: World, folder: Path, *, samples: Iterable[int] | None = None, **options: Any
) -> list[Row]:
    """Counters at each sample; ``folder`` takes the script of the processes."""
    simulation = Simulation(resolve(scenario(world, folder, **options)), with_opportunity=False)
    engine, rows = simulation.engine, []
    scratch = np.zeros(len(engine.memory.frames), np.int64)
    for time in world.samples if samples is None else samples:
        simulation.advance(time)
        engine.drain()
        shown = engine.policy.counters() | {"pages_scanned": engine.scanner.driver.scanned}
        rows.append({name: int(shown[name]) for name in COUNTERS} | {"time": time})
        assert not engine.broken and check_all(engine.memory, scratch)
    return rows


def scenario(world: World, folder: Path, *, costs: Costs = FREE, **options: Any) -> Scenario:
    """The world as a scenario; ``options`` are further fields of it."""
    script = write_script(world, folder)
    changes = tuple((time, Knobs(**{knob: value})) for time, knob, value in world.changes)
    vms = tuple(
        VM(
            name=f"process{number}",
            memory=life.pages,
            image=ScriptedImage(script=str(script), process=number),
            workload=ScriptedWorkload(script=str(script), process=number),
            mergeable=life.arrives == 0,
            advice=_advice(world, number, life),
            stop=life.exits,
        )
        for number, life in enumerate(world.lives)
    )
    common = {
        "duration": world.duration,
        "host": Host(
            cpus=len(vms) + 1,
            hz=world.hz,
            costs=costs,
            memory=sum(life.pages for life in world.lives) + SPARE,
        ),
        "vms": vms,
        "paging": ProcessPaging(),
        "sharing": Sharing(
            policy=Ksm(**world.knobs, changes=changes, ksmd_cpu_before=world.cpu_before)
        ),
        "check": True,
        "mode": "exact",
    }
    return Scenario(**common | options)


def _advice(world: World, number: int, life: Life) -> tuple[Advice, ...]:
    found = [
        Advice(at=time, advice=advice, start=first, size=count)
        for time, process, advice, first, count in world.advice
        if process == number
    ]
    if life.arrives:
        found.append(Advice(at=life.arrives, advice="mergeable"))
    return tuple(sorted(found, key=lambda one: one.at))


def write_script(world: World, folder: Path) -> Path:
    """The processes' memory and writes as the files of a recorded case."""
    path = folder / "world.json"
    processes = [
        {"name": f"process{number}", "pages": life.pages, "arrive_ms": 0, "exit_ms": None}
        for number, life in enumerate(world.lives)
    ]
    fields: dict[str, Any] = {
        "name": "world", "duration_ms": world.duration / MS, "sample_ms": 1, "ksm": {},
        "processes": processes, "events": [], "init_file": "world.init.csv.gz",
        "writes_file": None,
    }  # fmt: skip
    initial = [
        (number, page, 1, content, 0)
        for number, life in enumerate(world.lives)
        for page, content in sorted(life.contents.items())
    ]
    _write_table(folder / fields["init_file"], "proc,page,count,first_id,step", initial)
    if world.writes:
        fields["writes_file"] = "world.writes.csv.gz"
        rows = [(time / MS, *rest) for time, *rest in world.writes]
        _write_table(folder / fields["writes_file"], "t_ms,proc,page,id", rows)
    path.write_text(json.dumps(fields), encoding="utf-8")
    return path


def _write_table(path: Path, header: str, rows: Iterable[tuple[Any, ...]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)


# Comparing


def first_difference(world: World, one: list[Row], other: list[Row]) -> str:
    """Where two runs of a world part, in words; empty where they do not."""
    for before, mine, theirs in zip([None, *one], one, other, strict=False):
        wrong = [name for name in COUNTERS if mine[name] != theirs[name]]
        if wrong:
            texts = [f"{name}: {mine[name]} and {theirs[name]}" for name in wrong]
            return f"at {mine['time'] / MS:g} ms of {world}\nbefore: {before}\n" + "\n".join(texts)
    return "" if len(one) == len(other) else f"{len(one)} samples and {len(other)} of {world}"


# Reading


def column(rows: list[Row], name: str) -> list[int]:
    """One counter at each sample."""
    return [row[name] for row in rows]


def states(row: Row) -> tuple[int, int, int, int]:
    """(shared, sharing, unshared, volatile) pages."""
    shared, sharing, unshared, volatile = (
        row[f"pages_{state}"] for state in ("shared", "sharing", "unshared", "volatile")
    )
    return shared, sharing, unshared, volatile
