"""``sharesim plot`` on sweeps and runs: what it writes where, and what it refuses."""

from pathlib import Path

import pytest

from sharesim.cli import main
from tests.results.sweeps import grid, make_sweep

RUN = """
from sharesim import VM, Scenario, Segment, Segments

def scenario() -> Scenario:
    image = Segments(segments=(Segment(size=16, zero=0.5),))
    return Scenario(duration="2 ms", vms=[VM(name="a", image=image)])
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep ``rate`` and a run ``run``."""
    place = tmp_path_factory.mktemp("plot")
    make_sweep(place / "rate", grid(scan_rate=(100, 1000, 10_000), vms=(2, 4)))
    (place / "small.py").write_text(RUN)
    run = ["run", str(place / "small.py"), "--out", str(place / "run"), "--quiet", "--no-plot"]
    assert main(run) == 0
    return place


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("rate", "rate/sweep.png"),
        ("rate --x scan_rate --y overhead --color vms", "rate/sweep-overhead-scan_rate.png"),
        ("rate --y saved --y throughput --format svg", "rate/sweep-saved-throughput.svg"),
        ("rate --frontier saved overhead --size column", "rate/frontier-saved-overhead.png"),
        ("rate --heat saved --x vms --y scan_rate", "rate/heat-saved.png"),
        ("rate --where vms=4 --title none --out p.pdf", "p.pdf"),
        ("run", "run/timeline.png"),
        ("run --view memory", "run/memory.png"),
        ("run --view time --vm a --size 7x8 --format pdf", "run/time.pdf"),
    ],
)
def test_pictures_are_written_and_named(
    folders: Path,
    words: str,
    file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folders)
    assert main(["plot", *words.split()]) == 0
    assert capsys.readouterr().out.strip() == file
    magic = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[Path(file).suffix]
    assert (folders / file).read_bytes().startswith(magic)


def test_what_can_be_drawn_is_listed(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folders)
    assert main(["plot", "rate", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    overhead = next(line.split() for line in lines if line.startswith("overhead"))
    assert overhead == ["overhead", "Throughput", "lost", "to", "sharing", "%", "low"]
    assert any(line.startswith("counters.cow_breaks") for line in lines)
    assert not any(line.startswith("realised") for line in lines)  # no run has it
    assert lines[-2:] == ["scan_rate (log): 100, 1000, 10000", "vms (linear): 2, 4"]
    assert main(["plot", "run", "--list"]) == 0
    columns = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert columns["saved_pages"] == "host" and columns["operations"] == "a"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("rate --metric merges", ["--metric", "rate holds a sweep", "--y METRIC"]),
        ("rate --from 3", ["--from", "rate holds a sweep", "rate/runs"]),
        ("rate --view time", ["--view", "rate holds a sweep"]),
        ("run --x vms", ["--x", "run holds a run", "time"]),
        ("run --y merges", ["--y", "run holds a run", "--metric NAME"]),
        ("run --heat saved", ["--heat", "run holds a run"]),
        ("rate --frontier saved", ["--frontier", "2 arguments"]),
        (
            "rate --frontier saved overhead --heat saved",
            ["--frontier and --heat", "one of the two"],
        ),
        ("rate --frontier saved overhead --x vms", ["--frontier and --x"]),
        ("rate --heat saved --color vms", ["--heat and --color"]),
        ("rate --heat saved --y vms --y scan_rate", ["--heat", "one vertical parameter"]),
        ("rate --heat saved --x vms --y vms", ["two different parameters"]),
        ("rate --where vms", ["--where vms", "NAME=VALUE"]),
        ("rate --where vsm=4", ["vsm", "did you mean 'vms'"]),
        ("rate --size colum", ["--size", "did you mean 'column'"]),
        ("rate --format jpg", ["--format", "'jpg'"]),
        ("run --view memry", ["--view", "did you mean 'memory'"]),
        ("run --view time --metric merges", ["--view and --metric"]),
        ("nowhere --x vms", ["nowhere"]),
    ],
)
def test_mistakes_name_the_option(
    folders: Path,
    words: str,
    parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folders)
    before = sorted(folders.rglob("*"))
    assert main(["plot", *words.split()]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    for part in parts:
        assert part in written.err
    assert sorted(folders.rglob("*")) == before
