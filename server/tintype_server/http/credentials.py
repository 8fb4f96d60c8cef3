"""Reads the API key off a request, keeps callers without one away from MCP, and counts those with one."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from anyio import CapacityLimiter, to_thread
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tintype_server.http.limits import rate_headers, refusal_headers
from tintype_server.http.oauth import Access, ResourceServer, expired
from tintype_server.mcp.caller import COUNTED_SCOPE
from tintype_studio.errors import RateLimited, TintypeError
from tintype_studio.identity.key_rows import KEY_PREFIX
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio

GRANTED_SCOPE = "tintype.granted"
"""Set in the ASGI scope of a request whose access token was checked: the ``Access`` that it gives."""


def api_key_of(connection: HTTPConnection) -> str | None:
    """``X-API-Key``, or the token of ``Authorization: Bearer``, or the key that this stands for.

    Raises ``Unauthorized`` for a token that has expired since its request came: a stream ends with it.
    """
    granted: Access | None = connection.scope.get(GRANTED_SCOPE)
    if granted is not None:
        if granted.expires <= time.time():
            raise expired()
        return granted.key
    key = connection.headers.get("x-api-key")
    if key:
        return key
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def error_body(error: TintypeError) -> dict[str, object]:
    """The visible error over HTTP: our shape, and ``detail`` for clients that read only that."""
    return {"detail": error.message, "error": error.as_dict()}


MAX_TOKEN_CHECKS = 8
"""Access tokens that are checked at a time."""
MAX_STREAMS = 64
"""Open streams of one key at one address: a stream is a connection that lives as long as its caller likes."""


class RequireKey:
    """ASGI wrapper: 401 without a valid key, 429 for a key that is over its limits.

    Every request counts into the key's hour, whatever it asks for: opening a session and listing tools cost
    the server as much as a call does. What is handed on is marked as counted, so that no call counts twice.
    MCP sessions are bound to the key that opened them.
    """

    def __init__(
        self, app: ASGIApp, studio: Studio, *, streams: bool = True, oauth: ResourceServer | None = None
    ) -> None:
        """``streams``: whether a GET opens one, of which a key may have so many at a time.

        ``oauth``: who checks tokens that are no keys of ours; None to take keys only.
        """
        self._app = app
        self._oauth = oauth
        self._asking: CapacityLimiter | None = None
        self._studio = studio
        self._counts_streams = streams
        self._streams: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, count, then hand on."""
        key = api_key_of(HTTPConnection(scope))
        try:
            if self._oauth is not None and key is not None and not key.startswith(KEY_PREFIX):
                granted = scope[GRANTED_SCOPE] = await self._granted(self._oauth, key)
                key = granted.key
            principal = self._studio.keys.cached(key)
            if principal is None:
                principal = await to_thread.run_sync(self._studio.keys.authenticate, key)
        except TintypeError as error:
            headers = refusal_headers(error)
            if self._oauth is not None and error.status in {401, 403}:
                headers["WWW-Authenticate"] = self._oauth.challenge(error, token_sent=key is not None)
            await send_json(send, error.status, error_body(error), headers)
            return
        send = self._with_limits(send, principal)
        try:
            await self._count(principal)
            with self._stream(scope, principal):
                scope["user"] = _session_owner(principal.key_uuid)
                scope[COUNTED_SCOPE] = True
                await self._app(scope, receive, send)
        except RateLimited as error:
            await send_json(send, error.status, error_body(error), refusal_headers(error))

    async def _granted(self, oauth: ResourceServer, token: str) -> Access:
        """What a token opens. Callers without one must not take all threads by asking."""
        known = oauth.cached(token)
        if known is not None:
            return known
        if self._asking is None:  # a limiter belongs to a running event loop
            self._asking = CapacityLimiter(MAX_TOKEN_CHECKS)
        return await to_thread.run_sync(oauth.check, token, limiter=self._asking)

    async def _count(self, principal: Principal) -> None:
        limits = self._studio.rate_limits
        if limits.knows(principal):
            limits.admit(principal)
        else:
            await to_thread.run_sync(limits.admit, principal)

    @contextmanager
    def _stream(self, scope: Scope, principal: Principal) -> Iterator[None]:
        if not self._counts_streams or scope.get("method") != "GET":
            yield
            return
        key = principal.key_id
        if self._streams[key] >= MAX_STREAMS:
            raise too_many("streams", MAX_STREAMS)
        self._streams[key] += 1
        try:
            yield
        finally:
            self._streams[key] -= 1
            if not self._streams[key]:
                del self._streams[key]

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


def too_many(what: str, limit: int) -> RateLimited:
    """The refusal of one more stream or session."""
    return RateLimited(
        f"This key has {limit} {what} open, as many as it may.",
        code=f"too_many_{what}",
        fix="Close one that is not needed any more, then try again.",
        details={"limit": limit, "retry_after": 1},
    )


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
