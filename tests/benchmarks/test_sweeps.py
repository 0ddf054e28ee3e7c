"""The benchmark of sweeps measures what the real command does."""

from pathlib import Path

import pytest

from benchmarks.sweeps import SCRIPT, fill, measure_memory
from sharesim.cli import main
from sharesim.sweep.sweep import Sweep


def test_a_filled_store_is_a_finished_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command finds nothing to do in it."""
    fill(tmp_path / "sweep", 12)
    assert not (tmp_path / "sweep" / "table.parquet").exists()
    inputs = Sweep(tmp_path / "sweep").manifest.inputs
    monkeypatch.setattr("sharesim.sweep.driver.run_cell", None)
    words = [str(SCRIPT), "--vary", "rate=10000:10011:step:1", "--no-baseline", "--quiet"]
    assert main(["sweep", *words, "--out", str(tmp_path / "sweep")]) == 0
    sweep = Sweep(tmp_path / "sweep")
    assert sweep.manifest.inputs == inputs  # else all keys would be made again
    assert len(sweep.done) == 12 and not sweep.missing
    assert sweep.values("saved_mib").nunique() == 1  # all have the first one's results


def test_memory_is_that_of_this_process() -> None:
    found = measure_memory(2, 3)
    assert not found or (found["few"] > 1 << 24 and found["many"] > 1 << 24)
