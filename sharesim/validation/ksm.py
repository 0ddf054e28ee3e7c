"""``validate ksm``: recorded cases, simulated and compared with each recorded run of them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from sharesim.content.ksm_case import Case, open_case
from sharesim.content.ksm_repeat import COUNTERS, Repeat
from sharesim.errors import UserError
from sharesim.validation.errors import SUMS, Series, compare
from sharesim.validation.ksm_outcome import KsmOutcome
from sharesim.validation.ksm_replay import (
    Circumstances,
    Replay,
    case_scenario,
    replay,
    sample_times,
)
from sharesim.validation.machine import COSTS
from sharesim.validation.outcome import How

_METADATA = re.compile(r"\.r[0-9]+\.meta\.json$")
"""What lies beside a case and ends in .json, too, so that CASES/*.json may be given."""


def outcomes(paths: Sequence[str], how: How) -> Iterator[KsmOutcome]:
    """Validate the cases, one after the other; see :mod:`sharesim.validation.outcome`."""
    cases = [open_case(path) for path in paths if not _METADATA.search(path)]
    if not cases:
        raise UserError(f"{paths[0]} tells how a repeat was taken; give the case, CASE.json")
    _check_names(cases)
    for case in cases:
        repeats = _live(case, how) if how.live else case.repeats()
        if not repeats:
            raise UserError(
                f"{case.path}: no recording lies beside it ({case.path.stem}.r1.csv.gz);"
                " --live makes one on this machine"
            )
        if case is cases[0]:  # a kernel is loaded when it is first called: that is not to be timed
            _simulate(case, repeats, how)
        notes = tuple(_disturbances(repeats)) if how.live else ()
        yield validate_case(case, repeats, how, notes)


def validate_case(
    case: Case, repeats: Sequence[Repeat], how: How, notes: tuple[str, ...] = ()
) -> KsmOutcome:
    """Simulate a case and compare it with its repeats; ``notes`` are on how those were taken."""
    found = _simulate(case, repeats, how)
    recorded = {repeat.name: Series(repeat.times_ns, repeat.samples) for repeat in repeats}
    errors = {
        counter: compare(found.series, list(recorded.values()), counter)
        for counter in (*COUNTERS, *SUMS)
    }
    return KsmOutcome(
        case, found.series, recorded, errors, found.wall_seconds, found.scan_cpu_seconds, notes
    )


def _simulate(case: Case, repeats: Sequence[Repeat], how: How) -> Replay:
    circumstances = Circumstances.of(repeats[0])
    return replay(
        case_scenario(case, circumstances, costs=how.costs or COSTS),
        sample_times(case, repeats, circumstances.hz),
        lambda now: _tell(how, case.name, now, case.duration_ns),
    )


def _live(case: Case, how: How) -> tuple[Repeat, ...]:
    """Run a case against this machine's kernel, several times; it takes as long as it lasts."""
    from sharesim.live.replay import replay as replay_live

    made = []
    for number in range(1, how.repeats + 1):
        about = f"{case.name}: live, {number} of {how.repeats}"
        repeat = replay_live(case, force=how.force, progress=partial(_tell, how, about))
        made.append(replace(repeat, name=f"live{number}"))
    return tuple(made)


def _tell(how: How, about: str, now: int, end: int) -> None:
    how.tell(f"{about}: {now / 1e9:.1f} of {end / 1e9:g} s")


def _disturbances(repeats: Sequence[Repeat]) -> Iterator[str]:
    """What spoiled live repeats, in words."""
    from sharesim.live.replay import disturbances

    for repeat in repeats:
        for found in disturbances(repeat):
            yield f"{repeat.name} was disturbed: {found}"


def _check_names(cases: Sequence[Case]) -> None:
    names = [case.name for case in cases]
    for case in cases:
        if names.count(case.name) > 1:
            raise UserError(f"{case.path}: another case is named '{case.name}', too")
