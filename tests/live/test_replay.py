"""A case played with real processes against this machine's ksmd; skips itself without KSM or root.

The case is two processes of 200 pages, small enough that the outcome does not hang on timing: all
is merged long before it ends.
"""

import gzip
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from sharesim.content.ksm_case import Case, open_case
from sharesim.content.ksm_repeat import COUNTERS, Repeat
from sharesim.errors import UserError
from sharesim.live.ksmd import find_ksmd
from sharesim.live.replay import check_possible, disturbances, replay
from sharesim.live.sysfs import Ksm
from tests.live.kernel import NOBODY, FakeKsm, process

PAGES = 200


def case_of(folder: Path, **changes: object) -> Case:
    """Each process: 150 pages of one content, 30 of its own, 10 zero, 10 never touched."""
    process = {"pages": PAGES, "arrive_ms": 0, "exit_ms": None}
    given = {
        "name": "tiny",
        "title": "",
        "duration_ms": 700,
        "sample_ms": 25,
        "ksm": {"pages_to_scan": 1000, "sleep_millisecs": 10, "smart_scan": 0, "use_zero_pages": 1},
        "processes": [{"name": "vm0", **process}, {"name": "vm1", **process}],
        "events": [],
        "init_file": "tiny.init.csv.gz",
        "writes_file": "tiny.writes.csv.gz",
    } | changes
    rows = ["0,0,150,7,0", "0,150,30,1000,1", "0,180,10,0,0"]
    rows += ["1,0,150,7,0", "1,150,30,2000,1", "1,180,10,0,0"]
    _zip(folder / "tiny.init.csv.gz", ["proc,page,count,first_id,step", *rows])
    _zip(folder / "tiny.writes.csv.gz", ["t_ms,proc,page,id", "400,0,0,9001", "400,1,180,9002"])
    (folder / "tiny.json").write_text(json.dumps(given))
    return open_case(folder / "tiny.json")


def _zip(path: Path, lines: list[str]) -> None:
    path.write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))


def children() -> set[int]:
    """This process's own."""
    return {int(word) for task in Path("/proc/self/task").iterdir()
            for word in (task / "children").read_text().split()}  # fmt: skip


def priority(process: int) -> tuple[int, int]:
    return os.sched_getscheduler(process), os.getpriority(os.PRIO_PROCESS, process)


def final(repeat: Repeat) -> dict[str, int]:
    return {name: int(repeat.samples[name][-1]) for name in COUNTERS}


def test_a_case_is_played_and_all_is_put_back(tmp_path: Path, live_ksm: Ksm) -> None:
    before, own = live_ksm.settings(), children()
    ksmd = find_ksmd(live_ksm.proc) or 0
    priorities = priority(0), priority(ksmd)
    seen: list[int] = []
    repeat = replay(case_of(tmp_path), progress=lambda now, _end: seen.append(now))
    last = final(repeat)
    # 300 pages of one content: a first KSM page takes 256, a second one the others. The writes
    # break one share and one zero page.
    assert (last["pages_shared"], last["pages_sharing"]) == (2, 297)
    assert (last["ksm_zero_pages"], last["cow_ksm"]) == (19, 1)
    assert (last["pages_unshared"], last["pages_volatile"]) == (62, 0)
    assert last["full_scans"] > 5
    assert last["ksmd_cpu_ns"] > 0
    assert set(repeat.samples) >= {"t_ms", "read_ms", "ksmd_wait_ns", *COUNTERS}
    assert np.all(np.diff(repeat.samples["t_ms"]) > 0)
    assert repeat.samples["pages_scanned"][0] <= last["pages_scanned"]
    assert seen[-1] == 700_000_000
    assert [process["n"] for process in repeat.meta["proc_stats"]] == [1, 1]
    assert (live_ksm.settings(), live_ksm.read("pages_shared"), children()) == (before, "0", own)
    assert (priority(0), priority(ksmd)) == priorities


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_ends_it_and_all_is_put_back(
    tmp_path: Path, live_ksm: Ksm, number: int, error: type[BaseException]
) -> None:
    before, own = live_ksm.settings(), children()
    during: list[str] = []

    def stop(_now: int, _end: int) -> None:
        during.append(live_ksm.read("run"))
        os.kill(os.getpid(), number)

    with pytest.raises(error):
        replay(case_of(tmp_path), progress=stop)
    assert during == ["1"]
    assert (live_ksm.settings(), live_ksm.read("pages_shared"), children()) == (before, "0", own)


def test_a_process_that_dies_is_an_error(tmp_path: Path, live_ksm: Ksm) -> None:
    own = children()

    def kill(_now: int, _end: int) -> None:
        for child in children() - own:
            os.kill(child, signal.SIGKILL)

    with pytest.raises(
        UserError, match="process vm0 of the case could not be played: it was killed"
    ):
        replay(case_of(tmp_path, duration_ms=50), progress=kill)
    assert children() == own


def fake(tmp_path: Path) -> FakeKsm:
    ksm = FakeKsm(tmp_path)
    (ksm.proc / "meminfo").write_text("MemAvailable: 999999 kB\n")
    return ksm


def test_what_a_machine_must_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: True)
    ksm, case = fake(tmp_path), case_of(tmp_path)
    check_possible(case, ksm)
    (ksm.proc / "meminfo").write_text("MemAvailable: 1024 kB\n")
    with pytest.raises(
        UserError, match=r"tiny.json needs 1.562 MiB of memory, 1 MiB are available"
    ):
        check_possible(case, ksm)
    (ksm.proc / "vmstat").write_text("pgfault 5\n")
    with pytest.raises(UserError, match="does not count cow_ksm"):
        check_possible(case, ksm)
    (ksm.proc / f"{NOBODY}/comm").write_text("bash\n")
    with pytest.raises(UserError, match="ksmd cannot be seen"):
        check_possible(case, ksm)
    (ksm.folder / "use_zero_pages").unlink()
    with pytest.raises(UserError, match=r"tiny\.json sets use_zero_pages=1"):
        check_possible(case, ksm)


def test_without_root_nothing_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ksm = fake(tmp_path)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match="takes root"):
        replay(case_of(tmp_path), ksm=ksm)
    assert ksm.written == []


def test_somebody_elses_pages_are_left_alone(tmp_path: Path) -> None:
    ksm = fake(tmp_path)
    process(ksm.proc, 99, "qemu-kvm", ksm_stat="ksm_mergeable: yes\n")
    with pytest.raises(UserError, match=r"in use \(mergeable memory in qemu-kvm \(99\)\).*--force"):
        replay(case_of(tmp_path), ksm=ksm)
    assert ksm.written == []


def test_what_disturbs_a_repeat() -> None:
    quiet = {"ksmd_wait_share": 0.001, "missed_samples": 0, "foreign_mergeable_seen": 0}
    stats = [{"n": 3, "late_ms_p99": 0.2}, {"n": 0, "late_ms_p99": 0.0}]
    assert disturbances(Repeat("live", {}, quiet | {"proc_stats": stats})) == []
    loud = {"ksmd_wait_share": 0.08, "missed_samples": 9, "foreign_mergeable_seen": 1}
    stats.append({"n": 5, "late_ms_p99": 31.0})
    found = disturbances(Repeat("live", {}, loud | {"proc_stats": stats}))
    assert found == [
        "ksmd waited for a CPU 8.0 % of the time",
        "writes were late (99th percentile 31 ms)",
        "9 samples are missing",
        "another process had mergeable memory",
    ]
