"""Semantic segmentation and classification: figures of small cases by hand."""

import numpy as np
import orjson
import pytest

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.evaluate.evaluation import Evaluation
from tintype_studio.vision.evaluate.evaluator import evaluate
from tintype_studio.vision.evaluate.semantic import true_regions
from tintype_studio.vision.evaluate.truth import Truth
from tintype_studio.vision.infer.prediction import Prediction
from tintype_studio.vision.tasks import Signature, Task

SEMANTIC = Signature(Task.SEMANTIC, "test", ("a", "b", "c"), 64)


def square(left, top, right, bottom):
    return [np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)]


def test_intersection_over_union_by_hand():
    # Truth: a in the left half (50 px), b in 20 px of the right one. Said: a in 60 px, b nowhere, c in 10 px.
    truth = Truth(10, 10, np.zeros((2, 4)), np.array([0, 1]), [square(0, 0, 5, 10), square(5, 0, 10, 4)])
    said = np.zeros((10, 10), np.uint8)
    said[:, :6] = 1
    said[9, :] = 3
    found = evaluate(SEMANTIC, [Prediction(10, 10, regions=said)], [truth])
    # a: 45 shared, 50 true, 54 said: 45 / 59. b: 0 / 20. c: 0 / 10.
    a = 45 / 59
    assert [each["IoU"] for each in found.per_class] == [pytest.approx(a), 0, 0]
    assert found.metrics["mIoU"] == pytest.approx(a / 3)
    # Right: 45 of a; background right of column 6, below row 4, above row 9: 4 x 5 = 20.
    assert found.metrics["pixel_accuracy"] == pytest.approx(0.65)
    assert found.confusion.unit == "pixels"
    assert found.confusion.matrix[0] == (45, 0, 5, 0)
    assert sum(map(sum, found.confusion.matrix)) == 100
    assert Evaluation.from_json(orjson.loads(orjson.dumps(found.as_json()))) == found


def test_a_class_that_is_nowhere_does_not_count():
    truth = Truth(4, 4, np.zeros((1, 4)), np.array([0]), [square(0, 0, 2, 4)])
    found = evaluate(SEMANTIC, [Prediction(4, 4, regions=true_regions(truth))], [truth])
    assert found.metrics["mIoU"] == found.metrics["pixel_accuracy"] == 1
    assert found.per_class[1]["IoU"] is None


def test_later_objects_cover_earlier_ones_holes_stay_open_and_boxes_serve_without_rings():
    hole = square(1, 1, 3, 3)
    truth = Truth(
        8, 4,
        np.array([(0, 0, 4, 4), (4, 0, 8, 4), (3, 0, 5, 4)], float),
        np.array([0, 1, 2]),
        [square(0, 0, 4, 4) + hole, [], square(3, 0, 5, 4)],
    )  # fmt: skip
    regions = true_regions(truth)
    assert regions[0].tolist() == [1, 1, 1, 3, 3, 2, 2, 2]
    assert regions[1].tolist() == [1, 0, 0, 3, 3, 2, 2, 2]


def test_maps_of_another_size_are_refused():
    truth = Truth(4, 4, np.zeros((0, 4)), np.zeros(0, int))
    with pytest.raises(InvalidInput):
        evaluate(SEMANTIC, [Prediction(5, 4, regions=np.zeros((4, 5), np.uint8))], [truth])


def labels(*classes):
    return Truth(9, 9, np.zeros((0, 4)), np.array(classes, int))


def scored(*values):
    return Prediction(9, 9, scores=np.array(values, np.float32))


def test_one_label_by_hand():
    one = Signature(Task.CLASSIFICATION, "test", ("a", "b", "c"), 64)
    said = [scored(0.8, 0.1, 0.1), scored(0.6, 0.3, 0.1), scored(0.2, 0.7, 0.1), scored(0.5, 0.3, 0.2)]
    found = evaluate(one, said, [labels(0), labels(1), labels(1), labels(0)])
    assert found.metrics["accuracy"] == 0.75
    # a: precision 2/3, recall 1; b: precision 1, recall 1/2; c: neither there nor said.
    a, b = found.per_class[0], found.per_class[1]
    assert (a["precision"], a["recall"], a["f1"]) == (pytest.approx(2 / 3), 1, pytest.approx(0.8))
    assert (b["precision"], b["recall"], b["f1"]) == (1, 0.5, pytest.approx(2 / 3))
    assert found.per_class[2]["f1"] is None
    assert found.metrics["f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert "top_5_accuracy" not in found.metrics
    assert found.confusion.matrix == ((2, 0, 0), (1, 1, 0), (0, 0, 0))


def test_from_six_classes_on_the_best_five_are_told():
    six = Signature(Task.CLASSIFICATION, "test", tuple("abcdef"), 64)
    said = scored(0.3, 0.25, 0.2, 0.15, 0.07, 0.03)
    found = evaluate(six, [said] * 4, [labels(0), labels(4), labels(5), labels(5)])
    assert (found.metrics["accuracy"], found.metrics["top_5_accuracy"]) == (0.25, 0.5)


def test_several_labels_by_hand():
    many = Signature(Task.CLASSIFICATION, "test", ("a", "b"), 64, multi_label=True)
    said = [scored(0.9, 0.6), scored(0.8, 0.2), scored(0.7, 0.9)]
    found = evaluate(many, said, [labels(0, 1), labels(), labels(0)])
    # a by score: right, wrong, right: AP = 1/2 * 1 + 1/2 * 2/3. b: wrong, right, wrong: 1/2.
    assert found.per_class[0]["AP"] == pytest.approx(5 / 6)
    assert found.per_class[1]["AP"] == pytest.approx(0.5)
    assert found.metrics["mAP"] == pytest.approx(2 / 3)
    assert found.metrics["accuracy"] == pytest.approx(1 / 3)
    assert found.confusion is None
    assert found.curves["precision"]["b"][100] == pytest.approx(0.5)


def test_equal_scores_are_one_step():
    many = Signature(Task.CLASSIFICATION, "test", ("a",), 64, multi_label=True)
    found = evaluate(many, [scored(0.5)] * 4, [labels(0), labels(), labels(), labels()])
    assert found.per_class[0]["AP"] == 0.25


def test_an_image_with_two_labels_is_none_for_a_model_of_one():
    one = Signature(Task.CLASSIFICATION, "test", ("a", "b"), 64)
    with pytest.raises(InvalidInput):
        evaluate(one, [scored(0.5, 0.5)], [labels(0, 1)])
