"""The registry: every tool of the catalog, found by its file.

``catalog/<tool_name>.py`` defines ``TOOL``; nothing else names it. The committed ``registry.json`` is the
registry's snapshot, so that doors can show tools before a single tool module is imported.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tintype_studio.errors import NotFound
from tintype_studio.names import printable
from tintype_tools.spec import ToolSpec

CATALOG = Path(__file__).parent / "catalog"


class Registry:
    """Tools by name, in the order of their names."""

    def __init__(self, tools: Iterable[ToolSpec]) -> None:
        self._tools: dict[str, ToolSpec] = {}
        for tool in sorted(tools, key=lambda t: t.name):
            if tool.name in self._tools:
                raise ValueError(f"two tools are named {tool.name}")
            self._tools[tool.name] = tool

    def __iter__(self) -> Iterator[ToolSpec]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def get(self, name: str) -> ToolSpec:
        """A tool by name; an unknown one raises ``NotFound`` with close matches."""
        try:
            return self._tools[name]
        except KeyError:
            close = difflib.get_close_matches(name, self._tools, n=3)
            raise NotFound(
                f"No tool is named {printable(name[:80])!r}.",
                code="unknown_tool",
                fix=f"Did you mean {' or '.join(close)}?" if close else "List the tools to see their names.",
                details={"close_matches": close},
            ) from None


def load_registry() -> Registry:
    """Import the catalog."""
    tools = []
    for path in sorted(CATALOG.glob("[a-z]*.py")):
        module = importlib.import_module(f"tintype_tools.catalog.{path.stem}")
        tool: ToolSpec = module.TOOL
        if tool.name != path.stem:
            raise ValueError(f"{path.name} defines a tool named {tool.name}")
        tools.append(tool)
    return Registry(tools)
