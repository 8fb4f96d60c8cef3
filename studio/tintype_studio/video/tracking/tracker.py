"""Our tracker: association in two stages after ByteTrack (Zhang et al., 2022), in seconds instead of frames.

First the sure detections are given to the objects that are known, then what is left of these looks for itself
among the weak ones: an object that is half hidden is scored low, but it is where it is expected. Only sure
detections begin a track. A track that is not seen stays expected for a while; what was lost for longer and
came back is found at the end (``linking``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tintype_studio.video.tracking.association import like_sized, overlaps, pairs
from tintype_studio.video.tracking.linking import Tracklet, linked
from tintype_studio.video.tracking.looks import LENGTH, distances
from tintype_studio.video.tracking.motion import Motion

Floats = NDArray[np.floating[Any]]

SECOND = 1_000_000
LOST_SECONDS, LOST_STEPS = 1.5, 3
"""How long an unseen object is expected where it would be: so many seconds, and at least such steps from
frame to frame.
"""


def patience(step: float) -> float:
    """Seconds after which an unseen object is absent, where frames are ``step`` seconds apart."""
    return max(LOST_SECONDS, (LOST_STEPS + 0.5) * step)


@dataclass(frozen=True, slots=True)
class Tuning:
    """What may be set; times in seconds, scores and fits from 0 to 1."""

    sure: float = 0.5
    """Score from which a detection begins a track."""
    least_fit: float = 0.2
    least_fit_of_weak: float = 0.3
    weak_seconds: float = 0.5
    """Since it was seen, in which an object may be found among the weak ones; at least one frame."""
    other_class: float = 0.7
    """What a detection of another class fits, beside one of its own."""
    look_scale: float = 10.0
    """Distance of looks that are half alike."""
    other_look: float = 0.3
    """What a detection that looks quite different fits, beside one that looks the same."""
    most_growth: float = 4.0
    """Of the area, from one sighting to the next."""
    room: float = 1.5
    """Standard deviations of the expected place by which boxes are widened."""
    most_room: float = 1.0
    """The same in sizes of the box."""
    proof_seconds: float = 0.1
    """A track is an object if it was seen in all frames of such a time, or ``proof_steps`` times."""
    proof_steps: int = 3
    known_sightings: int = 5
    trust_of_new: float = 0.5
    """What a fit to a track that has just begun counts beside one to a track of ``known_sightings``: where
    two objects meet, a detector may see a third for a moment, which must not take over one of them.
    """
    absent_seconds: float = 12.0
    """What comes back after more is a new object."""


@dataclass(slots=True)
class _Tracks:
    """Those that are expected; rows as in ``Motion``."""

    ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    seen_us: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    looks: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, LENGTH)))


class TwoStageTracker:
    """A ``Tracker`` for one video, whose upright frames have ``width`` x ``height`` pixels."""

    def __init__(self, width: int, height: int, tuning: Tuning | None = None) -> None:
        self._size = (width, height)
        self._tuning = tuning or Tuning()
        self._motion = Motion()
        self._tracks = _Tracks()
        self._tracklets: dict[int, Tracklet] = {}
        self._now: int | None = None
        self._steps: list[float] = []
        self._step = 0.0

    def update(
        self,
        timestamp_us: int,
        boxes: Floats,
        scores: Floats,
        labels: NDArray[np.integer],
        looks: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.int64]:
        """See ``Tracker``."""
        tuning = self._tuning
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        scores = np.asarray(scores, np.float64)
        kinds: NDArray[np.int64] = np.asarray(labels, np.int64)
        self._pass(timestamp_us)
        ids = np.zeros(len(boxes), np.int64)
        sure = scores >= tuning.sure
        expected, spread = self._motion.corners(), self._motion.spread()
        free = np.ones(len(expected), np.bool_)
        recent = timestamp_us - self._tracks.seen_us <= SECOND * max(tuning.weak_seconds, 1.5 * self._step)
        for which, least, candidates in (
            (np.flatnonzero(sure), tuning.least_fit, free),
            (np.flatnonzero(~sure), tuning.least_fit_of_weak, recent),
        ):
            rows = np.flatnonzero(free & candidates)
            fit = self._fits(rows, expected, spread, boxes[which], kinds[which], looks, which)
            matched, columns = pairs(fit, least, self._trust(rows))
            rows, found = rows[matched], which[columns]
            ids[found] = self._tracks.ids[rows]
            free[rows] = False
            self._seen(rows, found, boxes, scores, kinds, looks)
        self._motion.calm(np.flatnonzero(free))
        self._begin(np.flatnonzero(sure & (ids == 0)), ids, boxes, scores, kinds, looks)
        return ids

    def settled(self) -> dict[int, int]:
        """See ``Tracker``."""
        tuning = self._tuning
        step = float(np.median(self._steps)) if self._steps else 1.0
        needed = int(np.clip(1 + tuning.proof_seconds / step + 1e-6, 1, tuning.proof_steps))
        firsts = linked(list(self._tracklets.values()), self._size, tuning.absent_seconds)
        times: dict[int, int] = {}
        for number, first in firsts.items():
            times[first] = times.get(first, 0) + self._tracklets[number].count
        return {number: first for number, first in firsts.items() if times[first] >= needed}

    def _pass(self, timestamp_us: int) -> None:
        """Time passes up to the next frame; what was not seen for too long is not expected any more."""
        if self._now is not None:
            self._step = max(0.0, (timestamp_us - self._now) / SECOND)
            if self._step > 0:
                self._steps.append(self._step)
            kept = timestamp_us - self._tracks.seen_us <= SECOND * patience(self._step)
            if not kept.all():
                self._motion.keep(kept)
                tracks = self._tracks
                self._tracks = _Tracks(
                    tracks.ids[kept], tracks.seen_us[kept], tracks.labels[kept], tracks.looks[kept]
                )
            self._motion.advance(self._step)
        self._now = timestamp_us

    def _trust(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """``[T]``: how much each track counts where several want the same detection."""
        tuning = self._tuning
        seen = np.array([self._tracklets[each].count for each in self._tracks.ids[rows].tolist()], np.float64)
        return tuning.trust_of_new + (1 - tuning.trust_of_new) * np.minimum(
            1.0, seen / tuning.known_sightings
        )

    def _fits(
        self,
        rows: NDArray[np.intp],
        expected: Floats,
        spread: Floats,
        boxes: Floats,
        labels: NDArray[np.int64],
        looks: NDArray[np.uint8] | None,
        which: NDArray[np.intp],
    ) -> NDArray[np.float64]:
        """``[T, N]``: how well detections fit to tracks, 0 to 1."""
        tuning = self._tuning
        if not len(rows) or not len(which):
            return np.zeros((len(rows), len(which)))
        places = expected[rows]
        sides = places[:, 2:] - places[:, :2]
        room = np.minimum(tuning.room * spread[rows], tuning.most_room * sides)
        fit = overlaps(places, boxes, room)
        fit *= like_sized(places, boxes, tuning.most_growth)
        fit *= np.where(self._tracks.labels[rows][:, None] == labels[None], 1.0, tuning.other_class)
        if looks is not None:
            apart = distances(self._tracks.looks[rows], looks[which])
            alike = 1 / (1 + (apart / tuning.look_scale) ** 2)
            # A traffic light changes from one frame to the next, and stays where it is.
            fit *= tuning.other_look + (1 - tuning.other_look) * alike
        return fit

    def _seen(
        self,
        rows: NDArray[np.intp],
        found: NDArray[np.intp],
        boxes: Floats,
        scores: Floats,
        labels: NDArray[np.int64],
        looks: NDArray[np.uint8] | None,
    ) -> None:
        if not len(rows):
            return
        now = self._now or 0
        self._motion.correct(rows, boxes[found])
        tracks = self._tracks
        tracks.seen_us[rows] = now
        if looks is not None:
            # What is half hidden looks like what hides it.
            share = (0.25 * scores[found])[:, None]
            tracks.looks[rows] += share * (looks[found] - tracks.looks[rows])
        for row, detection in zip(rows.tolist(), found.tolist(), strict=True):
            tracklet = self._tracklets[int(tracks.ids[row])]
            look = None if looks is None else looks[detection]
            tracklet.see(now, boxes[detection], float(scores[detection]), int(labels[detection]), look)
            tracks.labels[row] = tracklet.label

    def _begin(
        self,
        found: NDArray[np.intp],
        ids: NDArray[np.int64],
        boxes: Floats,
        scores: Floats,
        labels: NDArray[np.int64],
        looks: NDArray[np.uint8] | None,
    ) -> None:
        if not len(found):
            return
        now = self._now or 0
        numbers = np.arange(len(found)) + len(self._tracklets) + 1
        ids[found] = numbers
        mine = np.zeros((len(found), LENGTH)) if looks is None else looks[found].astype(np.float64)
        self._motion.add(boxes[found])
        tracks = self._tracks
        self._tracks = _Tracks(
            np.concatenate([tracks.ids, numbers]),
            np.concatenate([tracks.seen_us, np.full(len(found), now)]),
            np.concatenate([tracks.labels, labels[found]]),
            np.concatenate([tracks.looks, mine]),
        )
        for number, detection in zip(numbers.tolist(), found.tolist(), strict=True):
            tracklet = self._tracklets[number] = Tracklet(number, now)
            look = None if looks is None else looks[detection]
            tracklet.see(now, boxes[detection], float(scores[detection]), int(labels[detection]), look)
