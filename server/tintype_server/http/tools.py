"""``tools.json`` from memory, and dispatch of a tool by name."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

import orjson
from anyio import to_thread
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from tintype_server.http.connected import run_while_connected
from tintype_server.http.credentials import api_key_of, error_body
from tintype_server.http.limits import (
    deadline_seconds,
    is_dry_run,
    rate_headers,
    refusal_headers,
    session_of,
    token_budget,
)
from tintype_server.http.visibility import is_read_only, toolsets_of
from tintype_server.runtime import Runtime, configured_files
from tintype_server.telemetry.traces import trace_context
from tintype_server.workers import Workers
from tintype_studio import clock
from tintype_studio.errors import InvalidInput, RateLimited, TintypeError, TooLarge, Unauthorized
from tintype_studio.identity.keys import Principal
from tintype_tools.call import Request
from tintype_tools.snapshot import as_registry_entry, load_snapshot
from tintype_tools.toolkit import outcome_as_json

MAX_BODY_BYTES = 16 * 1024 * 1024
"""Largest JSON body of a call, in bytes."""


class ToolRoutes:
    """The registry over plain HTTP."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._files = configured_files(runtime.settings)
        self._workers = Workers(runtime)
        self._payload, self._etag = _registry_payload()

    async def registry(self, request: HttpRequest) -> Response:
        """``GET /tools.json``: the documented registry payload, the same bytes for every caller."""
        principal = await self._principal(request)
        limits = self._runtime.studio.rate_limits
        try:
            limits.admit(principal)
        except RateLimited as error:
            response = error_response(error)
            response.headers.update(rate_headers(limits.window(principal)))
            return response
        headers = {
            "ETag": self._etag,
            "Cache-Control": "private, max-age=60",
            **rate_headers(limits.window(principal)),
        }
        known = {
            tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")
        }
        if known & {self._etag, "*"}:
            return Response(status_code=304, headers=headers)
        return Response(self._payload, media_type="application/json", headers=headers)

    async def dispatch(self, request: HttpRequest) -> Response:
        """``POST /_dispatch/{tool}``: arguments as a JSON object in, the result as a JSON object out."""
        try:
            response = await self._dispatched(request)
        except TintypeError as error:
            response = error_response(error)
        response.headers.update(self._limits(request))
        return response

    async def _dispatched(self, request: HttpRequest) -> Response:
        try:
            await self._principal(request)
        except Unauthorized as error:
            await self._turn_away(request)
            raise error from None
        arguments = await _json_object(request)
        call = Request(
            tool=request.path_params["tool"],
            arguments=arguments,
            api_key=api_key_of(request),
            door="dispatch",
            files=self._files,
            agent=request.headers.get("user-agent"),
            idempotency_key=request.headers.get("idempotency-key"),
            base_url=str(request.base_url).rstrip("/"),
            max_response_tokens=token_budget(request),
            dry_run=is_dry_run(request),
            confirm_token=request.headers.get("x-confirm-token"),
            session=session_of(request),
            deadline_seconds=deadline_seconds(request),
            trace=trace_context(request.headers),
            toolsets=toolsets_of(request),
            read_only=is_read_only(request),
        )
        outcome = await run_while_connected(self._workers, request, call)
        headers = {"X-Request-Id": outcome.call_id, "X-Credits-Charged": str(outcome.credits)}
        if outcome.replayed:
            headers["Idempotent-Replayed"] = "true"
        if outcome.restore_point:
            headers["X-Restore-Point"] = outcome.restore_point
        return Response(
            orjson.dumps(outcome_as_json(outcome)), media_type="application/json", headers=headers
        )

    async def _turn_away(self, request: HttpRequest) -> None:
        """Show the guards that somebody without a valid key called; nothing of the body is read or kept."""
        call = Request(
            tool=request.path_params["tool"],
            arguments={},
            api_key=api_key_of(request),
            door="dispatch",
            files=self._files,
            agent=request.headers.get("user-agent"),
            dry_run=True,  # should the key have become valid meanwhile
        )
        with suppress(TintypeError):
            await self._workers.run(call)

    async def _principal(self, request: HttpRequest) -> Principal:
        keys, key = self._runtime.studio.keys, api_key_of(request)
        principal = keys.cached(key)
        if principal is None:
            principal = await to_thread.run_sync(keys.authenticate, key)
        return principal

    def _limits(self, request: HttpRequest) -> dict[str, str]:
        studio = self._runtime.studio
        principal = studio.keys.cached(api_key_of(request))
        return {} if principal is None else rate_headers(studio.rate_limits.window(principal))


def error_response(error: TintypeError) -> Response:
    """A refusal over HTTP."""
    return Response(
        orjson.dumps(error_body(error)),
        error.status,
        media_type="application/json",
        headers=refusal_headers(error),
    )


def _registry_payload() -> tuple[bytes, str]:
    snapshot = load_snapshot()
    tools = [as_registry_entry(tool) | _extras(tool) for tool in snapshot["tools"]]
    digest = hashlib.sha256(orjson.dumps([snapshot["version"], tools])).hexdigest()
    payload = {
        "tools": tools,
        "version": snapshot["version"],
        "count": snapshot["count"],
        "generated_at": clock.now(),
    }
    return orjson.dumps(payload), f'"{digest[:32]}"'


def _extras(tool: dict[str, Any]) -> dict[str, Any]:
    return {k: tool[k] for k in ("title", "category", "toolset", "core", "effect", "output_schema")}


async def _json_object(request: HttpRequest) -> dict[str, Any]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(
                f"The request body is over {MAX_BODY_BYTES // 1048576} MiB.", code="body_too_large"
            )
    try:
        arguments = orjson.loads(bytes(body)) if body.strip() else {}
    except orjson.JSONDecodeError:
        raise InvalidInput(
            "The request body is not valid JSON.", code="invalid_json", fix="Send the arguments as JSON."
        ) from None
    if not isinstance(arguments, dict):
        raise InvalidInput("The request body must be a JSON object of arguments.", code="invalid_json")
    return arguments
