"""Groups of near-duplicates: one image to keep, and those that are the same picture again.

Every member is near the image to keep, not only near another member: frames that drift slowly apart do not
end in one group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Likeness = Literal["same", "near", "loose"]

MOST_BITS: dict[Likeness, int] = {"same": 16, "near": 48, "loose": 72}
"""Bits of 256 in which two fingerprints may differ. Other pictures differ in 83 or more on the benchmark's
scenes; recompressed and scaled ones in up to 31, cropped and relit ones in up to 68 (99 %: 61).
"""

ROWS = 256
COLUMNS = 8192
"""Fingerprints that are compared with each other at a time."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image with a fingerprint."""

    row_id: int
    fingerprint: bytes
    annotations: int
    pixels: int


@dataclass(frozen=True, slots=True)
class Group:
    """Row ids of near-duplicates, and how many bits each of ``others`` differs from the one to keep."""

    keep: int
    others: list[int]
    bits: list[int]


def group_duplicates(
    images: Sequence[Candidate], likeness: Likeness, check: Callable[[int, int], None] = lambda _d, _t: None
) -> list[Group]:
    """Groups of two or more, largest first.

    Kept is the most annotated, then the largest, then the oldest. ``check`` gets images done and in all; it
    raises to stop. Every pair is compared: n images take n * n / 2 products of 256 numbers.
    """
    import numpy as np

    from tintype_studio.vision.fingerprints import BITS, colours_agree, unpack

    if len(images) < 2:
        return []
    ranked = sorted(images, key=lambda i: (-i.annotations, -i.pixels, i.row_id))
    bits, colours = unpack([image.fingerprint for image in ranked])
    least = BITS - 2 * MOST_BITS[likeness]
    taken = np.zeros(len(ranked), np.bool_)
    groups: list[Group] = []
    for start in range(0, len(ranked), ROWS):
        check(start, len(ranked))
        free = start + np.flatnonzero(~taken[start : start + ROWS])
        # Earlier ones are settled: what was near them is theirs.
        for row, near in zip(free, _near(bits[free], bits[start:], least), strict=True):
            if taken[row]:
                continue
            members = row + 1 + np.flatnonzero(near[row + 1 - start :] & ~taken[row + 1 :])
            members = members[colours_agree(colours[row][None], colours[members])]
            if len(members):
                taken[members] = True
                distance = (BITS - bits[members] @ bits[row]) / 2
                others = [ranked[member].row_id for member in members]
                groups.append(Group(ranked[row].row_id, others, distance.astype(int).tolist()))
    check(len(ranked), len(ranked))
    groups.sort(key=lambda g: (-len(g.others), g.keep))
    return groups


def _near(some: NDArray[np.float32], others: NDArray[np.float32], least: int) -> NDArray[np.bool_]:
    """(len(some), len(others)): which fingerprints are near which."""
    import numpy as np

    near = np.empty((len(some), len(others)), np.bool_)
    for first in range(0, len(others), COLUMNS):
        part = others[first : first + COLUMNS]
        np.greater_equal(some @ part.T, least, out=near[:, first : first + COLUMNS])
    return near
