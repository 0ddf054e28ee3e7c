"""``from sharesim import ...``"""

import subprocess
import sys

import pytest

import sharesim


def test_every_public_name_is_there() -> None:
    for name in sharesim.__all__:
        assert getattr(sharesim, name) is not None
    assert set(sharesim.__all__) <= set(dir(sharesim))
    assert sharesim.__version__


def test_the_lazy_names_are_the_public_ones() -> None:
    assert sorted(sharesim._HOMES) == sorted(sharesim.__all__)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Scenery'"):
        _ = sharesim.Scenery  # type: ignore[attr-defined]


def test_simulate_is_the_function_whoever_imports_its_module() -> None:
    code = (
        "import sharesim.simulate; from sharesim.simulate import Moment;"
        "from sharesim import simulate; assert callable(simulate), simulate"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
