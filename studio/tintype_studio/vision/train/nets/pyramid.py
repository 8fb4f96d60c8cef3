"""A convolutional trunk with a feature pyramid, made to learn from random weights on few cores.

Plain convolutions, because depth-wise ones are slow on CPUs; a quarter of the size from the second layer on,
because activations at full size cost the most memory traffic; channels grow with the stride.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

MOMENTUM, EPSILON = 0.1, 1e-3
STRIDES = (8, 16, 32)
"""Pixels of the image per cell of each level."""

MEAN, SPREAD = 114.0, 58.0
"""Pixels are normalised by them, so that the letterbox's grey is 0."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a network is."""

    name: str
    widths: tuple[int, int, int, int]
    """Channels at the strides 4, 8, 16 and 32."""
    depths: tuple[int, int, int]
    """Residual blocks at the strides 8, 16 and 32."""
    pyramid: int
    """Channels of each level of the pyramid."""


NANO = Size("nano", (32, 48, 96, 128), (1, 1, 1), 48)
SMALL = Size("small", (32, 96, 192, 320), (2, 3, 2), 96)


class Unit(nn.Sequential):
    """Convolution without bias, batch normalisation, activation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int | None = None
    ) -> None:
        super().__init__(
            nn.Conv2d(
                inputs, outputs, kernel, stride, kernel // 2 if padding is None else padding, bias=False
            ),
            nn.BatchNorm2d(outputs, EPSILON, MOMENTUM),
            nn.ReLU(inplace=True),
        )


class Block(nn.Module):
    """A residual bottleneck: 1 x 1 to half the channels, 3 x 3 back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = Unit(channels, channels // 2, 1)
        self.wide = Unit(channels // 2, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, channels, h, w]``, the same back."""
        return x + self.wide(self.narrow(x))


class Pooling(nn.Module):
    """Spatial pyramid pooling by chained 5 x 5 maxima: context for the coarsest level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = Unit(channels, channels // 2, 1)
        self.join = Unit(channels * 2, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, channels, h, w]``, the same back."""
        parts = [self.narrow(x)]
        for _ in range(3):
            parts.append(functional.max_pool2d(parts[-1], 5, 1, 2))
        return self.join(torch.cat(parts, 1))


class Pyramid(nn.Module):
    """Images ``[N, 3, S, S]`` (0 to 255) to features ``[N, size.pyramid, S / stride, S / stride]``, one
    tensor for each of ``STRIDES``; finer levels also see the coarser ones.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        first, *rest = size.widths
        self.stem = Unit(3, first, 6, 4, padding=1)
        stages, channels = [], first
        for index, (width, depth) in enumerate(zip(rest, size.depths, strict=True)):
            layers: list[nn.Module] = [Unit(channels, width, 3, 2)]
            layers += [Block(width) for _ in range(depth)]
            if index == len(rest) - 1:
                layers.append(Pooling(width))
            stages.append(nn.Sequential(*layers))
            channels = width
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(Unit(width, size.pyramid, 1) for width in rest)
        self.smooth = nn.ModuleList(Unit(size.pyramid, size.pyramid) for _ in rest[:-1])
        self.apply(_start)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The levels, finest first."""
        return self.levels(self.stem((images - MEAN) / SPREAD))

    def levels(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The same, of what the stem made, at a quarter of the image's size."""
        levels = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        for index in range(len(levels) - 2, -1, -1):
            above = functional.interpolate(levels[index + 1], scale_factor=2.0, mode="nearest")
            levels[index] = self.smooth[index](levels[index] + above)
        return levels


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def parameters(module: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in module.parameters())


def bias_for(chance: float) -> float:
    """The logit of a probability: what an output starts with, so that it starts at ``chance``."""
    return math.log(chance / (1 - chance))


def grid(
    shapes: Sequence[Sequence[int]], device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres ``[A, 2]`` (x, y in pixels of the image) and strides ``[A]`` of all cells, level after level.

    ``shapes``: height and width of each level of ``STRIDES``.
    """
    points, strides = [], []
    for stride, (height, width) in zip(STRIDES, shapes, strict=True):
        ys = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * stride
        xs = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * stride
        y, x = torch.meshgrid(ys, xs, indexing="ij")
        points.append(torch.stack((x.flatten(), y.flatten()), 1))
        strides.append(torch.full((height * width,), float(stride), device=device))
    return torch.cat(points), torch.cat(strides)
