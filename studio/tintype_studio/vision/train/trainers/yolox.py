"""The pipeline ``yolox``: an anchor-free detector of our own with a decoupled head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tintype_studio.vision.tasks import Signature, Task
from tintype_studio.vision.train.config import TrainConfig
from tintype_studio.vision.train.nets.cell_loss import cell_loss
from tintype_studio.vision.train.nets.dense_head import DenseHead
from tintype_studio.vision.train.nets.pyramid import NANO, Pyramid, Size, grid, parameters
from tintype_studio.vision.train.protocol import Built, Target
from tintype_studio.vision.train.starting import decayed_groups, start_from

NMS_IOU = 0.6


class Detector(nn.Module):
    """Images ``[N, 3, S, S]`` (0 to 255) to logits ``[N, A, C]``, boxes ``[N, A, 4]``, centres, strides."""

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(size)
        self.head = DenseHead(size.pyramid, classes)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """All cells' answers."""
        levels = self.pyramid(images)
        points, strides = grid([level.shape[2:] for level in levels], images.device)
        logits, boxes, _ = self.head(levels, points, strides)
        return logits, boxes, points, strides


class Exportable(nn.Module):
    """The detector with the outputs of ``tasks.OUTPUTS``."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``boxes [N, A, 4]`` and ``scores [N, A, C]``."""
        logits, boxes, _, _ = self.detector(images)
        return boxes, logits.float().sigmoid()


class Yolox:
    """Trains ``Detector``."""

    def signature(
        self, classes: Sequence[str], config: TrainConfig, *, multi_label: bool = False
    ) -> Signature:
        """A detector of the configuration's image size."""
        return Signature(Task.DETECTION, "yolox", tuple(classes), config.image_size, NMS_IOU)

    def build(self, signature: Signature, config: TrainConfig) -> Built:
        """From random weights, or from those of one of our models."""
        detector = Detector(NANO, len(signature.classes))
        initialization = start_from(detector, signature, config.pretrained, class_parts=("head.class_out",))
        size = f"yolox-{NANO.name} ({parameters(detector) / 1e6:.2f} M parameters)"
        return Built(detector, initialization, size)

    def loss(
        self, module: nn.Module, images: torch.Tensor, targets: Sequence[Target]
    ) -> dict[str, torch.Tensor]:
        """``class`` and ``box``."""
        logits, boxes, points, strides = module(images)
        return cell_loss(logits, boxes, points, strides, targets)[0]

    def exportable(self, module: nn.Module) -> nn.Module:
        """Boxes and scores."""
        assert isinstance(module, Detector)
        return Exportable(module)

    def parameter_groups(self, module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
        """Weight decay for matrices only."""
        return decayed_groups(module, config)
