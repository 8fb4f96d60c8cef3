"""Pictures of road signs for the demo's training, with their labels: a street, a sky, one to three signs.

A picture is a function of its seed alone, so that everybody's demo learns from the same ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw

NAMES = ("stop", "yield", "speed_limit")
WIDTH, HEIGHT = 480, 360
SMOOTH = 2
"""Drawn so many times larger, then reduced: soft edges."""
SMALLEST, LARGEST = 44, 92
"""Pixels across a sign."""
RED, WHITE, DARK = (186, 28, 36), (240, 240, 236), (28, 28, 30)


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign: class and box in pixels."""

    name: str
    box: dict[str, float]


def draw(seed: int) -> tuple[Image.Image, list[Sign]]:
    """Picture number ``seed`` (480 x 360, RGB) and the signs on it."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFilter

    rng = np.random.default_rng((7, seed))
    size = WIDTH * SMOOTH, HEIGHT * SMOOTH
    picture = Image.new("RGB", size)
    brush = ImageDraw.Draw(picture)
    _street(brush, rng, size)
    signs: list[Sign] = []
    taken: list[tuple[float, float]] = []
    for _ in range(int(rng.integers(1, 4))):
        across = float(rng.uniform(SMALLEST, LARGEST))
        x = float(rng.uniform(across / 2 + 4, WIDTH - across / 2 - 4))
        y = float(rng.uniform(across / 2 + 4, HEIGHT * 0.62))
        if any(math.dist((x, y), other) < LARGEST * 1.15 for other in taken):
            continue
        taken.append((x, y))
        name = NAMES[int(rng.integers(len(NAMES)))]
        outline = _sign(brush, rng, name, (x * SMOOTH, y * SMOOTH), across * SMOOTH)
        left, top = min(p[0] for p in outline) / SMOOTH, min(p[1] for p in outline) / SMOOTH
        right, bottom = max(p[0] for p in outline) / SMOOTH, max(p[1] for p in outline) / SMOOTH
        box = {"x": left, "y": top, "w": right - left, "h": bottom - top}
        signs.append(Sign(name, {key: round(value, 1) for key, value in box.items()}))
    small = picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    small = small.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 0.8))))
    pixels = np.asarray(small, np.float32)
    light = float(rng.uniform(0.7, 1.2))
    noisy = pixels * light + rng.normal(0, float(rng.uniform(2, 7)), pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), signs


def _street(brush: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int]) -> None:
    width, height = size
    horizon = int(height * rng.uniform(0.5, 0.7))
    above, below = rng.uniform((90, 130, 170), (190, 205, 240)), rng.uniform((200, 205, 205), (245, 235, 225))
    for y in range(horizon):
        brush.line((0, y, width, y), fill=_mixed(above, below, y / horizon))
    x = 0.0
    while x < width:  # houses and trees
        wide, high = rng.uniform(0.06, 0.2) * width, rng.uniform(0.08, 0.42) * height
        if rng.random() < 0.55:
            wall = tuple(int(v) for v in rng.uniform((80, 70, 60), (200, 180, 165)))
            brush.rectangle((x, horizon - high, x + wide, horizon), fill=wall)
            for window in range(int(high // 40)):
                top = horizon - high + 12 + window * 40
                brush.rectangle((x + wide * 0.2, top, x + wide * 0.45, top + 20), fill=(60, 66, 78))
                brush.rectangle((x + wide * 0.6, top, x + wide * 0.85, top + 20), fill=(60, 66, 78))
        else:
            green = tuple(int(v) for v in rng.uniform((30, 70, 30), (95, 130, 70)))
            brush.rectangle(
                (x + wide * 0.45, horizon - high * 0.5, x + wide * 0.55, horizon), fill=(84, 62, 44)
            )
            brush.ellipse((x, horizon - high, x + wide, horizon - high * 0.3), fill=green)
        x += wide * rng.uniform(0.8, 1.5)
    grass = tuple(int(v) for v in rng.uniform((70, 95, 55), (130, 140, 95)))
    brush.rectangle((0, horizon, width, height), fill=grass)
    grey, centre = int(rng.uniform(75, 120)), rng.uniform(0.3, 0.7) * width
    brush.polygon(
        [
            (centre - 20, horizon),
            (centre + 20, horizon),
            (centre + width * 0.6, height),
            (centre - width * 0.6, height),
        ],
        fill=(grey, grey, grey + 4),
    )
    brush.polygon(
        [(centre - 2, horizon), (centre + 2, horizon), (centre + 16, height), (centre - 16, height)],
        fill=WHITE,
    )


def _mixed(one: np.ndarray, other: np.ndarray, share: float) -> tuple[int, int, int]:
    r, g, b = (int(v) for v in one + (other - one) * share)
    return r, g, b


def _sign(
    brush: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    name: str,
    centre: tuple[float, float],
    across: float,
) -> list[tuple[float, float]]:
    """Draw a sign on its pole; returns its outline."""
    x, y = centre
    narrow, turn = float(rng.uniform(0.8, 1.0)), float(rng.normal(0, 3))
    pole = across * 0.05
    brush.rectangle((x - pole, y, x + pole, y + across * 2.4), fill=(128, 130, 132))

    def ring(corners: int, first: float, scale: float) -> list[tuple[float, float]]:
        angles = [math.radians(first + turn + 360 * k / corners) for k in range(corners)]
        radius = across / 2 * scale
        return [(x + radius * narrow * math.cos(a), y + radius * math.sin(a)) for a in angles]

    if name == "stop":
        outline = ring(8, 22.5, 1.06)
        brush.polygon(ring(8, 22.5, 1.06), fill=WHITE)
        brush.polygon(ring(8, 22.5, 0.97), fill=RED)
        _word(brush, "STOP", centre, across * 0.29, WHITE)
    elif name == "yield":
        outline = ring(3, 90, 1.15)
        brush.polygon(outline, fill=RED)
        brush.polygon(ring(3, 90, 0.68), fill=WHITE)
    else:
        outline = ring(40, 0, 1.0)
        brush.polygon(outline, fill=RED)
        brush.polygon(ring(40, 0, 0.78), fill=WHITE)
        _word(brush, str(rng.choice(("30", "50", "80"))), centre, across * 0.42, DARK)
    return outline


def _word(
    brush: ImageDraw.ImageDraw,
    text: str,
    centre: tuple[float, float],
    size: float,
    fill: tuple[int, int, int],
) -> None:
    from PIL import ImageFont

    brush.text(
        centre,
        text,
        font=ImageFont.load_default(size),
        fill=fill,
        anchor="mm",
        stroke_width=1,
        stroke_fill=fill,
    )


def truth(signs: list[Sign]) -> list[dict[str, Any]]:
    """The signs as annotations."""
    return [
        {"id": str(number), "type": "bbox", "name": sign.name, "bounding_box": sign.box}
        for number, sign in enumerate(signs, 1)
    ]
