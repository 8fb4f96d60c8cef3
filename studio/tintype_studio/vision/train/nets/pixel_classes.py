"""A class for each pixel: the trunk and pyramid of our detectors with one finer level on top.

After the semantic branch of Panoptic FPN (Kirillov and others, 2019): all levels are brought to a quarter of
the image's size and added up.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from tintype_studio.vision.train.nets.pyramid import MEAN, SPREAD, STRIDES, Pyramid, Size, Unit

FINEST = 4
"""Pixels of the image per cell of the logits."""


class PixelClasses(nn.Module):
    """Images ``[N, 3, S, S]`` (0 to 255) to logits ``[N, classes + 1, S / 4, S / 4]``."""

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(size)
        self.fine = Unit(size.widths[0], size.pyramid, 1)
        self.smooth = nn.ModuleList(Unit(size.pyramid, size.pyramid) for _ in range(2))
        self.classify = nn.Conv2d(size.pyramid, classes + 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits."""
        first = self.pyramid.stem((images - MEAN) / SPREAD)
        levels = self.pyramid.levels(first)
        x = self.fine(first)
        for stride, level in zip(STRIDES, levels, strict=True):
            # By a factor, which is a constant of the exported graph: ONNX Runtime then enlarges in the
            # blocked layout of its convolutions.
            factor = float(stride // FINEST)
            x = x + functional.interpolate(level, scale_factor=factor, mode="bilinear", align_corners=False)
        for unit in self.smooth:
            x = unit(x)
        logits: torch.Tensor = self.classify(x)
        return logits
