"""Workers of overhead cases on the real machine; and what they compute, on any."""

import os
from pathlib import Path

import numpy as np
import pytest

from sharesim.content.overhead_case import OverheadCase, read_cases
from sharesim.errors import UserError
from sharesim.live.overhead import record
from sharesim.live.sampler import find_ksmd
from sharesim.live.sysfs import Ksm
from sharesim.live.worker import HIDDEN, LINE_WORDS, WORDS, operate, plan_of
from sharesim.validation.outcome import How
from tests.content.overhead_files import case, variant, worker, write_cases


def read(folder: Path, **changes: object) -> OverheadCase:
    return read_cases(write_cases(folder, case(**changes)))[0]


def run(words: np.ndarray, one: OverheadCase, count: int) -> int:
    return int(operate(words, np.uint64(3), 0, count, plan_of(one.workers[0]), HIDDEN))


def test_writes_leave_contents_as_they_are(tmp_path: Path) -> None:
    one = read(tmp_path, workers=[worker(w=0.5, k=1)])
    words = np.arange(200 * WORDS, dtype=np.uint64)
    run(words, one, 1_000)
    assert (words == np.arange(200 * WORDS, dtype=np.uint64)).all()


def test_accesses_go_to_the_regions_of_the_case(tmp_path: Path) -> None:
    """What is computed depends on what lies in the regions, and on nothing outside of them."""
    one = read(tmp_path, workers=[worker(a0=10, an=5, pa=0.5, b0=100, bn=20, k=3)])
    words = np.zeros(200 * WORDS, np.uint64)
    plain = run(words, one, 2_000)
    outside = words.reshape(200, WORDS)
    outside[:10], outside[15:100], outside[120:] = 9, 9, 9
    outside[:, np.arange(WORDS) % LINE_WORDS != 0] = 9
    assert run(words, one, 2_000) == plain
    for page in (*range(10, 15), *range(100, 120)):
        outside[page, 0] = 1
        assert run(words, one, 20_000) != run(np.zeros_like(words), one, 20_000)
        outside[page, 0] = 0


def test_a_cpu_that_is_not_there(tmp_path: Path, live_ksm: Ksm) -> None:
    one = read(tmp_path, ksmd_cpus=[1023])
    with pytest.raises(UserError, match="needs CPU 1023; this process may use CPU 0"):
        record(one, one.variants, How())
    assert live_ksm.read("run") == "0"


def test_a_case_is_run_and_all_is_as_before(tmp_path: Path, live_ksm: Ksm) -> None:
    cpu = min(os.sched_getaffinity(0))
    busy = worker(cpu=cpu, fill="0:200:1:0", an=200, w=1, k=9_500)
    fast = variant("p500", pages_to_scan=500)
    one = read(
        tmp_path, workers=[busy], ksmd_cpus=[cpu], variants=[fast], off="unmerge", window_s=0.4,
        rounds=1,
    )  # fmt: skip
    ksmd = find_ksmd(live_ksm.proc)
    assert ksmd is not None
    before = live_ksm.settings(), os.sched_getaffinity(ksmd)
    found = record(one, one.variants, How())
    assert (live_ksm.settings(), os.sched_getaffinity(ksmd)) == before
    assert [window.variant for window in found.windows] == ["off", "p500", "off"]
    off, busy_window, last = found.windows
    assert min(off.operations_s, busy_window.operations_s, last.operations_s) > 0
    assert busy_window.pages_scanned_s > 0 and busy_window.breaks_s > 0
    assert off.pages_scanned_s == 0
    assert 1_000 < found.worker_ns[0] < 100_000
