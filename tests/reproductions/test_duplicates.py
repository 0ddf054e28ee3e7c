"""R37 as a study: its counting agrees with a run, and with what `sharesim inspect` counts."""

import numpy as np
import pytest

from sharesim.content.capture import open_capture
from sharesim.content.classes import PageClass
from sharesim.content.statistics import (
    REPEATED,
    TWIN,
    TWIN_ELSEWHERE,
    class_statistics,
    snapshot_statistics,
)
from sharesim.errors import UserError
from sharesim.reproductions.duplicates import (
    READINGS,
    Duplicates,
    Snapshot,
    frozen_guests,
    study,
)
from sharesim.results.run import Run
from sharesim.results.style import figure_bytes
from sharesim.simulate import simulate

MIXED6 = "mixed6-60s"


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {name: simulate(scenario) for name, scenario in study().runs().items()}


def test_the_run_agrees_and_others_figures_are_shown_only(runs: dict[str, Run]) -> None:
    rows = study().rows(runs)
    assert [row for row in rows if row.verdict == "miss"] == []
    judged = [row for row in rows if row.verdict == "pass"]
    assert {row.mark for row in judged} == {"counted"}
    saved, *classes = (row.simulated for row in judged)
    assert saved == sum(filter(None, classes)) == 87_883 + 28_195 - 1
    assert len(rows) - len(judged) == 11


@pytest.mark.parametrize("snapshot", [0, 12])
def test_classes_are_counted_as_inspect_counts_them(snapshot: int) -> None:
    capture = open_capture(MIXED6)
    rows = class_statistics(capture, snapshot_statistics(capture, snapshot))
    ours = Snapshot(frozen_guests(MIXED6, int(capture.times_ns[snapshot])))
    marks = {TWIN: "twin", TWIN_ELSEWHERE: "twin_elsewhere", REPEATED: "reclaimable"}
    for mark, column in marks.items():
        pages = ours.redundant(mark, zero=False)
        assert {row.page_class: getattr(row, column) for row in rows} == {
            kind: pages[kind] for kind in PageClass if kind in {row.page_class for row in rows}
        }


def test_readings_leave_out_what_they_say() -> None:
    snapshot = Snapshot(frozen_guests(MIXED6, "0 s"))
    everything, with_zero, without_reserved, used = READINGS
    for reading in READINGS:
        shares = snapshot.shares(TWIN_ELSEWHERE, reading)
        assert shares.sum() == pytest.approx(100)
        assert not shares[list(reading.without)].any()
    cache = [
        snapshot.shares(TWIN_ELSEWHERE, reading)[PageClass.PAGE_CACHE]
        for reading in (with_zero, everything, without_reserved, used)
    ]
    assert cache == sorted(cache)
    zero = snapshot.redundant(TWIN, zero=True) - snapshot.redundant(TWIN, zero=False)
    copies = snapshot.redundant(REPEATED, zero=True) - snapshot.redundant(REPEATED, zero=False)
    assert (zero.sum(), copies.sum()) == (30_334, 30_333)


def test_nothing_redundant_has_no_shares() -> None:
    snapshot = Snapshot(frozen_guests(MIXED6, "0 s"))
    snapshot.marks[:] = 0
    assert np.isnan(snapshot.shares(TWIN, READINGS[0])).all()


def test_notes_and_picture(runs: dict[str, Run]) -> None:
    first, *_ = study().notes(runs)
    assert "13 snapshots" in first
    assert figure_bytes(study().picture(runs, [])).startswith(b"\x89PNG")


def test_another_time(runs: dict[str, Run]) -> None:
    other = study(at="30 s")
    assert other.runs()["frozen"].vms != study().runs()["frozen"].vms
    with pytest.raises(UserError, match="no snapshot at 90 s"):
        simulate(study(at="90 s").runs()["frozen"])


def test_guests_without_classes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from sharesim.content.capture import CapturedGuest

    monkeypatch.setattr(CapturedGuest, "has_classes", False)
    with pytest.raises(UserError, match="did not all report"):
        Duplicates(MIXED6, 0).runs()
