"""RF-DETR with masks (transformers), its masks split into coefficients and prototypes.

A mask is the product of what a query says and of what each pixel says, as in MaskFormer (Cheng and others,
2021). The modules are those of the library's ``RfDetrForInstanceSegmentation``, so that its published weights
fit; the library multiplies the masks of all queries out, here that is left to whoever needs some of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tintype_studio.vision.train.nets.pyramid import NANO
from tintype_studio.vision.train.nets.rf_detr import Answers, OneLevel, RfDetr, small_config
from tintype_studio.vision.train.nets.set_loss import corners


class RfDetrMasks(nn.Module):
    """The network, from pixels of 0 to 255. ``network`` is an ``RfDetrForInstanceSegmentation``."""

    def __init__(self, network: Any, image_size: int) -> None:
        super().__init__()
        self.detector = RfDetr(network.model, image_size)
        self.pixel_blocks = network.blocks
        self.pixel_projection = network.spatial_features_proj
        self.query_block = network.query_features_block
        self.query_projection = network.query_features_proj
        self.bias = network.segmentation_bias
        self.side = self.detector.inner_size // network.downsample_ratio

    def forward(self, images: torch.Tensor) -> tuple[Answers, torch.Tensor]:
        """``images``: ``[N, 3, S, S]``. The answers, and prototypes ``[N, D + 1, h, w]``."""
        answers: Answers = self.detector(images)
        x = functional.interpolate(
            answers.features, size=(self.side, self.side), mode="bilinear", align_corners=False
        )
        for block in self.pixel_blocks:
            x = block(x)
        maps = self.pixel_projection(x)
        # The one bias of all masks is a prototype that every mask takes once.
        return answers, torch.cat([maps, self.bias.expand_as(maps[:, :1])], 1)

    def coefficients(self, queries: torch.Tensor) -> torch.Tensor:
        """Of queries ``[..., D]``: ``[..., D + 1]``."""
        found = self.query_projection(self.query_block(queries))
        return torch.cat([found, torch.ones_like(found[..., :1])], -1)


class ExportedMasks(nn.Module):
    """The outputs of ``tasks.OUTPUTS`` for instances: the answers of the last layer."""

    def __init__(self, module: RfDetrMasks) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """``boxes [N, Q, 4]``, ``scores [N, Q, C]``, ``coefficients [N, Q, D + 1]`` and ``prototypes
        [N, D + 1, h, w]``.
        """
        answers, prototypes = self.module(images)
        boxes = corners(answers.boxes[-1]).clamp(0, 1) * self.module.detector.image_size
        coefficients = self.module.coefficients(answers.queries[-1])
        return boxes, answers.logits[-1].float().sigmoid(), coefficients.float(), prototypes.float()


def random_network(classes: int) -> Any:
    """A small ``RfDetrForInstanceSegmentation`` of random numbers, with a convolutional backbone."""
    from transformers import RfDetrForInstanceSegmentation

    network: Any = RfDetrForInstanceSegmentation(small_config(classes))
    network.model.model.backbone.backbone = OneLevel(NANO, 0)
    # The library has one for each decoder layer; at a quarter of the image's size no other part costs more.
    network.blocks = network.blocks[:1]
    return network
