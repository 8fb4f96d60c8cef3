"""Attributes of trained models through the tools: drafts, evaluation, card and file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

from support.heads_models import colour_heads
from support.jobs import turn
from support.onnx_models import blob_detector
from support.ready_models import add_model, add_scene, cell_boxes

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.annotations.geometry import BBoxAnnotation, BoundingBox, PolylineAnnotation
from tintype_studio.annotations.options import with_options
from tintype_studio.catalog.datasets import ClassAttribute, Dataset, DatasetClass
from tintype_studio.errors import NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.pool import Pool
from tintype_studio.training.models import Model
from tintype_studio.vision.infer.answer import ask
from tintype_studio.vision.tasks import Signature, Task
from tintype_tools.call import Outcome, Request

CELLS = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64, nms_iou=0.5)
ATTRIBUTES = {
    "red": {"paint": ["red", "blue"], "state": ["green", "red"]},
    "blue": {"paint": ["red", "blue"]},
}


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
        runtime.studio,
        owner,
        board,
        CELLS,
        blob_detector(CELLS),
        metrics={"score_threshold": 0.31, "mAP_50": 0.9},
        heads=colour_heads(ATTRIBUTES),
        attributes=ATTRIBUTES,
    )


def call(runtime: Runtime, tool: str, **arguments: Any) -> Outcome:
    return runtime.dispatch(
        Request(
            tool=tool,
            arguments=arguments,
            api_key=runtime.local_api_key(),
            door="toolkit",
            files=everything(runtime.settings),
        )
    )


def finished(runtime: Runtime, owner: Principal, pool: Pool, tool: str, **arguments: Any) -> dict[str, Any]:
    """Start the job, run its turn, and report on it as the tool does."""
    started = call(runtime, tool, wait_seconds=0, **arguments)
    turn(runtime.studio, runtime.studio.jobs.get(owner, started.value["job_id"]), pool)

    class Watching:
        principal, studio = owner, runtime.studio

    job = runtime.studio.jobs.get(owner, started.value["job_id"])
    output = runtime.registry.get(tool).report(job, Watching())
    value = getattr(output, "value", output)
    return value.model_dump(mode="json", exclude_none=True)


def drafts_of(runtime: Runtime, owner: Principal, image_id: str) -> dict[str, list[Any]]:
    return {a.name: a.attributes for a in runtime.studio.documents.get(owner, image_id)[1]}


def test_drafts_of_a_dataset_choose_options(runtime, owner, pool, board, model) -> None:
    cells = ((1, 1, "red"), (2, 2, "blue"))
    sample = add_scene(runtime.studio, owner, board, "a.png", *cells, labelled=False)
    report = finished(runtime, owner, pool, "predict_dataset", dataset_name="board", model_id=model.id)
    assert report["annotations_added"] == 2
    assert drafts_of(runtime, owner, sample.id) == {
        "red": [{"paint": "red"}, {"state": "red"}, {"review": "draft"}],
        "blue": [{"paint": "blue"}, {"review": "draft"}],
    }


def test_options_that_the_dataset_does_not_take_are_left_out(runtime, owner, pool, board, model) -> None:
    paint = ClassAttribute("paint", ("blue", "grey"))
    runtime.studio.classes.declare(
        owner, "board", [DatasetClass("red", attributes=(paint,)), DatasetClass("blue", attributes=(paint,))]
    )
    cells = ((1, 1, "red"), (2, 2, "blue"))
    sample = add_scene(runtime.studio, owner, board, "a.png", *cells, labelled=False)
    report = finished(runtime, owner, pool, "predict_dataset", dataset_name="board", model_id=model.id)
    assert report["failures"] == []
    assert drafts_of(runtime, owner, sample.id) == {
        "red": [{"state": "red"}, {"review": "draft"}],
        "blue": [{"paint": "blue"}, {"review": "draft"}],
    }


def test_auto_annotation_by_the_datasets_model_chooses_options(runtime, owner, pool, board, model) -> None:
    sample = add_scene(runtime.studio, owner, board, "a.png", (2, 1, "blue"), labelled=False)
    classes = [{"name": "blue", "output_type": "bbox"}]
    finished(runtime, owner, pool, "auto_annotate_dataset", dataset_name="board", classes=classes)
    assert drafts_of(runtime, owner, sample.id) == {"blue": [{"paint": "blue"}, {"review": "draft"}]}


def test_one_picture_is_answered_with_choices_and_their_scores(runtime, owner, board, model) -> None:
    sample = add_scene(runtime.studio, owner, board, "a.png", (1, 1, "red"))
    image = runtime.studio.samples.image_bytes(sample)
    files = {"threshold": 0.5, "max_detections": 10}
    answer = ask(runtime.studio.blobs, model.onnx_sha256, image, heads_sha256=model.heads_sha256, **files)
    (shape,) = answer.shapes
    assert set(shape.choices) == {"paint", "state"}
    option, score, scores = shape.choices["paint"]
    assert (option, scores[option], set(scores)) == ("red", score, {"red", "blue"})
    assert 0.5 < score < 1
    plain = ask(runtime.studio.blobs, model.onnx_sha256, image, **files)
    assert plain.shapes[0].choices == {}


def test_a_model_is_measured_on_the_options_of_its_objects(runtime, owner, pool, board, model) -> None:
    studio = runtime.studio
    first = add_scene(studio, owner, board, "a.png", (1, 1, "red"), (2, 2, "blue"))
    red, blue = cell_boxes(64, 64, (1, 1, "red"), (2, 2, "blue"))
    # The truth disagrees about one; one has an option that was never learned; one says nothing.
    studio.documents.save(
        owner,
        first.id,
        [with_options(red, {"paint": "blue", "state": "red"}), with_options(blue, {"paint": "blue"})],
    )
    second = add_scene(studio, owner, board, "b.png", (0, 3, "blue"))
    missed = BBoxAnnotation(id="m", name="blue", bounding_box=BoundingBox(x=40, y=0, w=20, h=20))
    line = PolylineAnnotation.model_validate(
        {"id": "l", "name": "red", "polyline": {"path": [{"x": 1, "y": 1}, {"x": 9, "y": 9}]},
         "attributes": [{"paint": "red"}]}
    )  # fmt: skip
    (found,) = cell_boxes(64, 64, (0, 3, "blue"))
    studio.documents.save(owner, second.id, [found, with_options(missed, {"paint": "violet"}), line])
    report = finished(runtime, owner, pool, "evaluate_model", model_id=model.id, split="all")
    assert report["failures"] == []
    by_key = {(each["name"], each["attribute"]): each for each in report["attributes"]}
    paint = by_key["red", "paint"]
    assert (paint["count"], paint["accuracy"], paint["found"], paint["accuracy_found"]) == (1, 0, 1, 0)
    assert by_key["red", "state"]["accuracy"] == 1
    paint = by_key["blue", "paint"]
    assert (paint["count"], paint["accuracy"], paint["found"], paint["accuracy_found"]) == (2, 0.5, 1, 1)
    recalls = {option["name"]: (option["count"], option.get("recall")) for option in paint["options"]}
    assert recalls == {"red": (0, None), "blue": (1, 1)}
    assert report["metrics"]["attribute_accuracy"] == 0.5
    assert report["metrics"]["attribute_accuracy.red.paint"] == 0
    (kept,) = studio.models.evaluations(model)
    assert kept.metrics["attribute_accuracy.blue.paint"] == 0.5


def test_the_card_names_attributes_and_the_file_can_be_had(runtime, owner, board, model, tmp_path) -> None:
    value = call(runtime, "get_model", model_id=model.id).value
    assert value["model"]["attributes"] == {"red": ["paint", "state"], "blue": ["paint"]}
    told = {(a["class_name"], a["attribute"]): [o["name"] for o in a["options"]] for a in value["attributes"]}
    assert told == {(c, a): options for c, own in ATTRIBUTES.items() for a, options in own.items()}
    assert "heads" in [file["format"] for file in value["files"]]
    target = tmp_path / "cells.heads.onnx"
    wanted = {"model_id": model.id, "output_path": str(target), "format": "heads"}
    saved = call(runtime, "download_model", **wanted).value
    assert (saved["sha256"], target.read_bytes()) == (model.heads_sha256, colour_heads(ATTRIBUTES))
    plain = add_model(runtime.studio, owner, board, CELLS, blob_detector(CELLS), version=2)
    assert "attributes" not in call(runtime, "get_model", model_id=plain.id).value
    with pytest.raises(NotFound) as refused:
        call(runtime, "download_model", **{**wanted, "model_id": plain.id})
    assert refused.value.code == "no_heads"
