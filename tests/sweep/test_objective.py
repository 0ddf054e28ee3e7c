"""What a search is asked for, as it is typed."""

import math

import pytest

from sharesim.errors import UserError
from sharesim.sweep.objective import Question, parse_constraint, parse_question


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("overhead <= 0.02", 0.02),
        ("overhead<=2%", 0.02),
        ("overhead <= 2.5 %", 0.025),
        ("cpu_excess < 150%", 1.5),
        ("saved_mib >= 64", 64.0),
        ("saved >= 64 MiB", 64.0),
        ("saved_mib >= 1 GiB", 1024.0),
        ("memory.saved_pages > 1 MiB", 256.0),
        ("time_to_90_s <= 1500 ms", 1.5),
        ("scanner.cpu_ns <= 2 s", 2e9),
        ("throughput >= 1_000", 1000.0),
        ("saved_mib >= -1.5e1", -15.0),
        ("throughput >= 90 operations/s", 90.0),
    ],
)
def test_limits_are_in_the_unit_of_their_metric(text: str, limit: float) -> None:
    assert parse_constraint(text).limit == pytest.approx(limit, rel=1e-12)


@pytest.mark.parametrize(
    ("operator", "holds"),
    [("<=", (1, 1, 0)), ("<", (1, 0, 0)), (">=", (0, 1, 1)), (">", (0, 0, 1))],
)
def test_operators(operator: str, holds: tuple[int, int, int]) -> None:
    limit = parse_constraint(f"saved_mib {operator} 10")
    values = (9.0, 10.0, 11.0)
    assert tuple(int(limit.holds(value)) for value in values) == holds
    for value in values:  # a sampler tells by the sign alone
        assert (limit.excess(value) > 0) == (not limit.holds(value))


def test_excess_is_a_share_of_the_limit() -> None:
    assert parse_constraint("overhead <= 2%").excess(0.03) == pytest.approx(0.5)
    assert parse_constraint("overhead <= 2%").excess(0.01) == pytest.approx(-0.5)
    assert parse_constraint("corrupted_pages <= 0").excess(3.0) == 3.0
    assert parse_constraint("saved_mib >= 10").excess(math.nan) == math.inf


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("overhead", "write it as a metric, an operator and a number"),
        ("overhead <=", "write it as a metric"),
        ("overhead == 2%", "found operator '=='"),
        ("overhead =< 2%", "found operator '=<'"),
        ("overhed <= 2%", "did you mean 'overhead'?"),
        ("overhead <= two", "found 'two'; a number is needed"),
        ("overhead <= 2", "2 would be 200 %; write 2% or 0.02 for 2 %"),
        ("overhead <= 2 MiB", "overhead is a share"),
        ("saved_mib >= 2%", "saved_mib is a size in MiB"),
        ("saved_mib >= 2 s", "saved_mib is a size in MiB"),
        ("time_to_90_s <= 2 weeks", "ends in one of"),
        ("cow_breaks <= 2 MiB", "a number without unit"),
        ("throughput >= 2%", "throughput is in operations/s"),
        ("saved_mib >= 1e999", "a smaller number"),
    ],
)
def test_wrong_limits_are_named(text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        parse_constraint(text)
    assert told in str(error.value)
    assert str(error.value).startswith(f'--subject-to "{text}"')


def test_a_question() -> None:
    question = parse_question(["saved"], [], ["overhead <= 2%", "cow_breaks < 5"])
    assert question.text == "maximize saved_mib, subject to overhead <= 2% and cow_breaks < 5"
    assert question.metrics == ("saved_mib", "overhead", "cow_breaks")
    assert question.feasible({"saved_mib": 1.0, "overhead": 0.02, "cow_breaks": 4.0})
    assert not question.feasible({"saved_mib": 1.0, "overhead": 0.02, "cow_breaks": 5.0})


def test_two_objectives() -> None:
    question = parse_question(["saved_mib"], ["overhead"], [])
    assert [one.sign for one in question.objectives] == [1, -1]
    assert isinstance(question, Question)


@pytest.mark.parametrize(
    ("maximize", "minimize", "told"),
    [
        ([], [], "nothing to search for"),
        (["saved_mb"], [], "--maximize saved_mb: no metric 'saved_mb'; did you mean 'saved_mib'?"),
        (["saved_mib", "realised"], ["overhead"], "found 3 objectives"),
        (["saved_mib"], ["saved"], "saved_mib is an objective twice"),
    ],
)
def test_wrong_objectives_are_named(maximize: list[str], minimize: list[str], told: str) -> None:
    with pytest.raises(UserError) as error:
        parse_question(maximize, minimize, [])
    assert told in str(error.value)
