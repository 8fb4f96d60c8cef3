"""Radar cubes in PNG files: complex numbers of 16 bits, a grid of range x Doppler matrices.

The EdgeFirst Dataset Format lays a cube of ``[sequence, rx_antenna, range_bins, doppler_bins]`` out as a
grid, a row for each sequence and a column for each antenna. Each complex number is two neighbouring pixels,
real part first, and each part is an int16 with 32,768 added. The file itself does not say how many rows and
columns the grid has: 2 x 4 is what the format's own recorder writes.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tintype_studio.errors import InvalidImage, InvalidInput
from tintype_studio.media.structure import check_png

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SEQUENCES = 2
ANTENNAS = 4
MAX_PIXELS = 32_000_000
"""Of one cube; the usual one has 819,200."""
_SHIFT = 32_768
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class CubeFacts:
    """A cube's ``shape`` (sequences, antennas, range bins, Doppler bins); None where the picture (pixels) is
    no grid of 2 x 4 and someone must say what it is.
    """

    width: int
    height: int
    shape: tuple[int, int, int, int] | None


def check(data: bytes) -> CubeFacts:
    """Read a file whole and say what it holds.

    Raises:
        InvalidInput: it is damaged, no PNG of one channel of 16 bits, or has an odd width
            (``invalid_radar_cube``).
        TooLarge: it has more than ``MAX_PIXELS`` pixels.
    """
    height, width = _values(data).shape
    whole = width % (2 * ANTENNAS) == 0 and height % SEQUENCES == 0
    shape = (SEQUENCES, ANTENNAS, height // SEQUENCES, width // (2 * ANTENNAS)) if whole else None
    return CubeFacts(width, height, shape)


def cube_of(
    data: bytes, *, sequences: int = SEQUENCES, antennas: int = ANTENNAS
) -> npt.NDArray[np.complex64]:
    """The cube, ``(sequences, antennas, range bins, Doppler bins)``.

    Raises as ``check``, and InvalidInput if the picture is no such grid.
    """
    import numpy as np

    values = _values(data)
    height, width = values.shape
    if sequences < 1 or antennas < 1 or height % sequences or width % (2 * antennas):
        raise _invalid(f"{width} x {height} pixels are no grid of {sequences} x {antennas} matrices.")
    parts = (values.astype(np.int32) - _SHIFT).astype(np.float32)
    grid = parts.reshape(sequences, height // sequences, antennas, width // (2 * antennas), 2)
    return (grid[..., 0] + 1j * grid[..., 1]).astype(np.complex64).transpose(0, 2, 1, 3)


def cube_png(cube: npt.NDArray[np.complexfloating]) -> bytes:
    """A file of a cube ``(sequences, antennas, range bins, Doppler bins)``, parts rounded to int16."""
    import numpy as np
    from PIL import Image

    sequences, antennas, ranges, dopplers = cube.shape
    parts = np.stack([cube.real, cube.imag], axis=-1).transpose(0, 2, 1, 3, 4)
    flat = parts.reshape(sequences * ranges, antennas * dopplers * 2)
    shifted = (np.clip(np.rint(flat), -_SHIFT, _SHIFT - 1).astype(np.int32) + _SHIFT).astype(np.uint16)
    out = io.BytesIO()
    Image.fromarray(shifted).save(out, "PNG")
    return out.getvalue()


def _values(data: bytes) -> npt.NDArray[np.uint16]:
    """All parts as they are written, ``(H, W)``."""
    import numpy as np
    from PIL import Image

    if not data.startswith(_PNG):
        raise _invalid("It is no PNG file.")
    try:
        structure = check_png(data, MAX_PIXELS)
    except InvalidImage as error:
        raise _invalid(error.message.replace("The picture is", "It is", 1)) from None
    depth, color = struct.unpack_from(">BB", data, 24)
    if (depth, color) != (16, 0):
        raise _invalid("It is a picture to look at: a cube has one channel of 16 bits.")
    if structure.width % 2:
        raise _invalid(f"Its width of {structure.width} pixels is odd, and a complex number has two.")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            picture.load()
            return np.asarray(picture).astype(np.uint16)
    except Exception:
        raise _invalid("Its pixels are damaged.") from None


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(
        f"The radar cube cannot be read. {text}",
        code="invalid_radar_cube",
        fix="Write complex int16 values as a grey PNG of 16 bits: real and imaginary part side by side, each "
        "with 32768 added.",
    )
