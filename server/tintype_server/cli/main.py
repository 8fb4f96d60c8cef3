"""``tintype``: commands are loaded by name, so that help and light commands start fast."""

from __future__ import annotations

import importlib
import sys

COMMANDS = {
    "init": ("init", "Write an AGENTS.md that tells a project's agents how to work with Tintype."),
    "demo": ("demo", "Run the main job end to end on real pictures and show what an agent sees."),
    "mcp": ("mcp", "Serve MCP over stdio (for Claude Desktop, Claude Code, Cursor …)."),
    "serve": ("serve", "Serve HTTP: MCP, tools.json, dispatch."),
    "worker": ("worker", "Do jobs, and nothing else."),
    "config": ("config", "Print the configuration for an agent's host, ready to paste."),
    "call": ("call", "Call a tool, through the same guards as every other door."),
    "tools": ("tools", "List the tools."),
    "datasets": ("datasets", "List, look at, make, fill, download and delete datasets."),
    "images": ("images", "List, upload, download and delete images."),
    "annotations": ("annotations", "Read, save and delete the annotations of an image."),
    "exports": ("exports", "Make, list, look at, download and delete exports."),
    "train": ("train", "Start, follow and stop trainings."),
    "models": ("models", "List, look at, download and delete trained models."),
    "agents": ("agents", "The tools as data, and the skill for Claude."),
    "login": ("login", "Save the API key to act with."),
    "keys": ("keys", "Make, list, change and revoke API keys."),
    "users": ("users", "Make, list and remove logins for clients that know names and passwords."),
    "members": ("members", "List members, change their roles, remove them."),
    "invites": ("invites", "Invite people, list and revoke invites, accept one."),
    "organization": ("organization", "Show or rename the organization."),
    "audit": ("audit", "Show who called what, and how it ended."),
    "credits": ("credits", "See and grant credits."),
    "approvals": ("approvals", "See, approve and deny calls that wait for a person."),
    "registry": ("registry", "Write or check registry.json."),
}


def main() -> None:
    """Entry point of the console script."""
    if sys.argv[1:2] == ["mcp"]:
        # The stdio front must read its first line before anything heavier than the standard library loads.
        from tintype_server.mcp.stdio import main as serve_stdio

        sys.exit(serve_stdio(sys.argv[2:]))
    from tintype_server.cli.group import root

    root()


def load_command(name: str) -> object:
    """The click command of a name."""
    module, _ = COMMANDS[name]
    return importlib.import_module(f"tintype_server.cli.{module}").command
