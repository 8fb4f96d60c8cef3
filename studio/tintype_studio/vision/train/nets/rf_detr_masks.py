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
        answers, pixels = self.answers(images)
        maps = self.pixel_projection(pixels)
        # The one bias of all masks is a prototype that every mask takes once.
        return answers, torch.cat([maps, self.bias.expand_as(maps[:, :1])], 1)

    def answers(self, images: torch.Tensor) -> tuple[Answers, torch.Tensor]:
        """The answers, and what each pixel says before it is projected: ``[N, D, h, w]``."""
        answers: Answers = self.detector(images)
        x = _enlarged(answers.features, self.side)
        for block in self.pixel_blocks:
            x = block(x)
        return answers, x

    def coefficients(self, queries: torch.Tensor) -> torch.Tensor:
        """Of queries ``[..., D]``: ``[..., D + 1]``."""
        found = self.query_projection(self.query_block(queries))
        return torch.cat([found, torch.ones_like(found[..., :1])], -1)

    def unprojected(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Of ``coefficients``, those that make the same masks of pixels that are not projected, and of ones.

        The projection is linear, so it may as well be done to a few queries as to all pixels.
        """
        weight = self.pixel_projection.weight.flatten(1)
        bias = self.pixel_projection.bias
        found, once = coefficients[..., :-1], coefficients[..., -1:]
        return torch.cat([found @ weight, (found * bias).sum(-1, keepdim=True) + once * self.bias], -1)


class ExportedMasks(nn.Module):
    """The outputs of ``tasks.OUTPUTS`` for instances: the answers of the last layer."""

    def __init__(self, module: RfDetrMasks) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """``boxes [N, Q, 4]``, ``scores [N, Q, C]``, ``coefficients [N, Q, D + 1]`` and ``prototypes
        [N, D + 1, h, w]``.
        """
        answers, pixels = self.module.answers(images)
        boxes = corners(answers.boxes[-1]).clamp(0, 1) * self.module.detector.image_size
        coefficients = self.module.unprojected(self.module.coefficients(answers.queries[-1]))
        prototypes = torch.cat([pixels, torch.ones_like(pixels[:, :1])], 1)
        return boxes, answers.logits[-1].float().sigmoid(), coefficients.float(), prototypes.float()


def _enlarged(features: torch.Tensor, side: int) -> torch.Tensor:
    """``[N, D, side, side]``; by a whole factor, where there is one (``PixelClasses`` says why)."""
    have = int(features.shape[-1])
    if side % have == 0:
        return functional.interpolate(
            features, scale_factor=float(side // have), mode="bilinear", align_corners=False
        )
    return functional.interpolate(features, size=(side, side), mode="bilinear", align_corners=False)


def random_network(classes: int) -> Any:
    """A small ``RfDetrForInstanceSegmentation`` of random numbers, with a convolutional backbone."""
    from transformers import RfDetrForInstanceSegmentation

    network: Any = RfDetrForInstanceSegmentation(small_config(classes))
    network.model.model.backbone.backbone = OneLevel(NANO, 0)
    # The library has one for each decoder layer; at a quarter of the image's size no other part costs more.
    network.blocks = network.blocks[:1]
    return network
