"""Reads the API key off a request, and keeps callers without one away from MCP."""

from __future__ import annotations

import json
from functools import lru_cache

from anyio import to_thread
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tintype_server.http.limits import rate_headers
from tintype_studio.errors import TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio


def api_key_of(connection: HTTPConnection) -> str | None:
    """``X-API-Key``, or the token of ``Authorization: Bearer``."""
    key = connection.headers.get("x-api-key")
    if key:
        return key
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def error_body(error: TintypeError) -> dict[str, object]:
    """The visible error over HTTP: our shape, and ``detail`` for clients that read only that."""
    return {"detail": error.message, "error": error.as_dict()}


class RequireKey:
    """ASGI wrapper: 401 without a valid key; otherwise binds MCP sessions to the key that opened them."""

    def __init__(self, app: ASGIApp, studio: Studio) -> None:
        self._app = app
        self._studio = studio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then hand on."""
        key = api_key_of(HTTPConnection(scope))
        try:
            principal = self._studio.keys.cached(key)
            if principal is None:
                principal = await to_thread.run_sync(self._studio.keys.authenticate, key)
        except TintypeError as error:
            await send_json(send, error.status, error_body(error), {"WWW-Authenticate": "Bearer"})
            return
        scope["user"] = _session_owner(principal.key_uuid)
        await self._app(scope, receive, self._with_limits(send, principal))

    def _with_limits(self, send: Send, principal: Principal) -> Send:
        """Tell the state of the key's hour on every response, as it is when the response begins."""

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = rate_headers(self._studio.rate_limits.window(principal)).items()
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name.lower().encode(), value.encode()) for name, value in told),
                ]
            await send(message)

        return send_with_limits


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
