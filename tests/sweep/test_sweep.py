"""The command `sharesim sweep` from end to end, on a tiny scenario."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sharesim import load_run, load_sweep, simulate
from sharesim.cli import main
from sharesim.errors import UserError
from sharesim.results.folder import same_files
from sharesim.sweep import plan as plan_module
from sharesim.sweep import session as session_module
from sharesim.sweep.cell import run_cell
from sharesim.sweep.seeds import replicate_seed
from tests.sweep.tiny import builder, script, stored, sweep, table_bytes, target

Captured = pytest.CaptureFixture[str]
GRID = ("--vary", "rate=10000,20000", "--vary", "guests=1,2", "--replicates", "2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of four points with two replicates, in ``out``."""
    folder = tmp_path_factory.mktemp("whole")
    assert sweep(folder, *GRID) == 0
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


def test_table_has_a_row_per_run(whole: Path) -> None:
    table = pd.read_parquet(whole / "out" / "table.parquet")
    assert list(table["point"]) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert list(table["replicate"]) == [1, 2] * 4
    assert list(table["rate"]) == [10000] * 4 + [20000] * 4
    assert list(table["guests"]) == [1, 1, 2, 2] * 2
    assert set(table["status"]) == {"done"}
    assert table["key"].is_unique


def test_seeds_are_those_of_the_replicates(whole: Path) -> None:
    table = stored(whole).table
    for row in table.itertuples():
        assert row.seed == replicate_seed(1, row.replicate)
    assert table.groupby("replicate")["seed"].nunique().eq(1).all()


def test_figures_are_those_of_the_runs_made_alone(whole: Path, tmp_path: Path) -> None:
    """Point 3, replicate 1: what `sharesim run` finds with these settings and the baseline."""
    alone = simulate(
        target(tmp_path).build({"rate": 20000, "guests": 1}).model_copy(update={"baseline": True})
    )
    row = stored(whole).table.query("point == 3 and replicate == 1").iloc[0]
    assert row["saved_mib"] == alone.summary["memory"]["saved_pages"] / 256
    assert row["overhead"] == alone.summary["host"]["overhead"]["sharing"]["value"]
    assert row["overhead_total"] == alone.summary["host"]["overhead"]["total"]["value"]
    assert row["counters.cow_breaks"] == alone.summary["counters"]["cow_breaks"]
    assert stored(whole).run(3).summary == alone.summary


def test_pairs_are_made_once(whole: Path) -> None:
    """Two rates, one pair each for (guests, replicate): 2 x 2 x (P1, P0)."""
    assert len(os.listdir(whole / "out" / "pairs")) == 8
    cells = stored(whole).cells
    assert {cell.p1 for cell in cells if cell.settings["rate"] == 10000} == {
        cell.p1 for cell in cells if cell.settings["rate"] == 20000
    }


def test_each_run_is_a_run_folder(whole: Path) -> None:
    cell = stored(whole).cells[0]
    run = load_run(whole / "out" / "runs" / cell.key)
    assert run.scenario.seed == 1
    assert {"host", "g0"} <= set(run.timeline["entity"])


def test_estimates_are_means_with_t_intervals(whole: Path) -> None:
    found = stored(whole).estimates("saved_mib")
    table = stored(whole).table
    for row in found.itertuples():
        values = table.query(f"point == {row.point}")["saved_mib"].to_numpy()
        assert row.mean == pytest.approx(values.mean())
        half = 12.7062 * values.std(ddof=1) / np.sqrt(2)  # t(0.975, 1)
        assert row.half_width == pytest.approx(half, rel=1e-4, abs=1e-12)
        assert row.count == 2


def test_again_there_is_nothing_to_do(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = table_bytes(copy)
    monkeypatch.setattr("sharesim.sweep.driver.run_cell", None)
    assert sweep(copy, *GRID) == 0
    assert table_bytes(copy) == before


@pytest.mark.parametrize("gone", ["runs", "pairs", "table.parquet", "points.parquet", "code"])
def test_what_is_removed_is_made_again(copy: Path, gone: str) -> None:
    before = table_bytes(copy)
    place = copy / "out" / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert sweep(copy, *GRID) == 0
    assert table_bytes(copy) == before
    assert (copy / "out" / gone).exists() or gone == "pairs"  # nobody needed the pairs again


def test_a_stopped_sweep_goes_on(tmp_path: Path, whole: Path, capsys: Captured) -> None:
    script(tmp_path)
    made = []

    def interrupted(place: str, job: str) -> str:
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(job)
        return run_cell(place, job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sharesim.sweep.driver.run_cell", interrupted)
        assert sweep(tmp_path, *GRID) == 130
    told = capsys.readouterr().err
    assert "stopped: 1 done, 7 to do; the same command goes on" in told  # 4 of the 5 were pairs
    assert len(stored(tmp_path).table) == 1
    assert sweep(tmp_path, *GRID) == 0
    assert table_bytes(tmp_path) == table_bytes(whole)


def test_three_ways_one_table(tmp_path: Path, whole: Path) -> None:
    assert sweep(tmp_path, *GRID, "--jobs", "2") == 0
    assert table_bytes(tmp_path) == table_bytes(whole)
    for number in (1, 2, 3):
        assert sweep(tmp_path, *GRID, "--shard", f"{number}/3", out="parts") == 0
    parts = [str(tmp_path / f"parts.{number}-of-3") for number in (1, 2, 3)]
    assert main(["sweep", "merge", *parts[:2], "--out", str(tmp_path / "parts")]) == 0
    assert stored(tmp_path, "parts").missing > 0
    assert main(["sweep", "merge", parts[2], "--out", str(tmp_path / "parts")]) == 0
    assert table_bytes(tmp_path, "parts") == table_bytes(whole)


def test_a_failed_point_does_not_sink_the_others(tmp_path: Path, capsys: Captured) -> None:
    """One cannot be built, one fails while it runs, one is fine."""
    words = ("--vary", "guests=0,2", "--vary", "memory=0,140")
    assert sweep(tmp_path, *words) == 1
    table = stored(tmp_path).table
    assert list(table["status"]) == ["failed", "failed", "done", "failed"]
    assert "at least one is needed" in table["error"][0]
    assert "no frame left" in table["error"][3]
    failure = stored(tmp_path).store.read_failure(table["key"][3])
    assert failure is not None and failure["type"] == "UserError"
    assert "Traceback" in failure["traceback"] and failure["attempts"] == 1
    assert main(["sweep", "show", str(tmp_path / "out"), "--failed"]) == 0
    assert "Traceback" in capsys.readouterr().out
    assert sweep(tmp_path, *words) == 1
    failure = stored(tmp_path).store.read_failure(table["key"][3])
    assert failure is not None and failure["attempts"] == 1
    assert sweep(tmp_path, *words, "--retry-failed") == 1
    failure = stored(tmp_path).store.read_failure(table["key"][3])
    assert failure is not None and failure["attempts"] == 1  # forgotten, and failed once more


def test_more_points_and_replicates_use_what_is_there(copy: Path) -> None:
    made: list[str] = []

    def counted(place: str, job: str) -> str:
        made.append(json.loads(job)["name"])
        return run_cell(place, job)

    more = ("--vary", "rate=10000,20000,40000", "--vary", "guests=1,2", "--replicates", "2")
    assert sweep(copy, *more) == 2  # another question
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sharesim.sweep.driver.run_cell", counted)
        assert sweep(copy, *more, "--update") == 0
        assert len([name for name in made if "pair" not in name]) == 4
        made.clear()
        assert sweep(copy, *more, "--replicates", "3") == 0
        assert len([name for name in made if "pair" not in name]) == 6
    assert len(stored(copy).table) == 18
    assert sweep(copy, *more) == 0  # fewer replicates: none is dropped
    assert len(stored(copy).table) == 18


def test_another_question_is_refused(copy: Path, capsys: Captured) -> None:
    assert sweep(copy, "--vary", "rate=10000,30000", "--set", "guests=2") == 2
    told = capsys.readouterr().err
    assert "holds another sweep" in told
    for part in ("rate 10000, 20000, now 10000, 30000", "guests 1, 2, now not varied", "--update"):
        assert part in told


def test_an_edited_script_is_noticed(copy: Path, capsys: Captured) -> None:
    path = copy / "tiny.py"
    path.write_text(path.read_text().replace('op_time="20 us"', 'op_time="25 us"'))
    before = set(stored(copy).table["key"])
    assert main(["sweep", str(path), *GRID, "--jobs", "1", "--out", str(copy / "out")]) == 0
    assert "has changed" in capsys.readouterr().err
    assert not before & set(stored(copy).table["key"])


def test_an_older_model_is_named_and_made_again(
    copy: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stored(copy).table
    for place in (
        "sharesim.version", "sharesim.sweep.plan", "sharesim.sweep.cell", "sharesim.sweep.session",
        "sharesim.results.summary",
    ):  # fmt: skip
        monkeypatch.setattr(f"{place}.MODEL_VERSION", "next")
    words = [str(copy / "tiny.py"), *GRID, "--jobs", "1", "--out", str(copy / "out")]
    assert main(["sweep", *words, "--keep-model"]) == 0
    assert "kept" in capsys.readouterr().err
    assert list(stored(copy).table["key"]) == list(before["key"])
    assert main(["sweep", *words]) == 0
    told = capsys.readouterr().err
    after = stored(copy).table
    assert not set(after["key"]) & set(before["key"])
    assert set(after["model_version"]) == {"next"}
    assert "version next" in told


def test_rerun_is_the_same_bit_for_bit(whole: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "again"
    words = ["sweep", "rerun", str(whole / "out"), "--point", "3", "--replicate", "2"]
    assert main([*words, "--out", str(out)]) == 0
    assert "the same as in the sweep, bit for bit" in capsys.readouterr().out
    key = stored(whole).cell(3, 2).key
    assert same_files(out, whole / "out" / "runs" / key) == []


def test_rerun_says_when_it_is_not(copy: Path, capsys: Captured) -> None:
    summary = copy / "out" / "runs" / stored(copy).cell(1).key / "summary.json"
    summary.write_text(summary.read_text().replace('"partial": false', '"partial": true'))
    assert main(["sweep", "rerun", str(copy / "out"), "--point", "1"]) == 1
    assert "not the same summary.json" in capsys.readouterr().out


def test_until_precision_adds_replicates(tmp_path: Path) -> None:
    """Writes differ from seed to seed; a single replicate has no interval at all."""
    words = ("--vary", "write=0.2,0.4", "--precision-of", "counters.cow_breaks")
    assert sweep(tmp_path, *words, "--until-precision", "10%", "--max-replicates", "40") == 0
    found = stored(tmp_path).estimates("counters.cow_breaks")
    assert (found["half_width"] <= 0.1 * found["mean"]).all()
    assert found["count"].between(2, 40).all()
    before = table_bytes(tmp_path)
    assert sweep(tmp_path, *words, "--until-precision", "10%", "--max-replicates", "40") == 0
    assert table_bytes(tmp_path) == before


def test_precision_that_cannot_be_had_ends(tmp_path: Path, capsys: Captured) -> None:
    script(tmp_path)
    words = ["--vary", "write=0.2", "--until-precision", "0.0001%", "--max-replicates", "3"]
    words += [
        "--precision-of",
        "counters.cow_breaks",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(["sweep", str(tmp_path / "tiny.py"), *words]) == 0
    assert len(stored(tmp_path).table) == 3
    assert "1 of 1 points are less precise than asked for" in capsys.readouterr().err


def test_differences_are_paired(whole: Path, capsys: Captured) -> None:
    words = ["--metric", "saved_mib", "--against", "rate=10000", "--json"]
    assert main(["sweep", "show", str(whole / "out"), *words]) == 0
    points = {one["point"]: one for one in json.loads(capsys.readouterr().out)["points"]}
    table = stored(whole).table.set_index(["point", "replicate"])["saved_mib"]
    for point, base in ((3, 1), (4, 2)):
        by_hand = np.array([table[point, one] - table[base, one] for one in (1, 2)])
        assert points[point]["saved_mib"] == pytest.approx(by_hand.mean())
        half = 12.7062 * by_hand.std(ddof=1) / np.sqrt(2)
        low = by_hand.mean() - half
        assert points[point]["saved_mib_low"] == pytest.approx(low, rel=1e-4, abs=1e-9)
    assert points[1]["saved_mib"] == 0


def test_show_prints_points_and_csv(whole: Path, capsys: Captured) -> None:
    place = str(whole / "out")
    assert main(["sweep", "show", place, "--metric", "saved", "--metric", "merges"]) == 0
    printed = capsys.readouterr().out
    assert "saved_mib (MiB)" in printed and "8 of 8 runs done" in printed
    assert main(["sweep", "show", place, "--metric", "guests.g0.throughput_per_s", "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("point,rate,guests,guests.g0.throughput_per_s")
    assert len(lines) == 5


def test_dry_run_writes_nothing(tmp_path: Path, capsys: Captured) -> None:
    assert sweep(tmp_path, *GRID, "--dry-run") == 0
    assert "4 points x 2 replicates = 8 runs" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_without_baseline_there_are_no_pairs(tmp_path: Path) -> None:
    assert sweep(tmp_path, "--vary", "guests=1,2", "--no-baseline") == 0
    assert not (tmp_path / "out" / "pairs").exists()
    assert stored(tmp_path).table["overhead"].isna().all()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--vary", "rats=1,2"), "did you mean 'rate'"),
        (("--vary", "rate=1:2:log:5", "--replicates", "0"), "--replicates 0"),
        (("--vary", "rate=5:1:3"), "--vary rate"),
        (("--vary", "guests=1,2", "--jobs", "none"), "--jobs none"),
        (("--vary", "guests=1,2", "--shard", "4/3"), "--shard 4/3"),
        (("--vary", "guests=1,2", "--shard", "auto"), "no array job"),
        (("--vary", "guests=1,2", "--costs", "nobody"), "nobody"),
        (("--vary", "guests=1,2", "--seed", "-1"), "--seed -1"),
        (("--vary", "guests=1,2", "--until-precision", "often"), "--until-precision"),
        (("--vary", "guests=1:4", "--sample", "x"), "--sample x"),
        (("--vary", "guests=1:4"), "guests"),
        (("--zip", "rate,guests"), "--zip"),
    ],
)
def test_bad_options_are_told_before_anything_is_written(
    tmp_path: Path, capsys: Captured, words: tuple[str, ...], told: str
) -> None:
    assert sweep(tmp_path, *words) == 2
    message = capsys.readouterr().err
    assert told in message and "Traceback" not in message
    assert not (tmp_path / "out" / "sweep.json").exists()


def test_folders_that_are_no_sweep(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letters.txt").write_text("mine")
    assert sweep(tmp_path, *GRID) == 2
    assert "holds no sweep" in capsys.readouterr().err
    assert sweep(tmp_path, *GRID, "--force") == 2
    assert (tmp_path / "out" / "letters.txt").read_text() == "mine"
    with pytest.raises(UserError, match=r"no sweep\.json"):
        load_sweep(tmp_path / "out")
    with pytest.raises(UserError, match="does not exist"):
        load_sweep(tmp_path / "nowhere")


def test_force_begins_anew(copy: Path) -> None:
    assert sweep(copy, "--vary", "guests=1", "--force") == 0
    assert len(stored(copy).table) == 1
    assert len(os.listdir(copy / "out" / "runs")) == 1


def test_keys_noted_down_are_not_trusted_blindly(copy: Path) -> None:
    """Where one of three that are looked at is another now, all are made anew."""
    store = stored(copy).store
    cells = store.read_cells()
    changed = [plan_module.replace(cells[0], key="0" * 16), *cells[1:]]
    store.write_cells(changed, store.read_inputs())
    before = table_bytes(copy)
    assert sweep(copy, *GRID) == 0
    assert table_bytes(copy) == before


def test_pairs_of_a_policy_of_ones_own(tmp_path: Path) -> None:
    """The runs without sharing need none of the policy's code, and are found all the same."""
    path = script(tmp_path)
    own = "class Mine(Cbps):\n    pass\n\n\ndef scenario("
    text = path.read_text().replace("def scenario(", own, 1)
    path.write_text(text.replace("policy=Cbps(scan_rate=rate)", "policy=Mine(scan_rate=rate)"))
    assert sweep(tmp_path, "--vary", "rate=10000,20000") == 0
    table = stored(tmp_path).table
    assert table["overhead"].notna().all() and set(table["error"]) == {""}
    assert len(os.listdir(tmp_path / "out" / "pairs")) == 2


def test_a_run_without_its_pair_says_so(tmp_path: Path, capsys: Captured) -> None:
    """Guests that fit only because they share, say."""
    assert sweep(tmp_path, "--vary", "guests=2") == 0
    found = stored(tmp_path)
    cell, before = found.cell(1), found.table.iloc[0]
    shutil.rmtree(tmp_path / "out" / "runs" / cell.key)
    shutil.rmtree(tmp_path / "out" / "pairs" / cell.p1)
    failure = {"message": "the guests do not fit", "type": "UserError", "traceback": ""}
    found.store.write_failure(cell.p1, failure)
    assert sweep(tmp_path, "--vary", "guests=2") == 0
    row = stored(tmp_path).table.iloc[0]
    assert row["error"] == "no pair P1: the guests do not fit" and np.isnan(row["overhead"])
    assert main(["sweep", "show", str(tmp_path / "out")]) == 0
    assert "1 runs have nothing to be compared with: no pair P1" in capsys.readouterr().out
    assert sweep(tmp_path, "--vary", "guests=2") == 0
    assert stored(tmp_path).table.iloc[0]["error"] == row["error"]
    assert sweep(tmp_path, "--vary", "guests=2", "--retry-failed") == 0
    assert stored(tmp_path).table.iloc[0]["overhead"] == before["overhead"]


def test_a_damaged_pair_is_made_again(copy: Path) -> None:
    """For a run that needs it, and only then."""
    before = table_bytes(copy)
    cell = stored(copy).cell(3)
    shutil.rmtree(copy / "out" / "runs" / cell.key)
    part = copy / "out" / "pairs" / cell.p1 / "part.json"
    part.write_text(part.read_text()[:-20])
    assert sweep(copy, *GRID) == 0
    assert table_bytes(copy) == before
    assert json.loads(part.read_text())["label"] == "P1"


def test_reading_removes_nothing(copy: Path) -> None:
    key = stored(copy).cell(3).key
    summary = copy / "out" / "runs" / key / "summary.json"
    summary.write_text(summary.read_text()[:-20])
    (copy / "out" / "table.parquet").unlink()
    assert len(stored(copy).table) == 7
    assert summary.exists()


def test_settings_that_make_no_difference_share_a_run(tmp_path: Path) -> None:
    """Without a merge to break, a share of writes of 0 or 0.0 is one scenario."""
    assert sweep(tmp_path, "--vary", "memory=0,-0", "--set", "guests=1") in (0, 2)
    built = builder(tmp_path)
    one, two = (built.cell(n, 1, {"rate": 1000, "guests": n}) for n in (1, 2))
    assert one.key != two.key and one.p1 != two.p1


def test_sigterm_stops_as_ctrl_c_does() -> None:
    with pytest.raises(KeyboardInterrupt), session_module.stopped_by_signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
