"""What tests of faults have in common: a sweep, how far it is, and whether it ends as it should."""

from pathlib import Path

from sharesim.sweep.store import Store
from tests.sweep.dask_cluster import until
from tests.sweep.tiny import sweep, table_bytes

GRID = ("--vary", "rate=10000:60000:linear:6", "--vary", "guests=1,2")
RUNS, PAIRS = 12, 4
PATIENCE_S = 90.0


def same_as(whole: Path, folder: Path) -> bool:
    """Whether the same command again, which has nothing or the rest to do, ends with that table,
    whole results beside it, and no rubbish."""
    assert sweep(folder, *GRID) == 0
    out = folder / "out"
    assert not [
        path.name for path in out.rglob("*") if path.name[0] == "." and ".part" in path.name
    ]
    assert {path.name for path in out.glob("runs/*")} == {
        path.name for path in whole.glob("out/runs/*")
    }
    assert not list(out.glob("failed/*"))
    return table_bytes(folder) == table_bytes(whole)


def results(folder: Path) -> int:
    """How many runs, pairs among them, are stored."""
    return sum(len(Store(folder / "out").keys(kind)) for kind in ("runs", "pairs"))


def at(folder: Path, count: int) -> bool:
    """Wait until so many results are stored."""
    return until(lambda: results(folder) >= count, PATIENCE_S)
