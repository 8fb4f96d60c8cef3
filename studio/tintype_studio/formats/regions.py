"""Polygons of several rings, for formats whose polygon is one outline: as parts, or as a mask."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tintype_studio.formats.base import counted
from tintype_studio.formats.shapes import Ring, bounds, clip_ring, measure, run_lengths


@dataclass(frozen=True, slots=True)
class Mask:
    """A part of an image, in pixels. ``counts`` are run lengths row by row, pixels outside first."""

    left: int
    top: int
    width: int
    height: int
    counts: list[int]


def is_whole(rings: Sequence[Ring]) -> bool:
    """Whether the rings, each filled by itself, are the polygon: they neither nest nor touch."""
    return len(rings) == 1 or not measure([rings])[0].needs_mask


def mask_of(rings: Sequence[Ring], width: int, height: int) -> Mask | None:
    """The even-odd fill inside the image; None when it covers no pixel's centre."""
    inside = [clip_ring(ring, width, height) for ring in rings]
    inside = [ring for ring in inside if len(ring[0]) >= 3]
    if not inside:
        return None
    x0, y0, x1, y1 = bounds(inside)
    left, top = min(math.floor(x0), width - 1), min(math.floor(y0), height - 1)
    across, down = max(math.ceil(x1), left + 1) - left, max(math.ceil(y1), top + 1) - top
    # Column by column of the picture turned over is row by row of the picture.
    turned = [([y - top for y in ys], [x - left for x in xs]) for xs, ys in inside]
    counts = run_lengths(turned, down, across)
    return Mask(left, top, across, down, counts) if len(counts) > 1 else None


def region_notes(counts: Mapping[str, int], program: str) -> list[str]:
    """What became of them, in sentences, by the counts ``masks``, ``parts`` and ``outside``."""
    notes = []
    if n := counts["masks"]:
        notes.append(
            f"{counted(n, 'polygon has', 'polygons have')} holes or overlapping rings and went in as masks: "
            f"a {program} polygon is one outline, so these are held to the pixel."
        )
    if n := counts["parts"]:
        notes.append(
            f"{counted(n, 'polygon', 'polygons')} of several parts: each part is a polygon, and the parts "
            "of one have the same group_id."
        )
    if n := counts["outside"]:
        notes.append(
            f"{counted(n, 'polygon with holes was', 'polygons with holes were')} left out: nothing of it "
            "lies inside the image."
        )
    return notes
