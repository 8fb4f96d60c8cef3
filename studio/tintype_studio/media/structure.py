"""Is an image file whole? Walks each format's own framing without decoding a pixel.

A walker answers three questions from headers and lengths alone: how large is the picture, how many frames
has it, and is every part that the file promises really there? It raises

- `TooLarge` (code ``decompression_bomb``) as soon as the header shows more pixels than allowed,
- `InvalidImage` (code ``truncated_image``) when the file ends before its structure does,
- `InvalidImage` when the structure contradicts itself.

Bytes behind the end of the picture are tolerated, except in HEIF, where they must form a box: phones and
editors append their own.
Sources: ITU-T T.81 (JPEG), W3C PNG, RFC 9649 (WebP), CompuServe GIF89a, Microsoft's BITMAPINFOHEADER
pages, ISO/IEC 14496-12 (HEIF boxes).
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from struct import Struct
from typing import NoReturn

from tintype_studio.errors import InvalidImage, TooLarge

MAX_METADATA_CHUNK = 1 << 20
"""Inflated bytes of one compressed PNG text or profile chunk; Pillow refuses more as well."""

MAX_METADATA = 64 << 20
"""Bytes of all text chunks of one PNG together."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What the framing of a file says: pixels as stored (0 if it does not say) and frames."""

    width: int
    height: int
    frames: int = 1
    late_exif: bytes | None = None
    """EXIF found behind the pixels, where a header parser does not look (PNG only)."""


def truncated(what: str) -> NoReturn:
    """Raise the error for a file that ends too early."""
    raise InvalidImage(
        f"The picture is cut off: {what}.",
        code="truncated_image",
        fix="Upload the complete file; the transfer that produced this copy probably stopped early.",
    )


def damaged(what: str) -> NoReturn:
    """Raise the error for a file whose structure contradicts itself."""
    raise InvalidImage(f"The picture is damaged: {what}.")


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture without area, or with more than ``max_pixels`` pixels."""
    if width <= 0 or height <= 0:
        raise InvalidImage(f"The picture has no area: {width} x {height} pixels.")
    if width * height > max_pixels:
        raise bomb(f"{width} x {height} is {width * height:,} pixels", f"the limit is {max_pixels:,}")


def bomb(what: str, limit: str) -> TooLarge:
    """The error for content that would expand beyond a limit."""
    return TooLarge(
        f"The picture would expand too far: {what}; {limit}.",
        code="decompression_bomb",
        fix="Scale the picture down, cut it into tiles or strip its metadata, then upload it again.",
    )


# --- JPEG ---------------------------------------------------------------------------------------------

_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE_MARKERS = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_NO_SEGMENT = frozenset({0x00, 0x01, *range(0xD0, 0xD9), 0xFF})
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


def check_jpeg(data: bytes, max_pixels: int) -> Structure:
    """Segments up to the scan, then an end-of-image marker behind it."""
    end = len(data)
    at = 2
    width = height = components = frame_marker = 0
    while True:
        # Some cameras pad between segments; decoders skip to the next marker, and so do we.
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > end:
            truncated("the JPEG ends inside its headers")
        marker = data[at + 1]
        if marker in _NO_SEGMENT:
            at += 1
            continue
        if marker == 0xD9:
            damaged("the JPEG ends before any pixel data")
        length = data[at + 2] << 8 | data[at + 3]
        if length < 2:
            damaged("a JPEG segment has an impossible length")
        if at + 2 + length > end:
            truncated("the JPEG ends inside its headers")
        if marker in _FRAME_MARKERS:
            if length < 8:
                damaged("the JPEG frame header is too short")
            height = data[at + 5] << 8 | data[at + 6]
            width = data[at + 7] << 8 | data[at + 8]
            components, frame_marker = data[at + 9], marker
            check_size(width, height, max_pixels)
        elif marker == 0xDA:
            if not frame_marker or length < 3:
                damaged("the JPEG scan has no frame header")
            several_scans = frame_marker in _PROGRESSIVE_MARKERS or data[at + 4] < components
            _require_jpeg_end(data, at + 2 + length, several_scans=several_scans)
            return Structure(width, height)
        at += 2 + length


def _require_jpeg_end(data: bytes, at: int, *, several_scans: bool) -> None:
    """Find the EOI marker behind position ``at``, the first byte of entropy-coded data."""
    if not several_scans:
        # Entropy-coded data never holds FF D9, so searching from the end is exact, and usually instant.
        if data.rfind(b"\xff\xd9", at) < 0:
            truncated("the JPEG has no end-of-image marker")
        return
    # Between scans come segments, which may hold any bytes (a comment, say): step over each.
    while found := _MARKER_IN_SCAN.search(data, at):
        at = found.end()
        if data[at - 1] == 0xD9:
            return
        if at + 2 > len(data):
            break
        at += max(2, data[at] << 8 | data[at + 1])
    truncated("the JPEG has no end-of-image marker")


# --- PNG ----------------------------------------------------------------------------------------------

_PNG_CHUNK = Struct(">I4s")
_PNG_SIZE = Struct(">II")
_UINT32_BE = Struct(">I")
_PNG_METADATA = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})


def check_png(data: bytes, max_pixels: int) -> Structure:
    """Every chunk up to IEND, the checksum of each critical one, and the size of compressed text."""
    view = memoryview(data)
    end = len(data)
    if end < 33:
        truncated("the PNG ends inside its header")
    if data[8:16] != b"\0\0\0\x0dIHDR":
        damaged("the PNG does not begin with its header chunk")
    width, height = _PNG_SIZE.unpack_from(data, 16)
    check_size(width, height, max_pixels)
    at = 8
    text = 0
    seen_pixels = False
    late_exif: bytes | None = None
    while True:
        if at + 12 > end:
            truncated("the PNG has no end chunk")
        length, kind = _PNG_CHUNK.unpack_from(data, at)
        body, stop = at + 8, at + 8 + length
        if stop + 4 > end:
            truncated(f"the PNG ends inside its {_printable(kind)} chunk")
        if not kind[0] & 0x20:
            if zlib.crc32(view[at + 4 : stop]) != _UINT32_BE.unpack_from(data, stop)[0]:
                damaged(f"the checksum of the PNG's {_printable(kind)} chunk is wrong")
            if kind == b"IDAT":
                seen_pixels = True
            elif kind == b"IEND":
                break
        elif kind in _PNG_METADATA:
            text = _add_metadata(text, kind, view[body:stop])
        elif kind == b"eXIf" and seen_pixels:
            late_exif = data[body:stop]
        at = stop + 4
    if not seen_pixels:
        damaged("the PNG holds no pixel data")
    return Structure(width, height, late_exif=late_exif)


def _add_metadata(total: int, kind: bytes, body: memoryview) -> int:
    """``total`` and the bytes of one more text or profile chunk, once inflated."""
    total += len(body)
    inflated = _inflated_size(kind, bytes(body)) if kind != b"tEXt" else 0
    if inflated > MAX_METADATA_CHUNK:
        raise bomb(
            f"its {_printable(kind)} chunk inflates too far", f"the limit is {MAX_METADATA_CHUNK:,} bytes"
        )
    total += inflated
    if total > MAX_METADATA:
        raise bomb("its text chunks hold too much", f"the limit is {MAX_METADATA:,} bytes")
    return total


def _inflated_size(kind: bytes, body: bytes) -> int:
    """Size of the compressed part of a chunk, counted no further than one over the limit; 0 if none."""
    keyword = body.find(b"\0")
    start = keyword + 2
    if kind == b"iTXt":
        if body[keyword + 1 : keyword + 2] != b"\1":
            return 0
        language = body.find(b"\0", keyword + 3)
        start = body.find(b"\0", language + 1) + 1
    try:
        return len(zlib.decompressobj().decompress(body[start:], MAX_METADATA_CHUNK + 1))
    except zlib.error:
        return 0


def _printable(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")


# --- WebP ---------------------------------------------------------------------------------------------

_UINT32_LE = Struct("<I")
_RIFF_CHUNK = Struct("<4sI")


def check_webp(data: bytes, max_pixels: int) -> Structure:
    """The RIFF length, each chunk inside it, and the presence of pixel data."""
    if len(data) < 20:
        truncated("the WebP ends inside its header")
    end = 8 + _UINT32_LE.unpack_from(data, 4)[0]
    if end > len(data):
        truncated(f"the WebP promises {end:,} bytes and has {len(data):,}")
    at = 12
    width = height = frames = stills = 0
    while at + 8 <= end:
        kind, length = _RIFF_CHUNK.unpack_from(data, at)
        body, stop = at + 8, at + 8 + length
        if stop > end:
            damaged(f"the WebP's {_printable(kind)} chunk is longer than the file")
        if kind in {b"VP8X", b"VP8 ", b"VP8L"}:
            if length < 5:
                damaged("the WebP header is too short")
            if not width:
                width, height = _webp_size(kind, data[body : body + 10])
                check_size(width, height, max_pixels)
            stills += kind != b"VP8X"
        elif kind == b"ANMF":
            frames += 1
        at = stop + (length & 1)
    if not stills and not frames:
        damaged("the WebP holds no pixel data")
    return Structure(width, height, frames=max(1, frames))


def _webp_size(kind: bytes, head: bytes) -> tuple[int, int]:
    if kind == b"VP8L":
        bits = _UINT32_LE.unpack_from(head, 1)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if len(head) < 10:
        damaged("the WebP header is too short")
    if kind == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF


# --- BMP ----------------------------------------------------------------------------------------------

_BMP_INFO = Struct("<iiHHII")
_BMP_CORE = Struct("<HHHH")
_RLE = (1, 2)


def check_bmp(data: bytes, max_pixels: int) -> Structure:
    """Header, and all rows of pixels (or all bytes of run-length codes) behind the stated offset."""
    if len(data) < 26:
        truncated("the BMP ends inside its header")
    file_size = _UINT32_LE.unpack_from(data, 2)[0]
    offset = _UINT32_LE.unpack_from(data, 10)[0]
    header = _UINT32_LE.unpack_from(data, 14)[0]
    compression = stated = 0
    if header == 12:
        width, height, _, bits = _BMP_CORE.unpack_from(data, 18)
    elif len(data) < 14 + min(header, 40):
        truncated("the BMP ends inside its header")
    elif header >= 40:
        width, height, _, bits, compression, stated = _BMP_INFO.unpack_from(data, 18)
        height = abs(height)  # negative: rows run from the top
    else:
        damaged("the BMP header has an unknown length")
    check_size(width, height, max_pixels)
    start = offset or 14 + header
    needed = (width * bits + 31) // 32 * 4 * height
    if compression in _RLE:
        needed = stated or file_size - start
    if start + needed > len(data):
        truncated(f"the BMP needs {start + needed:,} bytes and has {len(data):,}")
    return Structure(width, height)


# --- GIF ----------------------------------------------------------------------------------------------


def check_gif(data: bytes, max_pixels: int) -> Structure:
    """Every block up to the trailer; frames are counted on the way."""
    try:
        return _walk_gif(data, max_pixels)
    except IndexError:
        truncated("the GIF has no trailer")


def _walk_gif(data: bytes, max_pixels: int) -> Structure:
    width, height = data[6] | data[7] << 8, data[8] | data[9] << 8
    check_size(width, height, max_pixels)
    at = 13 + _color_table_size(data[10])
    frames = 0
    while (block := data[at]) != 0x3B:
        if block == 0x2C:
            if not frames:
                # Decoders grow the canvas to hold the first frame.
                width = max(width, (data[at + 1] | data[at + 2] << 8) + (data[at + 5] | data[at + 6] << 8))
                height = max(height, (data[at + 3] | data[at + 4] << 8) + (data[at + 7] | data[at + 8] << 8))
                check_size(width, height, max_pixels)
            frames += 1
            at += 11 + _color_table_size(data[at + 9])
        elif block == 0x21:
            at += 2
        else:
            damaged("the GIF holds an unknown block")
        while length := data[at]:
            at += length + 1
        at += 1
    if not frames:
        damaged("the GIF holds no frame")
    return Structure(width, height, frames=frames)


def _color_table_size(flags: int) -> int:
    return 6 << (flags & 7) if flags & 0x80 else 0


# --- HEIF ---------------------------------------------------------------------------------------------


def check_heif(data: bytes, max_pixels: int) -> Structure:
    """Every top-level box inside the file. The size is left to the HEIF library, which reads it unparsed."""
    end = len(data)
    at = 0
    kinds = set()
    while at < end:
        if at + 8 > end:
            truncated("the HEIF ends inside a box header")
        length, kind = _PNG_CHUNK.unpack_from(data, at)
        header = 8
        if length == 1:
            header, length = 16, int.from_bytes(data[at + 8 : at + 16], "big")
        elif length == 0:
            length = end - at
        if length < header:
            damaged("a HEIF box has an impossible length")
        if at + length > end:
            truncated(f"the HEIF ends inside its {_printable(kind)} box")
        kinds.add(kind)
        at += length
    if kinds.isdisjoint({b"meta", b"moov"}):
        truncated("the HEIF has no metadata box")
    if b"mdat" not in kinds and b"idat" not in data:
        truncated("the HEIF has no pixel data")
    return Structure(0, 0)
