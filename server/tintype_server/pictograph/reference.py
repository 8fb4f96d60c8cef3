"""The dialect's OpenAPI document, and a page of it that needs nothing from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from tintype_server.pictograph.door import API

OPENAPI_PATH = f"{API}/openapi.json"
DOCS_PATH = f"{API}/docs"

_NOTES = {
    "Credits": (
        "Credits are whole units of this server's own books. An owner adds some with "
        "<code>tintype credits grant AMOUNT</code>; an admin sets a key's cap with "
        "<code>tintype keys update</code>."
    ),
}
"""What people come to this page for, by the tag it belongs to."""


def document(app: FastAPI) -> dict[str, Any]:
    """The document, built at the first request for it."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title="Tintype",
            version="1.0.0",
            description="The REST dialect of an agent tool server for computer vision.",
            routes=app.routes,
        )
        schema["components"]["securitySchemes"] = {
            "x-api-key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
        }
        schema["security"] = [{"x-api-key": []}]
        app.openapi_schema = schema
    return app.openapi_schema


def page(schema: dict[str, Any]) -> str:
    """The operations by resource, as plain HTML."""
    groups: dict[str, list[str]] = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    parts = [
        f'<h2 id="{escape(tag.lower())}">{escape(tag)}</h2>'
        + (f"<p>{_NOTES[tag]}</p>" if tag in _NOTES else "")
        + "<dl>"
        + "".join(rows)
        + "</dl>"
        for tag, rows in groups.items()
    ]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Tintype REST reference</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "dt{margin-top:1rem}code{background:#eee;padding:0 .2em}</style>"
        f"<h1>Tintype REST reference</h1><p>Send your key in <code>X-API-Key</code>. "
        f'The whole of it: <a href="{OPENAPI_PATH}">openapi.json</a>.</p>{"".join(parts)}</html>'
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    taken = ", ".join(
        f"<code>{escape(p['name'])}</code>" for p in operation.get("parameters", ()) if p["in"] == "query"
    )
    body = "a JSON body" if "requestBody" in operation else ""
    takes = "; ".join(part for part in (taken, body) if part)
    return (
        f"<dt><code>{method.upper()} {escape(path)}</code></dt>"
        f"<dd>{escape(operation.get('description') or operation['summary'])}"
        + (f"<br>Takes {takes}." if takes else "")
        + "</dd>"
    )
