"""Which of many candidate masks for clicks is meant, and how far to trust the answer.

Nothing here knows the truth, or how large objects usually are. Each piece of evidence is cheap and has a
plain meaning. ``PREFERENCE`` ranks the candidates: its weights make the expected IoU of the first as large
as they can on generated scenes. ``WEIGHTS`` makes an estimate of the IoU from the same evidence and from
how good the clearly different candidates are: where the scale is ambiguous, they lower the score.
``benchmarks/calibrate_prompts.py points`` prints both anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.vision.graph_cut import Mask
from tintype_studio.vision.mask_score import WEAK_EDGE, steps_across
from tintype_studio.vision.point_candidates import Candidate, View

AROUND = 3
"""Reduced pixels to each side of a click that should be inside."""

SMALL = 18.0
"""Pixels of the image."""
PLAUSIBLE, CERTAIN = 10.0, 30.0
"""Preferences between which another reading of the clicks counts the more, the higher it is."""

PREFERENCE = (-1.74, -3.73, 1.81, -11.71, -18.69, 3.28, 12.22, 9.90, -6.61)
"""Of the fields of ``Evidence``, in their order; fitted on 951 prompts for 320 objects."""
WEIGHTS = (-0.20, -0.64, -0.28, -1.26, -2.39, -0.02, 2.61, 1.53, -2.98, -0.49, -0.66, 0.39, -0.14)
"""Of ``terms``, in their order."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Facts about one candidate."""

    overlap: float
    """Log of the Bhattacharyya overlap of the colours of the mask and of the rest of its window."""
    weak_edge: float
    """Square root of the share of the outline across which the colour hardly changes."""
    faint_step: float
    """Colour step across the fainter fifth of the outline, in Lab units / 50."""
    cut_off: float
    """Share of the outline that is the window's rim: the object goes on beyond."""
    at_border: float
    """Share of the outline that is the image's border; backgrounds have much of it."""
    positive: float
    """Share of the mask around the positive click that is worst in it."""
    other_way: float
    """Best IoU with a candidate that was found in another way."""
    other_scale: float
    """Best IoU with a candidate of another window."""
    small: float
    """0 from ``SMALL`` pixels across, towards 1 for a single one: texture is full of crisp specks."""


def agreement(candidates: Sequence[Candidate], views: Sequence[View]) -> NDArray[np.float32]:
    """IoU of every two candidates, measured on the finer of their views; (N, N)."""
    members: dict[int, list[int]] = {}
    for index, candidate in enumerate(candidates):
        members.setdefault(candidate.view, []).append(index)
    areas = np.array([candidate.mask.sum() for candidate in candidates], np.float32)
    table = np.zeros((len(candidates), len(candidates)), np.float32)
    for view, own in members.items():
        flat = np.stack([candidates[i].mask.ravel() for i in own]).astype(np.float32)
        for other, theirs in members.items():
            if other < view:
                continue
            seen = [candidates[i].mask for i in theirs]
            if other > view:
                seen = [onto(mask, views[other], views[view]) for mask in seen]
            common = flat @ np.stack([mask.ravel() for mask in seen]).astype(np.float32).T
            there = areas[theirs] * _pixel_ratio(views[view], views[other])
            values = common / np.maximum(areas[own][:, None] + there[None] - common, 1)
            table[np.ix_(own, theirs)] = values
            table[np.ix_(theirs, own)] = values.T
    return np.minimum(table, 1.0)


def onto(mask: Mask, source: View, target: View) -> Mask:
    """A mask on one view, as far as it is seen from another one; (h, w) of ``target``."""
    rows, columns = target.rgb.shape[:2]
    to_image = _step(target)
    back = 1 / _step(source)[0], 1 / _step(source)[1]
    shift = [
        (target.window[axis] - source.window[axis] + 0.5 * to_image[axis]) * back[axis] - 0.5
        for axis in (0, 1)
    ]
    matrix = np.array([[to_image[0] * back[0], 0, shift[0]], [0, to_image[1] * back[1], shift[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    soft = cv2.warpAffine(mask.astype(np.float32), matrix, (columns, rows), flags=flags)
    return np.asarray(soft > 0.5)


def gather(
    candidate: Candidate, view: View, image_size: tuple[int, int], other_way: float, other_scale: float
) -> Evidence:
    """Measure a candidate on its view; ``image_size`` is (width, height) of the whole image."""
    mask = candidate.mask
    bits = mask.astype(np.uint8)
    shrunk = cv2.erode(bits, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE).astype(np.bool_)
    rim = mask & ~shrunk
    steps = steps_across(rim if rim.any() else mask, bits, view.colours.lab)
    left, top, right, bottom = view.window
    ends = (left == 0, top == 0, right == image_size[0], bottom == image_size[1])
    along = [int(line.sum()) for line in (mask[:, 0], mask[0], mask[:, -1], mask[-1])]
    at_border = sum(count for count, end in zip(along, ends, strict=True) if end)
    cut_off = sum(along) - at_border
    length = max(int(rim.sum()) + sum(along), 1)
    return Evidence(
        overlap=math.log(view.colours.overlap(mask) + 0.02),
        weak_edge=math.sqrt(float((steps < WEAK_EDGE).mean())),
        faint_step=float(np.quantile(steps, 0.2)) / 50,
        cut_off=cut_off / length,
        at_border=at_border / length,
        positive=min(_share_around(mask, spot) for spot in view.positives),
        other_way=other_way,
        other_scale=other_scale,
        small=max(0.0, 1 - math.sqrt(float(mask.sum())) / view.scale / SMALL),
    )


def preference(evidence: Evidence, weights: Sequence[float] = PREFERENCE) -> float:
    """Larger is better among the candidates for one prompt."""
    return float(sum(weight * fact for weight, fact in zip(weights, astuple(evidence), strict=True)))


def terms(evidence: Evidence, rivals: Sequence[float], clicks: int) -> tuple[float, ...]:
    """The model's inputs: an answer's evidence, the preferences of the two best others, the clicks."""
    others = sorted((*rivals, PLAUSIBLE, PLAUSIBLE), reverse=True)[:2]
    counted = [min(max(other, PLAUSIBLE), CERTAIN) / 10 for other in others]
    return (*astuple(evidence), *counted, math.log(clicks), 1.0)


def expected_iou(inputs: Sequence[float]) -> float:
    """Estimated IoU, 0..1, with what a careful person would draw for these clicks."""
    weighted = sum(weight * term for weight, term in zip(WEIGHTS, inputs, strict=True))
    return 1 / (1 + math.exp(-min(max(weighted, -30.0), 30.0)))


def _step(view: View) -> tuple[float, float]:
    """Pixels of the image per reduced pixel, across and down."""
    left, top, right, bottom = view.window
    return (right - left) / view.rgb.shape[1], (bottom - top) / view.rgb.shape[0]


def _pixel_ratio(one: View, other: View) -> float:
    """How many pixels of ``one`` a pixel of ``other`` covers."""
    (a, b), (c, d) = _step(one), _step(other)
    return float(c * d / (a * b))


def _share_around(mask: Mask, spot: tuple[int, int]) -> float:
    x, y = spot
    return float(mask[max(0, y - AROUND) : y + AROUND + 1, max(0, x - AROUND) : x + AROUND + 1].mean())
