"""Sizes of pictures: what is accepted, and that words fit."""

import pytest

from sharesim.errors import UserError
from sharesim.results.sizes import (
    COLUMN,
    PAGE,
    SCREEN,
    Size,
    balanced,
    inches_of,
    parse_size,
    wrapped,
)


def test_sizes_have_names_or_inches() -> None:
    assert [parse_size(name) for name in ("column", "page", "screen")] == [COLUMN, PAGE, SCREEN]
    assert parse_size("5") == Size(5.0)
    assert parse_size("5x3.25") == Size(5.0, 3.25)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colunm", "did you mean 'column'"),
        ("5 by 3", "such as 5 or 5x3.2"),
        ("-5", "found '-5'"),
        ("1", "widths from 2.5 to 40"),
        ("5x90", "widths from 2.5 to 40"),
    ],
)
def test_other_sizes_are_user_errors(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_size(text)


def test_panels_are_stretched_to_a_height_and_refused_where_it_is_none() -> None:
    assert Size(7.0).stretch([2.0, 1.0], 1.5) == 1.0
    assert Size(7.0, 7.5).stretch([2.0, 1.0], 1.5) == 2.0
    with pytest.raises(UserError, match=r"height of 2 inches; 2 panels need at least 2\.9"):
        Size(7.0, 2.0).stretch([2.0, 1.0], 1.5)


def test_words_are_broken_into_lines_that_fit() -> None:
    text = "pages to scan per second, over all guests, as fast as the host allows"
    lines = wrapped(text, 8.0, 1.6).split("\n")
    assert " ".join(lines) == text
    assert len(lines) > 2 and all(inches_of(line, 8.0) <= 1.6 for line in lines)
    even = balanced(text, 8.0, 1.6).split("\n")
    assert len(even) == len(lines)
    assert max(len(line) for line in even) <= max(len(line) for line in lines)
