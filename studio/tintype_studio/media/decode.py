"""Upright 8-bit RGB pixels of any accepted file.

Every function takes the bytes of a file as uploaded and raises like `inspect_image` where they are no whole
picture; damage that only decoding reveals is an `InvalidImage` too.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from tintype_studio.errors import InvalidImage, TooLarge
from tintype_studio.media.inspect import MAX_PIXELS, ImageInfo, open_header, unreadable

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

_DRAFT_SURPLUS = 2
"""A JPEG is decoded at no less than this many times the wanted size, so that scaling down stays sharp."""


def decode_upright(data: bytes, *, max_pixels: int = MAX_PIXELS, fit: tuple[int, int] | None = None) -> Image:
    """Decode the first frame to RGB, upright.

    ``fit`` is a largest (width, height) in pixels: the result is scaled down to it, keeping its shape, and
    is never enlarged. Transparency is laid over white. Pictures with more than 8 bits per grey value are
    stretched so that their darkest value becomes 0 and their brightest 255; if all are equal, the value
    is read against the full 16-bit range.

    Raises `InvalidImage`, `UnsupportedFormat` and `TooLarge` as `inspect_image` does.
    """
    return decode_with_info(data, max_pixels=max_pixels, fit=fit)[0]


def decode_with_info(
    data: bytes, *, max_pixels: int = MAX_PIXELS, fit: tuple[int, int] | None = None
) -> tuple[Image, ImageInfo]:
    """`decode_upright` together with what the header says, such as the full size."""
    image, info = open_header(data, max_pixels=max_pixels)
    return _render(image, info, fit), info


def heic_to_png(data: bytes, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """Convert a HEIC file to a PNG with upright RGB pixels.

    The colour profile is kept, because phones do not write sRGB; EXIF (with its position) is not.
    Raises `InvalidImage` if the file is no HEIC or is damaged, `TooLarge` over ``max_pixels``.
    """
    image, info = open_header(data, max_pixels=max_pixels)
    if info.format != "heic":
        raise InvalidImage(f"The content is {info.format.upper()}, not HEIC.")
    profile = image.info.get("icc_profile")
    out = io.BytesIO()
    _render(image, info, None).save(out, "PNG", icc_profile=profile)
    return out.getvalue()


def fit_size(width: int, height: int, fit: tuple[int, int]) -> tuple[int, int]:
    """``(width, height)`` scaled down to lie within ``fit``, never enlarged, at least one pixel each."""
    factor = min(fit[0] / width, fit[1] / height, 1.0)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _render(image: ImageFile, info: ImageInfo, fit: tuple[int, int] | None) -> Image:
    target = fit_size(info.width, info.height, fit) if fit else (info.width, info.height)
    # Pillow turns TIFFs itself while it loads them, HEIF does so by design.
    turn = info.orientation if info.format not in {"tiff", "heic"} else 1
    stored_target = (target[1], target[0]) if turn >= 5 else target
    try:
        box = None
        if fit and info.format == "jpeg":
            width, height = stored_target
            drafted = image.draft(None, (width * _DRAFT_SURPLUS, height * _DRAFT_SURPLUS))
            box = drafted and drafted[1]
        image.load()
        return _turn(_resize(to_rgb(image), stored_target, box), turn)
    except MemoryError as error:
        raise TooLarge("The picture does not fit into memory when it is decoded.") from error
    except Exception as error:
        raise unreadable(error) from error


def _resize(image: Image, size: tuple[int, int], box: tuple[float, float, float, float] | None) -> Image:
    from PIL.Image import Resampling

    if image.size == size:
        return image
    return image.resize(size, Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _turn(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    method = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if method is None else image.transpose(method)


def to_rgb(image: Image) -> Image:
    """Convert a loaded picture of any Pillow mode to RGB: alpha over white, wide greys stretched."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image
    if mode in {"I", "F"} or mode.startswith("I;"):
        return _stretch(image).convert("RGB")
    if mode == "LAB":
        return _from_lab(image)
    if mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in image.info:
        return _over_white(image)
    return image.convert("RGB")


def _over_white(image: Image) -> Image:
    from PIL import Image as PILImage

    if image.mode == "La":
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    paper = PILImage.new("RGB", rgba.size, "white")
    paper.paste(rgba, mask=rgba.getchannel("A"))
    return paper


def _stretch(image: Image) -> Image:
    """Greys of 16 or 32 bits, or floating point, to 8 bits by their own range; not-a-number becomes black."""
    import numpy as np
    from PIL import Image as PILImage

    values: np.ndarray[Any, Any] = np.asarray(image)
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
        values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    else:
        low, high = values.min(), values.max()
    start, span = float(low), float(high) - float(low)
    if span == 0:
        start, span = 0.0, 65535.0
    wide = np.float32 if values.dtype.itemsize == 2 else np.float64
    scaled: np.ndarray[Any, np.dtype[np.floating[Any]]] = values.astype(wide)
    scaled -= start
    scaled *= 255.0 / span
    return PILImage.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def _from_lab(image: Image) -> Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    return image.convert("L").convert("RGB") if converted is None else converted
