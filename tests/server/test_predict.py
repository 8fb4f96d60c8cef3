"""predict_image and predict_dataset: what they answer, save and charge, on models whose answers are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

from support.jobs import books, turn
from support.onnx_models import blob_detector, constant_model
from support.ready_models import add_model, add_scene, cell_boxes

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.annotations.review import is_draft
from tintype_studio.catalog.datasets import Dataset, DatasetClass
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.pool import Pool
from tintype_studio.training.models import Model
from tintype_studio.vision.tasks import Signature, Task
from tintype_tools.call import Outcome, Request

CELLS = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64, nms_iou=0.5)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path / "home"))
    opened.studio.jobs.supervisor.enabled = False
    yield opened
    opened.close()


@pytest.fixture
def board(runtime: Runtime, owner: Principal) -> Dataset:
    return runtime.studio.datasets.create(owner, name="board")


@pytest.fixture
def model(runtime: Runtime, owner: Principal, board: Dataset) -> Model:
    return add_model(
        runtime.studio, owner, board, CELLS, blob_detector(CELLS), metrics={"score_threshold": 0.31}
    )


def call(
    runtime: Runtime, tool: str, *, key: str | None = None, dry_run: bool = False, **arguments: Any
) -> Outcome:
    if tool == "predict_dataset":
        arguments = {"dataset_name": "board", "wait_seconds": 0} | arguments
    return runtime.dispatch(
        Request(
            tool=tool,
            arguments=arguments,
            api_key=key or runtime.local_api_key(),
            door="toolkit",
            files=everything(runtime.settings),
            dry_run=dry_run,
        )
    )


def finish(runtime: Runtime, owner: Principal, pool: Pool, started: Outcome) -> dict[str, Any]:
    """Run the job's next turn, and report on it as the tool does."""
    job = runtime.studio.jobs.get(owner, started.value["job_id"])
    turn(runtime.studio, job, pool)
    spec = runtime.registry.get("predict_dataset")

    class Watching:
        principal, studio = owner, runtime.studio

    job = runtime.studio.jobs.get(owner, job.id)
    return spec.report(job, Watching()).model_dump(mode="json", exclude_none=True)


# --- One image ----------------------------------------------------------------------------------------------


def test_an_image_is_answered_with_boxes_a_picture_and_one_credit(runtime, owner, board, model):
    sample = add_scene(
        runtime.studio, owner, board, "a.png", (1, 2, "red"), (3, 0, "blue"), size=(640, 480), labelled=False
    )
    balance, _ = books(runtime.studio, owner)
    answer = call(runtime, "predict_image", model=model.id, image_uuid=sample.id)
    value = answer.value
    assert (value["status"], value["model"], value["model_type"]) == (
        "success",
        "cells@1.0.0",
        "object_detection",
    )
    assert value["best_threshold"] == 0.31
    found = {p["categories"][0]["name"]: p for p in value["objects"]}
    assert found["red"]["bounding_box"] == {"x": 160, "y": 320, "w": 160, "h": 160}
    assert found["red"]["bbox_observation"]["normalized_bbox"] == [0.25, 0.6667, 0.5, 1]
    assert found["blue"]["categories"][0]["score"] == pytest.approx(1, abs=1e-3)
    assert [p["object_id"] for p in value["objects"]] == [1, 2]
    assert answer.pictures[0].width == 640
    assert books(runtime.studio, owner) == (balance - 1, 0)
    assert runtime.studio.documents.get(owner, sample.id)[1] == [], "nothing is saved"


def test_an_image_without_objects_is_free_and_a_faint_one_is_told(runtime, owner, board, model):
    balance, _ = books(runtime.studio, owner)
    empty = add_scene(runtime.studio, owner, board, "e.png", labelled=False)
    nothing = call(runtime, "predict_image", model=model.id, image_uuid=empty.id)
    assert (nothing.value["status"], nothing.value["objects"]) == ("no_detection", [])
    # Half a cell red: half the score.
    half = add_scene(runtime.studio, owner, board, "h.png", (1, 1, "red"), size=(60, 24), labelled=False)
    faint = call(runtime, "predict_image", model=model.id, image_uuid=half.id, confidence_threshold=0.9)
    assert faint.value["status"] == "below_threshold"
    assert 0.3 < faint.value["score"] < 0.7
    assert books(runtime.studio, owner) == (balance, 0)


def test_at_most_so_many_are_told(runtime, owner, board, model):
    sample = add_scene(
        runtime.studio, owner, board, "m.png", *[(i, 0, "red") for i in range(4)], labelled=False
    )
    answer = call(runtime, "predict_image", model=model.id, image_uuid=sample.id, max_detections=3)
    assert len(answer.value["objects"]) == 3


def test_a_classifier_tells_classes(runtime, owner, board):
    kinds = Signature(Task.CLASSIFICATION, "classification", ("cat", "dog"), 64)
    model = add_model(runtime.studio, owner, board, kinds, constant_model(kinds, [np.array([0, np.log(3)])]))
    sample = add_scene(runtime.studio, owner, board, "c.png", labelled=False)
    answer = call(runtime, "predict_image", model=model.id, image_uuid=sample.id)
    assert answer.value["status"] == "success"
    (whole,) = answer.value["objects"]
    assert whole["bbox_observation"] == {"normalized_bbox": [0, 0, 1, 1], "bbox_score": 0.75}
    assert [(c["name"], c["score"]) for c in whole["categories"]] == [("dog", 0.75), ("cat", 0.25)]
    unsure = call(runtime, "predict_image", model=model.id, image_uuid=sample.id, confidence_threshold=0.9)
    assert unsure.value["status"] == "below_threshold"


def test_masks_and_regions_come_as_polygons(runtime, owner, board):
    marked = Signature(Task.INSTANCES, "detectron2", ("a",), 64)
    prototypes = np.full((1, 16, 16), -1)
    prototypes[0, 4:8, 4:12] = 1
    outputs = [np.array([(8, 8, 56, 40)]), np.array([(0.9,)]), np.ones((1, 1)), prototypes]
    model = add_model(runtime.studio, owner, board, marked, constant_model(marked, outputs), name="masks")
    sample = add_scene(runtime.studio, owner, board, "p.png", size=(640, 640), labelled=False)
    (one,) = call(runtime, "predict_image", model=model.id, image_uuid=sample.id).value["objects"]
    xs = [p["x"] for ring in one["polygon"]["paths"] for p in ring]
    ys = [p["y"] for ring in one["polygon"]["paths"] for p in ring]
    # A cell of the prototypes is 40 px; interpolation rounds the corners.
    assert (min(xs), max(xs), min(ys), max(ys)) == pytest.approx((160, 480, 160, 320), abs=2)
    regions = Signature(Task.SEMANTIC, "sm_pytorch", ("a",), 64)
    logits = np.zeros((2, 16, 16))
    logits[1, :, :8] = 3
    logits[0, :, 8:] = 3
    pixels = add_model(
        runtime.studio, owner, board, regions, constant_model(regions, [logits]), name="pixels"
    )
    (one,) = call(runtime, "predict_image", model=pixels.id, image_uuid=sample.id).value["objects"]
    assert one["bounding_box"] == {"x": 0, "y": 0, "w": 320, "h": 640}
    assert one["bbox_observation"]["bbox_score"] > 0.9


def test_models_that_cannot_answer_say_why(runtime, owner, board, model):
    sample = add_scene(runtime.studio, owner, board, "x.png", labelled=False)
    unready = add_model(runtime.studio, owner, board, CELLS, b"", name="late", ready=False)
    with pytest.raises(Conflict) as refused:
        call(runtime, "predict_image", model=unready.id, image_uuid=sample.id)
    assert refused.value.code == "model_not_ready"
    foreign = add_model(runtime.studio, owner, board, CELLS, b"not onnx", name="foreign")
    with pytest.raises(InvalidInput) as broken:
        call(runtime, "predict_image", model=foreign.id, image_uuid=sample.id)
    assert broken.value.code == "not_our_model"
    with pytest.raises(NotFound):
        call(runtime, "predict_image", model="nope", image_uuid=sample.id)
    with pytest.raises(NotFound):
        call(runtime, "predict_image", model=model.id, image_uuid="nope")
    viewer = runtime.studio.keys.create(owner, name="eyes", role=Role.VIEWER)[0]
    with pytest.raises(Forbidden):
        call(runtime, "predict_image", key=viewer, model=model.id, image_uuid=sample.id)
    planned = call(runtime, "predict_image", dry_run=True, model=model.id, image_uuid=sample.id)
    assert planned.dry_run


# --- A dataset ----------------------------------------------------------------------------------------------


def fill(runtime, owner, board):
    """Two labelled images, three with objects, one without."""
    make = [((0, 0, "red"), True), ((1, 0, "blue"), True), ((2, 0, "red"), False), ((3, 0, "blue"), False)]
    made = [
        add_scene(runtime.studio, owner, board, f"{n}.png", cell, labelled=labelled)
        for n, (cell, labelled) in enumerate(make)
    ]
    made.append(
        add_scene(runtime.studio, owner, board, "4.png", (1, 1, "red"), (2, 2, "blue"), labelled=False)
    )
    made.append(add_scene(runtime.studio, owner, board, "5.png", labelled=False))
    return made


def test_unlabelled_images_get_drafts_of_the_model(runtime, owner, pool, board, model):
    images = fill(runtime, owner, board)
    balance, _ = books(runtime.studio, owner)
    planned = call(runtime, "predict_dataset", model_id=model.id, dry_run=True)
    assert planned.dry_run
    report = finish(runtime, owner, pool, call(runtime, "predict_dataset", model_id=model.id))
    assert report["job"]["status"] == "completed"
    assert (report["images_processed"], report["images_skipped"], report["annotations_added"]) == (4, 2, 4)
    assert report["failures"] == []
    assert "answers" not in report
    # The empty one is free.
    assert books(runtime.studio, owner) == (balance - 3, 0)
    drafts = runtime.studio.documents.get(owner, images[4].id)[1]
    assert all(is_draft(a) and a.created_by == "cells@1.0.0" and a.type == "bbox" for a in drafts)
    assert {a.name: a.bounding_box.x for a in drafts} == {"red": 16, "blue": 32}
    assert not any(is_draft(a) for a in runtime.studio.documents.get(owner, images[0].id)[1])
    (call_id,) = {runtime.studio.jobs.get(owner, report["job_id"]).call_id}
    call(runtime, "undo_call", call_id=call_id)
    assert runtime.studio.documents.get(owner, images[4].id)[1] == []


def test_overwrite_replaces_the_models_classes_only(runtime, owner, pool, board, model):
    sample = add_scene(runtime.studio, owner, board, "o.png", (1, 1, "red"))
    other = cell_boxes(64, 64, (0, 0, "blue"))[0].model_copy(update={"name": "tree"})
    runtime.studio.documents.save(owner, sample.id, [*cell_boxes(64, 64, (3, 3, "red")), other])
    assert (
        finish(runtime, owner, pool, call(runtime, "predict_dataset", model_id=model.id))["images_skipped"]
        == 1
    )
    finish(runtime, owner, pool, call(runtime, "predict_dataset", model_id=model.id, overwrite=True))
    now = {(a.name, a.bounding_box.x, is_draft(a)) for a in runtime.studio.documents.get(owner, sample.id)[1]}
    assert now == {("tree", 0, False), ("red", 16, True)}


def test_classes_that_the_dataset_does_not_take_are_left_out(runtime, owner, pool, board, model):
    sample = add_scene(runtime.studio, owner, board, "d.png", (1, 1, "red"), (2, 2, "blue"), labelled=False)
    runtime.studio.classes.declare(owner, "board", [DatasetClass(name="blue")])
    report = finish(runtime, owner, pool, call(runtime, "predict_dataset", model_id=model.id))
    assert report["annotations_added"] == 1
    assert [a.name for a in runtime.studio.documents.get(owner, sample.id)[1]] == ["blue"]
    lines = runtime.studio.jobs.logs(runtime.studio.jobs.get(owner, report["job_id"]))
    assert any("does not take red" in line.text for line in lines)
    runtime.studio.datasets.create(owner, name="forest")
    runtime.studio.classes.declare(owner, "forest", [DatasetClass(name="tree")])
    with pytest.raises(InvalidInput) as refused:
        call(runtime, "predict_dataset", model_id=model.id, dataset_name="forest")
    assert refused.value.code == "unknown_class"


def test_a_classifier_answers_for_every_image_and_saves_nothing(runtime, owner, pool, board):
    kinds = Signature(Task.CLASSIFICATION, "classification", ("cat", "dog"), 64)
    model = add_model(runtime.studio, owner, board, kinds, constant_model(kinds, [np.array([0, np.log(3)])]))
    images = fill(runtime, owner, board)
    before = [runtime.studio.documents.get(owner, sample.id)[1] for sample in images]
    balance, _ = books(runtime.studio, owner)
    report = finish(runtime, owner, pool, call(runtime, "predict_dataset", model_id=model.id))
    assert (report["images_processed"], report["annotations_added"]) == (6, 0)
    assert {a["image_uuid"] for a in report["answers"]} == {sample.id for sample in images}
    assert report["answers"][0]["classes"][0] == {"name": "dog", "confidence": 0.75}
    assert [runtime.studio.documents.get(owner, sample.id)[1] for sample in images] == before
    assert books(runtime.studio, owner) == (balance - 6, 0)


def test_an_image_that_is_gone_fails_by_itself_free_of_charge(runtime, owner, pool, board, model):
    images = fill(runtime, owner, board)
    runtime.studio.blobs.delete(images[2].sha256)
    report = finish(runtime, owner, pool, call(runtime, "predict_dataset", model_id=model.id))
    (failure,) = report["failures"]
    assert (failure["image_uuid"], failure["code"]) == (images[2].id, "blob_missing")
    assert "/2.png" in failure["reason"]
    assert report["images_processed"] == 3


def test_no_more_than_asked_for(runtime, owner, pool, board, model):
    fill(runtime, owner, board)
    report = finish(runtime, owner, pool, call(runtime, "predict_dataset", model_id=model.id, max_images=2))
    assert (report["images_processed"], report["images_skipped"]) == (2, 4)
    assert report["job"]["credits_held"] == 2
