"""Evaluators that see images in several processes say what one says that sees them all."""

import numpy as np
import orjson
import pytest

from tintype_studio.vision.evaluate.evaluator import evaluate, evaluator
from tintype_studio.vision.evaluate.truth import Truth
from tintype_studio.vision.infer.prediction import Found, Prediction
from tintype_studio.vision.tasks import Signature, Task

SIDE = 60


def pairs(signature, rng, count=7):
    for _ in range(count):
        number = int(rng.integers(0, 4))
        corner = rng.uniform(0, 40, (number, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 19, (number, 2))], axis=1)
        labels = rng.integers(0, 2, number)
        objects = [
            Found(
                int(label),
                float(rng.random()),
                tuple(map(float, np.clip(box + rng.normal(0, 1, 4), 0, SIDE))),
            )
            for box, label in zip(boxes, labels, strict=True)
        ]
        if signature.task is Task.CLASSIFICATION:
            labels = labels[:1] if number else np.array([1])
            boxes = boxes[: len(labels)]
        yield (
            Prediction(
                SIDE,
                SIDE,
                sorted(objects, key=lambda f: -f.score),
                scores=rng.dirichlet((1, 1)).astype(np.float32),
                regions=rng.integers(0, 3, (SIDE, SIDE)).astype(np.uint8),
            ),
            Truth(SIDE, SIDE, boxes, labels),
        )


def test_semantic_images_leave_nothing_but_counts():
    signature = Signature(Task.SEMANTIC, "test", ("a", "b"), 64)
    judge = evaluator(signature)
    sizes = set()
    for prediction, truth in pairs(signature, np.random.default_rng(1), count=30):
        judge.add(prediction, truth)
        sizes.add(np.asarray(judge.state()["pixels"]).shape)
    assert sizes == {(3, 3)}


@pytest.mark.parametrize("task", list(Task))
def test_states_add_up(task):
    signature = Signature(task, "test", ("a", "b"), 64)
    seen = list(pairs(signature, np.random.default_rng(4)))
    whole = evaluate(signature, (p for p, _ in seen), (t for _, t in seen))
    judge = evaluator(signature)
    for prediction, truth in seen:
        one = evaluator(signature)
        one.add(prediction, truth)
        judge.merge(orjson.loads(orjson.dumps(one.state())))
    assert judge.result() == whole
    assert any(value for value in whole.metrics.values())
