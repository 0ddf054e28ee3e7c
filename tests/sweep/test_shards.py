"""Sweeps cut into parts: which part, of how many, and which cells."""

from collections import Counter

import pytest

from sharesim.errors import UserError
from sharesim.sweep.plan import Cell
from sharesim.sweep.shards import Shard, parse_shard

SLURM = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "20"}


def cells(points: int = 10, replicates: int = 3) -> list[Cell]:
    """Replicates share a pair, as points of a scanner's rate do."""
    return [
        Cell(
            point, replicate, replicate, {"rate": point}, f"{point:x}{replicate:x}", f"p{replicate}"
        )
        for point in range(1, points + 1)
        for replicate in range(1, replicates + 1)
    ]


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("3/20", {}, Shard(3, 20)),
        ("1/1", SLURM, Shard(1, 1)),
        ("auto", SLURM, Shard(7, 20)),
        ("auto/30", SLURM, Shard(7, 30)),
        ("auto", SLURM | {"SLURM_ARRAY_TASK_MIN": "0"}, Shard(8, 20)),
        (
            "auto",  # --array=10-48:2
            {
                "SLURM_ARRAY_TASK_ID": "48", "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_STEP": "2", "SLURM_ARRAY_TASK_COUNT": "20",
            },
            Shard(20, 20),
        ),
        ("auto/20", {"JOB_COMPLETION_INDEX": "0"}, Shard(1, 20)),
        ("auto/20", {"JOB_COMPLETION_INDEX": "19"}, Shard(20, 20)),
    ],
)  # fmt: skip
def test_which_part(text: str, environment: dict[str, str], expected: Shard) -> None:
    assert parse_shard(text, environment) == expected


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("0/20", {}, "from 1/20 to 20/20"),
        ("21/20", {}, "from 1/20 to 20/20"),
        ("3", {}, "write it as --shard 3/20"),
        ("three/20", {}, "write it as --shard 3/20"),
        ("auto/x", SLURM, "--shard auto/x"),
        ("auto", {}, "this is no array job"),
        ("auto", {"JOB_COMPLETION_INDEX": "3"}, "give auto/20"),
        ("auto/20", {"JOB_COMPLETION_INDEX": "20"}, "auto (21/20)"),
        ("auto", SLURM | {"SLURM_ARRAY_TASK_ID": "x"}, "is odd"),
    ],
)
def test_what_is_no_part(text: str, environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_shard(text, environment)
    assert message in str(caught.value)


@pytest.mark.parametrize("count", [1, 2, 7, 30, 40])
def test_parts_have_each_cell_once_and_are_of_one_size(count: int) -> None:
    whole = cells()
    parts = [Shard(number, count).of(whole) for number in range(1, count + 1)]
    assert sorted(cell.key for part in parts for cell in part) == sorted(c.key for c in whole)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_cells_of_a_pair_stay_together() -> None:
    """As many parts as pairs: each pair is made in one part only."""
    parts = [Shard(number, 3).of(cells()) for number in (1, 2, 3)]
    made = Counter(pair for part in parts for pair in {cell.p1 for cell in part})
    assert set(made.values()) == {1}
