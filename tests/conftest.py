"""Fixtures that every floor's tests may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from support import schema
from support.pictures import jpeg

# A loaded machine is no reason to fail; and CI tries the same examples each time, and tells the first that
# fails as it is: making a long history shorter can take longer than all else.
settings.register_profile("here", deadline=None)
settings.register_profile(
    "ci", deadline=None, derandomize=True, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session", autouse=True)
def copied_schema() -> Iterator[None]:
    """A test process migrates once; ``tests/studio/test_migrations.py`` has the real thing."""
    with schema.copied():
        yield


@pytest.fixture(scope="module")
def one_core() -> Iterator[None]:
    """For files that train: that, here and in child processes, keeps to a core of its worker's own.

    The threads of a training wait for each other many times a step; on cores that others use, too, that
    doubles the work.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def folder_of_pictures(tmp_path: Path) -> Path:
    """Three JPEGs: one at the top, two in ``stop/``."""
    folder = tmp_path / "pictures"
    (folder / "stop").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(jpeg(seed=1))
    (folder / "stop" / "b.jpg").write_bytes(jpeg(seed=2))
    (folder / "stop" / "c.jpg").write_bytes(jpeg(seed=3))
    return folder
