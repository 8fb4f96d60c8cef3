"""Point prompts without weights: candidates at every scale, the likeliest first, each made sharp.

Candidates come from ``point_candidates``, their order and scores from ``point_score``. The chosen ones are
decided anew in a band along their outline, on a window of their own size at ``FINE`` squared pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.vision.graph_cut import (
    LIKELY_INSIDE,
    LIKELY_OUTSIDE,
    SURE_INSIDE,
    SURE_OUTSIDE,
    Image,
    Mask,
    cleaned,
    cut,
    iou,
    require_rgb,
    resized,
)
from tintype_studio.vision.point_candidates import (
    Candidate,
    View,
    Window,
    candidates_of,
    obeying,
    view_at,
    views_of,
)
from tintype_studio.vision.point_score import (
    PREFERENCE,
    Evidence,
    agreement,
    expected_iou,
    gather,
    onto,
    preference,
    terms,
)
from tintype_studio.vision.protocols import DIFFERENT, Point, Segment, require_points

FINE = 176
ROUGH = 96
"""For alternatives, squared pixels of the last window: they are looked at, and seldom kept."""
MARGIN = 0.2
"""Surroundings taken into the last window on each side, as a share of the mask's longer side."""
MIN_MARGIN = 6
SAME = 0.95
"""IoU from which two candidates are one."""
ANSWERS = 3
DRIFT = 0.7
"""IoU with the coarse mask below which the sharpened one has gone astray and is dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """All distinct candidates for a prompt, with what speaks for each; ``table`` holds their IoU, (N, N)."""

    candidates: list[Candidate]
    evidence: list[Evidence]
    table: NDArray[np.float32]
    clicks: int


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """A chosen candidate and the inputs of its score."""

    candidate: Candidate
    inputs: tuple[float, ...]


def segment_points(
    image: Image, positives: Sequence[Point], negatives: Sequence[Point] = ()
) -> list[Segment]:
    """See ``PromptSegmenter.segment_points``. About 150 ms on one core, more for very large objects."""
    require_rgb(image)
    require_points(positives, negatives, image.shape[1], image.shape[0])
    views = views_of(image, positives, negatives)
    found: list[Segment] = []
    for ranked in choose(weigh(image, views)):
        view, side = views[ranked.candidate.view], ROUGH if found else FINE
        mask, offset = sharpened(image, view, ranked.candidate, positives, negatives, side)
        score = expected_iou(ranked.inputs)
        # The ranking compares candidates better than their scores do, so none may claim more than the first.
        segment = Segment(mask, offset, min(score, found[0].score) if found else score)
        if all(segment.iou(other) < DIFFERENT for other in found):
            found.append(segment)
    return found[:1] + sorted(found[1:], key=lambda segment: -segment.score)


def weigh(image: Image, views: Sequence[View]) -> Weighed:
    """Find and measure the candidates on all views."""
    found = candidates_of(views)
    table = agreement(found, views)
    np.fill_diagonal(table, 0)
    kinds = np.array([candidate.kind for candidate in found])
    scales = np.array([candidate.view for candidate in found])
    size = image.shape[1], image.shape[0]
    kept: list[int] = []
    evidence = []
    for index, candidate in enumerate(found):
        row = table[index]
        # Views come from fine to coarse, so that of two equal masks the finer one stays.
        if kept and row[kept].max() >= SAME:
            continue
        kept.append(index)
        other_way = float(row[kinds != candidate.kind].max(initial=0.0))
        other_scale = float(row[scales != candidate.view].max(initial=0.0))
        evidence.append(gather(candidate, views[candidate.view], size, other_way, other_scale))
    clicks = len(views[-1].positives) + len(views[-1].negatives)
    return Weighed([found[i] for i in kept], evidence, table[np.ix_(kept, kept)], clicks)


def choose(weighed: Weighed, weights: Sequence[float] = PREFERENCE) -> list[Ranked]:
    """The best candidate and, after it, clearly different ones; at most ``ANSWERS``."""
    values = [preference(evidence, weights) for evidence in weighed.evidence]
    order = sorted(range(len(values)), key=lambda index: -values[index])
    chosen: list[int] = []
    for index in order:
        if len(chosen) < ANSWERS and all(weighed.table[index, other] < DIFFERENT for other in chosen):
            chosen.append(index)
    answers = []
    for index in chosen:
        rivals = [values[other] for other in chosen if other != index]
        inputs = terms(weighed.evidence[index], rivals, weighed.clicks)
        answers.append(Ranked(weighed.candidates[index], inputs))
    return answers


def sharpened(
    image: Image,
    view: View,
    candidate: Candidate,
    positives: Sequence[Point],
    negatives: Sequence[Point],
    side: int,
) -> tuple[Mask, tuple[int, int]]:
    """The candidate in pixels of the image, tight, with its offset."""
    height, width = image.shape[:2]
    fine = view_at(image, _around(candidate, view, width, height), positives, negatives, side)
    mask = _refined(onto(candidate.mask, view, fine), fine, 2 * fine.scale / view.scale)
    left, top, right, bottom = fine.window
    full = resized(mask, right - left, bottom - top)
    _settle(full, fine.window, positives, negatives)
    rows, columns = np.flatnonzero(full.any(axis=1)), np.flatnonzero(full.any(axis=0))
    y, x = int(rows[0]), int(columns[0])
    tight = np.ascontiguousarray(full[y : int(rows[-1]) + 1, x : int(columns[-1]) + 1])
    return tight, (left + x, top + y)


def _around(candidate: Candidate, view: View, width: int, height: int) -> Window:
    """The candidate's box and some surroundings, in pixels of the image."""
    rows, columns = np.flatnonzero(candidate.mask.any(axis=1)), np.flatnonzero(candidate.mask.any(axis=0))
    left, top, right, bottom = view.window
    across, down = (right - left) / view.rgb.shape[1], (bottom - top) / view.rgb.shape[0]
    x0, x1 = left + columns[0] * across, left + (columns[-1] + 1) * across
    y0, y1 = top + rows[0] * down, top + (rows[-1] + 1) * down
    margin = max(MIN_MARGIN, MARGIN * max(x1 - x0, y1 - y0))
    return (
        max(0, math.floor(x0 - margin)),
        max(0, math.floor(y0 - margin)),
        min(width, math.ceil(x1 + margin)),
        min(height, math.ceil(y1 + margin)),
    )


def _refined(mask: Mask, fine: View, reach: float) -> Mask:
    """The mask decided anew within ``reach`` reduced pixels of its outline."""
    start = obeying(mask, fine)
    bits = start.astype(np.uint8)
    steps = max(1, round(reach))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * steps + 1, 2 * steps + 1))
    shrunk = cv2.erode(bits, kernel, borderType=cv2.BORDER_REPLICATE).astype(np.bool_)
    grown = cv2.dilate(bits, kernel).astype(np.bool_)
    labels = np.full(start.shape, SURE_OUTSIDE, np.uint8)
    labels[grown] = LIKELY_OUTSIDE
    labels[start] = LIKELY_INSIDE
    labels[shrunk] = SURE_INSIDE
    for spots, value in ((fine.positives, SURE_INSIDE), (fine.negatives, SURE_OUTSIDE)):
        for x, y in spots:
            labels[y, x] = value
    found = cut(fine.rgb, labels, 1, int(cv2.GC_INIT_WITH_MASK))
    if found is None:
        return start
    better = obeying(cleaned(found[0]), fine) if found[0].any() else start
    return better if iou(better, start) >= DRIFT else start


def _settle(mask: Mask, window: Window, positives: Sequence[Point], negatives: Sequence[Point]) -> None:
    """Put the very pixels of the points on their side; reducing may have moved them by a pixel."""
    for points, side in ((negatives, False), (positives, True)):
        for point in points:
            x, y = point.pixel
            if window[0] <= x < window[2] and window[1] <= y < window[3]:
                mask[y - window[1], x - window[0]] = side
