"""A setting of the simulated KSM as what to write on a host: lines for ``/sys/kernel/mm/ksm``."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sharesim.spec.ksm import Ksm

SYSFS = "/sys/kernel/mm/ksm"

KNOBS = (
    "max_page_sharing",
    "stable_node_chains_prune_millisecs",
    "use_zero_pages",
    "smart_scan",
    "advisor_target_scan_time",
    "advisor_min_pages_to_scan",
    "advisor_max_pages_to_scan",
    "advisor_max_cpu",
    "sleep_millisecs",
    "advisor_mode",
    "pages_to_scan",
    "run",
)
"""Files of a host's KSM in the order in which a kernel takes them.

While anything is merged it refuses ``max_page_sharing``; under an advisor it refuses
``pages_to_scan``, which the advisor sets, from ``advisor_min_pages_to_scan`` on; ``run`` starts it.
"""

_MODEL_ONLY = {
    "unstable": "the kernel has the tree that writes disorder (unstable='tree'), no ideal set",
    "checksum_first": "the order of ksmd's tests is the kernel's: checksum first since Linux 6.11",
    "ksmd_cpu_before": "the CPU time that ksmd has used before cannot be set",
    "changes": "knobs that the scenario changes in the course of the run are not among the lines",
}
"""Parameters that no host has a file for, and what that means."""


@dataclass(frozen=True)
class HostLines:
    """What to write on a host, in this order, as root."""

    lines: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    """What the lines cannot say."""


def host_lines(policy: Ksm, others: Sequence[Ksm] = ()) -> HostLines:
    """The lines for a policy: knobs that are not the kernel's own defaults, or that were varied.

    ``others`` are the policies of all settings that were tried: what differs among them was varied,
    whatever the parameters of the script are called. ``run`` is always there; it starts ksmd.
    """
    varied = {
        name
        for name in type(policy).model_fields
        if any(getattr(one, name) != getattr(policy, name) for one in others)
    }
    told = {name for name in type(policy).model_fields if not _is_default(policy, name)} | varied
    wanted = _needed(policy, told)
    lines = [f"echo {_text(getattr(policy, name))} > {SYSFS}/{name}" for name in wanted]
    if "max_page_sharing" in wanted:  # only changes while nothing is merged
        lines.insert(0, f"echo 2 > {SYSFS}/run")
    return HostLines(tuple(lines), tuple(_remarks(policy, wanted, told)))


def _needed(policy: Ksm, told: Collection[str]) -> list[str]:
    """Knobs to write, in the kernel's order."""
    advised = policy.advisor_mode != "none"
    left_out = {"pages_to_scan"} if advised else {n for n in KNOBS if n.startswith("advisor_")}
    if "advisor_mode" in told:
        left_out.discard("advisor_mode")
    return [name for name in KNOBS if name == "run" or (name in told and name not in left_out)]


def _remarks(policy: Ksm, wanted: Collection[str], told: Collection[str]) -> list[str]:
    found = []
    if "max_page_sharing" in wanted:
        found.append(
            "the first line takes apart what is merged: the kernel changes max_page_sharing only"
            " while nothing is"
        )
    if policy.advisor_mode != "none":
        found.append("the advisor sets pages_to_scan itself (Linux 6.8 or later)")
    elif "pages_to_scan" in wanted and "advisor_mode" not in wanted:
        found.append(
            "where the advisor is on (Linux 6.8 or later), switch it off first:"
            f" echo none > {SYSFS}/advisor_mode"
        )
    if "smart_scan" in wanted:
        found.append("smart_scan needs Linux 6.7 or later; kernels before skip no pages")
    return found + [text for name, text in _MODEL_ONLY.items() if name in told]


def _is_default(policy: Ksm, name: str) -> bool:
    return bool(getattr(policy, name) == type(policy).model_fields[name].default)


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
