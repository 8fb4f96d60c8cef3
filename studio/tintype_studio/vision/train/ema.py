"""The moving average of a network's weights, which is what is validated and kept."""

from __future__ import annotations

import copy

import torch
from torch import nn

LARGEST_DECAY = 0.9998
WARM = 10.0


class Average:
    """Follows a module. The average reaches back over about a tenth of the steps so far, so that it suits
    short and long runs without being told their length.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(requires_grad=False)
        self.updates = 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """After a step of the optimizer."""
        self.updates += 1
        decay = min(LARGEST_DECAY, (1 + self.updates) / (WARM + self.updates))
        mine, theirs = self.module.state_dict(), module.state_dict()
        floats = [name for name, value in mine.items() if value.dtype.is_floating_point]
        torch._foreach_lerp_([mine[n] for n in floats], [theirs[n] for n in floats], 1 - decay)
        for name, value in mine.items():
            if not value.dtype.is_floating_point:
                value.copy_(theirs[name])
