"""A decoupled head without anchors: class scores and a box from every cell of a feature pyramid.

After YOLOX (Ge and others, 2021), without its objectness: as in TOOD (Feng and others, 2021) the class score
itself learns how well its box fits. The convolutions are shared by the levels, as in RetinaNet: fewer weights
learn from all objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tintype_studio.vision.train.nets.pyramid import STRIDES, bias_for

PRIOR = 0.01
"""Score of every cell before anything is learned."""

REACH = 2.0
"""Distance from a cell to each side of its box before anything is learned, in strides."""

LARGEST_EXPONENT = 6.0


NORM_GROUPS = 8


def tower(channels: int) -> nn.Sequential:
    """A unit for all levels of a pyramid. Its norm looks at one image and level alone: statistics of levels
    differ, and a shared batch norm mixes them as soon as it no longer trains.
    """
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
        nn.GroupNorm(NORM_GROUPS, channels),
        nn.SiLU(inplace=True),
    )


class DenseHead(nn.Module):
    """Levels ``[N, channels, h, w]`` to logits ``[N, A, classes]`` and boxes ``[N, A, 4]``.

    ``extra`` more values come from each cell as a third output, ``[N, A, extra]`` (none: of width 0).
    """

    def __init__(self, channels: int, classes: int, extra: int = 0) -> None:
        super().__init__()
        self.classes, self.extra = classes, extra
        self.class_tower = tower(channels)
        self.box_tower = tower(channels)
        self.class_out = nn.Conv2d(channels, classes, 1)
        self.box_out = nn.Conv2d(channels, 4 + extra, 1)
        self.reach = nn.Parameter(torch.full((len(STRIDES),), REACH).log())
        nn.init.constant_(self.class_out.bias, bias_for(PRIOR))
        nn.init.normal_(self.class_out.weight, std=0.01)
        nn.init.normal_(self.box_out.weight, std=0.01)
        nn.init.zeros_(self.box_out.bias)

    def forward(
        self, levels: Sequence[torch.Tensor], points: torch.Tensor, strides: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """``points`` and ``strides`` as ``pyramid.grid`` gives them; boxes are left, top, right, bottom in
        pixels of the image.
        """
        logits, sides, extras = [], [], []
        for index, level in enumerate(levels):
            logits.append(self.class_out(self.class_tower(level)).flatten(2))
            values = self.box_out(self.box_tower(level)).flatten(2)
            sides.append(values[:, :4] + self.reach[index])
            extras.append(values[:, 4:])
        distances = torch.cat(sides, 2).transpose(1, 2).float().clamp(max=LARGEST_EXPONENT).exp()
        distances = distances * strides[:, None]
        boxes = torch.cat((points - distances[..., :2], points + distances[..., 2:]), -1)
        return torch.cat(logits, 2).transpose(1, 2), boxes, torch.cat(extras, 2).transpose(1, 2)
