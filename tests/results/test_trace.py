"""Traces for the Perfetto viewer: read back by its published schema, compared with the run."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sharesim import VM, Cbps, Host, RandomAccess, Scenario, Segment, Segments, Sharing
from sharesim.cli import main
from sharesim.results.folder import FILES
from sharesim.results.perfetto import TraceWriter
from sharesim.results.tracer import TRACE_FILE
from sharesim.simulate import simulate
from sharesim.spec.ksm import Ksm
from sharesim.spec.scenario import Balloon, Scanner

schema = pytest.importorskip(
    "perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="needs the package perfetto"
)
unknown_fields = pytest.importorskip("google.protobuf.unknown_fields")
BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4


@dataclass
class Trace:
    """A trace as the viewer would have it."""

    tracks: dict[int, Any] = field(default_factory=dict)
    slices: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)
    """(begin, end, name) by the name of the track, processes before it."""
    counters: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    packets: int = 0

    def name(self, uuid: int) -> str:
        """``process/track``."""
        track = self.tracks[uuid]
        if track.HasField("process"):
            return str(track.process.process_name)
        return f"{self.name(track.parent_uuid)}/{track.name}"


def read(path: Path) -> Trace:
    """Parse everything; fails where a slice does not end, or a name was not told before."""
    message = schema.Trace()
    message.ParseFromString(path.read_bytes())
    trace, names = Trace(), dict[int, str]()
    events = defaultdict(list)
    assert message.packet[0].sequence_flags == 1 and message.packet[0].first_packet_on_sequence
    for packet in message.packet:
        assert packet.trusted_packet_sequence_id == 1
        assert len(unknown_fields.UnknownFieldSet(packet)) == 0
        if packet.HasField("track_descriptor"):
            trace.tracks[packet.track_descriptor.uuid] = packet.track_descriptor
        for entry in packet.interned_data.event_names:
            assert entry.iid not in names
            names[entry.iid] = entry.name
        if packet.HasField("track_event"):
            events[packet.track_event.track_uuid].append((packet.timestamp, packet.track_event))
    trace.packets = len(message.packet)
    for uuid, found in events.items():
        _sort_out(trace, uuid, found, names)
    return trace


def _sort_out(trace: Trace, uuid: int, events: list[Any], names: dict[int, str]) -> None:
    """As the trace processor: by time, ties as written."""
    where, open_ = trace.name(uuid), list[tuple[int, str]]()
    for time, event in sorted(events, key=lambda one: one[0]):
        if event.type == BEGIN:
            assert not open_, f"{where}: {names[event.name_iid]} begins inside {open_}"
            open_.append((time, names[event.name_iid]))
        elif event.type == END:
            begin, name = open_.pop()
            trace.slices.setdefault(where, []).append((begin, time, name))
        elif event.type == INSTANT:
            trace.notes.append(names[event.name_iid])
        else:
            assert event.type == COUNTER
            assert trace.tracks[uuid].HasField("counter")
            trace.counters.setdefault(where, []).append((time, event.counter_value))
    assert not open_, f"{where}: {open_} never ends"


def scenario(**changes: Any) -> Scenario:
    """Three vCPUs on two CPUs beside a scanner, and a balloon."""
    image = Segments(segments=(Segment(size=256, shared_as="kernel"), Segment(size=256, zero=0.5)))
    work = RandomAccess(operation="op", accesses=5, op_time="20 us", write_fraction=0.3)
    fields: dict[str, Any] = {
        "duration": "30 ms",
        "sample_every": "1 ms",
        "host": Host(cpus=2),
        "vms": [
            VM(name="a", image=image, workload=work, vcpus=2),
            VM(name="b", image=image, workload=work,
               balloon=Balloon(targets=(("10 ms", 64), ("20 ms", 0)))),
        ],
        "sharing": Sharing(policy=Cbps(scan_rate=100_000)),
        "events": True,
    }  # fmt: skip
    return Scenario(**(fields | changes))


def traced(folder: Path, described: Scenario, limit: int = 1_000_000) -> tuple[Trace, Any]:
    """A run into a folder, and its trace."""
    folder.mkdir(exist_ok=True)
    run = simulate(described, folder=folder, trace=limit)
    return read(folder / TRACE_FILE), run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, Any, Path]:
    folder = tmp_path_factory.mktemp("trace")
    return *traced(folder, scenario()), folder


def test_there_is_a_track_for_each(whole: tuple[Trace, Any, Path]) -> None:
    trace = whole[0]
    names = {trace.name(uuid) for uuid in trace.tracks}
    wanted = {"host/CPU 0", "host/CPU 1", "scanner (cbps)/scanner", "VM b/balloon",
              "VM a/balloon", "host/saved", "VM a/populated"}  # fmt: skip
    assert wanted <= names
    vcpus = [name for name in names if name.startswith("VM a/") and name.endswith("faults")]
    assert len(vcpus) == 2


def test_slices_are_the_events(whole: tuple[Trace, Any, Path]) -> None:
    """Each row of the event log is a slice of its kind, begun when it began."""
    trace, _, folder = whole
    events = pd.read_parquet(folder / "events.parquet")
    of_actor = {
        "scanner": "scanner (cbps)/scanner: pages",
        "b balloon": "VM b/balloon",
    }
    for actor, rows in events.groupby("actor"):
        vm = str(rows["vm"].iloc[0])
        track = of_actor.get(str(actor), f"VM {vm}/{actor}: faults")
        found = trace.slices[track]
        assert sorted(name for _, _, name in found) == sorted(rows["kind"])
        begins = {(begin, name) for begin, _, name in found}
        known = set(zip(rows["time_ns"], rows["kind"], strict=True))
        assert len(begins - known) <= 0.02 * len(begins)  # moved where two overlap


def test_cpus_are_as_busy_as_the_books_say(whole: tuple[Trace, Any, Path]) -> None:
    trace, run, _ = whole
    last = run.timeline.query("entity == 'host'").iloc[-1]
    spent: dict[str, int] = defaultdict(int)
    for name in ("host/CPU 0", "host/CPU 1"):
        for begin, end, who in trace.slices[name]:
            spent[who if who in ("scanner", "switch") else "vcpu"] += end - begin
    for kind in ("vcpu", "scanner", "switch"):
        assert spent[kind] == last[f"cpu_{kind}_ns"], kind


def test_vcpus_wait_as_long_as_their_ledger_says(whole: tuple[Trace, Any, Path]) -> None:
    trace, run, _ = whole
    last = run.timeline.query("entity == 'a'").iloc[-1]
    for cause in ("ready", "blocked"):
        waited = sum(
            end - begin
            for track, slices in trace.slices.items()
            if track.startswith("VM a/") and "faults" not in track
            for begin, end, name in slices
            if name == cause
        )
        assert waited == last[f"{cause}_ns"], cause


def test_counters_are_the_timeline(whole: tuple[Trace, Any, Path]) -> None:
    trace, run, _ = whole
    host = run.timeline.query("entity == 'host'")
    saved = list(zip(host["time_ns"], host["saved_pages"] * 4096, strict=True))
    assert trace.counters["host/saved"] == saved
    assert max(value for _, value in saved) > 0


def test_counters_of_the_policy_have_their_own_names(tmp_path: Path) -> None:
    ksm = Ksm(pages_to_scan=500, sleep_millisecs=5)
    trace, run = traced(tmp_path, scenario(sharing=Sharing(policy=ksm)))
    rows = run.timeline.query("entity == 'ksm'")
    counted = [value for _, value in trace.counters["scanner (ksm)/pages_sharing"]]
    assert counted == list(rows["pages_sharing"])
    assert {name for _, _, name in trace.slices["scanner (ksm)/scanner"]} == {"batch"}


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "exact", "duration": "5 ms"},
        {"sharing": None},
        {"sharing": Sharing(scanner=Scanner(placement="softirq"))},
        {"sharing": Sharing(scanner=Scanner(placement="domain"))},
        {"paging": "shadow"},
        {"host": Host(cpus=1, scheduler="eevdf")},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_watching_changes_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    described = scenario(**changes)
    for name in ("without", "with"):
        (tmp_path / name).mkdir()
    run = simulate(described, folder=tmp_path / "without")
    trace, again = traced(tmp_path / "with", described)
    assert again.summary == run.summary
    assert trace.slices
    for name in FILES:
        if (tmp_path / "without" / name).exists():
            files = [(tmp_path / one / name).read_bytes() for one in ("without", "with")]
            assert files[0] == files[1], name


def test_without_events_the_trace_is_the_same(
    tmp_path: Path, whole: tuple[Trace, Any, Path]
) -> None:
    traced(tmp_path, scenario(events=False))
    assert not (tmp_path / "events.parquet").exists()
    assert (tmp_path / TRACE_FILE).read_bytes() == (whole[2] / TRACE_FILE).read_bytes()


def test_long_runs_are_thinned_evenly_and_say_so(
    tmp_path: Path, whole: tuple[Trace, Any, Path]
) -> None:
    trace, run = traced(tmp_path, scenario(), limit=300)
    slices = [one for found in trace.slices.values() for one in found]
    assert 250 <= len(slices) <= 300
    every = sum(len(found) for found in whole[0].slices.values())
    assert trace.notes == [run.trace_note]
    assert run.trace_note.startswith(f"{every - len(slices):,} of {every:,} slices left out")
    third = 10_000_000
    per_third = [sum(begin // third == part for begin, _, _ in slices) for part in range(3)]
    assert min(per_third) > 50
    assert trace.counters == whole[0].counters


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "small.py"
    script.write_text(
        "from sharesim import VM, Scenario, Segment, Segments\n\n\n"
        "def scenario(rate: int = 1000) -> Scenario:\n"
        "    image = Segments(segments=(Segment(size=16, zero=0.5),))\n"
        '    return Scenario(duration="2 ms", vms=[VM(name="x", image=image)])\n'
    )
    words = ["run", str(script), "--out", str(tmp_path / "out")]
    assert main([*words, "--trace"]) == 0
    assert "ui.perfetto.dev" in capsys.readouterr().out
    origin = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert origin["trace"] == "complete"
    assert read(tmp_path / "out" / TRACE_FILE).tracks
    assert main([*words, "--force", "--trace-limit", "5"]) == 2
    assert "give that too" in capsys.readouterr().err
    assert main([*words, "--force", "--trace", "--trace-limit", "many"]) == 2
    assert "--trace-limit many" in capsys.readouterr().err


def test_writer_keeps_numbers_and_names(tmp_path: Path) -> None:
    """Large and negative numbers, and names that are no plain text."""
    writer = TraceWriter(tmp_path / "t")
    process = writer.process("pröcess <b>", 3)
    track, counter = writer.track("x", process), writer.counter("c", process, "pages")
    writer.slice(track, "näme", 1 << 62, (1 << 62) + 5, page=-7, vm="a/b")
    writer.count(counter, 0, -(1 << 40))
    writer.close()
    trace = read(tmp_path / "t")
    assert trace.slices == {"pröcess <b>/x": [(1 << 62, (1 << 62) + 5, "näme")]}
    assert trace.counters == {"pröcess <b>/c": [(0, -(1 << 40))]}
    message = schema.Trace()
    message.ParseFromString((tmp_path / "t").read_bytes())
    marks = [packet.track_event.debug_annotations for packet in message.packet]
    assert {(one.name, one.int_value or one.string_value) for some in marks for one in some} == {
        ("page", -7),
        ("vm", "a/b"),
    }
