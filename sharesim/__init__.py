"""sharesim simulates memory sharing between virtual machines on one host.

``from sharesim import Scenario, VM, Host, simulate`` and so on; names are imported when first used,
so that the command line starts quickly.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sharesim.content.capture import Capture, open_capture
    from sharesim.errors import PolicyError, UserError
    from sharesim.results.folder import load_run
    from sharesim.results.run import Run
    from sharesim.sharing.policy import Policy, View
    from sharesim.simulate import simulate
    from sharesim.spec.images import Captured, Numbered, Segment, Segments
    from sharesim.spec.ksm import Knobs, Ksm
    from sharesim.spec.paging import Direct, Native, Nested, PagingSpec, Process, Shadow
    from sharesim.spec.policies import Cbps, Oracle, PolicySpec
    from sharesim.spec.scenario import (
        VM,
        Balloon,
        Costs,
        Host,
        Paravirtual,
        Scanner,
        Scenario,
        Sharing,
    )
    from sharesim.spec.workloads import (
        CpuBound,
        FileReader,
        HotSet,
        Idle,
        PageTableActivity,
        PageTableHeavy,
        Phases,
        RandomAccess,
        Replay,
        Sequential,
        TwoRegions,
        ZipfAccess,
    )
    from sharesim.study import Row, Study
    from sharesim.sweep.sweep import Sweep, load_sweep

_PLACES = {
    "sharesim.content.capture": ("Capture", "open_capture"),
    "sharesim.errors": ("PolicyError", "UserError"),
    "sharesim.results.folder": ("load_run",),
    "sharesim.results.run": ("Run",),
    "sharesim.sharing.policy": ("Policy", "View"),
    "sharesim.simulate": ("simulate",),
    "sharesim.spec.images": ("Captured", "Numbered", "Segment", "Segments"),
    "sharesim.spec.paging": ("Direct", "Native", "Nested", "PagingSpec", "Process", "Shadow"),
    "sharesim.spec.ksm": ("Knobs", "Ksm"),
    "sharesim.spec.policies": ("Cbps", "Oracle", "PolicySpec"),
    "sharesim.spec.scenario": (
        "VM", "Advice", "Balloon", "Costs", "Host", "Paravirtual", "Scanner", "Scenario", "Sharing",
    ),
    "sharesim.spec.workloads": (
        "CpuBound", "FileReader", "HotSet", "Idle", "PageTableActivity", "PageTableHeavy",
        "Phases", "RandomAccess", "Replay", "Sequential", "TwoRegions", "ZipfAccess",
    ),
    "sharesim.study": ("Row", "Study"),
    "sharesim.sweep.sweep": ("Sweep", "load_sweep"),
}  # fmt: skip

_HOMES = {name: place for place, names in _PLACES.items() for name in names}

# Spelled out, so that type checkers and editors know it too.
__all__ = [
    "VM",
    "Advice",
    "Balloon",
    "Capture",
    "Captured",
    "Cbps",
    "Costs",
    "CpuBound",
    "Direct",
    "FileReader",
    "Host",
    "HotSet",
    "Idle",
    "Knobs",
    "Ksm",
    "Native",
    "Nested",
    "Numbered",
    "Oracle",
    "PageTableActivity",
    "PageTableHeavy",
    "PagingSpec",
    "Paravirtual",
    "Phases",
    "Policy",
    "PolicyError",
    "PolicySpec",
    "Process",
    "RandomAccess",
    "Replay",
    "Row",
    "Run",
    "Scanner",
    "Scenario",
    "Segment",
    "Segments",
    "Sequential",
    "Shadow",
    "Sharing",
    "Study",
    "Sweep",
    "TwoRegions",
    "UserError",
    "View",
    "ZipfAccess",
    "load_run",
    "load_sweep",
    "open_capture",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from sharesim.version import package_version

        return package_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'sharesim' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Importing the submodule ``simulate`` must not hide the function of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
