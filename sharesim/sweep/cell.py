"""One run of a sweep, made wherever a worker is: from a job's text into the store."""

import gc
import json
import socket
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal

from sharesim.errors import UserError
from sharesim.resolve import resolve
from sharesim.results.folder import DiskError, Folder
from sharesim.results.load import SCENARIO_FILE, SUMMARY_FILE
from sharesim.results.part import Measured
from sharesim.results.provenance import Stopwatch
from sharesim.results.summary import summarise
from sharesim.simulate import Simulation
from sharesim.spec.scenario import Scenario
from sharesim.spec.script import find_code_in
from sharesim.sweep.store import CODE, PAIRS, PART_FILE, RUNS, Store
from sharesim.version import MODEL_VERSION

Outcome = Literal["done", "failed", "unpaired"]


class UnpairedError(Exception):
    """A pair that a run is compared with is not in the store, or damaged."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to know: plain data, no code, so that it can be on any machine."""

    key: str
    label: str
    """``"with sharing"``; of a pair ``"P1"`` or ``"P0"``."""
    scenario: Mapping[str, Any]
    """The resolved scenario."""
    pairs: Mapping[str, str] = field(default_factory=dict)
    """Labels and keys of the stored pairs that the run is compared with."""
    name: str = ""
    """What messages call it."""
    command: tuple[str, ...] = ()

    def to_text(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @property
    def kind(self) -> str:
        """The folder of the store that it goes to."""
        return PAIRS if self.label in ("P1", "P0") else RUNS


def run_cell(place: str, text: str) -> Outcome:
    """Make a run and store it, or store why it failed.

    ``"unpaired"`` tells that a pair has to be made first. Raises DiskError where nothing can be
    stored, and KeyboardInterrupt: then nothing is known of the run and it is still to be made.
    """
    job, store = Job(**json.loads(text)), Store(place)
    if not store.exists():
        raise DiskError(
            f"{place}: there is no such sweep on {socket.gethostname()}: all workers need to see"
            " its folder under the same path"
        )
    try:
        scenario = _scenario(job, store)
        with store.new_result(job.kind, job.key) as folder:
            _run_into(folder, scenario, job, store)
        return "done"
    except DiskError:
        raise
    except UnpairedError:
        return "unpaired"
    except Exception as error:  # the user's code may raise anything; the sweep goes on
        store.write_failure(job.key, failure(error, job.name))
        return "failed"
    finally:
        _collect()


def failure(error: BaseException, name: str) -> dict[str, Any]:
    """What is kept of an error."""
    return {
        "run": name,
        "type": type(error).__name__,
        "message": str(error) or type(error).__name__,
        "traceback": "".join(traceback.format_exception(error)),
    }


def _collect() -> None:
    """Free the machine's tables, which are large, and in cycles."""
    gc.collect()
    _spare_the_collector()


@cache
def _spare_the_collector() -> None:
    """What is there after a first run are imports, which stay: it need not look through them."""
    gc.freeze()


def _scenario(job: Job, store: Store) -> Scenario:
    find_code_in(store.place / CODE)
    scenario = resolve(Scenario.from_json(json.dumps(job.scenario), job.name))
    if scenario.key(MODEL_VERSION) != job.key:
        raise UserError(
            f"{job.name}: here it resolves to another scenario: this worker has another version of"
            " sharesim, of its cost profiles or of what the scenario names"
        )
    return scenario


def _run_into(folder: Folder, scenario: Scenario, job: Job, store: Store) -> None:
    watch = Stopwatch()
    with folder.disk_errors():
        run = Simulation(
            scenario,
            label=job.label,
            with_opportunity=job.kind == RUNS,
            folder=folder.path,
        )
        run.run()
    if run.partial:
        raise KeyboardInterrupt
    folder.write_text(SCENARIO_FILE, scenario.to_json())
    if job.kind == PAIRS:
        folder.write_text(PART_FILE, json.dumps(run.part.to_json()))
    else:
        pairs, failed = _pairs(job, store)
        summary = summarise(scenario, run.part, pairs, partial=False, failed=failed)
        folder.write_json(SUMMARY_FILE, summary)
    folder.write_json("provenance.json", watch.provenance(job.command, None))


def _pairs(job: Job, store: Store) -> tuple[dict[str, Measured], dict[str, str]]:
    """The pairs as they were stored, and why there are none of the others."""
    found: dict[str, Measured] = {}
    failed: dict[str, str] = {}
    for label, key in job.pairs.items():
        part = store.read_part(key)
        if part is not None:
            found[label] = part
            continue
        why = store.read_failure(key)
        if why is None:
            store.discard(PAIRS, key)
            raise UnpairedError(key)
        failed[label] = str(why["message"])
    return found, failed
