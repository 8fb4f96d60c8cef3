"""From raw outputs to objects, regions and scores in pixels of the original."""

import numpy as np
import pytest

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.evaluate.evaluator import evaluate
from tintype_studio.vision.evaluate.truth import Truth
from tintype_studio.vision.infer.decode import decode, suppressed
from tintype_studio.vision.tasks import Signature, Task


def signature(task, *, nms=None, multi_label=False, classes=("a", "b"), size=64):
    return Signature(task, "test", classes, size, nms, multi_label)


def boxes(*rows):
    return np.array([rows], np.float32)


def test_boxes_come_back_in_pixels_of_the_original_best_first():
    # 128 x 64 into a square of 64: half the size.
    found = decode(
        signature(Task.DETECTION),
        [boxes((0, 0, 10, 10), (5, 5, 20, 25)), boxes((0.2, 0.6), (0.9, 0.1))],
        [(128, 64)],
        threshold=0.5,
    )[0]
    assert (found.width, found.height) == (128, 64)
    assert [(f.label, round(f.score, 4), f.box) for f in found.objects] == [
        (0, 0.9, (10, 10, 40, 50)),
        (1, 0.6, (0, 0, 20, 20)),
    ]


def test_boxes_are_cut_at_the_border_and_empty_ones_go():
    raw = boxes((-5, -5, 90, 20), (64, 0, 70, 10), (9, 9, 9, 20), (np.nan, 0, 5, 5), (0, 40, 10, 50))
    scores = np.full((1, 5, 2), 0.9, np.float32)
    found = decode(signature(Task.DETECTION), [raw, scores], [(64, 32)], threshold=0.5)[0]
    # The last one lies in the grey below a picture of 64 x 32.
    assert [f.box for f in found.objects] == [(0, 0, 64, 20)]


def test_scores_that_are_no_numbers_find_nothing():
    raw = boxes((0, 0, 9, 9), (0, 0, 9, 9))
    scores = boxes((np.nan, 0.1), (np.inf, -np.inf))
    assert decode(signature(Task.DETECTION), [raw, scores], [(64, 64)], threshold=0.3)[0].objects == []


def test_only_the_weaker_of_one_class_goes_and_only_with_suppression():
    # Intersection over union of the first two: 80 / 120 = 0.667.
    raw = boxes((0, 0, 10, 10), (2, 0, 12, 10), (0, 0, 10, 10), (30, 30, 40, 40))
    scores = boxes((0.9, 0), (0.8, 0), (0, 0.7), (0.6, 0))
    each = decode(signature(Task.DETECTION), [raw, scores], [(64, 64)], threshold=0.1)[0].objects
    assert len(each) == 4
    some = decode(signature(Task.DETECTION, nms=0.6), [raw, scores], [(64, 64)], threshold=0.1)[0].objects
    assert [(f.label, round(f.score, 2)) for f in some] == [(0, 0.9), (1, 0.7), (0, 0.6)]
    most = decode(
        signature(Task.DETECTION, nms=0.7), [raw, scores], [(64, 64)], threshold=0.1, max_detections=2
    )[0].objects
    assert [round(f.score, 2) for f in most] == [0.9, 0.8]


def test_suppression_agrees_with_the_plain_definition():
    rng = np.random.default_rng(3)
    corners = rng.uniform(0, 40, (80, 2))
    made = np.concatenate([corners, corners + rng.uniform(4, 20, (80, 2))], axis=1).astype(np.float32)
    labels = rng.integers(0, 3, 80)
    kept = []
    for i in range(80):
        clear = True
        for j in kept:
            w = min(made[i, 2], made[j, 2]) - max(made[i, 0], made[j, 0])
            h = min(made[i, 3], made[j, 3]) - max(made[i, 1], made[j, 1])
            shared = max(0, w) * max(0, h)
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (made[i], made[j])]
            clear &= labels[i] != labels[j] or shared / (sum(areas) - shared) <= 0.45
        if clear:
            kept.append(i)
    assert suppressed(made, labels, 0.45, 100).tolist() == kept
    assert suppressed(made, labels, 0.45, 7).tolist() == kept[:7]


def test_masks_are_products_of_coefficients_and_prototypes_in_the_box():
    prototypes = np.zeros((1, 2, 16, 16), np.float32)
    prototypes[0, 0] = -1
    prototypes[0, 0, 4:8, 2:6] = 1
    prototypes[0, 1] = 5
    found = decode(
        signature(Task.INSTANCES),
        [
            boxes((8, 16, 24, 32), (0, 0, 8, 8)),
            boxes((0.9, 0), (0.8, 0)),
            boxes((1, 0), (0, -1)),
            prototypes,
        ],
        [(128, 128)],
        threshold=0.5,
    )[0].objects
    assert found[0].region == (16, 32, 48, 64)
    assert found[0].mask.shape == (32, 32)
    # The prototype is 1 in the box and -1 around it: interpolation crosses 0 at the border, but for corners.
    assert found[0].mask[4:-4].all()
    assert found[0].mask[:, 4:-4].all()
    assert found[0].mask.mean() > 0.97
    assert found[1].mask.shape == (16, 16)
    assert not found[1].mask.any()


def test_a_mask_lies_where_its_prototype_lies():
    prototypes = np.full((1, 1, 16, 16), -1, np.float32)
    prototypes[0, 0, 5:9, 3:12] = 1
    found = decode(
        signature(Task.INSTANCES, classes=("a",)),
        [boxes((1, 1, 63, 63)), boxes((0.9,)), boxes((1,)), prototypes],
        [(320, 240)],
        threshold=0.5,
    )[0].objects[0]
    rows, columns = np.nonzero(found.mask)
    left, top, _, _ = found.region
    # A cell is 20 px of this picture.
    assert (columns.min() + left, columns.max() + left + 1) == (60, 240)
    assert (rows.min() + top, rows.max() + top + 1) == (100, 180)


def test_regions_take_the_likeliest_class_and_leave_the_padding_out():
    logits = np.zeros((1, 3, 8, 8), np.float32)
    logits[0, 1, :2, :4] = 3
    logits[0, 2, :, 4:] = 4
    found = decode(signature(Task.SEMANTIC), [logits], [(128, 64)], threshold=0.5)[0]
    assert (found.regions.shape, found.regions.dtype) == ((64, 128), np.uint8)
    assert (found.regions[:28, :60] == 1).all()
    assert (found.regions[40:, :56] == 0).all()
    assert (found.regions[:, 70:] == 2).all()


def test_more_classes_than_fit_in_a_byte_are_told_apart():
    many = Signature(Task.SEMANTIC, "sm_pytorch", tuple(f"c{i}" for i in range(300)), 32)
    logits = np.zeros((1, 301, 8, 8), np.float32)
    logits[0, 300, :, :4], logits[0, 256, :, 4:] = 9, 9
    (found,) = decode(many, [logits], [(32, 32)], threshold=0)
    assert (found.regions[0, 0], found.regions[0, 31]) == (300, 256)
    boxes = np.array([[0, 0, 16, 32], [16, 0, 32, 32]], float)
    report = evaluate(many, [found], [Truth(32, 32, boxes, np.array([299, 255]))])
    assert report.metrics["mIoU"] == 1


def test_classification_gives_softmax_or_sigmoid():
    logits = np.array([[0.0, np.log(3)], [1000.0, 0.0]], np.float32)
    one, sure = decode(signature(Task.CLASSIFICATION), [logits], [(9, 9), (5, 5)], threshold=0)
    assert np.allclose(one.scores, [0.25, 0.75])
    assert np.allclose(sure.scores, [1, 0])
    many = decode(signature(Task.CLASSIFICATION, multi_label=True), [logits[:1]], [(9, 9)], threshold=0)[0]
    assert np.allclose(many.scores, [0.5, 0.75])


def test_too_few_outputs_or_rows_are_refused():
    with pytest.raises(InvalidInput, match="boxes, scores"):
        decode(signature(Task.DETECTION), [boxes((0, 0, 1, 1))], [(9, 9)], threshold=0.5)
    with pytest.raises(InvalidInput):
        decode(signature(Task.CLASSIFICATION), [np.zeros((2, 2), np.float32)], [(9, 9)], threshold=0.5)
