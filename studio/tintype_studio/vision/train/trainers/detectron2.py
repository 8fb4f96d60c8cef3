"""The pipeline ``detectron2``: instance segmentation by our one-stage detector with prototypes of masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tintype_studio.vision.tasks import Signature, Task
from tintype_studio.vision.train.config import TrainConfig
from tintype_studio.vision.train.nets.cell_loss import cell_loss
from tintype_studio.vision.train.nets.mask_loss import grown_boxes, mask_loss, mask_truths
from tintype_studio.vision.train.nets.prototypes import ExportedSegmenter, Segmenter
from tintype_studio.vision.train.nets.pyramid import NANO, parameters
from tintype_studio.vision.train.protocol import Built, Target
from tintype_studio.vision.train.starting import decayed_groups, start_from

NMS_IOU = 0.6
MASK_WEIGHT = 2.0


class Detectron2:
    """Trains ``Segmenter``."""

    def signature(
        self, classes: Sequence[str], config: TrainConfig, *, multi_label: bool = False
    ) -> Signature:
        """Boxes of one class that overlap are one object."""
        return Signature(Task.INSTANCES, "detectron2", tuple(classes), config.image_size, NMS_IOU)

    def build(self, signature: Signature, config: TrainConfig) -> Built:
        """From random weights, or from those of one of our models."""
        segmenter = Segmenter(NANO, len(signature.classes))
        initialization = start_from(segmenter, signature, config.pretrained, class_parts=("head.class_out.",))
        size = f"yolox-{NANO.name} with mask prototypes ({parameters(segmenter) / 1e6:.2f} M parameters)"
        return Built(segmenter, initialization, size)

    def loss(
        self, module: nn.Module, images: torch.Tensor, targets: Sequence[Target]
    ) -> dict[str, torch.Tensor]:
        """``class``, ``box`` and ``mask``."""
        logits, boxes, coefficients, prototypes, points, strides = module(images)
        losses, assigned = cell_loss(logits, boxes, points, strides, targets)
        if assigned is None:
            return losses | {"mask": 0.0 * (coefficients.sum() + prototypes.sum())}
        device, size = images.device, images.shape[-1]
        regions = grown_boxes(targets, size)
        first = torch.tensor([0, *(len(t.labels) for t in targets[:-1])], device=device).cumsum(0)
        objects = first[assigned.image] + assigned.object
        masks = mask_loss(
            coefficients[assigned.image, assigned.cell],
            prototypes,
            assigned.image,
            torch.from_numpy(regions).to(device)[objects] / size,
            torch.from_numpy(mask_truths(targets, regions)).to(device)[objects],
        )
        weight = assigned.quality
        return losses | {"mask": MASK_WEIGHT * (masks * weight).sum() / weight.sum().clamp(min=1.0)}

    def exportable(self, module: nn.Module) -> nn.Module:
        """Boxes, scores, coefficients and prototypes."""
        assert isinstance(module, Segmenter)
        return ExportedSegmenter(module)

    def parameter_groups(self, module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
        """Weight decay for matrices only."""
        return decayed_groups(module, config)
