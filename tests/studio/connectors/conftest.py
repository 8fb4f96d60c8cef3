"""A workspace whose providers are on this machine; imports are done in the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.providers import KEY, Provider, open_provider

from tintype_studio import clock
from tintype_studio.connectors import roboflow, v7, web
from tintype_studio.connectors.protocol import RemoteDataset
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs import run
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.pool import Pool
from tintype_studio.studio import Studio, Workspace

Import = Callable[..., Job]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with open_provider() as opened:
        yield opened


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are real, and short."""
    for module in (v7, roboflow):
        monkeypatch.setattr(module, "FIRST_POLL_SECONDS", 0.02)
    monkeypatch.setattr(web, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(run, "FIRST_RETRY_SECONDS", 0.02)


@pytest.fixture
def studio(tmp_path: Path, provider: Provider) -> Iterator[Studio]:
    workspace = Workspace(tmp_path / "home", v7_url=provider.url, roboflow_url=provider.url)
    opened = Studio(workspace)
    opened.jobs.supervisor.enabled = False
    opened.jobs.alone.enabled = False
    yield opened
    opened.close()


@pytest.fixture
def owner(studio: Studio) -> Principal:
    principal = studio.keys.authenticate(saved_api_key(studio.home))
    return replace(principal, tool="import_from_connector", session="tests")


@pytest.fixture
def start(studio: Studio, owner: Principal) -> Callable[..., Job]:
    """Start an import, as the tool does."""

    def begin(name: str, *datasets: dict[str, Any], key: str = KEY) -> Job:
        acting = replace(owner, call_id=clock.new_id())
        wanted = [
            RemoteDataset(d.get("id", "?"), d["name"], d["slug"], version=d.get("version")) for d in datasets
        ]
        planned = studio.connectors.plan(acting, name, key, wanted)
        return studio.connectors.start(acting, name, key, planned)

    return begin


@pytest.fixture
def done(studio: Studio, owner: Principal, start: Callable[..., Job]) -> Import:
    """Start an import and do it."""

    def do(name: str, *datasets: dict[str, Any], key: str = KEY) -> Job:
        job = start(name, *datasets, key=key)
        return perform(studio, owner, job, key)

    return do


def perform(studio: Studio, owner: Principal, job: Job, key: str | None) -> Job:
    """The turn of an import, with the key in this process or without."""
    studio.jobs.secrets.clear()
    if key is not None:
        studio.jobs.secrets[job.id] = key
    Executor(studio, Pool(1)).execute(job.id, 0, owner=studio.liveness.instance)
    return studio.jobs.get(owner, job.id)


@pytest.fixture
def turn() -> Callable[..., Job]:
    return perform
