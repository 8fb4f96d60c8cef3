"""Average precision, precision and recall, confusion: against hand-made cases and pycocotools' own way."""

import contextlib
import io
import json

import numpy as np
import orjson
import pytest

from tintype_studio.errors import InvalidInput
from tintype_studio.vision.evaluate.evaluation import BACKGROUND, Evaluation
from tintype_studio.vision.evaluate.evaluator import evaluate
from tintype_studio.vision.evaluate.objects import object_mask
from tintype_studio.vision.evaluate.truth import Truth
from tintype_studio.vision.infer.prediction import Found, Prediction
from tintype_studio.vision.tasks import Signature, Task

DETECTION = Signature(Task.DETECTION, "test", ("a", "b"), 64)
INSTANCES = Signature(Task.INSTANCES, "test", ("a", "b"), 64)


def truth(*objects, size=(100, 100), polygons=()):
    boxes = np.array([box for _, box in objects], float).reshape(-1, 4)
    return Truth(*size, boxes, np.array([label for label, _ in objects], int), polygons)


def predicted(*objects, size=(100, 100)):
    return Prediction(*size, [Found(label, score, box) for label, score, box in objects])


def test_right_answers_are_worth_one():
    found = evaluate(
        DETECTION, [predicted((0, 0.9, (0, 0, 10, 10)), (1, 0.8, (20, 20, 50, 60)))],
        [truth((0, (0, 0, 10, 10)), (1, (20, 20, 50, 60)))],
    )  # fmt: skip
    assert (found.images, found.objects) == (1, 2)
    assert found.metrics == {
        "mAP": 1, "mAP_50": 1, "mAP_75": 1, "precision": 1, "recall": 1, "f1": 1, "score_threshold": 0.4,
    }  # fmt: skip
    assert [each["AP"] for each in found.per_class] == [1, 1]
    assert found.confusion.matrix == ((1, 0, 0), (0, 1, 0), (0, 0, 0))
    assert found.confusion.labels == ("a", "b", BACKGROUND)


def test_a_case_by_hand():
    """Two objects of one class. Found: one exactly (0.9), a false alarm (0.8), the other at IoU 0.6 (0.7).

    At IoU 0.5 and 0.55 and 0.6: precision 1 up to recall 0.5, then 2/3. 51 and 50 of the 101 recalls:
    AP = (51 + 50 * 2/3) / 101. Above 0.6 the second is not found: AP = 51 / 101.
    """
    found = evaluate(
        DETECTION,
        [predicted((0, 0.9, (0, 0, 10, 10)), (0, 0.8, (70, 70, 90, 90)), (0, 0.7, (40, 40, 46, 50)))],
        [truth((0, (0, 0, 10, 10)), (0, (40, 40, 50, 50)))],
    )
    whole, half = (51 + 50 * 2 / 3) / 101, 51 / 101
    assert found.metrics["mAP_50"] == pytest.approx(whole)
    assert found.metrics["mAP_75"] == pytest.approx(half)
    assert found.metrics["mAP"] == pytest.approx((3 * whole + 7 * half) / 10, abs=1e-6)
    # f1 is 2/3 with the first alone, 1/2 with two, 0.8 with all three.
    assert found.metrics["score_threshold"] == 0.35
    assert found.metrics["precision"] == pytest.approx(2 / 3)
    assert found.metrics["recall"] == 1
    assert found.metrics["f1"] == pytest.approx(0.8)
    assert found.per_class[1] == {
        "name": "b", "count": 0, "AP": None, "AP_50": None, "AP_75": None,
        "precision": None, "recall": None, "f1": None,
    }  # fmt: skip
    assert found.confusion.matrix == ((2, 0, 0), (0, 0, 0), (1, 0, 0))
    assert list(found.curves["precision"]) == ["a"]
    assert found.curves["precision"]["a"][50:52] == [1.0, 0.6667]


def test_the_confusion_pairs_by_place_and_prefers_the_right_class():
    found = evaluate(
        DETECTION,
        [
            predicted(
                (1, 0.9, (0, 0, 10, 10)),  # an a, taken for a b
                (1, 0.9, (30, 30, 40, 40)),  # the same place twice: the right class counts
                (0, 0.9, (30, 30, 40, 40)),
            )
        ],
        [truth((0, (0, 0, 10, 10)), (0, (30, 30, 40, 40)), (1, (80, 80, 90, 90)))],
    )
    assert found.confusion.matrix == ((1, 1, 0), (0, 0, 1), (0, 1, 0))


def test_the_threshold_lies_between_what_it_takes_and_what_it_leaves():
    objects = [(0, 0.9, (0, 0, 10, 10)), (0, 0.8, (40, 40, 50, 50))]
    true = truth((0, (0, 0, 10, 10)), (0, (40, 40, 50, 50)))
    alarms = [(0, 0.2, (70, 70, 80, 80)), (1, 0.1, (70, 0, 80, 10))]
    found = evaluate(DETECTION, [predicted(*objects, *alarms)], [true])
    assert found.metrics["score_threshold"] == 0.5
    assert (found.metrics["precision"], found.metrics["recall"]) == (1, 1)
    assert found.confusion.matrix == ((2, 0, 0), (0, 0, 0), (0, 0, 0))


def test_nothing_found_and_nothing_there():
    nothing = evaluate(DETECTION, [predicted()], [truth((0, (0, 0, 9, 9)))])
    assert (nothing.metrics["mAP"], nothing.metrics["recall"]) == (0, 0)
    assert nothing.metrics["precision"] is nothing.metrics["score_threshold"] is None
    alarm = evaluate(DETECTION, [predicted((0, 0.9, (0, 0, 9, 9)))], [truth()])
    assert alarm.metrics["mAP"] is alarm.metrics["recall"] is None
    assert alarm.confusion.matrix[2] == (1, 0, 0)
    with pytest.raises(InvalidInput) as refused:
        evaluate(DETECTION, [], [])
    assert refused.value.code == "no_images"


def crowd(rng, images=12):
    """Truths, and predictions that are near them, doubled, of the wrong class, or off."""
    truths, predictions = [], []
    for _ in range(images):
        count = int(rng.integers(0, 6))
        corner, size = rng.uniform(0, 60, (count, 2)), rng.uniform(8, 38, (count, 2))
        boxes = np.concatenate([corner, corner + size], axis=1)
        labels = rng.integers(0, 2, count)
        found = []
        for box, label in zip(boxes, labels, strict=True):
            for _ in range(int(rng.integers(0, 3))):
                moved = np.clip(box + rng.normal(0, 2.5, 4), 0, 100)
                wrong = rng.random() < 0.15
                found.append((int(label) ^ wrong, float(rng.random()), tuple(map(float, moved))))
        for _ in range(int(rng.integers(0, 3))):
            x, y = rng.uniform(0, 70, 2)
            found.append((int(rng.integers(2)), float(rng.random()) / 2, (x, y, x + 20.0, y + 20.0)))
        truths.append(truth(*[(int(k), tuple(b)) for k, b in zip(labels, boxes, strict=True)]))
        predictions.append(predicted(*sorted(found, key=lambda f: -f[1])))
    return truths, predictions


@pytest.mark.parametrize("task", [DETECTION, INSTANCES])
def test_the_figures_are_those_of_pycocotools_from_files(task, tmp_path):
    """The library's own way: annotation and result files, ``summarize`` and its twelve numbers."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths, predictions = crowd(np.random.default_rng(5))

    def shape(box):
        x0, y0, x1, y1 = (float(v) for v in box)
        return {"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}

    objects, results = [], []
    for number, (true, found) in enumerate(zip(truths, predictions, strict=True), 1):
        for box, label in zip(true.boxes, true.labels, strict=True):
            area = float((box[2] - box[0]) * (box[3] - box[1]))
            objects.append(
                {"id": len(objects) + 1, "image_id": number, "category_id": int(label), "area": area,
                 "iscrowd": 0, **shape(box)}
            )  # fmt: skip
        for each in found.objects:
            kept = shape(each.box)
            if task is INSTANCES:
                kept = {"segmentation": mask_of(each.box)}
            results.append({"image_id": number, "category_id": each.label, "score": each.score, **kept})
    if task is INSTANCES:
        for each in objects:
            x, y, w, h = each["bbox"]
            each["segmentation"] = object_rle((x, y, x + w, y + h))
    file = tmp_path / "truth.json"
    images = [{"id": n, "width": 100, "height": 100} for n in range(1, len(truths) + 1)]
    file.write_text(
        json.dumps(
            {"images": images, "annotations": objects, "categories": [{"id": 0}, {"id": 1}], "info": {}}
        )
    )
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO(str(file))
        judge = COCOeval(gt, gt.loadRes(results), "bbox" if task is DETECTION else "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    ours = evaluate(task, predictions, truths).metrics
    figures = [ours[name] for name in ("mAP", "mAP_50", "mAP_75")]
    assert figures == pytest.approx(judge.stats[:3].tolist(), abs=1e-6)
    assert 0.1 < ours["mAP"] < 0.9


def mask_of(box):
    """Whole pixels of the rounded box, as the predictions without a mask are taken."""
    from pycocotools import mask

    canvas = np.zeros((100, 100), np.uint8, order="F")
    left, top, right, bottom = (
        int(v) for v in (np.floor(box[0]), np.floor(box[1]), np.ceil(box[2]), np.ceil(box[3]))
    )
    canvas[top:bottom, left:right] = 1
    coded = mask.encode(canvas)
    return {"size": coded["size"], "counts": coded["counts"].decode()}


def object_rle(box):
    coded = object_mask(truth((0, box)), 0)
    return {"size": coded["size"], "counts": coded["counts"].decode()}


def test_masks_decide_for_instances_and_boxes_are_told_beside_them():
    """An L in a box: the mask that is the whole box overlaps it by 3/4."""
    corner = [np.array([(0, 0), (20, 0), (20, 10), (10, 10), (10, 20), (0, 20)], float)]
    found = evaluate(
        INSTANCES,
        [predicted((0, 0.9, (0, 0, 20, 20)))],
        [truth((0, (0, 0, 20, 20)), polygons=[corner])],
    )
    assert found.metrics["mAP"] == pytest.approx(0.6)  # 0.50 to 0.75 of ten thresholds
    assert (found.metrics["box_mAP"], found.metrics["box_mAP_50"]) == (1, 1)
    assert (found.per_class[0]["AP"], found.per_class[0]["box_AP"]) == (pytest.approx(0.6), 1)
    mask = np.zeros((20, 20), bool)
    mask[:10], mask[10:, :10] = True, True
    exact = Prediction(100, 100, [Found(0, 0.9, (0, 0, 20, 20), mask)])
    ours = evaluate(INSTANCES, [exact], [truth((0, (0, 0, 20, 20)), polygons=[corner])])
    assert ours.metrics["mAP"] == 1


def test_nothing_is_printed_and_it_survives_json(capsys):
    truths, predictions = crowd(np.random.default_rng(7), images=4)
    found = evaluate(DETECTION, predictions, truths)
    assert capsys.readouterr() == ("", "")
    assert Evaluation.from_json(orjson.loads(orjson.dumps(found.as_json()))) == found


def test_of_one_class_a_hundred_per_image_count():
    ring = [(0, 1 - i / 1000, (i % 40, i // 40, i % 40 + 1.0, i // 40 + 1.0)) for i in range(150)]
    late = (0, 0.5, (60, 60, 90, 90))
    found = evaluate(DETECTION, [predicted(*ring, late)], [truth((0, (60, 60, 90, 90)))])
    assert found.metrics["mAP"] == 0
