"""The paging figures of the machine of 2003 are what three rows of lmbench give, and no more."""

from pathlib import Path

import pytest

from analysis.calibrate_xen2003 import (
    CALIBRATION,
    MODES,
    SWITCHES,
    calibrated,
    common_count,
    excess,
    main,
    predictions,
    transition,
)
from sharesim.spec.costs import load_profile, load_targets


def test_direct_figures_are_those_of_the_profile() -> None:
    ns, direct = load_profile("xen-2003").ns, calibrated("direct")
    assert (direct.bounce, direct.update, direct.switch) == (340, 970, 1_200)
    assert ns("bounce_direct") == direct.bounce
    assert ns("hypercall") == ns("exit") == transition()
    assert ns("hypercall") + ns("pt_validate") == direct.update
    assert ns("switch_direct") == direct.switch


@pytest.mark.parametrize("profile", ["vmware-ws-2003", "xen-2003"])
def test_shadow_figures_are_those_of_the_profiles(profile: str) -> None:
    ns, shadow = load_profile(profile).ns, calibrated("shadow")
    assert (shadow.bounce, shadow.update, shadow.switch) == (6_470, 4_510, 17_330)
    assert ns("bounce_shadow") == shadow.bounce
    assert ns("pt_sync") == ns("exit") + ns("shadow_fill") == shadow.update
    assert ns("switch_shadow") == shadow.switch
    assert ns("native_fault") == load_targets()["lmbench_page_fault_native"].ns


def test_the_calibrating_rows_come_out_exactly() -> None:
    fault, fault_and_update, switch = CALIBRATION
    for mode in MODES:
        paging = calibrated(mode)
        assert paging.excess(1, 0) == excess(fault_and_update, mode)
        assert paging.bounce == excess(fault, mode)
        assert paging.excess(0, 1) == excess(switch, mode)


def test_one_count_a_row_serves_both_modes() -> None:
    counts = {one.row.removeprefix("lmbench_"): one.count for one in predictions()}
    assert [counts[row] for row in ("mmap", "fork", "exec", "sh")] == [52, 66, 168, 572]
    assert counts["linux_build"] == pytest.approx(6.3e6, rel=0.005)


@pytest.mark.parametrize("row", SWITCHES)
def test_no_other_count_does_better(row: str) -> None:
    def worst(count: float) -> float:
        return max(
            abs(calibrated(mode).excess(count, SWITCHES[row]) / excess(row, mode) - 1)
            for mode in MODES
        )

    best = common_count(row)
    assert worst(best) < min(worst(0.99 * best), worst(1.01 * best))


def test_predictions_hold() -> None:
    for one in predictions():
        bound = 0.03 if one.row == "linux_build" else 0.0655
        assert abs(one.error) < bound, one


def test_the_documentation_has_these_errors() -> None:
    page = Path(__file__).parents[2] / "docs" / "costs.md"
    lines = page.read_text(encoding="utf-8").replace("−", "-").splitlines()
    table = [line.split(" | ") for line in lines if line.endswith(" % |")]
    found = [[f"{one.error:+.1%}".replace("%", " %") for one in predictions() if one.row == row]
             for row in SWITCHES]  # fmt: skip
    assert [[cells[3], cells[4].removesuffix(" |")] for cells in table] == found


def test_the_script_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    text = capsys.readouterr().out
    assert "hypercall 655 + pt_validate 315" in text
    assert text.count("%") == len(predictions())
    assert "5 taken, 5 left" in text
