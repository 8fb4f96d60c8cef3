"""train_pipeline, get_training_status and cancel_training, with a session that learns nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import books
from support.training import Script, fill, until, use_fake_session

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PaymentRequired,
    TintypeError,
    Unavailable,
)
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.job_tables import jobs
from tintype_studio.training import plan as plans
from tintype_studio.training.plan import LIBRARIES, TrainRequest
from tintype_studio.vision.train.pipelines import PIPELINES
from tintype_tools.call import Outcome, Request
from tintype_tools.catalog.train_pipeline import TrainPipelineArgs

CONFIG = {"epochs": 3, "max_minutes": 2}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Script:
    return use_fake_session(monkeypatch, tmp_path)


@pytest.fixture
def runtime(tmp_path: Path, script: Script) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path / "home", confirm_above_credits=10**9))
    studio = opened.studio
    studio.jobs.supervisor.enabled = False
    owner = studio.keys.authenticate(opened.local_api_key())
    fill(studio, owner, studio.datasets.create(owner, name="signs"))
    yield opened
    opened.close()


@pytest.fixture
def owner(runtime: Runtime) -> Principal:
    return runtime.studio.keys.authenticate(runtime.local_api_key())


@pytest.fixture
def worker(runtime: Runtime) -> Iterator[Executor]:
    """Runs whatever is queued, as a worker's loop does."""
    executor, stop = Executor(runtime.studio, Pool(1)), threading.Event()
    threads: list[threading.Thread] = []

    def serve() -> None:
        begun: set[tuple[str, int]] = set()
        while not stop.wait(0.02):
            executor.watch()
            with runtime.studio.database.read() as connection:
                rows = connection.execute(sa.select(jobs.c.uuid, jobs.c.turn, jobs.c.status)).all()
            for row in rows:
                if row.status == "queued" and (row.uuid, row.turn) not in begun:
                    begun.add((row.uuid, row.turn))
                    threads.append(threading.Thread(target=executor.execute, args=(row.uuid, row.turn)))
                    threads[-1].start()

    loop = threading.Thread(target=serve)
    loop.start()
    yield executor
    executor.stop(2)
    stop.set()
    for thread in (loop, *threads):
        thread.join()


def call(runtime: Runtime, tool: str = "train_pipeline", **arguments: Any) -> Outcome:
    beside = {
        name: arguments.pop(name) for name in ("api_key", "dry_run", "idempotency_key") if name in arguments
    }
    if tool == "train_pipeline":
        arguments = {"dataset_name": "signs", "pipeline": "yolox", "config": CONFIG} | arguments
    return runtime.dispatch(
        Request(
            tool=tool,
            arguments=arguments,
            door="toolkit",
            files=everything(runtime.settings),
            **{"api_key": runtime.local_api_key()} | beside,
        )
    )


def test_waiting_for_a_short_training_answers_with_run_and_model(
    runtime: Runtime, owner: Principal, worker: Executor
) -> None:
    before = books(runtime.studio, owner)[0]
    outcome = call(runtime, config=CONFIG | {"colour": "red"})
    run, model = outcome.value["training_run"], outcome.value["model"]
    assert outcome.credits == run["credits"]["charged"] == 10
    assert books(runtime.studio, owner) == (before - 10, 0)
    assert (run["status"], run["progress"], run["pipeline_type"], run["gpu_type"]) == (
        "completed",
        100,
        "yolox",
        "a10g",
    )
    assert (run["current_epoch"], run["total_epochs"], run["training_time_seconds"]) == (3, 3, 60)
    assert (run["device"], run["initialization"], run["model_id"]) == ("cpu", "random", model["id"])
    assert any("colour" in note for note in run["notes"])
    assert (model["status"], model["model_type"], model["version"]) == ("ready", "object_detection", "1.0.0")
    assert model["class_mapping"] == {"0": "badge", "1": "crate"}
    assert model["metrics"]["mAP_50"] == 0.9
    assert "error" not in run
    assert "eta_seconds" not in run


def test_without_waiting_it_answers_at_once_and_the_status_tells_the_rest(
    runtime: Runtime, script: Script, worker: Executor
) -> None:
    pytest.importorskip("matplotlib")
    script.set(_3=["hang"])
    began = time.monotonic()
    run = call(runtime, wait=False).value["training_run"]
    assert time.monotonic() - began < 5
    assert run["status"] in {"queued", "running"}
    until(lambda: "3" in script.steps())
    outcome = call(runtime, "get_training_status", run_id=run["id"], include_curves=True, epochs=1)
    now = outcome.value["training_run"]
    assert (now["status"], now["stage"], now["current_epoch"], now["eta_seconds"]) == (
        "running",
        "train",
        2,
        20,
    )
    assert now["message"] == "epoch 2 of 3, loss 0.5"
    [epoch] = outcome.value["history"]
    assert (epoch["epoch"], epoch["metrics"]["train_loss"]) == (2, 0.5)
    [drawn] = outcome.pictures
    assert drawn.data.startswith(b"\x89PNG")
    assert drawn.width > drawn.height > 100
    cancelling = call(runtime, "cancel_training", run_id=run["id"]).value["training_run"]
    assert cancelling["cancelling"] is True
    ended = call(runtime, "get_training_status", run_id=run["id"], wait_seconds=10).value["training_run"]
    assert (ended["status"], ended["credits"]) == ("cancelled", {"held": 20, "charged": 10, "refunded": 0})
    assert "model_id" not in ended
    assert call(runtime, "cancel_training", run_id=run["id"]).value["training_run"] == ended


def test_before_the_first_epoch_there_are_no_curves(runtime: Runtime) -> None:
    pytest.importorskip("matplotlib")
    run = call(runtime, wait=False).value["training_run"]
    outcome = call(runtime, "get_training_status", run_id=run["id"], include_curves=True)
    assert (outcome.pictures, outcome.value["history"]) == ((), [])


def test_a_failed_run_says_why_and_is_refunded(
    runtime: Runtime, owner: Principal, script: Script, worker: Executor
) -> None:
    script.set(seconds=61, _2=["diverge"])
    before = books(runtime.studio, owner)
    run = call(runtime).value["training_run"]
    assert run["status"] == "failed"
    assert run["error"] == {
        "code": "training_diverged",
        "message": "The loss is not a number.",
        "fix": "Learn slower.",
    }
    assert run["error_message"] == run["error"]["message"]
    assert run["credits"] == {"held": 20, "charged": 20, "refunded": 20}
    assert books(runtime.studio, owner) == before


def test_a_key_makes_one_run(runtime: Runtime, owner: Principal) -> None:
    first = call(runtime, wait=False, idempotency_key="one")
    again = call(runtime, wait=False, idempotency_key="one")
    assert again.replayed
    assert again.value["training_run"]["id"] == first.value["training_run"]["id"]
    assert len(runtime.studio.training.list(owner)) == 1


def test_a_dry_run_starts_nothing_and_tells_price_and_images(runtime: Runtime, owner: Principal) -> None:
    before = books(runtime.studio, owner)
    value = call(runtime, dry_run=True, gpu="h100").value
    assert value["price"]["credits"] == 240 if "price" in value else "240" in str(value)
    assert "'images': 6" in str(value)
    assert runtime.studio.training.list(owner) == runtime.studio.models.list(owner) == []
    assert books(runtime.studio, owner) == before


@pytest.mark.parametrize(
    ("arguments", "kind", "code"),
    [
        ({"dataset_name": "nothing"}, NotFound, "dataset_not_found"),
        ({"pipeline": "yolov9"}, InvalidInput, None),
        ({"gpu": "t4"}, InvalidInput, None),
        ({"config": {"batch_size": 0}}, InvalidInput, "invalid_config"),
        ({"export_name": "nothing"}, NotFound, "export_not_found"),
        ({"status_filter": "in_progress"}, NotFound, "no_matching_images"),
        ({"class_filter": ["unicorn"]}, InvalidInput, "unknown_class"),
        ({"config": {"max_minutes": 1440}, "gpu": "h100"}, PaymentRequired, "insufficient_credits"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_starts(
    runtime: Runtime, owner: Principal, arguments: dict[str, Any], kind: type[TintypeError], code: str | None
) -> None:
    before = books(runtime.studio, owner)
    with pytest.raises(kind) as caught:
        call(runtime, **arguments)
    assert code in {None, caught.value.code}
    assert runtime.studio.training.list(owner) == []
    assert books(runtime.studio, owner) == before


def test_without_the_extra_nothing_starts(
    runtime: Runtime, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "missing_libraries", lambda: LIBRARIES)
    with pytest.raises(Unavailable) as caught:
        call(runtime)
    assert caught.value.code == "needs_extra"
    assert books(runtime.studio, owner)[1] == 0


def test_roles_and_organizations_are_kept_apart(runtime: Runtime, owner: Principal) -> None:
    studio = runtime.studio
    run = call(runtime, wait=False).value["training_run"]
    viewer = studio.keys.create(owner, name="looks", role=Role.VIEWER)[0]
    member = studio.keys.create(owner, name="works", role=Role.MEMBER)[0]
    seen = call(runtime, "get_training_status", run_id=run["id"], api_key=viewer).value["training_run"]
    assert (seen["id"], seen["status"]) == (run["id"], "queued")
    for tool, arguments in (("train_pipeline", {}), ("cancel_training", {"run_id": run["id"]})):
        with pytest.raises(TintypeError) as caught:
            call(runtime, tool, api_key=viewer, **arguments)
        assert caught.value.status in {403, 404}
    with pytest.raises(TintypeError) as caught:
        call(runtime, "cancel_training", run_id=run["id"], api_key=member)
    assert caught.value.code == "not_your_own"
    stranger = replace(owner, organization_id=owner.organization_id + 1)
    with pytest.raises(NotFound):
        studio.training.get(stranger, run["id"])
    assert call(runtime, "cancel_training", run_id=run["id"], dry_run=True).value
    assert studio.training.get(owner, run["id"]).status == "queued"


def test_a_completed_run_is_not_cancelled(runtime: Runtime, worker: Executor) -> None:
    run = call(runtime).value["training_run"]
    with pytest.raises(Conflict) as caught:
        call(runtime, "cancel_training", run_id=run["id"])
    assert caught.value.code == "training_ended"


def test_a_run_that_is_not_there_is_said_so(runtime: Runtime) -> None:
    for tool in ("get_training_status", "cancel_training"):
        with pytest.raises(NotFound) as caught:
            call(runtime, tool, run_id="nothing")
        assert caught.value.code == "training_run_not_found"


def test_the_arguments_name_every_pipeline_and_tier_of_the_platform() -> None:
    schema = TrainPipelineArgs.model_json_schema()["properties"]
    assert set(schema["pipeline"]["enum"]) == set(PIPELINES)
    assert tuple(schema["gpu"]["enum"]) == plans.GPUS
    assert TrainRequest.from_json(TrainRequest("a", "yolox", class_filter=("b",)).as_json()).class_filter == (
        "b",
    )
