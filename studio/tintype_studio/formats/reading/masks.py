"""Masks of COCO files, read without trust in what they say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tintype_studio.errors import InvalidInput
from tintype_studio.formats.reading.converted import invalid

if TYPE_CHECKING:
    from tintype_studio.annotations.geometry import Mask

MAX_PIXELS = 250_000_000
"""Of one mask."""


def mask_of(segmentation: dict[str, Any], width: int, height: int, what: str) -> Mask | None:
    """The mask of an RLE segmentation, compressed or not; None when no pixel is set.

    Raises:
        InvalidInput: its size is not that of the image (``width`` x ``height`` pixels), or its runs are
            damaged or do not add up to it.
    """
    from tintype_studio.annotations.masks import mask_of_counts

    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise invalid(f"{what}: the mask's size is {str(size)[:40]}, the image's [{height}, {width}].")
    if not isinstance(counts, str | list):
        raise invalid(f"{what}: the runs of the mask are no list of whole numbers.")
    try:
        return mask_of_counts(counts, height, width)
    except InvalidInput as error:
        raise invalid(f"{what}: {error.message[0].lower()}{error.message[1:]}") from None
