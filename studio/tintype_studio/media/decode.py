"""Upright 8-bit RGB pixels of any accepted file.

Every function takes the bytes of a file as uploaded and raises like `inspect_image` where they are no whole
picture; damage that only decoding reveals is an `InvalidImage` too.

Memory: large pictures take turns (`tintype_studio.media.budget`), and conversion
and reduction go strip by strip, so that beside the stored pixels only the result takes room.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tintype_studio.errors import InvalidImage, TooLarge
from tintype_studio.media.budget import DECODING, keep_going
from tintype_studio.media.inspect import MAX_PIXELS, ImageInfo, open_header, unreadable

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

Box = tuple[float, float, float, float]

_DRAFT_SURPLUS = 2
"""A JPEG is decoded at no less than this many times the wanted size, so that scaling down stays sharp."""

_GAP = 3.0
"""Pictures are averaged down to this many times the wanted size by whole factors, then resampled."""

_STRIP_PIXELS = 1 << 20


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
    data: bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    fit: tuple[int, int] | None = None,
    check: Callable[[], None] = keep_going,
) -> tuple[Image, ImageInfo]:
    """`decode_upright` together with what the header says, such as the full size.

    ``check`` is called while the picture waits for its turn; it raises to give up.
    """
    image, info = open_header(data, max_pixels=max_pixels)
    plan = _plan(image, info, fit)
    with DECODING.share(plan.cost, check):
        rendered = _render(image, plan)
        del image  # before the next one's turn
        return rendered, info


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
    plan = _plan(image, info, None)
    with DECODING.share(plan.cost):
        _render(image, plan).save(out, "PNG", icc_profile=profile)
    return out.getvalue()


def fit_size(width: int, height: int, fit: tuple[int, int]) -> tuple[int, int]:
    """``(width, height)`` scaled down to lie within ``fit``, never enlarged, at least one pixel each."""
    factor = min(fit[0] / width, fit[1] / height, 1.0)
    return max(1, round(width * factor)), max(1, round(height * factor))


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a picture will be decoded. Sizes are of the pixels as stored, before they are turned."""

    size: tuple[int, int]
    """The wanted size."""
    box: Box | None
    """The part of the decoded pixels that is the picture; all if none."""
    turn: int
    """EXIF orientation that is still to be applied."""
    cost: int
    """Pixels that decoding holds at once."""


def _plan(image: ImageFile, info: ImageInfo, fit: tuple[int, int] | None) -> _Plan:
    """Decide before a pixel is decoded; a JPEG is told to decode at a fraction of its size."""
    width, height = fit_size(info.width, info.height, fit) if fit else (info.width, info.height)
    # Pillow turns TIFFs itself while it loads them, HEIF does so by design.
    turn = info.orientation if info.format not in {"tiff", "heic"} else 1
    if turn >= 5:
        width, height = height, width
    cost, box = info.width * info.height, None
    if fit and info.format == "jpeg":
        try:
            drafted = image.draft(None, (width * _DRAFT_SURPLUS, height * _DRAFT_SURPLUS))
        except Exception as error:
            raise unreadable(error) from error
        box = drafted and drafted[1]
        if not image.info.get("progressive"):  # those are held as coefficients of the full size
            cost = image.width * image.height
    return _Plan((width, height), box, turn, cost)


def _render(image: ImageFile, plan: _Plan) -> Image:
    try:
        image.load()
        return _turn(_sized_rgb(image, plan.size, plan.box), plan.turn)
    except MemoryError as error:
        raise TooLarge("The picture does not fit into memory when it is decoded.") from error
    except Exception as error:
        raise unreadable(error) from error


def _sized_rgb(image: Image, size: tuple[int, int], box: Box | None) -> Image:
    """RGB of the wanted size from a loaded picture of any Pillow mode."""
    from PIL import Image as PILImage

    left, top, right, bottom = box or (0, 0, image.width, image.height)
    across = max(1, int((right - left) / size[0] / _GAP))
    down = max(1, int((bottom - top) / size[1] / _GAP))
    if image.mode == "RGB" and "transparency" not in image.info:
        rgb = image.reduce((across, down)) if across > 1 or down > 1 else image
    else:
        convert = _converter(image)
        rgb = PILImage.new("RGB", (-(-image.width // across), -(-image.height // down)))
        for start, strip in _strips(image, down):
            rgb.paste(convert(strip).reduce((across, down)), (0, start // down))
    if rgb.size == size:
        return rgb
    box = (left / across, top / down, right / across, bottom / down)
    return rgb.resize(size, PILImage.Resampling.LANCZOS, box=box)


def _strips(image: Image, multiple: int = 1) -> Iterator[tuple[int, Image]]:
    """The first row and the pixels of strips whose heights are multiples of ``multiple``."""
    rows = max(1, _STRIP_PIXELS // (image.width * multiple)) * multiple
    for start in range(0, image.height, rows):
        yield start, image.crop((0, start, image.width, min(image.height, start + rows)))


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


def _converter(image: Image) -> Callable[[Image], Image]:
    """What turns strips of ``image`` into RGB: alpha over white, wide greys stretched by their range."""
    mode = image.mode
    if mode in {"I", "F"} or mode.startswith("I;"):
        return partial(_stretch, span=_grey_range(image))
    if mode == "LAB":
        return _from_lab
    if mode in {"RGBA", "RGBa", "LA", "La", "PA"} or "transparency" in image.info:
        return _over_white
    return lambda strip: strip.convert("RGB")


def _over_white(image: Image) -> Image:
    from PIL import Image as PILImage

    if image.mode == "La":
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    paper = PILImage.new("RGB", rgba.size, "white")
    paper.paste(rgba, mask=rgba.getchannel("A"))
    return paper


def _grey_range(image: Image) -> tuple[float, float]:
    """The darkest and the brightest finite grey; the full range of 16 bits if they are equal."""
    import numpy as np

    low, high = math.inf, -math.inf
    for _, strip in _strips(image):
        values: np.ndarray[Any, Any] = np.asarray(strip)
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low < high else (0.0, 65535.0)


def _stretch(image: Image, span: tuple[float, float]) -> Image:
    """Greys of 16 or 32 bits, or floating point, to RGB so that ``span`` becomes 0 to 255.

    Not-a-number becomes black.
    """
    import numpy as np
    from PIL import Image as PILImage

    low, high = span
    values: np.ndarray[Any, Any] = np.asarray(image)
    wide = np.float32 if values.dtype.itemsize == 2 else np.float64
    scaled: np.ndarray[Any, np.dtype[np.floating[Any]]] = values.astype(wide)
    np.nan_to_num(scaled, copy=False, nan=low, posinf=high, neginf=low)
    scaled -= low
    scaled *= 255.0 / (high - low)
    return PILImage.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8)).convert("RGB")


def _from_lab(image: Image) -> Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    return image.convert("L").convert("RGB") if converted is None else converted
