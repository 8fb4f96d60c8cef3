"""A trained model as the engine of its dataset: when it goes first, what it finds, how its scores read."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import orjson
import pytest

pytest.importorskip("onnx")

from support.onnx_models import blob_detector, constant_model
from support.ready_models import add_model, add_scene, png, scene

from tintype_studio.errors import InvalidImage
from tintype_studio.vision.detect.chain import DetectorSettings, EngineSpec, open_engine
from tintype_studio.vision.detect.text_prompts import answer
from tintype_studio.vision.detect.trained import (
    TrainedDetector,
    TrainedModel,
    trained_models,
    trained_readiness,
)
from tintype_studio.vision.infer.model import OnnxModel
from tintype_studio.vision.protocols import Box
from tintype_studio.vision.tasks import Signature, Task

CELLS = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64, nms_iou=0.5)
SPEC = TrainedModel("id", "cells", "1.0.0", "sha", ("red", "blue"), 0.9, None)


@pytest.fixture
def board(studio, owner):
    return studio.datasets.create(owner, name="board")


def survey(studio, dataset, *names):
    return studio.detectors.survey(dataset, {name: f"a {name}" for name in names})


def test_the_newest_model_that_knows_a_class_goes_first(studio, owner, board):
    for number in range(3):
        add_scene(studio, owner, board, f"{number}.png", (number, 0, "red"))
    assert survey(studio, board, "red").engines["red"].kind == "own_detector"
    old = add_model(studio, owner, board, CELLS, blob_detector(CELLS), metrics={"mAP_50": 0.8})
    only_red = replace(CELLS, classes=("red", "green"))
    new = add_model(
        studio, owner, board, only_red, blob_detector(only_red), version=2, metrics={"mAP_50": 0.9}
    )
    found = survey(studio, board, "red", "blue", "tree")
    assert {name: spec.model.id for name, spec in found.engines.items()} == {"red": new.id, "blue": old.id}
    assert found.missing == ["tree"]
    first = found.readiness["red"][0]
    assert (first.engine, first.ready) == ("trained_model", True)
    assert "cells@2.0.0" in first.why
    assert "0.90" in first.why
    assert "does not know 'tree'" in found.readiness["tree"][0].why
    assert len(found.groups()) == 2
    studio.models.archive(owner, new.id)
    assert survey(studio, board, "red").engines["red"].model.id == old.id
    other = studio.datasets.create(owner, name="other")
    assert survey(studio, other, "red").missing == ["red"], "trained on another dataset"


def test_a_model_that_finds_too_little_does_not_go_first(studio, owner, board):
    for number in range(3):
        add_scene(studio, owner, board, f"{number}.png", (number, 0, "red"))
    add_model(studio, owner, board, CELLS, blob_detector(CELLS), metrics={"mAP_50": 0.07})
    found = survey(studio, board, "red")
    assert found.engines["red"].kind == "own_detector"
    assert "0.07" in found.readiness["red"][0].why


def test_classifiers_are_no_detectors(studio, owner, board):
    kinds = Signature(Task.CLASSIFICATION, "classification", ("red", "blue"), 64)
    add_model(studio, owner, board, kinds, constant_model(kinds, [np.array([1, 0])]))
    assert survey(studio, board, "red").missing == ["red"]


def test_a_text_prompt_is_answered_by_the_model(studio, owner, board):
    add_model(studio, owner, board, CELLS, blob_detector(CELLS))
    studio.documents.save(owner, add_scene(studio, owner, board, "a.png", (0, 0, "red")).id, [])
    picture = png(scene(640, 480, (1, 2, "red"), (3, 0, "blue")))
    found = answer(
        studio.detectors, studio.prompts, board, picture, "red", output_type="bbox", threshold=0.5,
        max_detections=10,
    )  # fmt: skip
    assert (found.status, found.engines) == ("success", ["cells@1.0.0"])
    (draft,) = found.annotations
    assert (draft.name, draft.created_by) == ("red", "cells@1.0.0")
    assert draft.bounding_box.model_dump() == {"x": 160, "y": 320, "w": 160, "h": 160}


def test_polygons_are_those_of_the_masks(studio, owner, board):
    marked = Signature(Task.INSTANCES, "detectron2", ("red",), 64)
    prototypes = np.full((1, 16, 16), -1)
    prototypes[0, 4:8, 4:12] = 1
    outputs = [np.array([(8, 8, 56, 40)]), np.array([(0.9,)]), np.ones((1, 1)), prototypes]
    add_model(studio, owner, board, marked, constant_model(marked, outputs))
    found = answer(
        studio.detectors, studio.prompts, board, png(scene(64, 64)), "red", output_type="polygon",
        threshold=0.5, max_detections=10,
    )  # fmt: skip
    (draft,) = found.annotations
    box = draft.bounding_box
    # The mask, and not the detection's box, which the segmenter would have been asked about.
    assert (box.x, box.y, box.x + box.w, box.y + box.h) == pytest.approx((16, 16, 48, 32), abs=2)


def test_boxes_lie_in_the_image_and_only_what_is_asked_for_is_found():
    engine = TrainedDetector(OnnxModel.from_bytes(blob_detector(CELLS)), SPEC)
    assert engine.name == "cells@1.0.0"
    image = scene(3000, 2000, (0, 0, "red"), (3, 1, "blue"), (1, 1, "red"))
    found = engine.detect(image, ["red"], threshold=0.5, max_detections=9)
    # The image is looked at with whole pixels of a smaller frame.
    corners = [(d.box.x, d.box.y, d.box.w, d.box.h) for d in found]
    assert corners == [pytest.approx((0, 0, 750, 750), abs=0.5), pytest.approx((750, 750, 750, 750), abs=0.5)]
    assert engine.detect(image, ["red"], threshold=0.5, max_detections=1) == found[:1]
    assert [d.name for d in engine.detect(image, ["blue"], threshold=0.5, max_detections=9)] == ["blue"]
    with pytest.raises(InvalidImage):
        engine.detect(np.zeros((5, 5), np.uint8), ["red"], threshold=0.5, max_detections=9)


def test_the_score_with_the_best_balance_becomes_one_half():
    outputs = [np.array([(0, 0, 9, 9), (20, 20, 30, 30)]), np.array([(0.2, 0), (0.1, 0)])]
    network = OnnxModel.from_bytes(constant_model(CELLS, outputs))
    engine = TrainedDetector(network, replace(SPEC, usual=0.2))
    image = scene(64, 64)
    first, second = engine.detect(image, ["red"], threshold=0.05, max_detections=9)
    assert first.score == pytest.approx(0.5, abs=1e-3)
    assert second.score == pytest.approx((1 / 9) / (1 / 9 + 1 / 4), abs=1e-3)
    assert len(engine.detect(image, ["red"], threshold=0.45, max_detections=9)) == 1
    plain = TrainedDetector(network, SPEC)
    assert plain.detect(image, ["red"], threshold=0.45, max_detections=9) == []


def test_models_with_masks_give_the_outline_themselves():
    marked = Signature(Task.INSTANCES, "detectron2", ("red",), 64)
    prototypes = np.full((1, 16, 16), -1)
    prototypes[0, 4:8, 4:12] = 1
    outputs = [np.array([(8, 8, 56, 40)]), np.array([(0.9,)]), np.ones((1, 1)), prototypes]
    engine = TrainedDetector(OnnxModel.from_bytes(constant_model(marked, outputs)), SPEC)
    (found,) = engine.detect(scene(64, 64), ["red"], threshold=0.5, max_detections=9)
    xs = [p.x for ring in found.outline().paths for p in ring]
    assert (min(xs), max(xs)) == pytest.approx((16, 48), abs=2)
    assert found.box == Box(8, 8, 48, 32)
    plain = TrainedDetector(OnnxModel.from_bytes(blob_detector(CELLS)), SPEC)
    assert (
        plain.detect(scene(64, 64, (0, 0, "red")), ["red"], threshold=0.5, max_detections=9)[0].outline
        is None
    )


def test_it_travels_as_plain_data_and_is_opened_once(studio, owner, board):
    model = add_model(studio, owner, board, CELLS, blob_detector(CELLS), metrics={"score_threshold": 0.3})
    (plain,) = trained_models([model])
    assert TrainedModel.from_json(orjson.loads(orjson.dumps(asdict(plain)))) == plain
    spec = EngineSpec("trained_model", DetectorSettings(), None, plain)
    assert open_engine(spec, studio.blobs) is open_engine(spec, studio.blobs)
    said, chosen = trained_readiness("blue", [plain])
    assert (said.ready, chosen, plain.usual) == (True, plain, 0.3)
