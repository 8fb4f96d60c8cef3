"""What stands at the server's own address: name, version and where the doors are. It needs no key."""

from __future__ import annotations

from html import escape
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from tintype_server.http.oauth import MCP_PATH
from tintype_server.pictograph.reference import DOCS_PATH, OPENAPI_PATH

DOORS = {
    "mcp": (MCP_PATH, "MCP over streamable HTTP, for agents"),
    "sse": ("/sse", "MCP over HTTP and SSE, for older clients"),
    "tools": ("/api/v1/developer/tools.json", "the tools as JSON, and their dispatch beside it"),
    "rest_docs": (DOCS_PATH, "the REST dialect's reference"),
    "rest_openapi": (OPENAPI_PATH, "the same as an OpenAPI document"),
    "health": ("/healthz", "whether the server runs"),
}
"""Paths below the server's address, by what they are."""


async def front_page(request: Request) -> Response:
    """JSON, or a page for a browser."""
    told = _told(request.scope.get("app_root_path", request.scope.get("root_path", "")))
    if "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(_page(told))
    return JSONResponse(told)


def _told(root: str) -> dict[str, Any]:
    return {
        "name": "Tintype",
        "version": version("tintype"),
        "about": "An agent tool server for computer vision. Send an API key in X-API-Key.",
        "doors": {name: {"path": f"{root}{path}", "about": about} for name, (path, about) in DOORS.items()},
    }


def _page(told: dict[str, Any]) -> str:
    doors = "".join(
        f'<dt><a href="{escape(door["path"])}">{escape(door["path"])}</a><dd>{escape(door["about"])}'
        for door in told["doors"].values()
    )
    title = f"{told['name']} {told['version']}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem}"
        f"dt{{margin-top:1rem}}</style><h1>{escape(title)}</h1><p>{escape(told['about'])}</p>"
        f"<dl>{doors}</dl></html>"
    )
