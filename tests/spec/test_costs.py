"""Cost profiles: the shipped ones are complete and say where they come from; users' files."""

import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from sharesim.content.digest_names import DIGEST_BITS
from sharesim.errors import UserError
from sharesim.spec import costs
from sharesim.spec.costs import (
    DEFAULT_PROFILE,
    MARKS,
    PRIMITIVES,
    find_profile,
    load_profile,
    load_profile_file,
    load_targets,
    profile_names,
)

FIGURE = '{ ns = 7, mark = "estimate", source = "a guess" }'
MINE = '[profiles.mine]\ndescription = "my host"\n'
INHERITS = MINE + 'inherits = "modern-x86-ept"\n'
OLD = ("esx-2002", "vmware-ws-2003", "xen-2003", "xen-2006-p4", "xen-2008-xeon233")
"""Machines without nested paging."""
PACKAGE = Path(costs.__file__).parents[1]


def cost_file(folder: Path, text: str) -> Path:
    path = folder / "costs.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    """The message for a file of this text; it always names the file."""
    path = cost_file(folder, text)
    with pytest.raises(UserError) as caught:
        load_profile_file(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


# --- shipped profiles -------------------------------------------------------------------


def test_the_shipped_profiles() -> None:
    assert profile_names() == [
        "esx-2002",
        "kvm-2012-i7",
        "linux-6.18",
        "measured-2026-vm",
        "modern-x86-ept",
        "vmware-ws-2003",
        "xen-2003",
        "xen-2006-p4",
        "xen-2008-xeon233",
    ]
    assert DEFAULT_PROFILE in profile_names()


def test_every_digest_has_both_costs() -> None:
    keys = {key for key in PRIMITIVES if key.startswith("digest_")}
    assert keys == {f"digest_{name}_{state}" for name in DIGEST_BITS for state in ("cold", "hot")}


@pytest.mark.parametrize("name", profile_names())
def test_a_shipped_profile_is_complete_and_marked(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.description
    assert list(profile.figures) == list(PRIMITIVES)
    for figure in profile.figures.values():
        assert type(figure.ns) is int
        assert figure.ns >= 0
        assert figure.mark in MARKS
        assert figure.source
        assert figure.profile in profile_names()


@pytest.mark.parametrize("name", profile_names())
def test_only_interference_is_free(name: str) -> None:
    table = load_profile(name).table()
    free = [key for key, ns in table.items() if ns == 0]
    if name == "linux-6.18":  # processes: no lock is common to all, a flush costs by the CPU
        assert free == ["flush_base", "interference_page", "lock_hold"]
    else:
        assert free == ["interference_page"]


@pytest.mark.parametrize("name", profile_names())
def test_cold_is_dearer_than_hot(name: str) -> None:
    profile = load_profile(name)
    for key in PRIMITIVES:
        extra = key.startswith("ksm_")  # there "cold" is what comes on top
        if key.endswith("_cold") and key != "compare_differ_cold" and not extra:
            assert profile.ns(key) > profile.ns(key.removesuffix("_cold") + "_hot"), key
    assert profile.ns("compare_differ_cold") < profile.ns("compare_equal_cold")


@pytest.mark.parametrize("name", OLD)
def test_an_old_machine_takes_nothing_from_a_new_one(name: str) -> None:
    new = {"measured-2026-vm", "modern-x86-ept", "kvm-2012-i7"}
    assert new.isdisjoint(figure.profile for figure in load_profile(name).figures.values())


@pytest.mark.parametrize("name", profile_names())
def test_paging_figures_fit_together(name: str) -> None:
    ns = load_profile(name).ns
    assert ns("exit") + ns("shadow_fill") == ns("pt_sync")  # a trap and one entry made effective
    assert ns("hypercall") + ns("native_fault") == ns("event")
    assert ns("zero_check_cold") + ns("pt_validate") == ns("pt_pin")
    assert ns("zero_check_cold") == ns("shadow_search")
    assert ns("frame_alloc") + ns("zero_fill_cold") + ns("entry_update") == ns("shadow_table")
    for direct, shadow in (("bounce_direct", "bounce_shadow"), ("switch_direct", "switch_shadow")):
        assert ns(direct) < ns(shadow)


@pytest.mark.parametrize("name", OLD)
def test_an_old_violation_is_a_fault_under_shadow_tables(name: str) -> None:
    ns = load_profile(name).ns
    assert ns("exit") + ns("violation_handler") == pytest.approx(ns("bounce_shadow"), rel=0.002)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("esx-2002", 2.4 / 0.933),
        ("xen-2006-p4", 2.4 / 3.0),
        ("xen-2008-xeon233", 2.4 / 2.33 / 1.5),
    ],
)
def test_old_machines_are_scaled_from_the_one_of_2003(name: str, factor: float) -> None:
    scaled, of_2003 = load_profile(name), load_profile("xen-2003")
    for key in (
        "native_fault", "bounce_direct", "pt_validate", "switch_direct", "bounce_shadow",
        "pt_sync", "switch_shadow", "entry_update",
    ):  # fmt: skip
        assert scaled.ns(key) == pytest.approx(factor * of_2003.ns(key), rel=0.003), key


@pytest.mark.parametrize(
    ("name", "factor"), [("esx-2002", 3.0 / 0.933), ("vmware-ws-2003", 3.0 / 2.4)]
)
def test_what_is_scaled_by_clock_is(name: str, factor: float) -> None:
    profile, of_2006 = load_profile(name), load_profile("xen-2006-p4")
    source = "xen-2006-p4 scaled by clock"
    scaled = [key for key, figure in profile.figures.items() if figure.source == source]
    assert len(scaled) > 5
    for key in scaled:
        assert profile.ns(key) == pytest.approx(factor * of_2006.ns(key), rel=0.01), key


def test_the_two_products_of_2003_ran_on_one_machine() -> None:
    xen, workstation = load_profile("xen-2003"), load_profile("vmware-ws-2003")
    assert xen.table() == workstation.table()
    assert {key for key in PRIMITIVES if xen.figures[key].profile == "xen-2003"} == {
        "exit", "hypercall", "bounce_direct", "pt_validate", "switch_direct",
    }  # fmt: skip
    for key in ("bounce_shadow", "pt_sync", "switch_shadow", "shadow_fill"):
        figure = xen.figures[key]
        assert (figure.profile, figure.mark) == ("vmware-ws-2003", "derived")


def test_published_figures_are_kept() -> None:
    measured = load_profile("measured-2026-vm")
    assert measured.ns("copy_cold") == 1295
    assert measured.figures["copy_cold"].mark == "measured"
    assert measured.ns("digest_sfh_hot") == 2800
    assert measured.ns("flush_target") == 9326
    modern = load_profile("modern-x86-ept")
    assert (modern.ns("exit"), modern.figures["exit"].mark) == (298, "quoted")
    assert load_profile("kvm-2012-i7").ns("exit") == round(784 / 3.4)
    assert load_profile("xen-2008-xeon233").ns("exit") == round(1579 / 2.33)
    assert load_profile("xen-2006-p4").ns("digest_sfh_hot") == round(4096 / 1.2)


def test_a_figure_remembers_where_it_was_inherited_from() -> None:
    modern = load_profile("modern-x86-ept")
    assert modern.figures["exit"].profile == "modern-x86-ept"
    assert modern.figures["copy_cold"].profile == "measured-2026-vm"
    twice = load_profile("kvm-2012-i7").figures
    assert [twice[key].profile for key in ("exit", "flush_base", "copy_cold")] == [
        "kvm-2012-i7",
        "modern-x86-ept",
        "measured-2026-vm",
    ]


def test_table_is_sorted() -> None:
    profile = load_profile(DEFAULT_PROFILE)
    table = profile.table()
    assert list(table) == sorted(PRIMITIVES)
    assert table["exit"] == profile.ns("exit") == 298


def test_a_profile_is_frozen_and_no_caller_can_spoil_the_next_one() -> None:
    profile = load_profile(DEFAULT_PROFILE)
    with pytest.raises(FrozenInstanceError):
        profile.name = "other"  # type: ignore[misc]
    profile.figures.clear()
    assert load_profile(DEFAULT_PROFILE).ns("exit") == 298


def test_unknown_names_are_met_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown cost profile 'modern-x86'; did you mean 'modern-"):
        load_profile("modern-x86")
    with pytest.raises(UserError, match="unknown cost 'copycold'; did you mean 'copy_cold'"):
        load_profile(DEFAULT_PROFILE).ns("copycold")


def test_loading_imports_nothing_that_runs() -> None:
    code = (
        "import sys; from sharesim.spec.costs import load_profile; load_profile('esx-2002');"
        "print({'numpy', 'numba', 'pandas', 'matplotlib', 'simpy'} & set(sys.modules) or 'none')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "none"


# --- targets ----------------------------------------------------------------------------


def test_targets_are_marked_and_belong_to_a_profile() -> None:
    targets = load_targets()
    assert targets["cow_break_xen_2008"].ns == 25_100
    assert targets["violation_anonymous"].ns == 2_500
    for name, target in targets.items():
        assert target.name == name
        assert target.profile in profile_names()
        assert target.mark in MARKS.keys() - {"estimate"}  # a guess is nothing to aim at
        assert target.ns > 0
        assert target.description
        assert target.source


def test_no_target_can_be_loaded_as_a_cost() -> None:
    targets = load_targets()
    assert targets.keys().isdisjoint(PRIMITIVES)
    assert targets.keys().isdisjoint(profile_names())
    for name in targets:
        with pytest.raises(UserError):
            load_profile(name)


MODES = ("native", "direct", "shadow")


def test_the_rows_of_the_xen_paper_are_complete() -> None:
    targets = load_targets()
    modes: dict[str, set[str]] = {}
    for name in targets:
        row, _, mode = name.rpartition("_")
        if mode in MODES:
            modes.setdefault(row, set()).add(mode)
    assert all(found == set(MODES) for found in modes.values())
    assert sum(row.startswith("lmbench_") for row in modes) == 10 + 7 + 3  # tables 3, 4 and 5
    assert [targets[f"lmbench_fork_{mode}"].ns for mode in MODES] == [110_000, 198_000, 874_000]
    assert [targets[f"linux_build_{mode}"].ns // 10**9 for mode in MODES] == [263, 271, 334]
    assert [round(10**9 / targets[f"osdb_ir_{mode}"].ns) for mode in MODES] == [172, 158, 80]
    for row in modes:
        assert targets[f"{row}_native"].ns <= 1.5 * targets[f"{row}_direct"].ns
        assert targets[f"{row}_direct"].ns < targets[f"{row}_shadow"].ns, row


def test_no_profile_can_name_a_target(tmp_path: Path) -> None:
    for line, message in (
        (f"lmbench_fork_shadow = {FIGURE}", "unknown cost 'lmbench_fork_shadow'"),
        ('inherits = "cow_break_xen_2008"', "unknown cost profile 'cow_break_xen_2008'"),
    ):
        assert message in refusal(tmp_path, MINE + line)


def test_only_what_compares_asks_for_targets() -> None:
    readers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "load_targets" in path.read_text(encoding="utf-8")
    }
    allowed = {"spec/costs.py", "commands/list.py"}
    assert {path for path in readers if not path.startswith("reproductions/")} == allowed


def test_profiles_are_the_same_without_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: load_profile(name) for name in profile_names()}
    document = {key: value for key, value in costs._document().items() if key != "targets"}
    monkeypatch.setattr(costs, "_document", lambda: document)
    costs._shipped.cache_clear()
    try:
        assert {name: load_profile(name) for name in profile_names()} == before
        with pytest.raises(KeyError):
            load_targets()
    finally:
        costs._shipped.cache_clear()


def test_the_modern_primitives_add_up_to_an_anonymous_fault() -> None:
    """Consistency only: ``violation_handler`` was chosen with this sum in view."""
    modern = load_profile("modern-x86-ept")
    parts = ("exit", "violation_handler", "frame_alloc", "zero_fill_cold", "native_fault")
    assert sum(modern.ns(key) for key in parts) == pytest.approx(
        load_targets()["violation_anonymous"].ns, rel=0.05
    )


# --- users' files -----------------------------------------------------------------------


def test_a_user_profile_inherits_a_shipped_one(tmp_path: Path) -> None:
    path = cost_file(tmp_path, INHERITS + f"exit = {FIGURE}\n")
    profiles = load_profile_file(path)
    assert list(profiles) == ["mine"]
    mine = profiles["mine"]
    assert (mine.name, mine.description) == ("mine", "my host")
    assert (mine.ns("exit"), mine.figures["exit"].profile) == (7, "mine")
    assert mine.figures["flush_base"] == load_profile("modern-x86-ept").figures["flush_base"]
    assert load_profile_file(str(path)) == profiles
    assert "mine" not in profile_names()


def test_user_profiles_inherit_one_another_in_any_order(tmp_path: Path) -> None:
    text = '[profiles.child]\ndescription = "faster"\ninherits = "mine"\n' + INHERITS
    profiles = load_profile_file(cost_file(tmp_path, text + f"exit = {FIGURE}\n"))
    assert profiles["child"].figures["exit"] == profiles["mine"].figures["exit"]


def test_a_complete_user_profile_needs_no_ancestor(tmp_path: Path) -> None:
    figures = "".join(f"{key} = {FIGURE}\n" for key in PRIMITIVES)
    profiles = load_profile_file(cost_file(tmp_path, MINE + figures))
    assert set(profiles["mine"].table().values()) == {7}


def test_a_profile_is_found_by_name_or_in_a_file(tmp_path: Path) -> None:
    assert find_profile("esx-2002") == load_profile("esx-2002")
    path = cost_file(tmp_path, INHERITS + f"exit = {FIGURE}\n")
    mine = load_profile_file(path)["mine"]
    assert find_profile(str(path)) == find_profile(f"{path}#mine") == mine


def test_a_profile_that_is_not_found_is_explained(tmp_path: Path) -> None:
    text = INHERITS + '[profiles.other]\ndescription = "x"\ninherits = "mine"\n'
    path = cost_file(tmp_path, text)
    assert find_profile(f"{path}#other").name == "other"
    notes = tmp_path / "notes.md"
    notes.write_text("nothing of the kind", encoding="utf-8")
    for name, message in (
        (str(path), f"{path} has mine, other; choose one: {path}#NAME"),
        (f"{path}#othr", f"{path} has no profile 'othr'; did you mean 'other'?"),
        (str(notes), f"{notes}: a file of costs ends in .toml"),
        ("xen-2004", "unknown cost profile 'xen-2004'; did you mean 'xen-2003'?"),
        (str(tmp_path / "none.toml"), "the cost file cannot be read"),
    ):
        with pytest.raises(UserError) as caught:
            find_profile(name)
        assert message in str(caught.value)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert load_profile_file(cost_file(tmp_path, "\ufeff" + INHERITS))["mine"].ns("exit") == 298


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            'exit = { ns = -1, mark = "measured", source = "x" }',
            "profiles.mine.exit.ns: found -1; a cost lies between 0",
        ),
        (
            'exit = { ns = 9000000000000, mark = "measured", source = "x" }',
            "profiles.mine.exit.ns: found 9000000000000; a cost lies between 0",
        ),
        (
            'exit = { ns = 1.5, mark = "measured", source = "x" }',
            "profiles.mine.exit.ns: found 1.5; a cost is a whole number of nanoseconds",
        ),
        (
            'exit = { ns = "300", mark = "measured", source = "x" }',
            "profiles.mine.exit.ns: found '300'; a cost is a whole number",
        ),
        (
            'exit = { ns = true, mark = "measured", source = "x" }',
            "profiles.mine.exit.ns: found True; a cost is a whole number",
        ),
        ('exit = { mark = "measured", source = "x" }', "profiles.mine.exit.ns: missing"),
        ("exit = 300", "profiles.mine.exit: found 300; a cost looks like { ns = "),
        (
            'exit = { ns = 3, mark = "mesured", source = "x" }',
            "profiles.mine.exit.mark: found 'mesured'; did you mean 'measured'?",
        ),
        ('exit = { ns = 3, source = "x" }', "profiles.mine.exit.mark: missing"),
        ('exit = { ns = 3, mark = "quoted" }', "profiles.mine.exit.source: missing"),
        (
            'exit = { ns = 3, mark = "quoted", source = " " }',
            "profiles.mine.exit.source: found ' '; it is a text",
        ),
        (
            'exit = { ns = 3, mark = "quoted", sourc = "x" }',
            "profiles.mine.exit: unknown field 'sourc'; did you mean 'source'?",
        ),
        (
            f"copy_colt = {FIGURE}",
            "profiles.mine.copy_colt: unknown cost 'copy_colt'; did you mean 'copy_cold'?",
        ),
        ('inherit = "esx-2002"', "unknown cost 'inherit'; did you mean 'inherits'?"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, lines: str, message: str) -> None:
    assert message in refusal(tmp_path, INHERITS + lines + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no profile; a profile begins with [profiles.NAME]"),
        ("profiles = 3", "there is no profile"),
        ("[profiles]\nmine = 3", "profiles.mine: found 3; a profile is a table"),
        ("[profiles.mine]", "profiles.mine.description: missing"),
        ("[profiles.mine]\ndescription = 3", "profiles.mine.description: found 3; it is a text"),
        (MINE + "inherits = 3", "profiles.mine.inherits: found 3; it is a text"),
        (
            MINE + 'inherits = "esx-2003"',
            "profiles.mine.inherits: unknown cost profile 'esx-2003'; did you mean 'esx-2002'?",
        ),
        (INHERITS + "[profile.other]", "found [profile]; a cost file holds [profiles.NAME] only"),
        (INHERITS + "[targets.x]\nns = 3", "found [targets]; a cost file holds"),
        (
            '[profiles.esx-2002]\ndescription = "x"',
            "profile 'esx-2002' is a shipped one; give yours another name",
        ),
        (MINE + 'inherits = "mine"', "found 'mine'; inheritance goes round: mine -> mine"),
        (
            MINE + 'inherits = "b"\n[profiles.b]\ndescription = "x"\ninherits = "mine"',
            "profiles.b.inherits: found 'mine'; inheritance goes round: mine -> b -> mine",
        ),
        (INHERITS + "\nexit = = 3", "this is no valid TOML: Invalid value (at line 5, column 8)"),
        (INHERITS + INHERITS, "this is no valid TOML: "),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


def test_a_circle_beyond_the_asked_profile_ends_too(tmp_path: Path) -> None:
    text = MINE + 'inherits = "b"\n'
    for name, parent in (("b", "c"), ("c", "b")):
        text += f'[profiles.{name}]\ndescription = "x"\ninherits = "{parent}"\n'
    assert "inheritance goes round: b -> c -> b" in refusal(tmp_path, text)


def test_missing_figures_are_listed(tmp_path: Path) -> None:
    left_out = {"exit", "walk_nested"}
    figures = "".join(f"{key} = {FIGURE}\n" for key in PRIMITIVES if key not in left_out)
    message = refusal(tmp_path, MINE + figures)
    assert message.startswith("profile 'mine' has no figure for exit, walk_nested; add them, or ")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.toml: the cost file cannot be read: No such file"):
        load_profile_file(tmp_path / "none.toml")
    with pytest.raises(UserError, match="the cost file cannot be read"):
        load_profile_file(tmp_path)
    with pytest.raises(UserError, match="the cost file cannot be read"):
        load_profile_file("a\0b")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\x93NUMPY\xff")
    with pytest.raises(UserError, match=r"binary\.toml: found bytes that are no UTF-8"):
        load_profile_file(binary)
