"""Small JPEGs for lists and search results."""

from __future__ import annotations

import io

from tintype_studio.media.decode import decode_upright

_QUALITY = 80


def thumbnail(data: bytes, size: int = 256) -> bytes:
    """A JPEG of the upright first frame whose longest side is at most ``size`` pixels, never enlarged.

    Raises like `decode_upright`.
    """
    image = decode_upright(data, fit=(size, size))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY, optimize=True)
    return out.getvalue()
