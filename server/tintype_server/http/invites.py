"""Invites over HTTP: look at one, accept it. The token in the address is the proof; no key is needed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tintype_server.http.visibility import require_writable
from tintype_server.identity_json import created_key_json
from tintype_server.runtime import Runtime
from tintype_server.trail import Deed, on_record
from tintype_studio.errors import InvalidInput, TintypeError, TooLarge
from tintype_studio.identity.invites import Acceptance

MAX_BODY_BYTES = 64 * 1024
HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
"""An answer may hold a secret, and its address always does."""


class InviteRoutes:
    """``/invites/{token}``."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._studio = runtime.studio

    async def show(self, request: Request) -> Response:
        """``GET``: what the invite is for. One and the same 404 for every token that does not work."""
        invitation = await to_thread.run_sync(self._studio.invites.show, request.path_params["token"])
        return JSONResponse(
            {
                "organization": invitation.organization,
                "role": invitation.role.value,
                "email": invitation.email,
                "expires_at": invitation.expires_at.isoformat(),
            },
            headers=HEADERS,
        )

    async def accept(self, request: Request) -> Response:
        """``POST``, with ``{"full_name": …}`` or nothing: become a member; the API key is in the answer,
        once.
        """
        require_writable(self._runtime.settings)
        full_name = _full_name(await _body(request))
        token, agent = request.path_params["token"], request.headers.get("user-agent")
        accepted = await to_thread.run_sync(self._accept, token, full_name, agent)
        return JSONResponse(
            {
                **created_key_json(accepted.api_key, accepted.key),
                "organization": accepted.organization,
                "member_id": accepted.member_id,
            },
            status_code=201,
            headers=HEADERS,
        )

    def _accept(self, token: str, full_name: str | None, agent: str | None) -> Acceptance:
        # Guesses leave no rows: whoever has no key must not be able to fill the database.
        email = self._studio.invites.show(token).email
        deed = Deed("invites.accept", "http", agent, {"email": email})
        with on_record(self._studio, deed):
            accepted = self._studio.invites.accept(token, full_name=full_name)
            with suppress(TintypeError):
                deed.principal = self._studio.keys.authenticate(accepted.api_key)
        return accepted


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(f"The request body is over {MAX_BODY_BYTES // 1024} KiB.", code="body_too_large")
    return bytes(body)


def _full_name(body: bytes) -> str | None:
    if not body.strip():
        return None
    try:
        content: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _bad_body("is not valid JSON") from None
    if not isinstance(content, dict) or not set(content) <= {"full_name"}:
        raise _bad_body("takes a JSON object with full_name, or nothing")
    name = content.get("full_name")
    if name is not None and not isinstance(name, str):
        raise _bad_body("takes full_name as text")
    return name


def _bad_body(problem: str) -> InvalidInput:
    return InvalidInput(
        f"The request body {problem}.", code="invalid_json", fix='Send {"full_name": "…"}, or nothing.'
    )
