"""What was lost and came back: tracks that are one object with an absence between them.

Two of them are only taken for one where that is likelier than a second object: it looks the same, more so
than other objects of its class do, and it appears where it could be, near where it vanished or through the
same border of the picture.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tintype_studio.video.tracking.looks import distances

Floats = NDArray[np.floating[Any]]

SECOND = 1_000_000
AS_WELL = 0.6
"""Of the fit of a link, from which two others are better than it."""
ALIKE = 9.0
"""Distance of the mean looks up to which two tracks may be one object."""
CLEARLY = 0.7
"""Of the distance to the likest other object that is there at the same time; what is not so near is as likely
that one's twin.
"""
MOST_GROWTH = 1.8
"""Of the size, in an absence."""
NEAR, DRIFT, DRIFT_SECONDS = 1.0, 1.5, 3.0
"""Sizes from where it is expected, and sizes a second more while it may have gone on moving."""
SURE, SURE_SECONDS = 0.75, 1.5
"""Sizes from where it is expected, and seconds: where what comes out can hardly be anything else."""
SAMPLES, APART = 12, 100_000
"""Of a track, at each end, and microseconds between them."""
WHOLE = 0.75
"""Of the usual area: where less is seen, a part is hidden."""
BORDER = 0.02
"""Of the picture's side: what is so near to it has left or come through it."""
ALONG = 3.0
"""Sizes along a border, between where an object leaves and where it comes back."""


@dataclass(slots=True)
class Tracklet:
    """One uninterrupted track, as far as is remembered of it; times in microseconds, boxes in pixels."""

    number: int
    start_us: int
    end_us: int = 0
    look: NDArray[np.float64] | None = None
    """The mean over its sightings."""
    count: int = 0
    """Sightings."""
    votes: dict[int, float] = field(default_factory=dict)
    """Sums of the scores, by label."""
    first: list[tuple[int, NDArray[np.float64]]] = field(default_factory=list)
    last: deque[tuple[int, NDArray[np.float64]]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    """When it was where: up to ``SAMPLES`` at its beginning and at its end, ``APART`` from one another."""
    end_box: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))
    _weight: float = 0.0

    @property
    def label(self) -> int:
        """The class that it is most likely of."""
        return max(self.votes, key=lambda label: (self.votes[label], -label))

    def see(
        self, now: int, box: NDArray[np.float64], score: float, label: int, look: Floats | None = None
    ) -> None:
        """It was seen."""
        self.end_us, self.end_box, self.count = now, box.copy(), self.count + 1
        self.votes[label] = self.votes.get(label, 0.0) + score
        if len(self.first) < SAMPLES and (not self.first or now - self.first[-1][0] >= APART):
            self.first.append((now, self.end_box))
        if not self.last or now - self.last[-1][0] >= APART:
            self.last.append((now, self.end_box))
        if look is not None:
            self._weight += score
            old = np.zeros(len(look)) if self.look is None else self.look
            self.look = old + score / max(self._weight, 1e-9) * (look - old)


@dataclass(frozen=True, slots=True)
class _Way:
    """Where an object was and how fast it moved, near one end of its track. Pixels and seconds."""

    at: float
    centre: NDArray[np.float64]
    speed: NDArray[np.float64]
    size: float

    def when(self, seconds: float) -> NDArray[np.float64]:
        """Where it is expected at another time."""
        return self.centre + self.speed * (seconds - self.at)


def _way(samples: Sequence[tuple[int, NDArray[np.float64]]], *, last: bool) -> _Way:
    """By the samples in which the whole object was seen: what goes behind something gets narrower, and the
    middle of what is left of it slower.
    """
    times = np.array([at for at, _ in samples]) / SECOND
    boxes = np.stack([box for _, box in samples])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    whole = np.flatnonzero(areas >= WHOLE * np.quantile(areas, 0.75))
    times, boxes, areas = times[whole], boxes[whole], areas[whole]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    end = -1 if last else 0
    speed = np.zeros(2)
    if len(times) > 1:
        away = times - times.mean()
        speed = (away[:, None] * centres).sum(axis=0) / (away**2).sum()
    return _Way(float(times[end]), centres[end], speed, float(max(areas.mean(), 1.0)) ** 0.5)


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
    candidates = _direct(candidates)
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


def _direct(candidates: list[tuple[float, int, int]]) -> list[tuple[float, int, int]]:
    """Without those from one track to a third that is as well come to by way of a second."""
    fits = {(place, at): fit for fit, place, at in candidates}
    following: dict[int, list[int]] = {}
    for place, at in fits:
        following.setdefault(place, []).append(at)
    return [
        (fit, place, at)
        for fit, place, at in candidates
        if not any(
            min(fits[place, by], fits.get((by, at), 0.0)) >= AS_WELL * fit
            for by in following[place]
            if by != at
        )
    ]


def _limit(old: Tracklet, beside: Sequence[Tracklet]) -> float:
    """How far a look may be from that of ``old`` to be its own."""
    looks = [each.look for each in beside if each.look is not None]
    if old.look is None or not looks:
        return ALIKE
    return min(ALIKE, CLEARLY * float(distances(old.look[None], np.stack(looks)).min()))


def _fit(old: Tracklet, new: Tracklet, size: tuple[int, int], limit: float) -> float:
    """How likely ``new`` is ``old`` come back; 0 for no."""
    gap = (new.start_us - old.end_us) / SECOND
    before = _way(
        [each for each in old.last if each[0] < old.end_us] + [(old.end_us, old.end_box)], last=True
    )
    after = _way(new.first, last=False)
    ratio = before.size / after.size
    sides = _borders(old.end_box, size) & _borders(new.first[0][1], size)
    # At a border only a part is seen, of one size as it leaves and another as it comes.
    if not sides and max(ratio, 1 / ratio) > MOST_GROWTH:
        return 0.0
    scale = max(before.size, after.size)
    between = after.at - before.at
    moving = min(max(between, 0.0), DRIFT_SECONDS)
    expected = (
        before.centre,
        before.when(before.at + moving),
        # As fast as it is later, which is known better where it was seen for a short time before.
        before.centre + after.speed * moving,
        before.centre + (before.speed + after.speed) / 2 * moving,
    )
    away = min(float(np.linalg.norm(after.centre - each)) for each in expected)
    place = max(0.0, 1 - away / ((NEAR + DRIFT * moving) * scale))
    for side in sides:
        along = 1 - side % 2
        place = max(place, 1 - abs(float(after.centre[along] - before.centre[along])) / (ALONG * scale))
    if place <= 0:
        return 0.0
    if old.look is None or new.look is None:
        return place if gap <= DRIFT_SECONDS else 0.0
    apart = float(distances(old.look[None], new.look[None])[0, 0])
    if apart > limit:
        # Beside its twin only its way tells which one it is.
        wrong = float(np.linalg.norm(after.centre - before.when(after.at)))
        if apart > ALIKE or gap > SURE_SECONDS or wrong > SURE * scale:
            return 0.0
    return float((1 - apart / (ALIKE + 1)) * (0.5 + place / 2))


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
