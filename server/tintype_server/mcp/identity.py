"""What this server says of itself in the handshake. Light: the stdio front reads it before the SDK loads."""

from __future__ import annotations

import base64
from importlib.metadata import version
from pathlib import Path
from typing import Any

NAME = "tintype"
SERVER_INFO_META = "io.modelcontextprotocol/serverInfo"
TITLE = "Tintype"
INSTRUCTIONS = (
    "Tools over a computer-vision platform: datasets, images, annotations, search, exports, training. "
    "Names are case-sensitive. Coordinates are pixels of the upright image. "
    "preview_call tells what a call would change and cost. A call refused with confirmation_required goes on "
    "with confirm_call, once the user has agreed. list_changes and undo_call take back what went wrong. "
    "To label by eye: preview_image, then save_annotations, then preview_image to check. To label many: some "
    "20 images by eye, then auto_annotate_dataset, then review its drafts with accept_annotations and "
    "reject_annotations. Long work goes on as a job: get_job, cancel_job. "
    "An answer with `_truncated` goes on with read_more. Every refusal carries a `fix`. "
    "Datasets, pictures with their annotations, model cards and job logs are also resources "
    "(tintype://datasets/NAME, tintype://images/ID, tintype://models/ID, tintype://jobs/ID/log); recipes for "
    "whole tasks are prompts. Most tools are not listed: search_tools finds them, call_tool runs them."
)
"""At most 2 KB: some hosts cut what is longer, and every conversation pays for it."""
LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Versions of the ``initialize`` era, oldest first."""
MODERN_VERSIONS = ("2026-07-28",)
CAPABILITIES: dict[str, Any] = {
    "completions": {},
    "prompts": {"listChanged": True},
    "resources": {"subscribe": False, "listChanged": True},
    "tools": {"listChanged": True},
}
EXTENSIONS: dict[str, dict[str, Any]] = {"io.modelcontextprotocol/ui": {}}
"""MCP Apps: hosts that can, show a page beside what some tools answer."""
MODERN_CAPABILITIES: dict[str, Any] = {**CAPABILITIES, "extensions": EXTENSIONS}
"""The older revisions have no word for extensions; their hosts find the pages through the tools."""


def server_version() -> str:
    """Version of the installed distribution."""
    return version("tintype")


def initialize_result(requested_version: Any) -> dict[str, Any]:
    """The answer to ``initialize``."""
    supported = requested_version in LEGACY_VERSIONS
    return {
        "protocolVersion": requested_version if supported else LEGACY_VERSIONS[-1],
        "capabilities": CAPABILITIES,
        "serverInfo": server_info(),
        "instructions": INSTRUCTIONS,
    }


def server_info() -> dict[str, Any]:
    """What a handshake says of this server. Later answers of the newer revision carry it without icons."""
    return {"name": NAME, "title": TITLE, "version": server_version(), "icons": icons()}


def icons() -> list[dict[str, Any]]:
    """The server's icon, whole: a server on stdio has no address that a host could fetch it from."""
    drawing = base64.b64encode(Path(__file__).with_name("views").joinpath("icon.svg").read_bytes()).decode()
    return [{"src": f"data:image/svg+xml;base64,{drawing}", "mimeType": "image/svg+xml", "sizes": ["any"]}]


def modern_envelope(result: dict[str, Any], *, ttl_ms: int) -> dict[str, Any]:
    """What the 2026-07-28 revision adds to a discover or list result."""
    return {
        **result,
        "resultType": "complete",
        "ttlMs": ttl_ms,
        "cacheScope": "private",
        "_meta": {SERVER_INFO_META: {"name": NAME, "title": TITLE, "version": server_version()}},
    }


LISTS_TTL_MS = 60_000
"""How long a client may keep the lists that depend on its key alone: a key changes seldom."""


def discover_result() -> dict[str, Any]:
    """The answer to ``server/discover``."""
    result = modern_envelope(
        {
            "supportedVersions": list(MODERN_VERSIONS),
            "capabilities": MODERN_CAPABILITIES,
            "instructions": INSTRUCTIONS,
        },
        ttl_ms=0,
    )
    result["_meta"] = {SERVER_INFO_META: server_info()}
    return result
