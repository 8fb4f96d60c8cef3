"""One line of text, measured and drawn in pixels.

Pillow's built-in font serves ASCII. Text with other letters is drawn with the universal font that OpenCV 5
carries (Latin, Greek, Cyrillic, CJK and more); an OpenCV without it leaves accents away and shows an empty
box for each letter that remains unknown.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

_LATIN = re.compile(r"LATIN (SMALL|CAPITAL) LETTER ([A-Z]{1,2})\b")
_universal_lock = threading.Lock()
"""OpenCV does not say that its fonts may be used by several threads at once."""


class Lettering:
    """Text of one size. ``ascent`` and ``descent`` are pixels above and below the baseline."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.ascent, self.descent = _extent(size)

    def length(self, text: str) -> int:
        """Width of ``text`` in whole pixels."""
        if _needs_universal(text):
            import cv2

            with _universal_lock:
                return int(cv2.getTextSize((0, 0), text, (0, 0), _universal_font(), self._size)[2])
        return int(_font(self._size).getlength(simplified(text)) + 0.999)

    def draw(self, image: Image, x: int, baseline: int, text: str, color: tuple[int, int, int]) -> None:
        """Draw ``text`` onto an RGB picture, its left end at ``x``."""
        from PIL import ImageDraw

        pen = ImageDraw.Draw(image)
        if not _needs_universal(text):
            pen.text((x, baseline), simplified(text), fill=color, font=_font(self._size), anchor="ls")
            return
        import cv2
        import numpy as np
        from PIL import Image as PILImage

        height = self.ascent + self.descent
        # Wider than the text, for OpenCV starts a new line at the right border.
        mask = np.zeros((height, self.length(text) + 2 * self._size), np.uint8)
        with _universal_lock:
            cv2.putText(mask, text, (0, self.ascent), (255,), _universal_font(), self._size)
        pen.bitmap((x, baseline - self.ascent), PILImage.fromarray(mask), fill=color)


@lru_cache(maxsize=4096)
def one_line(text: str) -> str:
    """``text`` without control characters, runs of blanks collapsed."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


@lru_cache(maxsize=4096)
def simplified(text: str) -> str:
    """``text`` in letters of the built-in font as far as there are any: accents and strokes are dropped."""
    return "".join(char if _has_glyph(char) else _plain_letters(char) for char in text)


def _plain_letters(char: str) -> str:
    plain = "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))
    if plain and all(map(_has_glyph, plain)):
        return plain
    if named := _LATIN.match(unicodedata.name(char, "")):
        return named[2].lower() if named[1] == "SMALL" else named[2]
    return char


@lru_cache(maxsize=4096)
def _needs_universal(text: str) -> bool:
    return not all(map(_has_glyph, text)) and _universal_font() is not None


@lru_cache(maxsize=1)
def _universal_font() -> Any:
    """OpenCV's font for all scripts, or none where this build has none."""
    import cv2

    if not hasattr(cv2, "FontFace"):
        return None
    face = cv2.FontFace("uni")
    return face if face.getName() == "uni" else None


@lru_cache(maxsize=64)
def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


@lru_cache(maxsize=4096)
def _has_glyph(char: str) -> bool:
    """Whether the built-in font has the letter, rather than its empty box."""
    if " " <= char <= "~":
        return True
    face = _font(20)
    missing, drawn = face.getmask("\U0010ffff"), face.getmask(char)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


@lru_cache(maxsize=64)
def _extent(size: int) -> tuple[int, int]:
    from PIL import ImageFont

    face = _font(size)
    if isinstance(face, ImageFont.FreeTypeFont):
        _, top, _, bottom = face.getbbox("Agjpqy|_", anchor="ls")
        return -int(top), int(bottom)
    return size, 0
