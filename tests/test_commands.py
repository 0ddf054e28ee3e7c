"""The commands beside ``run``: params, plot, inspect, list."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sharesim.cli import main

SCRIPT = '''
from typing import Literal

from sharesim import VM, Cbps, Scenario, Segment, Segments, Sharing


def scenario(vms: int = 2, order: Literal["linear", "random"] = "linear") -> Scenario:
    """Guests of the same kernel.

    vms: how many guests there are
    order: of the scanner
    """
    image = Segments(segments=(Segment(size="128 KiB", shared_as="kernel"),))
    return Scenario(
        duration="40 ms",
        vms=[VM(name=f"guest{number}", image=image) for number in range(vms)],
        sharing=Sharing(policy=Cbps(scan_rate=20_000, wake_period="2 ms", order=order)),
    )
'''

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sharesim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command in an empty folder with ``small.py``: status, output, errors."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.py").write_text(SCRIPT)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def refused(result: tuple[int, str, str], *wanted: str) -> None:
    """A user's mistake: status 2 and a message with these words."""
    status, _, errors = result
    assert status == 2, errors
    for words in ("sharesim: ", *wanted):
        assert words in errors


def test_params(sharesim: Command) -> None:
    status, out, _ = sharesim("params", "small.py")
    assert status == 0
    assert "Guests of the same kernel." in out
    assert "linear | random" in out
    assert "of the scanner" in out
    status, out, _ = sharesim("params", "small.py", "--json")
    first = json.loads(out)["parameters"][0]
    assert first == {
        "name": "vms",
        "type": "int",
        "default": 2,
        "help": "how many guests there are",
    }


def test_plot(sharesim: Command, tmp_path: Path) -> None:
    assert sharesim("run", "small.py", "--out", "o", "--quiet", "--no-plot")[0] == 0
    assert sharesim("plot", "o")[0] == 0
    assert (tmp_path / "o" / "timeline.png").read_bytes().startswith(b"\x89PNG")
    window = ["--metric", "merges", "--vm", "guest0", "--from", "5 ms", "--to", "0.03"]
    status, out, errors = sharesim("plot", "o", *window, "--out", "p.svg")
    assert (status, out) == (0, "p.svg\n"), errors
    assert "<svg" in (tmp_path / "p.svg").read_text()
    refused(sharesim("plot", "o", "--metric", "merge"), "'merge'", "'merges'")
    refused(sharesim("plot", "o", "--vm", "guest9"), "'guest9'", "'guest")
    refused(sharesim("plot", "o", "--from", "soon"), "--from", "'soon'")
    refused(sharesim("plot", "o", "--from", "9 s"), "9 s")
    refused(sharesim("plot", "o", "--format", "jpg"), "'jpg'")
    refused(sharesim("plot", "o", "--out", "none/p.png"), "none/p.png")
    refused(sharesim("plot", "."), "not a run folder")


def test_inspect(sharesim: Command, tmp_path: Path) -> None:
    status, out, _ = sharesim("inspect", "mixed6-60s", "--at", 30, "--json")
    assert status == 0
    data = json.loads(out)
    assert data["capture"] == "mixed6-60s"
    assert len(data["guests"]) == 6
    assert data["host"]["total"] > data["host"]["distinct"] > 0
    (tmp_path / "foreign.npz").write_bytes(b"nothing of the kind")
    refused(sharesim("inspect", "foreign.npz"), "foreign.npz")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("policies", "cbps"),
        ("workloads", "zipf"),
        ("images", "captured"),
        ("paging", "shadow"),
        ("costs", "modern-x86-ept"),
        ("targets", "lmbench_fork_shadow"),
        ("captures", "mixed6-60s"),
    ],
)
def test_list(sharesim: Command, kind: str, name: str) -> None:
    status, out, _ = sharesim("list", kind)
    assert status == 0
    assert name in out
    status, out, _ = sharesim("list", kind, "--json")
    named = {one["name"]: one for one in json.loads(out)}
    assert named[name]["help"]


def test_list_shows_parameters_with_their_help(sharesim: Command) -> None:
    _, out, _ = sharesim("list", "policies", "--json")
    cbps = next(one for one in json.loads(out) if one["name"] == "cbps")
    period = next(one for one in cbps["parameters"] if one["name"] == "wake_period")
    assert (period["type"], period["unit"], period["default"]) == ("time", "ns", "20 ms")
    assert "wakes this often" in period["help"]


def test_list_shows_what_a_paging_mode_works_with(sharesim: Command) -> None:
    _, out, _ = sharesim("list", "paging", "--json")
    modes = {one["name"]: one for one in json.loads(out)}
    assert modes["direct"]["designs"] == ["none", "paravirtual"]
    assert "behind its back" in modes["direct"]["why"]
    assert modes["nested"]["blocks"] and not modes["shadow"]["blocks"]
    assert {one["name"] for one in modes["shadow"]["parameters"]} == {"pool", "rmap", "scale"}
    _, out, _ = sharesim("list", "paging")
    assert "sharing designs: none, paravirtual; backing: 4 KiB\n" in out
    assert "in common" not in out


def test_list_shows_every_cost_of_a_profile(sharesim: Command) -> None:
    from sharesim.spec.costs import PRIMITIVES

    _, out, _ = sharesim("list", "costs", "--profile", "modern-x86-ept", "--json")
    figures = json.loads(out)["primitives"]
    assert {one["name"] for one in figures} == set(PRIMITIVES)
    assert all(one["mark"] and one["source"] for one in figures)
    _, out, _ = sharesim("list", "costs", "--profile", "modern-x86-ept")
    assert "violation_handler" in out
    refused(sharesim("list", "costs", "--profile", "moder-x86"), "'modern-x86-ept'")


def test_list_shows_what_a_profile_inherits(sharesim: Command, tmp_path: Path) -> None:
    _, out, _ = sharesim("list", "costs", "--profile", "xen-2003")
    own, _, inherited = out.partition("inherited from vmware-ws-2003\n")
    assert "  pt_validate " in own
    assert "  pt_sync " in inherited
    assert "inherited from xen-2006-p4\n" in inherited
    (tmp_path / "mine.toml").write_text(
        '[profiles.mine]\ndescription = "ours"\ninherits = "xen-2003"\n'
        'event = { ns = 7, mark = "measured", source = "our own loop" }\n'
    )
    _, out, _ = sharesim("list", "costs", "--profile", "mine.toml")
    own, *inherited = out.split("inherited from ")
    assert own.startswith("mine: ours\n")
    assert "our own loop" in own
    ancestors = {"xen-2003", "vmware-ws-2003", "xen-2006-p4", "xen-2008-xeon233"}
    assert {one.partition("\n")[0] for one in inherited} == ancestors
    refused(sharesim("list", "costs", "--profile", "mine.toml#your"), "no profile 'your'", "mine")


def test_list_shows_targets_by_profile(sharesim: Command) -> None:
    _, out, _ = sharesim("list", "targets")
    _, _, workstation = out.partition("for vmware-ws-2003\n")
    assert "874,000" in workstation
    assert "lmbench_fork_direct" not in workstation
    _, out, _ = sharesim("list", "targets", "--json")
    assert all(one["ns"] and one["mark"] and one["source"] for one in json.loads(out))


def test_a_broken_plugin_is_reported_not_fatal(
    sharesim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sharesim.spec.policies import POLICIES

    monkeypatch.setattr(POLICIES, "broken", {"theirs": "ImportError: no module"})
    status, out, errors = sharesim("list", "policies")
    assert status == 0
    assert "cbps" in out
    assert "'theirs' does not load: ImportError" in errors
