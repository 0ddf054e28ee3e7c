"""``sharesim run`` of a script that makes a study."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sharesim.cli import main
from sharesim.results.folder import load_run
from sharesim.results.progress import Interrupts

SCRIPT = '''
"""Guests of one kernel."""

from helper import KERNEL
from sharesim import VM, Cbps, RandomAccess, Scenario, Segments, Sharing
from sharesim.study import Row, Study


class Rates(Study):
    """Scans at several rates."""

    title = "Scan rates"

    def __init__(self, rates):
        self.rates = rates

    def runs(self):
        return {f"rate-{rate}": self.one(rate) for rate in self.rates}

    def one(self, rate):
        work = RandomAccess(write_fraction=0.05, op_time="50 us")
        image = Segments(segments=(KERNEL,))
        return Scenario(
            duration="40 ms",
            vms=[VM(name=name, image=image, workload=work) for name in ("a", "b")],
            sharing=Sharing(policy=Cbps(scan_rate=rate, wake_period="2 ms")),
            baseline=True,
        )

    def rows(self, runs):
        saved = {name: run.summary["memory"]["saved_pages"] for name, run in runs.items()}
        return [Row("of ours", name, 32, pages, "pages") for name, pages in saved.items()]

    def notes(self, runs):
        return ["no degree of freedom"]

    def picture(self, runs, rows):
        from matplotlib.figure import Figure

        figure = Figure()
        figure.add_subplot().plot([row.simulated for row in rows])
        return figure


def study(rates: list[int] = [20_000, 40_000]) -> Study:
    """Scan rates.

    rates: pages scanned per second
    """
    return Rates(rates)
'''
HELPER = """
from sharesim import Segment

KERNEL = Segment(size="128 KiB", shared_as="kernel")
"""
QUICK = ("--set", "rates=[20000]", "--no-plot")

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sharesim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Runs a command in an empty folder with ``rates.py``: status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "rates.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text(HELPER)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield run
    signal.signal(signal.SIGINT, before)


def held(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def as_json(path: Path) -> Any:
    return json.loads(path.read_text())


def test_a_study_is_run_judged_and_kept(sharesim: Command, tmp_path: Path) -> None:
    status, out, errors = sharesim("run", "rates.py")
    assert (status, errors) == (0, "")
    assert out.startswith("rates: Scan rates\n")
    assert "no degree of freedom\n\n0 pass, 0 miss, 2 shown\n" in out
    folder = tmp_path / "out" / "rates"
    assert str(Path("out", "rates", "study.png")) in out
    assert held(tmp_path / "out") == ["rates"]
    assert held(folder) == ["code", "runs", "study.json", "study.png"]
    assert held(folder / "code") == ["helper.py", "rates.py"]
    assert held(folder / "runs") == ["rate-20000", "rate-40000"]
    assert held(folder / "runs" / "rate-40000") == [
        "provenance.json", "scenario.json", "summary.json", "timeline-P0.parquet",
        "timeline-P1.parquet", "timeline.parquet", "timeline.png",
    ]  # fmt: skip
    run = load_run(folder / "runs" / "rate-40000")
    assert run.scenario.sharing is not None
    assert run.scenario.sharing.policy.scan_rate == 40_000  # type: ignore[attr-defined]
    assert (run.pair_timeline("P1")["entity"] == "a").any()


def test_what_is_kept_can_be_run_again(sharesim: Command, tmp_path: Path) -> None:
    assert sharesim("run", "rates.py", "--out", "one", *QUICK)[0] == 0
    for name in ("rates.py", "helper.py"):
        (tmp_path / name).unlink()
    assert sharesim("run", "one/code/rates.py", "--out", "two", *QUICK)[0] == 0
    assert (tmp_path / "one/study.json").read_bytes() == (tmp_path / "two/study.json").read_bytes()
    status, out, _ = sharesim("run", "one/runs/rate-20000", "--no-plot")
    assert status == 0
    assert "byte for byte" in out


def test_options_hold_for_all_its_runs(sharesim: Command, tmp_path: Path) -> None:
    options = ["--seed", 7, "--check", "--exact", "--events", "--costs", "xen-2006-p4", "--no-plot"]
    status, out, errors = sharesim("run", "rates.py", "--out", "o", "--json", *options)
    assert status == 0, errors
    assert json.loads(out) == as_json(tmp_path / "o" / "study.json")
    assert json.loads(out)["seed"] == 7
    for name in ("rate-20000", "rate-40000"):
        scenario = as_json(tmp_path / "o" / "runs" / name / "scenario.json")
        assert (scenario["seed"], scenario["check"], scenario["mode"]) == (7, True, "exact")
        assert scenario["host"]["costs"]["profile"] == "xen-2006-p4"
        assert (tmp_path / "o" / "runs" / name / "events.parquet").exists()
    assert not list((tmp_path / "o").rglob("*.png"))
    assert sharesim("run", "rates.py", "--out", "p", "--quiet", *QUICK) == (0, "", "")


def test_json_of_a_single_scenario_is_its_summary(sharesim: Command, tmp_path: Path) -> None:
    assert sharesim("run", "rates.py", "--out", "o", *QUICK)[0] == 0
    options = ["--out", "p", "--no-plot", "--json"]
    status, out, _ = sharesim("run", "o/runs/rate-20000", *options)
    assert status == 0
    assert out == (tmp_path / "p" / "summary.json").read_text()


def test_a_study_is_replaced_only_if_forced(sharesim: Command, tmp_path: Path) -> None:
    assert sharesim("run", "rates.py", "--out", "o", *QUICK)[0] == 0
    status, _, errors = sharesim("run", "rates.py", "--out", "o", *QUICK)
    assert status == 2
    assert "--force" in errors
    assert sharesim("run", "rates.py", "--out", "o", "--force", "--no-plot")[0] == 0
    assert held(tmp_path / "o" / "runs") == ["rate-20000", "rate-40000"]


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_nothing(
    sharesim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    check = Interrupts.check

    def press(self: Interrupts, moment: Any) -> None:
        if list(tmp_path.rglob("runs/rate-40000")):  # the second of the runs has begun
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        check(self, moment)

    monkeypatch.setattr(Interrupts, "check", press)
    status, out, errors = sharesim("run", "rates.py", "--no-plot")
    assert (status, out) == (130, "")
    assert "interrupted; nothing was written" in errors
    assert held(tmp_path) == ["helper.py", "rates.py"]


def test_params_shows_those_of_a_study(sharesim: Command) -> None:
    status, out, _ = sharesim("params", "rates.py", "--json")
    data = json.loads(out)
    assert (status, data["makes"]) == (0, "study")
    assert [one["name"] for one in data["parameters"]] == ["rates"]


def test_other_commands_name_its_runs(sharesim: Command) -> None:
    assert sharesim("run", "rates.py", "--out", "o", *QUICK)[0] == 0
    for command in ("plot", "run"):
        status, _, errors = sharesim(command, "o")
        assert status == 2
        assert "o/runs/NAME, where NAME is one of rate-20000" in errors
    assert sharesim("plot", "o/runs/rate-20000")[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('f"rate-{rate}"', 'f"rate/{rate}"', "'rate/20000' is no name for a run"),
        ('duration="40 ms"', 'duration="no"', "duration"),
        (
            'duration="40 ms"',
            'duration="1 s", host={"memory": "8 KiB"}',
            "run 'rate-20000': host.mem",
        ),
        ('["saved_pages"]', '["save_pages"]', "rates.py:"),
    ],
)
def test_mistakes_in_a_study(
    sharesim: Command, tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert old in SCRIPT
    (tmp_path / "rates.py").write_text(SCRIPT.replace(old, new))
    status, _, errors = sharesim("run", "rates.py", *QUICK)
    assert status == 2
    assert words in errors
    assert "Traceback" not in errors
    assert held(tmp_path) == ["helper.py", "rates.py"]


def test_a_baseline_is_the_studys_own_affair(sharesim: Command) -> None:
    status, _, errors = sharesim("run", "rates.py", "--no-baseline")
    assert status == 2
    assert "--baseline is for one scenario" in errors
