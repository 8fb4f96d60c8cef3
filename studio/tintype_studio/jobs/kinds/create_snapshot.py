"""Makes a snapshot of a dataset, or of files on this machine.

``args``: ``name``, ``description``, and either ``dataset`` with ``annotation_set``, or ``paths``: pairs of a
file's name in the snapshot and its real and absolute path, which the worker reads.

What is written cannot be gone on with, so a turn that ended in the middle is begun anew; the snapshot is
recorded in the transaction that finishes the one item, and so once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.errors import NotFound, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.commits import patiently
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.kind import End, JobPlan, Kind, Queue
from tintype_studio.snapshots.contents import type_of
from tintype_studio.snapshots.paths import clean_paths
from tintype_studio.snapshots.snapshot import SnapshotType, clean_snapshot_name

if TYPE_CHECKING:
    from tintype_studio.jobs.run import Run
    from tintype_studio.snapshots.contents import Contents
    from tintype_studio.snapshots.files import StoredFile
    from tintype_studio.studio import Studio

MADE = "snapshot"
"""Key of the one item."""
TRIES = 3
"""Of a dataset beside which samples are purged."""


class CreateSnapshot(Kind):
    """Free; the snapshot is its one item, and its progress is told in words."""

    name = "create_snapshot"
    queue = Queue.IO

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """Refuses a dataset or annotation set that is not there, and names that no file may have."""
        clean_snapshot_name(args["name"])
        if args.get("dataset") is None:
            clean_paths(name for name, _path in args["paths"])
            return JobPlan(f"Snapshot {args['name']}", total=1)
        dataset = studio.datasets.get(principal, args["dataset"])
        studio.annotation_sets.get(principal, args["dataset"], args["annotation_set"])
        return JobPlan(f"Snapshot of {dataset.name}", total=1, dataset_row_id=dataset.row_id)

    def begun(
        self,
        studio: Studio,
        connection: sa.Connection,
        principal: Principal,
        job_row_id: int,
        args: dict[str, Any],
    ) -> None:
        """The row of the snapshot, being made."""
        values: dict[str, Any] = {}
        kind = SnapshotType.EDGEFIRST
        if args.get("dataset") is not None:
            found = studio.annotation_sets.get(principal, args["dataset"], args["annotation_set"])
            dataset = studio.datasets.get_in(connection, principal, args["dataset"])
            values = {"dataset_row_id": dataset.row_id, "set_row_id": found.row_id}
        else:
            kind = type_of([name for name, _path in args["paths"]])
        studio.snapshots.begin(
            connection,
            principal,
            job_row_id,
            args["name"],
            description=args["description"],
            type=kind,
            **values,
        )

    def run(self, run: Run) -> dict[str, Any]:
        """Write, look, store, record."""
        snapshots = run.studio.snapshots
        if MADE not in run.finished:
            files, found = _made(run)
            run.stage("record")
            run.commit(MADE, write=partial(snapshots.complete, run.principal, run.job.id, files, found))
        for item in run.studio.jobs.items(run.job, outcome="failed"):
            raise Unavailable(
                item.error_message or "", code=item.error_code or "snapshot_raced", fix="Create it again."
            )
        snapshot = snapshots.of_job(run.principal, run.job.id)
        return {"snapshot": snapshot.id, "files": len(snapshot.files), "size": snapshot.size}

    def ended(self, studio: Studio, connection: sa.Connection, end: End) -> None:
        """What is not available has failed."""
        message = "Its creation was cancelled."
        if end.status is JobStatus.FAILED and end.error is not None:
            message = end.error["message"] or ""
        studio.snapshots.fail(connection, end.job_row_id, message)


def _made(run: Run) -> tuple[Sequence[StoredFile], Contents]:
    if run.args.get("dataset") is None:
        run.stage("read")
        named = [(name, Path(path)) for name, path in run.args["paths"]]
        return run.studio.snapshots.store(named, run.check)
    made: list[tuple[Sequence[StoredFile], Contents]] = []
    for left in reversed(range(TRIES)):
        try:
            patiently(lambda: made.append(_of_dataset(run)), run.pause)
            break
        except NotFound as error:
            # A sample that was purged while its page was being written: the next try does not see it.
            if error.code != "blob_missing" or not left:
                raise
    return made[-1]


def _of_dataset(run: Run) -> tuple[Sequence[StoredFile], Contents]:
    from tintype_studio.multisensor.edf import write_snapshot

    studio = run.studio
    dataset = studio.datasets.get(run.principal, run.args["dataset"])

    def told(done: int) -> None:
        run.check()
        run.progress(f"{done:,} samples")

    run.stage("write")
    with tempfile.TemporaryDirectory(dir=studio.home / "tmp", prefix="snapshot-") as folder:
        written = write_snapshot(
            studio,
            run.principal,
            dataset,
            run.args["annotation_set"],
            Path(folder),
            check=run.check,
            progress=told,
        )
        run.stage("store")
        return studio.snapshots.store([(path.name, path) for path in written], run.check)


KIND = CreateSnapshot()
