"""Loss of masks given as coefficients and prototypes, on a grid of points over each object's box.

The grid has the same number of points for small and large objects, and the logits between the pixels of the
prototypes are interpolated, as they are when a mask is drawn at the picture's size. Outside its box a mask
is cut off in any case, so nothing has to be learned there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tintype_studio.vision.train.protocol import Target

POINTS = 40
"""Of the grid, along each side."""
MARGIN = 0.1
"""Share of its size by which a box is grown on each side: boxes found may be larger than true ones."""
MARGIN_PIXELS = 2.0
FINER = 2
"""Of the drawing from which a point's share of the object is taken."""


def grown_boxes(targets: Sequence[Target], size: int) -> NDArray[np.float32]:
    """``[M, 4]``: the regions of the objects' grids, in pixels of the input of ``size``."""
    import numpy as np

    boxes = np.concatenate([np.reshape(t.boxes, (-1, 4)) for t in targets]).astype(np.float32)
    margin = np.tile((boxes[:, 2:] - boxes[:, :2]) * MARGIN + MARGIN_PIXELS, 2)
    margin[:, :2] *= -1
    # Outside the image there are no logits, only those of its edge once more.
    return np.asarray(np.clip(boxes + margin, 0, size), np.float32)


def mask_truths(targets: Sequence[Target], regions: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[M, POINTS, POINTS]``, 0 to 1: how much of each point's cell the object covers (even-odd fill)."""
    import numpy as np

    from tintype_studio.vision.train.augment import fill

    side = POINTS * FINER
    drawn = np.zeros((len(regions), side, side), np.uint8)
    shapes = [rings for t in targets for rings in (t.polygons or [[_corners(box)] for box in t.boxes])]
    for canvas, rings, (left, top, right, bottom) in zip(drawn, shapes, regions, strict=True):
        scale = np.array((side / (right - left), side / (bottom - top)), np.float32)
        fill(canvas, [(ring - (left, top)) * scale for ring in rings], 255)
    cells = drawn.reshape(len(drawn), POINTS, FINER, POINTS, FINER)
    return np.asarray(cells.mean((2, 4)) / 255, np.float32)


def mask_loss(
    coefficients: torch.Tensor,
    prototypes: torch.Tensor,
    images: torch.Tensor,
    regions: torch.Tensor,
    truths: torch.Tensor,
) -> torch.Tensor:
    """Cross entropy plus dice loss of each mask: ``[P]``.

    ``coefficients`` is ``[P, K]``, ``prototypes`` ``[N, K, h, w]``, ``images`` ``[P]`` says of which image
    each is; ``regions`` is ``[P, 4]`` in shares of the image, ``truths`` ``[P, POINTS, POINTS]``.
    """
    if not len(coefficients):
        return coefficients.sum(-1)
    height, width = prototypes.shape[-2:]
    # One product for each image: prototypes are large, so they are not repeated for each of its objects.
    order = torch.argsort(images, stable=True)
    parts = coefficients[order].split(torch.bincount(images, minlength=len(prototypes)).tolist())
    products = [part @ maps.flatten(1) for part, maps in zip(parts, prototypes, strict=True) if len(part)]
    logits = torch.cat(products)[torch.argsort(order)].float().view(-1, 1, height, width)
    seen = functional.grid_sample(logits, _grids(regions), padding_mode="border", align_corners=False)
    seen, truth = seen[:, 0].flatten(1), truths.flatten(1)
    entropy = functional.binary_cross_entropy_with_logits(seen, truth, reduction="none").mean(-1)
    share = seen.sigmoid()
    dice = 1 - (2 * (share * truth).sum(-1) + 1) / (share.sum(-1) + truth.sum(-1) + 1)
    return entropy + dice


def _grids(regions: torch.Tensor) -> torch.Tensor:
    """The points of each region's grid, ``[P, POINTS, POINTS, 2]``, -1 to 1 over the image."""
    steps = (torch.arange(POINTS, device=regions.device, dtype=torch.float32) + 0.5) / POINTS
    size = regions[:, 2:] - regions[:, :2]
    x = regions[:, None, 0] + steps * size[:, None, 0]
    y = regions[:, None, 1] + steps * size[:, None, 1]
    shape = (len(regions), POINTS, POINTS)
    return torch.stack([x[:, None, :].expand(shape), y[:, :, None].expand(shape)], -1) * 2 - 1


def _corners(box: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    left, top, right, bottom = box
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
