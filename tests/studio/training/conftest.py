"""A dataset of six labelled images, the fake session, and a way to run turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.jobs import turn
from support.training import Script, fill, use_fake_session

from tintype_studio.catalog.datasets import Dataset
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.pool import Pool
from tintype_studio.studio import Studio
from tintype_studio.training.run import TrainingRun

Turns = Callable[[Job], TrainingRun]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Script:
    return use_fake_session(monkeypatch, tmp_path)


@pytest.fixture
def studio(studio: Studio, script: Script) -> Studio:
    """No worker of its own: the tests run the turns."""
    studio.jobs.supervisor.enabled = False
    return studio


@pytest.fixture
def signs(studio: Studio, owner: Principal, dataset: Dataset) -> Dataset:
    fill(studio, owner, dataset)
    return studio.datasets.get(owner, dataset.name)


@pytest.fixture
def pool() -> Iterator[Pool]:
    """The worker's; a run has its own."""
    pool = Pool(1)
    yield pool
    pool.close()


@pytest.fixture
def work(studio: Studio, owner: Principal, pool: Pool) -> Turns:
    """Runs the next turn of a job; returns its run as it stands then."""

    def run(job: Job) -> TrainingRun:
        turn(studio, job, pool)
        return studio.training.get_of_job(owner, job.id)

    return run
