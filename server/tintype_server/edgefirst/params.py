"""What comes in ``params``: ids are bare whole numbers, or text such as ``ds-1a`` where clients send that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tintype_studio.errors import InvalidInput, NotFound

MAX_ID = 2**63 - 1
_TYPED = re.compile(r"[a-z]{1,4}-([0-9a-f]{1,16})", re.ASCII)


def wrong(name: str, wanted: str) -> InvalidInput:
    """The refusal of a parameter."""
    return InvalidInput(f"{name} must be {wanted}.", code="invalid_params", fix=f"Send {name} as {wanted}.")


def id_of(params: Mapping[str, Any], name: str) -> int:
    """A required id; one that no row can have is not found."""
    found = optional_id(params, name)
    if found is None:
        raise InvalidInput(f"{name} is missing.", code="invalid_params", fix=f"Send {name}.")
    return found


def optional_id(params: Mapping[str, Any], name: str) -> int | None:
    """An id, or None where there is none."""
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        match = _TYPED.fullmatch(value)
        if match is None:
            raise wrong(name, "an id")
        value = int(match.group(1), 16)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise wrong(name, "an id")
    if value > MAX_ID:
        raise NotFound(f"There is nothing with the {name} {value}.", code="not_found", fix="Check the id.")
    return value


def text_of(params: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text; a missing one is ``default``, or refused where there is none."""
    value = params.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise wrong(name, "text")
    return value


def optional_text(params: Mapping[str, Any], name: str) -> str | None:
    """A text, or None where there is none; an empty one is none."""
    return text_of(params, name, "") or None


def texts_of(params: Mapping[str, Any], name: str) -> list[str] | None:
    """A list of texts, or None where there is none."""
    value = params.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise wrong(name, "a list of texts")
    return value


def whole_of(params: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A whole number; a missing one is ``default``, or refused where there is none."""
    value = params.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_ID:
        raise wrong(name, "a whole number")
    return value


def list_of(params: Mapping[str, Any], name: str) -> list[Any]:
    """A required list."""
    value = params.get(name)
    if not isinstance(value, list):
        raise wrong(name, "a list")
    return value


def object_of(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object; an absent one is empty."""
    value = params.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(name, "an object")
    return value


def stamp(time: datetime) -> str:
    """A time as clients read it: RFC 3339 in UTC."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
