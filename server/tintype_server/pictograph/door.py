"""The door ``rest``: how the dialect's routes call tools, and how they answer.

Its callers are programs: no answer is cut, and no call asks for a confirmation but one whose key or server
wants a person's word (docs/guardrails.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tintype_server.dispatch.running import REST
from tintype_server.http.connected import run_while_connected
from tintype_server.http.credentials import api_key_of
from tintype_server.http.limits import deadline_seconds, is_dry_run, session_of
from tintype_server.http.tools import MAX_BODY_BYTES
from tintype_server.http.visibility import is_read_only, toolsets_of
from tintype_server.runtime import Runtime
from tintype_server.telemetry.traces import trace_context
from tintype_server.workers import Workers
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_tools.call import Outcome
from tintype_tools.call import Request as ToolRequest
from tintype_tools.local_files import LocalFiles
from tintype_tools.spec import Effect

API = "/api/v1/developer"

T = TypeVar("T")


class DryRun(Exception):
    """Carries the answer of a dry run past the route, which knows only the shape of a live one."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


class RestDoor:
    """What a route needs: a caller of tools, reads for its translations, and answers."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._workers = Workers(runtime)
        self._files = LocalFiles.under()

    @property
    def studio(self) -> Studio:
        """The platform, for reads."""
        return self._runtime.studio

    def router(self, prefix: str, tag: str) -> APIRouter:
        """An empty router for the routes of one resource; ``prefix`` begins after the host."""
        return APIRouter(prefix=prefix, tags=[tag], route_class=WireRoute, redirect_slashes=False)

    async def call(
        self, request: Request, tool: str, arguments: dict[str, Any], *, files: LocalFiles | None = None
    ) -> Outcome:
        """Call a tool for whoever sent the request, through all guards; raises ``TintypeError``.

        The headers ``Idempotency-Key``, ``X-Dry-Run``, ``X-Session-Id``, ``X-Deadline-Seconds``,
        ``X-Confirm-Token``, ``X-Approval-Id`` and the trace context hold for the call. With a dry run, a
        read is done as always, and anything else ends the route with the answer of the dry run.
        Arguments that are None are left out. ``files`` are local paths that this call may touch: those of
        a form, which the route itself names.
        """
        registry = self._runtime.registry
        reads = tool in registry and registry.get(tool).effect is Effect.READ
        call = ToolRequest(
            tool=tool,
            arguments={name: value for name, value in arguments.items() if value is not None},
            api_key=api_key_of(request),
            door=REST,
            files=files or self._files,
            agent=request.headers.get("user-agent"),
            idempotency_key=request.headers.get("idempotency-key"),
            base_url=self.base_url(request),
            max_response_tokens=0,
            dry_run=is_dry_run(request) and not reads,
            confirm_token=request.headers.get("x-confirm-token"),
            approval_id=request.headers.get("x-approval-id"),
            session=session_of(request),
            deadline_seconds=deadline_seconds(request),
            trace=trace_context(request.headers),
            toolsets=toolsets_of(request),
            read_only=is_read_only(request),
            counted=True,
        )
        outcome = await run_while_connected(self._workers, request, call)
        if outcome.dry_run:
            raise DryRun(outcome)
        return outcome

    async def principal(self, request: Request) -> Principal:
        """Who sent the request; raises ``Unauthorized``."""
        keys, key = self.studio.keys, api_key_of(request)
        principal = keys.cached(key)
        return principal if principal is not None else await self._workers.do(lambda: keys.authenticate(key))

    async def read(self, request: Request, work: Callable[[Principal], T]) -> T:
        """Look something up in a worker thread, such as the name behind an id, before a call.

        Anything that is an answer by itself belongs into a tool, where the guards are.
        """
        principal = await self.principal(request)
        return await self._workers.do(lambda: work(principal))

    def answer(
        self,
        request: Request,
        body: dict[str, Any] | BaseModel | bytes,
        outcome: Outcome | None = None,
        status: int = 200,
    ) -> Response:
        """A JSON response; ``bytes`` are JSON already. ``outcome`` is the call that the answer is of."""
        if isinstance(body, BaseModel):
            body = body.model_dump(mode="json")
        return Response(
            body if isinstance(body, bytes) else orjson.dumps(body),
            status,
            media_type="application/json",
            headers={} if outcome is None else headers_of(outcome),
        )

    def base_url(self, request: Request) -> str:
        """The absolute address of this server without a slash at the end: as set, or as it was called."""
        return self._runtime.settings.base_url or str(request.base_url).rstrip("/")


def headers_of(outcome: Outcome) -> dict[str, str]:
    """What the guards have to say about a call."""
    headers = {"X-Request-Id": outcome.call_id, "X-Credits-Charged": str(outcome.credits)}
    if outcome.replayed:
        headers["Idempotent-Replayed"] = "true"
    if outcome.restore_point:
        headers["X-Restore-Point"] = outcome.restore_point
    return headers


class WireRequest(Request):
    """A request whose body has a limit and whose JSON is strict: no NaN, no broken text."""

    async def stream(self) -> AsyncIterator[bytes]:  # type: ignore[override]
        """The body in pieces, up to the limit."""
        size = 0
        async for chunk in super().stream():
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise HTTPException(413)
            yield chunk

    async def json(self) -> Any:
        """The body's content."""
        return orjson.loads(await self.body())


class WireRoute(APIRoute):
    """A route whose requests are ``WireRequest``s."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the change of class."""
        handle = super().get_route_handler()

        async def handle_wire(request: Request) -> Response:
            return await handle(WireRequest(request.scope, request.receive))

        return handle_wire
