"""Reads the API key off a request, and keeps callers without one away from MCP."""

from __future__ import annotations

import json
import re
from functools import lru_cache

from anyio import to_thread
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from tintype_studio.errors import InvalidInput, TintypeError
from tintype_studio.identity.keys import Keys


def api_key_of(connection: HTTPConnection) -> str | None:
    """``X-API-Key``, or the token of ``Authorization: Bearer``."""
    key = connection.headers.get("x-api-key")
    if key:
        return key
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def token_budget(connection: HTTPConnection) -> int | None:
    """``X-Max-Response-Tokens``: the caller's own response budget."""
    value = connection.headers.get("x-max-response-tokens")
    if value is None:
        return None
    if not re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
        raise InvalidInput("X-Max-Response-Tokens must be a whole number.", code="invalid_header")
    return int(value)


def error_body(error: TintypeError) -> dict[str, object]:
    """The visible error over HTTP: our shape, and ``detail`` for clients that read only that."""
    return {"detail": error.message, "error": error.as_dict()}


class RequireKey:
    """ASGI wrapper: 401 without a valid key; otherwise binds MCP sessions to the key that opened them."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then hand on."""
        key = api_key_of(HTTPConnection(scope))
        try:
            principal = self._keys.cached(key)
            if principal is None:
                principal = await to_thread.run_sync(self._keys.authenticate, key)
        except TintypeError as error:
            await send_json(send, error.status, error_body(error), {"WWW-Authenticate": "Bearer"})
            return
        scope["user"] = _session_owner(principal.key_uuid)
        await self._app(scope, receive, send)


@lru_cache(maxsize=1024)
def _session_owner(key_uuid: str) -> AuthenticatedUser:
    """What the SDK compares before it lets a request into an existing session."""
    return AuthenticatedUser(AccessToken(token="", client_id=key_uuid, scopes=[], subject=key_uuid))


async def send_json(
    send: Send, status: int, body: dict[str, object], headers: dict[str, str] | None = None
) -> None:
    """One JSON response on a bare ASGI channel."""
    encoded = json.dumps(body).encode()
    raw = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(encoded)).encode()),
        *((k.lower().encode(), v.encode()) for k, v in (headers or {}).items()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": encoded})
