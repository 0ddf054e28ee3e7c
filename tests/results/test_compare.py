"""Runs side by side: differences against hand computation, pairing, bad input, and the picture."""

import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharesim import VM, Cbps, Host, RandomAccess, Scenario, Segment, Segments, Sharing, simulate
from sharesim.cli import main
from sharesim.errors import UserError
from sharesim.results import cells, paired
from sharesim.results.compare import Comparison, compare
from sharesim.results.compare_text import comparison_text
from sharesim.results.load import TimelineSeries
from sharesim.results.scenario_diff import ABSENT, scenario_differences
from sharesim.results.sides import open_sides, short_labels
from sharesim.results.summary import paired_difference, paired_loss

Make = Callable[..., Path]
SWEPT = """
from sharesim import VM, Cbps, Host, RandomAccess, Scenario, Segment, Segments, Sharing


def scenario(scan_rate: int = 20_000) -> Scenario:
    image = Segments(segments=(Segment(size="1 MiB", shared_as="kernel"), Segment(size="1 MiB")))
    work = RandomAccess(op_time="100 us", accesses=2, write_fraction=0.2)
    return Scenario(
        duration="200 ms",
        sample_every="5 ms",
        host=Host(cpus=1),
        vms=[VM(name=name, image=image, workload=work) for name in ("one", "two")],
        sharing=Sharing(policy=Cbps(scan_rate=scan_rate, wake_period="2 ms")),
    )
"""


def scenario(**changes: Any) -> Scenario:
    """Two busy guests with equal memory under a scanner that takes CPU time from them."""
    image = Segments(segments=(Segment(size="1 MiB", shared_as="kernel"), Segment(size="1 MiB")))
    work = RandomAccess(op_time="100 us", accesses=2, write_fraction=0.2)
    names = changes.pop("names", ("one", "two"))
    scan_rate = changes.pop("scan_rate", 20_000)
    given: dict[str, Any] = {
        "title": "Two busy guests",
        "duration": "200 ms",
        "sample_every": "5 ms",
        "host": Host(cpus=1),
        "vms": [VM(name=name, image=image, workload=work) for name in names],
        "sharing": Sharing(policy=Cbps(scan_rate=scan_rate, wake_period="2 ms")),
    }
    return Scenario(**(given | changes))


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Runs a changed scenario into a folder of the current one."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, **changes: Any) -> Path:
        Path(f"{name}.json").write_text(scenario(**changes).to_json(), encoding="utf-8")
        assert main(["run", f"{name}.json", "--out", name, "--quiet", "--no-plot"]) == 0
        return Path(name)

    return run


def compared(*places: object, metrics: tuple[str, ...] = ()) -> Comparison:
    return compare(open_sides([str(place) for place in places]), metrics)


# Intervals


def test_paired_estimates_are_those_of_summaries() -> None:
    random = np.random.default_rng(1)
    seconds = np.full(20, 0.5)
    ours = np.column_stack([random.poisson(900, 20), seconds]).astype(float)
    theirs = np.column_stack([random.poisson(1000, 20), seconds]).astype(float)
    loss = paired_loss(ours[:, 0], theirs[:, 0])
    change = paired.ratio_change(ours, theirs, paired=True)
    assert change["value"] == pytest.approx(-loss["value"])
    assert change["half_width"] == pytest.approx(loss["half_width"])
    late = [np.column_stack([random.normal(5, 1, 20), random.poisson(50, 20)]) for _ in range(2)]
    expected = paired_difference(*late)
    found = paired.difference(*late, paired=True)
    assert found["value"] == pytest.approx(expected["value"])
    assert found["half_width"] == pytest.approx(expected["half_width"])


def test_unpaired_interval_by_hand() -> None:
    """Ten batches of one second: rates 10 ± 1 and 20 ± 2 in turn; t of nine degrees is 2.262."""
    second = np.ones(10)
    ours = np.column_stack([np.tile([9.0, 11.0], 5), second])
    theirs = np.column_stack([np.tile([22.0, 18.0], 5), second])
    found = paired.difference(ours, theirs, paired=False)
    half = 2.262 * np.sqrt((10 * 1 + 10 * 4) / (10 * 9))
    assert found == {"value": -10.0, "half_width": pytest.approx(half), "distinguishable": True}
    relative = paired.ratio_change(ours, theirs, paired=False)
    spread = 2.262 * np.sqrt((10 * (1 / 20) ** 2 + 10 * (0.5 * 2 / 20) ** 2) / 90)
    assert relative["value"] == pytest.approx(-0.5)
    assert relative["half_width"] == pytest.approx(spread)


def test_pairing_takes_out_what_both_went_through() -> None:
    random = np.random.default_rng(2)
    common = random.uniform(500, 1500, 20)
    theirs = np.column_stack([common, np.ones(20)])
    ours = np.column_stack([common * 0.98, np.ones(20)])
    assert paired.ratio_change(ours, theirs, paired=True)["distinguishable"]
    assert not paired.ratio_change(ours, theirs, paired=False)["distinguishable"]


def test_too_few_batches_have_no_interval() -> None:
    few = np.ones((5, 2))
    assert paired.ratio_change(few, few, paired=True)["half_width"] is None
    assert paired.ratio_change(few, np.zeros((5, 2)), paired=True) == paired.NOTHING


def test_batches_are_cut_where_both_sampled() -> None:
    def series(step_ms: int, end_ms: int) -> TimelineSeries:
        table = simulate(scenario(duration=f"{end_ms} ms", sample_every=f"{step_ms} ms")).timeline
        return TimelineSeries(table)

    edges, sampled = paired.batch_times(series(2, 60), series(3, 90))
    assert sampled
    assert edges == pytest.approx(np.arange(0, 61, 6) / 1e3)
    edges, sampled = paired.batch_times(series(7, 60), series(5, 60))
    assert not sampled and len(edges) == paired.BATCHES + 1


# Whole comparisons


def test_same_seed_is_paired(make: Make) -> None:
    found = compared(make("slow"), make("fast", scan_rate=200_000))
    changes = found.changes[0]
    assert (changes.unpaired, changes.batches, found.notes) == ("", 20, ())
    assert [(one.field, one.values) for one in found.scenario] == [
        ("sharing.policy.scan_rate", ("20000", "200000"))
    ]
    rows = {(one.entity, one.measure): one for one in changes.rows}
    together = rows["guests in a closed loop", "throughput"]
    operations = [side.summary["host"]["operations"] for side in found.sides]
    assert together.change["value"] == pytest.approx(operations[1] / operations[0] - 1, abs=1e-9)
    assert together.change["distinguishable"] and together.paired
    scanner = rows["host", "scanner's share of a CPU"]
    shares = [side.summary["scanner"]["cpu_share"] for side in found.sides]
    assert scanner.change["value"] == pytest.approx(shares[1] - shares[0])
    text = comparison_text(found)
    assert "From slow to fast: 0 to 0.2 s in 20 batches, paired" in text


def test_equal_runs_differ_by_nothing(make: Make) -> None:
    found = compared(make("one"), make("other", title="The same"))
    assert [one.field for one in found.scenario] == ["title"]
    assert all(one.change["value"] == 0 for one in found.changes[0].rows)
    assert all(set(one.differences) <= {0.0, None} for one in found.figures)
    assert "equal" in comparison_text(found)


def test_other_seeds_are_unpaired_and_say_so(make: Make) -> None:
    found = compared(make("a"), make("b", seed=2))
    assert found.changes[0].unpaired == "seeds 1 and 2"
    assert not any(one.paired for one in found.changes[0].rows)
    text = comparison_text(found)
    assert "NOT paired (seeds 1 and 2)" in text and "b: not the seed of a" in text


def test_other_vms_and_durations(make: Make) -> None:
    found = compared(
        make("a", warmup="20 ms"), make("b", names=("two", "three", "four"), duration="150 ms")
    )
    changes = found.changes[0]
    assert (changes.begin_s, changes.end_s) == (0.02, 0.15)
    assert {one.entity for one in changes.rows} == {"two", "host"}
    assert any("other VMs" in note and "1 in both" in note for note in found.notes)
    assert any("changes are over 0.02 to 0.15 s" in note for note in found.notes)
    assert ("vms", ("2: one, two", "3: two, three, four")) in [
        (one.field, one.values) for one in found.scenario
    ]


def test_partial_runs_are_named(make: Make) -> None:
    make("a")
    make("b")
    place = Path("b/summary.json")
    summary = json.loads(place.read_text()) | {"partial": True, "simulated_ns": 100_000_000}
    summary["window_ns"] = [0, 100_000_000]
    place.write_text(json.dumps(summary))
    found = compared("a", "b")
    assert "b is PARTIAL: interrupted at 0.1 s of 0.2 s" in found.notes
    assert found.changes[0].end_s == 0.1
    for key in ("memory", "counters", "scanner", "guests", "host"):
        del summary[key]
    place.write_text(json.dumps(summary))
    found = compared("a", "b")
    assert "b ended before its warm-up did: nothing was measured" in found.notes
    assert found.changes == ()
    assert "PARTIAL" in comparison_text(found)


def test_metrics_are_chosen_by_name(make: Make) -> None:
    a, b = make("a"), make("b", scan_rate=200_000)
    found = compared(a, b, metrics=("saved", "guests.one.operations"))
    assert [one.metric.name for one in found.figures] == ["saved_mib", "guests.one.operations"]
    with pytest.raises(UserError, match=r"no metric 'savd'; did you mean 'saved'"):
        compared(a, b, metrics=("savd",))
    with pytest.raises(UserError, match=r"--metric counters\.mergs: .* 'counters\.merges'"):
        compared(a, b, metrics=("counters.mergs",))


def test_points_of_a_sweep(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """By their numbers; their pairs without sharing are found where the sweep has them."""
    Path("script.py").write_text(SWEPT, encoding="utf-8")
    command = ["sweep", "script.py", "--vary", "scan_rate=20000,200000", "--replicates", "2"]
    assert main([*command, "--jobs", "1", "--out", "swept", "--quiet"]) == 0
    found = compared("swept:1", "swept:2", "swept:2/2", make("alone"))
    assert found.labels == ("swept:1/1", "swept:2/1", "swept:2/2", "alone")
    assert [bool(one.unpaired) for one in found.changes][:2] == [False, True]
    pairs = [side.pair_series(0.0, 0.2) for side in found.sides]
    assert [pair is not None for pair in pairs] == [True, True, True, False]
    capsys.readouterr()
    for place, words in (
        ("swept", "swept holds a sweep, not a run; name one of its points, such as swept:1"),
        ("swept:9", "found point 9; its points are 1 to 2"),
        ("swept:1/7", "found replicate 7; point 1 has 1 to 2"),
        ("alone:1", "alone"),
    ):
        assert main(["compare", "swept:1", place]) == 2
        assert words in capsys.readouterr().err


# The command


def test_command_writes_picture_json_and_csv(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make("a")
    make("b", scan_rate=200_000, baseline=True)
    capsys.readouterr()
    assert main(["compare", "a", "b"]) == 0
    out = capsys.readouterr().out
    assert "picture    compare.png" in out and "COW breaks" in out
    assert Path("compare.png").read_bytes().startswith(b"\x89PNG")
    assert main(["compare", "a", "b", "--json", "--out", "c.svg"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [run["label"] for run in data["runs"]] == ["a", "b"]
    assert data["changes"][0]["rows"][0]["paired"] is True
    drawn = Path("c.svg").read_text(encoding="utf-8")
    assert "Throughput lost to sharing" in drawn
    assert main(["compare", "a", "b", "--csv", "--no-plot"]) == 0
    rows = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    saved = next(row for row in rows if row["name"] == "saved_mib" and row["run"] == "b")
    assert float(saved["value"]) - float(saved["first"]) == pytest.approx(float(saved["change"]))


def test_bad_input(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    make("a")
    Path("empty").mkdir()
    for arguments, words in (
        (["a"], "found 1 run to compare; two or more are needed"),
        (["a", "./a"], "./a is the same run as a"),
        (["a", "empty"], "empty is not a run folder: it holds nothing"),
        (["a", "none"], "none: there is no such folder"),
        (["a", "a", "--out", "x.jpg"], "--out x.jpg: found ending '.jpg'; did you mean 'png'?"),
        (["a", "a", "--json", "--csv"], "only one of them"),
        (["a", "a", "--out", "x.png", "--no-plot"], "there is no picture to write"),
    ):
        assert main(["compare", *arguments]) == 2
        assert words in capsys.readouterr().err


# Parts


def test_scenario_differences() -> None:
    two = scenario().to_dict()
    image = Segments(segments=(Segment(size="4 MiB"),))
    changed = scenario(
        vms=[VM(name=name, image=image, weight=512) for name in ("one", "two")],
        duration="1 s",
        sharing=None,
    ).to_dict()
    rows = {one.field: one.values for one in scenario_differences([two, changed])}
    assert rows["duration"] == ("200 ms", "1 s")
    assert rows["vms.*.weight"] == ("1024", "512")
    assert rows["vms.*.image.segments[0].size"] == ("1 MiB", "4 MiB")
    assert rows["sharing.policy"][1] == ABSENT
    assert rows["sharing.design"] == ("transparent", "none")
    assert not any(name.startswith("sharing.scanner") for name in rows)
    assert rows["vms.*.workload"][1] == "idle"


def test_costs_are_one_line() -> None:
    from sharesim.resolve import resolve
    from sharesim.spec.scenario import Costs

    plain = resolve(scenario()).to_dict()
    dear = Host(cpus=1, costs=Costs(override={"copy_cold": 9999}))
    other = resolve(scenario(host=dear)).to_dict()
    rows = {one.field: one.values for one in scenario_differences([plain, other])}
    before = plain["host"]["costs"]["table"]["copy_cold"]
    assert rows["host.costs.table"][1].startswith("1 of ")
    assert rows["host.costs.table"][1].endswith(f"most copy_cold: {before} → 9999 ns")


def test_labels_are_the_shortest_that_differ() -> None:
    assert short_labels(["/x/a", "/x/b"]) == ["a", "b"]
    assert short_labels(["/x/a/run", "/x/b/run"]) == ["a/run", "b/run"]
    assert short_labels(["/x/rate:1/2", "/x/rate:1/3"]) == ["rate:1/2", "rate:1/3"]


def test_cells() -> None:
    def shown(value: float, half: float | None) -> str:
        stands_out = half is not None and abs(value) > half
        estimate = {"value": value, "half_width": half, "distinguishable": stands_out}
        return cells.with_interval(estimate, cells.percent)

    assert shown(-0.0273, 0.0068) == "-2.73 ± 0.68 %"
    assert shown(0.0001, 0.0005) == "n.d. ± 500 ppm"
    assert shown(0.02, None) == "+2.00 % ± ?"
    assert shown(0.0, 0.0) == "equal"
    assert cells.points(0.000123, signed=True) == "+0.0123 points"
    assert cells.percent(0.00001, 0.5) == "<0.01 %"
