"""The notebook of figures runs from its first cell to its last, and shows what it showed."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed (extra 'test')")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (extra 'test')")
pytest.importorskip("ipykernel", reason="ipykernel is not installed (extra 'test')")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "analysis" / "figures.ipynb"
MOST_BYTES = 600_000
LONGEST_CELL_S = 300
"""The first cell makes its sweeps, and compiles the kernels where nobody has yet."""


def code_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: Any) -> str:
    """What a cell printed: its tables."""
    return "".join(one.text for one in cell.outputs if one.output_type == "stream")


def shown(cell: Any) -> list[str]:
    """The kinds of what a cell shows, such as pictures."""
    return sorted(kind for one in cell.outputs for kind in one.get("data", {}))


@pytest.fixture(scope="module")
def stored() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.mark.filterwarnings("ignore")  # of the kernel's libraries
def test_it_runs_and_prints_the_same(stored: Any, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "scenarios", tmp_path / "scenarios")
    (tmp_path / "analysis").mkdir()
    again = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": str(tmp_path / "analysis")}}
    nbclient.NotebookClient(again, timeout=LONGEST_CELL_S, resources=where).execute()
    for before, after in zip(code_of(stored), code_of(again), strict=True):
        assert printed(after) == printed(before), before.source
        assert shown(after) == shown(before), before.source


def test_it_is_stored_as_it_ran(stored: Any) -> None:
    cells = code_of(stored)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    pictures = [kind for cell in cells for kind in shown(cell) if kind == "image/png"]
    assert len(pictures) == 6
    assert not [one for cell in cells for one in cell.outputs if one.output_type == "error"]
    assert NOTEBOOK.stat().st_size < MOST_BYTES


def test_it_tells_neither_when_nor_where_it_ran(stored: Any) -> None:
    assert all(not cell.metadata for cell in stored.cells)
    assert set(stored.metadata) == {"kernelspec", "language_info"}
    shown_as_text = [
        one.get("text") or one.data["text/plain"]
        for cell in code_of(stored)
        for one in cell.outputs
    ]
    told = re.compile(r"/(home|root|tmp|usr|work)/|\d\d:\d\d:\d\d|20\d\d-\d\d")
    assert not told.search("\n".join(shown_as_text))
