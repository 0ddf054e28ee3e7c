"""Processes that benchmarks start: with an environment that says nothing of the parent's caches."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


def environment(**more: str) -> dict[str, str]:
    """This process's, without the folder in which it keeps its own compiled kernels."""
    inherited = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    return {**inherited, **more}


def python(*arguments: str) -> str:
    """What a Python process prints; its errors are shown."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment(), stdout=subprocess.PIPE,
        text=True, check=True,
    )  # fmt: skip
    return done.stdout


def time_command(arguments: list[str], **variables: str) -> tuple[float, float]:
    """Wall and CPU seconds of a whole process, from its start to its end."""
    before, cpu_before = time.perf_counter(), _children()
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment(**variables), capture_output=True, text=True
    )
    seconds = time.perf_counter() - before
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return seconds, _children() - cpu_before


def _children() -> float:
    """CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
