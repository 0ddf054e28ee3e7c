"""Where compiled kernels are kept."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import numba
import sharesim.kernel as kernel
print(numba.config.CACHE_DIR == str(kernel.cache_folder()))
"""


def test_the_cache_is_ours_though_numba_was_imported_first(tmp_path: Path) -> None:
    """Else kernels would be kept beside their files, where an edited helper goes unnoticed."""
    surroundings = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    surroundings["SHARESIM_CACHE_DIR"] = str(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=surroundings
    )
    assert run.stdout.strip() == "True", run.stderr
