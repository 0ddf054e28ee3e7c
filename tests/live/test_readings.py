"""What is read of a machine: counters, ksmd, who uses KSM, the kernel's tick."""

import gzip
import mmap
from pathlib import Path

import pytest

from sharesim.errors import UserError
from sharesim.live.guest import ADVICE
from sharesim.live.ksmd import find_ksmd
from sharesim.live.sampler import COUNTERS, Sampler
from sharesim.live.sysfs import Ksm
from sharesim.live.tick import kernel_hz
from sharesim.live.users import check_unused, mergeable_processes
from tests.live.kernel import NOBODY, FakeKsm, process


def test_a_reading_is_of_now(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path, pages_shared=3)
    with Sampler(ksm, ("run",)) as sampler:
        assert sampler.columns == (*COUNTERS, "run", "ksmd_cpu_ns", "cow_ksm", "ksmd_wait_ns")
        first = dict(zip(sampler.columns, sampler.read(), strict=True))
        (ksm.folder / "pages_shared").write_text("12345678\n")
        (ksm.proc / f"{NOBODY}/schedstat").write_text("5000 600 9\n")
        second = dict(zip(sampler.columns, sampler.read(), strict=True))
    assert (first["pages_shared"], first["cow_ksm"], first["ksmd_cpu_ns"]) == (3, 77, 1000)
    assert second == first | {"pages_shared": 12345678, "ksmd_cpu_ns": 5000, "ksmd_wait_ns": 600}


def test_an_old_kernel_or_a_container_shows_less(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path)
    for name in ("pages_scanned", "pages_skipped"):
        (ksm.folder / name).unlink()
    (ksm.proc / "vmstat").write_text("pgfault 5\n")
    (ksm.proc / f"{NOBODY}/cmdline").write_text("./ksmd")  # somebody's program of that name
    with Sampler(ksm) as sampler:
        assert set(COUNTERS) - set(sampler.columns) == {"pages_scanned", "pages_skipped"}
        assert len(sampler.read()) == len(sampler.columns) == len(COUNTERS) - 2
    assert find_ksmd(ksm.proc) is None


NOT_MERGEABLE = "ksm_rmap_items 0\nksm_merge_any: no\nksm_mergeable: no\n"
SMAPS = "00400000-00401000 r-xp 0 00:00 0\nRss: 4 kB\nVmFlags: rd wr mr{} sd\n"


def test_who_has_mergeable_memory(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path)
    process(ksm.proc, 10, "says no", ksm_stat=NOT_MERGEABLE)
    process(ksm.proc, 11, "6.12", ksm_stat=NOT_MERGEABLE.replace("able: no", "able: yes"))
    process(ksm.proc, 12, "6.4 whole", ksm_stat="ksm_rmap_items 0\nksm_merge_any: yes\n", smaps="")
    process(ksm.proc, 13, "6.4 known", ksm_stat="ksm_rmap_items 7\nksm_merge_any: no\n", smaps="")
    process(ksm.proc, 14, "5.15 flag", smaps=SMAPS.format(" mg"))
    process(ksm.proc, 15, "5.15 none", smaps=SMAPS.format(""))
    process(ksm.proc, 16, "unreadable")
    found = mergeable_processes(ksm.proc)
    assert found == ["5.15 flag (14)", "6.12 (11)", "6.4 known (13)", "6.4 whole (12)"]
    with pytest.raises(
        UserError, match=r"in use \(mergeable memory in 5.15 flag \(14\), .*--force"
    ):
        check_unused(ksm)


def test_many_users_are_not_all_listed(tmp_path: Path) -> None:
    ksm = FakeKsm(tmp_path)
    for number in range(100, 109):
        process(ksm.proc, number, "vm", ksm_stat="ksm_mergeable: yes\n")
    with pytest.raises(UserError, match=r"vm \(104\), and 4 more"):
        check_unused(ksm)


def test_shared_pages_without_a_user_in_sight(tmp_path: Path) -> None:
    check_unused(FakeKsm(tmp_path, run=0, pages_shared=1200))
    (tmp_path / "running").mkdir()
    with pytest.raises(UserError, match="1,200 shared pages"):
        check_unused(FakeKsm(tmp_path / "running", run=1, pages_shared=1200))


def test_this_process_is_found_when_its_memory_is_mergeable(live_ksm: Ksm) -> None:
    with mmap.mmap(-1, 1 << 16, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(ADVICE["mergeable"])
        with pytest.raises(UserError, match="this machine's KSM is in use"):
            check_unused(live_ksm)
        memory.madvise(ADVICE["unmergeable"])


def test_the_tick_is_in_the_configuration(tmp_path: Path) -> None:
    assert kernel_hz("6.1", tmp_path) is None
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/config-6.1").write_text("# CONFIG_HZ_250 is not set\nCONFIG_HZ=1000\n")
    assert kernel_hz("6.1", tmp_path) == 1000
    assert kernel_hz("6.2", tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(b"CONFIG_HZ_100=y\nCONFIG_HZ=100\n"))
    assert kernel_hz("6.2", tmp_path) == 100
