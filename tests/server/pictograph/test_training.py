"""``/training`` and ``/models`` on the wire: shapes, filters, pages, ends of runs, files of models."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.jobs import turn
from support.ready_models import add_model
from support.rest import Rest, open_rest
from support.trained import use_fake_models
from support.training import Script, fill

from tintype_server.pictograph.models import Model
from tintype_server.pictograph.training import TrainingRun
from tintype_studio.jobs.pool import Pool
from tintype_studio.vision.tasks import Signature, Task

RUNS, MODELS = "/training/", "/models/"
CONFIG = {"epochs": 3, "max_minutes": 2}
SIGNATURE = Signature(Task.DETECTION, "yolox", ("badge", "crate"), 64)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Script:
    return use_fake_models(monkeypatch, tmp_path)


@pytest.fixture
def rest(tmp_path: Path, script: Script) -> Iterator[Rest]:
    """A dataset ``yard`` of six labelled images, with the completed export ``all``."""
    with open_rest(tmp_path / "home") as opened:
        studio = opened.runtime.studio
        studio.jobs.supervisor.enabled = False
        fill(studio, opened.owner, studio.datasets.create(opened.owner, name="yard"))
        arguments = {"dataset_name": "yard", "name": "all", "include_images": True, "wait_seconds": 0}
        assert opened.ok("POST", "/_dispatch/create_export", json=arguments)["status"] == "completed"
        yield opened


def body(**given: Any) -> dict[str, Any]:
    asked = {"dataset_name": "yard", "export_name": "all", "pipeline_type": "yolox", "name": "first"}
    return asked | {"config": CONFIG} | given


def create(rest: Rest, **given: Any) -> dict[str, Any]:
    run: dict[str, Any] = rest.ok("POST", RUNS, json=body(**given))["training_run"]
    return run


def work(rest: Rest, run: dict[str, Any], pool: Pool) -> dict[str, Any]:
    """Run its job, and look at it again."""
    studio = rest.runtime.studio
    turn(studio, studio.jobs.get(rest.owner, studio.training.get(rest.owner, run["id"]).job_id), pool)
    after: dict[str, Any] = rest.ok("GET", RUNS + run["id"])["training_run"]
    return after


def test_a_run_is_queued_trained_and_has_a_model(rest: Rest, pool: Pool) -> None:
    run = create(rest)
    TrainingRun.model_validate(run)
    assert set(run) == set(TrainingRun.model_fields)
    assert (run["status"], run["progress"], run["name"], run["gpu_type"]) == ("queued", 0, "first", "a10g")
    assert (run["current_epoch"], run["total_epochs"], run["metrics"]) == (0, 3, {})
    assert run["config"]["epochs"] == 3
    done = work(rest, run, pool)
    TrainingRun.model_validate(done)
    assert (done["status"], done["progress"], done["error_message"]) == ("completed", 100, None)
    for name in ("current_epoch", "training_time_seconds"):
        assert type(done[name]) is int
    model = rest.ok("GET", MODELS + done["model_id"], role="viewer")["model"]
    Model.model_validate(model)
    assert set(model) == set(Model.model_fields)
    assert (model["status"], model["version"], model["visibility"]) == ("ready", "1.0.0", "private")
    assert model["class_mapping"] == {"0": "badge", "1": "crate"}
    assert model["training_run_id"] == run["id"]


def test_a_model_knows_its_parent_and_when_its_run_ended(rest: Rest, pool: Pool, script: Script) -> None:
    first = work(rest, create(rest), pool)
    second = create(rest, config=CONFIG | {"pretrained": first["model_id"]})
    (training,) = rest.ok("GET", MODELS, params={"status": "training"})["models"]
    assert (training["parent_model_id"], training["version"]) == (first["model_id"], "2.0.0")
    assert (training["metrics"], training["class_mapping"]) == (None, None)
    rest.ok("POST", f"{RUNS}{second['id']}/cancel")
    cancelled = rest.ok("GET", MODELS + training["id"])["model"]
    assert cancelled["status"] == "failed"
    assert datetime.fromisoformat(cancelled["updated_at"]) > datetime.fromisoformat(training["updated_at"])


def test_a_failed_run_says_why_and_its_model_too(rest: Rest, pool: Pool, script: Script) -> None:
    script.set(_1=["diverge", "diverge", "diverge"])
    run = work(rest, create(rest), pool)
    assert (run["status"], run["model_id"]) == ("failed", None)
    assert run["error_message"].endswith(".")
    (model,) = rest.ok("GET", MODELS, params={"status": "failed"})["models"]
    assert model["updated_at"] > model["created_at"]
    assert rest.no("GET", f"{MODELS}{model['id']}/download") == (409, "model_not_ready")


def test_cancelling_twice_is_no_error_and_after_the_end_a_conflict(rest: Rest, pool: Pool) -> None:
    waiting = create(rest)
    path = f"{RUNS}{waiting['id']}/cancel"
    assert rest.no("POST", path, role="viewer") == (403, "role_required")
    for _ in range(2):
        assert rest.ok("POST", path)["training_run"]["status"] == "cancelled"
    done = work(rest, create(rest, name="second"), pool)
    assert rest.no("POST", f"{RUNS}{done['id']}/cancel") == (409, "training_ended")


def test_runs_are_listed_by_status_dataset_and_page(rest: Rest, pool: Pool) -> None:
    names = ["a", "b", "c"]
    made = [create(rest, name=name) for name in names]
    rest.ok("POST", f"{RUNS}{made[0]['id']}/cancel")

    def listed(**params: Any) -> list[str]:
        return [run["name"] for run in rest.ok("GET", RUNS, role="viewer", params=params)["training_runs"]]

    assert listed() == ["c", "b", "a"]
    assert listed(status="queued") == ["c", "b"]
    assert listed(status="cancelled") == ["a"]
    assert listed(status="pending") == []
    assert listed(limit=2) + listed(limit=2, offset=2) == ["c", "b", "a"]
    assert listed(dataset_name="yard", status="queued") == ["c", "b"]
    assert listed(dataset_name="nowhere") == []
    assert rest.ok("GET", RUNS, role="elsewhere")["training_runs"] == []
    for wrong in ({"limit": 501}, {"limit": 0}, {"offset": -1}, {"status": "done"}):
        assert rest.no("GET", RUNS, params=wrong) == (422, "invalid_arguments")


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"dataset_name": "x"}, (404, "dataset_not_found")),
        ({"export_name": "x"}, (404, "export_not_found")),
        ({"pipeline_type": "yolo"}, (422, "invalid_arguments")),
        ({"gpu_type": "t4"}, (422, "invalid_arguments")),
        ({"name": ""}, (422, "invalid_arguments")),
        ({"name": "n" * 101}, (422, "invalid_arguments")),
        ({"config": {"epochs": "many"}}, (422, "invalid_config")),
        ({"config": {"max_minutes": 1000}}, (402, "insufficient_credits")),
        ({"config": {"pretrained": "/etc/passwd"}}, (403, "path_not_allowed")),
    ],
)
def test_what_cannot_be_trained_is_refused(rest: Rest, given: Any, refused: tuple[int, str]) -> None:
    assert rest.no("POST", RUNS, json=body(**given)) == refused
    assert rest.ok("GET", RUNS)["training_runs"] == []
    assert rest.no("POST", RUNS, role="viewer", json=body()) == (403, "role_required")


def test_an_export_without_images_is_not_trained_on(rest: Rest) -> None:
    arguments = {"dataset_name": "yard", "name": "bare", "include_images": False, "wait_seconds": 0}
    rest.ok("POST", "/_dispatch/create_export", json=arguments)
    assert rest.no("POST", RUNS, json=body(export_name="bare")) == (422, "wrong_export")


def test_others_runs_and_models_are_not_found(rest: Rest) -> None:
    run = create(rest)
    studio = rest.runtime.studio
    dataset = studio.datasets.get(rest.owner, "yard")
    model = add_model(studio, rest.owner, dataset, SIGNATURE, b"an ONNX file")
    elsewhere = {"role": "elsewhere"}
    assert rest.no("GET", RUNS + run["id"], **elsewhere) == (404, "training_run_not_found")
    assert rest.no("POST", f"{RUNS}{run['id']}/cancel", **elsewhere) == (404, "training_run_not_found")
    assert rest.no("POST", RUNS, json=body(), **elsewhere) == (404, "dataset_not_found")
    for method, path in (("GET", model.id), ("DELETE", model.id), ("GET", f"{model.id}/download")):
        assert rest.no(method, MODELS + path, **elsewhere) == (404, "model_not_found")
    assert rest.ok("GET", MODELS, **elsewhere)["models"] == []


def test_models_are_listed_fetched_and_deleted(rest: Rest) -> None:
    studio = rest.runtime.studio
    dataset = studio.datasets.get(rest.owner, "yard")
    other = Signature(Task.CLASSIFICATION, "classification", ("a", "b"), 64)
    model = add_model(studio, rest.owner, dataset, SIGNATURE, b"an ONNX file", name="finder")
    add_model(studio, rest.owner, dataset, other, b"another", name="teller")

    def listed(**params: Any) -> list[str]:
        return [m["name"] for m in rest.ok("GET", MODELS, role="viewer", params=params)["models"]]

    assert listed() == ["teller", "finder"]
    assert listed(model_type="classification") == ["teller"]
    assert listed(status="ready", limit=1, offset=1) == ["finder"]
    assert listed(dataset_name="yard") == ["teller", "finder"]
    assert rest.no("GET", MODELS, params={"model_type": "poetry"}) == (422, "invalid_arguments")
    link = rest.ok("GET", f"{MODELS}{model.id}/download", role="viewer")
    assert link["download_url"].startswith("http://testserver/_blob/")
    file = rest.client.get(link["download_url"].removeprefix("http://testserver"))
    assert (file.status_code, file.content) == (200, b"an ONNX file")
    assert (link["file_size"], link["format"]) == (12, "onnx")
    for name in ("pytorch", "checkpoint"):  # this model has none
        path = f"{MODELS}{model.id}/download?format={name}"
        assert rest.no("GET", path)[0] == 404
    assert rest.no("GET", f"{MODELS}{model.id}/download?format=zip") == (422, "invalid_arguments")
    assert rest.no("DELETE", MODELS + model.id, role="member") == (403, "role_required")
    assert rest.ok("DELETE", MODELS + model.id)["deleted"] is True
    assert rest.ok("GET", MODELS + model.id)["model"]["status"] == "archived"
    assert (listed(), listed(status="archived")) == (["teller"], ["finder"])
    assert rest.no("GET", f"{MODELS}{model.id}/download") == (409, "model_not_ready")
    assert rest.send("DELETE", MODELS + model.id).status_code == 200


def test_a_library_that_is_missing_is_no_reason_to_try_again(
    rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients repeat every 503."""
    monkeypatch.setattr("tintype_studio.training.plan.missing_libraries", lambda: ("torch",))
    response = rest.send("POST", RUNS, json=body())
    assert (response.status_code, response.json()["error"]["code"]) == (501, "needs_extra")
    assert response.json()["error"]["fix"] in response.json()["detail"]
