"""The gallery's pictures are those that its commands make."""

import re
import shlex
from pathlib import Path

import pytest

from analysis.sweep_pictures import DRAWN, IMAGES, MADE, is_made
from tests.results.sweeps import grid, make_sweep

PAGE = (Path(__file__).parents[2] / "docs" / "gallery.md").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Each command of the page, in words."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("command", [*MADE.values(), *DRAWN.values()])
def test_commands_that_make_the_pictures_are_on_the_page(command: str) -> None:
    assert shlex.split(command) in commands()


def test_pictures_are_there_and_on_the_page() -> None:
    shown = set(re.findall(r"\(images/([\w-]+)\.png\)", PAGE))
    assert set(DRAWN) <= shown
    assert all((IMAGES / f"{name}.png").is_file() for name in shown)
    assert all(set(DRAWN[name].split()) & set(MADE) for name in DRAWN)


def test_an_unfinished_sweep_is_not_taken_for_made(tmp_path: Path) -> None:
    make_sweep(tmp_path / "half", grid(scan_rate=(1, 2)), missing=[(2, 3)])
    make_sweep(tmp_path / "whole", grid(scan_rate=(1, 2)))
    assert not is_made(tmp_path / "half") and is_made(tmp_path / "whole")
    assert not is_made(tmp_path / "nothing")
