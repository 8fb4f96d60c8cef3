"""Streamable HTTP: ``/mcp``.

The SDK answers a call of the 2026-07-28 revision in one of two ways. The general one can turn into a stream
of progress at any moment and watches for a caller who hangs up; that machinery is a third of what a short
call costs. The plain one answers once, as JSON. Tools that only read report no progress and leave nothing
half-done, so they take the plain way; on the wire the two look alike.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import Receive, Scope, Send

from tintype_server.mcp.identity import MODERN_VERSIONS
from tintype_tools.snapshot import load_snapshot

_MODERN = frozenset(version.encode() for version in MODERN_VERSIONS)


class Streamable:
    """ASGI endpoint over one server object. Requests are served while ``run`` is entered."""

    def __init__(
        self, server: Server[Any], security: TransportSecuritySettings, *, max_body_bytes: int
    ) -> None:
        self._general = StreamableHTTPSessionManager(
            server, security_settings=security, max_request_body_size=max_body_bytes
        )
        self._plain = StreamableHTTPSessionManager(
            server,
            json_response=True,
            stateless=True,
            security_settings=security,
            max_request_body_size=max_body_bytes,
        )
        tools = load_snapshot()["tools"]
        self._reads = frozenset(tool["name"].encode() for tool in tools if tool["effect"] == "read")

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve; on leaving, running calls are cancelled."""
        async with self._general.run(), self._plain.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. The SDK refuses headers that contradict the body."""
        manager = self._plain if self._is_read(scope) else self._general
        await manager.handle_request(scope, receive, send)

    def _is_read(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        return (
            headers.get(b"mcp-name") in self._reads
            and headers.get(b"mcp-method") == b"tools/call"
            and headers.get(b"mcp-protocol-version") in _MODERN
        )
