"""Fingerprints of pictures, for near-duplicates: the same picture again, scaled, recompressed or retouched.

256 bits say where the grey rises from left to right on a 16 x 16 grid (a difference hash); 16 mean colours
beside them keep plain pictures of different colours apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BITS = 256
GRID = 16
COLOURS = 4
LENGTH = BITS // 8 + COLOURS * COLOURS * 3
"""Bytes of a fingerprint."""

MOST_TINT = 14.0
MOST_LIGHT = 20.0
"""Mean difference of colour (a and b of Lab) and of lightness (0 to 100) between copies at most."""


def fingerprint(pixels: NDArray[np.uint8]) -> bytes:
    """The fingerprint of an (h, w, 3) uint8 RGB picture: ``LENGTH`` bytes."""
    import cv2
    import numpy as np

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    grid = np.asarray(cv2.resize(grey, (GRID + 1, GRID), interpolation=cv2.INTER_AREA)).astype(np.int16)
    bits = np.packbits((grid[:, 1:] > grid[:, :-1]).ravel())
    small = np.asarray(cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA)).astype(np.float32) / 255
    lab = cv2.resize(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), (COLOURS, COLOURS), interpolation=cv2.INTER_AREA)
    colours = np.rint(np.asarray(lab)).clip(-127, 127).astype(np.int8)
    return bits.tobytes() + colours.tobytes()


def unpack(prints: list[bytes]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Many fingerprints as arrays: bits (n, 256) of -1 and 1, and colours (n, 16, 3) in Lab.

    The product of two rows of bits is 256 less twice the number of bits in which they differ.
    """
    import numpy as np

    raw: NDArray[np.uint8] = np.frombuffer(b"".join(prints), np.uint8).reshape(len(prints), LENGTH)
    bits = np.unpackbits(raw[:, : BITS // 8], axis=1).astype(np.float32) * 2 - 1
    colours = raw[:, BITS // 8 :].copy().view(np.int8).reshape(len(prints), -1, 3).astype(np.float32)
    return bits, colours


def colours_agree(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether pairs of (…, 16, 3) colours may be those of one picture; shape (…)."""
    import numpy as np

    gap: NDArray[Any] = one - other
    tint = np.sqrt((gap[..., 1:] ** 2).sum(axis=-1)).mean(axis=-1)
    light = np.abs(gap[..., 0]).mean(axis=-1)
    agree: NDArray[np.bool_] = (tint <= MOST_TINT) & (light <= MOST_LIGHT)
    return agree
