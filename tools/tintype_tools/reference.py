"""The tool reference as a Markdown page, made from the registry's snapshot."""

from __future__ import annotations

import json
from typing import Any

HEADER = """# Tool reference

Made from the registry by `tintype registry export`; do not edit by hand. Every tool is open through every
door: MCP, HTTP dispatch, the toolkit and `tintype call`. Agents are shown the core tools, or all tools of the
toolsets that they or their server name (`--toolsets`, `TINTYPE_TOOLSETS`; `all` for every one).
"""


def reference_page(snapshot: dict[str, Any]) -> str:
    """The page's text: an overview table, then each tool with its arguments."""
    tools = snapshot["tools"]
    head = "| tool | category | toolset | core | role | credits | effect |"
    lines = [HEADER, head, "|---|---|---|---|---|---|---|"]
    lines += [
        f"| [`{t['name']}`](#{t['name']}) | {t['category']} | {t['toolset']} "
        f"| {'yes' if t['core'] else ''} | {t['required_role']} "
        f"| {t['credit_cost']} | {t['effect']} |"
        for t in tools
    ]
    for tool in tools:
        lines += ["", *_section(tool)]
    return "\n".join(lines) + "\n"


def _section(tool: dict[str, Any]) -> list[str]:
    schema = tool["input_schema"]
    lines = [f"## {tool['name']}", "", tool["description"], ""]
    if not schema["properties"]:
        return [*lines, "No arguments."]
    lines += ["| argument | type | default | meaning |", "|---|---|---|---|"]
    required = schema.get("required", [])
    for name, prop in schema["properties"].items():
        default = "required" if name in required else f"`{_json(prop.get('default'))}`"
        lines.append(f"| `{name}` | {_type(prop)} | {default} | {prop.get('description', '')} |")
    return lines


def _type(prop: dict[str, Any]) -> str:
    if "enum" in prop:
        return " \\| ".join(str(v) for v in prop["enum"])
    if "anyOf" in prop:
        return " or ".join(_type(branch) for branch in prop["anyOf"] if branch.get("type") != "null")
    kind = str(prop.get("type", "object"))
    if kind == "array":
        return f"list of {_type(prop.get('items', {}))}"
    bounds = [str(prop[k]) for k in ("minimum", "maximum") if k in prop]
    return f"{kind} {'..'.join(bounds)}".strip()


def _json(value: Any) -> str:
    return json.dumps(value)
