"""(c) Bytes of the simulator's memory for each simulated page, policy included."""

import json
import re
import sys
from pathlib import Path

from benchmarks import cases
from benchmarks.measure import Figure, at_most, build
from benchmarks.processes import python
from sharesim.machine.tables import resident_bytes
from sharesim.spec.scenario import Scenario

GUEST = "4 GiB"


def run(quick: bool) -> list[Figure]:
    """A guest of 4 GiB, one frame a page, scanned once; measured in a process of its own."""
    size = "1 GiB" if quick else GUEST
    answer = json.loads(python("-m", "benchmarks.memory", size))
    pages = cases.pages(size)
    figures = []
    if "resident" in answer:
        note = f"growth of the resident set of a process with one guest of {size}, once scanned"
        figures.append(at_most("resident", answer["resident"] / pages, "bytes/page", 48, note))
        note = "the most it ever had, above what it had before the guest was laid out"
        figures.append(Figure("peak", answer["peak"] / pages, "bytes/page", note=note))
    note = "the arrays themselves: pages, frames, attention bits, the policy's state and table"
    figures.append(at_most("tables", answer["tables"] / pages, "bytes/page", 48, note))
    return figures


def _scenario(size: str, milliseconds: int) -> Scenario:
    return cases.scanning(size, milliseconds)


def _status(field: str) -> int | None:
    """Bytes in a field of the kernel's report on this process; None where there is none."""
    report = Path("/proc/self/status")
    if not report.exists():
        return None
    found = re.search(rf"^{field}:\s*(\d+) kB", report.read_text(), re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def measure(size: str) -> dict[str, int]:
    """The figures, in this process: call it in a fresh one."""
    build(_scenario("4 MiB", 20)).run()  # kernels are loaded, libraries imported
    before = _status("VmRSS")
    visit_ns = 5_500  # a little more than a visit costs: the pass must be complete
    simulation = build(_scenario(size, cases.pages(size) * visit_ns // 1_000_000))
    simulation.run()
    engine = simulation.engine
    assert engine.scanner is not None
    if engine.scanner.driver.scanned < cases.pages(size):
        raise AssertionError(f"only {engine.scanner.driver.scanned} pages were scanned")
    tables = [engine.policy.page, engine.policy.table]
    answer = {"tables": resident_bytes(engine.memory) + sum(table.nbytes for table in tables)}
    after, peak = _status("VmRSS"), _status("VmHWM")
    if before is not None and after is not None and peak is not None:
        answer.update(resident=after - before, peak=peak - before)
    return answer


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
