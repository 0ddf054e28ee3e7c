"""Scenario scripts: what loads, what is refused, and where a message points."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from sharesim.errors import UserError
from sharesim.spec.script import code_files, load_target, split_help

GOOD = """
    from sharesim import VM, Scenario

    def scenario(vms: int = 2, memory: str = "1 MiB") -> Scenario:
        '''Some guests.'''
        guests = [VM(name=f"g{n}", memory=memory) for n in range(vms)]
        return Scenario(duration="1 s", vms=guests)
"""


STUDY = """
    from sharesim import VM, Scenario
    from sharesim.study import Row, Study

    class Some(Study):
        def __init__(self, vms):
            self.vms = vms

        def runs(self):
            guests = [VM(name=f"g{n}", memory="1 MiB") for n in range(self.vms)]
            return {"only": Scenario(duration="1 s", vms=guests)}

        def rows(self, runs):
            return [Row("a source", "a figure", 1, 1, mark="memory", tolerance=0.1)]

    def study(vms: int = 2) -> Study:
        '''Some studies.

        vms: how many guests
        '''
        return Some(vms)
"""


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)


def script(text: str, name: str = "some.py") -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(dedent(text))
    return path


def refusal(text: str) -> str:
    with pytest.raises(UserError) as caught:
        load_target(script(text)).build()
    return str(caught.value)


def test_a_script_builds_its_scenario() -> None:
    target = load_target(script(GOOD))
    assert target.help == "Some guests."
    assert list(target.parameters) == ["vms", "memory"]
    scenario = target.build(target.parse(["vms=3", "memory=2 MiB"]))
    assert [vm.memory for vm in scenario.vms] == [512] * 3
    assert scenario.title == "some"


def test_a_script_builds_its_study() -> None:
    target = load_target(script(STUDY))
    assert target.is_study
    assert list(target.parameters) == ["vms"]
    study = target.build_study(target.parse(["vms=3"]))
    assert (study.name, study.title) == ("some", "Some studies.")
    assert len(study.runs()["only"].vms) == 3
    assert study.notes({}) == []
    assert target.code() == {"some.py": Path("some.py").resolve()}
    with pytest.raises(UserError, match="a study of several scenarios"):
        target.build()
    assert not load_target(script(GOOD)).is_study


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def study(): return 3", ["some.py: study() returned a value of type int", "a Study"]),
        ("def study(): pass", ["some.py: study() returned nothing"]),
        ("def study():\n    return [][1]", ["some.py:2", "study() failed", "IndexError"]),
        ("def study(a=1): ...", ["some.py:1: study()", "'a' has no annotation"]),
        ("def study(): ...\ndef scenario(): ...", ["'scenario' and 'study'", "only one of them"]),
    ],
)
def test_what_is_wrong_with_a_study_is_told_with_its_place(text: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_target(script(text)).build_study()
    for word in words:
        assert word in str(caught.value)


def test_an_error_inside_a_study_points_into_the_script() -> None:
    study = load_target(script(STUDY)).build_study({"vms": 2})
    with pytest.raises(UserError, match=r"some\.py:14 .* rows\(\) failed: .* from memory"):
        study.rows({})
    with pytest.raises(UserError, match=r"some\.py:10 .* runs\(\) failed: TypeError"):
        load_target(script(STUDY)).build_study({"vms": "two"}).runs()


def test_a_scenario_file_and_a_run_folder_build_theirs() -> None:
    scenario = load_target(script(GOOD)).build()
    Path("run").mkdir()
    Path("run/scenario.json").write_text(scenario.to_json())
    for place in ("run", "run/scenario.json"):
        target = load_target(place)
        assert target.build() == scenario
        assert target.name == "run"
        assert not target.is_script
    with pytest.raises(UserError, match="without parameters"):
        target.parse(["vms=3"])


def test_two_scripts_of_one_name_do_not_mix() -> None:
    script("N = 1", "a/helper.py")
    script("N = 2", "b/helper.py")
    for folder, count in (("a", 1), ("b", 2)):
        text = GOOD.replace("from sharesim", "from helper import N\n    from sharesim", 1)
        path = script(text.replace("range(vms)", "range(N)"), f"{folder}/some.py")
        assert len(load_target(path).build().vms) == count


@pytest.mark.parametrize("name", ["random.py", "numpy.py", "my-script.py", "2guests.py"])
def test_a_script_never_replaces_a_library(name: str) -> None:
    import random

    assert len(load_target(script(GOOD, name)).build().vms) == 2
    assert sys.modules["random"] is random


def test_code_of_installed_modules_is_not_copied() -> None:
    load_target(script(GOOD))
    assert code_files(["numpy"]) == {}
    assert code_files(["not_there"]) == {}
    assert code_files(["some"]) == {"some.py": Path("some.py").resolve()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", ["some.py has no function 'scenario'"]),
        ("scenario = 3", ["some.py has a value of type int called 'scenario'"]),
        ("def scenario(a=1): ...", ["some.py:1:", "'a' has no annotation"]),
        ("def scenario(a: int): ...", ["some.py:1:", "'a' has no default"]),
        ("def scenario(*a: int): ...", ["some.py:1:", "'*a: int'"]),
        ("def scenario(a: 'nix' = 1): ...", ["some.py:1:", "nix"]),
        ("def scenario(): return 3", ["some.py: scenario() returned a value of type int"]),
        ("def scenario(): pass", ["some.py: scenario() returned nothing"]),
        ("x = 1\ndef scenario(:", ["some.py:2:"]),
        ("x = 1\ny = nix", ["some.py:2", "NameError", "nix"]),
        ("import nix_there", ["some.py:1", "ModuleNotFoundError", "nix_there"]),
        ("def scenario():\n    return [][1]", ["some.py:2", "scenario() failed", "IndexError"]),
        ("import sys\nsys.exit(3)", ["some.py", "sys.exit"]),
        (
            "from sharesim import VM\ndef scenario():\n    return VM(name='a', memry=1)",
            ["did you mean 'memory'?"],
        ),
    ],
)
def test_what_is_wrong_in_a_script_is_told_with_its_place(text: str, words: list[str]) -> None:
    message = refusal(text)
    for word in words:
        assert word in message


def test_an_error_in_a_helper_points_into_the_script_first() -> None:
    script("def help():\n    raise KeyError('lost')", "helper.py")
    message = refusal("from helper import help\ndef scenario():\n    help()")
    assert message.startswith("some.py:3 (help())")
    assert "KeyError: 'lost'" in message


def test_places_that_are_no_target() -> None:
    Path("folder").mkdir()
    Path("binary.py").write_bytes(b"\xff\xfe\x00")
    Path("notes.txt").write_text("notes")
    Path("scenario.json").write_text("[1, 2]")
    Path("studied/runs/good").mkdir(parents=True)
    Path("studied/study.json").write_text("{}")
    for place, words in (
        ("folder", "no run folder"),
        ("studied", "studied/runs/NAME, where NAME is one of good"),
        ("binary.py", "is no text"),
        ("notes.txt", "give a scenario script"),
        ("nothing.py", "no such file"),
        ("nothing\0.py", "no such file"),
    ):
        with pytest.raises(UserError, match=words):
            load_target(place)
    with pytest.raises(UserError, match=r"scenario\.json: no scenario"):
        load_target("scenario.json").build()
    Path("scenario.json").write_text('{"duration": 5, "vms": [{"name": "a", "memry": 3}]}')
    with pytest.raises(UserError, match=r"scenario\.json: vms\.0: VM has no parameter 'memry'"):
        load_target("scenario.json").build()


def test_help_of_parameters_comes_from_the_docstring() -> None:
    text = "\n".join(
        [
            "What it does: a lot.",
            "",
            "More of it.",
            "",
            "Args:",
            "    vms: how many guests",
            "        there are",
            "    rate (int): pages per second",
            "    other: not a parameter",
        ]
    )
    rest, helps = split_help(text, ["vms", "rate"])
    assert helps == {"vms": "how many guests there are", "rate": "pages per second"}
    assert rest.startswith("What it does: a lot.\n\nMore of it.")
    assert "Args" not in rest
