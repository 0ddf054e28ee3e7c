"""The documentation is true: its code runs, its links lead somewhere, its names exist."""

import argparse
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest

from sharesim import Run, Segments, simulate
from sharesim.cli import ALL, Parser, joined, main
from sharesim.commands.list import KINDS
from sharesim.errors import UserError
from sharesim.machine.tables import CAUSES, EVENT_KINDS
from sharesim.results.recorder import (
    EVENT_COLUMNS,
    HELD,
    HOST_COLUMNS,
    POLICY_COLUMNS,
    VM_COLUMNS,
)
from sharesim.spec.costs import MARKS, PRIMITIVES, profile_names
from sharesim.spec.images import Captured, Segment
from sharesim.spec.ksm import Ksm
from sharesim.spec.paging import PAGINGS, Direct, Shadow
from sharesim.spec.policies import Cbps, PolicySpec
from sharesim.spec.scenario import (
    VM,
    Balloon,
    Costs,
    Design,
    Host,
    Paravirtual,
    Scanner,
    Scenario,
    Sharing,
)
from sharesim.spec.script import forget_scripts
from sharesim.spec.units import show_time
from sharesim.spec.workloads import Accessing, PageTableActivity, Replay
from sharesim.study import ROW_FIELDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUNS_COMMANDS = ("first-scenario.md", "studies.md")
"""Pages whose shell commands are run too, where their scripts are; published results are not."""
BLOCK = re.compile(r"(?:<!-- file: (\S+) -->\n)?^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def names(pages: list[Path]) -> list[str]:
    return [page.name for page in pages]


def blocks(page: Path) -> Iterator[tuple[str | None, str, str]]:
    """(file name or None, language, text) of each block of code."""
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield match[1], match[2], match[3]


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each sharesim command line of a page, the command as one."""
    for _, language, text in blocks(page):
        if language == "sh":
            for line in text.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["sharesim"]:
                    yield joined(words[1:])


def parser_of(command: str) -> argparse.ArgumentParser:
    parser = Parser(prog=command, allow_abbrev=False)
    import_module(f"sharesim.commands.{command.replace(' ', '_')}").add_options(parser)
    return parser


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a command, and of what it is divided into."""
    known = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            known |= {option for one in action.choices.values() for option in options_of(one)}
    return known


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
                    published = words[1:2] == ["reproduce"] and "--list" not in words
                    if words[:1] == ["sharesim"] and not published:
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
            if not name.startswith("_") and name not in ("hashed", "mapped", "OWNS_FRAMES"):
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
        assert words[0] in ALL, words
        options, left = parser_of(words[0]).parse_known_args(words[1:])
        assert not left, words
        if words[0] == "list":
            assert options.kind in KINDS
            files = [name for name, _, _ in blocks(page) if name]
            assert (options.profile or "").partition("#")[0] in ("", *profile_names(), *files)
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
    for command in ALL:
        known |= options_of(parser_of(command))
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", prose(page)):
        assert option in known, option


@pytest.mark.parametrize("command", ["sweep", "sweep show", "sweep merge", "sweep rerun"])
def test_options_of_sweeps_are_documented(command: str) -> None:
    known = set(re.findall(r"--[a-z][a-z-]*", (ROOT / "docs" / "sweeps.md").read_text()))
    assert (
        not {one for one in options_of(parser_of(command)) if one.startswith("--")}
        - known
        - {"--help"}
    )


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
    """Each first cell of the timeline's tables is a column of a run under cbps or ksm, and back."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    part = text.split("## The timeline")[1].split("## The events")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", part, re.MULTILINE)
    shown = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    under_ksm = simulate(
        Scenario(
            duration="1 ms",
            vms=[VM(name="a", image=Segments(segments=(Segment(size=16),)))],
            sharing=Sharing(policy=Ksm()),
        )
    )
    assert shown == {*run.timeline.columns, *under_ksm.timeline.columns}


def test_summary_is_documented(run: Run) -> None:
    known = quoted("results.md")
    guest = run.summary["guests"]["a"]
    assert not {*run.summary, *guest, *run.summary["host"], *guest["overhead"]} - known


def test_fields_of_scenarios_are_documented() -> None:
    known = " ".join(quoted("scenario.md"))
    specs = (Scenario, Host, VM, Balloon, Costs, Scanner, Sharing, Segment, Captured, Accessing,
             Cbps, PageTableActivity, Shadow, Direct, Paravirtual)  # fmt: skip
    for spec in specs:
        for field, info in spec.model_fields.items():
            assert re.search(rf"\b{info.alias or field}\b", known), f"{spec.__name__}.{field}"
    assert not set(Replay.model_fields) - {"ops", "for_"} - quoted("captures.md")


def table(page: str, section: str, number: int = 0) -> dict[str, list[str]]:
    """A table of a section, by its first cells; the header under the name ''."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    part = re.split(r"^## ", text.split(f"## {section}\n")[1], flags=re.MULTILINE)[0]
    chosen = re.findall(r"(?:^\|.*\n)+", part, re.MULTILINE)[number]
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in chosen.splitlines()
    ]
    return {"": header[1:]} | {row[0].strip("`"): row[1:] for row in rows}


def test_legal_pairs_are_those_documented() -> None:
    rows = table("model.md", "Two axes")
    designs = [re.findall(r"`(\w+)`", cell)[0] for cell in rows.pop("")]
    assert set(designs) == set(get_args(Design))
    assert set(rows) == {name for name, _ in PAGINGS}
    for name, mode in PAGINGS:
        allowed = {design for design, cell in zip(designs, rows[name], strict=True)
                   if cell.startswith("yes")}  # fmt: skip
        assert allowed == set(mode.designs), name
        assert f"\n## {name}\n" in (ROOT / "docs" / "paging.md").read_text(encoding="utf-8")


def test_options_of_paging_modes_and_designs_are_explained() -> None:
    assert {f for mode in (Shadow, Direct) for f in mode.model_fields} <= quoted("scenario.md")
    shown = table("paravirtual.md", "Options")
    assert set(shown) - {""} == set(Paravirtual.model_fields)
    for field, info in Paravirtual.model_fields.items():
        default = show_time(info.default) if field == "expiry" else str(info.default)
        assert shown[field][0].strip('`"') == default, field


def value_of(formula: str, primitives: dict[str, int]) -> int:
    """What a formula of the docs makes of figures, as in "2 (`hypercall` + `pt_pin`)"."""
    plain = re.sub(r"`(\w+)`", lambda name: str(primitives[name[1]]), formula)
    plain = re.sub(r"(\d) (?=[\d(])", r"\1 * ", plain)
    assert re.fullmatch(r"[\d+*() ]+", plain), formula
    return int(eval(plain))


FIGURES = {key: (at + 3) ** 5 for at, key in enumerate(PRIMITIVES)}
"""Figures of which no two sums are equal by chance."""


def test_costs_of_faults_are_those_documented() -> None:
    rows = table("paging.md", "What faults cost")
    words = {"exit": "`exit`", "handler": "`violation_handler`", "entry": "`entry_update`"}
    faults = {
        "first touch of a page": "populate_fault",
        "an entry is not in place": "refill_fault",
        "write to a read-only page": "write_fault",
    }
    for at, name in enumerate(cell.strip("`") for cell in rows[""]):
        costs = PAGINGS.find(name)().runtime(FIGURES).cost_row()[0]
        for row, fault in faults.items():
            formula = re.sub(r"(?<!`)\b(exit|handler|entry)\b", lambda m: words[m[1]],
                             rows[row][at].partition(":")[0])  # fmt: skip
            if formula:
                assert value_of(formula, FIGURES) == costs[fault], (name, row)


def test_costs_of_page_table_activity_are_those_documented() -> None:
    figures = FIGURES
    rows = table("paging.md", "What a mode is made of")
    for name, mode in PAGINGS:
        costs = mode().runtime(figures).cost_row()[0]
        fault, _, of_table, switch = rows[name]
        assert value_of(fault, figures) == costs["guest_fault"] + costs["single_update"], name
        assert value_of(of_table, figures) == costs["new_table"], name
        if switch != "longer walks":
            assert value_of(switch, figures) == costs["address_switch"], name
            assert costs["walk"] == costs["walk_native"]
        else:
            assert costs["address_switch"] == 0 and costs["walk"] != costs["walk_native"]
    batches = rows["direct"][1]
    costs = PAGINGS.find("direct")().runtime(figures).cost_row()[0]
    named = [figures[key] for key in re.findall(r"`(\w+)`", batches)]
    assert named == [costs["batch_update"], costs["batch_call"]]


def test_counters_of_the_paravirtual_design_are_explained() -> None:
    known = quoted("paravirtual.md")
    ours = {name for name in HOST_COLUMNS if name.startswith("offer")}
    assert not {*ours, "upcalls", "breaks_without_copy", "updates_refused"} - known
    steps = {"offer", "consent", "refuse", "expire", "share", "rewrite"}
    assert steps <= known and steps <= set(EVENT_KINDS)


def test_what_the_hypervisor_holds_is_explained() -> None:
    assert {f"{kind}_pages" for kind in HELD} <= quoted("paging.md")


def test_rows_of_studies_are_explained() -> None:
    text = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    for field in {"tolerance", "within", "relation", "mark", "note"} & set(ROW_FIELDS):
        assert field in text


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
