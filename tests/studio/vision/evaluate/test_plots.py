"""The pictures: readable sizes, something drawn, whatever the numbers and names."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tintype_studio.vision.evaluate import plots
from tintype_studio.vision.evaluate.evaluation import BACKGROUND, Confusion, Evaluation
from tintype_studio.vision.tasks import Task

RECALL = [i / 100 for i in range(101)]


def evaluation(classes=3, *, seed=0, name="class {} with $ and _ and % and a long name"):
    rng = np.random.default_rng(seed)
    names = tuple(name.format(i) for i in range(classes))
    matrix = rng.integers(0, 20, (classes + 1, classes + 1))
    return Evaluation(
        Task.DETECTION,
        10,
        40,
        {"mAP": 0.5, "mAP_50": 0.7, "precision": None},
        [{"name": n, "count": 3, "AP": float(rng.random()), "AP_50": float(rng.random())} for n in names],
        Confusion((*names, BACKGROUND), tuple(map(tuple, matrix.tolist())), "objects", 0.3),
        {"recall": RECALL, "precision": {n: [1 - r**2 for r in RECALL] for n in names}},
    )


def opened(data):
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG"
    assert plots.size_of(data) == image.size
    assert min(image.size) >= 450
    assert 800 <= max(image.size) <= 1000
    assert len(image.convert("RGB").getcolors(1 << 20)) > 20
    return image


@pytest.mark.parametrize(
    ("classes", "name"),
    [(count, "class {} with $ and _ and % and a long name") for count in (1, 3, 60)] + [(3, "标志 {} 🚦")],
)
def test_every_picture_is_drawn(classes, name, recwarn):
    first, second = (evaluation(classes, seed=seed, name=name) for seed in (0, 1))
    opened(plots.pr_curves(first, "On $test$"))
    opened(plots.confusion(first))
    opened(plots.comparison(("a", "b"), first, second, "AP"))
    assert not [w for w in recwarn if "font" in str(w.message).lower() or "layout" in str(w.message).lower()]


def test_training_is_drawn_from_the_first_epoch_on():
    entry = {"train_loss": 3.0, "losses": {"box_loss": 1.0, "class_loss": 2.0}, "mAP": 0.2, "precision": None}
    opened(plots.training_curves([entry]))
    opened(plots.training_curves([{**entry, "train_loss": 3.0 / n} for n in range(1, 30)], "A run"))
    opened(plots.training_curves([{"train_loss": None}, {}]))
    assert plots.training_curves([]) is None


def test_what_has_no_such_picture_gives_none():
    bare = replace(evaluation(), curves={}, confusion=None)
    assert plots.pr_curves(bare) is None
    assert plots.confusion(bare) is None


def test_shares_of_pixels_are_drawn():
    matrix = ((900_000, 1000), (5000, 7_000_000))
    opened(plots.confusion(replace(evaluation(), confusion=Confusion(("a", BACKGROUND), matrix, "pixels"))))


def test_threads_draw_the_same_picture():
    found = evaluation()
    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(lambda _: plots.confusion(found), range(3)))) == 1


def test_of_many_classes_those_with_mistakes_are_shown():
    sides = plots.SHOWN + 5
    matrix = np.diag(np.full(sides, 9))
    matrix[2, 7] = 4
    names = tuple(f"c{i}" for i in range(sides - 1))
    kept, left_out = plots._most_telling(
        Confusion((*names, BACKGROUND), tuple(map(tuple, matrix.tolist())), "objects")
    )
    assert {2, 7, sides - 1} <= set(kept)
    assert (len(kept), left_out) == (plots.SHOWN, 5)


def test_differences_need_both_sides():
    first = replace(evaluation(), per_class=[{"name": "a", "AP": 0.5}, {"name": "b", "AP": None}])
    second = replace(evaluation(), per_class=[{"name": "a", "AP": 0.75}, {"name": "b", "AP": 0.1}])
    assert plots.differences(first, second, "AP") == {"a": 0.25}
