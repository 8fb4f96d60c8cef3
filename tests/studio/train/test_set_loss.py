"""Matching and loss of detectors by queries."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("scipy", reason="the extra 'train' is not installed")

from tintype_studio.vision.train.nets.set_loss import (  # noqa: E402
    _costs,
    corners,
    iou,
    matched,
    set_loss,
    truths_of,
)

SIZE = 100


def truths(*images):
    """Of boxes by corners in pixels and labels, image by image."""
    boxes = [torch.tensor([b for b, _ in image], dtype=torch.float32).reshape(-1, 4) for image in images]
    labels = [torch.tensor([label for _, label in image], dtype=torch.int64) for image in images]
    return truths_of(boxes, labels, SIZE)


TRUTHS = truths([((10, 10, 30, 50), 0), ((60, 20, 90, 40), 1)], [], [((40, 40, 60, 60), 1)])


def answers(queries=6, classes=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, queries, classes, generator=generator)
    return logits, torch.rand(3, queries, 4, generator=generator) * 0.4 + 0.2


def test_no_other_pairs_would_cost_less():
    logits, boxes = answers()
    images, queries, objects = matched(logits, boxes, TRUTHS, groups=1)
    assert images.tolist() == [0, 0, 2]
    assert sorted(objects.tolist()) == [0, 1, 2]
    costs = _costs(logits, boxes, TRUTHS)
    found = costs[images[:2], queries[:2], objects[:2]].sum()
    least = min(costs[0, a, 0] + costs[0, b, 1] for a, b in itertools.permutations(range(6), 2))
    assert torch.isclose(found, least)


def test_each_group_is_matched_to_all_objects():
    logits, boxes = answers()
    images, queries, objects = matched(logits, boxes, TRUTHS, groups=2)
    pairs = sorted(zip(images.tolist(), (queries // 3).tolist(), objects.tolist(), strict=True))
    assert pairs == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (2, 0, 2), (2, 1, 2)]


def test_more_objects_than_queries_leaves_some_without():
    many = truths([((10 * k, 0, 10 * k + 9, 9), 0) for k in range(9)])
    logits, boxes = (each[:1] for each in answers())
    assert len(matched(logits, boxes, many, groups=1)[0]) == 6


def test_the_loss_is_near_nothing_where_all_is_right():
    logits = torch.full((3, 6, 2), -12.0)
    boxes = torch.full((3, 6, 4), 0.5)
    for image, query, thing in ((0, 3, 0), (0, 1, 1), (2, 5, 2)):
        logits[image, query, TRUTHS.labels[thing]] = 12.0
        boxes[image, query] = TRUTHS.boxes[thing]
    right = set_loss(logits, boxes, TRUTHS, groups=1)
    assert all(float(value) < 1e-3 for value in right.values())
    wrong = set_loss(-logits, boxes * 0.7, TRUTHS, groups=1)
    assert all(float(wrong[name]) > 1 for name in right)


@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_certain_scores_have_finite_losses_and_slopes(extreme):
    logits, boxes = answers()
    logits = (logits * 0 + extreme).requires_grad_()
    boxes.requires_grad_()
    sum(set_loss(logits, boxes, TRUTHS, groups=1).values()).backward()
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(boxes.grad).all()


def test_a_loss_that_is_no_number_is_told_and_does_not_stop_the_matching():
    logits, boxes = answers()
    logits[0, 0, 0] = float("nan")
    assert not torch.isfinite(set_loss(logits, boxes, TRUTHS, groups=1)["class"])


def test_images_without_objects_teach_that_there_is_nothing():
    nothing = truths([], [], [])
    logits, boxes = answers()
    logits.requires_grad_()
    losses = set_loss(logits, boxes, nothing, groups=2)
    assert float(losses["box"]) == 0
    losses["class"].backward()
    assert (logits.grad > 0).all(), "every score goes down"


def test_overlaps_are_those_of_geometry():
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.uniform(0.2, 0.8, (50, 4)).astype(np.float32)) for _ in range(2))
    shares, generalized = iou(corners(a), corners(b))
    cells = (np.arange(400) + 0.5) / 200 - 0.5  # -0.5 to 1.5 in steps of 1/200
    for k in range(50):
        drawn = []
        for left, top, right, bottom in (corners(a)[k].tolist(), corners(b)[k].tolist()):
            across, down = (cells > left) & (cells < right), (cells > top) & (cells < bottom)
            drawn.append(down[:, None] & across)
        assert float(shares[k]) == pytest.approx(
            (drawn[0] & drawn[1]).sum() / (drawn[0] | drawn[1]).sum(), abs=0.03
        )
    assert (generalized <= shares + 1e-6).all()
    assert (generalized > -1).all()
    far = iou(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[9.0, 0, 10, 1]]))
    assert [float(v) for v in far] == pytest.approx([0, -0.8])
