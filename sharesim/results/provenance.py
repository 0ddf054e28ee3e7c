"""Where a run comes from: versions, machine, time and memory it took. Not part of its results."""

import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sharesim.version import MODEL_VERSION, package_version

LIBRARIES = ("numpy", "numba", "llvmlite", "simpy", "pandas", "pyarrow", "pydantic")


class Stopwatch:
    """Started when a run starts; tells its provenance when it is done."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC)
        self._begin = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return time.perf_counter() - self._begin

    def provenance(self, command: Sequence[str], tables: str | None) -> dict[str, Any]:
        """Plain data for ``provenance.json``.

        ``tables`` is the digest of the integer tables that a run derives from floats: where two
        machines' mathematical libraries differ, it tells.
        """
        return {
            "sharesim": package_version(),
            "model_version": MODEL_VERSION,
            "python": platform.python_version(),
            "libraries": {name: _version(name) for name in LIBRARIES},
            "machine": {
                "name": platform.node(),
                "system": platform.platform(),
                "processor": platform.machine(),
                "cpus": os.cpu_count(),
            },
            "started": self.started.isoformat(timespec="seconds"),
            "wall_seconds": round(self.seconds, 3),
            "peak_memory_bytes": peak_memory(),
            "command": list(command),
            "derived_tables_sha256": tables,
        }


def peak_memory() -> int | None:
    """Bytes of the largest resident size of this process; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


@cache  # it reads and parses a file
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
