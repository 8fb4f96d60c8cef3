"""What callers say in headers about how a call is to run, and what they are told about their limits."""

from __future__ import annotations

import re

from starlette.requests import HTTPConnection

from tintype_studio.errors import InvalidInput, TintypeError
from tintype_studio.limits.rate import Window


def token_budget(connection: HTTPConnection) -> int | None:
    """``X-Max-Response-Tokens``: the caller's own response budget."""
    value = connection.headers.get("x-max-response-tokens")
    if value is None:
        return None
    if not re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
        raise InvalidInput("X-Max-Response-Tokens must be a whole number.", code="invalid_header")
    return int(value)


def is_dry_run(connection: HTTPConnection) -> bool:
    """``X-Dry-Run: true``; anything but true and false is an error, so that no slip makes a call live."""
    values = {value.strip().lower() for value in connection.headers.getlist("x-dry-run")} or {"false"}
    if values not in ({"true"}, {"false"}):
        raise InvalidInput("X-Dry-Run must be true or false.", code="invalid_header")
    return values == {"true"}


def deadline_seconds(connection: HTTPConnection) -> float | None:
    """``X-Deadline-Seconds``: how long the call may take."""
    value = connection.headers.get("x-deadline-seconds")
    if value is None:
        return None
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", value, re.ASCII) or float(value) <= 0:
        raise InvalidInput("X-Deadline-Seconds must be a number above zero.", code="invalid_header")
    return float(value)


def session_of(connection: HTTPConnection) -> str | None:
    """What the caller counts the call to: ``X-Session-Id``, or the transport's own session."""
    own = connection.headers.get("x-session-id")
    if own is not None:
        return own
    transport = connection.headers.get("mcp-session-id") or connection.query_params.get("session_id")
    return f"mcp-{transport[:56]}" if transport else None


def rate_headers(window: Window) -> dict[str, str]:
    """The documented headers of every response."""
    return {
        "X-RateLimit-Limit": str(window.limit),
        "X-RateLimit-Remaining": str(window.remaining),
        "X-RateLimit-Reset": str(window.reset),
    }


def refusal_headers(error: TintypeError) -> dict[str, str]:
    """What a refusal says in headers: how to authenticate, or when to try again."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    if error.call_id is not None:
        headers["X-Request-Id"] = error.call_id
    if "retry_after" in error.details:
        headers["Retry-After"] = str(error.details["retry_after"])
    return headers
