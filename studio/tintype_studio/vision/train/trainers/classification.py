"""Classification: one class or several for a whole image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional

from tintype_studio.vision.tasks import Signature, Task
from tintype_studio.vision.train.nets.image_classes import ImageClasses
from tintype_studio.vision.train.nets.pixel_logits import FullPrecision, PixelLogits, colours_of
from tintype_studio.vision.train.nets.pyramid import NANO, parameters
from tintype_studio.vision.train.protocol import Built, Target
from tintype_studio.vision.train.published import open_published
from tintype_studio.vision.train.starting import decayed_groups, slowed, start_from

if TYPE_CHECKING:
    from tintype_studio.vision.train.config import TrainConfig

NAME = "classification"
KINDS = ("resnet", "convnext", "convnextv2", "vit")
"""Published models that can be started from, by ``model_type``."""
SMOOTHING = 0.1
"""Share of the certainty that goes to all classes alike, where one class holds."""
CLASS_PARTS = ("classify.",)


class Classification:
    """The pipeline's ``Trainer``."""

    def signature(
        self, classes: Sequence[str], config: TrainConfig, *, multi_label: bool = False
    ) -> Signature:
        """One class for each image, or any number of them."""
        return Signature(Task.CLASSIFICATION, NAME, tuple(classes), config.image_size, None, multi_label)

    def build(self, signature: Signature, config: TrainConfig) -> Built:
        """A small network of convolutions, random or one of our models; or a published one, whose last layer
        starts at random.
        """
        classes, multi = len(signature.classes), signature.multi_label
        if config.pretrained is not None:
            opened = open_published(
                "AutoModelForImageClassification", KINDS, config.pretrained, NAME, num_labels=classes
            )
            if opened is not None:
                network, initialization = opened
                kind = str(network.config.model_type)
                # The other kinds take any size.
                side = int(network.config.image_size) if kind == "vit" else None
                colours = colours_of(config.pretrained, kind)
                published = PixelLogits(network, *colours, side, multi_label=multi)
                size = f"{kind} ({parameters(published) / 1e6:.1f} M parameters)"
                return Built(published, initialization, size)
        module = ImageClasses(NANO, classes, multi_label=multi)
        initialization = start_from(module, signature, config.pretrained, class_parts=CLASS_PARTS)
        size = f"convolutional trunk-{NANO.name} ({parameters(module) / 1e6:.2f} M parameters)"
        return Built(module, initialization, size)

    def loss(
        self, module: nn.Module, images: torch.Tensor, targets: Sequence[Target]
    ) -> dict[str, torch.Tensor]:
        """``class``: cross entropy with label smoothing, or a binary one for each class."""
        network = cast(ImageClasses | PixelLogits, module)
        logits = network(images).float()
        wanted = torch.zeros_like(logits)
        for row, target in enumerate(targets):
            wanted[row, torch.as_tensor(target.labels, dtype=torch.int64)] = 1.0
        if network.multi_label:
            return {"class": functional.binary_cross_entropy_with_logits(logits, wanted)}
        return {"class": functional.cross_entropy(logits, wanted, label_smoothing=SMOOTHING)}

    def exportable(self, module: nn.Module) -> nn.Module:
        """Logits."""
        return FullPrecision(module)

    def parameter_groups(self, module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
        """Weight decay for matrices only; published weights move slower, all but the last layer most so."""
        groups = decayed_groups(module, config)
        return (
            slowed(groups, module.network.base_model, config) if isinstance(module, PixelLogits) else groups
        )
