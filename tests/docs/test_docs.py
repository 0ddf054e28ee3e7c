"""The documentation is true: its code runs, its links lead somewhere, its names exist."""

import argparse
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sharesim import Run, Segments, simulate
from sharesim.cli import COMMANDS, Parser, main
from sharesim.commands.list import KINDS
from sharesim.errors import UserError
from sharesim.machine.tables import CAUSES, EVENT_KINDS
from sharesim.results.recorder import (
    EVENT_COLUMNS,
    HOST_COLUMNS,
    POLICY_COLUMNS,
    VM_COLUMNS,
)
from sharesim.spec.costs import MARKS, PRIMITIVES, profile_names
from sharesim.spec.images import Segment
from sharesim.spec.policies import Cbps, PolicySpec
from sharesim.spec.scenario import VM, Balloon, Costs, Host, Scanner, Scenario, Sharing
from sharesim.spec.script import forget_scripts
from sharesim.spec.workloads import Accessing, Replay

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNS_COMMANDS = ("first-scenario.md",)
"""Pages whose shell commands are run too, where their scripts are."""
BLOCK = re.compile(r"(?:<!-- file: (\S+) -->\n)?^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def names(pages: list[Path]) -> list[str]:
    return [page.name for page in pages]


def blocks(page: Path) -> Iterator[tuple[str | None, str, str]]:
    """(file name or None, language, text) of each block of code."""
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield match[1], match[2], match[3]


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each sharesim command line of a page."""
    for _, language, text in blocks(page):
        if language == "sh":
            for line in text.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["sharesim"]:
                    yield words[1:]


def parser_of(command: str) -> argparse.ArgumentParser:
    parser = Parser(prog=command, allow_abbrev=False)
    import_module(f"sharesim.commands.{command}").add_options(parser)
    return parser


def prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


# Code


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(language == "python" for _, language, _ in blocks(page))],
    ids=lambda page: page.name,
)
def test_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    space: dict[str, Any] = {"__name__": "page"}
    try:
        for file, language, text in blocks(page):
            if file is not None:
                (tmp_path / file).write_text(text, encoding="utf-8")
            elif language == "python":
                forget_scripts()
                exec(compile(text, f"{page.name}", "exec"), space)
            elif language == "sh" and page.name in RUNS_COMMANDS:
                for line in text.splitlines():
                    words = shlex.split(line, comments=True)
                    if words[:1] == ["sharesim"]:
                        assert main(words[1:]) == 0, line
    finally:
        forget_scripts()
    assert "Traceback" not in capsys.readouterr().err


def test_the_policy_tutorial_is_complete() -> None:
    """What a stranger needs to write a policy is named on that page."""
    from sharesim.hypervisor.merge import OUTCOMES
    from sharesim.sharing.policy import Policy, View

    text = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    for owner, prefix in ((View, "view."), (Policy, "")):
        for name in vars(owner):
            if not name.startswith("_") and name not in ("hashed", "mapped"):
                assert f"{prefix}{name}" in text, name
    for outcome in OUTCOMES[1:]:
        assert f"`{outcome.upper().replace(' ', '_')}`" in text
    for field in PolicySpec.model_fields:
        assert f"`{field}`" in text
    module = next(text for file, _, text in blocks(ROOT / "docs" / "policy.md") if file)
    lines = [line for line in module.splitlines() if line.strip()]
    assert len(lines) <= 66, "the page says about 60 lines"


# Commands and options


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_parse(page: Path) -> None:
    for words in commands(page):
        assert words[0] in COMMANDS, words
        options, left = parser_of(words[0]).parse_known_args(words[1:])
        assert not left, words
        if words[0] == "list":
            assert options.kind in KINDS
            assert options.profile in (None, *profile_names())
        target = getattr(options, "target", "")
        if target.startswith("scenarios/"):
            check_settings(ROOT / target, getattr(options, "settings", []))


def check_settings(script: Path, settings: list[str]) -> None:
    from sharesim.spec.script import load_target

    load_target(script).parse(settings)
    forget_scripts()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_exist(page: Path) -> None:
    known = {"--help", "--version", "--seeds", "--fast"}
    for command in COMMANDS:
        known |= set(parser_of(command)._option_string_actions)
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", prose(page)):
        assert option in known, option


def test_readme_names_real_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


# Links


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_on_the_map() -> None:
    linked = set(LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8")))
    assert set(names(PAGES)) - {"README.md", "index.md"} <= linked


# Names


def quoted(page: str) -> set[str]:
    """What stands in backticks outside of blocks."""
    return set(re.findall(r"`([^`\n]+)`", prose(ROOT / "docs" / page)))


def test_columns_are_documented() -> None:
    columns = {"time_ns", "entity", *HOST_COLUMNS, *VM_COLUMNS, *POLICY_COLUMNS, *EVENT_COLUMNS}
    missing = columns - quoted("results.md")
    assert not missing
    assert not set(EVENT_KINDS) - quoted("results.md")
    assert not set(CAUSES) - quoted("model.md")


@pytest.fixture(scope="module")
def run() -> Run:
    """A run with everything that a summary can hold."""
    image = Segments(segments=(Segment(size=16, zero=0.5),))
    return simulate(Scenario(duration="1 ms", vms=[VM(name="a", image=image)], baseline=True))


def test_documented_columns_exist(run: Run) -> None:
    """Each first cell of the timeline's tables is a column of a run under cbps, and back."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    part = text.split("## The timeline")[1].split("## The events")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", part, re.MULTILINE)
    shown = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert shown == set(run.timeline.columns)


def test_summary_is_documented(run: Run) -> None:
    known = quoted("results.md")
    guest = run.summary["guests"]["a"]
    assert not {*run.summary, *guest, *run.summary["host"], *guest["overhead"]} - known


def test_fields_of_scenarios_are_documented() -> None:
    known = " ".join(quoted("scenario.md"))
    for spec in (Scenario, Host, VM, Balloon, Costs, Scanner, Sharing, Segment, Accessing, Cbps):
        for field, info in spec.model_fields.items():
            assert re.search(rf"\b{info.alias or field}\b", known), f"{spec.__name__}.{field}"
    assert not set(Replay.model_fields) - {"ops", "for_"} - quoted("captures.md")


def test_costs_are_documented() -> None:
    known = quoted("costs.md")
    digests = {f"digest_NAME_{state}" for state in ("cold", "hot")}
    keys = {key for key in PRIMITIVES if not key.startswith("digest_")} | digests
    assert not keys - known
    assert not set(profile_names()) - known
    text = prose(ROOT / "docs" / "costs.md")
    assert all(f"| {mark} |" in text for mark in MARKS)


def test_example_profile_is_sound(tmp_path: Path) -> None:
    from sharesim.spec.costs import load_profile_file

    text = next(text for file, _, text in blocks(ROOT / "docs" / "costs.md") if file == "mine.toml")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    assert load_profile_file(tmp_path / "mine.toml")["my-server"].ns("flush_target") == 1500


def test_errors_of_policies_are_worded_as_documented() -> None:
    """The table of messages quotes what the code says."""
    from sharesim import Sharing as Described

    text = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    sources = "".join(
        (ROOT / "sharesim" / place).read_text(encoding="utf-8")
        for place in ("sharing/drivers.py", "sharing/policy.py", "engine.py")
    )
    for words in ("found a page twice", "may be asked only during visit", "for a budget of"):
        assert words in text and words in sources
    with pytest.raises(UserError, match="unknown policy 'cbsp'; did you mean 'cbps'"):
        Described(policy="cbsp")  # type: ignore[arg-type]
