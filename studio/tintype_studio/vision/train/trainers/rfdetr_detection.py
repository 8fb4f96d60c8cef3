"""Detection by queries: RF-DETR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from tintype_studio.vision.tasks import Signature, Task
from tintype_studio.vision.train.nets.pyramid import parameters
from tintype_studio.vision.train.nets.query_loss import query_loss
from tintype_studio.vision.train.nets.rf_detr import ExportedBoxes, OneLevel, RfDetr, random_detector
from tintype_studio.vision.train.nets.rf_detr_positions import fit_positions
from tintype_studio.vision.train.nets.set_loss import truths_of
from tintype_studio.vision.train.protocol import Built, Target
from tintype_studio.vision.train.published import open_published
from tintype_studio.vision.train.starting import decayed_groups, slowed, start_from

if TYPE_CHECKING:
    from tintype_studio.vision.train.config import TrainConfig

NAME = "rfdetr_detection"
CLASS_PARTS = ("network.class_embed.", "network.model.enc_out_class_embed.")
"""What depends on the classes."""


class RfDetrDetection:
    """The pipeline's ``Trainer``."""

    def signature(
        self, classes: Sequence[str], config: TrainConfig, *, multi_label: bool = False
    ) -> Signature:
        """Each object is given once: no suppression."""
        return Signature(Task.DETECTION, NAME, tuple(classes), config.image_size)

    def build(self, signature: Signature, config: TrainConfig) -> Built:
        """A small network with a convolutional backbone, from random numbers or one of our models; or the
        published network of a folder or a hub id, with its transformer, whose class heads start at random.
        """
        classes = len(signature.classes)
        if config.pretrained is not None:
            opened = open_published(
                "RfDetrForObjectDetection", ("rf_detr",), config.pretrained, NAME, num_labels=classes
            )
            if opened is not None:
                module = RfDetr(opened[0], signature.image_size)
                fit_positions(opened[0].model.backbone.backbone, module.inner_size)
                return Built(module, opened[1], f"rf-detr ({parameters(module) / 1e6:.1f} M parameters)")
        module = RfDetr(random_detector(classes), signature.image_size)
        initialization = start_from(module, signature, config.pretrained, class_parts=CLASS_PARTS)
        size = f"rf-detr with a convolutional backbone ({parameters(module) / 1e6:.2f} M parameters)"
        return Built(module, initialization, size)

    def loss(
        self, module: nn.Module, images: torch.Tensor, targets: Sequence[Target]
    ) -> dict[str, torch.Tensor]:
        """``class`` and ``box`` of queries, and ``places``: of where they start from."""
        network = cast(RfDetr, module)
        device, size = images.device, network.image_size
        truths = truths_of(
            [torch.from_numpy(np.asarray(t.boxes, np.float32)).to(device) for t in targets],
            [torch.from_numpy(np.asarray(t.labels, np.int64)).to(device) for t in targets],
            size,
        )
        return query_loss(network(images), truths, targets, size)

    def exportable(self, module: nn.Module) -> nn.Module:
        """Boxes and scores of the last layer."""
        return ExportedBoxes(cast(RfDetr, module))

    def parameter_groups(self, module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
        """Weight decay for matrices only; published weights move slower, their transformer most so."""
        backbone = cast(RfDetr, module).network.model.backbone.backbone
        groups = decayed_groups(module, config)
        return groups if isinstance(backbone, OneLevel) else slowed(groups, backbone, config)
