"""How mistakes in a description are worded."""

from typing import Any

import pytest

from sharesim.errors import UserError
from sharesim.spec.images import Segments
from sharesim.spec.policies import Cbps
from sharesim.spec.scenario import VM, Scenario

GOOD: dict[str, Any] = {"duration": "1 s", "vms": [{"name": "a", "memory": "1 MiB"}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vms": []}, "vms: found 0; at least 1 needed"),
        (
            {"vms": [{"name": "a", "memroy": 1}]},
            "vms.0: VM has no parameter 'memroy'; did you mean 'memory'?",
        ),
        ({"vms": [{"name": "a", "memory": -3}]}, "vms.0.memory: found -3; it should be greater"),
        ({"vms": [{}]}, "vms.0: VM needs 'name'"),
        ({"host": {"cpuz": 3}}, "host: Host has no parameter 'cpuz'; did you mean 'cpus'?"),
        ({"host": {"cpus": "x"}}, "host.cpus: found 'x'; it should be a whole number"),
        (
            {"host": {"costs": {"profil": "x"}}},
            "host.costs: Costs has no parameter 'profil'; did you mean 'profile'?",
        ),
        (
            {"sharing": {"policy": "cbbs"}},
            "sharing.policy: unknown policy 'cbbs'; did you mean 'cbps'?",
        ),
        (
            {"sharing": {"policy": {"name": "cbps", "scan_rate": -3}}},
            "sharing.policy.scan_rate: found -3; it should be greater than 0",
        ),
        (
            {"sharing": {"policy": "nothing_there:Policy"}},
            "policy 'nothing_there:Policy' cannot be imported: No module named 'nothing_there'",
        ),
        ({"check": "perhaps"}, "check: found 'perhaps'; it should be true or false"),
        ({"duration": 1.5}, "duration: found 1.5; a time is text such as '20 ms'"),
    ],
)
def test_messages(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        Scenario(**GOOD | changes)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        Cbps(scan_rate="fast", order="liner")
    lines = str(caught.value).splitlines()
    assert lines == [
        "scan_rate: found 'fast'; it should be a number",
        "order: found 'liner'; it should be 'linear' or 'random'",
    ]


def test_long_values_are_cut() -> None:
    with pytest.raises(UserError) as caught:
        VM(name="a", vcpus="x" * 5000)
    assert len(str(caught.value)) < 200


def test_parts_made_one_by_one_are_named_too() -> None:
    with pytest.raises(UserError, match=r"^segments\.0\.zero: found 2; it should be less than"):
        Segments(segments=[{"size": "1 MiB", "zero": 2}])
