"""(d) How long a user waits: whole processes, from start to end."""

import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Figure, at_most, median
from benchmarks.processes import time_command

START = "import sys; from sharesim.cli import main; sys.exit(main())"


def command() -> list[str]:
    """The installed command, or what it does."""
    installed = Path(sys.executable).with_name("sharesim")
    return [str(installed)] if installed.exists() else [sys.executable, "-c", START]


def run(quick: bool) -> list[Figure]:
    """``--help``; the quickstart with no compiled kernels, then again."""
    call = command()
    time_command([*call, "--help"])
    helps = [time_command([*call, "--help"]) for _ in range(3 if quick else 7)]
    with tempfile.TemporaryDirectory() as folder:
        runs = [*call, "run", "scenarios/quickstart.py", "--force", "--out", f"{folder}/out"]
        cache = f"{folder}/cache"
        first = [time_command(runs, SHARESIM_CACHE_DIR=cache)]
        again = [time_command(runs, SHARESIM_CACHE_DIR=cache) for _ in range(1 if quick else 3)]
    return [
        *_figures("sharesim --help", helps, 0.5, ""),
        *_figures("quickstart, first run", first, 40, "kernels are compiled"),
        *_figures("quickstart again", again, 10, "with its two paired runs and its picture"),
    ]


def _figures(name: str, times: list[tuple[float, float]], aim: float, note: str) -> list[Figure]:
    return [
        at_most(name, median([wall for wall, _ in times]), "s", aim, note),
        Figure("the same in CPU time", median([cpu for _, cpu in times]), "s"),
    ]
