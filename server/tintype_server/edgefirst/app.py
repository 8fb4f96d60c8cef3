"""The dialect's application: ``POST /edgefirst/api``, addresses of files, who may come in, how it says no."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import anyio
import orjson
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from tintype_server.dispatch.running import log
from tintype_server.edgefirst.envelope import (
    BAD_REQUEST,
    INVALID_REQUEST,
    PARSE_ERROR,
    UNKNOWN_METHOD,
    answered,
    failed,
    id_text,
    refused,
)
from tintype_server.edgefirst.forms import received_form
from tintype_server.edgefirst.methods import FORMS, GETS, METHODS, Binary, Rpc, toolset_of
from tintype_server.edgefirst.tokens import TOKENS_SCOPE, Tokens, is_token
from tintype_server.http.credentials import GRANTED_SCOPE, api_key_of, error_body
from tintype_server.http.limits import rate_headers, refusal_headers
from tintype_server.http.visibility import toolsets_of
from tintype_server.pictograph.door import DryRun, RestDoor, headers_of
from tintype_server.runtime import Runtime
from tintype_studio.errors import (
    Forbidden,
    Internal,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    TintypeError,
    TooLarge,
    Unavailable,
)
from tintype_studio.identity.keys import Principal
from tintype_tools.snapshot import ALWAYS_OPEN

PREFIX = "/edgefirst/"
AREAS = (
    *("auth", "account", "catalog", "samples", "annotations"),
    *("snapshots", "versions", "recycle", "sessions", "tasks", "trainers"),
)
"""One module each, ``rpc_<area>``, whose handlers register themselves."""

OPEN = frozenset({"version", "auth.login", "auth.refresh"})
"""Methods that need no valid token: they give one, or have none yet."""

MAX_BODY = 64 * 1024**2
"""Bytes of a JSON body: a page of samples with their outlines."""
MAX_OPEN_BODY = 64 * 1024
"""The same of somebody who has not shown a token."""
IDLE_SECONDS = 60.0


class EdgeFirst(BaseRoute):
    """Everything below ``PREFIX``."""

    def __init__(self, runtime: Runtime) -> None:
        self._app = build_edgefirst(runtime)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """By prefix."""
        mine = scope["type"] == "http" and _path(scope).startswith(PREFIX)
        return (Match.FULL if mine else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, below the prefix and with single slashes."""
        path = re.sub("/+", "/", f"/{_path(scope)[len(PREFIX) :]}")
        root = str(scope.get("root_path", ""))
        await self._app({**scope, "path": root + path}, receive, send)


def build_edgefirst(runtime: Runtime) -> Starlette:
    """The application over an open workspace."""
    for area in AREAS:
        import_module(f"{__package__}.rpc_{area}")
    routes = _Routes(runtime)
    app = Starlette(
        routes=[
            Route("/api", routes.api, methods=["POST"]),
            *(Route(f"/{name}", routes.get, methods=["GET"]) for name in GETS),
        ],
        exception_handlers={HTTPException: _wrong_address, Exception: _failed},
    )
    app.router.redirect_slashes = False
    return app


class _Routes:
    """The addresses."""

    def __init__(self, runtime: Runtime) -> None:
        self._studio = runtime.studio
        self._settings = runtime.settings
        self._scratch = runtime.studio.home / "tmp"
        self._door = RestDoor(runtime)
        self._tokens = Tokens(runtime.studio)

    async def api(self, request: Request) -> Response:
        """One method: JSON, or a form with ``?method=``."""
        principal, stranger = await self._caller(request)
        response = await self._answered(request, principal, stranger)
        if principal is not None:
            response.headers.update(rate_headers(self._studio.rate_limits.window(principal)))
        return response

    async def _answered(
        self, request: Request, principal: Principal | None, stranger: TintypeError | None
    ) -> Response:
        request_id = ""
        try:
            if principal is not None:
                await self._count(principal)
            if request.headers.get("content-type", "").lower().startswith("multipart/"):
                if stranger is not None:
                    raise stranger
                result = await self._form(request, principal)
            else:
                body = await _body(request, MAX_BODY if stranger is None else MAX_OPEN_BODY, stranger)
                try:
                    called = orjson.loads(body)
                except orjson.JSONDecodeError:
                    return failed("", PARSE_ERROR, "The body is not JSON.")
                if not isinstance(called, dict) or not isinstance(called.get("method"), str):
                    return failed("", INVALID_REQUEST, "Send one object with method, params and id.")
                request_id = id_text(called.get("id"))
                result = await self._method(request, called, principal, stranger)
            return _binary(result) if isinstance(result, Binary) else answered(request_id, result)
        except UnknownMethod as error:
            return failed(request_id, UNKNOWN_METHOD, error.message)
        except TintypeError as error:
            return refused(request_id, error, refusal_headers(error))
        except DryRun as ended:
            return answered(request_id, ended.outcome.value, headers_of(ended.outcome))
        except ClientDisconnect:
            return failed(request_id, BAD_REQUEST, "The body ended early.")
        except Exception:
            log.exception("a method of the dialect failed")
            return refused(request_id, Internal())

    async def get(self, request: Request) -> Response:
        """A file by its address. Here a status says what is wrong: clients look at nothing else."""
        try:
            principal, stranger = await self._caller(request)
            if principal is None:
                raise stranger or Internal()
            await self._count(principal)
            name = request.url.path.rpartition("/")[2]
            self._require_toolset(request, name, principal)
            return _binary(await GETS[name](Rpc(self._door, request, name), dict(request.query_params)))
        except TintypeError as error:
            return JSONResponse(error_body(error), error.status, headers=refusal_headers(error))

    async def _method(
        self,
        request: Request,
        called: dict[str, Any],
        principal: Principal | None,
        stranger: TintypeError | None,
    ) -> Any:
        name, params = called["method"], called.get("params")
        if stranger is not None and name not in OPEN:
            raise stranger
        if name in FORMS and name not in METHODS:
            raise InvalidInput(
                f"{name} takes a form.",
                code="form_expected",
                fix=f"Post multipart/form-data to ?method={name}.",
            )
        handler = METHODS.get(name)
        if handler is None:
            raise UnknownMethod(name)
        if params is not None and not isinstance(params, dict):
            raise InvalidInput("params must be an object.", code="invalid_params", fix="Send an object.")
        self._require_toolset(request, name, principal)
        return await handler(Rpc(self._door, request, name), params or {})

    async def _form(self, request: Request, principal: Principal | None) -> Any:
        name = request.query_params.get("method", "")
        handler = FORMS.get(name)
        if handler is None:
            raise UnknownMethod(name)
        self._require_toolset(request, name, principal)
        async with received_form(request, self._scratch) as (fields, files):
            return await handler(Rpc(self._door, request, name), fields, files)

    def _require_toolset(self, request: Request, name: str, principal: Principal | None) -> None:
        """As the guard ``authorize`` does for tools; of those, a handler may need more."""
        wanted = toolset_of(name)
        if wanted is None or principal is None:
            return
        offered = self._settings.offered_toolsets(principal.toolsets, toolsets_of(request))
        if offered is not None and wanted not in offered | ALWAYS_OPEN:
            raise Forbidden(
                f"The toolset {wanted!r}, to which {name} belongs, is not open to this key.",
                code="toolset_required",
                fix="Use a key that includes this toolset.",
            )

    async def _caller(self, request: Request) -> tuple[Principal | None, TintypeError | None]:
        """Who sent the request, or why it is nobody."""
        request.scope[TOKENS_SCOPE] = self._tokens
        try:
            sent = api_key_of(request)
            if sent is not None and is_token(sent):
                if self._tokens.needs_database(sent):
                    granted = await to_thread.run_sync(self._tokens.check, sent)
                else:
                    granted = self._tokens.check(sent)
                request.scope[GRANTED_SCOPE] = granted
                sent = granted.key
            keys = self._studio.keys
            principal = keys.cached(sent)
            if principal is None:
                principal = await to_thread.run_sync(keys.authenticate, sent)
            return principal, None
        except TintypeError as error:
            request.scope.pop(GRANTED_SCOPE, None)
            return None, error

    async def _count(self, principal: Principal) -> None:
        limits = self._studio.rate_limits
        if limits.knows(principal):
            limits.admit(principal)
        else:
            await to_thread.run_sync(limits.admit, principal)


class UnknownMethod(NotFound):
    """A method that nobody handles."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no method {name[:80]!r}.", code="unknown_method", fix="Check its name.")


async def _body(request: Request, limit: int, stranger: TintypeError | None) -> bytes:
    """The body up to a limit. Somebody unknown whose body is too long is told only to log in."""
    pieces, size = [], 0
    stream = request.stream()
    try:
        while True:
            with anyio.fail_after(IDLE_SECONDS):
                piece = await anext(stream)
            size += len(piece)
            if size > limit:
                raise stranger or TooLarge(
                    f"The body is over {limit // 1024**2} MiB.",
                    code="body_too_large",
                    fix="Send fewer samples in a call.",
                )
            pieces.append(piece)
    except StopAsyncIteration:
        return b"".join(pieces)
    except TimeoutError:
        raise Unavailable("The body did not come in time.", code="body_timeout") from None


def _binary(answer: Binary) -> Response:
    headers = {"X-Content-Type-Options": "nosniff"}
    if answer.size is not None:
        headers["Content-Length"] = str(answer.size)
    # Of what calls itself JSON, clients look whether it is an error.
    kind = answer.media_type if "json" not in answer.media_type else "application/octet-stream"
    return StreamingResponse(answer.chunks, media_type=kind, headers=headers)


async def _wrong_address(_request: Request, error: Any) -> Response:
    wrong: TintypeError
    if error.status_code == 405:
        wrong = MethodNotAllowed("This address does not take this method.")
    else:
        wrong = NotFound("There is nothing at this address.", fix="Check the path.")
    return JSONResponse(error_body(wrong), wrong.status)


async def _failed(_request: Request, _error: Any) -> Response:
    return JSONResponse(error_body(Internal()), 500)


def _path(scope: Scope) -> str:
    """The path below the place where the application hangs."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and f"{path}/".startswith(f"{root}/") else path
