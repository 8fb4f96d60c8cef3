"""Options for a cut-out object: the trunk of our detectors, pooled, with one output for each option."""

from __future__ import annotations

import torch
from torch import nn

from tintype_studio.vision.train.nets.pyramid import MEAN, SPREAD, Block, Unit

WIDTHS = (16, 32, 64, 128)
"""Channels at the strides 2, 4, 8 and 16."""
DROP = 0.1


class ObjectOptions(nn.Module):
    """Crops ``[N, 3, S, S]`` (0 to 255) to logits ``[N, outputs]``.

    The first layer halves the size and not more, because an option may be a detail of a small object. Pooled
    by mean and by maximum, as ``ImageClasses`` is.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        first, *rest = WIDTHS
        layers: list[nn.Module] = [Unit(3, first, 4, 2, padding=1)]
        channels = first
        for width in rest:
            layers += [Unit(channels, width, 3, 2), Block(width)]
            channels = width
        self.trunk = nn.Sequential(*layers)
        self.drop = nn.Dropout(DROP)
        self.choose = nn.Linear(2 * channels, outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits."""
        x = self.trunk((images - MEAN) / SPREAD)
        logits: torch.Tensor = self.choose(self.drop(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)))
        return logits


class Exportable(nn.Module):
    """The same with its output in a tuple, as exported networks have it; shares the weights."""

    def __init__(self, network: ObjectOptions) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        """The logits."""
        return (self.network(images),)
