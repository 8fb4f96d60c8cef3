"""Polygons of Pascal VOC files, taken out of the text before it is parsed.

Two elements per vertex make nine tenths of such a file; as elements they take three times as long. Only
``polygon`` elements that are ``<x1>…</x1><y1>…</y1><x2>…`` of JSON's numbers and nothing else are taken out.
Whatever looks otherwise stays where it is, for the parser to read or to refuse.
"""

from __future__ import annotations

from functools import lru_cache
from xml.etree.ElementTree import Element

import orjson

from tintype_studio.errors import InvalidInput
from tintype_studio.formats.reading.safe_xml import parse_xml

HELD = "held"
"""The attribute of an element whose ring was taken out: its place in the list."""

_OPEN, _CLOSE = b"<polygon>", b"</polygon>"
_UTF_8 = (b"<annotation", b'<?xml version="1.0" encoding="utf-8"', b'<?xml version="1.0"?>')
_MOST_POINTS = 4096


def parsed_annotation(data: bytes, path: str) -> tuple[Element, list[list[float]]]:
    """The root of an annotation file, and the rings (vertices ``x1, y1, x2, y2, …``, counted from 0) of the
    ``polygon`` elements in it that are marked :data:`HELD`; none where nothing was taken out, and then the
    mark is the file's own.

    Raises:
        InvalidInput: as ``parse_xml``.
    """
    first, *parts = data.split(_OPEN)
    if not parts or b"held" in data or not is_simple(data):
        return parse_xml(data, path), []
    rings: list[list[float]] = []
    kept = [first]
    for part in parts:
        inner, closing, after = part.partition(_CLOSE)
        ring = plain_ring(inner) if closing else None
        if ring is None:
            kept += [_OPEN, part]
        else:
            kept += [b'<polygon held="%d"/>' % len(rings), after]
            rings.append(ring)
    try:
        return parse_xml(b"".join(kept), path), rings
    except InvalidInput:
        return parse_xml(data, path), []  # which tells the place in the file as it is


def is_simple(data: bytes) -> bool:
    """Whether what looks like an element is one: comments and character data could hold such text."""
    return data[:40].lower().startswith(_UTF_8) and data.rfind(b"?") < 60 and b"!" not in data


def plain_ring(inner: bytes) -> list[float] | None:
    """``<x1>12.5</x1><y1>3</y1>…`` as numbers, less by 1; None if it is anything else."""
    pieces = inner.replace(b"</", b">").split(b">")
    count = len(pieces) // 6
    if len(pieces) != 6 * count + 1 or not 0 < count <= _MOST_POINTS or pieces[-1]:
        return None
    opening, closing = _tags(count)
    if b">".join(pieces[:-1:3]) != opening or b">".join(pieces[2::3]) != closing:
        return None
    text = b",".join(pieces[1::3])
    if text.translate(None, b"0123456789.-+eE,"):
        return None
    try:
        values: list[float] = orjson.loads(b"[%b]" % text)
    except orjson.JSONDecodeError:
        return None
    return [value - 1.0 for value in values] if len(values) == 2 * count else None


@lru_cache(maxsize=512)
def _tags(count: int) -> tuple[bytes, bytes]:
    names = [f"{axis}{n}" for n in range(1, count + 1) for axis in "xy"]
    return ">".join(f"<{name}" for name in names).encode(), ">".join(names).encode()
