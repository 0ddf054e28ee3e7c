"""Single runs of the two designs: what is legal, and what the parameters do."""

from pathlib import Path
from typing import Any

import pytest

from sharesim.cli import main
from sharesim.errors import UserError
from sharesim.reproductions.conditions import bad_guests, good_guests, synthetic_guests
from sharesim.reproductions.two_designs import two_designs
from sharesim.simulate import simulate

SCRIPT = Path(__file__).parents[2] / "scenarios" / "two_designs.py"
SHORT: dict[str, Any] = {
    "duration": "400 ms", "warmup": "0 s", "memory": "1 MiB", "scan_rate": 20_000.0,
    "baseline": False,
}  # fmt: skip
LEGAL = [
    ("shadow", "transparent"), ("nested", "transparent"), ("direct", "paravirtual"),
    ("native", "none"), ("shadow", "none"), ("direct", "none"),
]  # fmt: skip


@pytest.mark.parametrize(("paging", "sharing"), LEGAL)
@pytest.mark.parametrize("conditions", ["good", "bad", "synthetic"])
def test_legal_pairs_run(paging: Any, sharing: Any, conditions: Any) -> None:
    scenario = two_designs(conditions, paging, sharing, **SHORT)
    summary = simulate(scenario.model_copy(update={"check": True})).summary
    assert (summary["memory"]["saved_pages"] > 0) == (sharing != "none")
    assert (summary["counters"]["offers"] > 0) == (sharing == "paravirtual")
    assert (summary["counters"]["hidden_faults"] > 0) == (paging == "shadow")


@pytest.mark.parametrize(
    ("paging", "sharing", "why"),
    [
        ("direct", "transparent", "hold machine frames"),
        ("shadow", "paravirtual", "use 'transparent'"),
        ("nested", "paravirtual", "use 'transparent'"),
        ("native", "transparent", "without a hypervisor"),
    ],
)
def test_illegal_pairs_are_refused_with_the_reason(
    paging: str, sharing: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    settings = ["--set", f"paging={paging}", "--set", f"sharing={sharing}"]
    assert main(["run", str(SCRIPT), *settings, "--out", str(out)]) == 2
    assert f"paging '{paging}' with sharing design '{sharing}'" in (
        message := capsys.readouterr().err
    )
    assert why in message and "Traceback" not in message
    assert not out.exists()


def test_parameters_reach_the_scenario() -> None:
    scenario = two_designs(shadow_scale=0.5, rmap="none", faults=7, switches=3, scan_rate=123.0)
    assert scenario.paging.model_dump()["scale"] == 0.5
    assert scenario.paging.model_dump()["rmap"] == "none"
    assert scenario.sharing is not None and scenario.sharing.policy.scan_rate == 123
    work = scenario.vms[0].workload
    assert work.activity.faults == work.activity.updates == 7  # type: ignore[attr-defined]
    assert work.activity.switches == 3  # type: ignore[attr-defined]
    upcalls = two_designs("good", "direct", "paravirtual", cow="hypervisor").sharing
    assert upcalls is not None and upcalls.paravirtual.cow == "hypervisor"


@pytest.mark.parametrize("conditions", ["good", "bad", "synthetic"])
@pytest.mark.parametrize("rate", [0.0, 500.0, 40_000.0])
def test_guests_write_as_many_pages_as_they_are_told(conditions: Any, rate: float) -> None:
    """Per second of work; under bad conditions every other guest."""
    scenario = two_designs(
        conditions, "native", "none", write_rate=rate,
        duration="2 s", warmup="0 s", memory="1 MiB", baseline=False,
    )  # fmt: skip
    timeline = simulate(scenario).timeline
    last = timeline[(timeline.time_ns == 2 * 10**9) & timeline.writes.notna()]
    last = last[last.entity.isin(["vm1", "vm3"])]
    written = last.writes.sum() / (last.work_ns.sum() / 1e9)
    assert written == pytest.approx(rate, rel=0.08)


@pytest.mark.parametrize("guests", [good_guests, bad_guests, synthetic_guests])
def test_what_cannot_be_is_refused(guests: Any) -> None:
    for rate in (-1.0, 1e7, float("nan")):
        with pytest.raises(UserError, match="write_rate: found"):
            guests(2, write_rate=rate)
    with pytest.raises(UserError, match="memory: found 40 KiB; a guest needs 256 KiB at least"):
        guests(2, memory="40 KiB")


def test_guests_are_as_large_as_they_are_told() -> None:
    for guests in (good_guests, bad_guests, synthetic_guests):
        for vm in guests(3, memory="1000 KiB"):
            assert sum(segment.size for segment in vm.image.segments) == 250
