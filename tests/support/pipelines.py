"""A workspace for full pipelines: a labelled dataset, a model that labels it, a training that pretends."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import turn
from support.onnx_models import blob_detector
from support.ready_models import Cell, add_model, add_scene, png, scene
from support.trained import use_fake_models
from support.training import Script

from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import ConfirmationRequired, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.tables import ledger_entries
from tintype_studio.training import pipeline as pipelines
from tintype_studio.vision.tasks import Signature, Task
from tintype_tools.call import Outcome, Request

LABELLED, NEW = 5, 4
BOTH = [{"name": "red", "output_type": "bbox"}, {"name": "blue", "output_type": "bbox"}]
CONFIG = {"epochs": 3, "max_minutes": 2, "colour": "red"}
MINUTE = 10

Finish = Callable[[Outcome], dict[str, Any]]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the labelled dataset ``yard`` and a model that finds red and blue cells exactly."""
    home = tmp_path_factory.mktemp("template") / "home"
    runtime = Runtime.open(Settings(home=home))
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    yard = runtime.studio.datasets.create(owner, name="yard")
    for number in range(LABELLED):
        add_scene(runtime.studio, owner, yard, f"{number}.png", *cells(number))
    signature = Signature(Task.DETECTION, "yolox", ("red", "blue"), 64)
    add_model(runtime.studio, owner, yard, signature, blob_detector(signature))
    runtime.close()
    return home


def cells(number: int) -> list[Cell]:
    return [(number % 4, 1, "red"), (3 - number % 4, 3, "blue")]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Script:
    monkeypatch.setattr(pipelines, "missing_libraries", lambda: ())
    return use_fake_models(monkeypatch, tmp_path)


@pytest.fixture
def runtime(template: Path, tmp_path: Path, script: Script) -> Iterator[Runtime]:
    shutil.copytree(template, tmp_path / "home")
    opened = Runtime.open(Settings(home=tmp_path / "home"))
    opened.studio.jobs.supervisor.enabled = False
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    opened = Pool(1)
    yield opened
    opened.close()


@pytest.fixture
def owner(runtime: Runtime) -> Principal:
    return runtime.studio.keys.authenticate(runtime.local_api_key())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures that the yard does not have yet."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(LABELLED, LABELLED + NEW):
        (folder / f"{seed}.png").write_bytes(png(scene(64, 64, *cells(seed))))
    return folder


@pytest.fixture
def finish(runtime: Runtime, pool: Pool) -> Finish:
    """Runs the job of a call, and reports on it as the tool does."""

    def run(started: Outcome) -> dict[str, Any]:
        owner = runtime.studio.keys.authenticate(runtime.local_api_key())
        turn(runtime.studio, runtime.studio.jobs.get(owner, started.value["job"]["job_id"]), pool)
        return reported(runtime, owner, started)

    return run


def reported(runtime: Runtime, owner: Principal, started: Outcome) -> dict[str, Any]:
    class Watching:
        principal, studio = owner, runtime.studio

    job = runtime.studio.jobs.get(owner, started.value["job"]["job_id"])
    report = runtime.registry.get("full_pipeline").report
    assert report is not None
    return report(job, Watching()).model_dump(mode="json", exclude_none=True)  # type: ignore[arg-type,union-attr]


def call(runtime: Runtime, pictures: Path, /, *, dry_run: bool = False, **arguments: Any) -> Outcome:
    given = {
        "dataset_name": "yard",
        "folder": str(pictures),
        "classes": BOTH,
        "pipeline": "yolox",
        "train_config": CONFIG,
        "wait_seconds": 0,
    }
    return dispatch(runtime, "full_pipeline", given | arguments, dry_run=dry_run)


def dispatch(runtime: Runtime, name: str, arguments: dict[str, Any], *, dry_run: bool = False) -> Outcome:
    request = Request(
        tool=name,
        arguments=arguments,
        api_key=runtime.local_api_key(),
        door="toolkit",
        files=everything(runtime.settings),
        dry_run=dry_run,
    )
    try:
        return runtime.dispatch(request)
    except ConfirmationRequired as question:
        return runtime.dispatch(request.confirmed(question.token))


def code(runtime: Runtime, pictures: Path, /, **arguments: Any) -> str:
    with pytest.raises(TintypeError) as refused:
        call(runtime, pictures, **arguments)
    return refused.value.code


def yard(runtime: Runtime, owner: Principal) -> Dataset:
    return runtime.studio.datasets.get(owner, "yard")


def entries(runtime: Runtime) -> list[tuple[str, int]]:
    query = sa.select(ledger_entries.c.operation, ledger_entries.c.amount)
    with runtime.studio.database.read() as connection:
        rows = connection.execute(
            query.where(ledger_entries.c.operation.like("full_pipeline%")).order_by(ledger_entries.c.id)
        )
        return [tuple(row) for row in rows]
