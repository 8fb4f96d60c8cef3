"""Masks to learn and their loss."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from tintype_studio.vision.train.nets.mask_loss import (  # noqa: E402
    POINTS,
    grown_boxes,
    mask_loss,
    mask_truths,
)
from tintype_studio.vision.train.protocol import Target  # noqa: E402


def ring(left, top, right, bottom):
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)


def target(*objects, polygons=True):
    boxes = np.array([[*o[0].min(0), *o[0].max(0)] for o in objects], np.float32).reshape(-1, 4)
    return Target(boxes, np.zeros(len(objects), np.int64), list(objects) if polygons else ())


def covered(truth, region):
    """Area of a drawn mask, in pixels."""
    left, top, right, bottom = region
    return float(truth.mean() * (right - left) * (bottom - top))


def test_a_mask_covers_what_its_polygon_covers_and_holes_stay_open():
    whole = [ring(10, 20, 50, 44)]
    holed = [ring(10, 20, 50, 44), ring(20, 24, 40, 40)]
    targets = [target(whole, holed)]
    regions = grown_boxes(targets, 64)
    truths = mask_truths(targets, regions)
    assert truths.shape == (2, POINTS, POINTS)
    assert covered(truths[0], regions[0]) == pytest.approx(40 * 24, rel=0.05)
    assert covered(truths[1], regions[1]) == pytest.approx(40 * 24 - 20 * 16, rel=0.08)
    assert truths[0, POINTS // 2, POINTS // 2] == 1
    assert truths[1, POINTS // 2, POINTS // 2] == 0
    assert truths[:, 0].max() == 0, "around the box there is room"


def test_a_box_without_polygons_is_its_own_mask_and_a_lost_polygon_is_empty():
    plain = [target([ring(4, 4, 20, 12)], polygons=False)]
    regions = grown_boxes(plain, 64)
    assert covered(mask_truths(plain, regions)[0], regions[0]) == pytest.approx(128, rel=0.1)
    cut = [Target(np.array([[4, 4, 20, 12]], np.float32), np.zeros(1, np.int64), [[]])]
    assert mask_truths(cut, grown_boxes(cut, 64)).max() == 0


def test_no_object_is_no_mask():
    empty = [target(), target()]
    regions = grown_boxes(empty, 64)
    assert regions.shape == (0, 4)
    assert mask_truths(empty, regions).shape == (0, POINTS, POINTS)
    none = torch.zeros(0, dtype=torch.int64)
    lost = mask_loss(
        torch.zeros(0, 3), torch.zeros(2, 3, 8, 8), none, torch.zeros(0, 4), torch.zeros(0, POINTS, POINTS)
    )
    assert lost.shape == (0,)


def test_the_right_mask_of_the_right_image_costs_least_in_the_order_given():
    """Prototype 0 is the left half, 1 the right half; image 1 has them the other way round."""
    size, side = 64, 16
    left = torch.full((side, side), -9.0)
    left[:, : side // 2] = 9.0
    prototypes = torch.stack([torch.stack([left, -left]), torch.stack([-left, left])])
    targets = [target([ring(0, 0, 32, 64)]), target([ring(0, 0, 32, 64)])]
    regions = grown_boxes(targets, 64)
    truths = torch.from_numpy(mask_truths(targets, regions))
    areas = torch.from_numpy(regions) / size
    # Images out of order: each loss must come back at its own place.
    images = torch.tensor([1, 0, 1, 0])
    chosen = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    losses = mask_loss(chosen, prototypes, images, areas[images], truths[images])
    assert losses[:2].max() < 0.6
    assert losses[2:].min() > 3


def test_the_loss_leads_to_the_mask():
    """Descent on coefficients and prototypes alone draws a ring with its hole."""
    torch.manual_seed(0)
    targets = [target([ring(8, 8, 56, 56), ring(20, 20, 44, 44)])]
    regions = grown_boxes(targets, 64)
    truths, areas = torch.from_numpy(mask_truths(targets, regions)), torch.from_numpy(regions) / 64
    coefficients = torch.randn(1, 4, requires_grad=True)
    prototypes = torch.randn(1, 4, 16, 16, requires_grad=True)
    optimizer = torch.optim.Adam([coefficients, prototypes], 0.1)
    for _ in range(120):
        loss = mask_loss(coefficients, prototypes, torch.zeros(1, dtype=torch.int64), areas, truths).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    drawn = (coefficients @ prototypes[0].flatten(1)).view(16, 16).detach().numpy() > 0
    wanted = np.zeros((16, 16), bool)
    wanted[2:14, 2:14] = True
    wanted[5:11, 5:11] = False
    assert (drawn & wanted).sum() / (drawn | wanted).sum() > 0.9
