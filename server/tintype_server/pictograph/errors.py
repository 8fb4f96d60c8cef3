"""Errors as clients of the dialect read them.

Such a client takes ``detail`` for its message when it is text, and for a list of ``{loc, msg, type}``
otherwise; ours is beside it, under ``error``.
"""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from tintype_server.http.credentials import error_body
from tintype_server.http.limits import refusal_headers
from tintype_studio.errors import PaymentRequired, TintypeError


class Problem(BaseModel):
    """What is wrong with one part of a request."""

    loc: list[str | int]
    msg: str
    type: str


class Refusal(BaseModel):
    """The error as this server's other doors tell it."""

    code: str
    message: str
    fix: str
    retryable: bool
    details: dict[str, Any] | None = None


class WireError(BaseModel):
    """Body of every refusal."""

    model_config = ConfigDict(extra="allow")

    detail: str | list[Problem]
    error: Refusal


class WirePaymentRequired(WireError):
    """Body of a 402. Sums are whole credits."""

    credit_cost: int
    credits_remaining: int
    upgrade_url: str


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    401: {"model": WireError, "description": "No key, or one that does not work."},
    402: {"model": WirePaymentRequired, "description": "The credits do not cover it."},
    403: {"model": WireError, "description": "The key's role or toolset does not allow it."},
    404: {"model": WireError, "description": "Missing, or of another organization."},
    409: {"model": WireError, "description": "A name is taken, or a state forbids it."},
    413: {"model": WireError, "description": "The body, or a document or file in it, is too large."},
    415: {"model": WireError, "description": "No type of file that is handled."},
    422: {"model": WireError, "description": "The request's content is wrong."},
    429: {"model": WireError, "description": "Too many calls; `Retry-After` says for how long."},
}
"""Refusals that every operation may answer."""


STATUS = {
    "needs_engine": 422,
    "last_owner": 422,
    "member_limit": 402,
    "import_over_limit": 402,
    "connector_key_refused": 401,
}
"""Where clients of the dialect expect another status than ours, by the error's code: they would send again
what is answered with 503, and they document these as an invalid value and as a payment that is missing.
"""


NOT_RETRIED = 501
"""Instead of 503 for what no repetition helps, such as a library that is not installed: clients of the
dialect repeat every 503, whatever its body says.
"""


def wire_status(error: TintypeError) -> int:
    """The status that clients of the dialect get for an error."""
    if error.code in STATUS:
        return STATUS[error.code]
    return NOT_RETRIED if error.status == 503 and not error.retryable else error.status


def wire_body(error: TintypeError, *, upgrade_url: str) -> dict[str, Any]:
    """``detail`` and ``error``; a 402 says its sums once more, where clients look for them.

    Where the status is not our own, ``detail`` also says what helps: clients show nothing else.
    """
    body: dict[str, Any] = error_body(error)
    if wire_status(error) != error.status:
        body["detail"] = f"{error.message} {error.fix}"
    problems = error.details.get("errors")
    if error.status == 422 and isinstance(problems, list):
        body["detail"] = problems
    if isinstance(error, PaymentRequired):
        body |= {
            "credit_cost": error.details["required"],
            "credits_remaining": error.details["remaining"],
            "upgrade_url": upgrade_url,
        }
    return body


def wire_refusal(error: TintypeError, *, upgrade_url: str, headers: dict[str, str] | None = None) -> Response:
    """A refusal as a response."""
    return Response(
        orjson.dumps(wire_body(error, upgrade_url=upgrade_url)),
        wire_status(error),
        media_type="application/json",
        headers={**refusal_headers(error), **(headers or {})},
    )
