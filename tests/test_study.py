"""Rows of a study: what is judged, how, and what a row must not claim."""

import json
import math
from typing import Any

import numpy as np
import pytest

from sharesim.study import ROW_FIELDS, Findings, Row


def row(published: float | None, simulated: float | None, **more: Any) -> Row:
    return Row("a source", "a figure", published, simulated, **more)


@pytest.mark.parametrize(
    ("published", "simulated", "more", "verdict"),
    [
        (200, 210, {}, "shown"),
        (200, 210, {"tolerance": 0.06}, "pass"),
        (200, 190, {"tolerance": 0.06}, "pass"),
        (200, 213, {"tolerance": 0.06}, "miss"),
        (-200, -210, {"tolerance": 0.06}, "pass"),
        (200, 210, {"within": 10}, "pass"),
        (200, 210.5, {"within": 10}, "miss"),
        (0, 0.5, {"tolerance": 0.5}, "miss"),
        (0, 0.5, {"within": 0.5}, "pass"),
        (1, 0.2, {"relation": "at most", "within": 0}, "pass"),
        (1, 1.2, {"relation": "at most", "within": 0}, "miss"),
        (1, 1.2, {"relation": "at most", "tolerance": 0.2}, "pass"),
        (80, 95, {"relation": "at least", "within": 0}, "pass"),
        (80, 79, {"relation": "at least", "within": 0}, "miss"),
        (80, 79, {"relation": "at least", "within": 1}, "pass"),
        (80, 79, {"relation": "at least"}, "shown"),
        (7, 7, {"relation": "equal"}, "pass"),
        (7, 8, {"relation": "equal"}, "miss"),
        (7, None, {"relation": "equal"}, "miss"),
        (7, None, {"tolerance": 0.1}, "miss"),
        (7, math.nan, {"tolerance": 0.1}, "miss"),
        (7, 7, {"mark": "memory"}, "shown"),
        (None, 7, {}, "shown"),
    ],
)
def test_verdicts(
    published: float | None, simulated: float | None, more: dict[str, Any], verdict: str
) -> None:
    assert row(published, simulated, **more).verdict == verdict


@pytest.mark.parametrize(
    ("published", "more", "words"),
    [
        (1, {"mark": "memory", "tolerance": 0.5}, "from memory"),
        (1, {"mark": "[memory]", "within": 0.5}, "from memory"),
        (1, {"mark": "memory", "relation": "equal"}, "from memory"),
        (1, {"tolerance": 0.1, "within": 1}, "not both"),
        (1, {"tolerance": -0.1}, "from 0 on"),
        (1, {"within": math.nan}, "from 0 on"),
        (1, {"tolerance": 0.1, "relation": "equal"}, "must be equal"),
        (1, {"relation": "about"}, "no relation 'about'"),
        (None, {"tolerance": 0.1}, "nothing to judge by"),
        (math.inf, {"tolerance": 0.1}, "nothing to judge by"),
    ],
)
def test_rows_that_contradict_themselves(
    published: float | None, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match="a source: a figure") as caught:
        row(published, 1, **more)
    assert words in str(caught.value)


def test_errors_are_relative_where_that_makes_sense() -> None:
    assert row(200, 210).error == pytest.approx(0.05)
    assert row(200, 190, tolerance=0.2).error == pytest.approx(-0.05)
    assert row(0, 210).error is None
    assert row(None, 210).error is None
    assert row(200, None).error is None
    assert row(200, math.inf).error is None
    assert row(200, 210, relation="at most").error is None


def test_rows_are_plain_data() -> None:
    data = row(np.float64(2.5), np.int64(3), tolerance=0.1).to_json()
    assert tuple(data) == ROW_FIELDS
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert (data["published"], data["simulated"], data["verdict"]) == (2.5, 3, "miss")
    assert type(data["simulated"]) is int
    assert row(1, math.nan).to_json()["simulated"] is None


def test_findings_count_their_verdicts() -> None:
    rows = (row(1, 1, tolerance=0), row(1, 2, tolerance=0), row(1, 2), row(None, 2))
    data = Findings("some", "A title", rows, ("a note",), seed=4).to_json()
    assert (data["passed"], data["missed"], data["shown"]) == (1, 1, 2)
    assert (data["name"], data["title"], data["notes"]) == ("some", "A title", ["a note"])
    assert data["seed"] == 4
    assert [one["verdict"] for one in data["rows"]] == ["pass", "miss", "shown", "shown"]
