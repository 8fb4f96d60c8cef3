"""Uses of tools that every door is tried with: ``use_<tool>(door, world)``, in one file per group of tools.

``world`` is a ``support.door_world.World``: a dataset of its own with one picture in it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def found_uses() -> dict[str, Callable[[Any, Any], None]]:
    """By name of the tool."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    return {
        name.removeprefix("use_"): use
        for module in modules
        for name, use in vars(module).items()
        if name.startswith("use_")
    }
