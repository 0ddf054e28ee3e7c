"""Files of overhead cases: what they say is read, and what is wrong in them is named."""

import re
from pathlib import Path
from typing import Any

import pytest

from sharesim.content.overhead_case import HOG, OFF, chosen_cases, read_cases
from sharesim.errors import UserError
from tests.content.overhead_files import case, variant, worker, write_cases


def test_a_case_is_read(tmp_path: Path) -> None:
    found = worker(cpu=-1, fill="0:3:7:0,5:2:10:5", pages=10, a0=2, an=3, pa=0.25, b0=4, bn=6)
    many = [variant("fast", pages_to_scan=9), {"name": HOG}]
    path = write_cases(
        tmp_path, case(workers=[found], variants=many, off="unmerge", ksmd_cpus=[1, 0])
    )
    (one,) = read_cases(path)
    (only,) = one.workers
    assert only.cpu is None and only.mergeable and only.multiplications == 200
    assert only.ids().tolist() == [7, 7, 7, -1, -1, 10, 15, -1, -1, -1]
    assert only.reach == 9
    assert one.ksmd_cpus == (0, 1) and one.cpus == 2
    assert one.window_ns == 300_000_000 and one.skip_ns == 100_000_000
    assert one.unmerges and one.rounds == 2 and one.prewarm_scans == 1
    fast, hog = one.variants
    assert fast.scans and fast.knobs["pages_to_scan"] == 9
    assert not hog.scans and not hog.knobs


def test_a_region_that_is_never_gone_to_does_not_count(tmp_path: Path) -> None:
    (one,) = read_cases(write_cases(tmp_path, case(workers=[worker(pa=0, b0=3, bn=5)])))
    assert one.workers[0].reach == 5


def test_cases_are_chosen_by_name_or_number(tmp_path: Path) -> None:
    cases = read_cases(write_cases(tmp_path, case("o1-a"), case("o12-b"), case("o2-c")))
    assert [one.name for one in chosen_cases(cases, ["o12", "o1-a", "o12-b"])] == ["o12-b", "o1-a"]
    assert chosen_cases(cases, []) == list(cases)
    with pytest.raises(UserError, match="no case 'o12-x'; did you mean 'o12-b'"):
        chosen_cases(cases, ["o12-x"])


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"rounds": None}, "'c1-small: rounds' is missing"),
    ({"rounds": 0}, "rounds' is 0, expected a whole number from 1 to 1000"),
    ({"window_s": "3"}, "window_s' is '3', expected a number from 0 to 3600"),
    ({"skip_s": 0.3}, "skip_s' is 0.3, expected less than window_s, 0.3"),
    ({"off": "pause"}, "off' is 'pause', expected stop or unmerge"),
    ({"ksmd_cpus": []}, "ksmd_cpus' is [], expected a list of CPU numbers"),
    ({"ksmd_cpus": [-1]}, "ksmd_cpus' is [-1], expected a list of CPU numbers"),
    ({"workers": []}, "workers' is [], expected at least one"),
    ({"workers": [5]}, "workers[0] is 5, expected an object"),
    ({"workers": [worker(w=1.5)]}, "workers[0].w' is 1.5, expected a number from 0 to 1"),
    ({"workers": [worker(an=201)]}, "workers[0].an' is 201, expected 1 to 200"),
    ({"workers": [worker(pa=0.5)]}, "workers[0].bn' is 0, expected 1 to 200"),
    ({"workers": [worker(a0=200)]}, "workers[0].a0' is 200, expected a whole number from 0 to 199"),
    ({"workers": [worker(wmode="new")]}, "workers[0].wmode' is 'new', expected same8"),
    ({"workers": [worker(fill="0:5")]}, "fill' has '0:5', expected START:COUNT:FIRST_ID:STEP"),
    ({"workers": [worker(fill="0:9:1:1,8:2:1:1")]}, "fill' has '8:2:1:1', expected runs in order"),
    ({"workers": [worker(fill="0:201:1:1")]}, "within the worker's 200 pages"),
    ({"variants": [variant(page_to_scan=5)]}, "page_to_scan' is no knob of KSM; did you mean"),
    (
        {"variants": [variant(smart_scan=2)]},
        "smart_scan' is 2, expected a whole number from 0 to 1",
    ),
    ({"variants": [variant(advisor_mode="on")]}, "is 'on', expected none or scan-time"),
    ({"variants": [variant(), variant()]}, "variants: found 'p1000' twice"),
    ({"variants": [variant(OFF)]}, "name' is 'off', expected another name"),
    ({"variants": [variant(HOG)]}, "pages_to_scan' is set, but ksmd does not run in 'hog'"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write_cases(tmp_path, case(**changes))
    with pytest.raises(UserError, match=re.escape(message)) as error:
        read_cases(path)
    assert str(error.value).startswith(f"{path}: ") and "c1-small" in str(error.value)


@pytest.mark.parametrize("text", ["[", "{}", "[]", "7"])
def test_no_list_of_cases(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cases.json"
    path.write_text(text)
    with pytest.raises(UserError, match="expected a list of cases of a page scanner's overhead"):
        read_cases(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file, expected a list of cases"):
        read_cases(tmp_path / "none.json")


def test_two_cases_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cases: found 'c1-small' twice"):
        read_cases(write_cases(tmp_path, case(), case()))
