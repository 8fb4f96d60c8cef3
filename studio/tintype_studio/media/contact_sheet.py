"""Many pictures on one: small, numbered, each with a line below it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tintype_studio.media.decode import fit_size
from tintype_studio.media.lettering import Lettering, one_line

_PAPER = (24, 24, 27)
_INK = (228, 228, 231)
_EMPTY = (63, 63, 70)
_GAP = 8
_LETTERS = 13
_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture (any file that can be decoded; None for one that cannot) and the line below it."""

    picture: bytes | None
    caption: str


def contact_sheet(
    tiles: Sequence[Tile], *, side: int = 160, columns: int = 6, high: int | None = None
) -> tuple[bytes, int, int]:
    """A JPEG of the tiles in reading order, and its width and height in pixels.

    A picture gets ``side`` pixels of width and ``high`` of height, as many when None; none is enlarged.
    Captions are cut to the width of their tile. Raises ValueError without tiles.
    """
    from PIL import Image, ImageDraw

    if not tiles:
        raise ValueError("no tiles")
    letters = Lettering(_LETTERS)
    line = letters.ascent + letters.descent + 6
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    width = _GAP + columns * (side + _GAP)
    high = side if high is None else high
    height = _GAP + rows * (high + line + _GAP)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        left = _GAP + number % columns * (side + _GAP)
        top = _GAP + number // columns * (high + line + _GAP)
        if tile.picture is None:
            pen.rectangle((left, top, left + side - 1, top + high - 1), outline=_EMPTY)
        else:
            picture = Image.open(io.BytesIO(tile.picture)).convert("RGB")
            picture = picture.resize(fit_size(picture.width, picture.height, (side, high)))
            # On the caption's line, so that flat and tall pictures stand on one ground.
            sheet.paste(picture, (left + (side - picture.width) // 2, top + high - picture.height))
        text = _cut(letters, one_line(tile.caption), side)
        letters.draw(sheet, left, top + high + 3 + letters.ascent, text, _INK)
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue(), width, height


def _cut(letters: Lettering, text: str, width: int) -> str:
    """The text, or as much of its beginning as fits with an ellipsis."""
    if letters.length(text) <= width:
        return text
    shown = len(text)
    while shown and letters.length(text[:shown].rstrip() + "...") > width:
        shown -= 1
    return text[:shown].rstrip() + "..."
