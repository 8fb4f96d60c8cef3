"""Builds an export that is too large for a call.

The ZIP cannot be gone on with, so a turn that ended in the middle is begun anew; the export's row is
completed in the transaction that finishes the one item, and so once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.errors import NotFound, Unavailable
from tintype_studio.exports.service import ExportOptions
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.commits import patiently
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.kind import End, JobPlan, Kind, Queue
from tintype_studio.storage.job_tables import jobs

if TYPE_CHECKING:
    from tintype_studio.exports.build import Built
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio

BUILT = "export"
"""Key of the one item."""
TRIES = 3
"""Of a build beside which images are purged."""


class Export(Kind):
    """``args``: ``dataset``, ``name``, and the members of ``ExportOptions``."""

    name = "export"
    queue = Queue.IO

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """Free; the export is its one item, and its progress is told in words."""
        dataset = studio.datasets.get(principal, args["dataset"])
        studio.exports.survey(
            principal, dataset_name=args["dataset"], name=args["name"], options=_options(args)
        )
        return JobPlan(f"Export {dataset.name} as {args['format']}", total=1, dataset_row_id=dataset.row_id)

    def begun(
        self,
        studio: Studio,
        connection: sa.Connection,
        principal: Principal,
        job_row_id: int,
        args: dict[str, Any],
    ) -> None:
        """The row of the export, pending."""
        studio.exports.begin(
            connection,
            principal,
            job_id=connection.execute(sa.select(jobs.c.uuid).where(jobs.c.id == job_row_id)).scalar_one(),
            dataset_name=args["dataset"],
            name=args["name"],
            options=_options(args),
        )

    def run(self, run: Run) -> dict[str, Any]:
        """Write, store, record."""
        exports, job_id = run.studio.exports, run.job.id
        if BUILT not in run.finished:
            built = _build(run)
            run.commit(BUILT, write=partial(exports.complete, job_id, built))
        export = exports.get_of_job(run.principal, job_id)
        if export.unfinished:
            (item,) = run.studio.jobs.items(run.job, outcome="failed")
            raise Unavailable(
                item.error_message or "", code=item.error_code or "export_raced", fix="Create it again."
            )
        return {"export": export.id, "images": export.image_count, "file_size": export.file_size}

    def ended(self, studio: Studio, connection: sa.Connection, end: End) -> None:
        """What is not completed has failed."""
        message = "The export was cancelled."
        if end.status is JobStatus.FAILED and end.error is not None:
            message = end.error["message"] or ""
        studio.exports.fail(connection, end.job_id, message)


def _build(run: Run) -> Built:
    def told(done: int, total: int | None) -> None:
        run.check()
        run.progress(f"{done:,} of {total:,} images" if total else f"{done:,} images")

    built: list[Built] = []

    def build() -> None:
        run.stage("write")
        exports, stored = run.studio.exports, partial(run.stage, "store")
        built.append(exports.build(run.principal, run.job.id, progress=told, stored=stored))

    for left in reversed(range(TRIES)):
        try:
            patiently(build, run.pause)
            break
        except NotFound as error:
            # An image that was purged while its page was being written: the next try does not see it.
            if error.code != "blob_missing" or not left:
                raise
    return built[-1]


def _options(args: dict[str, Any]) -> ExportOptions:
    return ExportOptions(
        format=args["format"],
        include_images=args["include_images"],
        class_filter=args["class_filter"],
        status_filter=args["status_filter"],
    )


KIND = Export()
