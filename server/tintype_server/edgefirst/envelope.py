"""Answers as the dialect's clients read them: always an envelope, always status 200.

Clients send again, up to a dozen times, what has a status that looks as if it might pass; and of anything
that is no envelope they tell their user nothing. An ``id`` is text to them, and a ``result`` of null is none.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from tintype_studio.errors import Internal, TintypeError

BAD_REQUEST, INTERNAL, NOT_FOUND = 3, 10, 101
PARSE_ERROR, INVALID_REQUEST, UNKNOWN_METHOD = -32700, -32600, -32601

_CODES = {401: 401, 403: 403, 404: NOT_FOUND, 413: 413}
"""By the status of the error; clients tell their user nothing of what 401 and 403 say."""


def answered(request_id: str, result: Any, headers: dict[str, str] | None = None) -> Response:
    """The envelope of a result; what cannot be told as JSON is a defect."""
    return _envelope(request_id, {"result": {} if result is None else result}, headers)


def refused(request_id: str, error: TintypeError, headers: dict[str, str] | None = None) -> Response:
    """The envelope of an error: its sentence and its way out as text, the whole of it as ``data``."""
    return failed(
        request_id,
        _CODES.get(error.status, BAD_REQUEST if error.status < 500 else INTERNAL),
        f"{error.message} {error.fix}",
        error.as_dict(),
        headers,
    )


def failed(
    request_id: str,
    code: int,
    message: str,
    data: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """The envelope of an error with a code of the protocol's own."""
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return _envelope(request_id, {"error": error}, headers)


def id_text(value: Any) -> str:
    """A request's id as the answer has it."""
    return str(value)[:200] if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _envelope(request_id: str, content: dict[str, Any], headers: dict[str, str] | None) -> Response:
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": request_id}
    try:
        encoded = orjson.dumps({**body, **content})
    except TypeError:  # an integer beyond 64 bits, or text that is broken
        message = Internal().message
        encoded = orjson.dumps({**body, "id": "", "error": {"code": INTERNAL, "message": message}})
    return Response(encoded, media_type="application/json", headers=headers)
