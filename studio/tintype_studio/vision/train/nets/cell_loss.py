"""What a dense head learns from: which cells stand for which object, and the losses of classes and boxes.

Task-aligned assignment (Feng and others, TOOD, 2021): an object takes the cells that already score and fit it
best; the score to learn is how well the box fits. The whole batch at once, without a loop over objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from tintype_studio.vision.train.protocol import Target

CELLS = 10
"""At most so many cells learn one object."""

SCORE_POWER, FIT_POWER = 0.5, 4.0
NEAR = 1.0
"""A cell whose centre is this close to an object's, in strides, may stand for it even from outside its box:
else small objects would have no cell.
"""

CLASS_WEIGHT, BOX_WEIGHT = 1.0, 5.0
TINY = 1e-7


@dataclass(frozen=True, slots=True)
class Assigned:
    """Cells that stand for an object; P of them in the batch."""

    image: torch.Tensor
    """``[P]``."""
    cell: torch.Tensor
    """``[P]``."""
    object: torch.Tensor
    """``[P]``: index among the image's objects."""
    quality: torch.Tensor
    """``[P]``: the score to learn, 0 to 1."""


def padded(targets: Sequence[Target], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes ``[N, M, 4]`` and labels ``[N, M]`` (-1 where there is no object) of a batch."""
    most = max((len(t.labels) for t in targets), default=0)
    boxes = torch.zeros(len(targets), most, 4)
    labels = torch.full((len(targets), most), -1, dtype=torch.int64)
    for index, target in enumerate(targets):
        count = len(target.labels)
        boxes[index, :count] = torch.as_tensor(target.boxes)
        labels[index, :count] = torch.as_tensor(target.labels)
    return boxes.to(device), labels.to(device)


@torch.no_grad()
def assign(
    logits: torch.Tensor,
    boxes: torch.Tensor,
    points: torch.Tensor,
    strides: torch.Tensor,
    truth: torch.Tensor,
    labels: torch.Tensor,
) -> Assigned:
    """``logits [N, A, C]``, ``boxes [N, A, 4]`` of the cells; ``truth [N, M, 4]``, ``labels [N, M]``."""
    count, objects = labels.shape
    cells = points.shape[0]
    fit = pairwise_iou(truth, boxes)
    sides = torch.cat((points - truth[:, :, None, :2], truth[:, :, None, 2:] - points), -1)
    inside = sides.amin(-1) > 0
    middle = (truth[..., :2] + truth[..., 2:]) / 2
    close = (points - middle[:, :, None]).abs().amax(-1) < NEAR * strides
    allowed = (inside | close) & (labels >= 0)[..., None]
    wanted = labels.clamp(min=0)[:, None, :].expand(count, cells, objects)
    score = logits.float().gather(2, wanted).sigmoid().transpose(1, 2)
    align = torch.where(allowed, score.pow(SCORE_POWER) * (fit.pow(FIT_POWER) + TINY), 0.0)
    best, where = align.topk(min(CELLS, cells), dim=2)
    chosen = torch.zeros_like(align).scatter_(2, where, (best > 0).to(align.dtype)) > 0
    # A cell that two objects chose goes to the one that its box fits better.
    owner = torch.where(chosen, fit, -1.0).argmax(1, keepdim=True)
    chosen &= torch.zeros_like(chosen).scatter_(1, owner, value=True)
    image, thing, cell = chosen.nonzero(as_tuple=True)
    kept = torch.where(chosen, align, 0.0)
    best_fit = torch.where(chosen, fit, 0.0).amax(2)
    scale = best_fit / kept.amax(2).clamp(min=TINY * TINY)
    quality = kept[image, thing, cell] * scale[image, thing]
    return Assigned(image, cell, thing, quality)


def cell_loss(
    logits: torch.Tensor,
    boxes: torch.Tensor,
    points: torch.Tensor,
    strides: torch.Tensor,
    targets: Sequence[Target],
) -> tuple[dict[str, torch.Tensor], Assigned | None]:
    """The losses ``class`` and ``box`` of a batch, and the assignment (None when no image has an object)."""
    truth, labels = padded(targets, logits.device)
    wanted = torch.zeros_like(logits, dtype=torch.float32)
    assigned = None
    box_loss = boxes.sum() * 0.0
    weight = torch.ones((), device=logits.device)
    if labels.shape[1]:
        assigned = assign(logits.detach(), boxes.detach(), points, strides, truth, labels)
        image, cell, thing = assigned.image, assigned.cell, assigned.object
        wanted[image, cell, labels[image, thing]] = assigned.quality
        weight = assigned.quality.sum().clamp(min=1.0)
        overlap = generalized_iou(boxes[image, cell], truth[image, thing])
        box_loss = ((1 - overlap) * assigned.quality).sum() / weight
    class_loss = functional.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="sum") / weight
    return {"class": CLASS_WEIGHT * class_loss, "box": BOX_WEIGHT * box_loss}, assigned


def _area(boxes: torch.Tensor) -> torch.Tensor:
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def pairwise_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union of ``[N, M, 4]`` with ``[N, A, 4]``: ``[N, M, A]``."""
    width = torch.minimum(a[:, :, None, 2], b[:, None, :, 2]) - torch.maximum(
        a[:, :, None, 0], b[:, None, :, 0]
    )
    height = torch.minimum(a[:, :, None, 3], b[:, None, :, 3]) - torch.maximum(
        a[:, :, None, 1], b[:, None, :, 1]
    )
    inner = width.clamp_(min=0) * height.clamp_(min=0)
    return inner / (_area(a)[:, :, None] + _area(b)[:, None, :] - inner).clamp(min=TINY)


def generalized_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of ``[P, 4]`` and ``[P, 4]``, pair by pair (Rezatofighi and others, 2019); -1 to 1."""
    inner = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    outer = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = (_area(a) + _area(b) - inner).clamp(min=TINY)
    return inner / union - (outer - union) / outer.clamp(min=TINY)
