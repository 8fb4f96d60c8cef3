"""Outlines and masks of rows as COCO's segmentations, many rows at once."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.masks import area_of, box_of, runs_of, text_of
from tintype_studio.formats.edf.arrays import Rings
from tintype_studio.formats.edf.documents import mask_of_row
from tintype_studio.formats.edf.shares import pixels
from tintype_studio.formats.edf.table import wrong
from tintype_studio.formats.reading.converted import MAX_COORDINATE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tintype_studio.annotations.geometry import Mask


class Shapes:
    """The shapes of some rows in pixels. ``sizes``: width and height of each row's picture; ``masks``: PNGs.

    With ``holes``, rings inside of others are holes, which COCO's rings cannot have: those rows get run
    lengths.
    """

    def __init__(
        self,
        rings: Rings | None,
        rows: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.float64],
        masks: list[bytes | None],
        *,
        holes: bool,
    ) -> None:
        import numpy as np

        self._sizes = sizes
        self._holes = holes
        self._masks: dict[int, Mask] = {}
        for number, png in enumerate(masks):
            if png is not None:
                width, height = (int(side) for side in sizes[number])
                mask = mask_of_row(png, (width, height))
                if mask is not None:
                    self._masks[number] = mask
        if rings is None:
            self._first = np.zeros(len(rows) + 1, dtype=np.int64)
            self._ends, self._points = np.zeros(1, dtype=np.int64), np.empty((0, 2))
        else:
            self._take(rings, rows)
        self._starts = self._ends.tolist()
        self._counts = self._first.tolist()
        self._each_one = bool((np.diff(self._first) == 1).all())

    def _take(self, rings: Rings, rows: npt.NDArray[np.int64]) -> None:
        import numpy as np

        first, last = rings.outer[rows], rings.outer[rows + 1]
        self._first = np.concatenate([[0], np.cumsum(last - first)])
        if len(rows) and (first[1:] == last[:-1]).all():
            chosen = slice(int(first[0]), int(last[-1]) + 1)
            ends = rings.inner[chosen]
            values = rings.values[ends[0] : ends[-1]]
            self._ends = ends - ends[0]
        else:
            numbers = _ranges(first, last)
            starts, stops = rings.inner[numbers], rings.inner[numbers + 1]
            values = rings.values[_ranges(starts, stops)]
            self._ends = np.concatenate([[0], np.cumsum(stops - starts)])
        sizes = np.repeat(self._sizes, last - first, axis=0)
        if not sizes.all():
            raise wrong("size", "a sample with an outline has no width and height, which pixels need")
        extents = np.repeat(sizes, np.diff(self._ends) // 2, axis=0)
        self._points = pixels(values.reshape(-1, 2), extents)
        if len(extents) and not -MAX_COORDINATE <= self._points.min() <= self._points.max() <= MAX_COORDINATE:
            raise wrong("polygon", "a coordinate is infinite, NaN or too large")

    def _rings(self, number: int) -> list[npt.NDArray[np.float64]]:
        found = []
        for ring in range(self._counts[number], self._counts[number + 1]):
            start, stop = self._starts[ring] // 2, self._starts[ring + 1] // 2
            if stop - start >= 3:
                found.append(self._points[start:stop])
        return found

    def outlines(self) -> list[list[npt.NDArray[np.float64]]]:
        """The rings of each row, as they go into its segmentation."""
        ends = self._starts
        flat = self._points.reshape(-1)
        rings = [flat[start:stop] for start, stop in pairwise(ends)]
        if len(rings) == len(self._counts) - 1 and self._each_one:
            return [[ring] for ring in rings]
        return [rings[a:b] for a, b in pairwise(self._counts)]

    def segmentation(self, number: int, *, listed: bool) -> dict[str, Any] | None:
        """The run lengths of a row, None if its rings say it all. ``listed``: as a list, not as text."""
        mask = self._masks.get(number)
        if mask is None:
            rings = self._rings(number) if self._holes else []
            return self._run_lengths(number, rings) if len(rings) > 1 else None
        height, width = mask.size
        counts = runs_of(mask.counts, height, width).tolist() if listed else mask.counts
        return {"size": [height, width], "counts": counts}

    @property
    def special(self) -> list[int]:
        """Rows whose rings may not be their segmentation."""
        several = (
            []
            if not self._holes
            else [number for number, (a, b) in enumerate(pairwise(self._counts)) if b - a > 1]
        )
        return [*self._masks, *(number for number in several if number not in self._masks)]

    def _run_lengths(self, number: int, rings: list[npt.NDArray[np.float64]]) -> dict[str, Any] | None:
        """The run lengths of rings of which some are holes; None if COCO's rings can be these."""
        import numpy as np

        from tintype_studio.formats.shapes import measure, run_lengths

        plain = [(ring[:, 0].tolist(), ring[:, 1].tolist()) for ring in rings]
        (found,) = measure([plain])
        if not found.needs_mask:
            return None
        width, height = (int(side) for side in self._sizes[number])
        runs = np.asarray(run_lengths(plain, width, height), dtype=np.int64)
        return {"size": [height, width], "counts": text_of(runs)}

    def bounds(self, number: int) -> list[float] | None:
        """x, y, width and height of what a row marks."""
        if (mask := self._masks.get(number)) is not None:
            box = box_of(mask)
            return [box.x, box.y, box.w, box.h]
        rings = self._rings(number)
        if not rings:
            return None
        low = [min(float(ring[:, axis].min()) for ring in rings) for axis in (0, 1)]
        high = [max(float(ring[:, axis].max()) for ring in rings) for axis in (0, 1)]
        return [*low, high[0] - low[0], high[1] - low[1]]

    def areas(self) -> list[float | None]:
        """The area of each row's mask, else of its outline: even-odd with holes, else of all its rings."""
        import numpy as np

        x, y = self._points[:, 0], self._points[:, 1]
        starts = self._ends[:-1] // 2
        if not len(x):
            doubled = np.zeros(len(starts))
        else:
            following = np.arange(1, len(x) + 1)
            ends = self._ends[1:] // 2
            full = ends > starts
            following[ends[full] - 1] = starts[full]
            cross = x * y[following] - x[following] * y
            doubled = np.add.reduceat(np.append(cross, 0.0), np.minimum(starts, len(x)))
            doubled[~full] = 0
        single = np.abs(doubled) / 2
        found: list[float | None] = []
        for number in range(len(self._first) - 1):
            first, last = self._counts[number], self._counts[number + 1]
            if (mask := self._masks.get(number)) is not None:
                found.append(float(area_of(mask)))
            elif last == first:
                found.append(None)
            elif last == first + 1 or not self._holes:
                found.append(round(float(single[first:last].sum()), 6))
            else:
                found.append(self._even_odd(number))
        return found

    def _even_odd(self, number: int) -> float:
        from tintype_studio.formats.shapes import measure

        rings = [(ring[:, 0].tolist(), ring[:, 1].tolist()) for ring in self._rings(number)]
        return float(measure([rings])[0].area)


def _ranges(starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The numbers from each start up to its stop, one after the other."""
    import numpy as np

    lengths = stops - starts
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    found: npt.NDArray[np.int64] = np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
    return found
