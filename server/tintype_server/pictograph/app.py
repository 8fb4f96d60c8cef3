"""The dialect's application: its routers, who may come in, and how it says no."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from importlib import import_module
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tintype_server.dispatch.guards.validate import invalid_arguments
from tintype_server.http.credentials import RequireKey
from tintype_server.http.tools import MAX_BODY_BYTES
from tintype_server.pictograph.door import API, DryRun, RestDoor, headers_of
from tintype_server.pictograph.errors import DOCUMENTED, wire_refusal
from tintype_server.pictograph.reference import DOCS_PATH, OPENAPI_PATH, document, page
from tintype_server.runtime import Runtime
from tintype_studio import clock
from tintype_studio.errors import Internal, InvalidInput, MethodNotAllowed, NotFound, TintypeError, TooLarge
from tintype_studio.names import printable

PREFIX = "/api/v1/"

OTHERS = (f"{API}/_dispatch/", f"{API}/tools")
"""What is below the prefix and not the dialect's; routes of their own refuse what they do not take."""

RESOURCES = (
    "datasets",
    "images",
    "annotations",
    "exports",
    "training",
    "models",
    "credits",
    "organizations",
    "projects",
    "batch",
    "search",
    "auto_annotate",
    "video",
    "connectors",
    "api_keys",
)
"""One module each, with ``routes(door)``."""


Refuse = Callable[..., Awaitable[Response]]
"""Called with the request, the error and, if there are any, further headers."""


class Dialect(BaseRoute):
    """Everything below ``/api/v1/`` that no route before it took.

    Not a mount, which would take the prefix off the paths in the OpenAPI document.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._app = build_dialect(runtime)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """By prefix."""
        path = _path(scope) if scope["type"] == "http" else ""
        mine = path.startswith(PREFIX) and not path.startswith(OTHERS)
        return (Match.FULL if mine else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on."""
        await self._app(scope, receive, send)


def build_dialect(runtime: Runtime) -> ASGIApp:
    """The application over an open workspace, with its door keeper."""
    door = RestDoor(runtime)
    app = FastAPI(
        title="Tintype",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        responses=DOCUMENTED,
    )
    for name in RESOURCES:
        app.include_router(import_module(f"{__package__}.{name}").routes(door))
    app.add_route(OPENAPI_PATH, partial(_openapi, app), include_in_schema=False)
    app.add_route(DOCS_PATH, partial(_docs, app), include_in_schema=False)
    refuse = partial(_refuse, door)
    app.add_exception_handler(TintypeError, refuse)
    app.add_exception_handler(RequestValidationError, partial(_wrong_content, refuse))
    app.add_exception_handler(HTTPException, partial(_wrong_address, app, refuse))
    app.add_exception_handler(DryRun, _dry_run)
    app.add_exception_handler(Exception, partial(_failed, refuse))
    return _Frame(app, RequireKey(app, runtime.studio, streams=False))


class _Frame:
    """Gives every response an ``X-Request-Id``, and asks for a key everywhere but at the reference."""

    def __init__(self, public: ASGIApp, guarded: ASGIApp) -> None:
        self._public = public
        self._guarded = guarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                if not any(name == b"x-request-id" for name, _ in headers):
                    message["headers"] = [*headers, (b"x-request-id", clock.new_id().encode())]
            await send(message)

        is_public = _path(scope) in {OPENAPI_PATH, DOCS_PATH}
        await (self._public if is_public else self._guarded)(scope, receive, send_with_id)


async def _openapi(app: FastAPI, _request: Request) -> Response:
    return JSONResponse(document(app))


async def _docs(app: FastAPI, _request: Request) -> Response:
    return Response(page(document(app)), media_type="text/html; charset=utf-8")


async def _refuse(door: RestDoor, request: Request, error: Any, headers: Any = None) -> Response:
    return wire_refusal(error, upgrade_url=f"{door.base_url(request)}{DOCS_PATH}#credits", headers=headers)


async def _wrong_content(refuse: Refuse, request: Request, error: Any) -> Response:
    found = error.errors()
    if any(problem["type"] == "json_invalid" for problem in found):
        return await refuse(request, _invalid_json())
    return await refuse(request, invalid_arguments(found, "Leave out what the operation does not take."))


def _invalid_json() -> InvalidInput:
    return InvalidInput(
        "The request body is not valid JSON.", code="invalid_json", fix="Send the content as JSON."
    )


async def _wrong_address(app: FastAPI, refuse: Refuse, request: Request, error: Any) -> Response:
    answer: TintypeError
    if error.status_code == 404:
        answer = NotFound("There is nothing at this address.", fix=_other_slash(app, request))
    elif error.status_code == 405:
        answer = MethodNotAllowed("This address does not take this method.")
    elif error.status_code == 413:
        answer = TooLarge(f"The request body is over {MAX_BODY_BYTES // 1048576} MiB.", code="body_too_large")
    else:
        answer = _invalid_json()
    return await refuse(request, answer, error.headers)


def _other_slash(app: FastAPI, request: Request) -> str:
    """Slashes count, since clients follow no redirect; so say when one is too many or missing."""
    path = request.scope["path"]
    other = path[:-1] if path.endswith("/") else f"{path}/"
    scope = {**request.scope, "path": other}
    if any(route.matches(scope)[0] is not Match.NONE for route in app.routes):
        how = "without" if path.endswith("/") else "with"
        return f"Send it to {printable(other[:200])}, {how} a slash at the end."
    return f"Check the path; {API}/openapi.json lists them."


async def _dry_run(_request: Request, error: Any) -> Response:
    return JSONResponse(error.outcome.value, headers=headers_of(error.outcome))


async def _failed(refuse: Refuse, request: Request, _error: Any) -> Response:
    return await refuse(request, Internal())


def _path(scope: Scope) -> str:
    """The path below the place where the application hangs."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and f"{path}/".startswith(f"{root}/") else path
