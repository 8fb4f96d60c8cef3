"""What a trainer of one pipeline offers; the rest of training (``loop``, ``session``) is the same for all.

A trainer holds no state of a run: the loop owns module, optimizer, EMA, clock, checkpoint and random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from tintype_studio.vision.tasks import Signature
    from tintype_studio.vision.train.config import TrainConfig


@dataclass(frozen=True, slots=True)
class Target:
    """What is true of one letterboxed, perhaps augmented image; coordinates in its pixels."""

    boxes: NDArray[np.float32]
    """``[M, 4]``: left, top, right, bottom."""
    labels: NDArray[np.int64]
    """``[M]``: index of the class. For classification: the image's classes; nothing else is set."""
    polygons: Sequence[Sequence[NDArray[np.float32]]] = field(default=())
    """For each object its rings ``[P, 2]`` (even-odd fill); a box without a polygon has its four corners.
    Only for tasks with masks; ``augment.rasterize`` draws them.
    """


@dataclass(frozen=True, slots=True)
class Built:
    """A module and where its weights come from."""

    module: torch.nn.Module
    initialization: str
    """For the model's card: ``random`` or ``pretrained: <name>``, and what was left out of it."""
    architecture: str
    """Name and size, such as ``yolox-nano (0.9 M parameters)``."""


class Trainer(Protocol):
    """One pipeline. Made without arguments; importing its module may load torch and transformers."""

    def signature(
        self, classes: Sequence[str], config: TrainConfig, *, multi_label: bool = False
    ) -> Signature:
        """What the model will be."""
        ...

    def build(self, signature: Signature, config: TrainConfig) -> Built:
        """A module to be trained, on the CPU: from random numbers (seeded by the caller), or from
        ``config.pretrained`` (a local folder or a hub name).

        Raises ``Unavailable`` (``needs_weights``) when the named weights are not there or do not fit.
        """
        ...

    def loss(
        self, module: torch.nn.Module, images: torch.Tensor, targets: Sequence[Target]
    ) -> dict[str, torch.Tensor]:
        """Losses of a batch by name, to be added up. ``images``: ``[N, 3, S, S]`` float, RGB, 0 to 255, on
        the module's device; under autocast where the loop wants it.
        """
        ...

    def exportable(self, module: torch.nn.Module) -> torch.nn.Module:
        """The module with the inputs and outputs of ``tasks.OUTPUTS`` (a tuple), for evaluation and ONNX; it
        shares the weights.
        """
        ...

    def parameter_groups(self, module: torch.nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
        """For AdamW: ``params``, and ``lr`` or ``weight_decay`` where they differ from the configuration."""
        ...
