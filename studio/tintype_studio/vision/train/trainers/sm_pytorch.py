"""Semantic segmentation: a class for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tintype_studio.vision.tasks import Signature, Task
from tintype_studio.vision.train.augment import regions
from tintype_studio.vision.train.nets.pixel_classes import PixelClasses
from tintype_studio.vision.train.nets.pixel_logits import FullPrecision, PixelLogits, colours_of
from tintype_studio.vision.train.nets.pyramid import NANO, parameters
from tintype_studio.vision.train.protocol import Built, Target
from tintype_studio.vision.train.published import open_published
from tintype_studio.vision.train.starting import decayed_groups, slowed, start_from

if TYPE_CHECKING:
    from tintype_studio.vision.train.config import TrainConfig

NAME = "sm_pytorch"
STRIDE = 2
"""Pixels of the image per point that is compared: borders between the logits' cells count."""
OVERLAP_WEIGHT = 1.0


class SmPytorch:
    """The pipeline's ``Trainer``."""

    def signature(
        self, classes: Sequence[str], config: TrainConfig, *, multi_label: bool = False
    ) -> Signature:
        """A class for each pixel."""
        return Signature(Task.SEMANTIC, NAME, tuple(classes), config.image_size)

    def build(self, signature: Signature, config: TrainConfig) -> Built:
        """A small network of convolutions, random or one of our models; or a published SegFormer."""
        classes = len(signature.classes)
        if config.pretrained is not None:
            opened = open_published(
                "SegformerForSemanticSegmentation",
                ("segformer",),
                config.pretrained,
                NAME,
                num_labels=classes + 1,
            )
            if opened is not None:
                published = PixelLogits(opened[0], *colours_of(config.pretrained, "segformer"))
                return Built(
                    published, opened[1], f"segformer ({parameters(published) / 1e6:.1f} M parameters)"
                )
        module = PixelClasses(NANO, classes)
        initialization = start_from(module, signature, config.pretrained, class_parts=("classify.",))
        size = f"convolutional pyramid-{NANO.name} ({parameters(module) / 1e6:.2f} M parameters)"
        return Built(module, initialization, size)

    def loss(
        self, module: nn.Module, images: torch.Tensor, targets: Sequence[Target]
    ) -> dict[str, torch.Tensor]:
        """``pixel``: cross entropy; ``overlap``: 1 - Dice, mean over the classes that are there."""
        size = images.shape[-1]
        true = torch.from_numpy(np.stack([regions(t, size, stride=STRIDE) for t in targets])).to(
            images.device
        )
        logits = functional.interpolate(
            module(images).float(), size=true.shape[-2:], mode="bilinear", align_corners=False
        )
        return {
            "pixel": functional.cross_entropy(logits, true),
            "overlap": OVERLAP_WEIGHT * _overlap_loss(logits, true),
        }

    def exportable(self, module: nn.Module) -> nn.Module:
        """Logits at a quarter of the image's size."""
        return FullPrecision(module)

    def parameter_groups(self, module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
        """Weight decay for matrices only; published weights move slower, their encoder most so."""
        groups = decayed_groups(module, config)
        return slowed(groups, module.network.segformer, config) if isinstance(module, PixelLogits) else groups


def _overlap_loss(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Over all pixels of the batch (Milletari and others, V-Net, 2016), so that small objects count as much
    as the background; classes that no pixel has are left to the cross entropy.
    """
    chance = logits.softmax(1)
    wanted = functional.one_hot(true, logits.shape[1]).permute(0, 3, 1, 2).to(chance.dtype)
    both = (chance * wanted).sum((0, 2, 3))
    there = wanted.sum((0, 2, 3))
    dice = (2 * both + 1) / (chance.sum((0, 2, 3)) + there + 1)
    return 1 - dice[there > 0].mean()
