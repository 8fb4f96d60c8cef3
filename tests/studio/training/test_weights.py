"""What a run may start from: models of the organization, hub ids, local paths that the caller may read."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.ready_models import add_model
from support.training import Here, Script, start

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import Conflict, NotFound, PathNotAllowed, TintypeError, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.kinds import train as train_kind
from tintype_studio.studio import Studio
from tintype_studio.training.models import Model
from tintype_studio.training.pipeline import PipelineRequest, foresee
from tintype_studio.training.plan import TrainRequest
from tintype_studio.training.weights import OF_OUR_OWN
from tintype_studio.vision.tasks import Signature, Task
from tintype_studio.vision.train.pipelines import PIPELINES
from tintype_studio.vision.train.weights import Weights
from tintype_tools.model_shapes import ModelShape, TrainingRunShape

MINUTE = {"epochs": 1, "max_minutes": 1}
REQUEST = TrainRequest("signs", "yolox", config=MINUTE)
CLASSES = ({"name": "badge", "output_type": "polygon"},)


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_kind, "Pool", Here)
    monkeypatch.setattr("tintype_studio.training.pipeline.missing_libraries", lambda: ())


def request(pretrained: str, **change: Any) -> TrainRequest:
    return replace(REQUEST, config={**MINUTE, "pretrained": pretrained}, **change)


@pytest.fixture
def model(studio: Studio, owner: Principal, signs: Dataset, work: Any) -> Model:
    run = work(start(studio, owner, replace(REQUEST, name="finder")))
    return studio.models.ready(owner, run.model_id)


def refusals(studio: Studio, principal: Principal, asked: TrainRequest) -> list[TintypeError]:
    """Of the plan of a training, of its start, and of a full pipeline."""
    whole = PipelineRequest(
        asked.dataset,
        CLASSES,
        asked.pipeline,
        asked.gpu,
        config=asked.config,
        local_weights=asked.local_weights,
    )
    found = []
    for ask in (
        lambda: studio.training.plan(principal, asked),
        lambda: start(studio, principal, asked),
        lambda: foresee(studio, principal, whole),
    ):
        with pytest.raises(TintypeError) as caught:
            ask()
        found.append(caught.value)
    return found


def test_a_run_starts_from_a_model_and_its_card_says_so(
    studio: Studio, owner: Principal, model: Model, work: Any
) -> None:
    for written in (model.id, model.id.upper()):
        planned = studio.training.plan(owner, request(written))
        assert planned.weights == Weights("model", "finder 1.0.0", model.id, model.checkpoint_sha256)
    run = work(start(studio, owner, request(model.id)))
    new = studio.models.ready(owner, run.model_id)
    assert new.card["started_from"] == {"kind": "model", "name": "finder 1.0.0", "model_id": model.id}
    assert new.card["training"]["config"]["pretrained"] == model.id
    assert model.card["started_from"] is None


def test_the_child_is_told_what_to_start_from(
    studio: Studio, owner: Principal, model: Model, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = []
    call = Here.call

    def seen(self: Here, function: str, *arguments: Any, **rest: Any) -> Any:
        orders.extend(each for each in arguments if hasattr(each, "export_sha256"))
        return call(self, function, *arguments, **rest)

    monkeypatch.setattr(Here, "call", seen)
    work(start(studio, owner, request(model.id)))
    assert {order.weights and order.weights.sha256 for order in orders} == {model.checkpoint_sha256}
    assert len(orders) == 3


def test_a_model_of_others_is_not_there(
    studio: Studio, owner: Principal, stranger: Principal, model: Model
) -> None:
    dataset = studio.datasets.create(stranger, name="signs")
    signature = Signature(Task.DETECTION, "yolox", ("badge",), 64)
    other = add_model(studio, stranger, dataset, signature, b"onnx")
    for error in refusals(studio, owner, request(other.id)):
        assert isinstance(error, NotFound)
        assert error.code == "model_not_found"


def test_a_model_that_is_not_ready_is_refused(
    studio: Studio, owner: Principal, model: Model, work: Any, script: Script
) -> None:
    job = start(studio, owner, replace(REQUEST, name="unborn"))
    training = next(m for m in studio.models.list(owner) if m.name == "unborn")
    for error in refusals(studio, owner, request(training.id)):
        assert (error.code, error.retryable) == ("model_not_ready", True)
    work(job)
    studio.models.archive(owner, model.id)
    for error in refusals(studio, owner, request(model.id)):
        assert isinstance(error, Conflict)
        assert error.code == "model_not_ready"


def test_a_model_of_another_network_is_refused(studio: Studio, owner: Principal, model: Model) -> None:
    for error in refusals(studio, owner, request(model.id, pipeline="rfdetr_detection")):
        assert isinstance(error, Unavailable)
        assert (error.code, error.retryable) == ("needs_weights", False)
        assert error.message == "Model finder 1.0.0 is of the pipeline yolox, not rfdetr_detection."
        assert "ready rfdetr_detection model" in error.fix


def test_a_model_that_began_with_published_weights_has_their_network(
    studio: Studio, owner: Principal, signs: Dataset, work: Any
) -> None:
    run = work(start(studio, owner, request("org/net", pipeline="rfdetr_detection")))
    model = studio.models.ready(owner, run.model_id)
    assert model.card["started_from"] == {"kind": "hub", "name": "org/net"}
    for error in refusals(studio, owner, request(model.id, pipeline="rfdetr_detection")):
        assert (error.code, "org/net" in error.message) == ("needs_weights", True)


def test_hub_ids_are_for_pipelines_with_published_weights(
    studio: Studio, owner: Principal, signs: Dataset
) -> None:
    for error in refusals(studio, owner, request("org/net")):
        assert error.code == "needs_weights"
        assert "nothing on the hub" in error.message
    for name, pipeline in PIPELINES.items():
        spec = importlib.util.find_spec(pipeline.trainer.partition(":")[0])
        assert spec is not None
        published = "open_published(" in Path(str(spec.origin)).read_text()
        assert published is (name not in OF_OUR_OWN)


@pytest.mark.parametrize("path", ["/etc/passwd", "best.pt", "~/best.pt", "../x/y", "a/b/c", "./a/b"])
def test_a_path_that_nobody_has_vouched_for_is_refused(
    studio: Studio, owner: Principal, signs: Dataset, path: str
) -> None:
    for error in refusals(studio, owner, request(path)):
        assert isinstance(error, PathNotAllowed)
        assert error.code == "path_not_allowed"


def test_where_a_local_path_leads_is_told_to_nobody(
    studio: Studio, owner: Principal, signs: Dataset, work: Any
) -> None:
    asked = request("mine/best.pt", local_weights="/secret/7f/best.pt")
    assert studio.training.plan(owner, asked).weights == Weights(
        "local", "mine/best.pt", path="/secret/7f/best.pt"
    )
    run = work(start(studio, owner, asked))
    model = studio.models.ready(owner, run.model_id)
    assert model.card["started_from"] == {"kind": "local", "name": "mine/best.pt"}
    told = [TrainingRunShape.of(run).model_dump(mode="json"), ModelShape.of(model).model_dump(mode="json")]
    text = orjson.dumps([*told, model.card, run.config, run.notes]).decode()
    assert "mine/best.pt" in text
    assert "secret" not in text
