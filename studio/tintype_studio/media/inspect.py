"""What is this file? Format, size, orientation, frames and integrity, from headers alone.

This runs for every file of an upload, so it decodes no pixel. The structure of the file is walked first
(`tintype_studio.media.structure`), which settles its size before Pillow is asked anything; Pillow's plugin
for the detected format then confirms that the header is one we can decode. Plugins are called directly
rather than through ``Image.open``: that one consults process-wide settings and warning filters, and tries
formats we do not accept.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from tintype_studio.errors import InvalidImage, TintypeError
from tintype_studio.media.formats import (
    MIME_TYPES,
    SUPPORTED_EXTENSIONS,
    Format,
    detect_format,
    heif_mime_type,
    require_supported_extension,
)
from tintype_studio.media.structure import (
    Structure,
    bomb,
    check_bmp,
    check_gif,
    check_heif,
    check_jpeg,
    check_png,
    check_size,
    check_webp,
)
from tintype_studio.media.tiff_structure import check_tiff

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

__all__ = ["MAX_PIXELS", "SUPPORTED_EXTENSIONS", "ImageInfo", "inspect_image", "open_header"]

MAX_PIXELS = 178_956_970
"""Pixels of one picture; what Pillow refuses by default (half a gigabyte of RGB)."""

_ORIENTATION_TAG = 0x0112
_EXIF_KEYS = frozenset({"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"})

_PLUGINS: dict[Format, tuple[str, str]] = {
    "jpeg": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "png": ("PIL.PngImagePlugin", "PngImageFile"),
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "heic": ("pillow_heif", "HeifImageFile"),
}

_WALKERS: dict[Format, Callable[[bytes, int], Structure]] = {
    "jpeg": check_jpeg,
    "png": check_png,
    "webp": check_webp,
    "bmp": check_bmp,
    "tiff": check_tiff,
    "gif": check_gif,
    "heic": check_heif,
}


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header of a picture says.

    ``width`` and ``height`` are pixels of the upright picture. ``orientation`` is the EXIF value (1 to 8)
    that turns the stored pixels upright; HEIF turns its own pixels, so it is always 1 there. ``frames``
    counts the pictures of an animation or a multi-page file.
    """

    format: Format
    mime_type: str
    width: int
    height: int
    orientation: int
    frames: int


def inspect_image(data: bytes, filename: str, *, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Describe an uploaded picture without decoding it.

    ``filename`` only decides whether the file is looked at (`SUPPORTED_EXTENSIONS`, any case); the content
    decides what it is, so a PNG named ``.jpg`` is a PNG.

    Raises `UnsupportedFormat` (extension or kind of picture not accepted), `InvalidImage` (no picture,
    damaged, no area; code ``truncated_image`` when cut off, ``empty_file`` when empty) and `TooLarge`
    (code ``decompression_bomb``; more than ``max_pixels`` pixels, or metadata that inflates too far).
    Safe to call from many threads.
    """
    require_supported_extension(filename)
    return open_header(data, max_pixels=max_pixels)[1]


def open_header(data: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[ImageFile, ImageInfo]:
    """Check the structure, then open the header. The picture returned is not decoded yet.

    Raises like `inspect_image`, the extension aside.
    """
    kind = detect_format(data)
    structure = _WALKERS[kind](data, max_pixels)
    try:
        image = _plugin(kind)(io.BytesIO(data))
    except Exception as error:
        raise unreadable(error) from error
    stored_width, stored_height = (structure.width, structure.height) if structure.width else image.size
    check_size(stored_width, stored_height, max_pixels)
    if image.size not in {(stored_width, stored_height), (stored_height, stored_width)}:
        raise InvalidImage("The picture's header contradicts itself about its size.")
    orientation = 1 if kind == "heic" else _orientation(image, structure.late_exif)
    turned = orientation >= 5
    return image, ImageInfo(
        format=kind,
        mime_type=heif_mime_type(data) if kind == "heic" else MIME_TYPES[kind],
        width=stored_height if turned else stored_width,
        height=stored_width if turned else stored_height,
        orientation=orientation,
        # Pillow counts the frames of GIF and TIFF by reading them all; the walk has done that.
        frames=structure.frames if kind in {"gif", "tiff", "webp"} else getattr(image, "n_frames", 1),
    )


def unreadable(error: Exception) -> TintypeError:
    """What a failure inside an image library means to the caller."""
    from PIL.Image import DecompressionBombError, DecompressionBombWarning

    text = str(error)
    if isinstance(error, TintypeError):
        return error
    if isinstance(error, DecompressionBombError | DecompressionBombWarning) or "Decompressed data" in text:
        return bomb("the image library refuses it", "its own limit is lower than ours")
    if "truncated" in text.lower():
        return InvalidImage("The picture is cut off.", code="truncated_image")
    return InvalidImage("The picture cannot be decoded; it is damaged or of a rare variant.")


@lru_cache(maxsize=len(_WALKERS))
def _plugin(kind: Format) -> Callable[[io.BytesIO], ImageFile]:
    """Pillow's reader for a format, imported when the first such file arrives."""
    module, name = _PLUGINS[kind]
    plugin: Callable[[io.BytesIO], ImageFile] = getattr(import_module(module), name)
    return plugin


def _orientation(image: ImageFile, late_exif: bytes | None) -> int:
    """The EXIF orientation, 1 when absent, unreadable or out of range."""
    from PIL import Image

    try:
        if late_exif is not None and "exif" not in image.info:
            exif = Image.Exif()
            exif.load(late_exif)
        elif not image.info.keys() & _EXIF_KEYS and not hasattr(image, "tag_v2"):
            return 1
        else:
            # The base method: PNG's own would decode the picture to look behind its pixels.
            exif = Image.Image.getexif(image)
        value = exif.get(_ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
