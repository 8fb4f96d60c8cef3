"""What RF-DETR learns from: its queries by an optimal matching, and every place of the map where they start.

The library trains only those places that were chosen as starts, one for each object; from random numbers that
takes far longer than when, as in dense detectors, all places of an object learn to fit it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tintype_studio.vision.train.nets.cell_loss import cell_loss
from tintype_studio.vision.train.nets.rf_detr import Answers
from tintype_studio.vision.train.nets.set_loss import Truths, corners, set_loss
from tintype_studio.vision.train.protocol import Target


def query_loss(
    answers: Answers, truths: Truths, targets: Sequence[Target], size: int
) -> dict[str, torch.Tensor]:
    """``class`` and ``box``: means over the decoder's layers; ``places``: mean over the groups.

    ``truths`` and ``targets`` say the same; ``size`` is the image's side in pixels.
    """
    total: dict[str, torch.Tensor] = {}
    groups, layers = len(answers.place_logits), len(answers.logits)
    for logits, boxes in zip(answers.logits, answers.boxes, strict=True):
        for name, value in set_loss(logits, boxes, truths, groups).items():
            total[name] = total.get(name, 0) + value / layers
    strides = torch.full_like(answers.points[:, 0], answers.stride)
    for logits, boxes in zip(answers.place_logits, answers.place_boxes, strict=True):
        dense, _ = cell_loss(logits, corners(boxes) * size, answers.points, strides, targets)
        total["places"] = total.get("places", 0) + sum(dense.values()) / groups
    return total
