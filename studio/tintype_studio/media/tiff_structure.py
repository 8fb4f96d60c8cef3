"""Is a TIFF whole? Reads its directories and checks that every strip, tile and tag value is in the file.

Classic TIFF and BigTIFF, either byte order. Work is bounded by the length of the file: directories that
overlap or repeat to make a small file look large are refused. Source: TIFF 6.0, BigTIFF design notes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tintype_studio.media.structure import Structure, check_size, damaged, truncated

_WIDTH, _HEIGHT = 256, 257
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_BLOCKS = ((273, 279), (324, 325))
"""Tags of (offsets, byte counts): strips, tiles."""

_WANTED = frozenset({_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT, *(tag for pair in _BLOCKS for tag in pair)})
_TYPE_SIZES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value by type; one for those left out."""

_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


@dataclass(frozen=True, slots=True)
class _Layout:
    """How this file writes numbers."""

    order: str
    pointer: str
    pointer_size: int
    count: str
    count_size: int

    @property
    def entry_size(self) -> int:
        return 4 + 2 * self.pointer_size


def check_tiff(data: bytes, max_pixels: int) -> Structure:
    """Follow the chain of directories; the size is that of the first, each directory is a frame."""
    if len(data) < 16:
        truncated("the TIFF ends inside its header")
    order = "<" if data[0] == 0x49 else ">"
    big = 43 in data[2:4]
    layout = _Layout(order, "Q", 8, "Q", 8) if big else _Layout(order, "I", 4, "H", 2)
    (at,) = struct.unpack_from(order + layout.pointer, data, 8 if big else 4)
    seen: set[int] = set()
    size = (0, 0)
    budget = len(data)
    while at and at not in seen:
        seen.add(at)
        tags, at, used = _read_directory(data, at, layout)
        budget -= used
        if budget < 0:
            damaged("the TIFF's directories overlap")
        if len(seen) == 1:
            size = _first(tags.get(_WIDTH)), _first(tags.get(_HEIGHT))
            check_size(*size, max_pixels)
            if _TILE_WIDTH in tags:
                check_size(_first(tags[_TILE_WIDTH]), _first(tags.get(_TILE_HEIGHT)), max_pixels)
            if not any(offsets in tags for offsets, _ in _BLOCKS):
                damaged("the TIFF holds no pixel data")
        for offsets, counts in _BLOCKS:
            if offsets in tags:
                _require_blocks(tags[offsets], tags.get(counts, ()), len(data))
    if not seen:
        damaged("the TIFF has no directory")
    return Structure(*size, frames=len(seen))


def _read_directory(data: bytes, at: int, layout: _Layout) -> tuple[dict[int, Sequence[int]], int, int]:
    """The wanted integer tags, the offset of the next directory (0: none) and the bytes looked at."""
    start = at + layout.count_size
    if start > len(data):
        truncated("a TIFF directory is missing")
    (entries,) = struct.unpack_from(layout.order + layout.count, data, at)
    stop = start + entries * layout.entry_size
    if stop + layout.pointer_size > len(data):
        truncated("the TIFF ends inside a directory")
    used = stop + layout.pointer_size - at
    tags: dict[int, Sequence[int]] = {}
    for entry in range(start, stop, layout.entry_size):
        tag, kind, count = struct.unpack_from(layout.order + "HH" + layout.pointer, data, entry)
        length = _TYPE_SIZES.get(kind, 1) * count
        value = entry + 4 + layout.pointer_size
        if length > layout.pointer_size:
            (value,) = struct.unpack_from(layout.order + layout.pointer, data, value)
            if value + length > len(data):
                truncated(f"the value of TIFF tag {tag} is missing")
            used += length if tag in _WANTED else 0
            if used > len(data):
                damaged("the TIFF's directories overlap")
        if tag in _WANTED and kind in _INTEGERS:
            tags[tag] = struct.unpack_from(f"{layout.order}{count}{_INTEGERS[kind]}", data, value)
    (following,) = struct.unpack_from(layout.order + layout.pointer, data, stop)
    return tags, following, used


def _require_blocks(offsets: Sequence[int], counts: Sequence[int], end: int) -> None:
    """Every strip or tile ends inside the file. Counts may be absent; then only starts are checked."""
    if len(counts) != len(offsets):
        counts = [1] * len(offsets)
    if offsets and max(map(int.__add__, offsets, counts)) > end:
        truncated("the TIFF's pixel data is missing")


def _first(values: Sequence[int] | None) -> int:
    return values[0] if values else 0
