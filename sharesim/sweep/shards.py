"""A sweep cut into parts that know nothing of each other: for array jobs of a cluster.

Cells that are compared with the same run without sharing are kept together, so that most parts make
such a run for themselves alone. Which part they go to follows from its key, which is as good as
random, so that long and short runs mix.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sharesim.errors import UserError
from sharesim.sweep.plan import Cell

MOST_SHARDS = 100_000
_HOW = "write it as --shard 3/20, from 1/20 to 20/20, or auto or auto/20 inside an array job"


@dataclass(frozen=True)
class Shard:
    """The ``number``-th of ``count`` parts, from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def folder(self, place: Path) -> Path:
        """Its own folder, beside that of the whole sweep."""
        return place.with_name(f"{place.name}.{self.number}-of-{self.count}")

    def of(self, cells: Sequence[Cell]) -> list[Cell]:
        """Its part of the cells, in their order."""
        groups = sorted(cells, key=lambda cell: (cell.p1 or cell.key, cell.point, cell.replicate))
        begin, end = (
            len(groups) * number // self.count for number in (self.number - 1, self.number)
        )
        return sorted(groups[begin:end], key=lambda cell: (cell.point, cell.replicate))


def parse_shard(text: str, environment: Mapping[str, str] | None = None) -> Shard:
    """``3/20``, or ``auto`` and ``auto/20`` by what the array job's environment says.

    Raises UserError for anything else, and where no array job is found.
    """
    which, _, count = text.partition("/")
    if which == "auto":
        return _of_array_job(count, os.environ if environment is None else environment)
    if not re.fullmatch(r"\d+/\d+", text, re.ASCII):
        raise UserError(f"--shard {text}: {_HOW}")
    return _checked(text, int(which), int(count))


def _of_array_job(count: str, environment: Mapping[str, str]) -> Shard:
    """SLURM's array index counts from its minimum in steps; Kubernetes' from 0."""
    if count and not count.isdecimal():
        raise UserError(f"--shard auto/{count}: {_HOW}")
    try:
        if "SLURM_ARRAY_TASK_ID" in environment:
            index = int(environment["SLURM_ARRAY_TASK_ID"])
            least = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
            step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
            total = int(count or environment.get("SLURM_ARRAY_TASK_COUNT", "0"))
            number = (index - least) // max(step, 1) + 1
        elif "JOB_COMPLETION_INDEX" in environment:
            number, total = int(environment["JOB_COMPLETION_INDEX"]) + 1, int(count or "0")
        else:
            raise UserError(
                "--shard auto: this is no array job: neither SLURM_ARRAY_TASK_ID nor"
                " JOB_COMPLETION_INDEX is set; give --shard 3/20"
            )
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"--shard auto: the array job's environment is odd: {error}") from None
    if not total:
        raise UserError("--shard auto: how many parts? Kubernetes does not tell: give auto/20")
    return _checked(f"auto ({number}/{total})", number, total)


def _checked(text: str, number: int, count: int) -> Shard:
    if not 1 <= count <= MOST_SHARDS or not 1 <= number <= count:
        raise UserError(f"--shard {text}: {_HOW}")
    return Shard(number, count)
