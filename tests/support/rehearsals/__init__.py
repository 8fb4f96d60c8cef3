"""What dry runs of tools are tried with, in one file per group of tools. Each may define by tool name:

- ``READY``: makes the arguments of a call that would change something, in a world that is made ready for it;
- ``REFUSED``: a list of ``(tool, code, makes the arguments)`` of calls that are refused with that code;
- ``DONE``: for a tool whose dry run tells other things than the change history does afterwards,
  ``(world, told, outcome)`` that asserts what must hold;
- ``OWN``: names of tools by which a member may act only on what is its own, or as the call inside allows;
- ``OPERATIONS``: the slug of the price list of a tool that costs, and ``PRICES`` its credits in ``READY``;
- ``NOT_UNDOABLE``: names of tools whose change cannot be undone.

``world`` is a ``support.dry_world.World``.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def gathered(name: str) -> dict[str, Any]:
    """All entries of the dictionaries of that name."""
    return {tool: entry for module in _modules() for tool, entry in getattr(module, name, {}).items()}


def listed(name: str) -> list[Any]:
    """All entries of the lists or sets of that name."""
    return [entry for module in _modules() for entry in getattr(module, name, ())]


def _modules() -> list[Any]:
    return [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
