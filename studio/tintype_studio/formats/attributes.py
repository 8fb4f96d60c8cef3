"""Confidence and attributes of an annotation as flat pairs of texts, which is what CVAT and VOC files hold.

An annotation's ``attributes`` are any JSON. Strings become flags (``("occluded", "true")``) and the plain
members of objects become pairs (``("colour", "red")``), so that other programs show them. Where the pairs
do not tell the whole, one more, ``attributes_json``, does. Reading trusts it only as long as the other
pairs are those it stands for: what somebody changed in another program counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from tintype_studio.formats.xml_text import cleaned

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Annotation
    from tintype_studio.formats.figures import Figure

CONFIDENCE = "confidence"
WHOLE = "attributes_json"
RESERVED = frozenset({CONFIDENCE, WHOLE})

Pairs: TypeAlias = list[tuple[str, str]]


def flatten(annotation: Annotation | Figure) -> Pairs:
    """Name and text of each pair; names are distinct, and all can stand in XML."""
    attributes = annotation.attributes
    if not attributes and annotation.confidence >= 1:
        return []
    pairs = _plain(attributes)
    if _as_attributes(pairs) != attributes:
        pairs.append((WHOLE, _ascii_json(attributes)))
    if annotation.confidence < 1:
        pairs.append((CONFIDENCE, repr(annotation.confidence)))
    return pairs


def restore(pairs: Iterable[tuple[str, str]]) -> tuple[list[Any], float]:
    """``(attributes, confidence)`` of pairs in a file of whatever origin."""
    plain: Pairs = []
    whole: list[Any] | None = None
    confidence = 1.0
    for name, text in pairs:
        if name == CONFIDENCE and (number := _share(text)) is not None:
            confidence = number
        elif name == WHOLE and (found := _json_list(text)) is not None:
            whole = found
        else:
            plain.append((name, text))
    if whole is not None and dict(_plain(whole)) == dict(plain):
        return whole, confidence
    return _as_attributes(plain), confidence


def _plain(attributes: Iterable[Any]) -> Pairs:
    pairs: dict[str, str] = {}
    for entry in attributes:
        members = entry.items() if isinstance(entry, dict) else [(entry, True)]
        for name, value in members:
            if isinstance(name, str) and isinstance(value, str | int | float):
                kept = cleaned(name).strip()
                if kept and kept not in RESERVED:
                    pairs.setdefault(kept, _text(value))
    return list(pairs.items())


def _text(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return cleaned(value) if isinstance(value, str) else repr(value)


def _as_attributes(pairs: Pairs) -> list[Any]:
    return [{name: text} for name, text in pairs]


def _ascii_json(value: Any) -> str:
    """JSON in which everything beyond ASCII is escaped, so that nothing on the way can change it."""
    text = orjson.dumps(value).decode()
    if text.isascii() and "\x7f" not in text:
        return text
    units = text.encode("utf-16-be")
    codes = (int.from_bytes(units[n : n + 2]) for n in range(0, len(units), 2))
    return "".join(chr(code) if 0x20 <= code < 0x7F else f"\\u{code:04x}" for code in codes)


def _json_list(text: str) -> list[Any] | None:
    try:
        value = orjson.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def _share(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None
