"""A real training, from labelled pictures to a checked ONNX model in the registry. Needs the extra."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.drawings import CLASSES, fill
from support.jobs import books

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.pool import Pool
from tintype_tools.call import Outcome, Request

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("transformers")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_core")]

CONFIG = {
    "epochs": 2,
    "batch_size": 8,
    "image_size": 96,
    "max_minutes": 1,
    "seed": 3,
    "learning_rate": 0.004,
    "patience": 0,
    "shape": "round",
}


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    opened = Runtime.open(Settings(home=tmp_path / "home", confirm_above_credits=10**9))
    studio = opened.studio
    studio.jobs.supervisor.enabled = False
    owner = studio.keys.authenticate(opened.local_api_key())
    fill(studio, owner, studio.datasets.create(owner, name="yard"), labelled=20, unlabelled=0)
    yield opened
    opened.close()


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


def test_a_dataset_becomes_a_model_and_the_model_is_what_the_registry_says(runtime: Runtime) -> None:
    import onnxruntime

    studio = runtime.studio
    owner = studio.keys.authenticate(runtime.local_api_key())
    before = books(studio, owner)[0]
    started = call(
        runtime, "train_pipeline", dataset_name="yard", pipeline="yolox", config=CONFIG, wait=False
    )
    run_id, job_id = started.value["training_run"]["id"], started.value["training_run"]["job_id"]
    executor = Executor(studio, Pool(1))
    worker = threading.Thread(target=executor.execute, args=(job_id, 0))
    worker.start()
    seen: set[tuple[str | None, int]] = set()
    while worker.is_alive():
        run = call(runtime, "get_training_status", run_id=run_id, epochs=0).value["training_run"]
        seen.add((run.get("stage"), run["current_epoch"]))
        time.sleep(0.2)
    outcome = call(runtime, "get_training_status", run_id=run_id, epochs=50, include_curves=True)
    run, history = outcome.value["training_run"], outcome.value["history"]
    assert (run["status"], run.get("error")) == ("completed", None)
    assert len(seen) > 3
    assert any("'shape'" in note for note in run["notes"])
    assert [epoch["epoch"] for epoch in history] == list(range(1, run["current_epoch"] + 1))
    losses = [e["metrics"]["train_loss"] for e in history if "train_loss" in e["metrics"]]
    assert losses[-1] < losses[0]
    assert len(outcome.pictures) == 1
    assert run["device"]
    assert 0 < run["training_time_seconds"] <= 60
    assert run["credits"]["charged"] == 10
    assert books(studio, owner) == (before - 10, 0)

    model = studio.models.ready(owner, run["model_id"])
    assert set(model.classes) == set(CLASSES)
    assert model.initialization
    assert {"mAP", "mAP_50", "precision", "recall"} <= set(model.metrics)
    assert model.card["onnx_check"]["max_difference"] <= model.card["onnx_check"]["tolerance"]
    assert sum(model.card["data"]["images"].values()) == 20
    data = studio.blobs.get(model.onnx_sha256 or "")
    assert hashlib.sha256(data).hexdigest() == model.onnx_sha256
    assert len(data) == model.onnx_size
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["boxes", "scores"]
    [evaluation] = studio.models.evaluations(model)
    assert "training_curves" in evaluation.pictures
    [listed] = call(runtime, "list_sessions").value["sessions"]
    assert (listed["status"], listed["model_id"]) == ("completed", model.id)
    told = call(runtime, "get_session_metrics", session_id=listed["wire_id"]).value
    assert told["metrics"]["mAP"] == model.metrics["mAP"]
    assert [each["epoch"] for each in told["metrics"]["history"]] == [e["epoch"] for e in history]
    sizes = {file["path"]: file["size"] for file in told["files"]}
    assert (sizes["artifacts/model.onnx"], sizes["checkpoints/best.pt"]) == (
        model.onnx_size,
        model.checkpoint_size,
    )
    for sha256 in evaluation.pictures.values():
        assert studio.blobs.get(sha256).startswith(b"\x89PNG")
    assert not studio.training.work_dir(run_id).exists()
