"""What a case has to reach, and what counts as a miss."""

from pathlib import Path
from typing import Any

from sharesim.content.ksm_case import Case, open_case
from sharesim.content.ksm_repeat import COUNTERS
from sharesim.validation.errors import SUMS, CounterErrors
from sharesim.validation.limits import Limit, is_static, misses
from tests.content.ksm_files import process, write_case

GOOD = CounterErrors(
    error=0.0, nearest=0.0, spread=0.0, by_progress=0.0, spread_by_progress=0.0,
    final_simulated=5, final_recorded=(5, 5),
)  # fmt: skip


def found(case: Case, counter: str, **changes: Any) -> list[tuple[str, str, str]]:
    """(kind, found, wanted) of all misses where only one counter is not as recorded."""
    counters = dict.fromkeys((*COUNTERS, *SUMS), GOOD)
    counters[counter] = CounterErrors(**(vars(GOOD) | changes))
    return [(one.kind, one.found, one.wanted) for one in misses(case, counters)]


def test_a_limit_is_a_share_or_a_multiple_of_the_spread() -> None:
    assert Limit(0.02, spreads=2).of(None) == 0.02
    assert Limit(0.02, spreads=2).of(0.03) == 0.06
    assert Limit(0.15).of(0.5) == 0.15


def test_errors_beyond_their_limits(tmp_path: Path) -> None:
    case = open_case(write_case(tmp_path, writes=["1,0,0,1"]))
    assert found(case, "pages_shared", error=0.02) == []
    assert found(case, "pages_shared", error=0.021) == [("error", "2.10 %", "≤ 2.00 %")]
    assert found(case, "pages_shared", error=0.03, spread=0.02) == []
    assert found(case, "pages_unshared+pages_volatile", error=0.049) == []
    assert found(case, "pages_volatile", error=0.9) == []
    assert found(case, "ksmd_cpu_ns", error=0.16, spread=0.2) == [("error", "16.00 %", "≤ 15.00 %")]
    assert found(case, "pages_sharing", by_progress=0.006) == [
        ("by_progress", "0.60 %", "≤ 0.50 %")
    ]
    assert found(case, "ksmd_cpu_ns", by_progress=0.2) == []
    assert found(case, "ksm_zero_pages", error=None) == [("error", "not 0", "0 as recorded")]


def test_which_cases_are_static(tmp_path: Path) -> None:
    unlike: dict[str, Any] = {
        "writes": {"writes": ["1,0,0,1"]},
        "late": {"processes": [process("a"), process("b", arrive=1)]},
        "leaving": {"processes": [process("a"), process("b", leave=9)]},
        "advised": {
            "events": [{"t_ms": 9, "proc": 0, "op": "unmergeable", "page0": 0, "npages": 1}]
        },
    }
    assert is_static(open_case(write_case(tmp_path)))
    for name, changes in unlike.items():
        assert not is_static(open_case(write_case(tmp_path, name, **changes))), name


def test_static_cases_end_exactly(tmp_path: Path) -> None:
    case = open_case(write_case(tmp_path))
    assert found(case, "stable_node_dups", final_simulated=6) == [("final", "6", "5")]
    ends = {"final_simulated": 7, "final_recorded": (5, 6)}
    assert found(case, "pages_scanned", **ends) == [("final", "7", "5 to 6")]
    assert found(case, "ksmd_cpu_ns", final_simulated=6) == []


def test_with_smart_scan_only_the_scans_are_counted(tmp_path: Path) -> None:
    case = open_case(write_case(tmp_path, ksm={"smart_scan": 1}))
    assert found(case, "pages_unshared", final_simulated=0) == []
    assert found(case, "full_scans", final_simulated=6) == []
    assert found(case, "full_scans", final_simulated=7) == [("final", "7", "4 to 6")]


def test_what_moves_may_end_anywhere(tmp_path: Path) -> None:
    case = open_case(write_case(tmp_path, writes=["1,0,0,1"]))
    assert found(case, "full_scans", final_simulated=9) == []
