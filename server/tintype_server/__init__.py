"""Floor 3: how calls come in. ``create_toolkit`` opens a workspace for an agent loop in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tintype_tools.toolkit import Toolkit

__all__ = ["create_toolkit"]


def create_toolkit(**options: Any) -> Toolkit:
    """A ``Toolkit`` over the workspace of the settings; see ``tintype_server.runtime.create_toolkit``."""
    from tintype_server import runtime

    return runtime.create_toolkit(**options)
