"""Box prompts without weights: GrabCut started in several ways on a small window, and the best mask kept.

Method. Rother, Kolmogorov and Blake, "GrabCut: interactive foreground extraction using iterated graph
cuts" (2004), through OpenCV. It is run on a window around the box reduced to ``COARSE`` squared pixels,
from up to three starts (colours that are foreign to the surroundings, strictly and on a smoothed picture,
and the ellipse in the box), because it only finds the optimum nearest to its start; once two of them end
in the same mask, no further one is tried. The mask that fills its box best is sharpened at ``FINE`` squared
pixels in a band along its outline. The outline is therefore exact to about 1/``FINE`` of the window, not
to a pixel of a large photograph.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
    Models,
    cleaned,
    cut,
    iou,
    require_rgb,
    resized,
)
from tintype_studio.vision.mask_score import ColourModel, Evidence, Fit, expected_iou, fit, gather, preference
from tintype_studio.vision.protocols import Box, Point, Segment

COARSE = 84
FINE = 192
MARGIN = 0.2
"""Surroundings taken into the window on each side, as a share of the box's geometric mean side."""
MIN_MARGIN = 8.0
SLACK = 0.02
"""How far the mask may leave the box, as a share of the box: people draw boxes slightly too tight."""
MIN_SIDE = 4
"""Pixels; a smaller box holds nothing that can be told from its surroundings."""
MIN_START = 0.12
"""Share of the box that a start leaves inside at least, whatever its colours."""
MIN_SURROUNDINGS = 0.04
"""Share of the window; with less around the box, the box's corners stand in for it."""
ITERATIONS = (2, 1, 1)
"""Of each start. More of them take longer, and were no better on scenes and photographs."""
SETTLED = 0.97
"""IoU of two masks from different starts, from which on a further start is not tried."""


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A mask and what speaks for it; what the score's calibration is fitted on.

    ``mask`` and ``offset`` are as in Segment. ``agreements`` are its IoUs with the masks of other starts.
    """

    mask: Mask
    offset: tuple[int, int]
    evidence: Evidence
    agreements: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """The window at one size.

    ``allowed`` is where the mask may be, ``surroundings`` a sample of what is around the box; ``box`` is
    (left, top, right, bottom) in pixels of this size.
    """

    rgb: Image
    allowed: Mask
    surroundings: Mask
    box: tuple[float, float, float, float]
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    mask: Mask
    fit: Fit
    models: Models


class GrabCutSegmenter:
    """The embedded ``PromptSegmenter``. It keeps no state, so one object serves any number of threads."""

    name = "grabcut"

    def segment_box(self, image: Image, box: Box, negative_boxes: Sequence[Box] = ()) -> Segment | None:
        """See ``PromptSegmenter.segment_box``. About 25 ms on one core, whatever the size of the box."""
        proposal = self.propose(image, box, negative_boxes)
        if proposal is None:
            return None
        return Segment(proposal.mask, proposal.offset, expected_iou(proposal.evidence, proposal.agreements))

    def segment_points(
        self, image: Image, positives: Sequence[Point], negatives: Sequence[Point] = ()
    ) -> list[Segment]:
        """See ``PromptSegmenter.segment_points``; done by ``point_prompts``."""
        from tintype_studio.vision.point_prompts import segment_points

        return segment_points(image, positives, negatives)

    def propose(self, image: Image, box: Box, negative_boxes: Sequence[Box] = ()) -> Proposal | None:
        """The mask and the evidence behind it; arguments and errors as for ``segment_box``."""
        require_rgb(image)
        height, width = image.shape[:2]
        target = box.clipped(width, height)
        if min(target.w, target.h) < MIN_SIDE:
            return None
        left, top, right, bottom = _window(target, width, height)
        crop = image[top:bottom, left:right]
        inner = Box(target.x - left, target.y - top, target.w, target.h)
        for other in negative_boxes:
            other.require_area()
        forbidden = [Box(b.x - left, b.y - top, b.w, b.h) for b in negative_boxes]
        # Reduced far, a faint object may vanish; then it is looked for once more with more pixels.
        for side in (COARSE, FINE):
            coarse = _view(crop, inner, forbidden, side)
            colours = ColourModel(coarse.rgb)
            ranked = _candidates(coarse, colours)
            if ranked:
                break
        else:
            return None
        best = ranked[0]
        evidence = gather(best.mask, best.fit, coarse.allowed, colours)
        mask = _sharpened(best, coarse, _view(crop, inner, forbidden, FINE))
        rows, columns = crop.shape[:2]
        full = resized(mask, columns, rows) & _allowed((rows, columns), 1.0, 1.0, inner, forbidden)
        if not full.any():
            return None
        agreements = tuple(iou(other.mask, best.mask) for other in ranked[1:])
        filled_rows, filled_columns = np.flatnonzero(full.any(axis=1)), np.flatnonzero(full.any(axis=0))
        y, x = int(filled_rows[0]), int(filled_columns[0])
        tight = np.ascontiguousarray(full[y : int(filled_rows[-1]) + 1, x : int(filled_columns[-1]) + 1])
        return Proposal(tight, (left + x, top + y), evidence, agreements)


def _window(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    margin = max(MIN_MARGIN, MARGIN * math.sqrt(box.w * box.h))
    return (
        max(0, math.floor(box.x - margin)),
        max(0, math.floor(box.y - margin)),
        min(width, math.ceil(box.x + box.w + margin)),
        min(height, math.ceil(box.y + box.h + margin)),
    )


def _view(crop: Image, box: Box, forbidden: Sequence[Box], side: int) -> _View:
    """``crop`` reduced to at most ``side`` squared pixels; never enlarged."""
    height, width = crop.shape[:2]
    scale = min(1.0, side / math.sqrt(width * height))
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    rgb = crop if scale == 1.0 else cv2.resize(crop, (columns, rows), interpolation=cv2.INTER_AREA)
    across, down = columns / width, rows / height
    edges = box.x * across, box.y * down, (box.x + box.w) * across, (box.y + box.h) * down
    surroundings = ~_allowed((rows, columns), across, down, box, ())
    if surroundings.mean() < MIN_SURROUNDINGS:
        surroundings |= _ellipse_distance((rows, columns), edges) > 1.2
    allowed = _allowed((rows, columns), across, down, box, forbidden)
    return _View(np.ascontiguousarray(rgb), allowed, surroundings, edges, scale)


def _allowed(shape: tuple[int, int], across: float, down: float, box: Box, forbidden: Sequence[Box]) -> Mask:
    """Where the mask may be: in the box and its slack, outside the forbidden boxes; (rows, columns)."""

    def span(start: float, length: float, scale: float, slack: float) -> slice:
        first, last = (start - slack * length) * scale, (start + (1 + slack) * length) * scale
        return slice(max(0, round(first)), max(0, round(last)))

    allowed = np.zeros(shape, np.bool_)
    allowed[span(box.y, box.h, down, SLACK), span(box.x, box.w, across, SLACK)] = True
    for other in forbidden:
        allowed[span(other.y, other.h, down, 0.0), span(other.x, other.w, across, 0.0)] = False
    return allowed


def _ellipse_distance(shape: tuple[int, int], box: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Squared distance from the middle of the box in half sides: 1 on the inscribed ellipse."""
    left, top, right, bottom = box
    across = (np.arange(shape[1]) + 0.5 - (left + right) / 2) / ((right - left) / 2)
    down = (np.arange(shape[0]) + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)
    return np.asarray(across[None, :] ** 2 + down[:, None] ** 2)


def _candidates(view: _View, colours: ColourModel) -> list[_Candidate]:
    """The masks that GrabCut finds from the starts, best first."""
    found: list[_Candidate] = []
    if not view.allowed.any():
        return found
    for (picture, outside), iterations in zip(_starts(view, colours), ITERATIONS, strict=True):
        labels = np.full(view.allowed.shape, SURE_OUTSIDE, np.uint8)
        labels[view.allowed] = LIKELY_INSIDE
        labels[view.allowed & (outside | view.surroundings)] = LIKELY_OUTSIDE
        made = cut(picture, labels, iterations, int(cv2.GC_INIT_WITH_MASK))
        if made is None:
            continue
        mask, models = cleaned(made[0]), made[1]
        if not mask.any():
            continue
        settled = any(iou(mask, other.mask) >= SETTLED for other in found)
        found.append(_Candidate(mask, fit(mask, view.box, colours), models))
        if settled:
            break
    found.sort(key=lambda candidate: -preference(candidate.fit))
    return found


def _starts(view: _View, colours: ColourModel) -> Iterator[tuple[Image, Mask]]:
    """What to cut and what is outside at first, made one after the other, as the last is seldom needed."""
    foreign = colours.foreignness(view.allowed, view.surroundings)
    yield view.rgb, _foreign_start(foreign, view.allowed, 0.3)
    smooth = np.asarray(cv2.GaussianBlur(view.rgb, (0, 0), 1.2), dtype=np.uint8)
    yield smooth, _foreign_start(foreign, view.allowed, 0.5)
    yield view.rgb, _ellipse_distance(view.allowed.shape, view.box) > 1.0


def _foreign_start(foreign: NDArray[np.float32], allowed: Mask, threshold: float) -> Mask:
    """Where to start with outside; at least a fair part of the box is left to be inside."""
    outside: Mask = foreign > threshold
    if (allowed & ~outside).sum() < MIN_START * allowed.sum():
        outside = foreign > np.quantile(foreign[allowed], 0.35)
    return outside


def _sharpened(best: _Candidate, coarse: _View, fine: _View) -> Mask:
    """The mask at the finer size, decided anew in a band along its outline."""
    if fine.scale <= coarse.scale:
        return best.mask
    rows, columns = fine.allowed.shape
    mask = resized(best.mask, columns, rows) & fine.allowed
    reach = max(2, round(2 * fine.scale / coarse.scale))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    bits = mask.astype(np.uint8)
    shrunk = cv2.erode(bits, kernel, borderType=cv2.BORDER_REPLICATE).astype(np.bool_)
    grown = cv2.dilate(bits, kernel).astype(np.bool_) & fine.allowed
    labels = np.full(mask.shape, SURE_OUTSIDE, np.uint8)
    labels[grown] = LIKELY_OUTSIDE
    labels[mask] = LIKELY_INSIDE
    labels[shrunk] = SURE_INSIDE
    found = cut(fine.rgb, labels, 1, int(cv2.GC_EVAL), best.models)
    if found is None or not found[0].any():
        return mask
    return cleaned(found[0])
