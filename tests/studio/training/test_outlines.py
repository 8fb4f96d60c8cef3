"""Pipelines of masks on a dataset of boxes: refused before anything starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.jobs import books
from support.training import fill, start

from tintype_studio.annotations.geometry import (
    Annotation,
    BBoxAnnotation,
    BoundingBox,
    MaskAnnotation,
    PolygonAnnotation,
)
from tintype_studio.annotations.masks import mask_of_array
from tintype_studio.annotations.review import as_draft
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.studio import Studio
from tintype_studio.training.pipeline import PipelineRequest, foresee
from tintype_studio.training.plan import TrainRequest

REQUEST = TrainRequest("signs", "detectron2")
MASKS = ("detectron2", "rfdetr_segmentation", "sm_pytorch")


def polygon(name: str = "badge", **more: Any) -> PolygonAnnotation:
    ring = [{"x": 4, "y": 4}, {"x": 16, "y": 4}, {"x": 10, "y": 14}]
    return PolygonAnnotation.model_validate(
        {"id": "p", "name": name, "type": "polygon", "polygon": {"paths": [ring]}, **more}
    )


def box(name: str = "badge", **more: Any) -> BBoxAnnotation:
    return BBoxAnnotation(id="b", name=name, bounding_box=BoundingBox(x=4, y=4, w=12, h=10), **more)


def save(studio: Studio, owner: Principal, image: Sample, *annotations: Annotation) -> None:
    studio.documents.save(owner, image.id, annotations)


@pytest.fixture
def images(studio: Studio, owner: Principal, dataset: Dataset) -> list[Sample]:
    return fill(studio, owner, dataset)


def refused(studio: Studio, owner: Principal, request: TrainRequest = REQUEST) -> InvalidInput:
    before = books(studio, owner)
    with pytest.raises(InvalidInput) as caught:
        start(studio, owner, request)
    assert caught.value.code == "wrong_export"
    assert books(studio, owner) == before
    assert studio.training.list(owner) == []
    return caught.value


@pytest.mark.parametrize("pipeline", MASKS)
def test_boxes_alone_are_refused(
    studio: Studio, owner: Principal, images: list[Sample], pipeline: str
) -> None:
    error = refused(studio, owner, replace(REQUEST, pipeline=pipeline))
    assert "no polygon" in error.message
    assert "yolox" in str(error.fix)


@pytest.mark.parametrize("pipeline", MASKS)
def test_one_polygon_is_enough(studio: Studio, owner: Principal, images: list[Sample], pipeline: str) -> None:
    save(studio, owner, images[-1], box("crate"), polygon())
    assert studio.training.plan(owner, replace(REQUEST, pipeline=pipeline)).images == 6


def test_one_mask_is_enough(studio: Studio, owner: Principal, images: list[Sample]) -> None:
    pixels = np.zeros((images[0].height, images[0].width), dtype=bool)
    pixels[4:14, 4:16] = True
    mask = mask_of_array(pixels)
    assert mask is not None
    save(studio, owner, images[0], box("crate"), MaskAnnotation(id="m", name="badge", mask=mask))
    assert studio.training.plan(owner, REQUEST).images == 6


def test_boxes_are_enough_for_detection_and_classification(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    for pipeline in ("yolox", "rfdetr_detection", "classification"):
        assert studio.training.plan(owner, replace(REQUEST, pipeline=pipeline)).images == 6


def test_only_the_newest_revision_counts(studio: Studio, owner: Principal, images: list[Sample]) -> None:
    save(studio, owner, images[0], polygon())
    save(studio, owner, images[0], box())
    refused(studio, owner)
    save(studio, owner, images[0], polygon())
    assert studio.training.plan(owner, REQUEST).images == 6


def test_only_the_wanted_classes_count(studio: Studio, owner: Principal, images: list[Sample]) -> None:
    for image in images:
        save(studio, owner, image, box("badge"), polygon("crate").model_copy(update={"id": "c"}))
    refused(studio, owner, replace(REQUEST, class_filter=("badge",)))
    assert studio.training.plan(owner, replace(REQUEST, class_filter=("crate",))).images == 6


def test_only_images_that_are_exported_count(studio: Studio, owner: Principal, images: list[Sample]) -> None:
    save(studio, owner, images[0], polygon())
    studio.samples.delete(owner, images[0].id)
    refused(studio, owner)


def test_an_attribute_that_looks_like_a_polygon_is_none(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    save(studio, owner, images[0], box(attributes=[{"type": "polygon"}]))
    save(studio, owner, images[1], box('"type":"polygon"'))
    refused(studio, owner)


def test_drafts_count_unless_they_are_skipped(studio: Studio, owner: Principal, images: list[Sample]) -> None:
    save(studio, owner, images[0], as_draft(polygon()))
    assert studio.training.plan(owner, REQUEST).images == 6
    error = refused(studio, owner, replace(REQUEST, config={"drafts": "skip"}))
    assert "accept_annotations" in str(error.fix)
    save(studio, owner, images[1], polygon())
    assert studio.training.plan(owner, replace(REQUEST, config={"drafts": "skip"})).images == 6


def test_many_documents_are_gone_through(studio: Studio, owner: Principal, dataset: Dataset) -> None:
    images = fill(studio, owner, dataset, count=60)
    for image in images[:-1]:
        save(studio, owner, image, as_draft(polygon()))
    skipping = replace(REQUEST, config={"drafts": "skip"})
    refused(studio, owner, skipping)
    save(studio, owner, images[-1], polygon())
    assert studio.training.plan(owner, skipping).images == 60


def test_a_pipeline_that_labels_nothing_is_refused_with_its_call(
    studio: Studio, owner: Principal, images: list[Sample]
) -> None:
    classes = ({"name": "badge", "output_type": "polygon"},)
    request = PipelineRequest("signs", classes, "detectron2", "a10g", annotate=False)
    with pytest.raises(InvalidInput) as caught:
        foresee(studio, owner, request)
    assert caught.value.code == "wrong_export"
    # Whatever labels first may find outlines.
    assert foresee(studio, owner, replace(request, annotate=True)).images == 0
    assert foresee(studio, owner, replace(request, train=False)).images == 0
    save(studio, owner, images[0], polygon())
    assert foresee(studio, owner, request).training_credits > 0
