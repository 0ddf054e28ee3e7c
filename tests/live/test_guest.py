"""What a playing process does: its memory byte by byte, and the order of its acts."""

import gzip
import json
import socket
import time
from pathlib import Path

import numpy as np

from sharesim.content.ksm_case import CaseEvent, CaseProcess, content_ids, open_case
from sharesim.live.guest import Act, _Player, acts, shared_int64

MS = 1_000_000


def test_memory_is_filled_and_written_big_endian(tmp_path: Path) -> None:
    lines = {"init": "proc,page,count,first_id,step\n0,0,2,5,1\n0,2,1,0,0\n",
             "writes": "t_ms,proc,page,id\n1,0,1,8\n1,0,3,9\n1,0,3,0\n"}  # fmt: skip
    for name, text in lines.items():
        (tmp_path / f"c.{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    process = {"name": "vm", "pages": 5, "arrive_ms": 0, "exit_ms": None}
    (tmp_path / "c.json").write_text(json.dumps({
        "name": "c", "title": "", "duration_ms": 9, "sample_ms": 1, "ksm": {}, "events": [],
        "processes": [process], "init_file": "c.init.csv.gz", "writes_file": "c.writes.csv.gz",
    }))  # fmt: skip
    lateness = shared_int64(3)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        player = _Player(open_case(tmp_path / "c.json"), 0, lateness, theirs)
        assert [page_of(player, page) for page in range(4)] == [5, 6, 0, 0]
        player.start = time.monotonic_ns()
        player._write(2)
        assert [page_of(player, page) for page in range(4)] == [5, 8, 0, 9]
        assert lateness[2] == -1
        player._write(3)
        assert [page_of(player, page) for page in range(4)] == [5, 8, 0, 0]
    assert time.monotonic_ns() - player.start >= MS
    assert np.all(lateness >= 0)


def page_of(player: _Player, page: int) -> int:
    """The id that a page holds, all of it."""
    content = player.memory[page * 4096 : (page + 1) * 4096]
    assert content == content[:8] * 512
    known = {int(content_ids(np.array([number], np.uint64))[0]): number for number in range(10)}
    return known[int.from_bytes(content[:8], "big")]


def test_the_order_of_acts() -> None:
    events = [CaseEvent(5 * MS, 0, "unmergeable", 2, 3), CaseEvent(4 * MS, 0, "mergeable", 0, 1),
              CaseEvent(5 * MS, 0, "mergeable", 3, 1)]  # fmt: skip
    found = acts(CaseProcess("vm", 10, 5 * MS, 9 * MS), events)
    assert found == [
        Act(4 * MS, "right", "mergeable", 0, 1),
        Act(5 * MS, "left", "mergeable", 0, 10),
        Act(5 * MS, "right", "unmergeable", 2, 3),
        Act(5 * MS, "right", "mergeable", 3, 1),
        Act(9 * MS, "right", None),
    ]
    assert acts(CaseProcess("vm", 10, 0, None), []) == []
