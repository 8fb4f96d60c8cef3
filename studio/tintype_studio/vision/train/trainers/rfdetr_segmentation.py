"""Instance segmentation by queries: RF-DETR with masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from tintype_studio.vision.tasks import Signature, Task
from tintype_studio.vision.train.nets.mask_loss import grown_boxes, mask_loss, mask_truths
from tintype_studio.vision.train.nets.pyramid import parameters
from tintype_studio.vision.train.nets.query_loss import query_loss
from tintype_studio.vision.train.nets.rf_detr import OneLevel
from tintype_studio.vision.train.nets.rf_detr_masks import ExportedMasks, RfDetrMasks, random_network
from tintype_studio.vision.train.nets.rf_detr_positions import fit_positions
from tintype_studio.vision.train.nets.set_loss import matched, truths_of
from tintype_studio.vision.train.protocol import Built, Target
from tintype_studio.vision.train.published import open_published
from tintype_studio.vision.train.starting import decayed_groups, slowed, start_from

if TYPE_CHECKING:
    from tintype_studio.vision.train.config import TrainConfig

NAME = "rfdetr_segmentation"
MASK_WEIGHT = 2.0
CLASS_PARTS = ("detector.network.class_embed.", "detector.network.model.enc_out_class_embed.")


class RfDetrSegmentation:
    """The pipeline's ``Trainer``."""

    def signature(
        self, classes: Sequence[str], config: TrainConfig, *, multi_label: bool = False
    ) -> Signature:
        """Each object is given once: no suppression."""
        return Signature(Task.INSTANCES, NAME, tuple(classes), config.image_size)

    def build(self, signature: Signature, config: TrainConfig) -> Built:
        """A small network with a convolutional backbone, from random numbers or one of our models; or the
        published network of a folder or a hub id, with its transformer, whose class heads start at random.
        """
        classes = len(signature.classes)
        if config.pretrained is not None:
            kinds = ("rf_detr",)
            opened = open_published(
                "RfDetrForInstanceSegmentation", kinds, config.pretrained, NAME, num_labels=classes
            )
            if opened is not None:
                module = RfDetrMasks(opened[0], signature.image_size)
                fit_positions(opened[0].model.model.backbone.backbone, module.detector.inner_size)
                return Built(module, opened[1], f"rf-detr-seg ({parameters(module) / 1e6:.1f} M parameters)")
        module = RfDetrMasks(random_network(classes), signature.image_size)
        initialization = start_from(module, signature, config.pretrained, class_parts=CLASS_PARTS)
        size = f"rf-detr-seg with a convolutional backbone ({parameters(module) / 1e6:.2f} M parameters)"
        return Built(module, initialization, size)

    def loss(
        self, module: nn.Module, images: torch.Tensor, targets: Sequence[Target]
    ) -> dict[str, torch.Tensor]:
        """``class``, ``box`` and ``mask`` of queries, and ``places``: of where they start from."""
        network = cast(RfDetrMasks, module)
        answers, prototypes = network(images)
        device, size = images.device, network.detector.image_size
        truths = truths_of(
            [torch.from_numpy(np.asarray(t.boxes, np.float32)).to(device) for t in targets],
            [torch.from_numpy(np.asarray(t.labels, np.int64)).to(device) for t in targets],
            size,
        )
        total = query_loss(answers, truths, targets, size)
        groups = len(answers.place_logits)
        rows, queries, objects = matched(answers.logits[-1], answers.boxes[-1], truths, groups)
        regions = grown_boxes(targets, size)
        masks = mask_loss(
            network.coefficients(answers.queries[-1][rows, queries]),
            prototypes,
            rows,
            torch.from_numpy(regions).to(device)[objects] / size,
            torch.from_numpy(mask_truths(targets, regions)).to(device)[objects],
        )
        return total | {"mask": MASK_WEIGHT * masks.sum() / max(1, len(rows))}

    def exportable(self, module: nn.Module) -> nn.Module:
        """Boxes, scores, coefficients and prototypes of the last layer."""
        return ExportedMasks(cast(RfDetrMasks, module))

    def parameter_groups(self, module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
        """Weight decay for matrices only; published weights move slower, their backbone most so."""
        backbone = cast(RfDetrMasks, module).detector.network.model.backbone.backbone
        groups = decayed_groups(module, config)
        return groups if isinstance(backbone, OneLevel) else slowed(groups, backbone, config)
