"""Parameters, metrics and charts: JSON of anybody's making, within limits.

A value is text, a whole or finite number, true or false, a list or an object of these. There is no null:
clients of sessions do not take one anywhere.
"""

from __future__ import annotations

import math
from typing import Any

import orjson

from tintype_studio.errors import InvalidInput, TooLarge

MAX_DEPTH = 32
MAX_KEY = 200
MAX_BYTES = 1024**2
"""Of one set of parameters or metrics, as JSON."""
_LEAST, _MOST = -(2**63), 2**63 - 1


def checked_object(value: Any, what: str, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The object, if it can be kept; ``InvalidInput`` (``invalid_parameters``) tells where it cannot.

    ``TooLarge`` over ``max_bytes`` of JSON.
    """
    if not isinstance(value, dict):
        raise _wrong(what, "must be an object")
    return checked_value(value, what, max_bytes=max_bytes)  # type: ignore[no-any-return]


def checked_value(value: Any, what: str, *, max_bytes: int = MAX_BYTES) -> Any:
    """Any such value, if it can be kept; errors as ``checked_object``."""
    pending: list[tuple[Any, str, int]] = [(value, what, 0)]
    while pending:
        item, where, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise _wrong(what, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(item, dict):
            for key, inner in item.items():
                if not isinstance(key, str) or len(key) > MAX_KEY or _broken(key):
                    raise _wrong(where, f"has a key that is no text of up to {MAX_KEY} characters")
                pending.append((inner, f"{where}.{key}", depth + 1))
        elif isinstance(item, list):
            pending += [(inner, f"{where}[{place}]", depth + 1) for place, inner in enumerate(item)]
        elif (problem := _problem(item)) is not None:
            raise _wrong(where, problem)
    if len(orjson.dumps(value)) > max_bytes:
        raise TooLarge(
            f"{what} has more than {max_bytes:,} bytes as JSON.",
            code="parameters_too_large",
            fix="Upload large data as a file instead.",
        )
    return value


def without_nulls(value: Any) -> Any:
    """The same without what is null, and without numbers that are none."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if _told(inner)}
    if isinstance(value, list | tuple):
        return [without_nulls(inner) for inner in value if _told(inner)]
    return value


def _told(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def _problem(item: Any) -> str | None:
    if item is None:
        return "is null"
    if isinstance(item, str):
        return "holds a broken character" if _broken(item) else None
    if isinstance(item, bool):
        return None
    if isinstance(item, int):
        return None if _LEAST <= item <= _MOST else "is a whole number of more than 64 bits"
    if isinstance(item, float):
        return None if math.isfinite(item) else "is not a finite number"
    return "is no JSON"


def _broken(text: str) -> bool:
    return "\0" in text or (not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text))


def _wrong(where: str, problem: str) -> InvalidInput:
    shown = where.encode("utf-8", "replace").decode("utf-8")[:200]
    return InvalidInput(
        f"{shown} {problem}.",
        code="invalid_parameters",
        fix="Send text, numbers, true, false, lists and objects; leave out what has no value.",
    )
