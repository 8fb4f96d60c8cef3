"""The registry: statuses, lists, archiving and its undo, evaluations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.training import Here, start

from tintype_studio import clock
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict, InvalidInput, NotFound, UndoConflict
from tintype_studio.history.changes import Kind
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.kinds import train as train_kind
from tintype_studio.studio import Studio
from tintype_studio.training.models import Model, ModelStatus
from tintype_studio.training.plan import TrainRequest
from tintype_studio.vision.tasks import Task

REQUEST = TrainRequest("signs", "yolox", config={"epochs": 1, "max_minutes": 1})

Train = Callable[..., Model]


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_kind, "Pool", Here)


@pytest.fixture
def train(studio: Studio, owner: Principal, signs: Dataset, work: Any) -> Train:
    """Trains a model."""

    def train(**change: Any) -> Model:
        run = work(start(studio, owner, replace(REQUEST, **change)))
        return studio.models.ready(owner, run.model_id)

    return train


def acting(owner: Principal, tool: str = "delete_model") -> Principal:
    return replace(owner, call_id=clock.new_id(), tool=tool, session="tests")


def test_a_model_is_archived_hidden_and_brought_back(studio: Studio, owner: Principal, train: Train) -> None:
    model = train()
    me = acting(owner)
    archived = studio.models.archive(me, model.id)
    assert archived.status is ModelStatus.ARCHIVED
    assert studio.models.list(owner) == []
    assert [m.id for m in studio.models.list(owner, status=ModelStatus.ARCHIVED)] == [model.id]
    with pytest.raises(Conflict) as caught:
        studio.models.ready(owner, model.id)
    assert caught.value.code == "model_not_ready"
    assert studio.models.archive(me, model.id) == archived  # twice is once
    [change] = studio.changes.of_call(owner, me.call_id or "")
    assert (change.kind, change.label, change.subject) == (
        Kind.MODEL_ARCHIVED,
        f"{model.name} 1.0.0",
        model.id,
    )
    back = studio.models.restore(acting(owner), model.id)
    assert replace(back, updated_at=model.updated_at) == model


def test_undo_brings_an_archived_model_back_and_that_can_be_undone(
    studio: Studio, owner: Principal, train: Train
) -> None:
    model = train()
    me, undoing, again = acting(owner), acting(owner, "undo_call"), acting(owner, "undo_call")
    studio.models.archive(me, model.id)
    undone = studio.undo.call(undoing, me.call_id or "")
    assert undone.counts == {"model.archived": 1}
    assert studio.models.ready(owner, model.id)
    studio.undo.call(again, undoing.call_id or "")
    assert studio.models.get(owner, model.id).status is ModelStatus.ARCHIVED


def test_undo_of_the_training_archives_its_model(studio: Studio, owner: Principal, train: Train) -> None:
    model = train()
    run = studio.training.get(owner, model.run_id)
    undoing = acting(owner, "undo_call")
    assert studio.undo.call(undoing, run.call_id or "").counts == {"model.trained": 1}
    assert studio.models.get(owner, model.id).status is ModelStatus.ARCHIVED
    assert studio.training.get(owner, run.id).status == "completed"
    studio.undo.call(acting(owner, "undo_call"), undoing.call_id or "")
    assert studio.models.ready(owner, model.id)


def test_an_undo_that_a_later_change_of_the_model_builds_on_is_refused(
    studio: Studio, owner: Principal, train: Train
) -> None:
    model = train()
    run = studio.training.get(owner, model.run_id)
    me, later = acting(owner), acting(owner, "restore_model")
    studio.models.archive(me, model.id)
    with pytest.raises(UndoConflict) as caught:
        studio.undo.call(acting(owner, "undo_call"), run.call_id or "")
    assert [call["call_id"] for call in caught.value.details["calls"]] == [me.call_id]
    studio.models.restore(later, model.id)
    with pytest.raises(UndoConflict):
        studio.undo.call(acting(owner, "undo_call"), me.call_id or "")
    assert studio.models.ready(owner, model.id)


def test_changes_of_one_model_do_not_stand_in_the_way_of_another(
    studio: Studio, owner: Principal, train: Train
) -> None:
    first, second = train(name="one"), train(name="two")
    me = acting(owner)
    studio.models.archive(me, first.id)
    studio.models.archive(acting(owner), second.id)
    studio.undo.call(acting(owner, "undo_call"), me.call_id or "")
    assert [model.id for model in studio.models.list(owner)] == [first.id]


def test_a_model_outlives_its_dataset_and_its_archiving_can_be_undone_then(
    studio: Studio, owner: Principal, train: Train
) -> None:
    model = train()
    me = acting(owner)
    studio.models.archive(me, model.id)
    studio.datasets.delete(owner, "signs")
    studio.recycle_bin.purge(owner)
    studio.recycle_bin.sweep()
    studio.undo.call(acting(owner, "undo_call"), me.call_id or "")
    back = studio.models.ready(owner, model.id)
    assert studio.blobs.get(back.onnx_sha256 or "").startswith(b"onnx")


def test_creating_a_dataset_is_not_undone_under_a_model_trained_on_it(
    studio: Studio, owner: Principal, work: Any
) -> None:
    from support.training import fill

    me = acting(owner, "create_dataset")
    yard = studio.datasets.create(me, name="yard")
    fill(studio, owner, yard)
    work(start(studio, owner, replace(REQUEST, dataset="yard")))
    with pytest.raises(UndoConflict):
        studio.undo.call(acting(owner, "undo_call"), me.call_id or "")


def test_a_model_that_is_being_trained_is_not_archived(
    studio: Studio, owner: Principal, signs: Dataset
) -> None:
    start(studio, owner, REQUEST)
    [model] = studio.models.list(owner, status=ModelStatus.TRAINING)
    with pytest.raises(Conflict) as caught:
        studio.models.archive(owner, model.id)
    assert caught.value.code == "model_training"
    with pytest.raises(Conflict) as caught:
        studio.models.ready(owner, model.id)
    assert (caught.value.code, caught.value.retryable) == ("model_not_ready", True)
    assert model.run_id in caught.value.fix


def test_lists_are_filtered_and_paged_newest_first(studio: Studio, owner: Principal, train: Train) -> None:
    made = [train(name=f"m{number}").id for number in range(3)]
    labels = train(pipeline="classification")
    ids = [model.id for model in studio.models.list(owner)]
    assert ids == [labels.id, *made[::-1]]
    assert [m.id for m in studio.models.list(owner, limit=2, offset=1)] == ids[1:3]
    assert [m.id for m in studio.models.list(owner, model_type=Task.CLASSIFICATION)] == [labels.id]
    assert studio.models.list(owner, dataset="other") == []
    assert len(studio.models.list(owner, dataset="signs", status=ModelStatus.READY)) == 4
    with pytest.raises(InvalidInput):
        studio.models.list(owner, limit=501)


def test_newest_for_tells_what_finds_objects_in_a_dataset(
    studio: Studio, owner: Principal, signs: Dataset, train: Train
) -> None:
    first, second = train(), train(pipeline="rfdetr_detection")
    train(pipeline="classification")
    gone = train()
    studio.models.archive(owner, gone.id)
    assert [model.id for model in studio.models.newest_for(signs)] == [second.id, first.id]
    assert studio.models.newest_for(studio.datasets.create(owner, name="other")) == []


def test_models_of_others_are_not_there(
    studio: Studio, owner: Principal, stranger: Principal, train: Train
) -> None:
    model = train()
    for look in (studio.models.get, studio.models.ready, studio.models.archive, studio.models.restore):
        with pytest.raises(NotFound) as caught:
            look(stranger, model.id)
        assert caught.value.code == "model_not_found"
    assert studio.models.ready(owner, model.id)


def test_evaluations_are_kept_newest_first(
    studio: Studio, owner: Principal, signs: Dataset, train: Train
) -> None:
    model = train()
    other = studio.datasets.create(owner, name="other")
    sha256 = studio.blobs.put(b"{}")
    with studio.database.write() as connection:
        uuid = studio.models.add_evaluation(
            connection,
            model,
            dataset=other,
            split="all",
            sha256=sha256,
            metrics={"mAP": 0.25, "mAP_50": None},
            images=12,
            pictures={"confusion": sha256},
        )
    newest, first = studio.models.evaluations(model)
    assert (newest.id, newest.dataset_name, newest.split, newest.images) == (uuid, "other", "all", 12)
    assert (newest.metrics, newest.pictures) == ({"mAP": 0.25, "mAP_50": None}, {"confusion": sha256})
    assert (first.dataset_name, first.split) == ("signs", "test")
