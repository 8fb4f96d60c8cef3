"""The skill's table of tools, made from the registry's snapshot."""

from __future__ import annotations

import re
from typing import Any

HEADER = """# Tools

Made from the registry by `tintype registry export`; do not edit by hand. Credits are what a call usually
costs; `preview_call` tells what one really would. Tools that are not core are listed when the server is
started with `--toolsets all`, and always open to `tintype call TOOL`, whose `--help` shows the arguments.
"""
HEAD = ("| tool | core | role | credits | effect | use when |", "|---|---|---|---|---|---|")
LONGEST = 150


def tools_page(snapshot: dict[str, Any]) -> str:
    """The page: a table for each category, in the registry's order."""
    by_category: dict[str, list[dict[str, Any]]] = {}
    for tool in snapshot["tools"]:
        by_category.setdefault(tool["category"], []).append(tool)
    lines = [HEADER]
    for category, tools in sorted(by_category.items()):
        lines += [f"## {category}", "", *HEAD]
        lines += [
            f"| `{tool['name']}` | {'yes' if tool['core'] else ''} | {tool['required_role']} "
            f"| {tool['credit_cost']} | {tool['effect']} | {_when(tool['description'])} |"
            for tool in tools
        ]
        lines.append("")
    return "\n".join(lines)


def _when(description: str) -> str:
    """The first sentence without its opening words, short enough for a cell."""
    text = re.split(r"(?<=[A-Za-z)\]])[.:;] ", description, maxsplit=1)[0].rstrip(".")
    text = text.removeprefix("Use when ").replace("|", "\\|")
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + " …"
