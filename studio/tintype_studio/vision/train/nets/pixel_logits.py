"""Networks of transformers whose answer is logits, from pixels of 0 to 255."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tintype_studio.vision.sam_weights import HALF, IMAGENET_MEAN, IMAGENET_SPREAD

Colour = tuple[float, float, float]


class PixelLogits(nn.Module):
    """Images ``[N, 3, S, S]``, RGB, 0 to 255, to the network's ``logits``.

    ``mean`` and ``spread`` are of RGB in 0..1. ``side``: the one size that the network takes, in pixels;
    images of another are resized. None: any.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(
        self,
        network: Any,
        mean: Colour = IMAGENET_MEAN,
        spread: Colour = IMAGENET_SPREAD,
        side: int | None = None,
        *,
        multi_label: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.side = side
        self.multi_label = multi_label
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("spread", torch.tensor(spread).view(1, 3, 1, 1) * 255)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits."""
        if self.side is not None and self.side != images.shape[-1]:
            size = (self.side, self.side)
            images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
        logits: torch.Tensor = self.network((images - self.mean) / self.spread).logits
        return logits


class FullPrecision(nn.Module):
    """The module's logits as float32: the one output of ``tasks.OUTPUTS``."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        """``logits``."""
        return (self.module(images).float(),)


def colours_of(pretrained: str, kind: str) -> tuple[Colour, Colour]:
    """Mean and spread that published weights were trained with: as their files say, else as is usual."""
    from transformers.models.auto.image_processing_auto import get_image_processor_config

    usual = (HALF, HALF) if kind == "vit" else (IMAGENET_MEAN, IMAGENET_SPREAD)
    try:
        told = get_image_processor_config(pretrained, local_files_only=True)
        mean, spread = (_colour(told[key]) for key in ("image_mean", "image_std"))
    except (OSError, ValueError, KeyError, TypeError):
        return usual
    return (mean, spread) if min(spread) > 0 else usual


def _colour(told: Any) -> Colour:
    red, green, blue = (float(value) for value in told)
    return red, green, blue
