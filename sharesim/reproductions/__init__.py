"""Published results as studies: what ``sharesim reproduce`` can run.

Each module has a function ``study`` that makes its :class:`~sharesim.study.Study`. Other packages
add theirs as entry points of the group ``sharesim.reproductions``, which name such a function.
"""

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from sharesim.errors import UserError, nearest
from sharesim.study import Study

BUILT_IN = (
    "xen2003", "passes", "collisions", "duplicates", "thesis", "ksm_delays", "ksm_statistics",
    "ksm_smart_scan", "ksm_advisor", "ksm_xlh",
)  # fmt: skip
"""Modules of this package, in the order in which they are run."""
GROUP = "sharesim.reproductions"


class BrokenPluginError(UserError):
    """What another package registered does not load."""


def names() -> list[str]:
    """All known reproductions, the built-in ones first; none of them is imported."""
    return [*BUILT_IN, *_plugins()]


def load(name: str) -> Study:
    """The study of that name. Raises UserError where there is none, or BrokenPluginError."""
    if name in BUILT_IN:
        built_in: Study = import_module(f"{__name__}.{name}").study()
        return built_in
    plugins = _plugins()
    if name not in plugins:
        raise UserError(f"there is no reproduction '{name}'{nearest(name, names())}")
    try:
        study = plugins[name].load()()
        if not isinstance(study, Study):
            raise TypeError(f"it gave a value of type {type(study).__name__}, no Study")
    except Exception as error:  # a plug-in may fail in any way
        problem = f"{type(error).__name__}: {error}"
        raise BrokenPluginError(f"reproduction '{name}' does not load: {problem}") from None
    return study


def _plugins() -> dict[str, EntryPoint]:
    """By name; a plug-in cannot take the place of a built-in one."""
    points = entry_points(group=GROUP)
    return {point.name: point for point in points if point.name not in BUILT_IN}
