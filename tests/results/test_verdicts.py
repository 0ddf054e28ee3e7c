"""The table of a study, as a reader sees it."""

from typing import Any

import pytest

from sharesim.results.verdicts import findings_text, total
from sharesim.study import Findings, Row


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def row(source: str, figure: str, *numbers: float | None, **more: Any) -> Row:
    return Row(source, figure, *numbers, **more)


def test_a_table_says_all_of_each_row() -> None:
    rows = (
        row("R1: a paper", "fork", 25.1, 24.0, unit="us", tolerance=0.1),
        row("R1: a paper", "pages", 524_287, 500_000, within=4_000, note="Too few."),
        row(
            "R2: a thesis", "loss", 1, 0.25, unit="%", relation="at most", within=0, mark="claimed"
        ),
        row("R2: a thesis", "guests", None, 4, note="Of ours."),
        row("R2: a thesis", "corrupted", 0, 0, relation="equal", note="Too few."),
        row("R2: a thesis", "later", 3, None),
    )
    text = findings_text(Findings("some", "What it is", rows, ("A note.",)))
    assert text.splitlines() == [
        "some: What it is",
        "",
        "source, figure        published  simulated   error  tolerance  verdict",
        "R1: a paper",
        "  fork                  25.1 us      24 us  -4.4 %      ±10 %  pass",
        "  pages                 524,287    500,000  -4.6 %     ±4,000  miss [1]",
        "R2: a thesis",
        "  loss          ≤ 1 % [claimed]     0.25 %       -          0  pass",
        "  guests                      -          4       -          -  shown [2]",
        "  corrupted                 = 0          0       -      exact  pass [1]",
        "  later                       3          -       -          -  shown",
        "",
        "[1] Too few.",
        "[2] Of ours.",
        "",
        "A note.",
        "",
        "3 pass, 1 miss, 2 shown",
    ]


def test_long_texts_are_folded_below_their_figures() -> None:
    words = "excess of it over the same on a machine without any hypervisor"
    rows = (row(f"R1: {words}, {words}", f"{words}; {words}", 5.0, 4.0, mark="secondary"),)
    text = findings_text(Findings("some", "What it is", rows, (f"{words} " * 4,)))
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("hypervisor") == 2 + 2 + 4
    assert "5 [secondary]" in text


def test_a_long_unit_is_told_once() -> None:
    rows = (row("R1: a paper", "page cache", 0.64, 0.51, unit="of redundant pages", within=0.2),)
    line = findings_text(Findings("some", "What it is", rows)).splitlines()[4]
    assert (
        line == "  page cache, of redundant pages       0.64       0.51  -20.3 %       ±0.2  pass"
    )


def test_an_empty_table_is_no_error() -> None:
    assert "0 pass, 0 miss, 0 shown" in findings_text(Findings("some", "Nothing", ()))


def test_the_total_is_that_of_all_studies() -> None:
    rows = (row("s", "f", 1, 1, tolerance=0), row("s", "f", 1, 1))
    assert total([Findings("a", "", rows), Findings("b", "", rows)]) == "2 pass, 0 miss, 2 shown"
