"""Values of parameters, read from the text after ``--set name=``."""

import inspect
from typing import Any, Literal, Optional

import pytest

from sharesim.errors import UserError
from sharesim.spec.parameters import Parameter, parameter_of, parse_value, type_text
from sharesim.spec.units import Size, Time


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (int, "5", 5),
        (int, "5_000", 5000),
        (int, "5e3", 5000),
        (int, " -2 ", -2),
        (int, "123456789012345678901", 123456789012345678901),
        (float, "0.5", 0.5),
        (float, "1e-3", 0.001),
        (float, "5_000", 5000.0),
        (bool, "yes", True),
        (bool, "False", False),
        (str, "20 ms", "20 ms"),
        (str, "7", "7"),
        (str, "a=b", "a=b"),
        (Literal["linear", "random"], "random", "random"),
        (Literal[1, 2], "2", 2),
        (int | None, "none", None),
        (int | None, "4", 4),
        (Optional[str], "none", None),  # noqa: UP045
        (str | int, "4", 4),
        (str | int, "four", "four"),
        (Time, "20 ms", 20_000_000),
        (Size | None, "1 MiB", 256),
        (list[int], "[1, 2]", [1, 2]),
        (tuple[str, ...], "a, b", ("a", "b")),
    ],
)
def test_values(annotation: Any, text: str, value: Any) -> None:
    found = parse_value(Parameter("one", annotation, None), text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text", "words"),
    [
        (int, "1.5", "'1.5'; a whole number"),
        (int, "five", "'five'; a whole number"),
        (int, "", "''; a whole number"),
        (int, "1e999999999", "a whole number"),
        (float, "nan", "'nan'; a number"),
        (float, "fast", "'fast'; a number"),
        (bool, "maybe", "'maybe'; true or false"),
        (Literal["linear", "random"], "rand", "did you mean 'random'"),
        (int | None, "x", "'x'; int or none"),
        (Time, "20 mss", "a time ends in one of"),
        (list[int], "a, b", "'a, b'"),
        (object(), "x", "cannot be given as text"),
    ],
)
def test_refusals(annotation: Any, text: str, words: str) -> None:
    with pytest.raises(UserError, match=r"^--set one: ") as caught:
        parse_value(Parameter("one", annotation, None), text)
    assert words in str(caught.value)


def test_types_read_as_one_would_write_them() -> None:
    assert type_text(int) == "int"
    assert type_text(Literal["a", "b"]) == "a | b"
    assert type_text(float | None) == "float | none"
    assert type_text(tuple[int, ...]) == "tuple[int, ...]"
    assert type_text(Time) == "int"


def test_a_parameter_needs_annotation_and_default() -> None:
    def function(good: int = 3, bare=4, *, needed: int) -> None: ...  # type: ignore[no-untyped-def]

    parameters = inspect.signature(function).parameters
    assert parameter_of(parameters["good"], "help", "here").default == 3
    with pytest.raises(UserError, match=r"here: parameter 'bare' has no annotation"):
        parameter_of(parameters["bare"], "", "here")
    with pytest.raises(UserError, match=r"here: parameter 'needed' has no default"):
        parameter_of(parameters["needed"], "", "here")
