"""What trainers share: weights to start from, and which parameters decay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tintype_studio.vision.tasks import Signature
from tintype_studio.vision.train.checkpoint import WEIGHTS_FORMAT
from tintype_studio.vision.train.config import TrainConfig
from tintype_studio.vision.train.weights import needs_weights

__all__ = ["decayed_groups", "needs_weights", "slowed", "start_from"]

LEAST_SHARE = 0.5
"""Of the numbers in a module, that given weights must fill."""


def start_from(
    module: nn.Module, signature: Signature, pretrained: str | None, *, class_parts: Sequence[str] = ()
) -> str:
    """Fill a module with the weights of one of our models, if any are named; returns the initialization.

    ``pretrained`` is the weights file of a finished model (``download_model``, format checkpoint) or a folder
    with one. What depends on the classes (``class_parts``: prefixes of names) is taken only where the
    classes are the same; what differs in shape stays random.

    Raises ``Unavailable`` (``needs_weights``).
    """
    if pretrained is None:
        return "random"
    path = _file(pretrained, signature.pipeline)
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        state, source = kept["state_dict"], Signature.from_json(kept["signature"])
        if kept["format"] != WEIGHTS_FORMAT:
            raise KeyError("format")
    except Exception as error:
        raise needs_weights(
            f"{path.name} is no weights file of a Tintype model.", signature.pipeline
        ) from error
    if source.pipeline != signature.pipeline:
        raise needs_weights(
            f"{path.name} is a model of the pipeline {source.pipeline}, not {signature.pipeline}.",
            signature.pipeline,
        )
    same = source.classes == signature.classes
    wanted = module.state_dict()
    taken = {
        name: value
        for name, value in state.items()
        if name in wanted
        and wanted[name].shape == value.shape
        and (same or not name.startswith(tuple(class_parts)))
    }
    filled = sum(v.numel() for v in taken.values())
    if filled < LEAST_SHARE * sum(v.numel() for v in wanted.values()):
        raise needs_weights(f"The weights in {path.name} do not fit this network.", signature.pipeline)
    module.load_state_dict(taken, strict=False)
    left = len(wanted) - len(taken)
    why = "" if same else ", whose classes differ"
    rest = f"; {left} of {len(wanted)} tensors start at random{why}" if left else ""
    return f"pretrained: {path.name} ({', '.join(source.classes[:5])}){rest}"


def _file(pretrained: str, pipeline: str) -> Path:
    path = Path(pretrained).expanduser()
    if path.is_file():
        return path
    found = sorted(path.glob("*.pt")) if path.is_dir() else []
    if len(found) == 1:
        return found[0]
    if found:
        raise needs_weights(f"The folder {path.name} holds {len(found)} weights files (*.pt).", pipeline)
    what = "holds no weights file (*.pt)" if path.is_dir() else "is neither a file nor a folder here"
    raise needs_weights(f"{pretrained[:100]!r} {what}.", pipeline)


def decayed_groups(module: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels; none for biases, norms and single numbers."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


PUBLISHED_RATE, BACKBONE_RATE = 0.25, 0.05
"""Shares of the learning rate for published weights, and for their backbone: it must not forget."""


def slowed(groups: list[dict[str, Any]], backbone: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """The groups of ``decayed_groups`` with smaller rates, the smallest for the backbone."""
    slow = {id(p) for p in backbone.parameters()}
    return [
        {
            **group,
            "params": [p for p in group["params"] if (id(p) in slow) is inside],
            "lr": share * config.learning_rate,
        }
        for group in groups
        for share, inside in ((BACKBONE_RATE, True), (PUBLISHED_RATE, False))
    ]
