"""Training and models, asked by the published SDK, on a server of their own: a small training, for real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ready_models import add_model
from support.sdk import Sdk, installed, open_sdk, open_server
from support.trainable import squares

from tintype_server.opening import open_studio
from tintype_server.settings import Settings
from tintype_studio.annotations.geometry import ANNOTATIONS
from tintype_studio.exports.service import ExportOptions
from tintype_studio.vision.tasks import Signature, Task

for library in ("torch", "onnx", "onnxscript", "transformers"):
    pytest.importorskip(library)


CONFIG = {"epochs": 1, "batch_size": 4, "image_size": 64, "max_minutes": 1, "patience": 0, "seed": 1}
PICTURES = 6
WRONG = "ValidationError"
CREATE = """
asked = {"pipeline_type": "yolox", "config": config, "wait": False, **given}
return client.training.create("yard", "all", **asked)
"""
WAIT = "return client.training.wait_for_completion(run, poll_interval=0.5, timeout=120)"


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    """A dataset ``yard`` of labelled pictures with the exports ``all`` and ``bare`` (without images)."""
    installed()
    with open_server(tmp_path_factory.mktemp("yard")) as server:
        studio = open_studio(Settings(home=server.home))
        studio.jobs.supervisor.enabled = False
        owner = studio.keys.authenticate(server.keys["owner"])
        dataset = studio.datasets.create(owner, name="yard")
        for seed in range(PICTURES):
            made = squares(seed, side=64)
            assert made.data is not None
            sample = studio.ingest.add_image(owner, dataset, data=made.data, filename=made.name)
            document = [{"id": str(n), **each} for n, each in enumerate(made.annotations)]
            studio.documents.save(owner, sample.id, ANNOTATIONS.validate_python(document))
        for name, images in (("all", True), ("bare", False)):
            options = ExportOptions("pictograph", include_images=images)
            studio.exports.create(owner, dataset_name="yard", name=name, options=options)
        studio.close()
        with open_sdk(server) as opened:
            yield opened


@pytest.fixture(scope="module")
def trained(yard: Sdk) -> dict[str, Any]:
    """A run that came to its end."""
    run = yard.run(CREATE, config=CONFIG, given={"name": "first"})
    assert (run["status"], run["progress"], run["gpu_type"]) == ("queued", 0, "a10g")
    done: dict[str, Any] = yard.run(WAIT, run=run["id"])
    assert done["id"] == run["id"]
    return done


def test_a_run_ends_with_a_model(yard: Sdk, trained: dict[str, Any]) -> None:
    assert (trained["status"], trained["progress"]) == ("completed", 100)
    assert (trained["current_epoch"], trained["total_epochs"], trained["error_message"]) == (1, 1, None)
    assert trained["training_time_seconds"] >= 0
    assert trained["completed_at"] >= trained["started_at"] >= trained["created_at"]
    model = yard.as_("viewer").run("return client.models.get(model)", model=trained["model_id"])
    assert (model["name"], model["version"], model["status"]) == ("first", "1.0.0", "ready")
    assert (model["model_type"], model["visibility"]) == ("object_detection", "private")
    assert sorted(model["class_mapping"].values()) == ["blue", "red"]
    assert "mAP" in model["metrics"]
    balance = yard.run("return client.credits.balance()")
    assert balance["credits_remaining"] == balance["credits_monthly_allowance"] - 10


def test_its_file_runs_in_onnx_runtime(yard: Sdk, trained: dict[str, Any], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    written = yard.run(
        "return client.models.download(model, output_path=path)",
        model=trained["model_id"],
        path=str(tmp_path / "deep" / "first.onnx"),
    )
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["boxes", "scores"]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["first.onnx"]


def test_a_run_is_cancelled(yard: Sdk, trained: dict[str, Any]) -> None:
    run = yard.run(CREATE, config=CONFIG | {"epochs": 500}, given={"name": "long"})
    stopped = yard.run("return client.training.cancel(run)", run=run["id"])
    assert stopped["status"] in {"queued", "running", "cancelled"}
    shape = yard.fails(WAIT, run=run["id"])
    assert (shape["type"], "cancelled" in shape["message"]) == ("ApiError", True)
    ended = yard.run("return client.training.get(run)", run=run["id"])
    assert (ended["status"], ended["model_id"]) == ("cancelled", None)
    (failed,) = yard.run("return client.models.list(status='failed')")
    assert failed["name"] == "long"
    assert failed["updated_at"] > failed["created_at"]
    refused = yard.fails("client.models.download(model, output_path='x')", model=failed["id"])
    assert (refused["type"], refused["status_code"]) == ("ConflictError", 409)
    assert yard.fails("client.training.cancel(run)", run=trained["id"])["type"] == "ConflictError"


def test_runs_are_listed_and_paged(yard: Sdk, trained: dict[str, Any]) -> None:
    for number in range(3):
        run = yard.run(CREATE, config=CONFIG, given={"name": f"page {number}"})
        yard.run("return client.training.cancel(run)", run=run["id"])
    listed = yard.as_("viewer").run("return client.training.list(limit=100)")
    assert [run["id"] for run in yard.run("return client.training.iter(page_size=2)")] == [
        run["id"] for run in listed
    ]
    assert [run["name"] for run in listed[:3]] == ["page 2", "page 1", "page 0"]
    completed = yard.run("return client.training.list(status='completed', dataset_name='yard')")
    assert [run["id"] for run in completed] == [trained["id"]]
    assert yard.run("return client.training.list(status='pending')") == []
    assert yard.as_("elsewhere").run("return client.training.list()") == []


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("create('nowhere', 'all', pipeline_type='yolox', name='n')", "NotFoundError"),
        ("create('yard', 'nothing', pipeline_type='yolox', name='n')", "NotFoundError"),
        ("create('yard', 'bare', pipeline_type='yolox', name='n')", WRONG),
        ("create('yard', 'all', pipeline_type='x', name='n')", WRONG),
        ("create('yard', 'all', pipeline_type='yolox', name='n', gpu_type='t4')", WRONG),
        ("create('yard', 'all', pipeline_type='yolox', name='')", WRONG),
        ("create('yard', 'all', pipeline_type='yolox', name='n', config={'epochs': 'x'})", WRONG),
        ("client.training.get('nothing')", "NotFoundError"),
        ("client.training.cancel('nothing')", "NotFoundError"),
        ("client.training.list(limit=501)", "ValidationError"),
        ("client.models.get('nothing')", "NotFoundError"),
        ("client.models.delete('nothing')", "NotFoundError"),
        ("client.models.download('nothing', output_path='x')", "NotFoundError"),
    ],
)
def test_documented_errors(yard: Sdk, code: str, error: str) -> None:
    assert yard.fails(f"create = client.training.create\n{code}")["type"] == error


def test_the_price_of_a_run_is_told_before_it(yard: Sdk) -> None:
    shape = yard.fails(CREATE, config={"max_minutes": 500}, given={"name": "dear"})
    assert (shape["status_code"], shape["credit_cost"]) == (402, 5000)
    assert shape["credits_remaining"] == yard.run("return client.credits.balance().credits_remaining")


def test_models_are_listed_filtered_and_deleted(yard: Sdk) -> None:
    studio = open_studio(Settings(home=yard.server.home))
    owner = studio.keys.authenticate(yard.server.keys["owner"])
    dataset = studio.datasets.get(owner, "yard")
    teller = Signature(Task.CLASSIFICATION, "classification", ("a", "b"), 64)
    made = [
        add_model(studio, owner, dataset, teller, f"file {n}".encode(), name=f"teller {n}") for n in range(3)
    ]
    studio.close()
    listed = yard.run("return client.models.list(model_type='classification', status='ready')")
    assert [model["name"] for model in listed] == ["teller 2", "teller 1", "teller 0"]
    paged = yard.run("return client.models.iter(model_type='classification', page_size=2)")
    assert [model["id"] for model in paged] == [model["id"] for model in listed]
    assert yard.as_("member").fails("client.models.delete(m)", m=made[0].id)["type"] == "ForbiddenError"
    assert yard.run("return client.models.delete(m)", m=made[0].id) is None
    assert made[0].id not in [model["id"] for model in yard.run("return client.models.list()")]
    archived = yard.run("return client.models.list(status='archived')")
    assert [(model["id"], model["status"]) for model in archived] == [(made[0].id, "archived")]
    assert yard.as_("elsewhere").fails("client.models.get(m)", m=made[1].id)["type"] == "NotFoundError"
