"""Compiled kernels: one place that decides how Numba compiles and where it caches.

Numba stamps a cached kernel with the date of the file that holds it, so a helper edited in another
file would go unnoticed. The cache therefore lives in a folder named by a hash of all kernel sources
and of the flags that change what is compiled (bounds checks are not part of Numba's own key).
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

_PACKAGE = Path(__file__).parent


_COMPILED = ("machine", "guest", "hypervisor", "sharing", "content", "results/opportunity.py",
             "kernel.py", "prefetch.py")  # fmt: skip
"""Where kernels are, and the constants that are frozen into their machine code."""


def _sources_digest() -> str:
    digest = hashlib.sha256()
    for part in _COMPILED:
        for path in sorted([_PACKAGE / part, *(_PACKAGE / part).rglob("*.py")]):
            if path.is_file():
                digest.update(path.relative_to(_PACKAGE).as_posix().encode())
                digest.update(path.read_bytes())
    digest.update(os.environ.get("NUMBA_BOUNDSCHECK", "").encode())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where compiled kernels of this very version of the sources are kept."""
    import platformdirs

    root = os.environ.get("SHARESIM_CACHE_DIR") or platformdirs.user_cache_dir("sharesim")
    return Path(root) / f"kernels-{_sources_digest()}"


os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder()))

import numba  # noqa: E402  (the cache folder must be known first)

numba.core.config.reload_config()  # numba may have been imported before, by a notebook say

Number = Any
"""An integer in a kernel, Python's or NumPy's: Numba infers which, and kernels take both."""
Row = Any
"""A record of a structured array."""

_F = TypeVar("_F", bound=Callable[..., Any])

JIT = not numba.config.DISABLE_JIT
"""False under NUMBA_DISABLE_JIT=1: kernels then run as plain Python, slowly, for debugging."""


def njit(function: _F) -> _F:
    """Compile on first use and cache; IEEE arithmetic, no parallel code, no exceptions.

    Without Numba's reference counting: kernels work on tables that their caller holds, and counting
    references to a dozen arrays at each helper would take nine tenths of an access. A kernel that
    allocates does not compile like this; see :func:`njit_allocating`.
    """
    compiled: _F = numba.njit(cache=True, error_model="numpy", _nrt=False)(function)
    return compiled


def njit_inline(function: _F) -> _F:
    """As :func:`njit`, inlined wherever it is called.

    A call hands every table over by value, some hundred words; a helper of a hot loop that takes
    several tables costs more to call than to run.
    """
    compiled: _F = numba.njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)(
        function
    )
    return compiled


def njit_allocating(function: _F) -> _F:
    """As :func:`njit`, for the few kernels that make arrays."""
    compiled: _F = numba.njit(cache=True, error_model="numpy")(function)
    return compiled
