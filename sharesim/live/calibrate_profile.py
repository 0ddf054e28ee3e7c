"""From what was measured to a cost profile: primitives, and the text of a TOML file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sharesim.live.calibrate_figures import Figures, Measured
from sharesim.spec.costs import PRIMITIVES

BASE = "linux-6.18"
"""The shipped profile that a measured one inherits what it cannot measure from."""

_RENAMED = {
    "native_fault": "first_read",
    "entry_zap": "ksm_unmap",
    "vcpu_switch": "switch",
    "flush_per_cpu": "flush",
    "flush_target": "flush_loss",
}
"""Primitives that are measured as they are, under another name; most have their own."""

_NO_HYPERVISOR = "between processes there is nothing of the kind"
_INSIDE = "not to be told apart from outside the kernel"
_REASONS = {
    **dict.fromkeys(
        ("exit", "hypercall", "event", "switch_direct", "switch_shadow"), _NO_HYPERVISOR
    ),
    **dict.fromkeys(("walk_nested", "walk_nested_block"), _NO_HYPERVISOR),
    **dict.fromkeys(("frame_alloc", "entry_update", "entry_protect", "rmap_step"), _INSIDE),
    **dict.fromkeys(("walk_native", "walk_native_block", "lock_hold"), _INSIDE),
    "ksm_warm_pages": "the fit takes it as given",
}
_REASONS_BY_PREFIX = {
    "bounce_": _NO_HYPERVISOR,
    "pt_": _NO_HYPERVISOR,
    "shadow_": _NO_HYPERVISOR,
    "foreign_": _NO_HYPERVISOR,
    "balloon_": _NO_HYPERVISOR,
}
_NO_MEASUREMENT = "there is no measurement of it"


@dataclass(frozen=True)
class Estimate:
    """A primitive of this machine."""

    ns: int
    mark: str
    source: str
    spread: float
    """Of the samples that it comes from: see :attr:`Measured.spread`."""


def primitives(figures: Figures, base: Mapping[str, int]) -> dict[str, Estimate]:
    """What the figures say of primitives; those that a derived one needs come from ``base``.

    A fault or merge as a whole is what was measured, and what the simulator has to come to; so the
    part that cannot be measured by itself is what is left of it. In the order of `PRIMITIVES`.
    """
    found = {key: _plain(figures[_RENAMED.get(key, key)]) for key in PRIMITIVES
             if _RENAMED.get(key, key) in figures}  # fmt: skip
    _keep_cold_above_hot(found)
    if "flush_per_cpu" in found:
        found["flush_base"] = Estimate(0, "derived", "all of it is in flush_per_cpu", 0.0)
    for key, of, less in _remainders(figures):
        known = {name: found[name].ns if name in found else base[name] for name in base}
        taken = sum(known[name] for name in less)
        found[key] = _remainder(figures[of], taken, less)
    return {key: found[key] for key in PRIMITIVES if key in found}


def _plain(figure: Measured) -> Estimate:
    count = len(figure.samples)
    several = f"; median of {count} samples, spread {figure.spread:.0%}" if count > 1 else ""
    source = figure.how + several
    return Estimate(max(0, round(figure.value)), "measured", source, figure.spread)


def _keep_cold_above_hot(found: dict[str, Estimate]) -> None:
    """Of a slow function the two are equal but for noise."""
    for key, cold in found.items():
        hot = found.get(key.replace("_cold", "_hot"))
        if key.endswith("_cold") and hot is not None and cold.ns < hot.ns:
            source = f"{cold.source}; raised to the hot figure"
            found[key] = Estimate(hot.ns, cold.mark, source, cold.spread)


_FAULT = ("native_fault", "frame_alloc", "entry_update")
_REMAP = ("rmap_step", "entry_protect", "rmap_step", "entry_update", "frame_free")
"""What the simulator charges for protecting and remapping a page, beside what the policy says."""


def _remainders(figures: Figures) -> list[tuple[str, str, tuple[str, ...]]]:
    """(primitive, the whole that was measured, what else is in it), in an order that can be done.

    The parts are those of :mod:`sharesim.hypervisor.fault` and :mod:`sharesim.hypervisor.merge`
    under the paging mode "process".
    """
    broken = "ksm_break" if "ksm_break" in figures else "fork_break"
    wanted = [
        ("frame_free", "unmap", ("entry_zap",)),
        ("zero_fill_cold", "first_write", _FAULT),
        ("violation_handler", broken, (*_FAULT, "copy_cold")),
        ("ksm_merge_stable", "ksm_merge_stable", (*_REMAP, "compare_equal_hot")),
        (
            "ksm_merge_pair",
            "ksm_merge_pair",
            (*_REMAP, "compare_equal_hot", "rmap_step", "entry_protect"),
        ),
        ("ksm_merge_zero", "ksm_merge_zero", (*_REMAP, "zero_check_hot")),
    ]
    return [one for one in wanted if one[1] in figures]


def _remainder(whole: Measured, taken: int, less: tuple[str, ...]) -> Estimate:
    left = max(0, round(whole.value) - taken)
    parts = ", ".join(dict.fromkeys(less))
    source = f"{whole.how}: {whole.value:.0f} ns, spread {whole.spread:.0%}, less {parts}"
    if whole.value < taken:
        source += ", which come to more"
    return Estimate(left, "derived", source, whole.spread)


def further(figures: Figures, found: Mapping[str, Estimate]) -> Figures:
    """What was measured beyond the primitives: wholes, and figures of interest."""
    used = {_RENAMED.get(key, key) for key in found}
    derived = {key for key, estimate in found.items() if estimate.mark == "derived"}
    return {key: figure for key, figure in figures.items() if key not in used - derived}


def not_measured(found: Mapping[str, Estimate], why_not: Mapping[str, str]) -> dict[str, list[str]]:
    """Primitives that are inherited, by the reason. ``why_not``: by what a key begins with."""
    reasons: dict[str, list[str]] = {}
    for key in PRIMITIVES:
        if key not in found:
            reasons.setdefault(_reason(key, why_not), []).append(key)
    return reasons


def _reason(key: str, why_not: Mapping[str, str]) -> str:
    by_prefix = {**why_not, **_REASONS_BY_PREFIX}
    matching = (reason for prefix, reason in by_prefix.items() if key.startswith(prefix))
    return _REASONS.get(key) or next(matching, _NO_MEASUREMENT)


def toml_text(
    name: str,
    description: str,
    found: Mapping[str, Estimate],
    also: Figures,
    missing: Mapping[str, list[str]],
) -> str:
    """A file that ``--costs`` takes: one profile, with comments on what is not in it."""
    lines = [
        "# Costs of one machine, measured by `sharesim calibrate`; use them with --costs FILE.",
        "",
        f"[profiles.{_quoted(name)}]",
        f"description = {_quoted(description)}",
        f"inherits = {_quoted(BASE)}",
    ]
    for key, one in found.items():
        entry = f"ns = {one.ns}, mark = {_quoted(one.mark)}, source = {_quoted(one.source)}"
        lines.append(f"{key} = {{ {entry} }}")
    if also:
        lines += ["", "# Measured as well; no primitive by itself:"]
        lines += [
            f"#   {key}: {one.value:.0f} ns; {one.how}; spread {one.spread:.0%}"
            for key, one in also.items()
        ]
    for reason, keys in missing.items():
        lines += ["", f"# Inherited, for {reason}:", f"#   {', '.join(keys)}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's are such strings."""
    return json.dumps(text, ensure_ascii=False)
