"""Turns frames upright: a phone writes them as its sensor lies, and says beside them how to turn them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame

_MATRIX = struct.Struct("=9i")
_ONE = 1 << 16


def _axes(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    """Where the matrix of a frame puts its axes: ``(xx, xy, yx, yy)`` of -1, 0 and 1; None for no turn.

    ``x' = xx x + yx y`` and ``y' = xy x + yy y``, y down. Turns by other than quarters are left out, as
    players do.
    """
    from av.sidedata.sidedata import SideDataContainer, Type

    # The stubs know neither its argument nor that iterating gives the entries themselves. As an attribute of
    # the frame it would hold the frame that holds it: hundreds of megabytes, until circles are sought.
    container: Any = SideDataContainer
    entries: Iterable[Any] = container(frame)
    for data in entries:
        if data.type == Type.DISPLAYMATRIX:
            a, b, _, c, d, *_ = _MATRIX.unpack(bytes(data)[: _MATRIX.size])
            xx, xy, yx, yy = (round(value / _ONE) for value in (a, b, c, d))
            straight = abs(xx) == abs(yy) == 1 and xy == yx == 0
            sideways = abs(xy) == abs(yx) == 1 and xx == yy == 0
            if (straight or sideways) and (xx, xy, yx, yy) != (1, 0, 0, 1):
                return xx, xy, yx, yy
    return None


def is_turned(frame: VideoFrame) -> bool:
    """Whether the upright picture is as wide as the frame is high."""
    axes = _axes(frame)
    return axes is not None and axes[0] == 0


def upright_bgr(frame: VideoFrame) -> np.ndarray[Any, Any]:
    """The frame upright: height x width x 3, 8 bits, blue first, contiguous."""
    return _upright(frame, "bgr24")


def upright_rgb(frame: VideoFrame) -> np.ndarray[Any, Any]:
    """The same, red first."""
    return _upright(frame, "rgb24")


def _upright(frame: VideoFrame, layout: str) -> np.ndarray[Any, Any]:
    import numpy as np

    # Threads of its own would only wait for those that decode.
    pixels = frame.reformat(format=layout, threads=1).to_ndarray()
    axes = _axes(frame)
    if axes is None:
        return pixels
    xx, xy, yx, yy = axes
    if xx == 0:
        pixels = pixels.transpose(1, 0, 2)
        xx, yy = yx, xy
    return np.ascontiguousarray(pixels[:: yy or 1, :: xx or 1])
