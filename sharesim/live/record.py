"""Samples the KSM of this machine over time into a Parquet file, changing nothing."""

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sharesim.errors import UserError
from sharesim.live.sampler import Sampler
from sharesim.live.signals import Ending
from sharesim.live.sysfs import Ksm

STATE = ("run", "sleep_millisecs")
"""Settings that are sampled, beside ``pages_to_scan``: others may change them meanwhile."""
METADATA = b"sharesim.ksm"
"""The key of the Parquet file's metadata under which the circumstances are, as JSON."""
GROUP = 512
"""Samples that are written together."""
NAP_NS = 100_000_000
"""A signal to end is seen after this time at the latest."""


@dataclass(frozen=True)
class Recording:
    """What was recorded: into which file, how often, the first and the last sample.

    ``ended_by`` is the number of the signal that ended it early; ``missed`` samples would have
    been late.
    """

    path: Path
    samples: int
    missed: int
    ended_by: int | None
    first: dict[str, int]
    last: dict[str, int]

    @property
    def length_ns(self) -> int:
        """From the first sample to the last."""
        return self.last["time_ns"] - self.first["time_ns"]

    def change(self, column: str) -> int | None:
        """By how much a column grew; None where this machine does not show it."""
        return self.last[column] - self.first[column] if column in self.first else None


def record(
    path: Path,
    *,
    duration_ns: int,
    interval_ns: int,
    ksm: Ksm | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recording:
    """Sample every ``interval_ns``, at time 0 too, for ``duration_ns``, into ``path``.

    Columns are ``time_ns`` (of the monotonic clock, from the start), ``read_ns`` (how long the
    reading took) and those of :class:`~sharesim.live.sampler.Sampler` as the kernel shows them,
    many of which count from the machine's start. The file appears when it is complete; Ctrl-C,
    SIGTERM and SIGHUP end the recording early and keep it.

    `UserError` where there is no KSM or ``path`` cannot be written.
    """
    ksm = ksm or Ksm()
    about = {
        "kernel": ksm.kernel,
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "interval_ns": interval_ns,
        "settings": ksm.settings(),
    }
    with Ending() as ending, Sampler(ksm, STATE) as sampler:
        ending.hold()
        with _Table(path, ("time_ns", "read_ns", *sampler.columns), about) as table:
            _sample(sampler, table, duration_ns, interval_ns, ending, progress)
        asked = table.last["time_ns"] if ending.late else duration_ns
        return Recording(
            path=path,
            samples=table.count,
            missed=asked // interval_ns + 1 - table.count,
            ended_by=ending.take(),
            first=table.first,
            last=table.last,
        )


def _sample(
    sampler: Sampler,
    table: "_Table",
    duration_ns: int,
    interval_ns: int,
    ending: Ending,
    progress: Callable[[int, int], None] | None,
) -> None:
    start = time.monotonic_ns()
    due = 0
    while due <= duration_ns:
        while (left := start + due - time.monotonic_ns()) > 0:
            time.sleep(min(left, NAP_NS) / 1e9)
            if ending.late:
                return
        began = time.monotonic_ns() - start
        values = sampler.read()
        table.add((began, time.monotonic_ns() - start - began, *values))
        if progress is not None:
            progress(due, duration_ns)
        due = ((time.monotonic_ns() - start) // interval_ns + 1) * interval_ns


class _Table:
    """A Parquet file of whole numbers, written group by group beside ``path``; a context.

    It gets its name when the context is left, unless an exception leaves it.
    """

    def __init__(self, path: Path, columns: Sequence[str], about: dict[str, Any]) -> None:
        import pyarrow as pa

        self.path = path
        self.columns = tuple(columns)
        self.count = 0
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self._rows: list[tuple[int, ...]] = []
        fields = [(name, pa.int64()) for name in self.columns]
        self._schema = pa.schema(fields, metadata={METADATA: json.dumps(about).encode()})
        self._beside = path.with_name(f".{path.name}.{os.getpid()}.part")

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        if self.path.is_dir():
            raise UserError(f"{self.path} is a folder; --out names a file")
        try:
            self._writer = pq.ParquetWriter(self._beside, self._schema, compression="zstd")
        except OSError as error:
            raise self._failure(error) from None
        return self

    def add(self, row: tuple[int, ...]) -> None:
        """One sample."""
        self._rows.append(row)
        self.last = dict(zip(self.columns, row, strict=True))
        self.first = self.first or self.last
        self.count += 1
        if len(self._rows) == GROUP:
            self._write()

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _where: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write()
                self._close()
                os.replace(self._beside, self.path)
        except OSError as error:
            raise self._failure(error) from None
        finally:
            with suppress(OSError):
                self._writer.close()
            with suppress(OSError):
                self._beside.unlink()

    def _write(self) -> None:
        import pyarrow as pa

        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(column, type=pa.int64()) for column in columns]
        if arrays:
            try:
                self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
            except OSError as error:
                raise self._failure(error) from None
        self._rows.clear()

    def _close(self) -> None:
        self._writer.close()

    def _failure(self, error: OSError) -> UserError:
        return UserError(f"{self.path} cannot be written: {error.strerror or error}")
