"""What box and point prompts share: one graph cut, and the tidying of masks.

Method of the cut: Rother, Kolmogorov and Blake, "GrabCut: interactive foreground extraction using iterated
graph cuts" (2004), through OpenCV.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.errors import InvalidImage

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]
Models = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Colours outside and inside, as OpenCV's mixtures of five normal distributions; (1, 65) each."""

SPECK = 0.05
"""Components smaller than this share of the largest are dropped."""
PINHOLE = 0.005
"""Holes smaller than this share of the mask are filled."""
ROUNDING = 0.7
"""Standard deviation, in pixels of the small picture, of the smoothing of an enlarged outline."""
MAX_ROUNDED = 4.0
"""Larger outlines are rounded off at this enlargement."""
SEED = 20_240_417

SURE_OUTSIDE, SURE_INSIDE = int(cv2.GC_BGD), int(cv2.GC_FGD)
LIKELY_OUTSIDE, LIKELY_INSIDE = int(cv2.GC_PR_BGD), int(cv2.GC_PR_FGD)


def require_rgb(image: Image) -> None:
    """Raise InvalidImage unless ``image`` is (H, W, 3) uint8 with at least one pixel."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        raise InvalidImage("The image must be an (H, W, 3) array of uint8.")
    height, width, channels = image.shape
    if channels != 3 or not height or not width:
        raise InvalidImage(f"The image must be (H, W, 3) and not empty, not {image.shape}.")


def cut(
    rgb: Image,
    labels: NDArray[np.uint8],
    iterations: int,
    mode: int,
    models: Models | None = None,
) -> tuple[Mask, Models] | None:
    """Run GrabCut on (H, W, 3) RGB from ``labels`` (H, W), which it overwrites.

    ``mode`` is OpenCV's. None if one side has no pixel to learn its colours from.
    """
    inside = (labels == SURE_INSIDE) | (labels == LIKELY_INSIDE)
    if not inside.any() or inside.all():
        return None
    outside_model, inside_model = (
        (np.zeros((1, 65)), np.zeros((1, 65))) if models is None else (models[0].copy(), models[1].copy())
    )
    # The generator belongs to the thread, so setting it here makes the answer independent of other calls.
    cv2.setRNGSeed(SEED)
    cv2.grabCut(rgb, labels, None, outside_model, inside_model, iterations, mode)  # type: ignore[call-overload]
    return (labels == SURE_INSIDE) | (labels == LIKELY_INSIDE), (outside_model, inside_model)


def cleaned(mask: Mask) -> Mask:
    """Without specks and pinholes; components and holes of some size are kept."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept: Mask = (areas >= max(SPECK * areas.max(), 1))[labels]
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8), connectivity=4)
    rows, columns = kept.shape
    x, y, w, h, area = stats.T
    fill = (area < PINHOLE * float(kept.sum())) & (x > 0) & (y > 0) & (x + w < columns) & (y + h < rows)
    fill[0] = False
    return np.asarray(kept | fill[labels])


def resized(mask: Mask, width: int, height: int) -> Mask:
    """The mask at another size; when enlarged, its steps are rounded off by less than one old pixel."""
    if mask.shape == (height, width):
        return mask
    soft: NDArray[np.floating | np.integer] = mask.astype(np.float32)
    factor = math.sqrt(width * height / mask.size)
    if factor > MAX_ROUNDED:
        # Rounded at a middle size: a wide blur over many megapixels would take longer than the search.
        middle = round(mask.shape[1] * MAX_ROUNDED), round(mask.shape[0] * MAX_ROUNDED)
        soft, factor = cv2.resize(soft, middle, interpolation=cv2.INTER_LINEAR), MAX_ROUNDED
        soft = cv2.GaussianBlur(soft, (0, 0), ROUNDING * factor, borderType=cv2.BORDER_REPLICATE)
        factor = 1.0
    soft = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    if factor > 1:
        soft = cv2.GaussianBlur(soft, (0, 0), ROUNDING * factor, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft > 0.5)


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one shape; 0 when both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0
