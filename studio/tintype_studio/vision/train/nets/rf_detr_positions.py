"""Position embeddings of RF-DETR's transformer, brought once to the size that a network works at.

The library interpolates them at every call while a network is traced, by a bicubic filter with antialiasing
that ONNX exporters do not know. A trained model has one size, so it is done beforehand, and they go on being
learned there.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import nn


def fit_positions(backbone: Any, side: int) -> None:
    """Make a ``RfDetrDinov2Backbone`` take inputs of ``side`` x ``side`` pixels, and no others."""
    embeddings = backbone.embeddings
    cells = (side // embeddings.patch_size) ** 2
    if embeddings.position_embeddings.shape[1] != cells + 1:
        width = embeddings.position_embeddings.shape[-1]
        with torch.no_grad():
            fitted = embeddings.interpolate_pos_encoding(torch.zeros(1, cells + 1, width), side, side)
        embeddings.position_embeddings = nn.Parameter(fitted.clone())
    # A bound method, because copies of the network (the moving average) then use their own embeddings.
    embeddings.interpolate_pos_encoding = MethodType(_as_they_are, embeddings)


def _as_they_are(embeddings: Any, hidden: torch.Tensor, height: int, width: int) -> torch.Tensor:
    found: torch.Tensor = embeddings.position_embeddings
    return found
