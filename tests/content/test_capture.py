"""Captures: what is read is what the file says, and every bad file is one clear message."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharesim.content.capture import Capture, open_capture, shipped_captures
from sharesim.content.classes import PageClass
from sharesim.errors import UserError

Arrays = dict[str, Any]


def small_meta() -> dict[str, Any]:
    return {
        "format": "page-content-trace/0",
        "note": "two tiny guests",
        "class_names": ["?", "free", "anon", "page-cache"],
        "guests": [
            {"name": "g0", "pages": 4, "workload": "idle"},
            {"name": "g1", "pages": 3, "workload": "nginx"},
        ],
    }


def small_arrays() -> Arrays:
    """Three snapshots of a guest of four pages and one of three; see the tests for its story."""

    def u4(*values: int) -> np.ndarray:
        return np.array(values, dtype=np.uint32)

    return {
        "meta": small_meta(),
        "times": np.array([0.001, 5.002, 10.003]),
        "g0_base": u4(0, 1, 2, 2),
        "g0_ptr": np.array([0, 0, 2, 3]),
        "g0_idx": u4(0, 3, 3),
        "g0_val": u4(4, 5, 1),
        "g0_hole_ptr": np.array([0, 1, 1, 1]),
        "g0_holes": u4(0, 1).reshape(1, 2),
        "g0_class": np.array([[1, 2, 3, 0], [2, 2, 2, 9]], dtype=np.uint8),
        "g0_class_t": np.array([-3.0, 6.0]),
        "g0_cpu": np.array([1.0, 1.5, 2.25], dtype=np.float32),
        "g0_ram": np.array([16384, 16384, 8192]),
        "g1_base": u4(1, 3, 0),
        "g1_ptr": np.array([0, 0, 0, 0]),
        "g1_idx": u4(),
        "g1_val": u4(),
        "g1_hole_ptr": np.array([0, 0, 0, 0]),
        "g1_holes": np.zeros((0, 2), dtype=np.uint32),
    }


def write(path: Path, arrays: Arrays) -> Path:
    if isinstance(arrays.get("meta"), dict):
        raw = json.dumps(arrays["meta"]).encode()
        arrays = arrays | {"meta": np.frombuffer(raw, dtype=np.uint8)}
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Capture:
    return open_capture(write(tmp_path / "small.npz", small_arrays()))


# -- what is read ----------------------------------------------------------------------------------


def test_small_capture_head(small: Capture) -> None:
    assert (small.name, small.snapshots, small.pages) == ("small", 3, 7)
    assert small.times_ns.tolist() == [1_000_000, 5_002_000_000, 10_003_000_000]
    assert len(small.sha256) == 64
    assert small.help == "2 guests, 0 MiB, 3 snapshots over 10 s: two tiny guests"
    assert small.class_names == ("?", "free", "anon", "page-cache")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (2, 2, 0, 2), (0, 2, 1)])
def test_contents_do_not_depend_on_the_order_of_reading(
    small: Capture, order: tuple[int, ...]
) -> None:
    expected = [[0, 1, 2, 2], [4, 1, 2, 5], [4, 1, 2, 1]]
    assert [small.guests[0].contents(s).tolist() for s in order] == [expected[s] for s in order]


def test_contents_cannot_be_overwritten(small: Capture) -> None:
    for snapshot in range(3):
        with pytest.raises(ValueError, match="read-only"):
            small.guests[0].contents(snapshot)[0] = 7


def test_changes_and_holes(small: Capture) -> None:
    guest = small.guests[0]
    assert [part.tolist() for part in guest.changes(0)] == [[], []]
    assert [part.tolist() for part in guest.changes(1)] == [[0, 3], [4, 5]]
    assert guest.unbacked(0).tolist() == [True, False, False, False]
    assert not guest.unbacked(1).any()
    with pytest.raises(IndexError, match="there are 3"):
        guest.contents(3)


def test_classes_are_those_of_the_last_report(small: Capture) -> None:
    first = [PageClass.FREE, PageClass.ANONYMOUS, PageClass.PAGE_CACHE, PageClass.UNKNOWN]
    guest = small.guests[0]
    for seconds in (-10.0, -3.0, 5.9):
        assert guest.classes(seconds).tolist() == first  # type: ignore[union-attr]
    assert guest.classes(6.0).tolist() == [3, 3, 3, 0]  # type: ignore[union-attr]
    assert small.guests[1].classes(6.0) is None


def test_cpu_time_and_balloon(small: Capture) -> None:
    busy, bare = small.guests
    assert [busy.cpu_ns(s) for s in range(3)] == [10**9, 15 * 10**8, 225 * 10**7]
    assert [busy.ram_pages(s) for s in range(3)] == [4, 4, 2]
    assert bare.cpu_ns(0) is None
    assert bare.ram_pages(0) is None


@pytest.mark.parametrize(
    ("seconds", "snapshot"),
    [(0, 0), (0.5, 0), (4.9, 0), (5, 1), (5.002, 1), (9.9, 1), (10, 2), (10.04, 2)],
)
def test_snapshot_at(small: Capture, seconds: float, snapshot: int) -> None:
    assert small.snapshot_at(seconds) == snapshot


@pytest.mark.parametrize("seconds", [-1.0, 11.0, float("nan"), float("inf")])
def test_snapshot_outside(small: Capture, seconds: float) -> None:
    with pytest.raises(UserError, match=r"small: no snapshot at .* it runs from 0 s to 10 s"):
        small.snapshot_at(seconds)


def test_guests_by_name(small: Capture) -> None:
    assert [guest.name for guest in small.guests] == ["idle", "nginx"]
    assert small.guest("nginx") is small.guest("g1") is small.guest(1)
    with pytest.raises(UserError, match=r"no guest 'ngnix'; did you mean 'nginx'\?"):
        small.guest("ngnix")
    with pytest.raises(UserError, match=r"no guest 2, it has 0 to 1"):
        small.guest(2)


def test_guest_names_stay_apart(tmp_path: Path) -> None:
    arrays = small_arrays()
    arrays["meta"]["guests"][0] |= {"workload": "hog,48", "name": "p0"}
    arrays["meta"]["guests"][1] |= {"workload": "hog,48", "name": "p1"}
    capture = open_capture(write(tmp_path / "same.npz", arrays))
    assert [guest.name for guest in capture.guests] == ["p0-hog-48", "p1-hog-48"]
    assert capture.guest("p1") is capture.guest("g1")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "same.npz", small_arrays())
    first = open_capture(path)
    assert open_capture(str(path)) is first
    arrays = small_arrays()
    arrays["meta"]["note"] = "something else altogether"
    assert "something else" in open_capture(write(path, arrays)).help


def test_shipped_capture() -> None:
    assert "mixed6-60s" in shipped_captures()
    capture = open_capture("mixed6-60s")
    names = ["idle", "compile", "python", "nginx", "redis", "cache"]
    assert [guest.name for guest in capture.guests] == names
    assert (capture.snapshots, capture.pages) == (13, 270336)
    assert capture.snapshot_at(60) == 12
    assert all(guest.has_classes for guest in capture.guests)


def test_shipped_capture_numbers_contents_in_order_of_appearance() -> None:
    capture = open_capture("mixed6-60s")
    seen = [guest.contents(0) for guest in capture.guests]
    for snapshot in range(1, capture.snapshots):
        seen += [guest.changes(snapshot)[1] for guest in capture.guests]
    numbers, first = np.unique(np.concatenate(seen), return_index=True)
    assert numbers.tolist() == list(range(capture.meta["contents"] + 1))
    assert (np.diff(first[1:]) > 0).all()


# -- bad files -------------------------------------------------------------------------------------


def meta_with(**fields: Any) -> dict[str, Any]:
    return {"meta": small_meta() | fields}


def u4(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint32)


BAD = {
    "pointer falls": ({"g0_ptr": np.array([0, 0, 4, 3])}, "g0_ptr falls at snapshot 2"),
    "pointer short": ({"g0_ptr": np.array([0, 0, 3])}, "g0_ptr has 3 entries, expected 4"),
    "pointer end": ({"g0_ptr": np.array([0, 0, 2, 9])}, "g0_ptr runs 0 to 9, expected 0 to 3"),
    "pointer start": ({"g0_ptr": np.array([1, 1, 2, 3])}, "g0_ptr runs 1 to 3"),
    "changes at 0": ({"g0_ptr": np.array([0, 2, 2, 3])}, "changes at snapshot 0"),
    "index range": ({"g0_idx": u4(0, 4, 3)}, "g0_idx names page 4 of 4"),
    "index falls": ({"g0_idx": u4(3, 0, 3)}, "g0_idx does not ascend in snapshot 1"),
    "index twice": ({"g0_idx": u4(3, 3, 3)}, "g0_idx does not ascend in snapshot 1"),
    "values": ({"g0_val": u4(4, 5)}, "g0_val has 2 entries, g0_idx 3"),
    "type": ({"g0_base": np.zeros(4)}, "g0_base is float64, expected uint32"),
    "signed": ({"g0_val": np.array([4, 5, -1])}, "g0_val is int64, expected uint32"),
    "shape": ({"g0_base": np.zeros((2, 2), np.uint32)}, "g0_base has 2 dimensions, expected 1"),
    "missing": ({"g1_val": None}, "array g1_val is missing"),
    "hole range": ({"g0_holes": u4(3, 2).reshape(1, 2)}, "g0_holes has 2 pages from 3 on"),
    "hole columns": ({"g0_holes": u4(0, 1, 2).reshape(1, 3)}, "has 3 columns, expected 2"),
    "hole pointer": ({"g0_hole_ptr": np.array([0, 2, 1, 1])}, "g0_hole_ptr falls"),
    "hole filled": ({"g0_holes": u4(1, 1).reshape(1, 2)}, "page 1 of g0 lies in a hole"),
    "no pages": (
        {"g1_base": u4(), **meta_with(guests=[{"pages": 4}, {"pages": 0}])},
        "guest g1 has no pages",
    ),
    "times": ({"times": np.array([0.0, 5.0, 5.0])}, "times do not ascend (at snapshot 2)"),
    "time nan": ({"times": np.array([0.0, np.nan, 5.0])}, "not all finite"),
    "time huge": ({"times": np.array([0.0, 1.0, 1e12])}, "not all finite"),
    "no times": ({"times": np.zeros(0)}, "holds no snapshots"),
    "class pages": ({"g0_class": np.zeros((2, 3), np.uint8)}, "g0_class covers 3 pages of 4"),
    "class times": ({"g0_class_t": np.zeros(1)}, "g0_class_t does not fit"),
    "class order": ({"g0_class_t": np.array([6.0, 1.0])}, "g0_class_t does not ascend"),
    "cpu": ({"g0_cpu": np.zeros(2, np.float32)}, "g0_cpu has 2 entries, expected 3"),
    "ram": ({"g0_ram": np.array([1, -1, 1])}, "g0_ram holds values that are negative"),
    "objects": ({"g0_val": np.array([{}, 1, 2], dtype=object)}, "holds Python objects"),
    "meta": ({"meta": np.frombuffer(b"{nonsense", np.uint8)}, "meta is not JSON"),
    "meta bytes": ({"meta": np.frombuffer(b"\xff\xfe", np.uint8)}, "meta is not JSON"),
    "meta list": ({"meta": np.frombuffer(b"[1]", np.uint8)}, "does not name a format"),
    "version": (meta_with(format="page-content-trace/9"), "has format 'page-content-trace/9'"),
    "page size": (meta_with(page_size=16384), "pages of 16384 bytes, expected 4096"),
    "guest list": (meta_with(guests="six"), "meta.guests is not a list"),
    "no guests": (meta_with(guests=[]), "holds no guests"),
    "more guests": (meta_with(guests=[{}] * 3), "array g2_base is missing"),
    "fewer guests": (meta_with(guests=[{}]), "lists 1 guests, the arrays are of more"),
    "guest pages": (meta_with(guests=[{"pages": 5}, {}]), "g0_base has 4 pages, meta says 5"),
    "class names": (meta_with(class_names=[1]), "class_names is not a list of names"),
}


def one_line_naming(path: Path, error: pytest.ExceptionInfo[UserError]) -> str:
    message = str(error.value)
    assert message.startswith(f"capture {path}: ")
    assert message.count(str(path)) == 1
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", BAD)
def test_corrupt_arrays(tmp_path: Path, kind: str) -> None:
    replaced, message = BAD[kind]
    arrays = {
        name: array for name, array in (small_arrays() | replaced).items() if array is not None
    }
    path = write(tmp_path / "bad.npz", arrays)
    with pytest.raises(UserError) as error:
        open_capture(path)
    assert message in one_line_naming(path, error)


def text_file(path: Path) -> None:
    path.write_text("not a capture\n")


def empty_file(path: Path) -> None:
    path.write_bytes(b"")


def one_array(path: Path) -> None:
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))


def foreign_npz(path: Path) -> None:
    np.savez(path, weights=np.zeros(3), bias=np.zeros(1))


def empty_npz(path: Path) -> None:
    np.savez(path)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


def zip_of_text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta", "hello")
        archive.writestr("times", "hello")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (text_file, "is not an .npz archive"),
        (empty_file, "the file is empty"),
        (one_array, "is not an .npz archive"),
        (pickled, "is not an .npz archive"),
        (foreign_npz, "is an .npz of something else (it holds bias, weights)"),
        (empty_npz, "is an .npz of something else (it holds nothing)"),
        (zip_of_text, "array meta is no array, expected uint8"),
        (Path.mkdir, "is a folder"),
    ],
)
def test_not_a_capture(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "bad.npz"
    make(path)
    with pytest.raises(UserError) as error:
        open_capture(path)
    assert message in one_line_naming(path, error)


@pytest.mark.parametrize("kept", [0.0005, 0.1, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, kept: float) -> None:
    whole = write(tmp_path / "whole.npz", small_arrays()).read_bytes()
    path = tmp_path / "cut.npz"
    path.write_bytes(whole[: max(4, int(len(whole) * kept))])
    with pytest.raises(UserError) as error:
        open_capture(path)
    assert "truncated or damaged" in one_line_naming(path, error)


def test_damaged_bytes_are_noticed_or_harmless(tmp_path: Path) -> None:
    """Whatever byte is hit, the capture opens unchanged or the user gets one message."""
    whole = write(tmp_path / "whole.npz", small_arrays()).read_bytes()
    good = open_capture(tmp_path / "whole.npz")
    path = tmp_path / "hit.npz"
    refused = 0
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x5A]) + whole[position + 1 :])
        path.touch()
        try:
            capture = open_capture(path)
        except UserError:
            refused += 1
            continue
        for guest, known in zip(capture.guests, good.guests, strict=True):
            assert guest.contents(2).tolist() == known.contents(2).tolist()
        assert capture.meta == good.meta
    assert refused > len(whole) // 14


def test_a_name_that_is_not_shipped() -> None:
    with pytest.raises(
        UserError, match=r"no capture or file named 'mixed6-06s'; did you mean 'mixed6-60s"
    ):
        open_capture("mixed6-06s")


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / "small.npz", small_arrays())
    with pytest.raises(UserError, match=r"smal\.npz: no such file; did you mean 'small\.npz'\?"):
        open_capture(tmp_path / "smal.npz")
    with pytest.raises(UserError, match="no such file"):
        open_capture(tmp_path / "nowhere" / "small.npz")
