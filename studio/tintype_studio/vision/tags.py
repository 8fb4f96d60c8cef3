"""Attributes that image statistics give honestly, each with a confidence.

All but ``blurry`` are plain facts about brightness, contrast, colour and size. ``blurry`` is a guess: it
finds strong blur, and takes some soft or smooth pictures for blurred, which is why every tag carries its
confidence. Noise, time of day and what a picture shows are not told: statistics do not know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REDUCED_SIDE = 480
"""Longest side, in pixels, of the picture that is looked at: JPEGs of 1920 and 3840 pixels are then decoded
at a half and a quarter of their size.
"""

SMALL_SIDE = 256
"""An image whose longer side is below this many pixels is ``small``."""

SQUARE_WITHIN = 0.02
"""Sides that differ by no more than this share are those of a square."""

ATTRIBUTES: dict[str, str] = {
    "dark": "mean grey below 65 of 255",
    "bright": "mean grey above 180 of 255",
    "low_contrast": "98 % of the greys span less than 70 of 255",
    "underexposed": "more than 35 % of the pixels are black (below 16), and the mean is below 70",
    "overexposed": "more than 20 % of the pixels are burnt out (250 or more)",
    "greyscale": "no colour: channels differ by at most 8 in 98 % of the pixels",
    "blurry": "no sharp edge anywhere at 480 px; a guess, see its confidence",
    "landscape": "wider than tall",
    "portrait": "taller than wide",
    "square": "as wide as tall, within 2 %",
    "small": "longer side below 256 px",
}
"""Every attribute there is, and what it means."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One attribute. ``confidence`` is 0.5 at its threshold and 1 where there is no doubt."""

    name: str
    confidence: float


def attribute_tags(pixels: NDArray[np.uint8], size: tuple[int, int]) -> list[Tag]:
    """The attributes of a picture, in the order of ``ATTRIBUTES``.

    ``pixels`` is (h, w, 3) uint8 RGB, reduced to ``REDUCED_SIDE`` or less; ``size`` is the full width and
    height in pixels.
    """
    import cv2
    import numpy as np

    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    histogram = np.bincount(grey.ravel(), minlength=256) / grey.size
    total = np.cumsum(histogram)
    mean = float(histogram @ np.arange(256))
    span = float(np.searchsorted(total, 0.98) - np.searchsorted(total, 0.02))
    black, burnt = float(total[15]), float(1.0 - total[249])
    found: dict[str, float] = {}

    def note(name: str, confidence: float) -> None:
        if confidence >= 0.5:
            found[name] = round(min(1.0, confidence), 3)

    note("dark", _ramp(mean, 65, 35))
    note("bright", _ramp(mean, 180, 220))
    note("low_contrast", _ramp(span, 70, 40))
    note("underexposed", min(_ramp(black, 0.35, 0.7), _ramp(mean, 70, 40)))
    note("overexposed", _ramp(burnt, 0.2, 0.5))
    note("greyscale", _ramp(_colourfulness(pixels), 8.5, 4))
    note("blurry", _blur(grey))
    for name in _shape(*size):
        found[name] = 1.0
    return [Tag(name, found[name]) for name in ATTRIBUTES if name in found]


def _ramp(value: float, threshold: float, certain: float) -> float:
    """0.5 at the threshold and 1 at ``certain``, which lies beyond it on either side; linear."""
    return 0.5 + 0.5 * (value - threshold) / (certain - threshold)


def _colourfulness(pixels: NDArray[np.uint8]) -> float:
    """How far the channels of a pixel differ, 98th percentile."""
    import cv2
    import numpy as np

    # By channel: numpy takes ten times as long along the last axis.
    red, green, blue = cv2.split(pixels)
    spread = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    total = np.cumsum(np.bincount(np.asarray(spread).ravel(), minlength=256))
    return float(np.searchsorted(total, 0.98 * total[-1]))


def _blur(grey: NDArray[np.uint8]) -> float:
    """Confidence that the picture is blurred; 0 where it is too small or too plain to tell.

    Crété's measure (how little a further blur takes away) and, in the sharpest eighth of 64 tiles, the
    energy of the second derivative over that of the first: a picture with one sharp thing in it is no
    blurred picture, whatever its background.
    """
    import cv2
    import numpy as np

    if min(grey.shape) < 32:
        return 0.0
    values = grey.astype(np.float32)
    slope = cv2.Sobel(values, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(values, cv2.CV_32F, 0, 1) ** 2
    if float(slope.mean()) < 30:
        return 0.0
    bend = np.asarray(cv2.Laplacian(values, cv2.CV_32F)) ** 2

    def tiles(energy: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(cv2.resize(energy, (8, 8), interpolation=cv2.INTER_AREA))

    sharpest = float(np.sort((tiles(bend) / (tiles(slope) + 30)).ravel())[-8:].mean())
    softness = max(_crete(values, axis) for axis in (0, 1))
    if sharpest > 0.045 or softness < 0.5:
        return 0.0
    return _ramp(softness, 0.5, 0.85)


def _crete(values: NDArray[np.float32], axis: int) -> float:
    import cv2
    import numpy as np

    kernel = (1, 9) if axis == 0 else (9, 1)
    before = np.abs(np.diff(values, axis=axis))
    after = np.abs(np.diff(cv2.blur(values, kernel), axis=axis))
    lost = float(np.maximum(0, before - after).sum())
    return 1.0 - lost / (float(before.sum()) + 1e-6)


def _shape(width: int, height: int) -> list[str]:
    square = abs(width - height) <= SQUARE_WITHIN * max(width, height)
    names = ["square" if square else "landscape" if width > height else "portrait"]
    return [*names, "small"] if max(width, height) < SMALL_SIDE else names


_OTHER_WORDS = {"grayscale": "greyscale", "gray": "greyscale", "grey": "greyscale", "low_light": "dark"}


def known_attribute(name: str) -> str:
    """An attribute as it is stored: lower case, underscores, and our word for common others."""
    plain = "_".join(name.strip().lower().replace("-", " ").split()).replace(" ", "_")
    return _OTHER_WORDS.get(plain, plain)
