"""Pictures made for tests."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def jpeg(width: int = 64, height: int = 48, seed: int = 0) -> bytes:
    """A small textured JPEG; each seed gives other bytes."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=70)
    return file.getvalue()


def scene(width: int = 160, height: int = 120) -> bytes:
    """A PNG with one bright red square at (50, 40) to (100, 90) on a dark, noisy ground."""
    pixels = np.random.default_rng(7).integers(20, 60, (height, width, 3), dtype=np.uint8)
    pixels[40:90, 50:100] = (220, 30, 30)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
