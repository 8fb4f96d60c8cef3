"""Run lengths of COCO masks, read without trust in what they say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tintype_studio.formats.reading.converted import invalid

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tintype_studio.annotations.geometry import PolygonGeometry

MAX_PIXELS = 250_000_000
"""Of one mask."""


def outline_of(segmentation: dict[str, Any], width: int, height: int, what: str) -> PolygonGeometry | None:
    """The exact outline of an RLE mask, compressed or not; None when no pixel is set.

    Raises:
        InvalidInput: its size is not that of the image (``width`` x ``height`` pixels), or its runs do not
            add up to it.
    """
    import numpy as np

    from tintype_studio.vision.polygons import mask_to_polygon

    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise invalid(f"{what}: the mask's size is {str(size)[:40]}, the image's [{height}, {width}].")
    if not 0 < width * height <= MAX_PIXELS:
        raise invalid(f"{what}: a mask of {width} x {height} pixels is too large.")
    runs = _compressed(counts, what) if isinstance(counts, str) else _plain(counts, what)
    ends = np.cumsum(runs)
    if not len(runs) or runs.min() < 0 or runs.max() > width * height or int(ends[-1]) != width * height:
        raise invalid(f"{what}: the runs of the mask do not add up to {width} x {height} pixels.")
    starts, stops = ends[::2][: len(runs) // 2], ends[1::2]
    filled = stops > starts
    starts, stops = starts[filled], stops[filled]
    if not len(starts):
        return None
    # Only the columns that the object covers: a small one in a large image costs little.
    first, last = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1
    toggles = np.zeros((last - first) * height + 1, dtype=np.int8)
    np.add.at(toggles, starts - first * height, 1)
    np.add.at(toggles, stops - first * height, -1)
    mask = np.cumsum(toggles[:-1], dtype=np.int8).reshape(last - first, height).T.astype(np.bool_)
    return mask_to_polygon(mask, offset=(first, 0), tolerance=0)


def _plain(counts: object, what: str) -> npt.NDArray[np.int64]:
    import numpy as np

    try:
        runs = np.asarray(counts, dtype=np.int64)
    except (TypeError, ValueError, OverflowError):
        runs = np.empty((0, 0), dtype=np.int64)
    if runs.ndim != 1:
        raise invalid(f"{what}: the runs of the mask are no list of whole numbers.")
    return runs


def _compressed(text: str, what: str) -> npt.NDArray[np.int64]:
    """Runs from COCO's text: five bits a character, least first, and differences from the third run on."""
    import numpy as np

    try:
        codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        codes = np.array([-1])
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise invalid(f"{what}: the text of the mask is damaged.")
    ends = np.flatnonzero((codes & 32) == 0)
    begins = np.concatenate([[0], ends[:-1] + 1])
    if (ends - begins).max() > 6:
        raise invalid(f"{what}: the text of the mask is damaged.")
    place = np.arange(len(codes)) - np.repeat(begins, ends - begins + 1)
    values = np.add.reduceat((codes & 31) << (5 * place), begins)
    negative = (codes[ends] & 16) != 0
    values -= np.where(negative, np.int64(1) << (5 * (ends - begins + 1)), 0)
    # Every run adds that of two before, and the first three stand for themselves.
    runs = values.copy()
    runs[1::2] = np.cumsum(values[1::2])
    runs[2::2] = np.cumsum(values[2::2])
    return runs
