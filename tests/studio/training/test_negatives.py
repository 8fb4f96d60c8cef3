"""Images that somebody called complete though nothing is in them: they train, and are measured, as such."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from support.trainable import order
from support.training import fill

from tintype_studio.annotations.geometry import (
    Annotation,
    MaskAnnotation,
    PolygonAnnotation,
    TagAnnotation,
)
from tintype_studio.annotations.masks import mask_of_array
from tintype_studio.annotations.review import as_draft
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample, Status, add_to_counters
from tintype_studio.errors import InvalidInput
from tintype_studio.exports.service import ExportOptions
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.tables import samples
from tintype_studio.studio import Studio
from tintype_studio.training.plan import TrainRequest
from tintype_studio.training.splits import candidates, choose
from tintype_studio.vision.evaluate.annotations import can_be_measured, outlined_classes, truth_of
from tintype_studio.vision.tasks import Signature, Task
from tintype_studio.vision.train.prepare import prepare_data
from tintype_studio.vision.train.prepared import PreparedData

LABELLED, EMPTY, UNTOUCHED = 7, 5, 2


def outline() -> PolygonAnnotation:
    ring = [{"x": 4, "y": 4}, {"x": 16, "y": 4}, {"x": 10, "y": 14}]
    return PolygonAnnotation.model_validate(
        {"id": "p", "name": "badge", "type": "polygon", "polygon": {"paths": [ring]}}
    )


def set_status(studio: Studio, owner: Principal, image: Sample, status: Status) -> None:
    """As whoever looked at the image would."""
    with studio.database.write() as connection:
        now = studio.samples.get_in(connection, owner, image.id, lock=True)
        connection.execute(sa.update(samples).where(samples.c.id == now.row_id).values(status=status.value))
        step = (status is Status.COMPLETE) - (now.status is Status.COMPLETE)
        add_to_counters(connection, now.dataset_row_id, completed=step)


@pytest.fixture
def images(studio: Studio, owner: Principal, dataset: Dataset) -> list[Sample]:
    """Some with a badge, some complete without, some new."""
    made = fill(studio, owner, dataset, count=LABELLED + EMPTY + UNTOUCHED, labelled=0)
    for image in made[:LABELLED]:
        studio.documents.save(owner, image.id, [outline()])
    for image in made[LABELLED : LABELLED + EMPTY]:
        set_status(studio, owner, image, Status.COMPLETE)
    return made


def prepared(
    studio: Studio, owner: Principal, folder: Path, pipeline: str, status_filter: str = "complete", **raw: Any
) -> PreparedData:
    options = ExportOptions(include_images=True, status_filter=status_filter)
    export = studio.exports.create(owner, dataset_name="signs", name=f"all-{pipeline}", options=options)
    assert export.sha256
    asked = order(folder, export.sha256, pipeline, **raw)
    return prepare_data(replace(asked, blob_url=studio.detectors.blob_url))


PLACES = ("yolox", "rfdetr_detection", "detectron2", "rfdetr_segmentation", "sm_pytorch")


@pytest.mark.parametrize("pipeline", PLACES)
def test_they_train_as_background(
    studio: Studio, owner: Principal, images: list[Sample], tmp_path: Path, pipeline: str
) -> None:
    data = prepared(studio, owner, tmp_path, pipeline)
    by_id = {item.image_id: index for index, item in enumerate(data.items)}
    assert set(by_id) == {image.id for image in images[: LABELLED + EMPTY]}
    empty = [by_id[image.id] for image in images[LABELLED : LABELLED + EMPTY]]
    assert all(len(data.target(index).labels) == 0 for index in empty)
    assert any(data.items[index].split == "train" for index in empty)
    assert f"{EMPTY} complete images without an object teach what is background." in data.prepared.notes


def test_those_that_nobody_called_complete_do_not(
    studio: Studio, owner: Principal, images: list[Sample], tmp_path: Path
) -> None:
    data = prepared(studio, owner, tmp_path, "yolox", status_filter="all")
    assert len(data.items) == LABELLED + EMPTY
    assert any(note.startswith(f"{UNTOUCHED} images") for note in data.prepared.notes)


def test_leaving_out_drafts_leaves_them_in(
    studio: Studio, owner: Principal, images: list[Sample], tmp_path: Path
) -> None:
    studio.documents.save(owner, images[0].id, [as_draft(outline())])
    data = prepared(studio, owner, tmp_path, "yolox", drafts="skip")
    wanted = {image.id for image in images[1 : LABELLED + EMPTY]}
    assert {item.image_id for item in data.items} == wanted


def test_they_count_as_images_and_not_as_annotations(
    studio: Studio, owner: Principal, dataset: Dataset
) -> None:
    made = fill(studio, owner, dataset, count=5, labelled=1)
    for image in made[1:]:
        set_status(studio, owner, image, Status.COMPLETE)
    assert studio.training.plan(owner, TrainRequest("signs", "yolox")).images == 5
    studio.documents.save(owner, made[0].id, [])
    set_status(studio, owner, made[0], Status.COMPLETE)
    with pytest.raises(InvalidInput) as caught:
        studio.training.plan(owner, TrainRequest("signs", "yolox"))
    assert caught.value.code == "no_annotations"


def test_they_have_no_class_to_tell(
    studio: Studio, owner: Principal, images: list[Sample], tmp_path: Path
) -> None:
    crate = outline().model_copy(update={"name": "crate"})
    for image in images[:3]:
        studio.documents.save(owner, image.id, [crate])
    data = prepared(studio, owner, tmp_path, "classification")
    assert {item.image_id for item in data.items} == {image.id for image in images[:LABELLED]}
    assert f"{EMPTY} images have no class and were left out." in data.prepared.notes


class _Model:
    """What ``candidates`` asks a model."""

    def __init__(self, task: Task) -> None:
        self.model_type = task
        self.name, self.classes, self.dataset_row_id = "badges", ("badge",), None


@pytest.mark.parametrize(
    ("task", "count"), [(Task.DETECTION, LABELLED + EMPTY), (Task.CLASSIFICATION, LABELLED)]
)
def test_a_model_is_measured_on_them_too(
    studio: Studio, owner: Principal, images: list[Sample], task: Task, count: int
) -> None:
    dataset, model = studio.datasets.get(owner, "signs"), _Model(task)
    choice = choose(studio, dataset, model, "all")  # type: ignore[arg-type]
    found = candidates(studio, dataset, model, choice)  # type: ignore[arg-type]
    assert [sample.id for sample in found] == [image.id for image in images[:count]]


def test_only_a_complete_image_says_that_nothing_is_there() -> None:
    boxes = Signature(Task.DETECTION, "yolox", ("badge",), 96)
    nothing: list[Annotation] = []
    assert can_be_measured(boxes, nothing, "/", complete=True)
    assert not can_be_measured(boxes, nothing, "/", complete=False)
    assert not can_be_measured(boxes, [as_draft(outline())], "/", complete=True)
    assert can_be_measured(boxes, [outline()], "/", complete=False)
    rain: list[Annotation] = [TagAnnotation(id="t", name="badge")]
    assert can_be_measured(boxes, rain, "/", complete=True)
    assert not can_be_measured(boxes, rain, "/", complete=False)
    classes = Signature(Task.CLASSIFICATION, "classification", ("badge", "crate"), 96)
    assert not can_be_measured(classes, nothing, "/", complete=True)
    truth = truth_of(boxes, nothing, size=(48, 36), across=1, down=1, folder="/", outlined=())
    assert truth.boxes.shape == (0, 4)


def test_a_mask_is_true_as_its_outline_is() -> None:
    pixels = np.zeros((36, 48), dtype=bool)
    pixels[4:14, 6:16] = True
    mask = mask_of_array(pixels)
    assert mask is not None
    marked: list[Annotation] = [
        MaskAnnotation(id="m", name="badge", mask=mask),
        TagAnnotation(id="t", name="badge"),
    ]
    assert outlined_classes(marked) == {"badge"}
    instances = Signature(Task.INSTANCES, "detectron2", ("badge",), 96)
    truth = truth_of(instances, marked, size=(24, 18), across=2, down=2, folder="/", outlined={"badge"})
    assert truth.boxes.tolist() == [[3, 2, 8, 7]]
    assert truth.labels.tolist() == [0]
    assert sorted(map(tuple, truth.polygons[0][0].tolist())) == [(3, 2), (3, 7), (8, 2), (8, 7)]
