"""auto_annotate_images: which of the named images it touches, by which engine, and what it tells of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")

import numpy as np
from support.jobs import books, turn
from support.onnx_models import blob_detector, constant_model
from support.ready_models import add_model, add_scene

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.annotations.geometry import ANNOTATIONS, Annotation
from tintype_studio.annotations.review import as_draft, is_draft
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs import named_images as naming
from tintype_studio.jobs.pool import Pool
from tintype_studio.training.models import Model
from tintype_studio.vision.tasks import Signature, Task
from tintype_tools.call import Outcome, Request

DETECTOR = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64)
CLASSIFIER = Signature(Task.CLASSIFICATION, "classification", ("field", "city", "sea"), 64)
RED = [{"name": "red", "output_type": "bbox"}]


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path / "home"))
    opened.studio.jobs.supervisor.enabled = False
    yield opened
    opened.close()


@pytest.fixture
def cells(runtime: Runtime, owner: Principal) -> Dataset:
    """``a.png`` and ``b.png`` have a red and a blue cell, ``b.png`` twice, in two folders."""
    made = runtime.studio.datasets.create(owner, name="cells")
    for name, folder in (("a.png", "/"), ("b.png", "/"), ("b.png", "/more")):
        scene = ((1, 1, "red"), (2, 2, "blue"))
        add_scene(runtime.studio, owner, made, name, *scene, labelled=False, folder=folder)
    return made


@pytest.fixture
def model(runtime: Runtime, owner: Principal, cells: Dataset) -> Model:
    return add_model(runtime.studio, owner, cells, DETECTOR, blob_detector(DETECTOR))


def call(runtime: Runtime, tool: str = "auto_annotate_images", /, **given: Any) -> Outcome:
    if tool == "auto_annotate_images":
        given = {"dataset_name": "cells", "classes": RED, "wait_seconds": 0} | given
    key, files = runtime.local_api_key(), everything(runtime.settings)
    dry_run = given.pop("dry_run", False)
    request = Request(tool, given, api_key=key, door="toolkit", files=files, dry_run=dry_run)
    return runtime.dispatch(request)


def finish(runtime: Runtime, owner: Principal, pool: Pool, started: Outcome) -> dict[str, Any]:
    job_id = started.value["job_id"]
    turn(runtime.studio, runtime.studio.jobs.get(owner, job_id), pool)
    return call(runtime, "get_auto_annotate_job", job_id=job_id).value


def annotations(runtime: Runtime, owner: Principal, filename: str) -> list[Annotation]:
    studio = runtime.studio
    sample = studio.samples.find(studio.datasets.get(owner, "cells"), filename)
    return studio.documents.get(owner, sample.id)[1]


def save(runtime: Runtime, owner: Principal, filename: str, name: str, *, draft: bool) -> None:
    studio = runtime.studio
    sample = studio.samples.find(studio.datasets.get(owner, "cells"), filename)
    (made,) = ANNOTATIONS.validate_python(
        [{"id": name, "name": name, "type": "bbox", "bounding_box": {"x": 1, "y": 2, "w": 3, "h": 4}}]
    )
    studio.documents.save(owner, sample.id, [as_draft(made) if draft else made])


def code(runtime: Runtime, **given: Any) -> str:
    with pytest.raises(TintypeError) as refused:
        call(runtime, **given)
    return refused.value.code


def test_exactly_the_named_images_are_labelled_paid_and_complete(runtime, owner, pool, cells, model):
    balance, _ = books(runtime.studio, owner)
    started = call(runtime, image_filenames=["a.png", "more/b.png"])
    assert started.value["job"]["credits_held"] == 2
    report = finish(runtime, owner, pool, started)
    assert (report["job"]["status"], report["images_named"], report["images_processed"]) == (
        "completed",
        2,
        2,
    )
    assert (report["annotations_added"], report["missing"], report["failures"]) == (2, [], [])
    assert books(runtime.studio, owner) == (balance - 2, 0)
    for name in ("a.png", "more/b.png"):
        (found,) = annotations(runtime, owner, name)
        assert (found.name, found.type, found.created_by) == ("red", "bbox", "cells@1.0.0")
        assert is_draft(found)
    assert annotations(runtime, owner, "/b.png") == []
    statuses = {s.folder + s.filename: s.status.value for s in runtime.studio.samples.page(cells, limit=9)}
    assert statuses == {"/a.png": "complete", "/b.png": "new", "/moreb.png": "complete"}
    call(runtime, "undo_call", call_id=started.call_id)
    assert annotations(runtime, owner, "a.png") == []


def test_a_bare_name_means_every_image_that_bears_it(runtime, owner, pool, model):
    report = finish(runtime, owner, pool, call(runtime, image_filenames=["b.png", "b.png"]))
    assert (report["images_named"], report["images_processed"]) == (2, 2)


def test_names_that_are_not_there_are_told_and_cost_nothing(runtime, owner, pool, model):
    names = ["a.png", "x.png", "other/a.png", "b.png?"]
    assert code(runtime, image_filenames=names[1:]) == "image_not_found"
    started = call(runtime, image_filenames=names)
    assert started.value["job"]["credits_held"] == 1
    report = finish(runtime, owner, pool, started)
    assert (report["missing"], report["missing_count"], report["images_named"]) == (names[1:], 3, 1)


def test_work_of_people_is_passed_over_and_drafts_are_replaced(runtime, owner, pool, model):
    save(runtime, owner, "a.png", "mine", draft=False)
    save(runtime, owner, "/b.png", "red", draft=True)
    save(runtime, owner, "more/b.png", "blue", draft=True)
    started = call(runtime, image_filenames=["a.png", "b.png"])
    assert (started.value["job"]["credits_held"], started.value["images_skipped"]) == (2, 1)
    report = finish(runtime, owner, pool, started)
    assert (report["images_named"], report["images_processed"], report["images_skipped"]) == (3, 2, 1)
    assert [a.name for a in annotations(runtime, owner, "a.png")] == ["mine"]
    assert [a.id == "red" for a in annotations(runtime, owner, "/b.png")] == [False]
    assert [a.name for a in annotations(runtime, owner, "more/b.png")] == ["blue", "red"]


def test_what_somebody_labels_meanwhile_stays(runtime, owner, pool, model):
    started = call(runtime, image_filenames=["a.png", "/b.png"])
    save(runtime, owner, "a.png", "mine", draft=False)
    save(runtime, owner, "/b.png", "red", draft=True)
    report = finish(runtime, owner, pool, started)
    assert [a.name for a in annotations(runtime, owner, "a.png")] == ["mine"]
    assert [a.id for a in annotations(runtime, owner, "/b.png")] == ["red"]
    assert [f["code"] for f in report["failures"]] == ["edited_meanwhile"]
    assert report["job"]["credits_charged"] == 0


def test_a_model_is_asked_for_some_of_its_classes_or_for_all(runtime, owner, pool, model):
    report = finish(
        runtime, owner, pool, call(runtime, image_filenames=["a.png"], model_id=model.id, classes=[])
    )
    assert report["annotations_added"] == 2
    finish(runtime, owner, pool, call(runtime, image_filenames=["/b.png"], model_id=model.id))
    assert [a.name for a in annotations(runtime, owner, "/b.png")] == ["red"]
    unknown = [{"name": "tree"}]
    assert code(runtime, image_filenames=["a.png"], model_id=model.id, classes=unknown) == "unknown_class"
    assert code(runtime, image_filenames=["a.png"], model_id="x") == "model_not_found"


def test_a_model_of_whole_images_answers_about_labelled_ones_too(runtime, owner, pool, cells):
    network = constant_model(CLASSIFIER, [np.array([0.0, 4.0, 2.0])])
    model = add_model(runtime.studio, owner, cells, CLASSIFIER, network, name="places")
    save(runtime, owner, "a.png", "mine", draft=False)
    asked = {"model_id": model.id, "classes": [{"name": "city", "output_type": "tag"}], "top_k": 2}
    report = finish(runtime, owner, pool, call(runtime, image_filenames=["a.png", "/b.png"], **asked))
    assert [[c["name"] for c in a["classes"]] for a in report["answers"]] == [["city", "sea"]] * 2
    assert (report["annotations_added"], report["images_processed"]) == (0, 2)
    assert [a.name for a in annotations(runtime, owner, "a.png")] == ["mine"]


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"classes": []}, "no_classes"),
        ({"classes": [{"name": "red", "output_type": "tag"}]}, "tag_needs_classifier"),
        ({"classes": [{"name": "red"}, {"name": "red"}]}, "invalid_input"),
        ({"classes": [{"name": "unicorn"}]}, "needs_engine"),
        ({"image_filenames": []}, "invalid_arguments"),
        ({"image_filenames": ["a.png"] * 10_001}, "invalid_arguments"),
        ({"dataset_name": "x"}, "dataset_not_found"),
        ({"top_k": 6}, "invalid_arguments"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_starts_nothing(runtime, owner, model, given, refused):
    assert code(runtime, **{"image_filenames": ["a.png"]} | given) == refused
    assert runtime.studio.jobs.list(owner) == []
    assert books(runtime.studio, owner)[1] == 0


def test_classes_that_nobody_finds_are_noted_where_others_are_found(runtime, owner, pool, model):
    classes = [*RED, {"name": "unicorn"}]
    report = finish(runtime, owner, pool, call(runtime, image_filenames=["a.png"], classes=classes))
    assert report["notes"] == ["No engine can find 'unicorn'; the other classes are labelled."]


def test_many_names_are_found_in_few_questions(runtime, owner, cells, monkeypatch):
    monkeypatch.setattr(naming, "NAMES_AT_A_TIME", 2)
    names = ["x", "a.png", "y", "more/b.png", "z", "/a.png", "/more/b.png", "more/b.png/"]
    found = naming.named_images(runtime.studio, cells, names, labelled=False)
    assert (len(found.rows), found.found, found.missing) == (2, 2, ["x", "y", "z", "more/b.png/"])


def test_only_such_jobs_are_followed(runtime, owner, model):
    other = call(runtime, "verify_dataset", dataset_name="cells", wait_seconds=0).value["job"]["job_id"]
    for job_id in (other, "x"):
        with pytest.raises(TintypeError) as refused:
            call(runtime, "get_auto_annotate_job", job_id=job_id)
        assert refused.value.code == "job_not_found"
