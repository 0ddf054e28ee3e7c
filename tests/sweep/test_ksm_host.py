"""The lines for a host's KSM: complete, and in an order that a kernel takes."""

import pytest

from sharesim.live.sysfs import DEFAULTS
from sharesim.spec.ksm import Knobs, Ksm
from sharesim.sweep.ksm_host import KNOBS, SYSFS, host_lines


class Kernel:
    """The files of ``/sys/kernel/mm/ksm`` with the refusals that its documentation names."""

    def __init__(self, *, merged: bool = True) -> None:
        self.files = dict(DEFAULTS)
        self.merged = merged

    def run(self, line: str) -> None:
        """A line for a shell."""
        echo, value, arrow, path = line.split()
        assert (echo, arrow) == ("echo", ">")
        folder, _, name = path.rpartition("/")
        assert folder == SYSFS and name in self.files
        if name == "max_page_sharing" and self.merged:
            raise OSError("EBUSY")
        if name == "pages_to_scan" and self.files["advisor_mode"] != "none":
            raise OSError("EINVAL")
        if name == "run":
            self.merged = value == "1"
        self.files[name] = value


def written(policy: Ksm, *others: Ksm) -> dict[str, str]:
    """All files of a host after the lines for a policy."""
    kernel = Kernel()
    for line in host_lines(policy, [policy, *others]).lines:
        kernel.run(line)
    return kernel.files


def test_only_what_differs_from_the_kernels_own() -> None:
    assert host_lines(Ksm(pages_to_scan=1250)).lines == (
        f"echo 1250 > {SYSFS}/pages_to_scan",
        f"echo 1 > {SYSFS}/run",
    )


def test_what_was_varied_is_written_even_at_its_default() -> None:
    lines = host_lines(Ksm(smart_scan=True), [Ksm(smart_scan=False), Ksm(smart_scan=True)]).lines
    assert lines == (f"echo 1 > {SYSFS}/smart_scan", f"echo 1 > {SYSFS}/run")


@pytest.mark.parametrize(
    "policy",
    [
        Ksm(pages_to_scan=5000, sleep_millisecs=0, use_zero_pages=True, smart_scan=False),
        Ksm(max_page_sharing=64, stable_node_chains_prune_millisecs=100),
        Ksm(advisor_mode="scan-time", advisor_target_scan_time=60, advisor_max_cpu=20,
            advisor_min_pages_to_scan=100, advisor_max_pages_to_scan=9000),
        Ksm(advisor_mode="scan-time", pages_to_scan=77, max_page_sharing=16),
    ],
)  # fmt: skip
def test_a_kernel_takes_the_lines_and_is_then_set_so(policy: Ksm) -> None:
    files = written(policy)
    advised = policy.advisor_mode != "none"
    for name in KNOBS:
        if name == "pages_to_scan" and advised:
            continue
        value = getattr(policy, name)
        assert files[name] == (str(int(value)) if isinstance(value, bool) else str(value)), name


def test_an_advisor_that_was_tried_is_switched_off_before_pages_to_scan() -> None:
    best, other = Ksm(pages_to_scan=500), Ksm(advisor_mode="scan-time")
    lines = host_lines(best, [best, other]).lines
    names = [line.rpartition("/")[2] for line in lines]
    assert names == ["advisor_mode", "pages_to_scan", "run"]


def test_knobs_are_those_of_a_kernel_and_of_the_policy() -> None:
    assert set(KNOBS) == set(DEFAULTS) - {"merge_across_nodes"} == set(Knobs.model_fields)
    for name in set(KNOBS) - {"run"}:
        value = Ksm.model_fields[name].default
        assert DEFAULTS[name] == (str(int(value)) if isinstance(value, bool) else str(value))


def test_what_no_line_can_say_is_said() -> None:
    found = host_lines(Ksm(unstable="set", checksum_first=False, max_page_sharing=8))
    told = " ".join(found.remarks)
    assert "takes apart what is merged" in told
    assert "unstable='tree'" in told and "6.11" in told
    assert "advisor sets pages_to_scan" in " ".join(
        host_lines(Ksm(advisor_mode="scan-time")).remarks
    )
