"""Runs for tests: a session that learns nothing (``training_session``), datasets to train on, and a start."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from support.pictures import jpeg
from support.training_session import SCRIPT

from tintype_studio import clock
from tintype_studio.annotations.geometry import BBoxAnnotation, BoundingBox
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.catalog.samples import Sample
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.child import function_of
from tintype_studio.jobs.job import Job
from tintype_studio.storage.tables import ledger_entries
from tintype_studio.studio import Studio
from tintype_studio.training.plan import TrainRequest
from tintype_studio.training.run import TrainingRun

SESSION = "support.training_session"


def use_fake_session(monkeypatch: Any, folder: Path) -> Script:
    """Have runs of this process trained by ``training_session``."""
    from tintype_studio.training import plan, turn

    monkeypatch.setattr(turn, "SESSION", SESSION)
    monkeypatch.setattr(turn, "CURVES", f"{SESSION}:curves")
    monkeypatch.setattr(plan, "missing_libraries", lambda: ())
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    script = Script(folder / "script.json")
    monkeypatch.setenv(SCRIPT, str(script.path))
    return script


class Script:
    """What the child does beside the usual. ``seconds``: how long each epoch says that it took; ``notes``:
    what it remarks on the data; ``at``: by step (``prepare``, ``finish``, an epoch's number, or that of the
    heads as ``heads-<number>``) a list of deeds, one for each time it is begun: ``crash``, ``memory``,
    ``diverge``, ``full``, ``hang``, ``stop``, ``over``, ``nan`` or None. The log has every step that was
    begun, with its checkpoint and batch size.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set()

    def set(self, *, seconds: float = 20.0, notes: Sequence[str] = (), **at: list[str | None]) -> None:
        told = {k.lstrip("_"): v for k, v in at.items()}
        self.path.write_text(json.dumps({"seconds": seconds, "notes": list(notes), "at": told}))

    def log(self) -> list[list[Any]]:
        file = self.path.with_suffix(".log")
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def steps(self) -> list[str]:
        return [line[0] for line in self.log()]


class Here:
    """Stands in for a run's child processes where the test is not about them: does the work in this one."""

    def __init__(self, _size: int) -> None:
        self.size = 1

    def call(self, function: str, *arguments: Any, deadline: float, check: Any) -> Any:
        check()
        return function_of(function)(*arguments)

    def close(self) -> None:
        pass


def fill(
    studio: Studio,
    owner: Principal,
    dataset: Dataset,
    *,
    count: int = 6,
    labelled: int | None = None,
) -> list[Sample]:
    """Add images with one badge each, ``labelled`` of them labelled (all, unless told)."""
    made = []
    for number in range(count):
        data = jpeg(seed=number, width=48, height=36)
        made.append(studio.ingest.add_image(owner, dataset, data=data, filename=f"{number}.jpg"))
        if labelled is None or number < labelled:
            box = BBoxAnnotation(
                id="b", type="bbox", name="badge", bounding_box=BoundingBox(x=4, y=4, w=12, h=10)
            )
            studio.documents.save(owner, made[-1].id, [box])
    return made


def start(studio: Studio, owner: Principal, request: TrainRequest) -> Job:
    """Start a run as the dispatcher does: hold first, then run, job and hand-over in one transaction."""
    call_id = clock.new_id()
    principal = replace(owner, call_id=call_id, tool="train_pipeline", session="tests")
    planned = studio.training.plan(principal, request)
    studio.ledger.hold(principal, call_id=call_id, operation=planned.operation, amount=planned.credits)
    with studio.database.unit_of_work() as unit:
        run = studio.training.start(principal, request)
        assert run.job_id is not None
        studio.jobs.take_hold(unit.connection(), run.job_id, call_id)
    return studio.jobs.get(principal, run.job_id)


def checkpoints(studio: Studio, run: TrainingRun) -> list[str]:
    """Files of a run's checkpoints that are there."""
    root = studio.home / "blobs/derived/training" / run.id
    return sorted(path.name for path in root.glob("*")) if root.exists() else []


def left(studio: Studio, run: TrainingRun) -> tuple[bool, list[str]]:
    """What a run has left behind: its folder, its checkpoints."""
    return studio.training.work_dir(run.id).exists(), checkpoints(studio, run)


def entries(studio: Studio) -> list[tuple[str, int]]:
    """What the ledger says of trainings, in order."""
    with studio.database.read() as connection:
        rows = connection.execute(
            sa.select(ledger_entries.c.operation, ledger_entries.c.amount)
            .where(ledger_entries.c.operation.like("training%"))
            .order_by(ledger_entries.c.id)
        )
        return [tuple(row) for row in rows]


def until(done: Any, seconds: float = 20) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)
