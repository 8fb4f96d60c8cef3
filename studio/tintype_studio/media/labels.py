"""Label tags: what they say, how large they are, and where on the picture they go.

Layout works in drawn pixels. A tag never leaves the picture; it takes the first of its preferred places
that no earlier tag covers, else the place where it covers least, unless tags already cover so much that
one more would hide the picture rather than explain it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tintype_studio.media.lettering import Lettering, one_line

if TYPE_CHECKING:
    import numpy as np

    Floats = np.ndarray[Any, np.dtype[np.float64]]

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in drawn pixels."""

Spots = list[tuple[float, float]]
"""Top left corners for a tag, the preferred first."""

CROWDED, FULL = 0.25, 0.4
"""Shares of the picture under tags from which on tags get free places only, and none at all."""

MAX_OVERLAP = 0.4
"""Share of a tag's own area that may cover others; beyond it the tag is left out."""

_ELLIPSIS = "…"
_GAP = "  "  # one blank of the built-in font is too narrow to see at small sizes


@dataclass(frozen=True, slots=True)
class Tag:
    """One line of text on a coloured ground; sizes in drawn pixels, text placed from its top left corner."""

    text: str
    width: int
    height: int
    padding: int
    baseline: int


class TagMaker:
    """Makes the tags of one picture."""

    def __init__(self, font_size: int, max_width: int) -> None:
        self.lettering = Lettering(font_size)
        self._max_width = max_width
        self._padding = max(2, round(font_size * 0.25))
        self._margin = max(1, round(font_size * 0.14))

    def make(self, name: str, confidence: float) -> Tag | None:
        """The tag for a class and its confidence (shown below 1); none if not one letter would fit."""
        suffix = f"{_GAP}{confidence:.2f}" if confidence < 1 else ""
        text = self._fitted(one_line(name), suffix, self._max_width - 2 * self._padding)
        if text is None:
            return None
        width = self.lettering.length(text) + 2 * self._padding
        height = self.lettering.ascent + self.lettering.descent + 2 * self._margin
        return Tag(text, width, height, self._padding, self._margin + self.lettering.ascent)

    def _fitted(self, name: str, suffix: str, room: int) -> str | None:
        """The name shortened to ``room`` pixels; the confidence goes first if the name would be lost."""
        if self.lettering.length(name + suffix) <= room:
            return name + suffix
        for tail, least in ((_ELLIPSIS + suffix, 4), (_ELLIPSIS, 1)):
            low, high = 0, len(name)
            while low < high:
                middle = (low + high + 1) // 2
                if self.lettering.length(name[:middle].rstrip() + tail) <= room:
                    low = middle
                else:
                    high = middle - 1
            if low >= least:
                return name[:low].rstrip() + tail
        return None


class Placer:
    """Gives each tag of one picture its place, around those placed before."""

    def __init__(self, width: int, height: int, capacity: int, keep_clear: Sequence[Box] = ()) -> None:
        """``keep_clear`` are small boxes that tags should not cover, such as keypoints."""
        import numpy as np

        self._size = (width, height)
        self._taken: Floats = np.empty((len(keep_clear) + capacity, 4))
        self._count = len(keep_clear)
        if keep_clear:
            self._taken[: self._count] = keep_clear
        self._covered = 0.0

    @property
    def full(self) -> bool:
        """Whether tags cover so much that no other gets a place."""
        return self._covered / (self._size[0] * self._size[1]) > FULL

    def place(self, tag: Tag, spots: Spots) -> tuple[int, int] | None:
        """Top left corner for ``tag``: the best of ``spots`` moved inside the picture, or none."""
        import numpy as np

        width, height = self._size
        if self.full or tag.width > width or tag.height > height:
            return None
        corners: Floats = np.rint(np.asarray(spots, dtype=np.float64))
        corners[:, 0] = np.clip(corners[:, 0], 0, width - tag.width)
        corners[:, 1] = np.clip(corners[:, 1], 0, height - tag.height)
        overlaps = self._overlaps(corners, tag)
        best = int(np.argmin(overlaps))  # the first of equals, so the preferred one
        area, overlap = tag.width * tag.height, float(overlaps[best])
        share = self._covered / (width * height)
        if overlap > (0.0 if share > CROWDED else MAX_OVERLAP * area):
            return None
        x, y = int(corners[best, 0]), int(corners[best, 1])
        self._taken[self._count] = (x, y, x + tag.width, y + tag.height)
        self._count += 1
        self._covered += area - overlap
        return x, y

    def _overlaps(self, corners: Floats, tag: Tag) -> Floats:
        import numpy as np

        taken = self._taken[: self._count]
        # Almost all are far away; a look at each side is quicker than the areas of all pairs.
        (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
        near = (taken[:, 0] < x1 + tag.width) & (taken[:, 2] > x0)
        near &= (taken[:, 1] < y1 + tag.height) & (taken[:, 3] > y0)
        taken = taken[near]
        left, top = corners[:, :1], corners[:, 1:]
        across = np.minimum(left + tag.width, taken[:, 2]) - np.maximum(left, taken[:, 0])
        down = np.minimum(top + tag.height, taken[:, 3]) - np.maximum(top, taken[:, 1])
        total: Floats = (across.clip(0) * down.clip(0)).sum(axis=1)
        return total


def spots_for_box(box: Box, tag: Tag, line: int) -> Spots:
    """Places around a rectangle: on its top edge, inside it if there is room, below it, at its sides."""
    left, top, right, bottom = box
    width, height = tag.width, tag.height
    roomy = right - left >= 1.2 * width and bottom - top >= 2.5 * height
    left, right = left - line / 2, right + line / 2
    above, below = top - height - line / 2 + 1, bottom + line / 2 - 1
    outside = [(left, above), (right - width, above)]
    inside = [(left + line, top + line / 2), (right - line - width, top + line / 2)]
    lower = [(left, below), (right - width, below)]
    slid = [(left + (right - left - width) * part, above) for part in (0.25, 0.5, 0.75)]
    sides = [(right, top), (left - width, top), (right, bottom - height), (left - width, bottom - height)]
    stacked = [(left, above - height), (left, below + height)]
    if roomy:
        center = ((left + right - width) / 2, (top + bottom - height) / 2)
        return [*outside, *inside, *lower, *slid, *sides, center, *stacked]
    return [*outside, *lower, *slid, *sides, *inside, *stacked]


def spots_for_point(x: float, y: float, tag: Tag, reach: float) -> Spots:
    """Places around a point, ``reach`` pixels away from it: right, left, above, below, then the corners."""
    right, left, above, below = x + reach, x - reach - tag.width, y - reach - tag.height, y + reach
    beside, over = y - tag.height / 2, x - tag.width / 2
    straight = [(right, beside), (left, beside), (over, above), (over, below)]
    return [*straight, (right, above), (right, below), (left, above), (left, below)]


def spots_for_outline(box: Box, top: tuple[float, float], tag: Tag, line: int) -> Spots:
    """Places for a free shape: over its topmost point, then as for its enclosing rectangle."""
    return [(top[0] - tag.width / 2, top[1] - tag.height - line), *spots_for_box(box, tag, line)]
