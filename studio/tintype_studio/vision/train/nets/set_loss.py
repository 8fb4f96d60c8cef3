"""Loss of detectors that give each object once: an optimal matching, then losses of classes and boxes.

After DETR (Carion and others, 2020) and its group training (Chen and others, Group DETR, 2023): queries come
in groups of equal size, of which each is matched on its own. The class loss is the IoU-aware one of LW-DETR
(Chen and others, 2024), written on logits, so that a saturated score has a finite loss in half precision too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

Matches = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

CLASS_COST, BOX_COST, IOU_COST = 2.0, 5.0, 2.0
BOX_WEIGHT, IOU_WEIGHT = 5.0, 2.0
ALPHA, GAMMA = 0.25, 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Truths:
    """The objects of a batch, of all images one after another."""

    boxes: torch.Tensor
    """``[M, 4]``: centre, width and height as shares of the image."""
    labels: torch.Tensor
    """``[M]``."""
    counts: list[int]
    """Of each image."""


def matched(logits: torch.Tensor, boxes: torch.Tensor, truths: Truths, groups: int) -> Matches:
    """Image, query and object (indices into ``truths``) of the pairs of least cost; each group of an image is
    matched to all its objects.

    ``logits`` is ``[N, G * Q, C]``, ``boxes`` ``[N, G * Q, 4]``.
    """
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    device = logits.device
    images: list[int] = []
    queries: list[int] = []
    objects: list[int] = []
    if sum(truths.counts):
        size = logits.shape[1] // groups
        costs = _costs(logits.detach().float(), boxes.detach().float(), truths).cpu()
        # Not a number at any place makes the solver refuse; the loss itself tells the loop of the divergence.
        for image, cost in enumerate(torch.nan_to_num(costs, 1e6, 1e6, -1e6).numpy()):
            first = sum(truths.counts[:image])
            for group in range(groups):
                rows, columns = linear_sum_assignment(
                    cost[group * size : (group + 1) * size, first : first + truths.counts[image]]
                )
                images += [image] * len(rows)
                queries += (rows + group * size).tolist()
                objects += (columns + first).tolist()
    found = torch.tensor([images, queries, objects], dtype=torch.int64, device=device)
    return found[0], found[1], found[2]


def set_loss(
    logits: torch.Tensor, boxes: torch.Tensor, truths: Truths, groups: int
) -> dict[str, torch.Tensor]:
    """Weighted ``class`` and ``box`` loss of one layer's answers, each by the number of objects."""
    images, queries, objects = matches = matched(logits, boxes, truths, groups)
    number = max(1, sum(truths.counts) * groups)
    logits, boxes = logits.float(), boxes.float()
    own, theirs = boxes[images, queries], truths.boxes[objects]
    overlap = iou(corners(own), corners(theirs))
    box = BOX_WEIGHT * (own - theirs).abs().sum() + IOU_WEIGHT * (1 - overlap[1]).sum()
    return {"class": _class_loss(logits, matches, truths, overlap[0]) / number, "box": box / number}


def _class_loss(
    logits: torch.Tensor, matches: Matches, truths: Truths, overlap: torch.Tensor
) -> torch.Tensor:
    images, queries, objects = matches
    score = logits.sigmoid()
    place = (images, queries, truths.labels[objects])
    # The goal is between the score and how well the box fits: what fits badly shall not be called certain.
    goal = score.detach()[place].pow(ALPHA) * overlap.detach().clamp(min=0).pow(1 - ALPHA)
    goal = goal.clamp(min=0.01)
    yes = torch.zeros_like(score).index_put(place, goal)
    no = score.pow(GAMMA).index_put(place, 1 - goal)
    return (yes * functional.softplus(-logits) + no * functional.softplus(logits)).sum()


def _costs(logits: torch.Tensor, boxes: torch.Tensor, truths: Truths) -> torch.Tensor:
    """``[N, G * Q, M]``."""
    score = logits.sigmoid()
    other = (1 - ALPHA) * score.pow(GAMMA) * functional.softplus(logits)
    same = ALPHA * (1 - score).pow(GAMMA) * functional.softplus(-logits)
    of_class = (same - other)[..., truths.labels]
    distance = (boxes[:, :, None] - truths.boxes).abs().sum(-1)
    generalized = iou(corners(boxes)[:, :, None], corners(truths.boxes))[1]
    return CLASS_COST * of_class + BOX_COST * distance - IOU_COST * generalized


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """Left, top, right, bottom of boxes given by centre and size."""
    middle, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([middle - half, middle + half], -1)


def iou(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Intersection over union of boxes by corners, and the generalized one (Rezatofighi and others, 2019)."""
    inner = (
        (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    outer = (
        (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    )
    areas = [(c[..., 2:] - c[..., :2]).clamp(min=0).prod(-1) for c in (a, b)]
    union = areas[0] + areas[1] - inner
    share = inner / union.clamp(min=1e-9)
    return share, share - (outer - union) / outer.clamp(min=1e-9)


def truths_of(boxes: Sequence[torch.Tensor], labels: Sequence[torch.Tensor], size: int) -> Truths:
    """From corners in pixels of an image of ``size`` x ``size``."""
    pixels = torch.cat(list(boxes)).reshape(-1, 4)
    middle = (pixels[:, :2] + pixels[:, 2:]) / (2 * size)
    return Truths(
        torch.cat([middle, (pixels[:, 2:] - pixels[:, :2]) / size], -1),
        torch.cat(list(labels)),
        [len(found) for found in labels],
    )
