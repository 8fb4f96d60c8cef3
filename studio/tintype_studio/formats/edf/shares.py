"""Pixels and shares of a picture.

A file holds float32 shares. Many numbers of pixels are one share: 123.45 of 640 comes back as 123.4499969.
Files of annotations are mostly written with two decimals, so the number with few decimals that has this very
share is taken for what was meant. Whatever is chosen, its share is the one in the file.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Shares: TypeAlias = npt.NDArray[np.float32]
    Pixels: TypeAlias = npt.NDArray[np.float64]


def shares(pixels: Pixels, extents: Any) -> Shares:
    """Shares of ``extents`` pixels (a number, or an array that fits)."""
    import numpy as np

    found: Shares = (pixels / extents).astype(np.float32)
    return found


def pixels(shares: Shares, extents: Any) -> Pixels:
    """Pixels of shares: with two decimals, else with three, where these have the same share."""
    import numpy as np

    exact: Pixels = np.multiply(shares, extents, dtype=np.float64)
    found = exact * 100
    np.rint(found, out=found)
    found /= 100
    wrong = (found / extents).astype(np.float32) != shares
    if wrong.any():
        over = np.broadcast_to(extents, shares.shape)[wrong]
        better = np.round(exact[wrong], 3)
        still = (better / over).astype(np.float32) != shares[wrong]
        better[still] = exact[wrong][still]
        found[wrong] = better
    return found


def box_shares(boxes: Pixels, sizes: Any) -> Shares:
    """Centre, width and height as shares, of ``(n, 4)`` boxes x, y, w, h; ``sizes`` ``(n, 2)``."""
    import numpy as np

    found = np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)
    return shares(found, np.concatenate([sizes, sizes], axis=1))


def boxes(centred: Shares, sizes: Any) -> Pixels:
    """x, y, w, h in pixels, of ``(n, 4)`` shares of centre, width and height; ``sizes`` ``(n, 2)``.

    As ``pixels``, but the share of the centre may differ in its last two bits.
    """
    import numpy as np

    extents = pixels(np.ascontiguousarray(centred[:, 2:]), sizes)
    middle = centred[:, :2].astype(np.float64) * sizes
    exact = middle - extents / 2
    corners = exact.copy()
    wrong = np.ones(corners.shape, dtype=np.bool_)
    # Who computes a centre in float32 is off by the last bits, so with two decimals that counts as well.
    for decimals, bits in ((2, 0), (3, 0), (2, 2)):
        rounded = np.round(exact, decimals)
        centres = ((rounded + extents / 2) / sizes).astype(np.float32)
        off = np.abs(centres - centred[:, :2])
        fits = wrong & (off <= bits * np.spacing(np.abs(centres)) if bits else off == 0)
        corners[fits] = rounded[fits]
        wrong &= ~fits
        if not wrong.any():
            break
    return np.concatenate([corners, extents], axis=1)


def shortest(value: float) -> float:
    """The number of the fewest decimals (up to eight) that is this float32: 0.9 for 0.8999999761581421."""
    packed = struct.pack("<f", value)
    for decimals in range(1, 9):
        rounded = round(value, decimals)
        if struct.pack("<f", rounded) == packed:
            return rounded
    return value


def single(value: float) -> float:
    """A number as float32 holds it; infinity beyond its range."""
    try:
        found: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf")
    return found
