"""``registry.json``: the registry as data, light to read and checked for drift.

Doors that must answer fast (the stdio handshake, the CLI's help, ``tools.json``) read the snapshot; the
dispatcher uses the registry itself. A test and ``tintype registry check`` keep the two equal.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

NAMESPACE = "dev.tintype"
"""Prefix of our keys in MCP ``_meta``."""

ALWAYS_OPEN = frozenset({"guardrails", "results"})
"""Toolsets that no key or server leaves out: cut answers are read on, and calls confirmed, through them."""

AFTER_OTHERS = frozenset({"confirm_call", "get_job", "read_more"})
"""Tools that the answers of other tools ask for."""
MAX_RESULT_CHARACTERS = 100_000
"""What the default response cap lets through: four bytes for each of its 25,000 tokens."""

PREVIEW_VIEW = "ui://tintype/preview.html"
APPROVAL_VIEW = "ui://tintype/approval.html"
"""Pages that hosts with MCP Apps show beside a tool's answer (``tintype_server.mcp.apps`` has them)."""
MAY_ASK = frozenset(
    {
        "call_tool",
        "copy_images",
        "edit_annotations",
        "undo_call",
        "undo_session",
        "update_dataset",
        "update_images",
    }
)
"""Tools that delete nothing by themselves, and yet may ask for confirmation."""
ASKS_FROM_CREDITS = 10
"""Typical price from which on a tool's call may cost enough to ask for confirmation."""

_ROLES = ("viewer", "member", "admin", "owner")


def snapshot_path() -> Path:
    """Where the snapshot lies: beside this package when installed, at the repository's top in a checkout."""
    installed = Path(__file__).with_name("registry.json")
    return installed if installed.exists() else Path(__file__).resolve().parents[2] / "registry.json"


@lru_cache(maxsize=1)
def load_snapshot() -> dict[str, Any]:
    """The snapshot's content: ``{"version", "count", "tools": […]}``."""
    content: dict[str, Any] = json.loads(snapshot_path().read_text())
    return content


def visible_tools(
    role: str, toolsets: frozenset[str] | None, *, read_only: bool = False
) -> list[dict[str, Any]]:
    """Snapshot entries to show to a role: the core tools, or all tools of the given toolsets.

    They come sorted by name, always: a list that moves about spoils the caches of prompts. ``read_only``
    leaves out whatever changes something.
    """
    rank = _ROLES.index(role)
    return [
        tool
        for tool in load_snapshot()["tools"]
        if _ROLES.index(tool["required_role"]) <= rank
        and (tool["core"] if toolsets is None else tool["toolset"] in toolsets | ALWAYS_OPEN)
        and (tool["effect"] == "read" or not read_only)
    ]


def open_tools(role: str, toolsets: frozenset[str] | None) -> list[dict[str, Any]]:
    """Snapshot entries that a key of this role may call, listed or not; ``toolsets`` are its own limit."""
    rank = _ROLES.index(role)
    return [
        tool
        for tool in load_snapshot()["tools"]
        if _ROLES.index(tool["required_role"]) <= rank
        and (toolsets is None or tool["toolset"] in toolsets | ALWAYS_OPEN)
    ]


def as_mcp_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A snapshot entry as an MCP ``Tool`` on the wire, with title, all four hints and ``_meta``.

    The keys of ``anthropic/`` are for Claude Code, which keeps most tools out of sight until it searches for
    them, and puts long answers into files: ours are cut already, and can be read on.
    """
    meta: dict[str, Any] = {
        f"{NAMESPACE}/requiredRole": tool["required_role"],
        f"{NAMESPACE}/creditCost": tool["credit_cost"],
        "anthropic/searchHint": f"{tool['category']}: {tool['title']}",
        "anthropic/maxResultSizeChars": MAX_RESULT_CHARACTERS,
    }
    if tool["name"] in AFTER_OTHERS:
        meta["anthropic/alwaysLoad"] = True
    view = view_of(tool)
    if view is not None:
        meta["ui"] = {"resourceUri": view}
    return {
        "name": tool["name"],
        "title": tool["title"],
        "description": tool["description"],
        "inputSchema": tool["input_schema"],
        "annotations": {
            "title": tool["title"],
            "readOnlyHint": tool["effect"] == "read",
            "destructiveHint": tool["effect"] == "destroy",
            "idempotentHint": tool["idempotent"],
            "openWorldHint": tool.get("open_world", False),
        },
        "_meta": meta,
    }


def view_of(tool: dict[str, Any]) -> str | None:
    """Address of the page that shows a tool's answer, for hosts that can; the answer is whole without it."""
    if tool["name"] == "preview_image":
        return PREVIEW_VIEW
    asks = tool["effect"] == "destroy" or tool["name"] in MAY_ASK or tool["credit_cost"] >= ASKS_FROM_CREDITS
    return APPROVAL_VIEW if asks else None


def as_anthropic_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """For ``anthropic.messages.create(tools=…)``."""
    return {k: tool[k] for k in ("name", "description", "input_schema")}


def as_openai_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """For ``openai.responses.create(tools=…)``: the flat function shape."""
    return {
        "type": "function",
        "name": tool["name"],
        "description": tool["description"],
        "parameters": tool["input_schema"],
    }


def as_registry_entry(tool: dict[str, Any]) -> dict[str, Any]:
    """The documented descriptor: name, description, input schema, role, cost, idempotency."""
    keys = ("name", "description", "input_schema", "required_role", "credit_cost", "idempotent")
    return {k: tool[k] for k in keys}
