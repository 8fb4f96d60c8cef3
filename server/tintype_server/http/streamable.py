"""Streamable HTTP: ``/mcp``.

The SDK answers a call of the 2026-07-28 revision in one of two ways. The general one can turn into a stream
of progress at any moment and watches for a caller who hangs up; that machinery is a third of what a short
call costs. The plain one answers once, as JSON. Tools that only read report no progress and leave nothing
half-done, so they take the plain way; on the wire the two look alike.

The older revisions keep a session per conversation. The SDK limits those of all callers together, so here
each key has its own share, lest one lock out the others.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from mcp.server import Server
from mcp.server.streamable_http_manager import DEFAULT_SESSION_IDLE_TIMEOUT, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tintype_server.http.credentials import too_many
from tintype_server.mcp.identity import MODERN_VERSIONS
from tintype_tools.snapshot import load_snapshot

_MODERN = frozenset(version.encode() for version in MODERN_VERSIONS)
NOT_A_MESSAGE = "The body is not one valid JSON-RPC message."
MAX_SESSIONS = 64
"""Open sessions of one key."""


class Streamable:
    """ASGI endpoint over one server object. Requests are served while ``run`` is entered."""

    def __init__(
        self, server: Server[Any], security: TransportSecuritySettings, *, max_body_bytes: int
    ) -> None:
        self._general = StreamableHTTPSessionManager(
            server, security_settings=security, max_request_body_size=max_body_bytes
        )
        self._sessions = _Sessions(self._general.handle_request)
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
        scope = _trimmed(scope)
        headers = dict(scope["headers"])
        if self._is_read(headers):
            await self._plain.handle_request(scope, receive, send)
        elif headers.get(b"mcp-protocol-version") in _MODERN:
            await self._general.handle_request(scope, receive, send)
        else:
            session_id = headers.get(b"mcp-session-id")
            await self._sessions.serve(scope, receive, _in_our_words(send), session_id=session_id)

    def _is_read(self, headers: dict[bytes, bytes]) -> bool:
        return (
            headers.get(b"mcp-name") in self._reads
            and headers.get(b"mcp-method") == b"tools/call"
            and headers.get(b"mcp-protocol-version") in _MODERN
        )


def _in_our_words(send: Send) -> Send:
    """The text of a parser's error stays here; the caller gets the same answer in words of ours."""
    refusal: Message | None = None

    async def reworded(message: Message) -> None:
        nonlocal refusal
        if message["type"] == "http.response.start" and message["status"] == 400:
            refusal = message
            return
        if refusal is not None:
            body = message.get("body", b"")
            if any(words in body for words in (b'"Validation error: ', b'"Parse error: ')):
                told = orjson.loads(body)
                told["error"]["message"] = NOT_A_MESSAGE
                body = orjson.dumps(told)
            headers = [h for h in refusal["headers"] if h[0].lower() != b"content-length"]
            length = (b"content-length", str(len(body)).encode())
            await send({**refusal, "headers": [*headers, length]})
            refusal, message = None, {**message, "body": body}
        await send(message)

    return reworded


def _trimmed(scope: Scope) -> Scope:
    """Without spaces around header values: they do not count, and not every HTTP parser drops them."""
    for name, value in scope["headers"]:
        if name.startswith(b"mcp-") and value != value.strip(b" \t"):
            return {**scope, "headers": [(name, value.strip(b" \t")) for name, value in scope["headers"]]}
    return scope


@dataclass(slots=True, eq=False)
class _Session:
    """One conversation. ``id`` is None until the SDK has agreed to it."""

    headers: list[tuple[bytes, bytes]]
    """Those of the opening request that say where the caller is and where it sent it."""
    id: bytes | None = None
    requests: int = 0
    """That are served now; an open stream is one."""
    used_at: float = field(default_factory=time.monotonic)


class _Sessions:
    """Keeps the sessions of each key within ``MAX_SESSIONS``, through what the SDK's endpoint offers callers.

    One session more ends the one that was idle for longest. While all are in use, it is refused.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._of_key: dict[str, list[_Session]] = {}

    async def serve(self, scope: Scope, receive: Receive, send: Send, *, session_id: bytes | None) -> None:
        """Serve a request, and note what it opens, uses or ends. Raises ``RateLimited``."""
        key: str = scope["user"].username
        if session_id is not None:
            session = next((s for s in self._of_key.get(key, ()) if s.id == session_id), None)
        else:
            session = await self._admit(key, scope)
        if session is None:  # another key's or none: the SDK says the same to both
            await self._app(scope, receive, send)
            return

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                status, told = message["status"], dict(message.get("headers", ()))
                if session_id is None and status < 400:
                    session.id = told.get(b"mcp-session-id")
                elif status == 404 or (scope["method"] == "DELETE" and status < 400):
                    session.id = None
            await send(message)

        session.requests += 1
        try:
            await self._app(scope, receive, note)
        finally:
            session.requests -= 1
            session.used_at = time.monotonic()
            if session.id is None:
                self._forget(key, session)

    async def _admit(self, key: str, scope: Scope) -> _Session:
        for gone in [s for s in self._of_key.get(key, ()) if _is_over(s)]:
            self._forget(key, gone)
        sessions = self._of_key.setdefault(key, [])
        longest_idle = None
        if len(sessions) >= MAX_SESSIONS:
            idle = [s for s in sessions if s.id is not None and not s.requests]
            if not idle:
                raise too_many("sessions", MAX_SESSIONS)
            longest_idle = min(idle, key=lambda s: s.used_at)
            sessions.remove(longest_idle)
        session = _Session([h for h in scope["headers"] if h[0] in {b"host", b"origin"}])
        sessions.append(session)
        if longest_idle is not None:
            try:
                await self._end(longest_idle, scope)
            except BaseException:
                self._forget(key, session)
                raise
        return session

    async def _end(self, session: _Session, scope: Scope) -> None:
        headers = [*session.headers, (b"mcp-session-id", session.id)]

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(_message: Message) -> None:
            pass

        await self._app({**scope, "method": "DELETE", "headers": headers}, receive, send)

    def _forget(self, key: str, session: _Session) -> None:
        sessions = self._of_key.get(key, [])
        if session in sessions:
            sessions.remove(session)
        if not sessions:
            self._of_key.pop(key, None)


def _is_over(session: _Session) -> bool:
    """Whether the SDK has ended it by itself."""
    idle = time.monotonic() - session.used_at
    return not session.requests and idle > DEFAULT_SESSION_IDLE_TIMEOUT + 1
