"""Masks for a one-stage detector: prototypes of the whole image, mixed by coefficients of each cell.

After YOLACT (Bolya and others, 2019): masks for one small branch and one product. Unlike there, neither
prototypes nor coefficients are bounded: cross entropy and dice keep them so.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from tintype_studio.vision.train.nets.dense_head import DenseHead
from tintype_studio.vision.train.nets.pyramid import Pyramid, Size, Unit, grid

KINDS = 24
"""Prototypes that are learned; one more, 1 everywhere, lets a mask shift its logits."""


class Segmenter(nn.Module):
    """Images ``[N, 3, S, S]`` (0 to 255) to logits ``[N, A, C]``, boxes ``[N, A, 4]`` (pixels), coefficients
    ``[N, A, K]``, prototypes ``[N, K, S / 4, S / 4]``, and the cells' centres and strides.
    """

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(size)
        self.head = DenseHead(size.pyramid, classes, KINDS + 1)
        self.before = Unit(size.pyramid, size.pyramid)
        self.after = Unit(size.pyramid, size.pyramid // 2)
        self.out = nn.Conv2d(size.pyramid // 2, KINDS, 1)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """All cells' answers."""
        levels = self.pyramid(images)
        points, strides = grid([level.shape[2:] for level in levels], images.device)
        logits, boxes, extra = self.head(levels, points, strides)
        x = functional.interpolate(
            self.before(levels[0]), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        maps = self.out(self.after(x))
        prototypes = torch.cat([maps, torch.ones_like(maps[:, :1])], 1)
        return logits, boxes, extra, prototypes, points, strides


class ExportedSegmenter(nn.Module):
    """The segmenter with the outputs of ``tasks.OUTPUTS``."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Boxes, scores, coefficients and prototypes."""
        logits, boxes, coefficients, prototypes, _, _ = self.segmenter(images)
        return boxes, logits.float().sigmoid(), coefficients.float(), prototypes.float()
