"""Predictions about a picture: what is found, what it costs, and how it may not come to be."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from support.jobs import books, turn
from support.predicting import CELLS, ON, PICTURE, add_cells, ask, begun, put
from support.ready_models import add_model, png, scene
from support.videos import clip

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict, NotFound, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.pool import Pool
from tintype_studio.predictions.shapes import Choice, Observation, ScoredRange
from tintype_studio.predictions.task import PredictionTask, Subject, TaskStatus
from tintype_studio.studio import Studio


@pytest.fixture
def owner(studio: Studio, owner: Principal, dataset: Dataset) -> Principal:
    """An owner with a model of cells."""
    add_cells(studio, owner, dataset)
    return owner


def worked(studio: Studio, owner: Principal, task: PredictionTask, pool: Pool) -> PredictionTask:
    """The task after its job."""
    assert task.job_id is not None
    turn(studio, studio.jobs.get(owner, task.job_id), pool)
    return studio.predictions.get(owner, task.id)


def test_a_picture_is_predicted_and_paid(studio: Studio, owner: Principal, pool: Pool) -> None:
    balance, _ = books(studio, owner)
    task = begun(studio, owner, file_name="wand 1.png", mime_type="image/png")
    assert task.status is TaskStatus.AWAITING_UPLOAD
    task = ask(studio, owner, task)
    assert (task.status, task.model) == (TaskStatus.QUEUED, "recognize_anything/cells")
    with pytest.raises(Conflict) as early:
        studio.predictions.result(owner, task)
    assert early.value.code == "prediction_not_ready"
    task = worked(studio, owner, task, pool)
    assert (task.word, task.file_name) == ("predicted", "wand 1.png")
    found = studio.predictions.result(owner, task)
    assert (found.media, found.model, found.width, found.height) == ("image", "cells@1.0.0", 64, 64)
    by_name = {each.categories[0].name: each for each in found.objects}
    assert by_name["red"].observations == [Observation(0, (0.25, 0.5, 0.5, 0.75), pytest.approx(1, abs=1e-4))]
    assert by_name["blue"].observations[0].box == (0.75, 0, 1, 0.25)
    assert [each.object_id for each in found.objects] == [1, 2]
    assert books(studio, owner) == (balance - 1, 0)
    with studio.predictions.open_media(owner, task) as file:
        assert file.read_bytes() == PICTURE


def test_another_file_under_the_same_link_is_not_shown_as_the_predicted_one(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    waiting, ticket = studio.predictions.begin(owner, media="image")
    put(studio, ticket, PICTURE)
    task = worked(studio, owner, ask(studio, owner, waiting), pool)
    with studio.predictions.open_media(owner, task) as file:
        assert file.read_bytes() == PICTURE
    put(studio, ticket, png(scene(64, 64, (0, 0, "blue"))))
    with pytest.raises(Conflict) as refused, studio.predictions.open_media(owner, task):
        pass
    assert refused.value.code == "media_changed"
    assert len(studio.predictions.result(owner, task).objects) == 2


def test_nothing_in_it_costs_nothing(studio: Studio, owner: Principal, pool: Pool) -> None:
    balance, _ = books(studio, owner)
    task = worked(studio, owner, ask(studio, owner, begun(studio, owner, png(scene(64, 64)))), pool)
    assert task.status is TaskStatus.PREDICTED
    assert studio.predictions.result(owner, task).objects == []
    assert books(studio, owner) == (balance, 0)


@pytest.mark.parametrize(
    ("data", "code"),
    [(PICTURE[:90], "truncated_image"), (b"%PDF-1.4 nothing", "unsupported_format")],
    ids=["cut", "pdf"],
)
def test_a_file_that_is_no_picture(
    studio: Studio, owner: Principal, pool: Pool, data: bytes, code: str
) -> None:
    balance, _ = books(studio, owner)
    task = worked(studio, owner, ask(studio, owner, begun(studio, owner, data)), pool)
    assert task.word == f"failed_{code}"
    with pytest.raises(TintypeError, match="failed") as failed:
        studio.predictions.result(owner, task)
    assert failed.value.code == code
    assert books(studio, owner) == (balance, 0)


def test_a_video_sent_as_a_picture(studio: Studio, owner: Principal, pool: Pool, tmp_path: Path) -> None:
    data = clip(tmp_path, seconds=1).read_bytes()
    task = worked(studio, owner, ask(studio, owner, begun(studio, owner, data)), pool)
    assert task.word == "failed_unsupported_format"


def test_it_is_predicted_once(studio: Studio, owner: Principal, pool: Pool) -> None:
    task = ask(studio, owner, begun(studio, owner))
    again = ask(studio, owner, task)
    assert (again.job_id, len(studio.jobs.list(owner))) == (task.job_id, 1)
    with pytest.raises(Conflict) as other:
        ask(studio, owner, task, model="cells@1")
    assert other.value.code == "prediction_started"
    with pytest.raises(Conflict, match="threshold") as stricter:
        ask(studio, owner, task, threshold=0.77)
    assert stricter.value.code == "prediction_started"
    worked(studio, owner, task, pool)
    assert ask(studio, owner, task).word == "predicted"
    assert len(studio.jobs.list(owner)) == 1


def test_of_two_at_once_one_starts_it(studio: Studio, owner: Principal) -> None:
    task = begun(studio, owner)
    request = {"model": "cells", "task": task.id}
    from tintype_studio.predictions.asking import PredictionRequest

    prepared = [studio.predictions.prepare(owner, PredictionRequest(**request)) for _ in range(2)]
    studio.predictions.start(owner, prepared[0])
    with pytest.raises(Conflict) as late:
        studio.predictions.start(owner, prepared[1])
    assert (late.value.code, late.value.retryable) == ("prediction_started", True)
    assert len(studio.jobs.list(owner)) == 1


def test_what_is_refused_before(studio: Studio, owner: Principal, stranger: Principal) -> None:
    task, _ = studio.predictions.begin(owner, media="image")
    refusals = {
        "upload_missing": {"task": task},
        "model_not_found": {"task": begun(studio, owner), "model": "recognize_anything/bells"},
        "objects_not_taken": {"task": begun(studio, owner), "objects": ("red",)},
        "model_not_ready": {"task": begun(studio, owner), "model": "open_vocabulary"},
    }
    for code, values in refusals.items():
        with pytest.raises(TintypeError) as refused:
            ask(studio, owner, **values)
        assert refused.value.code == code
        assert refused.value.fix
    for call in (
        lambda: studio.predictions.get(stranger, task.id),
        lambda: ask(studio, stranger, task),
    ):
        with pytest.raises(NotFound):
            call()
    assert studio.predictions.list(stranger) == []
    assert studio.jobs.list(owner) == []


def test_a_cancelled_one_has_failed(studio: Studio, owner: Principal) -> None:
    balance, _ = books(studio, owner)
    task = ask(studio, owner, begun(studio, owner))
    assert task.job_id is not None
    studio.jobs.cancel(owner, task.job_id)
    assert studio.predictions.get(owner, task.id).word == "failed_cancelled"
    assert books(studio, owner) == (balance, 0)


def test_a_stored_image_and_a_file_become_tasks(
    studio: Studio, owner: Principal, dataset: Dataset, pool: Pool, tmp_path: Path
) -> None:
    image = studio.ingest.add_image(owner, dataset, data=PICTURE, filename="a.png")
    local = tmp_path / "b.png"
    local.write_bytes(PICTURE)
    for subject in (Subject(image=image.id), Subject(local=str(local))):
        task = worked(studio, owner, ask(studio, owner, subject=subject), pool)
        assert task.word == "predicted"
        assert len(studio.predictions.result(owner, task).objects) == 2
        assert task.subject == subject


def test_attributes(studio: Studio, owner: Principal, dataset: Dataset, pool: Pool) -> None:
    add_cells(studio, owner, dataset, heads=True, version=2)
    task = worked(studio, owner, ask(studio, owner, begun(studio, owner)), pool)
    chosen = {
        each.categories[0].name: each.categories[0].attributes
        for each in studio.predictions.result(owner, task).objects
    }
    assert chosen == {
        "red": [Choice("State", "on", [ScoredRange(0, 0, pytest.approx(ON, abs=0.01))])],
        "blue": [],
    }


def test_names_of_models(studio: Studio, owner: Principal, dataset: Dataset) -> None:
    from support.onnx_models import blob_detector

    onnx = blob_detector(CELLS)
    second = add_model(studio, owner, dataset, CELLS, onnx, version=2)
    add_model(studio, owner, dataset, CELLS, onnx, version=3, ready=False)
    find = studio.predictions.models.resolve
    for name in ("recognize_anything/cells", "cells", "cells@2.0.0", "cells@2", second.id):
        assert find(owner, name).label == "cells@2.0.0"
    assert find(owner, "recognize_anything/cells@1.0.0").label == "cells@1.0.0"
    for name in ("cells@9", "sells", "recognize_anything/", "cells@"):
        with pytest.raises(NotFound) as unknown:
            find(owner, name)
        if name != "recognize_anything/":
            assert unknown.value.fix == "Did you mean cells?"
    with pytest.raises(Conflict) as early:
        find(owner, "cells@3")
    assert early.value.code == "model_not_ready"
    names = [(each.name, each.label, each.ready) for each in studio.predictions.models.list(owner)]
    assert names[-1] == ("recognize_anything/open_vocabulary", "open_vocabulary", False)
    assert names[0] == ("recognize_anything/cells", "cells@2.0.0", True)


def test_a_task_is_forgotten_with_what_it_had(
    studio: Studio, owner: Principal, pool: Pool, move_clock
) -> None:
    waiting = begun(studio, owner)
    done = worked(studio, owner, ask(studio, owner, begun(studio, owner)), pool)
    assert studio.predictions.kept_uploads() == {done.subject.upload}
    assert studio.uploads.sweep(studio.predictions.kept_uploads, now=True) == 0
    move_clock(timedelta(days=3))
    assert studio.uploads.sweep(studio.predictions.kept_uploads, now=True) == 1
    with studio.predictions.open_media(owner, done):
        pass
    with pytest.raises(NotFound), studio.predictions.open_media(owner, waiting):
        pass
    move_clock(timedelta(days=8))
    with pytest.raises(NotFound):
        studio.predictions.get(owner, done.id)
    studio.settle()
    assert studio.predictions.sweep() == 0
    assert studio.uploads.sweep(studio.predictions.kept_uploads, now=True) == 1
    assert done.result_sha256 is not None
    studio.recycle_bin.sweep()
    assert not studio.blobs.exists(done.result_sha256)
