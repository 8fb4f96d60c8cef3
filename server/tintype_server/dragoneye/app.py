"""The dialect's application: begin, predict, status, results. Each is a call of a tool, through all guards.

Its clients show what the server says only where the status is 400, and only of begin and results; so there,
whatever is wrong with the request is a 400. A task's own failure is told by its status, which they do show.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tintype_server.dragoneye.archive import archive_of
from tintype_server.http.credentials import RequireKey, error_body
from tintype_server.http.limits import refusal_headers
from tintype_server.http.tools import MAX_BODY_BYTES
from tintype_server.pictograph.door import DryRun, RestDoor, WireRequest, headers_of
from tintype_server.runtime import Runtime
from tintype_studio.errors import (
    Conflict,
    Internal,
    InvalidInput,
    MethodNotAllowed,
    NotFound,
    TintypeError,
    TooLarge,
)
from tintype_studio.identity.keys import Principal
from tintype_tools.call import Outcome

PREFIX = "/dragoneye/"
RESPONSE_VERSION = "parquet_object"
IMAGE_WAIT_SECONDS = 20
"""How long /predict waits for a picture, so that the first look at its status, which comes at once, finds it
predicted; the next one would come a second later.
"""
PASSED_ON = frozenset({401, 429})
"""Statuses that clients act upon, everywhere; and those of the server's own failures."""

Handler = Callable[[Request], Awaitable[Response]]


class Dragoneye(BaseRoute):
    """Everything below ``PREFIX``. Clients append their paths to what they are given, with a slash or two."""

    def __init__(self, runtime: Runtime) -> None:
        self._app = build_dragoneye(runtime)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """By prefix."""
        mine = scope["type"] == "http" and _path(scope).startswith(PREFIX)
        return (Match.FULL if mine else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, below the prefix and with single slashes."""
        path = re.sub("/+", "/", f"/{_path(scope)[len(PREFIX) :]}")
        root = str(scope.get("root_path", ""))
        await self._app({**scope, "path": root + path}, receive, send)


def build_dragoneye(runtime: Runtime) -> ASGIApp:
    """The application over an open workspace, with its door keeper."""
    routes = _Routes(RestDoor(runtime))
    app = Starlette(
        routes=[
            Route("/prediction-task/begin", _told(routes.begin), methods=["POST"]),
            Route("/predict", _told(routes.predict, shown=False), methods=["POST"]),
            Route("/prediction-task/status", _told(routes.status, shown=False), methods=["GET"]),
            Route("/prediction-task/results", _told(routes.results), methods=["GET"]),
        ],
        exception_handlers={
            DryRun: _dry_run,
            HTTPException: _wrong_address,
            Exception: _failed,
        },
    )
    app.router.redirect_slashes = False
    return RequireKey(app, runtime.studio, streams=False)


class _Routes:
    """The four operations."""

    def __init__(self, door: RestDoor) -> None:
        self._door = door

    async def begin(self, request: Request) -> Response:
        """A task, and a form to put its file with."""
        form = await _form(request)
        _require_version(form.get("response_version", RESPONSE_VERSION))
        outcome = await self._door.call(
            request,
            "create_prediction_task",
            {
                "mime_type": _needed(form, "mimetype"),
                "file_name": form.get("file_name"),
                "frames_per_second": _number(form.get("frames_per_second"), "frames_per_second"),
            },
        )
        made = outcome.value
        upload = {
            "blob_path": made["upload_path"],
            "presigned_post_request": {"url": made["form_url"], "fields": made["form_fields"]},
        }
        return _answer(
            outcome,
            {
                "prediction_task_uuid": made["prediction_task_uuid"],
                "prediction_type": made["media"],
                "signed_urls": [upload],
            },
        )

    async def predict(self, request: Request) -> Response:
        """Start the prediction of a task; once, however often it is asked for."""
        form = await _form(request)
        task_id, model = _needed(form, "prediction_task_uuid"), _needed(form, "model_name")
        task = await self._door.read(request, lambda principal: self._predictions.get(principal, task_id))
        image = task.media == "image"
        call = partial(
            self._door.call,
            request,
            "predict_image" if image else "predict_video",
            {
                "prediction_task_uuid": task_id,
                "model": model,
                "objects": _names(form.get("objects")),
                "confidence_threshold": _share(form.get("confidence_threshold")),
                "wait_seconds": IMAGE_WAIT_SECONDS if image else 0,
            },
        )
        try:
            outcome = await call()
        except Conflict as error:
            if not error.retryable or error.code != "prediction_started":
                raise
            outcome = await call()  # another request was faster by a moment; this one finds its task
        return _answer(outcome, {"prediction_task_uuid": task_id})

    async def status(self, request: Request) -> Response:
        """Where a task stands."""
        outcome = await self._door.call(
            request, "get_prediction_status", {"prediction_task_uuid": _asked(request)}
        )
        told = outcome.value
        return _answer(
            outcome,
            {
                "prediction_task_uuid": told["prediction_task_uuid"],
                "prediction_type": told["media"],
                "status": told["status"],
                "error_message": told.get("error_message"),
            },
        )

    async def results(self, request: Request) -> Response:
        """What was predicted, as an archive."""
        _require_version(request.query_params.get("response_version", RESPONSE_VERSION))
        task_id = _asked(request)
        outcome = await self._door.call(
            request, "get_prediction_results", {"prediction_task_uuid": task_id, "observations": "none"}
        )

        def packed(principal: Principal) -> bytes:
            task = self._predictions.get(principal, task_id)
            return archive_of(self._predictions.result(principal, task))

        task = outcome.value["task"]
        response = Response(
            await self._door.read(request, packed), media_type="application/zip", headers=headers_of(outcome)
        )
        if task.get("original_file_name"):
            # As bytes: a header of text would be Latin-1, which clients read as broken UTF-8.
            name = task["original_file_name"].encode()
            response.raw_headers.append((b"x-original-file-name", name))
        if task.get("frames_per_second"):
            response.headers["X-Frames-Per-Second"] = str(task["frames_per_second"])
        return response

    @property
    def _predictions(self) -> Any:
        return self._door.studio.predictions


def _told(handler: Handler, *, shown: bool = True) -> Handler:
    """The handler; what it refuses becomes a 400 where clients show the ``detail`` of one."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(WireRequest(request.scope, request.receive))
        except TintypeError as error:
            # Clients send again, dozens of times, what is answered with 503; that helps only if it may pass.
            status = 422 if error.status == 503 and not error.retryable else error.status
            as_400 = shown and status < 500 and status not in PASSED_ON
            return _refusal(error, 400 if as_400 else status)

    return handle


def _answer(outcome: Outcome, body: dict[str, Any]) -> Response:
    kept = {name: value for name, value in body.items() if value is not None}
    return Response(orjson.dumps(kept), media_type="application/json", headers=headers_of(outcome))


def _refusal(error: TintypeError, status: int) -> Response:
    body = {**error_body(error), "detail": f"{error.message} {error.fix}"}
    return JSONResponse(body, status, headers=refusal_headers(error))


async def _form(request: Request) -> FormData:
    try:
        return await request.form(max_files=0, max_fields=100)
    except HTTPException as error:
        if error.status_code == 413:
            raise TooLarge(
                f"The request body is over {MAX_BODY_BYTES // 1048576} MiB.", code="body_too_large"
            ) from None
        raise InvalidInput("The body is no form.", code="invalid_form", fix="Send form fields.") from None


def _needed(form: FormData, name: str) -> str:
    value = form.get(name)
    if not isinstance(value, str) or not value:
        raise _missing(name)
    return value


def _asked(request: Request) -> str:
    value = request.query_params.get("predictionTaskUuid")
    if not value:
        raise _missing("predictionTaskUuid")
    return value


def _missing(name: str) -> InvalidInput:
    return InvalidInput(f"{name} is missing.", code="missing_field", fix=f"Send {name}.")


def _number(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if not re.fullmatch(r"-?\d{1,9}", str(value), re.ASCII):
        raise InvalidInput(f"{name} must be a whole number.", code="invalid_field", fix="Send a number.")
    return int(value)


def _share(value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        raise InvalidInput(
            "confidence_threshold must be a number from 0 to 1.", code="invalid_field", fix="Send a number."
        ) from None


def _names(value: Any) -> list[str] | None:
    """Names of a JSON list, or divided by commas."""
    if value is None:
        return None
    try:
        found = orjson.loads(str(value))
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, list) and all(isinstance(each, str) for each in found):
        return found
    return [each.strip() for each in str(value).split(",") if each.strip()]


def _require_version(version: Any) -> None:
    if version != RESPONSE_VERSION:
        raise InvalidInput(
            f"Results are given as {RESPONSE_VERSION} only.",
            code="unknown_response_version",
            fix="Use version 2 of the SDK.",
        )


async def _dry_run(_request: Request, error: Any) -> Response:
    return JSONResponse(error.outcome.value, headers=headers_of(error.outcome))


async def _wrong_address(_request: Request, error: Any) -> Response:
    if error.status_code == 405:
        return _refusal(MethodNotAllowed("This address does not take this method."), 405)
    return _refusal(NotFound("There is nothing at this address.", fix="Check the path."), 404)


async def _failed(_request: Request, _error: Any) -> Response:
    return _refusal(Internal(), 500)


def _path(scope: Scope) -> str:
    """The path below the place where the application hangs."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and f"{path}/".startswith(f"{root}/") else path
