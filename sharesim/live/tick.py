"""How often a second the kernel's timer ticks, which rounds ksmd's sleep."""

import gzip
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def kernel_hz(release: str, root: Path = Path("/")) -> int | None:
    """CONFIG_HZ of the running kernel, as its configuration says; None where there is none."""
    for text in _configurations(release, root):
        if found := re.search(r"^CONFIG_HZ=(\d+)$", text, re.MULTILINE):
            return int(found[1])
    return None


def _configurations(release: str, root: Path) -> Iterator[str]:
    with suppress(OSError):
        yield gzip.decompress((root / "proc/config.gz").read_bytes()).decode()
    for place in (f"boot/config-{release}", f"lib/modules/{release}/config"):
        with suppress(OSError):
            yield (root / place).read_text()
