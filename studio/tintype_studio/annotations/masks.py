"""Masks in the forms that files have them: COCO's run lengths, arrays, PNG pictures, rings.

A ``Mask`` holds COCO's compressed run-length code: runs down the columns of the upright picture, pixels that
are not marked first. Nothing here trusts what comes in: sizes are looked at before memory is taken for them.
A mask that marks no pixel is nothing (None), never a ``Mask``.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.geometry import (
    MAX_MASK_TEXT,
    Annotation,
    BBoxAnnotation,
    BoundingBox,
    Mask,
    MaskAnnotation,
    PolygonAnnotation,
    PolygonGeometry,
)
from tintype_studio.errors import InvalidInput
from tintype_studio.names import printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bits = npt.NDArray[np.bool_]
    Runs = npt.NDArray[np.int64]

MAX_PIXELS = 250_000_000
"""Of the picture that a mask is of."""

_PNG = b"\x89PNG\r\n\x1a\n"
_WHOLE_NUMBERS = {"I", "I;16", "I;16B", "I;16L"}


def runs_of(counts: str | Sequence[int], height: int, width: int) -> Runs:
    """Run lengths of a mask of ``height`` x ``width`` pixels: unmarked first, one after the other.

    ``counts`` is COCO's text or its plain list.

    Raises:
        InvalidInput: the text is damaged, the list no list of whole numbers, a run negative, the picture
            larger than ``MAX_PIXELS``, or the runs do not add up to it (``invalid_mask``).
    """
    import numpy as np

    if min(width, height) < 1 or width * height > MAX_PIXELS:
        raise _invalid(f"A mask of {width} x {height} pixels is too large; {MAX_PIXELS:,} is the most.")
    runs = _of_text(counts) if isinstance(counts, str) else _of_list(counts)
    if (
        not len(runs)
        or runs.min() < 0
        or runs.max() > width * height
        or int(np.cumsum(runs)[-1]) != width * height
    ):
        raise _invalid(f"The runs of the mask do not add up to {width} x {height} pixels.")
    return runs


def text_of(runs: Runs) -> str:
    """COCO's compressed text of run lengths: five bits a character, differences from the fourth run on."""
    import numpy as np

    values = runs.astype(np.int64)
    values[3:] -= runs[1:-2]
    # Two's complement needs a bit for the sign, hence 16, 512, … and not 32, 1024, …
    size = np.where(values < 0, ~values, values)
    lengths = np.ones(len(values), dtype=np.int64)
    for bits in range(4, 35, 5):
        lengths += size >> bits > 0
    ends = np.cumsum(lengths)
    owner = np.repeat(np.arange(len(values)), lengths)
    place = np.arange(len(owner)) - (ends - lengths)[owner]
    codes = (values[owner] >> (5 * place)) & 31
    codes[place < lengths[owner] - 1] |= 32
    text: str = (codes + 48).astype(np.uint8).tobytes().decode("ascii")
    return text


def mask_of_counts(counts: str | Sequence[int], height: int, width: int) -> Mask | None:
    """A COCO segmentation as a mask; a compressed text is kept as it is. Raises as ``runs_of``."""
    runs = runs_of(counts, height, width)
    if not runs[1::2].any():
        return None
    return _mask(counts if isinstance(counts, str) else text_of(runs), height, width)


def mask_of_array(array: Bits) -> Mask | None:
    """A mask of an ``(H, W)`` array of bool. Raises InvalidInput for one of another shape or too large."""
    import numpy as np

    if array.ndim != 2 or array.dtype != np.bool_:
        raise InvalidInput("The mask must be an (H, W) array of bool.", fix="Compare it with a threshold.")
    height, width = array.shape
    if not 0 < height * width <= MAX_PIXELS:
        raise _invalid(f"A mask of {width} x {height} pixels is too large; {MAX_PIXELS:,} is the most.")
    flat = array.T.reshape(-1)
    turning = flat[1:] != flat[:-1]
    if np.count_nonzero(turning) > MAX_MASK_TEXT:  # told before eight bytes are taken for each
        raise _too_long()
    turns = np.flatnonzero(turning) + 1
    if not len(turns) and not flat[0]:
        return None
    runs = np.diff(np.concatenate([[0], turns, [len(flat)]]))
    return _mask(text_of(np.concatenate([[0], runs]) if flat[0] else runs), height, width)


def array_of(mask: Mask) -> Bits:
    """The whole picture as an ``(H, W)`` array of bool."""
    import numpy as np

    height, width = mask.size
    runs = runs_of(mask.counts, height, width)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def window_of(mask: Mask) -> tuple[Bits, int]:
    """The columns that the mask covers, ``(H, n)`` of bool, and the first of them."""
    import numpy as np

    height, width = mask.size
    runs = runs_of(mask.counts, height, width)
    starts, stops = _marked(runs)
    first, last = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1
    toggles = np.zeros((last - first) * height + 1, dtype=np.int8)
    np.add.at(toggles, starts - first * height, 1)
    np.add.at(toggles, stops - first * height, -1)
    return np.cumsum(toggles[:-1], dtype=np.int8).reshape(last - first, height).T.astype(np.bool_), first


def outline_of(mask: Mask) -> PolygonGeometry:
    """The exact outline along the edges of pixels, holes included.

    Raises:
        InvalidInput: it has more rings or points than a polygon may have.
    """
    from tintype_studio.vision.polygons import mask_to_polygon

    array, left = window_of(mask)
    outline = mask_to_polygon(array, offset=(left, 0), tolerance=0)
    assert outline is not None, "a Mask marks pixels"
    return outline


def as_outline(annotation: Annotation) -> Annotation:
    """A mask as the polygon of its exact outline, or as its box where a polygon cannot hold that; any other
    annotation as it is. For what knows outlines and no pixels.
    """
    if not isinstance(annotation, MaskAnnotation):
        return annotation
    common = annotation.model_dump(exclude={"type", "mask", "bounding_box", "box3d"})
    box = annotation.bounding_box or box_of(annotation.mask)
    try:
        paths = outline_of(annotation.mask)
    except InvalidInput:
        return BBoxAnnotation(**common, box3d=annotation.box3d, bounding_box=box)
    # Nothing of it can be wrong, and an exact outline has many points.
    return PolygonAnnotation.model_construct(
        **common, type="polygon", box3d=annotation.box3d, polygon=paths, bounding_box=box
    )


def outlined_document(annotation: dict[str, Any]) -> dict[str, Any]:
    """The same of an annotation as it is kept."""
    if annotation["type"] != "mask":
        return annotation
    mask = MaskAnnotation.model_validate(annotation)
    return as_outline(mask).model_dump(mode="json", exclude_none=True)


def require_sizes(annotations: Iterable[Annotation], width: int, height: int) -> None:
    """Refuse masks of another picture than one of ``width`` x ``height`` pixels (``invalid_mask``)."""
    for each in annotations:
        if each.mask is not None and each.mask.size != [height, width]:
            raise _invalid(
                f"The mask of the annotation {printable(each.id)[:60]!r} has the size {each.mask.size}; the "
                f"picture has [{height}, {width}]."
            )


def box_of(mask: Mask) -> BoundingBox:
    """The smallest box around the marked pixels, by their edges."""
    height, width = mask.size
    starts, stops = _marked(runs_of(mask.counts, height, width))
    left, right = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1
    top, bottom = int((starts % height).min()), int(((stops - 1) % height).max()) + 1
    if (starts // height != (stops - 1) // height).any():  # a run goes on in the next column
        top, bottom = 0, height
    return BoundingBox(x=left, y=top, w=right - left, h=bottom - top)


def area_of(mask: Mask) -> int:
    """How many pixels are marked."""
    return int(runs_of(mask.counts, *mask.size)[1::2].sum())


def mask_of_rings(paths: PolygonGeometry, width: int, height: int) -> Mask | None:
    """The pixels whose centres lie inside an outline, by the even-odd rule; what is outside is cut off."""
    import numpy as np

    from tintype_studio.formats.shapes import ring_of, run_lengths

    runs = np.asarray(run_lengths([ring_of(path) for path in paths.paths], width, height), dtype=np.int64)
    return _mask(text_of(runs), height, width) if runs[1::2].any() else None


def png_of(mask: Mask) -> bytes:
    """A PNG of one bit per pixel and the size of the picture, white where marked."""
    import numpy as np

    height, width = mask.size
    rows = np.packbits(array_of(mask), axis=1)
    data = np.concatenate([np.zeros((height, 1), dtype=np.uint8), rows], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(data, 6)) + _chunk(b"IEND", b"")


def mask_of_png(data: bytes, size: tuple[int, int] | None = None) -> Mask | None:
    """A PNG of one channel as a mask: what is at least half of its range is marked.

    A file of zeros and ones is taken as it means. With ``size``, the picture's height and width, a smaller
    PNG is a tile, and its ``oFFs`` chunk says where its left top corner is in pixels (0, 0 without one).

    Raises:
        InvalidInput: it is damaged, no PNG, has several channels, or does not fit into ``size``
            (``invalid_mask``).
    """
    import numpy as np
    from PIL import Image

    if not data.startswith(_PNG) or len(data) < 33:
        raise _invalid("The mask is no PNG file.")
    width, height = struct.unpack(">II", data[16:24])
    if not 0 < width * height <= MAX_PIXELS:
        raise _invalid(f"A mask of {width} x {height} pixels is too large; {MAX_PIXELS:,} is the most.")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.mode not in {"1", "L", *_WHOLE_NUMBERS}:
                raise _invalid("The PNG of a mask has one channel of grey, and this one has more.")
            values = np.asarray(picture)
    except InvalidInput:
        raise
    except Exception:
        raise _invalid("The PNG of the mask is damaged.") from None
    bits = values if values.dtype == np.bool_ else _thresholded(values)
    if size is not None and bits.shape != size:
        bits = _placed(bits, _offset(data), size)
    return mask_of_array(bits)


def _thresholded(values: npt.NDArray[np.integer[Any]]) -> Bits:
    half = 0x8000 if values.dtype.itemsize > 1 else 0x80
    bits: Bits = values >= (1 if values.max() <= 1 else half)
    return bits


def _placed(bits: Bits, at: tuple[int, int], size: tuple[int, int]) -> Bits:
    import numpy as np

    (left, top), (height, width) = at, size
    down, across = bits.shape
    if not 0 < height * width <= MAX_PIXELS or left < 0 or top < 0:
        raise _invalid("The mask lies outside its picture.")
    if left + across > width or top + down > height:
        raise _invalid(
            f"A mask of {across} x {down} pixels does not fit into a picture of {width} x {height}."
        )
    whole = np.zeros((height, width), dtype=np.bool_)
    whole[top : top + down, left : left + across] = bits
    return whole


def _offset(data: bytes) -> tuple[int, int]:
    """Left and top of a tile, of its ``oFFs`` chunk."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind == b"oFFs" and length == 9 and data[at + 16] == 0:
            left, top = struct.unpack(">ii", data[at + 8 : at + 16])
            return left, top
        if kind == b"IDAT":
            break
        at += 12 + length
    return 0, 0


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _marked(runs: Runs) -> tuple[Runs, Runs]:
    """Where marked runs begin and end, counted down the columns; at least one."""
    import numpy as np

    ends = np.cumsum(runs)
    starts, stops = ends[::2][: len(runs) // 2], ends[1::2]
    filled = stops > starts
    if not filled.any():
        raise _invalid("The mask marks no pixel.")
    return starts[filled], stops[filled]


def _mask(text: str, height: int, width: int) -> Mask:
    if len(text) > MAX_MASK_TEXT:
        raise _too_long()
    return Mask(size=[height, width], counts=text)


def _too_long() -> InvalidInput:
    return _invalid(f"The run lengths of the mask have more than {MAX_MASK_TEXT:,} characters.")


def _of_list(counts: Sequence[int]) -> Runs:
    import numpy as np

    try:
        runs = np.asarray(counts)
    except (TypeError, ValueError, OverflowError):
        runs = np.empty((0, 0))
    if runs.ndim != 1 or (len(runs) and runs.dtype.kind not in "iu"):
        raise _invalid("The runs of the mask are no list of whole numbers.")
    return runs.astype(np.int64)


def _of_text(text: str) -> Runs:
    import numpy as np

    try:
        codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        codes = np.array([-1])
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise _invalid("The text of the mask is damaged.")
    ends = np.flatnonzero((codes & 32) == 0)
    begins = np.concatenate([[0], ends[:-1] + 1])
    if (ends - begins).max() > 6:
        raise _invalid("The text of the mask is damaged.")
    place = np.arange(len(codes)) - np.repeat(begins, ends - begins + 1)
    values = np.add.reduceat((codes & 31) << (5 * place), begins)
    negative = (codes[ends] & 16) != 0
    values -= np.where(negative, np.int64(1) << (5 * (ends - begins + 1)), 0)
    # Every run adds that of two before, and the first three stand for themselves.
    runs = values.copy()
    runs[1::2] = np.cumsum(values[1::2])
    runs[2::2] = np.cumsum(values[2::2])
    return runs


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(
        text,
        code="invalid_mask",
        fix="Send COCO run lengths (size: [height, width], counts) of the whole upright picture.",
    )
