"""Running a whole study: what it may ask for, and the folder that it becomes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sharesim import VM, Host, Idle, PolicyError, Run, Scenario, UserError, load_run
from sharesim.conduct import conduct, judge, reseeded, scenarios_of
from sharesim.results.folder import Folder
from sharesim.results.progress import Interrupts
from sharesim.study import Row, Study


def scenario(**more: Any) -> Scenario:
    fields: dict[str, Any] = {"duration": "4 ms", "sample_every": "1 ms"}
    return Scenario(vms=[VM(name="a", memory="64 KiB", workload=Idle())], **{**fields, **more})


@dataclass
class Some(Study):
    """Counts the samples of its runs."""

    name: ClassVar[str] = "some"
    title: ClassVar[str] = "Samples of runs"
    scenarios: Any = field(default_factory=lambda: {"short": scenario(), "long": scenario()})
    found: Any = None

    def runs(self) -> dict[str, Scenario]:
        return self.scenarios

    def rows(self, runs: Mapping[str, Run]) -> list[Row]:
        return self.found or [
            Row("no source", name, 5, (run.timeline["entity"] == "host").sum(), within=0)
            for name, run in runs.items()
        ]

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        return [f"in the order {', '.join(runs)}"]

    def picture(self, runs: Mapping[str, Run], rows: list[Row]) -> Any:
        from matplotlib.figure import Figure

        figure = Figure()
        figure.add_subplot().plot([row.simulated for row in rows])
        return figure


def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, tmp_path)


def test_a_study_becomes_a_folder_of_whole_run_folders(tmp_path: Path) -> None:
    study = Some({"short": scenario(), "long": scenario(duration="9 ms", seed=5)})
    findings = conduct(study, scenarios_of(study), folder(tmp_path))
    assert [row.simulated for row in findings.rows] == [5, 10]
    assert findings.notes == ("in the order short, long",)
    assert json.loads((tmp_path / "study.json").read_text()) == findings.to_json()
    assert (tmp_path / "study.png").read_bytes().startswith(b"\x89PNG")
    held = {path.name for path in (tmp_path / "runs" / "long").iterdir()}
    assert held == {
        "scenario.json", "summary.json", "timeline.parquet", "provenance.json", "timeline.png",
    }  # fmt: skip
    assert load_run(tmp_path / "runs" / "long").scenario.title == "long"
    assert findings.seed == 1


def test_it_can_be_judged_again_from_its_folder(tmp_path: Path) -> None:
    study = Some()
    findings = conduct(study, scenarios_of(study), folder(tmp_path), pictures=False)
    assert not list(tmp_path.rglob("*.png"))
    runs = {name: load_run(tmp_path / "runs" / name) for name in study.runs()}
    assert judge(study, runs) == findings


@pytest.mark.parametrize(
    ("scenarios", "words"),
    [
        ({}, "returned nothing"),
        (None, "returned nothing"),
        ([scenario()], "a value of type list"),
        ({"a/b": scenario()}, "'a/b' is no name"),
        ({"..": scenario()}, "'..' is no name"),
        ({"": scenario()}, "'' is no name"),
        ({3: scenario()}, "3 is no name"),
        ({"good": scenario(), "Good": scenario()}, "'good' and 'Good' differ in case only"),
        ({"good": 3}, "'good' is no Scenario"),
    ],
)
def test_runs_that_cannot_be(scenarios: Any, words: str) -> None:
    with pytest.raises(UserError, match="study 'some'") as caught:
        scenarios_of(Some(scenarios))
    assert words in str(caught.value)


def test_rows_and_notes_have_to_be_such(tmp_path: Path) -> None:
    study = Some(found=["a row"])
    with pytest.raises(UserError, match=r"study 'some': rows\(\) must return a list of Row"):
        conduct(study, scenarios_of(study), folder(tmp_path), pictures=False)


def test_what_is_wrong_with_a_run_is_told_before_any_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sharesim.conduct.simulate", lambda *_, **__: pytest.fail("it runs"))
    study = Some({"good": scenario(), "bad": scenario(host=Host(memory="8 KiB"))})
    with pytest.raises(UserError, match=r"run 'bad': host\.memory"):
        conduct(study, scenarios_of(study), folder(tmp_path))


@pytest.mark.parametrize("kind", [UserError, PolicyError])
def test_what_stops_a_run_is_told_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise kind("something is wrong")

    monkeypatch.setattr("sharesim.conduct.simulate", stop)
    study = Some()
    with pytest.raises(kind, match="run 'short': something is wrong"):
        conduct(study, scenarios_of(study), folder(tmp_path))


@pytest.mark.parametrize("after", ["rows", "picture"])
def test_ctrl_c_is_heeded_between_runs_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    interrupts = Interrupts()
    method = getattr(Some, after)

    def pressed(*arguments: Any) -> Any:
        interrupts.asked = True
        return method(*arguments)

    monkeypatch.setattr(Some, after, pressed)
    study = Some()
    with pytest.raises(KeyboardInterrupt):
        conduct(study, scenarios_of(study), folder(tmp_path), interrupts=interrupts)


def test_a_seed_moves_all_runs_alike() -> None:
    runs = {"a": scenario(seed=3), "b": scenario(seed=3), "replicate": scenario(seed=5)}
    assert [one.seed for one in reseeded(runs, 100).values()] == [100, 100, 102]
    last = (1 << 63) - 1
    assert [one.seed for one in reseeded(runs, last).values()] == [last, last, 1]
