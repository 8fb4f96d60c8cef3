"""From what a model found in the frames of a video to objects over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tintype_studio.predictions.looking import MAX_CATEGORIES, WHOLE
from tintype_studio.predictions.packing import FramesFound, columns, joined, unpack
from tintype_studio.predictions.shapes import (
    CategoryPrediction,
    Choice,
    Corners,
    MediaPrediction,
    Observation,
    PredictedObject,
    ScoredRange,
    TimeRange,
)
from tintype_studio.predictions.smoothing import smoothed
from tintype_studio.video.source import damaged
from tintype_studio.video.tracking.tracker import Tuning, TwoStageTracker, patience

if TYPE_CHECKING:
    from tintype_studio.video.tracking.protocol import Tracker

Floats = NDArray[np.floating[Any]]

SECOND = 1_000_000
BOX_REACH, OPTION_REACH = 0.08, 0.25
"""Seconds over which boxes, and scores of options, are smoothed."""
LEAST_SHARE = 0.2
"""Of the best category's score: what is less is not told."""
DIGITS, BOX_DIGITS = 4, 5
"""After the point, of scores and of boxes."""


def assemble(
    parts: Sequence[bytes],
    frames_per_second: int,
    model: str,
    threshold: float,
    duration_us: int | None = None,
) -> bytes:
    """``timeline`` of the parts that ``detecting.detect`` gave, in the order of time, as
    ``MediaPrediction.as_json``. Runs in a child: long videos take seconds.
    """
    found = joined([unpack(part) for part in parts])
    return timeline(
        found,
        frames_per_second=frames_per_second,
        model=model,
        threshold=threshold,
        duration_us=duration_us,
    ).as_json()


def timeline(
    found: FramesFound,
    *,
    frames_per_second: int,
    model: str,
    threshold: float,
    duration_us: int | None = None,
    tracker: Tracker | None = None,
) -> MediaPrediction:
    """The objects of a video, each with its ranges, boxes, categories and options.

    An object begins with a detection scored ``threshold`` or more, and is followed through weaker ones. A
    frame in which it was missed for a short time is a gap; a longer absence ends the range, and what comes
    back and is known again has another. ``tracker`` replaces ours. Raises InvalidInput (``damaged_video``)
    when no frame could be read.
    """
    if not len(found.timestamps_us):
        raise damaged("The video shows no picture that can be read: it is damaged or empty.")
    frames = np.repeat(np.arange(len(found.counts)), found.counts)
    if found.whole:
        objects = _of_whole(found, frames, threshold)
    else:
        owners = _owners(found, tracker or _tracker_for(found, threshold))
        objects = [
            _object(number, found, frames, rows) for number, rows in enumerate(_rows_of(owners, found), 1)
        ]
    return MediaPrediction(
        "video",
        model,
        found.width,
        found.height,
        objects,
        frames_per_second,
        found.timestamps_us.tolist(),
        duration_us,
    )


def _tracker_for(found: FramesFound, threshold: float) -> Tracker:
    return TwoStageTracker(found.width, found.height, Tuning(sure=threshold))


def _owners(found: FramesFound, tracker: Tracker) -> NDArray[np.int64]:
    """Of each detection the object, 0 for none."""
    scale = np.array([found.width, found.height] * 2, np.float64)
    ids = np.zeros(len(found.scores), np.int64)
    start = 0
    for now, count in zip(found.timestamps_us.tolist(), found.counts.tolist(), strict=True):
        part = slice(start, start + count)
        ids[part] = tracker.update(
            now, found.boxes[part] * scale, found.scores[part], found.labels[part], found.looks[part]
        )
        start += count
    settled = tracker.settled()
    table = np.zeros(int(ids.max(initial=0)) + 1, np.int64)
    for track, owner in settled.items():
        table[track] = owner
    return np.asarray(table[ids])


def _rows_of(owners: NDArray[np.int64], found: FramesFound) -> list[NDArray[np.intp]]:
    """Detections of each object, objects in the order of appearance."""
    order = np.argsort(owners, kind="stable")
    cuts = np.flatnonzero(np.diff(owners[order])) + 1
    groups = [rows for rows in np.split(order, cuts) if len(rows) and owners[rows[0]]]
    # Detections of a frame are best first already.
    return sorted(groups, key=lambda rows: int(rows[0]))


def _object(
    number: int, found: FramesFound, frames: NDArray[np.intp], rows: NDArray[np.intp]
) -> PredictedObject:
    places = frames[rows]
    boxes, scores = found.boxes[rows], found.scores[rows]
    spans = _spans(found.timestamps_us, places)
    ranges, observations = [], []
    for first, last in spans:
        part = slice(first, last)
        seconds = found.timestamps_us[places[part]] / SECOND
        clean = smoothed(seconds, boxes[part], scores[part], BOX_REACH, straight=True)
        seen = dict(zip(places[part].tolist(), zip(clean, scores[part].tolist(), strict=True), strict=True))
        begin, end = int(places[first]), int(places[last - 1])
        ranges.append(TimeRange(int(found.timestamps_us[begin]), int(found.timestamps_us[end])))
        for place in range(begin, end + 1):
            at = int(found.timestamps_us[place])
            if place in seen:
                box, score = seen[place]
                observations.append(Observation(at, _corners(box), round(score, DIGITS)))
            else:
                observations.append(Observation(at))
    return PredictedObject(number, ranges, observations, _categories(found, places, rows, spans))


def _spans(timestamps_us: NDArray[np.int64], places: NDArray[np.intp]) -> list[tuple[int, int]]:
    """First and behind the last of an object's sightings for each of its ranges."""
    step = float(np.median(np.diff(timestamps_us))) / SECOND if len(timestamps_us) > 1 else 0.0
    times = timestamps_us[places]
    cuts = (np.flatnonzero(np.diff(times) > patience(step) * SECOND) + 1).tolist()
    return list(zip([0, *cuts], [*cuts, len(places)], strict=True))


def _categories(
    found: FramesFound, places: NDArray[np.intp], rows: NDArray[np.intp], spans: Sequence[tuple[int, int]]
) -> list[CategoryPrediction]:
    """What the object is: the mean over the frames in which it was seen, 0 where it was taken for another."""
    labels, scores = found.labels[rows], found.scores[rows]
    means = {int(label): float(scores[labels == label].sum()) / len(rows) for label in np.unique(labels)}
    best = max(means.values())
    ranked = sorted(means, key=lambda label: (-means[label], label))
    return [
        CategoryPrediction(
            found.classes[label],
            round(means[label], DIGITS),
            list(_choices(found, places, rows, spans, label)),
        )
        for label in ranked[:MAX_CATEGORIES]
        if means[label] >= LEAST_SHARE * best
    ]


def _choices(
    found: FramesFound,
    places: NDArray[np.intp],
    rows: NDArray[np.intp],
    spans: Sequence[tuple[int, int]],
    label: int,
) -> Iterator[Choice]:
    for attribute, options, start in columns(found.attributes, found.classes[label]):
        raw = found.options[rows, start : start + len(options)]
        told = (found.labels[rows] == label) & (raw.sum(axis=1) > 0)
        ranges: dict[int, list[ScoredRange]] = {}
        for first, last in spans:
            here = np.flatnonzero(told[first:last]) + first
            if not len(here):
                continue
            times = found.timestamps_us[places[here]]
            clean = smoothed(times / SECOND, raw[here], np.ones(len(here)), OPTION_REACH, straight=False)
            chosen = clean.argmax(axis=1)
            cuts = (np.flatnonzero(np.diff(chosen)) + 1).tolist()
            for low, high in zip([0, *cuts], [*cuts, len(here)], strict=True):
                option = int(chosen[low])
                score = float(raw[here[low:high], option].mean())
                span = ScoredRange(int(times[low]), int(times[high - 1]), round(score, DIGITS))
                ranges.setdefault(option, []).append(span)
        for option, held in sorted(ranges.items(), key=lambda each: each[1][0].start_us):
            yield Choice(attribute, options[option], held)


def _of_whole(found: FramesFound, frames: NDArray[np.intp], threshold: float) -> list[PredictedObject]:
    """A model that tells of whole frames: one object, the picture, as long as a class is sure enough."""
    best = np.zeros(len(found.counts))
    np.maximum.at(best, frames, found.scores)
    shown = np.flatnonzero(best >= threshold)
    if not len(shown):
        return []
    ranges, observations = [], []
    for first, last in _spans(found.timestamps_us, shown):
        begin, end = int(shown[first]), int(shown[last - 1])
        times = found.timestamps_us[begin : end + 1].tolist()
        ranges.append(TimeRange(times[0], times[-1]))
        for at, score in zip(times, best[begin : end + 1].tolist(), strict=True):
            sure = score >= threshold
            observations.append(Observation(at, WHOLE, round(score, DIGITS)) if sure else Observation(at))
    counted = np.isin(frames, shown)
    sums = np.bincount(found.labels[counted], found.scores[counted], minlength=len(found.classes))
    means = (sums / len(shown)).tolist()
    ranked = sorted(range(len(means)), key=lambda label: (-means[label], label))[:MAX_CATEGORIES]
    categories = [CategoryPrediction(found.classes[label], round(means[label], DIGITS)) for label in ranked]
    return [PredictedObject(1, ranges, observations, categories)]


def _corners(box: Floats) -> Corners:
    left, top, right, bottom = (round(min(1.0, max(0.0, float(value))), BOX_DIGITS) for value in box)
    return left, top, right, bottom
