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


def visible_tools(role: str, toolsets: frozenset[str] | None) -> list[dict[str, Any]]:
    """Snapshot entries to show to a role: the core tools, or all tools of the given toolsets."""
    rank = _ROLES.index(role)
    return [
        tool
        for tool in load_snapshot()["tools"]
        if _ROLES.index(tool["required_role"]) <= rank
        and (tool["core"] if toolsets is None else tool["toolset"] in toolsets | ALWAYS_OPEN)
    ]


def as_mcp_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A snapshot entry as an MCP ``Tool`` on the wire, with title, all four hints and our ``_meta``."""
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
            "openWorldHint": False,
        },
        "_meta": {
            f"{NAMESPACE}/requiredRole": tool["required_role"],
            f"{NAMESPACE}/creditCost": tool["credit_cost"],
        },
    }


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
