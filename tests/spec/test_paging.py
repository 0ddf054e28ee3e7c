"""Paging modes as they are described: legal pairs, parameters, and modes of a user's own."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from sharesim.errors import UserError
from sharesim.hypervisor.paging import NestedPaging
from sharesim.resolve import held_frames, resolve
from sharesim.simulate import simulate
from sharesim.spec.images import Segment, Segments
from sharesim.spec.paging import PAGINGS, Direct, Native, Nested, PagingSpec, Shadow
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Host, Scenario, Sharing
from sharesim.spec.workloads import RandomAccess

GOOD: dict[str, Any] = {"duration": "1 s", "vms": [{"name": "a", "memory": "1 MiB"}]}


def problem(**changes: Any) -> str:
    """What is said about a scenario that is wrong."""
    with pytest.raises(UserError) as caught:
        Scenario(**GOOD | changes)
    return str(caught.value)


# Which sharing designs work with which modes

DESIGNS = ("none", "transparent", "paravirtual")
LEGAL = {
    "native": {"none"},
    "nested": {"none", "transparent"},
    "shadow": {"none", "transparent"},
    "direct": {"none", "paravirtual"},
}
WHY = {
    "native": "without a hypervisor there is no map from guest pages to machine frames",
    "nested": "the guest's page tables hold guest pages",
    "shadow": "the guest's page tables hold guest pages",
    "direct": "the guest's own page tables hold machine frames, which nobody can change behind",
}
USE = {
    "native": "'nested' or 'shadow' with 'transparent', or 'direct' with 'paravirtual'",
    "nested": "use 'transparent'",
    "shadow": "use 'transparent'",
    "direct": "use 'paravirtual'",
}


def test_these_are_all_modes() -> None:
    assert {name for name, _ in PAGINGS} >= set(LEGAL)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("paging", LEGAL)
def test_pairs(paging: str, design: str) -> None:
    if design in LEGAL[paging]:
        scenario = Scenario(**GOOD, paging=paging, sharing={"design": design})
        assert scenario.shares == (design != "none")
        return
    text = problem(paging=paging, sharing={"design": design})
    assert text.startswith(f"paging '{paging}' with sharing design '{design}': {WHY[paging]}")
    assert USE[paging] in text and text.endswith("sharing design 'none' always works")
    assert "\n" not in text


@pytest.mark.parametrize("paging", LEGAL)
def test_without_sharing_every_mode_works(paging: str) -> None:
    assert not Scenario(**GOOD, paging=paging, sharing=None).shares


@pytest.mark.parametrize("paging", ["shadow", "direct", "native", "nested"])
def test_blocks_of_2_mib_need_a_mode_that_can_map_them(paging: str) -> None:
    changes = {"paging": paging, "sharing": None, "host": {"backing": "2 MiB"}}
    if paging in ("native", "nested"):
        assert Scenario(**GOOD, **changes).host.backing == "2 MiB"
        return
    text = problem(**changes)
    assert text.startswith(f"host.backing '2 MiB' with paging '{paging}'")
    assert "use backing '4 KiB', or paging 'nested'" in text


# Names, objects, JSON


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("shadow", Shadow()),
        ({"name": "shadow"}, Shadow()),
        ({"name": "shadow", "pool": "8 KiB", "rmap": "none"}, Shadow(pool=2, rmap="none")),
        ({"name": "direct", "batch": 7}, Direct(batch=7)),
        (Shadow(scale=0.25), Shadow(scale=0.25)),
        ("native", Native()),
        ("sharesim.spec.paging:Nested", Nested()),
    ],
)
def test_a_mode_is_a_name_or_an_object(given: Any, meant: PagingSpec) -> None:
    scenario = Scenario(**GOOD, paging=given, sharing=None)
    assert scenario.paging == meant and type(scenario.paging) is type(meant)
    assert scenario.paging.registered_name() == meant.name
    again = Scenario.from_json(scenario.to_json())
    assert again == scenario and again.paging == meant
    parameters = {field: getattr(meant, field) for field in type(meant).model_fields}
    assert scenario.to_dict()["paging"] == {"name": meant.name, **parameters}
    assert resolve(again) == resolve(scenario)


def test_the_mode_is_nested_where_nothing_is_said() -> None:
    assert Scenario(**GOOD).paging == Nested()


def test_parameters_are_part_of_a_scenarios_key() -> None:
    keys = {
        Scenario(**GOOD, paging=paging, sharing=None).key("2")
        for paging in (Nested(), Shadow(), Shadow(pool=9), Shadow(scale=0.5), Direct(batch=3))
    }
    assert len(keys) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pagging": "shadow"}, "Scenario has no parameter 'pagging'; did you mean 'paging'?"),
        ({"paging": "shaddow"}, "paging: unknown paging mode 'shaddow'; did you mean 'shadow'?"),
        (
            {"paging": {"name": "shadow", "rmap": "entires"}},
            "paging.rmap: found 'entires'; it should be 'entries' or 'none'",
        ),
        (
            {"paging": {"name": "shadow", "pol": 3}},
            "paging: Shadow has no parameter 'pol'; did you mean 'pool'?",
        ),
        ({"paging": {"name": "shadow", "pool": 0}}, "paging.pool: found 0"),
        ({"paging": {"name": "shadow", "pool": "3 bytes"}}, "paging.pool: found '3 bytes'"),
        ({"paging": {"name": "shadow", "scale": -1}}, "paging.scale: found -1; it should be"),
        ({"paging": {"name": "shadow", "scale": 101}}, "paging.scale: found 101; it"),
        ({"paging": {"name": "direct", "batch": 0}}, "paging.batch: found 0; it should be greater"),
        ({"paging": {"name": "direct", "batch": 2049}}, "found 2049; it should be less than"),
        ({"paging": {"name": "nested", "pool": 3}}, "Nested has no parameter 'pool'"),
        ({"paging": {}}, "a paging mode needs a 'name'"),
        ({"paging": "nothing_there:Mode"}, "paging mode 'nothing_there:Mode' cannot be imported"),
        ({"paging": "sharesim.spec.policies:Cbps"}, "it should be a table of names or instance of"),
        ({"paging": Cbps()}, "paging: found Cbps("),
        ({"sharing": {"design": "paravirtul"}}, "found 'paravirtul'"),
    ],
)  # fmt: skip
def test_messages(changes: dict[str, Any], message: str) -> None:
    text = problem(**changes)
    assert message in text
    assert "\n" not in text


# What the hypervisor holds


@pytest.mark.parametrize(
    ("pages", "vcpus", "expected"),
    [(1, 1, 258), (256, 1, 258), (257, 1, 260), (262_144, 4, 1024 + 2048), (262_144, 1, 2304)],
)
def test_the_pool_is_a_mib_a_vcpu_and_8_kib_for_each_mib(
    pages: int, vcpus: int, expected: int
) -> None:
    assert Shadow().pool_pages(pages, vcpus) == expected
    assert Shadow().held_pages(pages, vcpus) == {"shadow_pool": expected, "rmap": expected}
    assert Shadow(rmap="none").held_pages(pages, vcpus) == {"shadow_pool": expected, "rmap": 0}
    assert Shadow(pool=5).held_pages(pages, vcpus) == {"shadow_pool": 5, "rmap": 5}


def two_guests(paging: PagingSpec, **more: Any) -> Scenario:
    """Guests of 256 and 512 pages."""
    vms = [VM(name="a", memory=256), VM(name="b", memory=512, vcpus=2)]
    return Scenario(**{"duration": "1 ms", "vms": vms, "sharing": None, "paging": paging, **more})


@pytest.mark.parametrize(
    ("paging", "held"),
    [
        (Native(), {}),
        (Nested(), {}),
        (Shadow(), {"shadow_pool": 258 + 516, "rmap": 258 + 516}),
        (Shadow(pool=7), {"shadow_pool": 14, "rmap": 14}),
        (Direct(), {"domain_state": 10}),
    ],
)
def test_what_is_held_is_reserved_and_shown(paging: PagingSpec, held: dict[str, int]) -> None:
    scenario = two_guests(paging, check=True)
    assert held_frames(scenario) == held
    assert resolve(scenario).host.memory == 768 + sum(held.values())
    host = simulate(scenario).timeline.query("entity == 'host'").iloc[-1]
    for what in ("shadow_pool", "rmap", "domain_state"):
        assert host[f"{what}_pages"] == held.get(what, 0)
    assert host["free_pages"] == 768


def test_a_host_must_have_room_for_the_pools() -> None:
    with pytest.raises(UserError, match=r"the guests need .* but the host has"):
        resolve(two_guests(Shadow(), host=Host(memory=768 + 2 * 774 - 1)))
    resolve(two_guests(Shadow(), host=Host(memory=768 + 2 * 774)))
    tight = Host(memory=1_000, overcommit=True)
    with pytest.raises(UserError, match="the hypervisor alone needs"):
        simulate(two_guests(Shadow(), host=tight))


# A mode of a user's own


class SlowPaging(NestedPaging):
    """Nested paging on a machine whose violations take longer."""

    def populate_fault(self) -> int:
        """ns of a violation."""
        return super().populate_fault() + int(self.spec.extra)


class Slow(PagingSpec):
    """Nested paging with slow violations."""

    name: ClassVar[str] = "slow"
    designs: ClassVar[tuple[str, ...]] = ("none", "transparent")
    why: ClassVar[str] = "its guests do not take part"
    extra: int = 0

    def held_pages(self, pages: int, vcpus: int) -> dict[str, int]:
        """A page for each guest."""
        return {"domain_state": 1}

    def runtime(self, primitives: Mapping[str, int]) -> Any:
        """What makes costs."""
        return SlowPaging(self, primitives)


class Nowhere(PagingSpec):
    """A mode that nothing runs."""


NAME = f"{__name__}:Slow"


def slow_scenario(extra: int) -> Scenario:
    """Two guests that are alike and write."""
    image = Segments(segments=[Segment(size=40, shared_as="kernel")])
    work = RandomAccess(op_time="100 us", write_fraction=0.5, region=40)
    return Scenario(
        duration="50 ms",
        vms=[VM(name=name, memory=64, image=image, workload=work) for name in "ab"],
        paging={"name": NAME, "extra": extra},
        sharing=Sharing(policy=Cbps(scan_rate=20_000, wake_period="1 ms")),
        check=True,
    )


def test_a_mode_of_a_users_own_runs_by_its_name() -> None:
    plain = simulate(slow_scenario(0).model_copy(update={"paging": Nested()}))
    same, slower = (simulate(slow_scenario(extra)) for extra in (0, 3_000))
    assert same.summary["counters"] == plain.summary["counters"]
    assert slower.summary["counters"]["cow_breaks"] > 10
    for name in "ab":
        ledgers = [run.summary["guests"][name]["ledger_ns"]["sharing"] for run in (same, slower)]
        faults = slower.summary["guests"][name]["faults"]
        assert ledgers[1] > ledgers[0] + 0.5 * 3_000 * faults
    scenario = resolve(slow_scenario(7))
    assert scenario.paging.registered_name() == NAME
    again = Scenario.from_json(scenario.to_json())
    assert again.paging == Slow(extra=7) and again == scenario
    assert scenario.code.keys() == {NAME}  # a run can tell when it is changed
    assert held_frames(scenario)["domain_state"] == 2


def test_a_users_mode_says_why_a_design_does_not_work_with_it() -> None:
    text = problem(paging=Slow(), sharing={"design": "paravirtual"})
    assert f"paging '{NAME}' with sharing design 'paravirtual': its guests do not take part" in text
    assert "its tables map 4 KiB pages" not in text


def test_a_mode_that_nothing_runs_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Nowhere does not say what runs it"):
        simulate(Scenario(**GOOD, paging=Nowhere(), sharing=None))
