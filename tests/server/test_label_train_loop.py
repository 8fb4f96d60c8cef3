"""The recipe of docs/training.md: label, train, pre-label, correct, train, through the tools an agent has."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tintype_server.demo.signs import Sign, draw, truth
from tintype_server.demo.training import matches
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.pool import Pool
from tintype_tools.call import Request

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_core")]

LABELLED, UNLABELLED = 40, 12
CONFIG = {"epochs": 16, "batch_size": 4, "image_size": 256, "max_minutes": 5, "seed": 5, "patience": 0}


class Agent:
    """Calls tools, and works off the jobs that they start."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.pool = Pool(2)

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        outcome = self.runtime.dispatch(
            Request(
                tool=tool,
                arguments=arguments,
                api_key=self.runtime.local_api_key(),
                door="toolkit",
                files=everything(self.runtime.settings),
            )
        )
        return outcome.value

    def work(self, job_id: str) -> dict[str, Any]:
        Executor(self.runtime.studio, self.pool).execute(job_id, 0)
        job = self.call("get_job", job_id=job_id)["job"]
        assert job["status"] == "completed", job
        return job

    def images(self) -> list[dict[str, Any]]:
        return self.call("get_dataset", name="signs", include_images=True)["images"]

    def train(self, **config: Any) -> dict[str, Any]:
        run = self.call(
            "train_pipeline",
            dataset_name="signs",
            pipeline="yolox",
            name="signs-detector",
            config=CONFIG | config,
            wait=False,
        )["training_run"]
        self.work(run["job_id"])
        run = self.call("get_training_status", run_id=run["id"])["training_run"]
        return self.call("get_model", model_id=run["model_id"])["model"]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    runtime = Runtime.open(Settings(home=tmp_path / "home", confirm_above_credits=10**9))
    runtime.studio.jobs.supervisor.enabled = False
    opened = Agent(runtime)
    yield opened
    opened.pool.close()
    runtime.close()


def test_a_model_pre_labels_what_trains_the_next_one(agent: Agent, tmp_path: Path) -> None:
    signs: dict[str, list[Sign]] = {}
    (tmp_path / "signs").mkdir()
    for number in range(LABELLED + UNLABELLED):
        picture, signs[f"{number:03}.jpg"] = draw(number)
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=92)
        (tmp_path / "signs" / f"{number:03}.jpg").write_bytes(data.getvalue())
    agent.call("upload_dataset_from_folder", dataset_name="signs", folder=str(tmp_path / "signs"))

    for image in agent.images():
        if int(image["filename"][:3]) < LABELLED:
            agent.call(
                "save_annotations", image_uuid=image["id"], annotations=truth(signs[image["filename"]])
            )
    first = agent.train()
    assert first["version"] == "1.0.0"

    classes = [{"name": name, "output_type": "bbox"} for name in ("stop", "yield", "speed_limit")]
    started = agent.call("auto_annotate_dataset", dataset_name="signs", classes=classes, wait_seconds=0)
    agent.work(started["job_id"])
    right = drafts = there = 0
    for image in agent.images():
        if int(image["filename"][:3]) < LABELLED:
            continue
        found = agent.call("get_annotations", image_uuid=image["id"])["annotations"]
        assert all(a["created_by"].startswith("signs-detector@1.0.0") for a in found), first
        drafts += len(found)
        there += len(signs[image["filename"]])
        right += sum(any(matches(a, sign) for a in found) for sign in signs[image["filename"]])
        agent.call("save_annotations", image_uuid=image["id"], annotations=truth(signs[image["filename"]]))
    assert right >= 0.5 * there
    assert right >= 0.5 * drafts

    second = agent.train(epochs=3, pretrained=first["id"])
    assert second["version"] == "2.0.0"
    newest = agent.call("list_models", limit=1)["models"][0]
    assert newest["id"] == second["id"]
    told = agent.call("get_model", model_id=second["id"])
    assert told["training"]["parent_model_id"] == first["id"]
    assert second["metrics"]["mAP_50"] >= 0.5
