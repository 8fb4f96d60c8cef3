"""A workspace whose jobs the tests run themselves, and snapshots made for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import jobs as support
from support.jobs import turn

from tintype_studio import clock
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.pool import Pool
from tintype_studio.snapshots.receiving import Upload
from tintype_studio.snapshots.snapshot import Snapshot
from tintype_studio.studio import Studio

PIECE = 1 << 16

Uploaded = Callable[..., Snapshot]
Restored = Callable[..., Job]


@pytest.fixture(autouse=True)
def support_in_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(support.__file__).parents[1]))


@pytest.fixture
def studio(studio: Studio) -> Studio:
    studio.jobs.supervisor.enabled = False
    return studio


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    pool = Pool(1)
    yield pool
    pool.close()


async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE]


def put(studio: Studio, token: str, data: bytes) -> str:
    """Put a part; returns its ETag."""
    parts = studio.snapshots.parts
    return asyncio.run(parts.receive(parts.slot(token), in_pieces(data)))


def put_all(studio: Studio, upload: Upload, files: Mapping[str, bytes], part: int) -> dict[str, list[str]]:
    """Put every part of every file; returns the ETags of each."""
    return {
        file.path: [
            put(studio, token, files[file.path][n * part : (n + 1) * part])
            for n, token in enumerate(file.tokens)
        ]
        for file in upload.files
    }


def begin(studio: Studio, who: Principal, files: Mapping[str, bytes], name: str = "frozen") -> Upload:
    return studio.snapshots.receiving.begin(who, name, [(path, len(data)) for path, data in files.items()])


@pytest.fixture
def uploaded(studio: Studio, owner: Principal) -> Uploaded:
    """Uploads files as a snapshot, and finishes it."""

    def make(files: Mapping[str, bytes], name: str = "frozen", who: Principal = owner) -> Snapshot:
        from tintype_studio.snapshots.uploads import PART_BYTES

        upload = begin(studio, who, files, name)
        etags = put_all(studio, upload, files, PART_BYTES)
        receiving = studio.snapshots.receiving
        for path, found in etags.items():
            receiving.join(who, upload.snapshot.id, path, dict(enumerate(found, 1)))
        return receiving.finish(who, upload.snapshot.id)

    return make


def in_call(who: Principal) -> Principal:
    """The same in a call of its own, so that changes are logged."""
    return replace(who, call_id=clock.new_id())


def start(studio: Studio, who: Principal, kind: str, args: dict[str, Any]) -> Job:
    """Start a job as the dispatcher does: in a call, in one transaction."""
    with studio.database.unit_of_work():
        return studio.jobs.start(in_call(who), kind, args)


def restore_args(snapshot: Snapshot, dataset: str = "back", **more: Any) -> dict[str, Any]:
    return {
        "snapshot": snapshot.id,
        "dataset": dataset,
        "description": None,
        "project": None,
        "topics": [],
        "fps": None,
        "labels": [],
        "threshold": 0.5,
        "overwrite": False,
        **more,
    }


@pytest.fixture
def restored(studio: Studio, owner: Principal, pool: Pool) -> Restored:
    """Restores a snapshot, to the end of its job."""

    def run(snapshot: Snapshot, dataset: str = "back", **more: Any) -> Job:
        job = start(studio, owner, "restore_snapshot", restore_args(snapshot, dataset, **more))
        turn(studio, job, pool)
        return studio.jobs.get(owner, job.id)

    return run


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
