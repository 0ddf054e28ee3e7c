"""Every scenario that comes with sharesim runs, keeps the invariants and says what it takes."""

from pathlib import Path
from typing import Any

import pytest

from sharesim.simulate import simulate
from sharesim.spec.scenario import Scenario
from sharesim.spec.script import Target, load_target

FOLDER = Path(__file__).parents[2] / "scenarios"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if not load_target(path).is_study)
"""Studies have tests of their own."""
SHORT: dict[str, dict[str, Any]] = {
    "quickstart": {"duration": "600 ms", "vms": 2, "scan_rate": 40_000},
    "good_conditions": {"duration": "1 s", "scan_rate": 40_000},
    "bad_conditions": {"duration": "1 s", "scan_rate": 40_000},
    "synthetic": {"duration": "1 s", "scan_rate": 40_000},
    "frozen": {},
    "upper_bound": {"duration": "1 s", "vms": 2},
    "lmbench": {"length": 500},
    "ksm_host": {"duration": "1 s", "pages_to_scan": 5_000, "guests": 3, "memory": 16},
    "two_designs": {"duration": "1 s", "warmup": "0 s", "scan_rate": 40_000},
}


def script(name: str) -> Target:
    """The target of a shipped scenario script."""
    return load_target(FOLDER / f"{name}.py")


def test_each_script_is_tried() -> None:
    assert sorted(SHORT) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_keeps_the_invariants(name: str) -> None:
    scenario = script(name).build(SHORT[name]).model_copy(update={"check": True})
    summary = simulate(scenario).summary
    assert not summary["partial"]
    assert summary["counters"]["corrupted_pages"] == 0
    saved, best = (summary["memory"][f"{what}_pages"] for what in ("saved", "opportunity"))
    assert 0 < saved <= best * 1.05 if scenario.shares else saved == 0


@pytest.mark.parametrize("name", NAMES)
def test_its_help_names_every_parameter(name: str) -> None:
    target = script(name)
    assert target.help
    for parameter in target.parameters.values():
        assert parameter.help, parameter.name


@pytest.mark.parametrize("name", NAMES)
def test_it_is_plain_data(name: str) -> None:
    scenario = script(name).build(SHORT[name])
    assert Scenario.from_json(scenario.to_json()) == scenario


@pytest.mark.parametrize("vms", [1, 4, 6, 8])
def test_the_quickstart_has_more_to_run_than_cpus(vms: int) -> None:
    scenario = script("quickstart").build({"vms": vms})
    vcpus = sum(vm.vcpus for vm in scenario.vms)
    assert vcpus >= scenario.host.cpus
    assert vcpus + 1 > scenario.host.cpus
    assert scenario.baseline
    assert len({vm.name for vm in scenario.vms}) == len(scenario.vms) == vms + 2


def test_conditions_are_what_they_are_called() -> None:
    saved, breaks = {}, {}
    for name in ("good_conditions", "bad_conditions"):
        scenario = script(name).build({"duration": "2 s", "scan_rate": 40_000})
        summary = simulate(scenario.model_copy(update={"baseline": False})).summary
        saved[name] = summary["memory"]["saved_pages"]
        breaks[name] = summary["counters"]["cow_breaks"]
    assert saved["good_conditions"] > 2 * saved["bad_conditions"]
    assert breaks["bad_conditions"] > 10 * breaks["good_conditions"]


@pytest.mark.parametrize("common", [0.0, 0.5, 1.0])
def test_synthetic_memory_is_equal_by_the_measure_asked_for(common: float) -> None:
    settings = {"common": common, "zero": 0.0, "duplicate": 0.0, "write_rate": 0.0, "vms": 3}
    scenario = script("synthetic").build(
        {**settings, "memory": "4 MiB", "duration": "500 ms", "scan_rate": 20_000}
    )
    memory = simulate(scenario.model_copy(update={"baseline": False})).summary["memory"]
    assert memory["saved_pages"] == 2 * round(common * 1024)
