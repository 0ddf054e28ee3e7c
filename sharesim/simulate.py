"""Runs a scenario: the one place where everything meets."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sharesim.engine import Engine
from sharesim.errors import ModelError, UserError
from sharesim.kernel import JIT
from sharesim.machine import tables as t
from sharesim.machine.check import check_all
from sharesim.resolve import resolve
from sharesim.results.load import TIMELINE_FILE, pair_timeline_file
from sharesim.results.part import Part
from sharesim.results.recorder import EVENT_COLUMNS, EventNames, ParquetSink, Recorder
from sharesim.results.run import Run
from sharesim.results.summary import batch_edges, summarise
from sharesim.results.tracer import TRACE_FILE, Tracer
from sharesim.spec.paging import Native
from sharesim.spec.scenario import Scenario, Sharing

Progress = Callable[["Moment"], None]


@dataclass(frozen=True)
class Moment:
    """How far a run is, for whoever shows progress."""

    label: str
    """Which of the paired runs: ``"with sharing"``, ``"P1"``, ``"P0"``."""
    time_ns: int
    duration_ns: int
    saved_pages: int


@dataclass
class _Sinks:
    """Where a run's rows go while it runs: to files, or nowhere but memory."""

    timeline: ParquetSink | None = None
    events: ParquetSink | None = None
    kept: list[dict[str, Any]] = field(default_factory=list)
    kept_events: list[np.ndarray] = field(default_factory=list)


class Simulation:
    """One run of one resolved scenario, sample by sample.

    With a ``folder`` its rows go there, to the file ``timeline``, whose columns are the recorder's
    own or the given ``columns``: those of the run that it is to be compared with. ``trace``, with
    a folder, is the most slices of a trace for the Perfetto viewer.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        label: str = "with sharing",
        with_opportunity: bool = True,
        compiled: bool = True,
        folder: Path | None = None,
        timeline: str = TIMELINE_FILE,
        columns: Sequence[str] | None = None,
        trace: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.scenario = scenario
        self.label = label
        self.progress = progress
        self.engine = Engine(scenario, compiled=compiled, log=trace is not None)
        self.tracer: Tracer | None = None
        self.recorder = Recorder(self.engine, with_opportunity=with_opportunity)
        self.part = Part(label, self.engine)
        self.partial = False
        self.sinks = _Sinks()
        self._names = EventNames(self.engine)
        self._scratch = np.zeros(len(self.engine.memory.frames) if scenario.check else 0, np.int64)
        if folder is not None:
            self._open(folder, timeline, columns or self.recorder.columns)
            if trace is not None:
                self.tracer = Tracer(self.engine, folder / TRACE_FILE, trace)

    def _open(self, folder: Path, timeline: str, metrics: Sequence[str]) -> None:
        columns = [("time_ns", "int"), ("entity", "str"), *((name, "int") for name in metrics)]
        self.sinks.timeline = ParquetSink(folder / timeline, columns)
        if self.scenario.events:
            texts = ("kind", "actor", "vm", "other_vm")
            self.sinks.events = ParquetSink(
                folder / "events.parquet",
                [(name, "str" if name in texts else "int") for name in EVENT_COLUMNS],
            )

    def run(self) -> None:
        """Run to the end, or until Ctrl-C, which ends it cleanly and marks it partial."""
        scenario = self.scenario
        assert scenario.sample_every is not None
        step, end = scenario.sample_every, scenario.duration
        samples = {*range(0, end, step), scenario.warmup, end}
        edges = set(batch_edges(scenario))
        try:
            for time in sorted(samples | edges):
                self.advance(time)
                if time in samples:
                    self._sample(time)
                if time in edges:
                    self.part.edge(self.recorder.measures(time))
        except KeyboardInterrupt:
            self.partial = True
        finally:
            self._close()
        self.part.finish()

    def advance(self, time: int) -> None:
        """Process all events before a time.

        Samples are no events: no actor sees them. Steps that start at the very time of a sample, or
        of the end, come after it, since an actor that starts then may already run ahead of it.
        """
        env = self.engine.env
        self.engine.limit = time
        step, peek = env.step, env.peek
        with contextlib.nullcontext() if JIT else np.errstate(over="ignore"):
            while peek() < time:
                step()
        if not isinstance(env.now, int):
            raise ModelError(f"the clock is no longer an integer: {env.now!r}")

    def _sample(self, time: int) -> None:
        self.engine.drain()
        if self.scenario.check:
            self._check(time)
        self.recorder.sample(time)
        self.part.take(time, self.recorder.last)
        self._flush(time)
        if self.progress is not None:
            saved = self.recorder.last["host"]["saved_pages"]
            self.progress(Moment(self.label, time, self.scenario.duration, saved))
        if self.engine.frames_awaited and self.engine.env.peek() == float("inf"):
            raise UserError(
                f"host.memory: all guests wait for a free frame at {time} ns and nothing will free"
                " one; give the host more memory"
            )

    def _flush(self, time: int) -> None:
        rows, self.recorder.rows = self.recorder.rows, []
        logs, self.engine.logs = self.engine.logs, []
        if self.tracer is not None:
            for log in logs:
                self.tracer.take(log)
            self.tracer.sample(time, self.recorder.last)
        if self.sinks.timeline is None:
            self.sinks.kept.extend(rows)
            self.sinks.kept_events.extend(logs)
            return
        self.sinks.timeline.add(rows)
        if self.sinks.events is not None:
            for log in logs:
                self.sinks.events.add_columns(self._names.columns(log))

    def _close(self) -> None:
        for sink in (self.sinks.timeline, self.sinks.events):
            if sink is not None:
                sink.close()
        if self.tracer is not None:
            self.tracer.close()

    def _check(self, time: int) -> None:
        """All invariants of memory and of time."""
        engine = self.engine
        if engine.broken or not check_all(engine.memory, self._scratch):
            engine.breach()
        for vcpu in engine.vcpus:
            if vcpu.process is None:
                continue
            until = time if vcpu.stopped is None else vcpu.stopped
            spent = vcpu.ledger_at(until)
            if int(spent.sum()) != until - vcpu.started or spent.min() < 0:
                raise ModelError(
                    f"at {time} ns: the ledger of {vcpu.name} holds {int(spent.sum())} ns"
                    f" (least {int(spent.min())}) of {until - vcpu.started}"
                )
        cpus = len(engine.scheduler.cpus)
        if sum(engine.scheduler.utilisation(time)) != cpus * time:
            raise ModelError(f"at {time} ns: the CPUs' causes do not add up to the elapsed time")

    def event_table(self) -> dict[str, Any]:
        """Columns of the events kept in memory."""
        logs = self.sinks.kept_events
        rows = np.concatenate(logs) if logs else np.zeros((0, t.LOG_COLUMNS), np.int64)
        return self._names.columns(rows)


def without_sharing(scenario: Scenario) -> Scenario:
    """The pair P1 of a resolved scenario: the same paging, no scanner, no tables.

    All that only sharing looks at is left out, so scenarios that differ in nothing else have one
    pair. Frames that clones share are still broken as before.
    """
    before = scenario.sharing or Sharing()
    last_sharer = before.last_sharer or before.policy.last_sharer
    sharing = Sharing(design="none", last_sharer=last_sharer, split_blocks=before.split_blocks)
    return scenario.model_copy(
        update={"title": "", "sharing": sharing, "baseline": False, "events": False}
    )


def native_without_sharing(scenario: Scenario) -> Scenario:
    """The pair P0: native paging, no sharing."""
    return without_sharing(scenario).model_copy(update={"paging": Native()})


def simulate(
    scenario: Scenario,
    *,
    progress: Progress | None = None,
    folder: Path | None = None,
    compiled: bool = True,
    trace: int | None = None,
) -> Run:
    """Run a scenario, and its pairs without sharing if it asks for a baseline.

    ``folder``, an existing empty one, receives timelines and events while the run goes on; without
    it they are kept in memory. ``trace``, with a folder, is the most slices of a trace: of the run
    itself, not of its pairs. ``compiled=False`` runs the policy in its array form. Raises UserError
    for what the scenario got wrong.
    """
    scenario = resolve(scenario)
    main = Simulation(scenario, folder=folder, progress=progress, compiled=compiled, trace=trace)
    main.run()
    pairs: dict[str, Part] = {}
    pair_rows: dict[str, list[dict[str, Any]]] = {}
    failed: dict[str, str] = {}
    partial = main.partial
    if scenario.baseline and scenario.shares and not partial:
        wanted = {"P1": without_sharing(scenario), "P0": native_without_sharing(scenario)}
        try:
            for label, pair in wanted.items():
                try:
                    other = _run_pair(pair, label, main, folder, progress)
                except UserError as error:  # without sharing the guests may not fit
                    failed[label] = str(error)
                    continue
                pairs[label], pair_rows[label] = other.part, other.sinks.kept
        except KeyboardInterrupt:  # what has been simulated is kept
            partial = True
    summary = summarise(scenario, main.part, pairs, partial=partial, failed=failed)
    if folder is not None:
        left_out = main.tracer.note() if main.tracer is not None else ""
        return Run(scenario, summary, folder=folder, trace_note=left_out)
    return Run(
        scenario,
        summary,
        rows=main.sinks.kept,
        pair_rows=pair_rows,
        columns=main.recorder.columns,
        events=main.event_table() if scenario.events else None,
    )


def _run_pair(
    scenario: Scenario,
    label: str,
    main: Simulation,
    folder: Path | None,
    progress: Progress | None,
) -> Simulation:
    """A pair, run to its end; of one that does not get there no timeline stays.

    Raises UserError as a run does, and KeyboardInterrupt on Ctrl-C.
    """
    timeline = pair_timeline_file(label)
    try:
        pair = Simulation(
            scenario,
            label=label,
            with_opportunity=False,
            folder=folder,
            timeline=timeline,
            columns=main.recorder.columns,
            progress=progress,
        )
        pair.run()
        if pair.partial:
            raise KeyboardInterrupt
    except (UserError, KeyboardInterrupt):
        if folder is not None:
            (folder / timeline).unlink(missing_ok=True)
        raise
    return pair
