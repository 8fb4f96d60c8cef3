"""MCP Apps (``io.modelcontextprotocol/ui``, revision 2026-01-26): pages that a host shows beside an answer.

A page is the same for everybody and holds no data: the host hands it what the tool answered, and passes on
the calls that its user makes there. These are calls like the agent's own, through all guards. The answer of
a tool with a page is whole without it, so clients that know nothing of pages lack nothing.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import mcp.types as t

from tintype_tools.snapshot import APPROVAL_VIEW, PREVIEW_VIEW

MIME_TYPE = "text/html;profile=mcp-app"
PAGES = {PREVIEW_VIEW: "preview", APPROVAL_VIEW: "approval"}

_FOLDER = Path(__file__).with_name("views")


def page(uri: str) -> t.ReadResourceResult | None:
    """The page at an address, or None where there is none.

    It needs nothing from the network and no permission, so it says so: the host then allows nothing.
    """
    if uri not in PAGES:
        return None
    ui = {"csp": {}, "permissions": {}, "prefersBorder": True}
    content = t.TextResourceContents(uri=uri, mime_type=MIME_TYPE, text=html(PAGES[uri]), _meta={"ui": ui})
    return t.ReadResourceResult(contents=[content])


@lru_cache(maxsize=len(PAGES))
def html(name: str) -> str:
    """A page in one piece: a sandboxed frame can fetch none of its parts."""
    from tintype_studio.media.palette import PALETTE

    text = _part(f"{name}.html")
    for mark, part in (
        ("/*STYLE*/", _part("style.css")),
        ("/*HOST*/", _part("host.js")),
        ("/*PALETTE*/[]", json.dumps(PALETTE)),
        ("/*SCRIPT*/", _part(f"{name}.js")),
    ):
        text = text.replace(mark, part)
    return text


def _part(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
