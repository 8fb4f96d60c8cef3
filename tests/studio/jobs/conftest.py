"""Test kinds of jobs, known here and in child processes, and a pool of two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import jobs as support

from tintype_studio.jobs import kind as kinds
from tintype_studio.jobs.pool import Pool
from tintype_studio.studio import Studio


@pytest.fixture(autouse=True)
def known_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(support.__file__).parents[1]))
    monkeypatch.setattr(kinds, "_kinds", {})
    support.register_kinds()


@pytest.fixture
def studio(studio: Studio) -> Studio:
    """No worker of its own: the tests run the turns."""
    studio.jobs.supervisor.enabled = False
    return studio


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    pool = Pool(2)
    yield pool
    pool.close()
