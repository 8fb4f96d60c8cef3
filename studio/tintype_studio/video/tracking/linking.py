"""What was lost and came back: tracks that are one object with an absence between them.

Two of them are only taken for one where that is likelier than a second object: it looks the same, more so
than other objects of its class do, and it appears where it could be, near where it vanished or through the
same border of the picture.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tintype_studio.video.tracking.looks import distances

Floats = NDArray[np.floating[Any]]

SECOND = 1_000_000
ALIKE = 9.0
"""Distance of the mean looks up to which two tracks may be one object."""
CLEARLY = 0.7
"""Of the distance to the likest other object that is there at the same time; what is not so near is as likely
that one's twin.
"""
MOST_GROWTH = 3.0
"""Of the area, in an absence."""
NEAR, DRIFT, DRIFT_SECONDS = 1.0, 1.5, 3.0
"""Sizes from where it is expected, and sizes a second more while it may have gone on moving."""
BORDER = 0.02
"""Of the picture's side: what is so near to it has left or come through it."""
ALONG = 3.0
"""Sizes along a border, between where an object leaves and where it comes back."""


@dataclass(slots=True)
class Tracklet:
    """One uninterrupted track, as far as is remembered of it; times in microseconds, boxes in pixels."""

    number: int
    start_us: int
    first_box: NDArray[np.float64]
    end_us: int = 0
    last_box: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))
    speed: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """Of its centre at the end, pixels a second."""
    look: NDArray[np.float64] | None = None
    """The mean over its sightings."""
    count: int = 0
    """Sightings."""
    votes: dict[int, float] = field(default_factory=dict)
    """Sums of the scores, by label."""
    _weight: float = 0.0

    @property
    def label(self) -> int:
        """The class that it is most likely of."""
        return max(self.votes, key=lambda label: (self.votes[label], -label))

    def see(
        self, now: int, box: NDArray[np.float64], score: float, label: int, look: Floats | None = None
    ) -> None:
        """It was seen."""
        self.end_us, self.last_box, self.count = now, box.copy(), self.count + 1
        self.votes[label] = self.votes.get(label, 0.0) + score
        if look is not None:
            self._weight += score
            old = np.zeros(len(look)) if self.look is None else self.look
            self.look = old + score / max(self._weight, 1e-9) * (look - old)


def linked(tracklets: Sequence[Tracklet], size: tuple[int, int], absent_seconds: float) -> dict[int, int]:
    """For each tracklet's number that of the first one of the same object.

    ``size`` is the picture's in pixels.
    """
    ordered = sorted(tracklets, key=lambda each: (each.start_us, each.number))
    starts = [each.start_us for each in ordered]
    longest = max((each.end_us - each.start_us for each in ordered), default=0)
    candidates: list[tuple[float, int, int]] = []
    for place, old in enumerate(ordered):
        until = bisect_right(starts, old.end_us + absent_seconds * SECOND)
        window = range(bisect_right(starts, old.end_us), until)
        later = [at for at in window if ordered[at].label == old.label]
        if not later:
            continue
        around = range(bisect_left(starts, old.start_us - longest), bisect_right(starts, old.end_us))
        beside = [
            ordered[at]
            for at in around
            if at != place and ordered[at].end_us >= old.start_us and ordered[at].label == old.label
        ]
        limit = _limit(old, beside)
        for at in later:
            fit = _fit(old, ordered[at], size, limit)
            if fit > 0:
                candidates.append((fit, place, at))
    candidates.sort(key=lambda each: (-each[0], each[1], each[2]))
    follower: dict[int, int] = {}
    before: dict[int, int] = {}
    for _, place, at in candidates:
        if place not in follower and at not in before:
            follower[place], before[at] = at, place
    first: dict[int, int] = {}
    for place, each in enumerate(ordered):
        root = first[ordered[before[place]].number] if place in before else each.number
        first[each.number] = root
    return first


def _limit(old: Tracklet, beside: Sequence[Tracklet]) -> float:
    """How far a look may be from that of ``old`` to be its own."""
    looks = [each.look for each in beside if each.look is not None]
    if old.look is None or not looks:
        return ALIKE
    return min(ALIKE, CLEARLY * float(distances(old.look[None], np.stack(looks)).min()))


def _fit(old: Tracklet, new: Tracklet, size: tuple[int, int], limit: float) -> float:
    """How likely ``new`` is ``old`` come back; 0 for no."""
    gap = (new.start_us - old.end_us) / SECOND
    one, two = old.last_box, new.first_box
    area, other = (float(np.prod(box[2:] - box[:2])) for box in (one, two))
    scale = max(area, other, 1.0) ** 0.5
    sides = _borders(one, size) & _borders(two, size)
    # At a border only a part is seen, of one size as it leaves and another as it comes.
    if not sides and max(area, other) > MOST_GROWTH * min(area, other):
        return 0.0
    centre, found = (one[:2] + one[2:]) / 2, (two[:2] + two[2:]) / 2
    moving = min(gap, DRIFT_SECONDS)
    reach = (NEAR + DRIFT * moving) * scale
    away = min(
        float(np.linalg.norm(found - centre)),
        float(np.linalg.norm(found - centre - old.speed * moving)),
    )
    place = max(0.0, 1 - away / reach)
    for side in sides:
        along = 1 - side % 2
        place = max(place, 1 - abs(float(found[along] - centre[along])) / (ALONG * scale))
    if place <= 0:
        return 0.0
    if old.look is None or new.look is None:
        return place if gap <= DRIFT_SECONDS else 0.0
    apart = float(distances(old.look[None], new.look[None])[0, 0])
    if apart > limit:
        return 0.0
    return (1 - apart / (ALIKE + 1)) * (0.5 + place / 2)


def _borders(box: NDArray[np.float64], size: tuple[int, int]) -> set[int]:
    """Borders that a box touches: 0 left, 1 top, 2 right, 3 bottom."""
    width, height = size
    near = (
        box[0] <= BORDER * width,
        box[1] <= BORDER * height,
        box[2] >= (1 - BORDER) * width,
        box[3] >= (1 - BORDER) * height,
    )
    return {side for side, touches in enumerate(near) if touches}
