"""Who sent a message, as the transport knows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcp.server import ServerRequestContext

from tintype_tools.local_files import LocalFiles

COUNTED_SCOPE = "tintype.counted"
"""Set in the ASGI scope of a request that an HTTP door has counted into its key's hour."""

Context = ServerRequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """What the transport knows of a message's sender."""

    api_key: str | None
    door: str
    files: LocalFiles
    base_url: str | None = None
    max_response_tokens: int | None = None
    session: str | None = None
    """What the transport knows of the conversation that the call belongs to."""
    toolsets: frozenset[str] | None = None
    """Toolsets that the sender wants to see, of those that are open to it; None for what is usual."""
    read_only: bool = False
    """Whether the sender wants nothing changed, whatever it calls."""


CallerOf = Callable[[Any], Caller]
"""Reads the caller off the transport's request (None on stdio). Raises ``TintypeError``."""


def agent_name(ctx: Context) -> str | None:
    """Name and version that the client gave of itself."""
    client = ctx.session.client_params
    if client is None:
        return None
    return f"{client.client_info.name} {client.client_info.version}"


def is_counted(ctx: Context) -> bool:
    """Whether the message was counted into its key's hour at the door."""
    return ctx.request is not None and COUNTED_SCOPE in ctx.request.scope
