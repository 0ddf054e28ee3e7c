"""A Dask scheduler and workers as processes of their own, on the loopback interface."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATIENCE_S = 30.0


def until(true: Callable[[], object], patience_s: float = _PATIENCE_S) -> bool:
    """Wait until something is true; False when it takes too long."""
    deadline = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class DaskProcesses:
    """Started with one worker; use as a context, which kills what is left of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        file = folder / "scheduler.json"
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
            "--scheduler-file", str(file),
        )  # fmt: skip
        assert until(lambda: file.exists() and file.read_text().endswith("}"))
        self.address = str(json.loads(file.read_text())["address"])
        self.workers: list[subprocess.Popen[bytes]] = []
        self.add_worker()

    def add_worker(self) -> None:
        """One more, of one thread, with a nanny that starts it again when it dies."""
        self.workers.append(
            self._start("worker", self.address, "--nthreads", "1", "--no-dashboard",
                        "--memory-limit", "0")
        )  # fmt: skip

    def _start(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> "DaskProcesses":
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()  # a worker leaves when its nanny is gone
        for process in (*self.workers, self.scheduler):
            process.wait()
