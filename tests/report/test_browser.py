"""Reports in a real browser, with JavaScript and without."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharesim.commands.report import write_report
from tests.report.browser import Browser, installed
from tests.report.folders import ATTACK, TITLE

pytestmark = pytest.mark.skipif(installed() is None, reason="no Chromium is installed")

TABLE = "document.querySelector('#points .table.live')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = installed()
    assert program is not None
    with Browser(program, tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def report(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(swept, tmp_path_factory.mktemp("report") / "sweep.html")


@pytest.fixture(scope="module")
def run_report(ran: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(ran, tmp_path_factory.mktemp("report") / "run.html")


def check_quiet(browser: Browser, page: Path) -> None:
    """Nothing was logged, thrown or asked for, and no dialog appeared."""
    for event in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded",
                  "Page.javascriptDialogOpening"):  # fmt: skip
        assert browser.told(event) == [], event
    asked = {one["request"]["url"] for one in browser.told("Network.requestWillBeSent")}
    assert asked <= {page.resolve().as_uri(), "data:,"}


@pytest.mark.parametrize("javascript", [True, False], ids=["JavaScript", "none"])
def test_pages_are_quiet_and_complete(
    browser: Browser, report: Path, run_report: Path, javascript: bool
) -> None:
    for page, sections in ((report, 7), (run_report, 5)):
        browser.open(page, javascript=javascript)
        html = browser.html()
        check_quiet(browser, page)
        assert len(re.findall(r"<section ", html)) == sections
        assert ("<button" in html) == javascript
        assert ATTACK not in html
        assert html.count('class="picture"') >= 2


def test_text_is_text(browser: Browser, report: Path) -> None:
    browser.open(report)
    assert browser.evaluate("document.title") == TITLE
    assert browser.evaluate("document.querySelectorAll('script').length") == 2
    drawn = browser.evaluate("document.querySelector('svg.picture').textContent")
    assert ATTACK in drawn


def column(browser: Browser, number: int) -> list[str]:
    texts = browser.evaluate(
        f"[...{TABLE}.querySelectorAll('tbody tr:not([hidden])')]"
        f".map(row => row.cells[{number}].textContent)"
    )
    assert isinstance(texts, list)
    return texts


def test_tables_sort_by_value(browser: Browser, report: Path) -> None:
    browser.open(report)
    names = browser.evaluate(
        f"[...{TABLE}.querySelectorAll('thead th')].map(cell => cell.textContent)"
    )
    assert names[:3] == ["Point", "kind", "scan_rate"]
    before = column(browser, 2)
    assert before == ["5000", "20000", "80000"] * 3
    click = f"{TABLE}.querySelectorAll('thead button')[2].click()"
    browser.evaluate(click)
    assert column(browser, 2) == ["5000"] * 3 + ["20000"] * 3 + ["80000"] * 3
    browser.evaluate(click)
    assert column(browser, 2) == ["80000"] * 3 + ["20000"] * 3 + ["5000"] * 3
    sorts = f"{TABLE}.querySelector('[aria-sort]').getAttribute('aria-sort')"
    assert browser.evaluate(sorts) == "descending"
    saved = names.index("Memory saved, MiB")
    browser.evaluate(f"{TABLE}.querySelectorAll('thead button')[{saved}].click()")
    means = [float(text.partition(" ")[0]) for text in column(browser, saved)]
    assert means == sorted(means)


def test_tables_filter_and_copy(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.evaluate(
        f"const field = {TABLE}.querySelector('input'); field.value = '80000 plain';"
        "field.dispatchEvent(new Event('input'))"
    )
    assert column(browser, 2) == ["80000"]
    assert browser.evaluate(f"{TABLE}.querySelector('[role=status]').textContent") == "1 of 9 rows"
    button = f"{TABLE}.querySelector('.tools button')"
    browser.evaluate(f"{button}.click(); new Promise(done => setTimeout(done, 50))")
    assert browser.evaluate(f"{button}.textContent") == "Copied"
    check_quiet(browser, report)


def test_pictures_enlarge(browser: Browser, report: Path) -> None:
    browser.open(report)
    width = "document.querySelector('figure svg').getBoundingClientRect().width"
    before = browser.evaluate(width)
    browser.evaluate("document.querySelector('figure button').click()")
    assert browser.evaluate("document.activeElement.textContent") == "Close"
    assert browser.evaluate(width) > before
    browser.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}))")
    assert browser.evaluate(width) == before


def test_fits_a_phone(browser: Browser, report: Path, run_report: Path) -> None:
    for page in (report, run_report):
        browser.open(page, width=360, height=700)
        assert browser.evaluate("document.documentElement.scrollWidth") == 360


def test_paper(browser: Browser, report: Path) -> None:
    """Heads of columns are there, buttons are not, and tables are whole."""
    browser.open(report, media="print")
    assert browser.evaluate(f"{TABLE}.querySelector('thead').innerText").startswith("Point")
    hidden = "[...document.querySelectorAll('.above button, .tools, .label button')]"
    assert browser.evaluate(f"{hidden}.every(one => one.getClientRects().length === 0)")
    scroll = f"{TABLE}.querySelector('.scroll')"
    assert browser.evaluate(
        f"{scroll}.clientHeight >= {scroll}.querySelector('table').clientHeight"
    )


CONTRAST = """
(selector => {
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const element = document.querySelector(selector);
  let behind = element;
  while (behind && parse(getComputedStyle(behind).backgroundColor)[3] === 0) {
    behind = behind.parentElement;
  }
  const [one, two] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]
    .map(parse).map(light).sort((a, b) => b - a);
  return (one + 0.05) / (two + 0.05);
})
"""
WRITTEN = (
    "h1", ".subtitle", ".kind", "nav a", ".tiles dt", ".facts dt", ".facts dd", "thead th",
    "td.best", "figcaption", ".warning p", ".note p", "pre code", ".aside", "button",
)  # fmt: skip


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast(browser: Browser, report: Path, dark: bool) -> None:
    """At least 4.5 to 1, as WCAG has it for text."""
    browser.open(report, dark=dark)
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (not dark)
    for selector in WRITTEN:
        assert browser.evaluate(f"{CONTRAST}('{selector}')") >= 4.5, selector
