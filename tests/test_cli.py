"""The command line, run as a user would, on scenarios small enough to be quick."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from sharesim.cli import main
from sharesim.results.folder import FILES
from sharesim.results.progress import Interrupts
from sharesim.results.recorder import ParquetSink

SCRIPT = '''
from typing import Literal

from sharesim import VM, Cbps, Host, RandomAccess, Scenario, Segment, Segments, Sharing


def scenario(
    vms: int = 2, scan_rate: float = 20_000, order: Literal["linear", "random"] = "linear"
) -> Scenario:
    """Guests of the same kernel.

    vms: how many guests there are
    scan_rate: pages per second
    """
    kernel = Segment(size="128 KiB", shared_as="kernel", page_class="kernel")
    own = Segment(size="128 KiB", zero=0.5)
    return Scenario(
        duration="40 ms",
        host=Host(cpus=2),
        vms=[
            VM(
                name=f"guest{number}",
                memory="512 KiB",
                image=Segments(segments=(kernel, own)),
                workload=RandomAccess(write_fraction=0.05, op_time="50 us"),
            )
            for number in range(vms)
        ],
        sharing=Sharing(policy=Cbps(scan_rate=scan_rate, wake_period="2 ms", order=order)),
    )
'''

POLICY_SCRIPT = """
from typing import ClassVar

import numpy as np

from helper import NEVER
from sharesim import VM, Policy, PolicySpec, RandomAccess, Scenario, Sharing


class Blind(Policy):
    name = "blind"

    def batch(self, budget):
        return np.arange(min(budget, self.view.pages), dtype=np.uint32)

    def visit(self, pages):
        return np.full(len(pages), NEVER, np.uint32)


class BlindSpec(PolicySpec):
    '''Sees nothing.'''

    name: ClassVar[str] = "blind"
    depth: int = 3

    def runtime(self):
        return Blind(self)


def scenario(depth: int = 4) -> Scenario:
    return Scenario(
        duration="20 ms",
        vms=[VM(name="a", memory="256 KiB", workload=RandomAccess(op_time="50 us"))],
        sharing=Sharing(policy=BlindSpec(depth=depth, wake_period="2 ms")),
    )
"""

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sharesim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Runs a command in an empty folder with ``small.py``: status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "small.py").write_text(SCRIPT)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield run
    signal.signal(signal.SIGINT, before)


def refused(result: tuple[int, str, str], *wanted: str) -> None:
    """A user's mistake: status 2, a message with these words, no traceback."""
    status, _, errors = result
    assert status == 2, errors
    assert errors.startswith("sharesim: ")
    assert "Traceback" not in errors
    for words in wanted:
        assert words in errors


def held(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def as_json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text())
    return value


# Starting


def test_help_needs_nothing_slow() -> None:
    code = (
        "import sys; from sharesim.cli import main; main(['--help']); main(['run', '--help']);"
        "slow = {'numba', 'numpy', 'pandas', 'pydantic', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'imported {slow}' if slow else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "inspect" in done.stdout
    assert "--baseline" in done.stdout


def test_version(sharesim: Command) -> None:
    status, out, _ = sharesim("--version")
    assert status == 0
    assert out.startswith("sharesim ")


def test_no_command_prints_the_help(sharesim: Command) -> None:
    status, out, _ = sharesim()
    assert status == 0
    assert "usage: sharesim" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rum"], ["unknown command 'rum'", "did you mean 'run'?"]),
        (["run", "small.py", "--sed", "3"], ["unknown option '--sed'", "'--seed'"]),
        (["run", "small.py", "other.py"], ["'other.py'", "too many"]),
        (["run"], ["TARGET"]),
        (["run", "small.py", "--out"], ["--out"]),
        (["run", "smal.py"], ["smal.py", "no such file", "'small.py'"]),
        (["run", "small.py", "--set", "vm=3"], ["no parameter 'vm'", "did you mean 'vms'?"]),
        (["run", "small.py", "--set", "vms"], ["--set vms", "name=value"]),
        (["run", "small.py", "--set", "vms=two"], ["--set vms", "'two'", "whole number"]),
        (["run", "small.py", "--set", "vms=2", "--set", "vms=3"], ["--set vms", "twice"]),
        (["run", "small.py", "--set", "order=liner"], ["'liner'", "'linear'"]),
        (["run", "small.py", "--set", "scan_rate=-1"], ["scan_rate", "-1"]),
        (["run", "small.py", "--set", "vms=0"], ["vms", "at least 1"]),
        (["run", "small.py", "--seed", "x"], ["--seed x"]),
        (["run", "small.py", "--seed", "-1"], ["--seed -1"]),
        (["run", "small.py", "--costs", "modern"], ["unknown cost profile 'modern'"]),
        (["run", "small.py", "--costs", "mine.toml"], ["mine.toml", "cannot be read"]),
        (["params", "smal.py"], ["smal.py", "'small.py'"]),
        (["list", "policy"], ["cannot list 'policy'", "'policies'"]),
        (["list", "workloads", "--profile", "x"], ["--profile"]),
        (["inspect", "mixed6-60"], ["mixed6-60", "'mixed6-60s'"]),
        (["inspect", "mixed6-60s", "--at", "soon"], ["--at", "'soon'"]),
        (["inspect", "mixed6-60s", "--at", "1000"], ["no snapshot at 1000 s"]),
        (["plot", "nowhere"], ["nowhere", "no such folder"]),
    ],
)
def test_mistakes(
    sharesim: Command, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    refused(sharesim(*arguments), *words)
    assert held(tmp_path) == ["small.py"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('VM(name="a", memory="0 B")', ["memory", "'0 B'"]),
        ('VM(name="a", memry="1 MiB")', ["no parameter 'memry'", "did you mean 'memory'?"]),
        ('VM(name="a", memory="1 MiB", workload="zip")', ["workload 'zip'", "'zipf'"]),
        ('VM(name="a", memory="1 GiB")', ["host.memory", "overcommit"]),
        ('VM(name="a", memory="1 MiB", populate="clone", clone_of="b")', ["clone_of", "'b'"]),
        ('VM(name="a", memory="1 MiB", image=Captured(capture="none"))', ["'none'"]),
        ('VM(name="a", memory="1 MiB", image=Captured(capture="bad.npz"))', ["bad.npz"]),
        ('VM(name="a", memory="1 MiB")], paging="native', ["native", "transparent"]),
        ('VM(name="a", memory="1 MiB")], sharing=dict(policy="cbsp")', ["'cbsp'", "'cbps'"]),
        ('VM(name="a", memory="1 MiB")], sync_quantum="9 ms"', ["sync_quantum", "quarter"]),
    ],
)
def test_descriptions_without_sense(
    sharesim: Command, tmp_path: Path, body: str, words: list[str]
) -> None:
    closing = "" if "]," in body else "]"
    closing = '"' if body.endswith("native") else closing
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not really")
    (tmp_path / "odd.py").write_text(
        dedent(
            f"""
            from sharesim import *
            def scenario() -> Scenario:
                return Scenario(duration="20 ms", host=Host(memory="8 MiB"), vms=[{body}{closing})
            """
        )
    )
    refused(sharesim("run", "odd.py", "--out", "o"), *words)
    assert held(tmp_path) == ["bad.npz", "odd.py", "small.py"]


def test_a_closed_pipe_is_no_error() -> None:
    code = "import sys; from sharesim.cli import main; sys.exit(main(['list', 'workloads']))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141


# Running


def test_run_writes_its_folder_and_says_what_came_out(sharesim: Command, tmp_path: Path) -> None:
    status, out, errors = sharesim("run", "small.py", "--set", "vms=3", "--seed", 7, "--baseline")
    assert status == 0, errors
    folder = tmp_path / "out" / "small"
    expected = {*FILES, "provenance.json", "timeline.png"} - {"events.parquet"}
    assert set(held(folder)) == expected
    assert held(tmp_path / "out") == ["small"]
    scenario, summary = as_json(folder / "scenario.json"), as_json(folder / "summary.json")
    assert (scenario["seed"], len(scenario["vms"]), scenario["title"]) == (7, 3, "small")
    assert summary["memory"]["saved_pages"] > 0
    assert "guest2" in out
    assert "loss by sharing" in out
    assert str(Path("out", "small", "timeline.png")) in out
    origin = as_json(folder / "provenance.json")
    assert origin["wall_seconds"] > 0
    assert set(origin["libraries"]) >= {"numpy", "numba", "simpy", "pandas"}


def test_a_repeated_run_is_the_same_byte_for_byte(sharesim: Command, tmp_path: Path) -> None:
    options = ["--set", "order=random", "--events", "--exact", "--check", "--baseline"]
    options.append("--no-plot")
    assert sharesim("run", "small.py", "--out", "o", *options)[0] == 0
    status, out, errors = sharesim("run", "o/scenario.json", "--no-plot")
    assert status == 0, errors
    assert "byte for byte" in out
    for name in FILES:
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "o-again" / name).read_bytes()
    assert sharesim("run", "o", "--no-plot", "--seed", 9)[0] == 0
    summaries = [as_json(tmp_path / name / "summary.json") for name in ("o", "o-again-2")]
    assert [one["seed"] for one in summaries] == [1, 9]
    refused(sharesim("run", "o", "--set", "vms=2"), "without parameters")


def test_options_change_the_scenario(sharesim: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[profiles.mine]\ndescription = "Mine."\ninherits = "modern-x86-ept"\n'
        'exit = { ns = 4321, mark = "estimate", source = "a guess" }\n'
    )
    options = ["--out", "o", "--quiet", "--no-plot", "--costs", "mine.toml", "--events"]
    status, out, _ = sharesim("run", "small.py", *options)
    assert (status, out) == (0, "")
    scenario = as_json(tmp_path / "o" / "scenario.json")
    costs = scenario["host"]["costs"]
    assert (costs["profile"], costs["table"]["exit"]) == ("mine", 4321)
    assert costs["marks"]["exit"] == "estimate, mine: a guess"
    assert scenario["events"] is True
    (tmp_path / "mine.toml").unlink()
    assert sharesim("run", "o/scenario.json", "--quiet", "--no-plot")[0] == 0


def test_a_policy_of_the_script_goes_with_the_run(sharesim: Command, tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "blind.py").write_text(POLICY_SCRIPT)
    (scripts / "helper.py").write_text("from sharesim.sharing.policy import NONE as NEVER\n")
    assert sharesim("run", "scripts/blind.py", "--no-plot", "--out", "o")[0] == 0
    scenario = as_json(tmp_path / "o" / "scenario.json")
    assert scenario["sharing"]["policy"]["name"] == "blind:BlindSpec"
    assert scenario["sharing"]["policy"]["depth"] == 4
    assert held(tmp_path / "o" / "code") == ["blind.py", "helper.py"]
    for name in ("blind.py", "helper.py"):
        (scripts / name).unlink()
    status, out, errors = sharesim("run", "o", "--no-plot")
    assert status == 0, errors
    assert "byte for byte" in out
    assert held(tmp_path / "o-again" / "code") == ["blind.py", "helper.py"]
    changed = tmp_path / "o" / "code" / "blind.py"
    changed.write_text(changed.read_text() + "# changed\n")
    refused(sharesim("run", "o", "--no-plot"), "blind:BlindSpec", "code")


def test_the_first_run_says_that_it_compiles(
    sharesim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    (cache / "numba_makes_this_at_import").mkdir(parents=True)
    monkeypatch.setattr("sharesim.kernel.JIT", True)
    monkeypatch.setattr("sharesim.kernel.cache_folder", lambda: cache)
    _, _, errors = sharesim("run", "small.py", "--out", "a", "--no-plot")
    assert "compiling kernels" in errors
    (cache / "numba_makes_this_at_import" / "kernel.nbi").write_bytes(b"")
    _, _, errors = sharesim("run", "small.py", "--out", "b", "--no-plot")
    assert errors == ""


# The run folder


def test_a_folder_that_exists_is_kept_unless_forced(sharesim: Command, tmp_path: Path) -> None:
    run = ["run", "small.py", "--no-plot", "--quiet", "--out", "o"]
    assert sharesim(*run)[0] == 0
    before = (tmp_path / "o" / "summary.json").read_bytes()
    refused(sharesim(*run, "--seed", 5), "--out o", "--force")
    assert (tmp_path / "o" / "summary.json").read_bytes() == before
    assert sharesim(*run, "--seed", 5, "--force")[0] == 0
    assert as_json(tmp_path / "o" / "summary.json")["seed"] == 5
    assert held(tmp_path) == ["o", "small.py"]


def test_places_that_cannot_be_written(
    sharesim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(sharesim("run", "small.py", "--out", "small.py"), "--out small.py", "file")
    refused(sharesim("run", "small.py", "--out", "small.py/o"), "--out small.py")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    refused(sharesim("run", "small.py", "--out", "o"), "--out o", "Permission denied")
    assert held(tmp_path) == ["small.py"]


def test_a_full_disk_leaves_nothing(
    sharesim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ParquetSink, "add", full)
    refused(sharesim("run", "small.py", "--out", "deep/er/o"), "--out deep/er/o", "full")
    assert held(tmp_path) == ["small.py"]


def test_a_defect_leaves_nothing_and_is_not_hidden(
    sharesim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(ParquetSink, "add", broken)
    with pytest.raises(ZeroDivisionError):
        sharesim("run", "small.py", "--out", "o")
    assert held(tmp_path) == ["small.py"]


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    check = Interrupts.check

    def press(self: Interrupts, moment: Any) -> None:
        if moment.time_ns > 10_000_000:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        check(self, moment)

    monkeypatch.setattr(Interrupts, "check", press)


def test_ctrl_c_keeps_what_there_is(
    sharesim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    press_ctrl_c(monkeypatch, 1)
    status, out, errors = sharesim("run", "small.py", "--out", "o", "--baseline")
    assert status == 130
    assert "PARTIAL" in out
    assert "interrupted" in errors
    summary = as_json(tmp_path / "o" / "summary.json")
    assert summary["partial"] is True
    assert 10_000_000 < summary["simulated_ns"] < 40_000_000
    assert (tmp_path / "o" / "timeline.png").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_gives_up(
    sharesim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    press_ctrl_c(monkeypatch, 2)
    status, _, errors = sharesim("run", "small.py", "--out", "deep/o")
    assert status == 130
    assert "nothing was written" in errors
    assert held(tmp_path) == ["small.py"]
