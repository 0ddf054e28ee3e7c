"""Equal scenarios give equal results, whatever the process; and random ones keep all invariants."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sharesim.resolve import resolve
from sharesim.results.run import Run
from sharesim.simulate import simulate
from sharesim.spec.scenario import Scenario
from tests.random_scenarios import random_scenario

ROOT = Path(__file__).parents[2]
PART = 10
SUBPROCESS_SEEDS = (1, 4, 5)


def digest(run: Run) -> str:
    """A hash of all results of a run."""
    parts = [json.dumps(run.summary, sort_keys=True), run.timeline.to_csv(), run.events.to_csv()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@pytest.mark.parametrize("part", range(10))
def test_random_scenarios_keep_all_invariants_and_repeat(part: int) -> None:
    for seed in range(part * PART, (part + 1) * PART):
        scenario = random_scenario(seed)
        assert digest(simulate(scenario)) == digest(simulate(scenario)), f"seed {seed}"


def test_random_scenarios_are_not_all_alike() -> None:
    runs = [simulate(random_scenario(seed)) for seed in range(40)]
    counters = [run.summary["counters"] for run in runs]
    for name in (
        "merges", "zero_merges", "merge_aborted", "false_matches", "ineligible", "cow_breaks",
        "zero_breaks", "reuses", "populates", "refills", "wrong_merges", "flushes", "lock_waits",
        "hidden_faults", "shadow_evictions", "pt_hypercalls", "pt_pins", "updates_refused",
        "offers_refused", "offers_expired", "offers_dropped", "offers_shared", "upcalls",
        "breaks_without_copy",
    ):  # fmt: skip
        assert any(counter[name] for counter in counters), name
    assert len({digest(run) for run in runs}) == len(runs)
    for entry in ("ballooned_pages", "unpopulated_pages"):
        assert any(run.summary["memory"][entry] for run in runs)


@pytest.mark.parametrize("seed", range(30))
def test_a_scenario_survives_json(seed: int) -> None:
    scenario = random_scenario(seed)
    again = Scenario.from_json(scenario.to_json())
    assert again == scenario
    resolved = resolve(scenario)
    assert Scenario.from_json(resolved.to_json()) == resolved
    assert resolve(resolved) == resolved


@pytest.mark.parametrize("seed", SUBPROCESS_SEEDS)
def test_what_was_resolved_and_written_gives_the_same_results(seed: int) -> None:
    scenario = random_scenario(seed)
    again = Scenario.from_json(resolve(scenario).to_json())
    assert digest(simulate(again)) == digest(simulate(scenario))


def test_another_seed_is_another_run() -> None:
    scenario = random_scenario(5, sharing=True)
    other = scenario.model_copy(update={"seed": scenario.seed + 1})
    assert digest(simulate(scenario)) != digest(simulate(other))


PROGRAM = """
import sys
from tests.properties.test_determinism import SUBPROCESS_SEEDS, digest
from tests.random_scenarios import random_scenario
from sharesim.simulate import simulate
for seed in SUBPROCESS_SEEDS:
    print(digest(simulate(random_scenario(seed))))
"""


@pytest.mark.parametrize("hash_seed", ["0", "1", "31337"])
def test_another_process_and_hash_seed_give_the_same_results(hash_seed: str) -> None:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    expected = [digest(simulate(random_scenario(seed))) for seed in SUBPROCESS_SEEDS]
    assert result.stdout.split() == expected
