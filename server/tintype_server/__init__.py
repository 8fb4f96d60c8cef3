"""Floor 3: how calls come in. ``create_toolkit`` opens a workspace, or a server, for an agent loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tintype_tools.toolkit import Toolkit

__all__ = ["create_toolkit"]


def create_toolkit(*, base_url: str | None = None, **options: Any) -> Toolkit:
    """A ``Toolkit`` over the workspace of the settings, or over the server at ``base_url``.

    The options are those of ``tintype_server.runtime.create_toolkit`` and of
    ``tintype_tools.adapters.create_toolkit``; but for ``home`` they are the same.
    """
    if base_url is not None:
        from tintype_tools.adapters import remote

        return remote.create_toolkit(base_url=base_url, **options)
    from tintype_server import runtime

    return runtime.create_toolkit(**options)
