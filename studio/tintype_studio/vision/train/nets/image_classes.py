"""Classes for a whole image: the trunk of our detectors, pooled."""

from __future__ import annotations

import torch
from torch import nn

from tintype_studio.vision.train.nets.pyramid import MEAN, SPREAD, Block, Size, Unit


class ImageClasses(nn.Module):
    """Images ``[N, 3, S, S]`` (0 to 255) to logits ``[N, classes]``.

    Pooled by mean and by maximum: what fills the picture shows in the one, what is small in it in the other.
    """

    def __init__(self, size: Size, classes: int, *, multi_label: bool = False) -> None:
        super().__init__()
        self.multi_label = multi_label
        layers: list[nn.Module] = [Unit(3, size.widths[0], 6, 4, padding=1)]
        for index, depth in enumerate(size.depths):
            layers.append(Unit(size.widths[index], size.widths[index + 1], 3, 2))
            layers += [Block(size.widths[index + 1]) for _ in range(depth)]
        self.trunk = nn.Sequential(*layers)
        self.classify = nn.Linear(2 * size.widths[-1], classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits."""
        x = self.trunk((images - MEAN) / SPREAD)
        logits: torch.Tensor = self.classify(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return logits
