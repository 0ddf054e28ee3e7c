"""What --vary and --zip are read as, and what they are refused for."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharesim.errors import UserError
from sharesim.spec.parameters import Parameter
from sharesim.spec.script import Target
from sharesim.spec.units import Time
from sharesim.sweep.vary import Range, Values, grid, parse_vary

ANNOTATIONS: dict[str, tuple[Any, Any]] = {
    "vms": (int, 4),
    "rate": (int, 1000),
    "share": (float, 0.5),
    "verify": (bool, True),
    "order": (Literal["linear", "random"], "linear"),
    "width": (Literal[8, 16, 64], 8),
    "duration": (str, "30 s"),
    "every": (Time, 1),
    "limit": (int | None, None),
    "sizes": (list[int], [1]),
    "spots": (tuple[int, ...] | None, None),
}
TARGET = Target(
    Path("some.py"),
    "some",
    parameters={name: Parameter(name, *rest) for name, rest in ANNOTATIONS.items()},
    function=lambda: None,
)


def values(text: str) -> tuple[Any, ...]:
    (axis,) = parse_vary(TARGET, [text])
    assert isinstance(axis, Values)
    return axis.values


def scale(text: str) -> str:
    (axis,) = parse_vary(TARGET, [text])
    assert isinstance(axis, Values)
    return axis.scale


def refusal(*texts: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_vary(TARGET, texts)
    return str(caught.value)


# Lists


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("vms=2,4,8", (2, 4, 8)),
        ("vms=8, 2 ,4", (8, 2, 4)),
        ("vms=4", (4,)),
        ("rate=1e3,5_000", (1000, 5000)),
        ("share=0.1,1", (0.1, 1.0)),
        ("verify=yes,no", (True, False)),
        ("order=random,linear", ("random", "linear")),
        ("width=64,8", (64, 8)),
        ("duration=10 s,2 min", ("10 s", "2 min")),
        ("duration=a:b", ("a:b",)),
        ("every=1 ms,20 us", (1_000_000, 20_000)),
        ("limit=none,5", (None, 5)),
        (" vms =2,2", (2, 2)),
    ],
)
def test_a_list_has_values_of_the_annotation(text: str, wanted: tuple[Any, ...]) -> None:
    found = values(text)
    assert found == wanted
    assert [type(one) for one in found] == [type(one) for one in wanted]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("vms=1,2,4,6", "linear"),
        ("vms=1,2,4,16", "linear"),
        ("rate=100,10000", "log"),
        ("rate=1,2,5,10,20,50", "log"),
        ("rate=10000,1000,100", "log"),
        ("rate=10,20,30,40,50,300", "log"),
        ("rate=1,10,20,30,40,50", "linear"),
        ("rate=0,10,1000", "linear"),
        ("rate=7", "linear"),
        ("rate=100,100,10000", "log"),
        ("width=8,64", "category"),
        ("order=linear,random", "category"),
        ("verify=true,false", "category"),
        ("limit=none,1,100", "category"),
    ],
)
def test_the_scale_of_a_list(text: str, wanted: str) -> None:
    assert scale(text) == wanted


# Ranges


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rate=0:100:5", (0, 25, 50, 75, 100)),
        ("rate=0:100:linear:3", (0, 50, 100)),
        ("vms=1:4:7", (1, 2, 3, 4)),  # 1.5, 2.5 and 3.5 are rounded to even
        ("vms=-2:2:step:2", (-2, 0, 2)),
        ("rate=0:100:step:30", (0, 30, 60, 90)),
        ("rate=1:1000:log:4", (1, 10, 100, 1000)),
        ("rate=100:100000:log:3", (100, 3162, 100000)),
        ("rate=1:3:log:9", (1, 2, 3)),
        ("rate=1e3:1e5:log:3", (1000, 10000, 100000)),
        ("share=0.1:0.5:5", (0.1, 0.2, 0.3, 0.4, 0.5)),
        ("share=0:1:step:0.1", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)),
        ("share=0.001:1:log:4", (0.001, 0.01, 0.1, 1.0)),
        ("share=.5 : +1 : 2", (0.5, 1.0)),
        ("every=1 ms:3 ms:3", (1_000_000, 2_000_000, 3_000_000)),
        ("every=1 us:100 us:step:40 us", (1_000, 41_000, 81_000)),
        ("limit=1:3:3", (1, 2, 3)),
    ],
)
def test_a_range_has_values(text: str, wanted: tuple[Any, ...]) -> None:
    found = values(text)
    assert found == wanted
    assert [type(one) for one in found] == [type(one) for one in wanted]
    assert scale(text) == ("log" if ":log:" in text else "linear")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("rate=100:1000", Range("rate", 100, 1000, log=False, integer=True)),
        ("rate=100:1000:linear", Range("rate", 100, 1000, log=False, integer=True)),
        ("rate=100:1000:log", Range("rate", 100, 1000, log=True, integer=True)),
        ("share=0:1", Range("share", 0.0, 1.0, log=False, integer=False)),
        ("every=1 ms:1 s:log", Range("every", 10**6, 10**9, log=True, integer=True)),
        ("limit=1:8", Range("limit", 1, 8, log=False, integer=True)),
    ],
)
def test_a_range_without_a_count_is_open(text: str, wanted: Range) -> None:
    assert parse_vary(TARGET, [text]) == (wanted,)


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6), st.integers(2, 40))
def test_linear_ranges_of_whole_numbers(low: int, width: int, count: int) -> None:
    found = values(f"rate={low}:{low + width}:{count}")
    assert (found[0], found[-1]) == (low, low + width)
    assert len(found) == min(count, len(set(found)))
    exact = [low + width * number / (count - 1) for number in range(count)]
    assert all(min(abs(one - place) for place in exact) <= 0.5 for one in found)
    assert all(after > before for before, after in pairwise(found))


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e6), st.integers(2, 40))
def test_logarithmic_ranges_have_equal_ratios(low: float, ratio: float, count: int) -> None:
    high = low * ratio
    found = values(f"share={low!r}:{high!r}:log:{count}")
    assert (found[0], found[-1]) == (low, high)
    assert len(found) == count
    wanted = (high / low) ** (1 / (count - 1))
    assert all(math.isclose(b / a, wanted, rel_tol=1e-9) for a, b in pairwise(found))


# Refusals


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vms", "--vary vms: write it as --vary NAME=a,b,c"),
        ("=2,4", "write it as"),
        ("rat=1,2", "some.py has no parameter 'rat'; did you mean 'rate'?"),
        ("vms=", "--vary vms=: found no values"),
        ("vms=1,,2", "--vary vms=1,,2: found an empty value"),
        ("vms=1,x", "--vary vms=1,x: found 'x'; a whole number is needed"),
        ("order=lineal", "--vary order=lineal: found 'lineal'; one of linear, random is needed"),
        ("vms=5:5:3", "5 is not below 5"),
        ("vms=5:1", "5 is not below 1"),
        ("limit=1:none:3", "1 is not below none"),
        ("vms=1:x:3", "found 'x'; a whole number"),
        ("vms=:5:3", "found an empty value"),
        ("vms=1.5:5:3", "found '1.5'; a whole number"),
        ("rate=0:5:log:3", "a logarithmic range begins above 0; found 0"),
        ("rate=-1:5:log", "a logarithmic range begins above 0; found -1"),
        ("vms=1:5:1", "found '1' for how many values; a whole number from 2"),
        ("vms=1:5:-3", "found '-3' for how many"),
        ("vms=1:5:2.5", "found '2.5' for how many"),
        ("vms=1:5:", "found '' for how many"),
        ("rate=1:5:log:", "found '' for how many"),
        ("vms=1:5:lg:3", "'lg' is no kind of range; did you mean 'log'?"),
        ("vms=1:5:3:log", "too many colons"),
        ("vms=1:5:log:3:4", "too many colons"),
        ("vms=1:5:step", "the step is missing"),
        ("vms=1:5:step:0", "a step is above 0; found 0"),
        ("vms=1:5:step:0.5", "found '0.5'; a whole number"),
        ("vms=1:5:step:9", "a step of 9 is more than the whole range"),
        ("rate=0:10000000:step:1", "10,000,001 values; 1,000,000 are the most"),
        ("rate=1:5:2000000", "2,000,000 values; 1,000,000 are the most"),
        ("order=1:5:3", "a range needs a number, and order is linear | random"),
        ("duration=1 s:10 s:3", "a range needs a number, and duration is str; list the values"),
        ("verify=0:1", "a range needs a number, and verify is bool"),
        ("sizes=1,2", "values of type list[int] cannot be varied"),
        ("sizes=[1,2],[3]", "values of type list[int] cannot be varied"),
        ("spots=1,2", "cannot be varied"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    assert words in refusal(text)


def test_a_parameter_is_varied_once() -> None:
    assert "--vary vms=3: vms is given twice" in refusal("vms=1,2", "rate=1,2", "vms=3")


def test_a_finished_scenario_has_nothing_to_vary() -> None:
    finished = Target(Path("scenario.json"), "it", text="{}")
    with pytest.raises(UserError, match=r"--vary vms: scenario.json is a finished scenario"):
        parse_vary(finished, ["vms=1,2"])


# Grids


def test_a_grid_has_all_combinations_the_first_parameter_slowest() -> None:
    axes = parse_vary(TARGET, ["vms=8,2", "verify=true,false"])
    assert grid(axes) == [
        {"vms": 8, "verify": True},
        {"vms": 8, "verify": False},
        {"vms": 2, "verify": True},
        {"vms": 2, "verify": False},
    ]


def test_a_grid_of_nothing_is_one_point() -> None:
    assert grid([]) == [{}]


def test_zipped_parameters_go_together() -> None:
    axes = parse_vary(TARGET, ["vms=1,2", "verify=yes,no", "rate=10:30:3", "share=0.1,0.2"])
    points = grid(axes, [["share", "vms"]])
    assert len(points) == 2 * 2 * 3
    assert {(one["vms"], one["share"]) for one in points} == {(1, 0.1), (2, 0.2)}
    assert points[:2] == [
        {"vms": 1, "verify": True, "rate": 10, "share": 0.1},
        {"vms": 1, "verify": True, "rate": 20, "share": 0.1},
    ]
    assert all(list(one) == ["vms", "verify", "rate", "share"] for one in points)


def test_a_point_comes_once() -> None:
    axes = parse_vary(TARGET, ["vms=2,2,4", "rate=1,1,3"])
    assert len(grid(axes)) == 4
    assert grid(axes, [["vms", "rate"]]) == [{"vms": 2, "rate": 1}, {"vms": 4, "rate": 3}]


@pytest.mark.parametrize(
    ("zipped", "words"),
    [
        ([["vms"]], "--zip vms: give two or more different parameters"),
        ([["vms", "vms"]], "give two or more different"),
        ([["vms", "rat"]], "--zip vms,rat: 'rat' is not varied; did you mean 'rate'?"),
        (
            [["vms", "share"]],
            "they need equally many values; vms has 2, share has 3",
        ),
        ([["vms", "rate"], ["verify", "vms"]], "--zip verify,vms: vms is zipped already"),
    ],
)
def test_what_cannot_be_zipped(zipped: list[list[str]], words: str) -> None:
    axes = parse_vary(TARGET, ["vms=1,2", "rate=1,2", "verify=yes,no", "share=0:1:3"])
    with pytest.raises(UserError) as caught:
        grid(axes, zipped)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rate=100:1000:log", "--vary rate=100:1000:log: how many values? Add their number, as"
         " rate=100:1000:log:8, or draw points from the range with --sample N"),
        ("share=0:0.5", "as share=0.0:0.5:8"),
    ],
)  # fmt: skip
def test_a_grid_needs_counts(text: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        grid(parse_vary(TARGET, [text]))
    assert words in str(caught.value)


def test_a_grid_has_a_million_points_at_most() -> None:
    axes = parse_vary(TARGET, ["vms=1:1001:step:1", "rate=1:1000:step:1"])
    with pytest.raises(UserError, match="1,001,000 points; 1,000,000 are the most"):
        grid(axes)
