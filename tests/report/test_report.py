"""Reports as text: what is in them, that nothing breaks out, and that they ask for nothing."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from sharesim.cli import main
from sharesim.commands.report import write_report
from sharesim.report.blocks import Cell, Code, Page, Section, Table, Text
from sharesim.report.estimates import Estimate, Points, estimate_text
from sharesim.report.page import json_for_script, render
from sharesim.report.picture import picture
from sharesim.results import style
from sharesim.sweep.metrics import METRICS
from sharesim.sweep.sweep import load_sweep
from tests.report.folders import ATTACK, TITLE

VOID = {"meta", "link", "input", "br"}


class Parsed(HTMLParser):
    """A page as its tags and texts; tags that are not closed in order are an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, *tags: str) -> str:
        """What stands in elements of these kinds, or in all of the body."""
        hidden = ("script", "style")
        chosen = [data for tag, data in self.texts if (tag in tags if tags else tag not in hidden)]
        return " ".join(" ".join(chosen).split())


@pytest.fixture(scope="module")
def page(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("page") / "sweep.html"
    return write_report(swept, place).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run_page(ran: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("page") / "run.html"
    return write_report(ran, place).read_text(encoding="utf-8")


@pytest.fixture(params=["page", "run_page"])
def either(request: pytest.FixtureRequest) -> str:
    """Both kinds of reports."""
    return str(request.getfixturevalue(request.param))


# Safety


def test_nothing_breaks_out(either: str) -> None:
    """Titles, names, values, errors and docstrings are text wherever they stand."""
    parsed = Parsed(either)
    scripts = parsed.all("script")
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert ATTACK not in either
    assert parsed.text("title") == parsed.text("h1") == TITLE
    assert parsed.text().count(ATTACK) >= 6
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)


def test_nothing_is_asked_for(either: str) -> None:
    parsed = Parsed(either)
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert (attributes.get(name) or "#")[:1] == "#" or attributes[name] == "data:,", tag
        assert tag not in ("iframe", "object", "embed", "base", "form", "img")
    outside = re.findall(r"(?:url\(|@import|https?:)[^\s\"']*", either)
    namespaces = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")
    assert {one for one in outside if not one.startswith("url(#")} <= set(namespaces)


def test_policy_allows_the_one_script_only(either: str) -> None:
    policy = next(
        one["content"]
        for one in Parsed(either).all("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    )
    script = either.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None and policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}';" in policy
    assert "http" not in policy and "*" not in policy and "unsafe-eval" not in policy


def test_json_cannot_end_its_script() -> None:
    data = {"a": "</script><!-- & \u2028", "b": [1.5, None, True]}
    text = json_for_script(data)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == data
    with pytest.raises(ValueError, match="JSON"):
        json_for_script({"a": float("nan")})


def test_all_blocks_escape() -> None:
    blocks = (
        Text((ATTACK,), "note"),
        Table(ATTACK, (ATTACK, "b"), ((Cell(ATTACK), Cell(ATTACK, ATTACK, best=True)),), live=True),
        Code(ATTACK, ATTACK),
    )
    made = Page(ATTACK, ATTACK, ATTACK, (Section("one", ATTACK, blocks),), ATTACK, {"x": ATTACK})
    text = render(made)
    assert ATTACK not in text
    assert len(Parsed(text).all("script")) == 2


# Content


def test_sweep_report_says_it_all(page: str) -> None:
    parsed = Parsed(page)
    text = parsed.text()
    assert parsed.text("h2").split("The ")[1:3] == ["question ", "answer "]
    for words in (
        "A second paragraph.",  # of the docstring
        f"pages {ATTACK} per second",
        "5000, 20000, 80000",
        "6 of 24 runs failed",
        f"kind: found {ATTACK} & </script>, which is too bad",
        "Each point was run 2 times with different seeds",
        "The first 5 ms of each run was left out as warm-up",
        "profile modern-x86-ept",
        "sharesim sweep rerun swept --point 1 --replicate 1",
        "hostile.py",
    ):
        assert words in text, words
    command = re.search(r"sharesim sweep hostile\.py .*?--out swept", parsed.text("code"))
    assert command is not None and f"'kind=plain,{ATTACK},</script>,bad'" in command[0]


def test_table_of_points_has_all_estimates(page: str, swept: Path) -> None:
    points = Points(load_sweep(swept))
    text = Parsed(page).text()
    saved = METRICS["saved_mib"]
    figures = points.of("saved_mib")
    assert sorted(figures) == list(range(1, 10))
    for one in figures.values():
        assert one.count == 2 and estimate_text(saved, one) in text
    best = points.best(saved)
    assert best is not None and figures[best].mean == max(one.mean for one in figures.values())


def test_balance_lies_on_the_frontier(swept: Path) -> None:
    points = Points(load_sweep(swept))
    assert points.cost is not None and points.cost.name == "overhead"
    gains, costs = points.of("saved_mib"), points.of("overhead")

    def beaten(one: int) -> bool:
        return any(
            gains[other].mean >= gains[one].mean
            and costs[other].mean <= costs[one].mean
            and (gains[other].mean, costs[other].mean) != (gains[one].mean, costs[one].mean)
            for other in gains
        )

    assert points.frontier == [one for one in gains if not beaten(one)]
    assert points.balance in points.frontier


def test_data_for_programs(page: str, swept: Path) -> None:
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert (data["schema"], data["title"]) == ("sharesim-report-1", TITLE)
    assert [one["point"] for one in data["points"]] == list(range(1, 10))
    assert data["points"][3]["settings"] == {"kind": ATTACK, "scan_rate": 5000}
    mean, half, count = data["points"][0]["estimates"]["saved_mib"]
    expected = load_sweep(swept).estimates("saved_mib").iloc[0]
    assert (mean, half, count) == (expected["mean"], expected["half_width"], 2)


def test_run_report_says_it_all(run_page: str) -> None:
    text = Parsed(run_page).text()
    for words in (
        "Memory saved at the end, of what perfect sharing would save",
        "Throughput lost to sharing",
        "40 ms simulated, nested paging, transparent sharing, seed 1",
        "vm0 to vm1",
        f"512 KiB anonymous (shared as {ATTACK})",
        "sharesim run ran",
    ):
        assert words in text, words


def test_title_is_the_users(ran: Path, tmp_path: Path) -> None:
    place = tmp_path / "report.html"
    assert main(["report", str(ran), "--out", str(place), "--title", "Mine & <b>only</b>"]) == 0
    parsed = Parsed(place.read_text(encoding="utf-8"))
    assert parsed.text("h1") == parsed.text("title") == "Mine & <b>only</b>"


def test_reports_are_the_same_each_time(
    swept: Path, page: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(swept)]) == 0
    assert capsys.readouterr().out == f"{swept / 'report.html'}\n"
    assert (swept / "report.html").read_text(encoding="utf-8") == page


# Accessibility


def test_structure(either: str) -> None:
    parsed = Parsed(either)
    ids = [one["id"] for _, one in parsed.tags if "id" in one]
    assert len(ids) == len(set(ids))
    assert [tag for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)].count("h1") == 1
    for one in parsed.all("a"):
        assert (one["href"] or "")[1:] in ids
    assert all(one.get("scope") for one in parsed.all("th"))
    pictures = [one for one in parsed.all("svg") if one.get("class") == "picture"]
    assert len(pictures) == len(parsed.all("figure")) >= 2
    assert all(one.get("role") == "img" and one.get("aria-label") for one in pictures)
    used = {
        name
        for _, one in parsed.tags
        for value in one.values()
        for name in re.findall(r"url\(#([^)]+)\)", value or "")
    }
    used |= {str(one["xlink:href"])[1:] for _, one in parsed.tags if "xlink:href" in one}
    assert used and used <= set(ids)


def test_pictures_do_not_share_ids() -> None:
    def drawn(name: str) -> str:
        with style.settings():
            figure = Figure()
            axes = figure.add_subplot()
            axes.plot([1, 2], [3, 4], "o", label=ATTACK)
            axes.set_title(f'id="x" url(#y) {ATTACK} \x08 \u4e2d')
            return picture(lambda: figure, name, "What it shows").svg

    one, two = drawn("one"), drawn("two")
    ids = [set(re.findall(r'\sid="([^"]+)"', text)) for text in (one, two)]
    assert ids[0] and not ids[0] & ids[1]
    assert ATTACK not in one and "<style" not in one and "<metadata" not in one
    assert one.replace("one-", "two-") == two


# Odd folders


def changed_copy(folder: Path, place: Path, name: str, **changes: Any) -> Path:
    copy = place / folder.name
    shutil.copytree(folder, copy)
    file = copy / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes), encoding="utf-8")
    return copy


def test_sweep_that_is_not_done(swept: Path, tmp_path: Path) -> None:
    copy = changed_copy(swept, tmp_path, "sweep.json", help="")
    gone = sorted((copy / "runs").iterdir())[:4]
    for folder in gone:
        shutil.rmtree(folder)
    (copy / "table.parquet").unlink()
    text = Parsed(write_report(copy, tmp_path / "r.html").read_text(encoding="utf-8")).text()
    # What the kind is called does not change the scenario: three points have each of the runs.
    assert "12 of 24 runs are still to be made" in text


def test_sweep_of_which_nothing_is_done(swept: Path, tmp_path: Path) -> None:
    copy = changed_copy(swept, tmp_path, "sweep.json", title="Nothing yet")
    shutil.rmtree(copy / "runs")
    (copy / "table.parquet").unlink()
    parsed = Parsed(write_report(copy, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert parsed.text("h1") == "Nothing yet"
    assert "No run has finished yet" in parsed.text()
    assert parsed.all("figure") == []


def test_search(swept: Path, tmp_path: Path) -> None:
    """What `tune` found comes first, and its point is the one that is shown over time."""
    copy = changed_copy(swept, tmp_path, "sweep.json", made_by="tune")
    figure = {"mean": 0.25, "half_width": 0.01, "count": 2}
    found: dict[str, Any] = {
        "question": {"text": f"maximize saved_mib {ATTACK}"},
        "best": {"point": 5, "metrics": {"saved_mib": figure}},
        "trials": [{}] * 9,
        "host": {"lines": ["echo 1 > run"], "remarks": [f"a remark {ATTACK}"]},
    }
    (copy / "tune.json").write_text(json.dumps(found), encoding="utf-8")
    page = write_report(copy, tmp_path / "r.html").read_text(encoding="utf-8")
    parsed = Parsed(page)
    name = f"point 5 (kind {ATTACK}, scan_rate 20000)"
    assert f"To maximize saved_mib {ATTACK}, the best of 9 trials is {name}" in parsed.text()
    assert "0.250 ± 0.010 MiB" in parsed.text("span")
    assert f"One replicate of {name}" in parsed.text()
    assert "The setting found, over time" in parsed.text("h2")
    assert "echo 1 > run" in parsed.text("code") and ATTACK not in page
    (copy / "tune.json").write_text(json.dumps(found | {"best": None}), encoding="utf-8")
    page = write_report(copy, tmp_path / "r.html").read_text(encoding="utf-8")
    assert f"None of 9 trials answers it: maximize saved_mib {ATTACK}" in Parsed(page).text()


@pytest.mark.parametrize("method", ["morris", "sobol"])
def test_sensitivity(swept: Path, tmp_path: Path, method: str) -> None:
    copy = changed_copy(swept, tmp_path, "sweep.json", made_by="sensitivity")
    keys = {"morris": ("mu_star", "sigma"), "sobol": ("ST", "S1")}[method]
    row = {"name": ATTACK, keys[0]: 0.5, f"{keys[0]}_half_width": 0.1, keys[1]: None}
    found = {"method": method, "metric": "saved_mib", "samples_used": 10, "parameters": [row]}
    (copy / "sensitivity.json").write_text(json.dumps(found), encoding="utf-8")
    page = write_report(copy, tmp_path / "r.html").read_text(encoding="utf-8")
    text = Parsed(page).text()
    assert "What moves memory saved most" in text and ATTACK not in page
    assert {"morris": "0.50 ± 0.10", "sobol": "50 ± 10 %"}[method] in text


def test_partial_run(ran: Path, tmp_path: Path) -> None:
    copy = changed_copy(ran, tmp_path, "summary.json", partial=True, simulated_ns=20_000_000)
    (copy / "provenance.json").unlink()
    text = Parsed(write_report(copy, tmp_path / "r.html").read_text(encoding="utf-8")).text()
    assert "PARTIAL: interrupted; 0.02 s of 0.04 s simulated" in text


def test_bad_input(ran: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        ([str(tmp_path)], "is not a run folder: it holds nothing"),
        ([str(tmp_path / "none")], "there is no such folder"),
        ([str(ran), "--out", "x.pdf"], "--out x.pdf: found ending '.pdf'; a report ends in .html"),
        ([str(ran), "--out", str(tmp_path / "no" / "x.html")], "cannot be written: No such file"),
    ):
        assert main(["report", *arguments]) == 2
        assert words in capsys.readouterr().err


def test_estimates_as_text() -> None:
    def shown(name: str, mean: float, half: float | None) -> str:
        return estimate_text(METRICS[name], Estimate(mean, half, 3))

    assert shown("saved_mib", 74.2791, 0.0881) == "74.279 ± 0.088"
    assert shown("saved_mib", 281.105, 0.0771) == "281.11 ± 0.08"
    assert shown("saved_mib", 1.32, 0.0) == "1.32 ± 0"
    assert shown("merges", 12345.0, None) == "12,345"
    assert shown("overhead", 0.0512, 0.027) == "5.1 ± 2.7 %"
    assert shown("overhead", 0.000212, 0.0) == "212 ± 0 ppm"
    assert shown("overhead", -0.0001, 0.02) == "0 ± 2.0 %"
    assert estimate_text(METRICS["overhead"], None) == "–"
