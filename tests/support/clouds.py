"""Point clouds for tests."""

from __future__ import annotations

import struct


def pcd(points: int = 4, shift: float = 0.0) -> bytes:
    """A binary PCD file of so many points on a line."""
    head = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\n"
        f"COUNT 1 1 1\nWIDTH {points}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA binary\n"
    )
    return head.encode() + b"".join(struct.pack("<fff", n + shift, 2.0 * n, 0.5) for n in range(points))
