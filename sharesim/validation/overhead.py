"""``validate overhead``: what ksmd costs closed-loop workers, by simulation and as recorded."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sharesim.content.overhead_case import OverheadCase, Variant, chosen_cases, read_cases
from sharesim.errors import UserError, nearest
from sharesim.machine.tables import CAUSES
from sharesim.resolve import resolve
from sharesim.simulate import Simulation
from sharesim.spec.costs import PRIMITIVES
from sharesim.spec.scenario import Costs
from sharesim.validation.machine import COSTS, CPUS
from sharesim.validation.outcome import How
from sharesim.validation.overhead_figures import Figures, Result, results
from sharesim.validation.overhead_outcome import Comparison, OverheadOutcome
from sharesim.validation.overhead_picture import overview
from sharesim.validation.overhead_recorded import Recordings, read_recordings
from sharesim.validation.overhead_rules import REFILL_PAGE_NS, cache_effect, shares_cpu
from sharesim.validation.overhead_session import Session, build_session, worker_name

__all__ = ["outcomes", "overview", "validate_case"]

Tell = Callable[[int], None]
_LOST = tuple(cause for cause in CAUSES if cause != "work")


def outcomes(paths: Sequence[str], how: How) -> Iterator[OverheadOutcome]:
    """Validate the cases of these files, one after the other."""
    if not paths:
        raise UserError("validate overhead: give a file of cases, CASES.json, with --live as well")
    for path in paths:
        cases = chosen_cases(read_cases(path), how.cases)
        recordings = read_recordings(Path(path), cases)
        for case, variants in _wanted(cases, how.variants):
            if how.live:
                from sharesim.live.overhead import record

                live = record(case, variants, how)
                recordings = recordings.with_live(
                    case, live.windows, live.worker_ns, os.cpu_count() or CPUS
                )
            yield validate_case(case, recordings, how, variants)


def _wanted(
    cases: Sequence[OverheadCase], names: Sequence[str]
) -> Iterator[tuple[OverheadCase, tuple[Variant, ...]]]:
    """The cases with the variants asked for; all of them where none is named."""
    known = {variant.name for case in cases for variant in case.variants}
    for name in names:
        if name not in known:
            raise UserError(f"no variant '{name}'{nearest(name, known)}")
    for case in cases:
        chosen = tuple(one for one in case.variants if not names or one.name in names)
        if chosen:
            yield case, chosen


def validate_case(
    case: OverheadCase,
    recordings: Recordings,
    how: How,
    variants: Sequence[Variant] | None = None,
) -> OverheadOutcome:
    """Simulate a case and compare each variant with its recording, where there is one."""
    chosen = case.variants if variants is None else variants
    costs = how.costs or COSTS
    cache = recordings.machine.cache_pages or primitive(costs, "cache_pages")
    operation_ns, origin = recordings.operation_ns(case, cache)

    def run(costs: Costs, what: str) -> dict[str, Result]:
        session = build_session(
            case,
            operation_ns,
            variants=chosen,
            rounds=how.rounds or case.rounds,
            cpus=recordings.machine.cpus or CPUS,
            costs=costs,
        )
        return results(simulated(session, lambda now: how.tell(_progress(session, what, now))))

    effect = cache_effect(case, operation_ns, cache)
    plain = run(costs, "")
    term: Mapping[str, Result] = {}
    if effect is not None and any(shares_cpu(case, worker) for worker in case.workers):
        term = run(with_interference(costs), ", with the interference term")
    recorded = recordings.of(case)
    return OverheadOutcome(
        case,
        tuple(
            Comparison(case.name, one, plain[one], recorded.get(one), effect, term.get(one))
            for one in (variant.name for variant in chosen)
        ),
        operation_ns,
        origin,
    )


def _progress(session: Session, what: str, now: int) -> str:
    of = session.scenario.duration / 1e9
    return f"{session.case.name}{what}: {now / 1e9:.1f} of {of:.1f} s"


def primitive(costs: Costs, key: str) -> int:
    """A primitive as costs have it."""
    from sharesim.spec.costs import load_profile

    assert key in PRIMITIVES
    if costs.table is not None:
        return costs.table[key]
    return costs.override.get(key, load_profile(costs.profile).ns(key))


def with_interference(costs: Costs) -> Costs:
    """The same costs, with a figure for evicted cache lines unless they have one."""
    each = primitive(costs, "interference_page") or REFILL_PAGE_NS
    if costs.table is not None:
        return costs.model_copy(update={"table": costs.table | {"interference_page": each}})
    return costs.model_copy(update={"override": costs.override | {"interference_page": each}})


def simulated(session: Session, tell: Tell = lambda _now: None) -> list[Figures]:
    """Run a session, and read each window."""
    simulation = Simulation(resolve(session.scenario), with_opportunity=False)
    figures = []
    for window in session.windows:
        begin = _reading(simulation, window.measured)
        end = _reading(simulation, window.end)
        figures.append(_figures(session, window.variant, begin, end))
        tell(window.end)
    return figures


def _reading(simulation: Simulation, time: int) -> dict[str, dict[str, Any]]:
    """All counters at a time, at the last sync quantum before it."""
    quantum = simulation.scenario.sync_quantum
    assert quantum is not None
    moment = time // quantum * quantum
    simulation.advance(moment)
    simulation.engine.drain()
    simulation.recorder.sample(moment)
    simulation.recorder.rows.clear()
    return simulation.recorder.last


def _figures(
    session: Session,
    variant: str,
    begin: Mapping[str, Mapping[str, Any]],
    end: Mapping[str, Mapping[str, Any]],
) -> Figures:
    elapsed = end["host"]["time_ns"] - begin["host"]["time_ns"]
    workers = [worker_name(number) for number in range(len(session.case.workers))]

    def rate(entity: str, metric: str) -> float:
        """Per ns."""
        return float(end[entity][metric] - begin[entity][metric]) / elapsed

    def workers_rate(metric: str) -> float:
        return sum(rate(name, metric) for name in workers)

    return Figures(
        variant=variant,
        operations_s=1e9 * workers_rate("operations"),
        worker_share=workers_rate("cpu_ns"),
        ksmd_share=rate("host", "cpu_scanner_ns"),
        ksmd_wait_share=rate("ksm", "scanner_wait_ns"),
        batches_s=1e9 * rate("ksm", "batches"),
        pages_scanned_s=1e9 * rate("ksm", "pages_scanned"),
        breaks_s=1e9 * rate("ksm", "cow_ksm"),
        lost={cause: workers_rate(f"{cause}_ns") / len(workers) for cause in _LOST},
    )
