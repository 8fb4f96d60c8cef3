"""A colour per class: the dataset's own where it has one, else a stable one by name.

The fallback palette was found by farthest-point search in the OKLab colour space among light and saturated
colours, so that any two of its colours differ clearly from each other and from most photographs.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import lru_cache

Color = tuple[int, int, int]
"""Red, green, blue, each 0 to 255."""

PALETTE: tuple[str, ...] = (
    *("#fc0000", "#00fc00", "#0066fc", "#fc7e00", "#fc00fc", "#00fcea", "#ccf018", "#8a30fc"),
    *("#fc9cc0", "#368a30", "#5accfc", "#a8661e", "#fc0084", "#90d290", "#7e90fc", "#fcc666"),
    *("#00a89c", "#ba2aae", "#b49c00", "#c6607e", "#d278f6", "#0cc01e", "#7e66a8", "#007eb4"),
)


def class_color(name: str, colors: Mapping[str, str]) -> Color:
    """The colour of class ``name``: that of ``colors`` if it can be read, else a stable one by name.

    Values of ``colors`` are anything CSS knows: ``#rrggbb``, ``#rgb``, ``rgb(…)``, names.
    """
    return _parse(colors[name]) or _by_name(name) if name in colors else _by_name(name)


def text_color(background: Color) -> Color:
    """Black or white, whichever has the higher WCAG contrast on ``background``."""
    red, green, blue = (_linear(channel / 255) for channel in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    # Contrast with white is 1.05 / (L + 0.05), with black (L + 0.05) / 0.05; they meet at L = 0.179.
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


@lru_cache(maxsize=4096)
def _by_name(name: str) -> Color:
    color = _parse(PALETTE[zlib.crc32(name.encode("utf-8", "surrogatepass")) % len(PALETTE)])
    assert color is not None
    return color


@lru_cache(maxsize=4096)
def _parse(css: str) -> Color | None:
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(css)[:3]
    except ValueError:
        return None


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
