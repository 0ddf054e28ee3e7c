"""From a scenario as written to one that says everything: sizes, costs, quantum, data hashes."""

import hashlib
import inspect
from collections import Counter
from pathlib import Path
from typing import Any

from sharesim.content.capture import open_capture
from sharesim.content.ksm_case import open_case
from sharesim.errors import UserError, nearest
from sharesim.guest.layout import image_pages
from sharesim.spec.base import Member
from sharesim.spec.costs import PRIMITIVES, load_profile
from sharesim.spec.images import Captured, Scripted
from sharesim.spec.scenario import VM, Costs, Scenario, size_problem
from sharesim.spec.units import show_size, show_time

MOST_SAMPLES = 200_000
"""Of a run: more would take longer than what they look at."""

_QUANTUM_STEPS = tuple(
    digit * 10**power for power in range(0, 12) for digit in (1, 2, 5)
)  # 1, 2, 5, 10 ... ns


def resolve(scenario: Scenario) -> Scenario:
    """A scenario whose run needs nothing that is not in it; resolving twice changes nothing.

    Raises UserError for what does not fit together, and for a capture or code that is not what it
    was when the scenario was resolved before.
    """
    vms = _resolve_clones(tuple(_resolve_vm(vm) for vm in scenario.vms))
    guests = sum(vm.memory or 0 for vm in vms)
    held = sum(held_frames(scenario.model_copy(update={"vms": vms})).values())
    need = guests + scenario.host.reserve + held
    memory = scenario.host.memory or need
    if memory < need and not scenario.host.overcommit:
        raise UserError(f"host.memory: {size_problem(need, memory)}")
    host = scenario.host.model_copy(
        update={"memory": memory, "costs": _resolve_costs(scenario.host.costs)}
    )
    scenario = scenario.model_copy(update={"vms": vms, "host": host})
    quantum = _resolve_quantum(scenario, guests)
    sample = scenario.sample_every or max(1, scenario.duration // 200)
    sample = max(quantum, -(-sample // quantum) * quantum)
    if scenario.duration // sample > MOST_SAMPLES:
        least = show_time(-(-scenario.duration // MOST_SAMPLES))
        raise UserError(
            f"sample_every: found {show_time(sample)}; at most {MOST_SAMPLES} samples are"
            f" taken: give at least {least}"
        )
    if -(-scenario.warmup // quantum) * quantum >= scenario.duration:
        raise UserError(
            f"warmup: in whole sync quanta ({show_time(quantum)}) it is as long as the duration"
        )
    return scenario.model_copy(
        update={
            "sync_quantum": quantum,
            "warmup": -(-scenario.warmup // quantum) * quantum,
            "sample_every": sample,
            "captures": _hashes_of_captures(scenario),
            "code": _hashes_of_code(scenario),
        }
    )


def _resolve_vm(vm: VM) -> VM:
    size = image_pages(vm.image)
    if vm.memory is None:
        if vm.clone_of is not None:
            return vm
        if size == 0:
            raise UserError(f"VM '{vm.name}': memory: give its size, as in memory='1 GiB'")
        vm = vm.model_copy(update={"memory": size})
    _check_advice(vm)
    assert vm.memory is not None
    if vm.memory < size:
        raise UserError(
            f"VM '{vm.name}': memory: found {show_size(vm.memory)}; its image alone has"
            f" {show_size(size)}"
        )
    return vm


def _check_advice(vm: VM) -> None:
    for number, advice in enumerate(vm.advice):
        end = advice.start + (advice.size or 1)
        if end > (vm.memory or 0):
            raise UserError(
                f"VM '{vm.name}': advice.{number}: found an end of {show_size(end)}; the VM has"
                f" {show_size(vm.memory or 0)}"
            )


def _resolve_clones(vms: tuple[VM, ...]) -> tuple[VM, ...]:
    """A clone has its parent's size, starts after it and while it is there."""
    resolved: dict[str, VM] = {}
    for vm in vms:
        if vm.clone_of is not None:
            parent = resolved[vm.clone_of]
            if vm.memory is None:
                vm = vm.model_copy(update={"memory": parent.memory})
            if vm.memory != parent.memory:
                raise UserError(
                    f"VM '{vm.name}': memory: found {show_size(vm.memory or 0)}; a clone is as"
                    f" large as the VM it is a clone of ({show_size(parent.memory or 0)})"
                )
            if vm.start < parent.start or (parent.stop is not None and vm.start >= parent.stop):
                raise UserError(f"VM '{vm.name}': start: '{parent.name}' is not running then")
        resolved[vm.name] = vm
    return tuple(resolved.values())


def held_frames(scenario: Scenario) -> dict[str, int]:
    """Frames that sharing and paging hold themselves, by what they are for; VMs resolved."""
    held = Counter[str]()
    for vm in scenario.vms:
        held.update(scenario.paging.held_pages(vm.memory or 0, vm.vcpus))
    if scenario.shares and scenario.sharing is not None:
        guests = sum(vm.memory or 0 for vm in scenario.vms)
        held["policy_table"] = -(-scenario.sharing.policy.held_bytes(guests) // 4096)
    return dict(held)


def _resolve_costs(costs: Costs) -> Costs:
    if costs.table is not None:
        missing = sorted(set(PRIMITIVES) - set(costs.table))
        if missing:
            raise UserError(f"host.costs.table: misses {', '.join(missing)}")
        return costs
    profile = load_profile(costs.profile)
    table = profile.table()
    marks = {
        key: f"{figure.mark}, {figure.profile}: {figure.source}"
        for key, figure in sorted(profile.figures.items())
    }
    for key, ns in costs.override.items():
        if key not in PRIMITIVES:
            raise UserError(f"host.costs.override: no primitive '{key}'{nearest(key, PRIMITIVES)}")
        table[key] = ns
        marks[key] = "given in the scenario"
    return costs.model_copy(update={"table": table, "marks": marks})


def _resolve_quantum(scenario: Scenario, guests: int) -> int:
    """The default is at most 1 % of the shortest interaction interval; above 25 % is refused."""
    intervals = {"time slice": scenario.host.time_slice}
    if scenario.shares and scenario.sharing is not None:
        intervals |= scenario.sharing.policy.intervals(guests, scenario.host.tick)
    shortest = min(intervals, key=lambda name: intervals[name])
    limit = intervals[shortest]
    if scenario.sync_quantum is None:
        allowed = [step for step in _QUANTUM_STEPS if step <= max(1, limit // 100)]
        return allowed[-1]
    if scenario.mode == "decoupled" and scenario.sync_quantum * 4 > limit and limit > 4:
        raise UserError(
            f"sync_quantum: found {show_time(scenario.sync_quantum)}; that is more than a quarter"
            f" of the {shortest} ({show_time(limit)}), at which results are wrong: give at most"
            f" {show_time(max(1, limit // 4))}, or 1 % of it for results within 1 % of exact mode"
        )
    return scenario.sync_quantum


def _hashes_of_captures(scenario: Scenario) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for vm in scenario.vms:
        if isinstance(vm.image, Captured):
            hashes[vm.image.capture] = open_capture(vm.image.capture).sha256
        if isinstance(vm.image, Scripted):
            hashes[vm.image.script] = open_case(vm.image.script).sha256
    for name, before in scenario.captures.items():
        if hashes.get(name, before) != before:
            raise UserError(
                f"capture '{name}': its contents are not those this scenario was resolved with"
                f" (SHA-256 {hashes[name][:12]}..., was {before[:12]}...)"
            )
    return hashes


def _members(value: Any) -> list[Member]:
    found = [value] if isinstance(value, Member) else []
    if hasattr(value, "model_fields_set"):
        for name in type(value).model_fields:
            found += _members(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            found += _members(item)
    return found


def _hashes_of_code(scenario: Scenario) -> dict[str, str]:
    """Hash of the source file of each member that is not sharesim's own."""
    hashes: dict[str, str] = {}
    for member in _members(scenario):
        module = type(member).__module__
        if module.split(".")[0] == "sharesim":
            continue
        try:
            source = inspect.getsourcefile(type(member))
            text = Path(source).read_bytes() if source else b""
        except (OSError, TypeError):  # typed into a prompt or a notebook: there is no file
            continue
        hashes[member.registered_name()] = hashlib.sha256(text).hexdigest()
    for name, before in scenario.code.items():
        if hashes.get(name, before) != before:
            raise UserError(
                f"'{name}': its code is not what this scenario was resolved with; run the scenario"
                " script again"
            )
    return hashes
