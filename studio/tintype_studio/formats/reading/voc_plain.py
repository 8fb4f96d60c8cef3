"""Objects of Pascal VOC files that say no more than most do, read without an element for each word of them.

A file is taken this way only as a whole: every ``object`` in it must be a name, the usual marks, a ``bndbox``
and perhaps polygons of plain vertices, one after the other and with nothing between. Any other file is for
the parser, to read or to refuse.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tintype_studio.formats.reading.voc_rings import is_simple, plain_ring

_TEXT = rb"([^<&\x00-\x1f\x7f]*)"
_NUMBER = rb"([0-9][0-9.eE+-]*|-[0-9][0-9.eE+-]*)"
_OBJECT = re.compile(
    rb"<object>\s*<name>" + _TEXT + rb"</name>\s*"
    rb"(?:<pose>[^<&]*</pose>\s*)?(?:<truncated>[^<&]*</truncated>\s*)?"
    rb"(?:<occluded>" + _TEXT + rb"</occluded>\s*)?(?:<difficult>" + _TEXT + rb"</difficult>\s*)?"
    rb"<bndbox>\s*<xmin>" + _NUMBER + rb"</xmin>\s*<ymin>" + _NUMBER + rb"</ymin>\s*"
    rb"<xmax>" + _NUMBER + rb"</xmax>\s*<ymax>" + _NUMBER + rb"</ymax>\s*</bndbox>\s*"
)
_END = re.compile(rb"</object>\s*")
_LAST = re.compile(rb"</annotation>\s*")
_OPEN, _CLOSE = b"<polygon>", b"</polygon>"


class PlainObject(NamedTuple):
    """One object as it was told."""

    name: str
    occluded: bytes
    difficult: bytes
    box: tuple[float, float, float, float]
    """xmin, ymin, xmax, ymax, counted from 1."""
    rings: list[list[float]]
    """Vertices ``x1, y1, x2, y2, …`` counted from 0."""


def plain_objects(data: bytes) -> tuple[bytes, list[PlainObject]] | None:
    """The file without its objects, still to be parsed, and these; None for a file that is not so plain."""
    at = data.find(b"<object>")
    if at < 0 or not is_simple(data):
        return None
    head: bytes = data[:at]
    found: list[PlainObject] = []
    while (match := _OBJECT.match(data, at)) is not None:
        name, occluded, difficult, left, top, right, bottom = match.groups(b"")
        at, rings = match.end(), []
        if data.startswith(_OPEN, at):
            close = data.find(b"</object>", at)
            if (taken := _rings(data[at:close])) is None:
                return None
            at, rings = close, taken
        end = _END.match(data, at)
        if end is None:
            return None
        try:
            box = (float(left), float(top), float(right), float(bottom))
            found.append(PlainObject(name.decode(), occluded, difficult, box, rings))
        except ValueError:
            return None
        at = end.end()
    return (head + b"</annotation>", found) if _LAST.fullmatch(data, at) else None


def _rings(outlines: bytes) -> list[list[float]] | None:
    """The rings of ``polygon`` elements; None if there is anything else."""
    rings: list[list[float]] = []
    for part in outlines.split(_OPEN)[1:]:
        inner, _, after = part.partition(_CLOSE)
        ring = plain_ring(inner)
        if ring is None or after.strip():
            return None
        rings.append(ring)
    return rings
