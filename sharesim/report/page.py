"""Renders a report: one HTML file, whose style, script and pictures are inside it."""

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

from sharesim.report.blocks import Page

SCHEMA = "sharesim-report-1"
"""Of the data for programs that the page holds."""


def render(page: Page) -> str:
    """The page as HTML. Equal pages give equal text.

    All text of scenarios and runs is escaped by the template. Its Content-Security-Policy lets
    no address be asked for anything, and no script run but the one whose hash it names.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("sharesim.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    script = _asset("page.js")
    return environment.get_template("page.html.j2").render(
        page=page,
        data=Markup(json_for_script({"schema": SCHEMA, "title": page.title, **page.data})),
        style=Markup(_asset("page.css")),
        script=Markup(script),
        script_hash=_hash(script),
        svg=Markup,
    )


def json_for_script(data: Any) -> str:
    """JSON that no text in it can break out of: a script element ends at the first ``</script``."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _asset(name: str) -> str:
    return (files("sharesim.report") / "templates" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Of the text between the script's tags, as a Content-Security-Policy names it."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
