"""What a server's HTTP answer to a call means."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tintype_studio import errors
from tintype_studio.errors import ConfirmationRequired, PaymentRequired, TintypeError, Unavailable
from tintype_tools.call import Outcome, Picture, Request

if TYPE_CHECKING:
    import httpx

_PASSING = frozenset({502, 503, 504})
"""What a proxy says while its server is away, and a server that has too much to do."""

_BY_STATUS: dict[int, type[TintypeError]] = {
    kind.status: kind
    for kind in (
        errors.InvalidInput,
        errors.UnsupportedFormat,
        errors.TooLarge,
        errors.Unauthorized,
        errors.Forbidden,
        errors.NotFound,
        errors.MethodNotAllowed,
        errors.Conflict,
        errors.Cancelled,
        errors.DeadlineExceeded,
        errors.RateLimited,
        errors.Unavailable,
    )
}


def seconds_to_wait(response: httpx.Response, attempt: int) -> float | None:
    """How long to wait before the same call is sent again; None when the answer stands.

    ``attempt`` counts from 1. Calls that were refused for what they ask stand at once.
    """
    own = _shape(response)
    if response.status_code == 429 or (response.status_code in _PASSING and own is None):
        pass
    elif own is None or own.get("code") != "call_in_flight":
        return None
    told = response.headers.get("retry-after", "")
    return float(told) if told.isascii() and told.isdecimal() else 0.25 * 2**attempt


def outcome_of(response: httpx.Response, request: Request) -> Outcome:
    """The outcome that the answer carries; raises ``TintypeError`` for a refusal."""
    if response.status_code != 200:
        raise error_of(response)
    try:
        value = response.json()
        pictures = tuple(
            Picture(base64.b64decode(p["data"]), p["mime_type"], p["width"], p["height"])
            for p in value.pop("_pictures", ())
        )
        headers = response.headers
        credits = int(headers.get("x-credits-charged", "0"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _unexpected(response) from None
    return Outcome(
        headers.get("x-request-id", ""),
        value,
        pictures,
        credits=credits,
        replayed=headers.get("idempotent-replayed") == "true",
        dry_run=request.dry_run,
        restore_point=headers.get("x-restore-point"),
    )


def error_of(response: httpx.Response) -> TintypeError:
    """The refusal that the answer carries, of the class that a call in this process would raise."""
    shape = _shape(response)
    if shape is None:
        return _unexpected(response)
    details: dict[str, Any] = shape["details"] if isinstance(shape.get("details"), dict) else {}
    told = {"code": shape["code"], "fix": shape.get("fix"), "details": details}
    error: TintypeError
    if response.status_code == ConfirmationRequired.status:
        token = details.get("confirm_token") or ""
        error = ConfirmationRequired(shape["message"], token=token, by_human=not token, **told)
    elif response.status_code == PaymentRequired.status:
        error = PaymentRequired(
            shape["message"],
            required=details.get("required", 0),
            remaining=details.get("remaining", 0),
            **told,
        )
    else:
        error = _BY_STATUS.get(response.status_code, TintypeError)(shape["message"], **told)
    error.retryable = bool(shape.get("retryable"))
    error.call_id = response.headers.get("x-request-id")
    return error


def _shape(response: httpx.Response) -> dict[str, Any] | None:
    """Our own error in the body, if it is one."""
    try:
        shape = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return None
    return shape if isinstance(shape, dict) and {"code", "message"} <= set(shape) else None


def _unexpected(response: httpx.Response) -> Unavailable:
    return Unavailable(
        f"The server answered with HTTP {response.status_code} and nothing of ours in it.",
        code="unexpected_answer",
        fix="Check that base_url is the address of a Tintype server, and that nothing stands in between.",
    )
