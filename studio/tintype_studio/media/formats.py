"""The picture formats we accept, and what some bytes claim to be.

The content decides: an extension only says whether we look at a file at all.
"""

from __future__ import annotations

import re
from typing import Literal

from tintype_studio.errors import InvalidImage, UnsupportedFormat

Format = Literal["jpeg", "png", "webp", "bmp", "tiff", "gif", "heic"]

SUPPORTED_EXTENSIONS = frozenset(
    ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "heic", "heif"),
)
"""Lower case, without the dot."""

MIME_TYPES: dict[Format, str] = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "gif": "image/gif",
    "heic": "image/heic",
}

_HEVC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_HEIF_BRANDS = (b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")

_OTHER_PICTURES: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"P[1-7fF][\s#]"), "Netpbm (PPM, PGM, PBM)"),
    (re.compile(rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"), "JPEG 2000"),
    (re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n"), "JPEG XL"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"\x00\x00[\x01\x02]\x00[^\x00]\x00"), "Windows icon"),
    (re.compile(rb"icns"), "Apple icon"),
    (re.compile(rb"qoif"), "QOI"),
    (re.compile(rb"DDS "), "DirectDraw surface"),
    (re.compile(rb"\x76\x2f\x31\x01"), "OpenEXR"),
    (re.compile(rb"#\?(RADIANCE|RGBE)"), "Radiance HDR"),
    (re.compile(rb"SIMPLE  ="), "FITS"),
    (re.compile(rb"\x0a[\x00-\x05]\x01[\x01\x02\x04\x08]"), "PCX"),
    (re.compile(rb"II\xbc"), "JPEG XR"),
    (re.compile(rb".{128}DICM", re.DOTALL), "DICOM"),
    (re.compile(rb"%!PS"), "PostScript"),
    (re.compile(rb"%PDF-"), "PDF"),
    (re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<(svg|!DOCTYPE svg)", re.IGNORECASE), "SVG"),
)


def display_name(filename: str) -> str:
    """The last component of a name, for messages: what a caller may see, never a folder."""
    return re.split(r"[/\\]", filename)[-1] or "the file"


def require_supported_extension(filename: str) -> None:
    """Raise `UnsupportedFormat` unless the name ends in one of `SUPPORTED_EXTENSIONS` (any case)."""
    name = display_name(filename)
    _, dot, extension = name.rpartition(".")
    if dot and extension.lower() in SUPPORTED_EXTENSIONS:
        return
    shown = f"“.{extension}”" if dot else "no extension"
    raise UnsupportedFormat(
        f"{name!r} has {shown}; accepted are {', '.join(sorted(SUPPORTED_EXTENSIONS))}.",
        details={"supported_extensions": sorted(SUPPORTED_EXTENSIONS)},
    )


def detect_format(data: bytes) -> Format:
    """The format that the first bytes announce.

    Raises `InvalidImage` for bytes that are no picture (code ``empty_file`` when there are none) and
    `UnsupportedFormat` for a picture of a kind we do not read.
    """
    if not data:
        raise InvalidImage("The file is empty (0 bytes).", code="empty_file")
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"BM"):
        return "bmp"
    if data[4:8] == b"ftyp":
        return _iso_brand(data)
    head = data[:1024]
    for pattern, name in _OTHER_PICTURES:
        if pattern.match(head):
            raise UnsupportedFormat(f"The content is {name}, whatever the file is named; it is not accepted.")
    raise InvalidImage("The content is not a picture in any format we know.")


def heif_mime_type(data: bytes) -> str:
    """``image/heic`` when the major brand promises HEVC, else the general ``image/heif``."""
    return "image/heic" if data[8:12] in _HEVC_BRANDS else "image/heif"


def _iso_brand(data: bytes) -> Format:
    """Tell HEIF from the other users of the ISO base media container (AVIF, MP4, CR3)."""
    major = data[8:12]
    if len(major) < 4:
        raise InvalidImage("The file ends inside its header.", code="truncated_image")
    size = min(int.from_bytes(data[:4], "big"), 512)
    compatible = {data[at : at + 4] for at in range(16, size - 3, 4)}
    if major in _HEVC_BRANDS:
        return "heic"
    if major in _AVIF_BRANDS or (major in _HEIF_BRANDS and not compatible.isdisjoint(_AVIF_BRANDS)):
        raise UnsupportedFormat("The content is AVIF; it is not accepted.")
    if major in _HEIF_BRANDS:
        return "heic"
    raise UnsupportedFormat("The content is a video or another ISO media file, not a picture we read.")
