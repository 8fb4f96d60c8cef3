"""From a network's raw outputs (``tasks.OUTPUTS``) to predictions in pixels of the images.

numpy and OpenCV alone, so that validation during training, torch and ONNX Runtime give the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.infer.prediction import Found, Prediction
from tintype_studio.vision.letterbox import scale_of
from tintype_studio.vision.tasks import OUTPUTS, Signature, Task

Array = NDArray[np.float32]

MOST_CANDIDATES = 1000
"""Of one image that non-maximum suppression looks at, best first."""


def decode(
    signature: Signature,
    outputs: Sequence[NDArray[np.floating]],
    sizes: Sequence[tuple[int, int]],
    *,
    threshold: float,
    max_detections: int = 300,
) -> list[Prediction]:
    """Predictions of a batch. ``sizes``: (width, height) of each image before it was letterboxed.

    Objects scored below ``threshold`` are left out, and of the rest those beyond the ``max_detections`` best.
    A candidate counts for its likeliest class. Scores that are not finite count as 0. Raises InvalidInput
    when there are not as many outputs as the task has, or not as many rows as images.
    """
    if len(outputs) != len(OUTPUTS[signature.task]) or any(len(each) != len(sizes) for each in outputs):
        raise InvalidInput(
            f"A model for {signature.task.value} gives {', '.join(OUTPUTS[signature.task])}, a row per image."
        )
    rows = [[np.asarray(each[i], np.float32) for each in outputs] for i in range(len(sizes))]
    if signature.task is Task.CLASSIFICATION:
        return [
            Prediction(width, height, scores=class_scores(row[0], multi_label=signature.multi_label))
            for row, (width, height) in zip(rows, sizes, strict=True)
        ]
    if signature.task is Task.SEMANTIC:
        return [
            _regions(row[0], width, height, signature.image_size)
            for row, (width, height) in zip(rows, sizes, strict=True)
        ]
    return [
        Prediction(width, height, objects=_objects(signature, row, width, height, threshold, max_detections))
        for row, (width, height) in zip(rows, sizes, strict=True)
    ]


def class_scores(logits: Array, *, multi_label: bool) -> Array:
    """``[..., C]`` logits as scores: sigmoid for several labels, else softmax."""
    logits = np.nan_to_num(logits)
    if multi_label:
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def _regions(logits: Array, width: int, height: int, size: int) -> Prediction:
    """The likeliest class of each pixel; logits are interpolated first, so borders do not step."""
    channels, rows, columns = logits.shape
    logits = np.nan_to_num(logits)
    scale = scale_of(width, height, size)
    whole, cells = (0, 0, width, height), (scale * columns / size, scale * rows / size)
    best = np.full((height, width), -np.inf, np.float32)
    regions = np.zeros((height, width), np.min_scalar_type(channels - 1))
    # One class at a time: all of them at once would take 4 bytes for each class and pixel.
    for channel in range(channels):
        plane = _sampled(logits[channel], whole, *cells)
        better = plane > best
        best[better] = plane[better]
        regions[better] = channel
    chances = class_scores(logits.transpose(1, 2, 0), multi_label=False).max(axis=2)
    return Prediction(width, height, regions=regions, certainty=_sampled(chances, whole, *cells))


def _objects(
    signature: Signature, row: Sequence[Array], width: int, height: int, threshold: float, most: int
) -> list[Found]:
    boxes, scores = row[0], np.nan_to_num(row[1], nan=0.0, posinf=0.0, neginf=0.0)
    scale = scale_of(width, height, signature.image_size)
    labels = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), labels]
    chosen = np.flatnonzero(best >= threshold)
    if len(chosen) > MOST_CANDIDATES:
        chosen = chosen[np.argpartition(-best[chosen], MOST_CANDIDATES - 1)[:MOST_CANDIDATES]]
    chosen = chosen[np.argsort(-best[chosen], kind="stable")]
    corners = np.clip(boxes[chosen] / np.float32(scale), 0, (width, height, width, height))
    # Also false for what is not a number.
    solid = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    chosen, corners = chosen[solid], corners[solid]
    if signature.nms_iou is not None:
        kept = suppressed(corners, labels[chosen], signature.nms_iou, most)
    else:
        kept = np.arange(min(most, len(chosen)))
    found = []
    for place in kept.tolist():
        index = int(chosen[place])
        left, top, right, bottom = (float(value) for value in corners[place])
        one = Found(int(labels[index]), min(1.0, max(0.0, float(best[index]))), (left, top, right, bottom))
        if signature.task is Task.INSTANCES:
            mask = _mask(row[2][index], row[3], one.region, scale / signature.image_size)
            one = Found(one.label, one.score, one.box, mask)
        found.append(one)
    return found


def suppressed(corners: Array, labels: NDArray[np.integer], limit: float, most: int) -> NDArray[np.intp]:
    """Non-maximum suppression within each class: places kept, in the order given, which is best first."""
    if not len(corners):
        return np.zeros(0, np.intp)
    # Classes far from one another never overlap.
    apart = (corners + (labels * (corners.max() + 1))[:, None]).astype(np.float64)
    area = (apart[:, 2] - apart[:, 0]) * (apart[:, 3] - apart[:, 1])
    alive = np.ones(len(apart), np.bool_)
    kept: list[int] = []
    for place in range(len(apart)):
        if not alive[place]:
            continue
        kept.append(place)
        if len(kept) == most:
            break
        one, rest = apart[place], apart[place + 1 :]
        width = np.minimum(one[2], rest[:, 2]) - np.maximum(one[0], rest[:, 0])
        height = np.minimum(one[3], rest[:, 3]) - np.maximum(one[1], rest[:, 1])
        shared = np.clip(width, 0, None) * np.clip(height, 0, None)
        alive[place + 1 :] &= shared <= limit * (area[place] + area[place + 1 :] - shared)
    return np.asarray(kept, np.intp)


def _mask(
    coefficients: Array, prototypes: Array, region: tuple[int, int, int, int], share: float
) -> NDArray[np.bool_]:
    """The object's pixels in ``region``; ``share`` is the square's side for each pixel of the image."""
    kinds, rows, columns = prototypes.shape
    left, top, right, bottom = region
    # Only the part of the prototypes around the box is multiplied out.
    x0, x1 = _around(left * share * columns, right * share * columns, columns)
    y0, y1 = _around(top * share * rows, bottom * share * rows, rows)
    part = prototypes[:, y0:y1, x0:x1]
    logits = (coefficients @ part.reshape(kinds, -1)).reshape(part.shape[1:])
    plane = _sampled(logits, region, share * columns, share * rows, (x0, y0))
    return np.asarray(plane > 0)


def _around(low: float, high: float, most: int) -> tuple[int, int]:
    """The cells that interpolation between ``low`` and ``high`` looks at."""
    first = min(max(math.floor(low) - 1, 0), most - 1)
    return first, max(first + 1, min(math.ceil(high) + 1, most))


def _sampled(
    plane: Array,
    region: tuple[int, int, int, int],
    across: float,
    down: float,
    origin: tuple[int, int] = (0, 0),
) -> Array:
    """``plane`` interpolated at the centres of the region's pixels; ``across`` and ``down`` are its cells for
    each pixel of the image, ``origin`` the column and row of its first cell.
    """
    left, top, right, bottom = region
    into = np.array(
        [
            [across, 0, across * (left + 0.5) - 0.5 - origin[0]],
            [0, down, down * (top + 0.5) - 0.5 - origin[1]],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (right - left, bottom - top)
    return np.asarray(
        cv2.warpAffine(np.ascontiguousarray(plane), into, size, flags=flags, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )
