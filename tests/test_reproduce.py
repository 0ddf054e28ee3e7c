"""``sharesim reproduce``, on studies that are quick; the built-in ones have tests of their own."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from sharesim import VM, Idle, Run, Scenario, reproductions
from sharesim.cli import main
from sharesim.results.progress import Interrupts
from sharesim.study import Row, Study

Command = Callable[..., tuple[int, str, str]]


class Samples(Study):
    """Counts the samples of one run."""

    name: ClassVar[str] = "samples"
    title: ClassVar[str] = "Samples of a run"
    expected: ClassVar[int] = 5

    def runs(self) -> dict[str, Scenario]:
        guest = VM(name="a", memory="64 KiB", workload=Idle())
        return {"only": Scenario(duration="4 ms", sample_every="1 ms", vms=[guest])}

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        found = (runs["only"].timeline["entity"] == "host").sum()
        return [Row("R0: nobody", "samples", self.expected, found, relation="equal")]


class Missing(Samples):
    """Expects what does not come."""

    name: ClassVar[str] = "missing"
    expected: ClassVar[int] = 6


class Point:
    """An entry point of a plug-in."""

    def __init__(self, name: str, value: Any) -> None:
        self.name = name
        self.value = value

    def load(self) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.fixture
def sharesim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command in an empty folder: status, output, errors."""
    monkeypatch.chdir(tmp_path)
    module = ModuleType("sharesim.reproductions.samples")
    module.study = Samples  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(reproductions, "BUILT_IN", ("samples",))
    points = [Point("missing", Missing), Point("samples", Missing)]
    monkeypatch.setattr(reproductions, "entry_points", lambda group: points)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main(["reproduce", *(str(one) for one in arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def held(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def plugins(monkeypatch: pytest.MonkeyPatch, *points: Point) -> None:
    monkeypatch.setattr(reproductions, "entry_points", lambda group: points)


def test_it_prints_a_table_of_each_and_the_total(sharesim: Command, tmp_path: Path) -> None:
    status, out, errors = sharesim()
    assert (status, errors) == (0, "")
    assert out.index("samples: Samples of a run") < out.index("missing: Samples of a run")
    assert "2 studies: 1 pass, 1 miss, 0 shown" in out
    assert held(tmp_path) == []  # nothing is kept unless asked for


def test_misses_count_only_if_asked(sharesim: Command) -> None:
    assert sharesim("missing")[0] == 0
    assert sharesim("missing", "--strict")[0] == 1
    assert sharesim("samples", "--strict", "--quiet") == (0, "", "")


def test_json_holds_every_row(sharesim: Command) -> None:
    status, out, _ = sharesim("missing", "samples", "missing", "--json", "--seed", 8)
    assert status == 0
    missing, samples = json.loads(out)["studies"]
    assert (missing["name"], missing["title"]) == ("missing", "Samples of a run")
    assert (missing["passed"], missing["missed"], missing["shown"]) == (0, 1, 0)
    assert missing["seed"] == samples["seed"] == 8
    assert samples["notes"] == []
    assert samples["rows"] == [
        {
            "source": "R0: nobody",
            "figure": "samples",
            "published": 5,
            "simulated": 5,
            "unit": "",
            "error": 0.0,
            "tolerance": None,
            "relation": "equal",
            "within": None,
            "mark": "quoted",
            "verdict": "pass",
            "note": "",
        }
    ]


def test_out_keeps_a_folder_of_each(sharesim: Command, tmp_path: Path) -> None:
    status, out, errors = sharesim("--out", "deep/kept", "--no-plot")
    assert status == 0, errors
    assert "kept in deep/kept" in out
    kept = tmp_path / "deep" / "kept"
    assert held(kept) == ["missing", "samples"]
    assert held(kept / "samples") == ["runs", "study.json"]
    assert not (kept / "samples" / "runs" / "only" / "timeline.png").exists()
    status, _, errors = sharesim("samples", "--out", "deep/kept")
    assert status == 2
    assert "--force" in errors
    assert sharesim("samples", "--out", "deep/kept", "--force")[0] == 0
    assert (kept / "samples" / "runs" / "only" / "timeline.png").exists()


def test_no_run_starts_before_all_places_are_free(sharesim: Command, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "missing").write_text("in the way")
    status, out, errors = sharesim("samples", "missing", "--out", "kept")
    assert (status, out) == (2, "")
    assert "kept/missing" in errors
    assert held(tmp_path / "kept") == ["missing"]


def test_list_names_them(sharesim: Command) -> None:
    status, out, _ = sharesim("--list")
    assert (status, out.split()[0]) == (0, "samples")
    _, out, _ = sharesim("--list", "--json")
    assert json.loads(out) == [
        {"name": "samples", "title": "Samples of a run"},
        {"name": "missing", "title": "Samples of a run"},
    ]


def test_mistakes(sharesim: Command) -> None:
    status, _, errors = sharesim("sample")
    assert status == 2
    assert "no reproduction 'sample'; did you mean 'samples'?" in errors
    status, _, errors = sharesim("samples", "--seed", "x")
    assert status == 2
    assert "--seed x" in errors


@pytest.mark.parametrize("value", [ImportError("no such thing"), lambda: 3, 3])
def test_a_broken_plugin_is_told_and_left_out(
    sharesim: Command, monkeypatch: pytest.MonkeyPatch, value: Any
) -> None:
    plugins(monkeypatch, Point("broken", value))
    status, out, errors = sharesim()
    assert status == 0
    assert "reproduction 'broken' does not load" in errors
    assert "1 pass, 0 miss, 0 shown" in out
    status, _, errors = sharesim("broken")  # asked for, it is an error
    assert status == 2
    assert "reproduction 'broken' does not load" in errors


def test_ctrl_c_keeps_the_studies_that_were_finished(
    sharesim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(self: Interrupts, moment: object) -> None:
        if list(tmp_path.rglob("kept/samples/study.json")):
            raise KeyboardInterrupt

    monkeypatch.setattr(Interrupts, "check", press)
    status, _, errors = sharesim("--out", "kept", "--no-plot")
    assert status == 130
    assert "interrupted; kept in kept: samples" in errors
    assert held(tmp_path / "kept") == ["samples"]


def test_ctrl_c_in_the_first_leaves_nothing(
    sharesim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(self: Interrupts, moment: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Interrupts, "check", press)
    for more in ([], ["--out", "kept"]):
        status, out, errors = sharesim(*more)
        assert (status, out) == (130, "")
        assert "nothing was written" in errors
        assert held(tmp_path) == []


@pytest.mark.parametrize("name", reproductions.BUILT_IN)
def test_the_built_in_ones_load_and_are_well_formed(name: str) -> None:
    from sharesim.conduct import scenarios_of

    study = reproductions.load(name)
    assert study.name == name
    assert study.title
    assert scenarios_of(study)
