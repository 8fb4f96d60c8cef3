"""Rules for the names that people and agents choose, and for text that leaves the server."""

from __future__ import annotations

import unicodedata
from typing import Any

import orjson

from tintype_studio.errors import InvalidInput

FORBIDDEN_IN_NAMES = "/\\?#%"
"""These break a name's way through a URL path of the documented REST API."""

MAX_FOLDER_LENGTH = 500

UNPRINTED = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of characters that no name holds: control, broken, and separators of lines."""

_INVISIBLE = frozenset({"Zs", "Cf"})


def clean_name(name: str, what: str, *, max_length: int = 120) -> str:
    r"""Validate a name that will be an address (dataset, export, class, file) and return it in NFC.

    Refused: empty or blank, leading or trailing space, ``/ \ ? # %``, ``.`` and ``..``, control
    characters, line separators, lone surrogates, more than ``max_length`` characters.
    """
    name = unicodedata.normalize("NFC", name)
    problem = _problem(name, max_length)
    if problem:
        raise InvalidInput(
            f"{what} {printable(name[:80])!r} {problem}",
            code="invalid_name",
            fix="Use letters, digits, spaces, '-', '_' and '.'; not / \\ ? # % and not '.' or '..'.",
        )
    return name


def lookup_name(name: str) -> str:
    """A name as ``clean_name`` would have stored it; one that it would refuse matches nothing."""
    return unicodedata.normalize("NFC", printable(name))


def _problem(name: str, max_length: int) -> str | None:
    if all(unicodedata.category(char) in _INVISIBLE for char in name):
        return "is blank"
    if name != name.strip():
        return "starts or ends with a space"
    if len(name) > max_length:
        return f"is longer than {max_length} characters"
    if name in {".", ".."}:
        return "is a dot segment"
    for char in name:
        if char in FORBIDDEN_IN_NAMES:
            return f"contains {char!r}"
        if unicodedata.category(char) in UNPRINTED:
            return "contains a control character or a broken character"
    return None


def clean_folder(folder: str) -> str:
    """Validate a virtual folder (``/stop/night``); returned with a leading slash and no trailing one."""
    parts = [p for p in folder.split("/") if p]
    cleaned = "/" + "/".join(clean_name(p, "Folder") for p in parts)
    if len(cleaned) > MAX_FOLDER_LENGTH:
        raise InvalidInput(
            f"The folder is longer than {MAX_FOLDER_LENGTH} characters.",
            code="invalid_name",
            fix="Use fewer or shorter folder levels.",
        )
    return cleaned


def clean_text(text: str, what: str, *, max_length: int) -> str:
    """Validate a line of text that is shown and never an address; returned in NFC, without outer spaces."""
    text = unicodedata.normalize("NFC", text).strip()
    if len(text) > max_length:
        problem = f"is longer than {max_length} characters"
    elif any(unicodedata.category(char) in UNPRINTED for char in text):
        problem = "contains a control character or a broken character"
    else:
        return text
    raise InvalidInput(f"{what} {problem}.", code="invalid_name", fix="Use one short line of text.")


def printable(text: str) -> str:
    """Text that can always be encoded: lone surrogates become ``?``."""
    return text.encode("utf-8", "replace").decode("utf-8")


MAX_DEPTH = 64
"""Levels of nesting in a call's arguments."""


def json_problem(value: Any) -> str | None:
    """Why a JSON-like value cannot be taken: nested too deep, or text with a lone surrogate."""
    try:
        packed = orjson.dumps(value)
    except TypeError:
        return _json_problem(value)
    # Written out, it holds no broken character; and with so few brackets it cannot be too deep.
    if packed.count(b"[") + packed.count(b"{") <= MAX_DEPTH:
        return None
    return _json_problem(value)


def _json_problem(value: Any) -> str | None:
    pending: list[tuple[Any, int]] = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if isinstance(item, str):
            if not item.isascii() and any("\ud800" <= c <= "\udfff" for c in item):
                return "holds a broken character (a lone surrogate)"
        elif isinstance(item, dict | list | tuple):
            if depth >= MAX_DEPTH:
                return f"is nested deeper than {MAX_DEPTH} levels"
            if isinstance(item, dict):
                pending += [(key, depth) for key in item]
                item = item.values()
            pending += [(inner, depth + 1) for inner in item]
    return None
