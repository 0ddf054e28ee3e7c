"""A scenario of a few milliseconds, its script, and sweeps of it through the real command."""

from pathlib import Path

from sharesim.cli import main
from sharesim.spec.script import Target, load_target
from sharesim.sweep.plan import Builder
from sharesim.sweep.sweep import Sweep

SCRIPT = '''
"""A tiny one."""

from sharesim import VM, Cbps, Host, RandomAccess, Scenario, Segment, Segments, Sharing
from sharesim.errors import UserError


def scenario(rate: int = 20_000, guests: int = 2, write: float = 0.1, memory: int = 0) -> Scenario:
    """Guests that write here and there.

    rate: pages scanned per second
    guests: how many
    write: share of accesses that write
    memory: pages of the host; 0: enough
    """
    if guests < 1:
        raise UserError(f"guests: found {guests}; at least one is needed")
    image = Segments(segments=(Segment(size=64, shared_as="kernel"), Segment(size=64, zero=0.5)))
    work = RandomAccess(operation="op", accesses=5, op_time="20 us", write_fraction=write)
    host = Host(memory=memory, overcommit=True) if memory else Host()
    return Scenario(
        duration="20 ms",
        host=host,
        vms=[VM(name=f"g{n}", image=image, workload=work) for n in range(guests)],
        sharing=Sharing(policy=Cbps(scan_rate=rate)),
    )
'''


def script(folder: Path) -> Path:
    """The script, written to a folder."""
    path = folder / "tiny.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def target(folder: Path) -> Target:
    """The script, loaded."""
    return load_target(script(folder))


def builder(folder: Path, *, seed: int = 1, baseline: bool = True) -> Builder:
    """What builds its scenarios, with no options."""
    return Builder(
        target(folder), {}, lambda scenario: scenario, options={}, seed=seed, baseline=baseline
    )


def sweep(folder: Path, *words: str, out: str = "out") -> int:
    """``sharesim sweep`` of the script, in this process unless told otherwise."""
    given = list(words) if "--jobs" in words or "--dask" in words else [*words, "--jobs", "1"]
    path = folder / "tiny.py"
    if not path.exists():
        script(folder)
    return main(["sweep", str(path), *given, "--out", str(folder / out), "--quiet"])


def table_bytes(folder: Path, out: str = "out") -> bytes:
    """The sweep's table as it is on disk."""
    return (folder / out / "table.parquet").read_bytes()


def stored(folder: Path, out: str = "out") -> Sweep:
    """The sweep, loaded."""
    return Sweep(folder / out)
