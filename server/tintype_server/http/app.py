"""The HTTP application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from mcp.server.sse import SseServerTransport
from mcp.server.transport_security import TransportSecuritySettings
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from tintype_server.dispatch.running import log
from tintype_server.dragoneye.app import Dragoneye
from tintype_server.edgefirst.app import EdgeFirst
from tintype_server.http.blobs import BlobRoutes
from tintype_server.http.credentials import RequireKey, api_key_of
from tintype_server.http.front_page import front_page
from tintype_server.http.invites import InviteRoutes
from tintype_server.http.limits import session_of, token_budget
from tintype_server.http.metrics import MetricsRoute
from tintype_server.http.oauth import MCP_PATH, resource_server
from tintype_server.http.sample_files import SampleRoutes
from tintype_server.http.streamable import Streamable
from tintype_server.http.tools import MAX_BODY_BYTES, ToolRoutes, error_response
from tintype_server.http.uploads import UploadRoutes
from tintype_server.http.visibility import is_read_only, says_it_in_url, toolsets_of
from tintype_server.mcp.caller import Caller, CallerOf
from tintype_server.mcp.server import build_server
from tintype_server.pictograph.app import Dialect
from tintype_server.runtime import Runtime, configured_files
from tintype_studio.errors import Internal, InvalidInput, MethodNotAllowed, NotFound, TintypeError

API = "/api/v1/developer"
SSE_MESSAGES = "/messages/"
HOUSEKEEPING_SECONDS = 60.0


def build_app(runtime: Runtime, *, allowed_hosts: Sequence[str] = ()) -> FastAPI:
    """The application over an open workspace; the caller closes the workspace after serving.

    ``allowed_hosts`` are the values of the Host header that MCP answers to besides this machine's own
    names: a web page that resolves its own name to this address must not reach the server.
    """
    security = _transport_security(runtime, allowed_hosts)
    streamable = Streamable(
        build_server(runtime, _caller_of(runtime, "http")), security, max_body_bytes=MAX_BODY_BYTES
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        housekeeping = asyncio.create_task(_keep_house(runtime))
        async with streamable.run():
            yield
        housekeeping.cancel()
        # A server that gets SIGTERM ends with it, before its caller can close the workspace.
        await to_thread.run_sync(runtime.flush)

    app = FastAPI(title="Tintype", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    tools, blobs, invites = ToolRoutes(runtime), BlobRoutes(runtime), InviteRoutes(runtime)
    uploads = UploadRoutes(runtime)
    studio = runtime.studio
    oauth = resource_server(runtime.settings, studio)
    app.router.routes.extend(
        [
            # First, because every route before it is tried on every call.
            Route(MCP_PATH, RequireKey(streamable, studio, oauth=oauth)),
            Route("/healthz", _health),
            Route("/", front_page),
            Route(f"{API}/tools.json", tools.registry),
            Route(f"{API}/tools", tools.registry),
            Route(f"{API}/tools/", tools.registry),
            Route(f"{API}/_dispatch/{{tool}}", tools.dispatch, methods=["POST"]),
            Route("/_blob/{token}", blobs.download),
            Route("/_upload", uploads.post, methods=["POST"]),
            Route("/_upload/{token}", uploads.put, methods=["PUT"]),
            Route("/_part/{token}", uploads.put_part, methods=["PUT"]),
            Route("/_sample/{token}", SampleRoutes(runtime).put, methods=["PUT"]),
            Route("/invites/{token}", invites.show, methods=["GET"]),
            Route("/invites/{token}", invites.accept, methods=["POST"]),
            *(oauth.routes() if oauth is not None else ()),
            *_metrics_routes(runtime),
            *_sse_routes(runtime, security),
            Dragoneye(runtime),
            EdgeFirst(runtime),
            Dialect(runtime),
        ]
    )
    app.add_exception_handler(TintypeError, _refused)
    app.add_exception_handler(HTTPException, _wrong_address)
    app.add_exception_handler(Exception, _failed)
    return app


def _metrics_routes(runtime: Runtime) -> list[Route]:
    metrics = runtime.telemetry.metrics
    return [] if metrics is None else [Route("/metrics", MetricsRoute(runtime, metrics).get)]


def _sse_routes(runtime: Runtime, security: TransportSecuritySettings) -> list[Route | Mount]:
    """The old HTTP+SSE transport, over a server object of its own."""
    server = build_server(runtime, _caller_of(runtime, "sse"))
    transport = SseServerTransport(SSE_MESSAGES, security, max_request_body_size=MAX_BODY_BYTES)
    studio = runtime.studio

    async def connect(scope: Scope, receive: Receive, send: Send) -> None:
        if says_it_in_url(HTTPConnection(scope)):
            # Messages come to another address, and what this one says would be forgotten.
            told = InvalidInput(
                "This transport takes toolsets and read_only as headers only.",
                code="invalid_query",
                fix="Send X-MCP-Toolsets or X-MCP-Readonly, or connect to /mcp.",
            )
            await error_response(told)(scope, receive, send)
            return
        async with transport.connect_sse(scope, receive, send) as (reads, writes):
            await server.run(reads, writes, server.create_initialization_options())

    return [
        Route("/sse", RequireKey(connect, studio), methods=["GET"]),
        Mount(SSE_MESSAGES, app=RequireKey(transport.handle_post_message, studio)),
    ]


async def _keep_house(runtime: Runtime) -> None:
    """Settle what dead processes left and drop what has expired, as every start does; index new images.

    And go on with the jobs that an earlier server left.
    """
    runtime.studio.search.indexer.start()
    runtime.studio.jobs.supervisor.resume()
    while True:
        await asyncio.sleep(HOUSEKEEPING_SECONDS)
        try:
            await to_thread.run_sync(runtime.studio.settle)
            runtime.studio.jobs.supervisor.resume()
        except Exception:
            log.exception("the housekeeping failed; it is tried again")


def _caller_of(runtime: Runtime, door: str) -> CallerOf:
    files = configured_files(runtime.settings)

    def caller_of(request: Request | None) -> Caller:
        if request is None:
            return Caller(api_key=None, door=door, files=files)
        return Caller(
            api_key=api_key_of(request),
            door=door,
            files=files,
            base_url=_address(request),
            max_response_tokens=token_budget(request),
            session=session_of(request),
            toolsets=toolsets_of(request),
            read_only=is_read_only(request),
        )

    return caller_of


def _address(request: Request) -> str:
    """Where the caller reached this server. The SDK has checked the Host header by now."""
    root = request.scope.get("app_root_path", request.scope.get("root_path", ""))
    return f"{request.scope['scheme']}://{request.headers.get('host', '')}{root}".rstrip("/")


def _transport_security(runtime: Runtime, allowed_hosts: Sequence[str]) -> TransportSecuritySettings:
    names = ["127.0.0.1", "localhost", "[::1]"]
    hosts = [f"{name}:*" for name in names] + names
    origins = [f"http://{name}:*" for name in names]
    base_url = runtime.settings.base_url
    if base_url:
        hosts.append(base_url.split("://", 1)[-1].split("/", 1)[0])
        origins.append("/".join(base_url.split("/", 3)[:3]))
    for host in allowed_hosts:
        hosts += [host, f"{host}:*"]
        origins += [f"https://{host}", f"http://{host}", f"http://{host}:*"]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins
    )


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _refused(_request: Request, error: Any) -> Response:
    return error_response(error)


async def _wrong_address(_request: Request, error: Any) -> Response:
    if error.status_code == 405:
        return error_response(MethodNotAllowed("This address does not take this method."))
    return error_response(NotFound("There is nothing at this address.", fix="Check the path."))


async def _failed(_request: Request, _error: Any) -> Response:
    return error_response(Internal())
