"""Figures for people."""

from __future__ import annotations


def size_in_words(size: int) -> str:
    """Bytes: ``208 bytes``, ``1.4 kB``, ``3.0 GB``; a kB has 1,000."""
    if size < 1000:
        return counted(size, "byte", "bytes")
    amount, units = size / 1000, ["kB", "MB", "GB", "TB"]
    while amount >= 999.95 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:,.1f} {units[0]}"


def counted(count: int, one: str, many: str) -> str:
    """``1 image``, ``2,000 images``."""
    return f"{count:,} {one if count == 1 else many}"
