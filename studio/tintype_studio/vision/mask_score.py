"""What speaks for or against a mask, measured from the picture and the box, and the score made of it.

Nothing here knows the truth. Each piece of evidence is cheap and has a plain meaning. Between rival masks
the one that reaches the sides of its box wins. A logistic model of the intersection over union (IoU),
fitted on generated scenes with known truth (``benchmarks/calibrate_prompts.py boxes`` prints its
weights anew), makes the score. On photographs the score is a guide, not a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

HISTOGRAM_BINS = 12
"""Per channel; with smoothing over neighbours, fine enough to tell two paints and coarse enough to fill."""
MIN_COLOUR_SPAN = 24.0
"""Lab units spread over the bins at least, so that noise in a plain picture does not look like colours."""
WEAK_EDGE = 12.0
"""Lab units; a colour step below this is hard to see under ordinary noise."""
GAP_ALLOWANCE = 0.05
"""Share of the box by which masks fall short of boxes drawn by hand even when both are right."""
LONE_AGREEMENT = 0.5
"""Assumed IoU with rivals when there are none: between the usual agreement and none."""

WEIGHTS = (-0.45, -1.90, -0.93, -0.44, 0.45, -25.61, -0.41, 0.25)
"""Of ``terms``, in their order; fitted on 1,000 objects."""


class ColourModel:
    """Smoothed Lab histograms over one picture, (H, W, 3) uint8 RGB. The bins span the colours in it."""

    def __init__(self, rgb: Image) -> None:
        self.lab = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB), dtype=np.uint8)
        smooth = cv2.GaussianBlur(self.lab, (0, 0), 1.0).astype(np.float32)
        low = smooth.min(axis=(0, 1))
        span = max(float((smooth.max(axis=(0, 1)) - low).max()), MIN_COLOUR_SPAN)
        cells = np.clip((smooth - low) * (HISTOGRAM_BINS / span), 0, HISTOGRAM_BINS - 1).astype(np.int32)
        self._total: Floats | None = None
        self._index = (cells[..., 0] * HISTOGRAM_BINS + cells[..., 1]) * HISTOGRAM_BINS + cells[..., 2]

    def histogram(self, where: Mask) -> Floats:
        """Share of each colour bin among the pixels of ``where`` (all zero if there are none)."""
        return np.asarray(self._counts(where) / max(int(where.sum()), 1), dtype=np.float32)

    def overlap(self, where: Mask) -> float:
        """Bhattacharyya overlap, 0..1, of the colours of ``where`` and of the rest; 1 if one is empty."""
        count = int(where.sum())
        if count in (0, where.size):
            return 1.0
        if self._total is None:
            self._total = self._counts(np.ones_like(where))
        inside = self._counts(where)
        outside = np.maximum(self._total - inside, 0)
        return float(np.sqrt(inside * outside).sum() / math.sqrt(count * (where.size - count)))

    def _counts(self, where: Mask) -> Floats:
        """Pixels of ``where`` per bin, a half of each shared among the neighbours on every axis."""
        counts = np.bincount(self._index[where], minlength=HISTOGRAM_BINS**3)
        grid = counts.astype(np.float32).reshape((HISTOGRAM_BINS,) * 3)
        for axis in range(3):
            turned = np.moveaxis(grid, axis, 0)
            spread = 0.5 * turned
            spread[1:] += 0.25 * turned[:-1]
            spread[:-1] += 0.25 * turned[1:]
            grid = np.moveaxis(spread, 0, axis)
        return np.asarray(grid.ravel(), dtype=np.float32)

    def foreignness(self, inside: Mask, outside: Mask) -> Floats:
        """Per pixel 0..1: how far its colour belongs to ``outside`` rather than to ``inside``; (H, W)."""
        within, without = self.histogram(inside), self.histogram(outside)
        ratio = without / (within + without + 1e-9)
        return np.asarray(cv2.GaussianBlur(ratio[self._index], (0, 0), 1.0), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Fit:
    """How a mask sits in its box: cheap enough to be measured for every rival."""

    overlap: float
    """Bhattacharyya overlap, 0..1, of the colours of the mask and of the rest of the window."""
    gap: float
    """Mean distance between the sides of the box and the mask, as a share of the box, beyond the usual."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Facts about the mask that was chosen."""

    fit: Fit
    weak_edge: float
    """Share of the outline across which the colour hardly changes."""
    edge_step: float
    """Median colour step across the outline, in Lab units / 50."""
    gradient: float
    """Log ratio of the gradient on the outline to that elsewhere in the box."""


def fit(mask: Mask, box: tuple[float, float, float, float], colours: ColourModel) -> Fit:
    """Measure a non-empty ``mask`` (H, W) against its box.

    ``box`` is the prompt as (left, top, right, bottom) in pixels of the picture that ``colours`` was made
    from.
    """
    left, top, right, bottom = box
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    across = abs(float(columns[0]) - left) + abs(right - float(columns[-1]) - 1)
    down = abs(float(rows[0]) - top) + abs(bottom - float(rows[-1]) - 1)
    gap = (across / (right - left) + down / (bottom - top)) / 4
    return Fit(overlap=colours.overlap(mask), gap=max(0.0, gap - GAP_ALLOWANCE))


def gather(mask: Mask, fit: Fit, allowed: Mask, colours: ColourModel) -> Evidence:
    """Measure the outline of a non-empty ``mask`` (H, W), which could be where ``allowed`` is true."""
    bits = mask.astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    shrunk = cv2.erode(bits, kernel, borderType=cv2.BORDER_REPLICATE).astype(np.bool_)
    grown = cv2.dilate(bits, kernel).astype(np.bool_)
    rim = mask & ~shrunk
    steps = steps_across(rim if rim.any() else mask, bits, colours.lab)
    return Evidence(
        fit=fit,
        weak_edge=float((steps < WEAK_EDGE).mean()),
        edge_step=float(np.median(steps)) / 50,
        gradient=_gradient_ratio(grown & ~shrunk, allowed, colours.lab),
    )


def preference(fit: Fit) -> float:
    """Larger is better among masks for one prompt: it fills its box; if several do, by distinct colours."""
    return -fit.gap - 0.025 * fit.overlap


def terms(chosen: Evidence, agreements: Sequence[float]) -> tuple[float, ...]:
    """The model's inputs: the chosen mask's evidence, its IoUs with its rivals, and the constant 1."""
    agreement = max(agreements, default=LONE_AGREEMENT)
    step = math.log(chosen.edge_step + 0.1)
    weak = math.sqrt(chosen.weak_edge)
    return (
        math.log(chosen.fit.overlap + 0.02),
        weak,
        step,
        weak * step,
        chosen.gradient,
        chosen.fit.gap,
        math.log(1.03 - agreement),
        1.0,
    )


def expected_iou(chosen: Evidence, agreements: Sequence[float]) -> float:
    """Estimated IoU, 0..1, of the chosen mask with what a careful person would draw."""
    weighted = sum(weight * term for weight, term in zip(WEIGHTS, terms(chosen, agreements), strict=True))
    return 1 / (1 + math.exp(-min(max(weighted, -30.0), 30.0)))


def steps_across(rim: Mask, bits: Image, lab: Image) -> Floats:
    """Colour difference between the two sides at each pixel of the rim, in Lab units; ``bits`` is 0 or 1."""
    inner = bits.astype(np.float32)
    sides = []
    for weight in (inner, 1 - inner):
        total = cv2.GaussianBlur(weight, (0, 0), 2.0)[..., None] + 1e-4
        sides.append(cv2.GaussianBlur(lab * weight[..., None], (0, 0), 2.0) / total)
    difference = (sides[0] - sides[1])[rim]
    return np.asarray(np.sqrt((difference**2).sum(axis=-1)), dtype=np.float32)


def _gradient_ratio(outline: Mask, allowed: Mask, lab: Image) -> float:
    smooth = cv2.GaussianBlur(lab, (0, 0), 0.8).astype(np.float32)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength = np.sqrt((across**2 + down**2).sum(axis=-1))
    elsewhere = allowed & ~outline
    rest = float(strength[elsewhere].mean()) if elsewhere.any() else 0.0
    return math.log((float(strength[outline].mean()) + 1) / (rest + 1)) if outline.any() else 0.0
