"""An import as it stands, told from what its job has written down."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio.connectors.protocol import RemoteDataset
from tintype_studio.storage.job_tables import job_items

if TYPE_CHECKING:
    from tintype_studio.identity.keys import Principal
    from tintype_studio.jobs.job import Job
    from tintype_studio.studio import Studio


@dataclass(slots=True)
class DatasetProgress:
    """One dataset of an import. Counts are of images."""

    name: str
    """Its name here."""
    remote: RemoteDataset
    status: str = "pending"
    """pending, processing, completed or error."""
    dataset_id: str = ""
    """Empty until there is one here."""
    total: int = 0
    """As far as it is known."""
    imported: int = 0
    skipped: int = 0
    """Were there already, with annotations or without any to add."""
    failed: int = 0
    error_code: str | None = None
    error: str | None = None


@dataclass(slots=True)
class ImportProgress:
    """An import. Counts are of images."""

    datasets: list[DatasetProgress] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Of all datasets, as far as it is known."""
        return sum(dataset.total for dataset in self.datasets)

    @property
    def imported(self) -> int:
        """Those that are here now because of an import, this one or an earlier one."""
        return sum(dataset.imported + dataset.skipped for dataset in self.datasets)

    @property
    def failed(self) -> int:
        """Those that were given up."""
        return sum(dataset.failed for dataset in self.datasets)

    @property
    def current(self) -> str:
        """The name of the dataset that is being imported; empty when there is none."""
        return next((d.name for d in self.datasets if d.status == "processing"), "")

    def percent(self, *, completed: bool) -> float:
        """How much is done, from 0 to 100; below 100 until all is."""
        if completed:
            return 100.0
        done, total = self.imported + self.failed, self.total
        return min(99.0, round(100 * done / total, 1)) if total else 0.0


def progress_of(studio: Studio, principal: Principal, job: Job) -> ImportProgress:
    """Of an import's job."""
    told = ImportProgress()
    reached = False
    with studio.database.read() as connection:
        for number, entry in enumerate(job.args["datasets"]):
            remote = RemoteDataset(**entry)
            row = DatasetProgress(remote.name, remote, total=remote.image_count)
            _count(connection, job, number, row)
            told.datasets.append(row)
    for row in told.datasets:
        if row.status in {"completed", "error"}:
            continue
        if not reached and job.started_at is not None:
            row.status = "error" if job.ended else "processing"
            reached = True
        elif job.ended:
            row.status = "error"
        if not row.dataset_id:
            here = studio.datasets.find(principal, row.name)
            row.dataset_id = here.id if here is not None and row.imported + row.skipped else ""
    return told


def _count(connection: sa.Connection, job: Job, number: int, row: DatasetProgress) -> None:
    mine = job_items.c.job_id == job.row_id
    images = connection.execute(
        sa.select(job_items.c.outcome, sa.func.count())
        # "0" is the character after "/".
        .where(mine, job_items.c.key > f"{number}/", job_items.c.key < f"{number}0")
        .group_by(job_items.c.outcome)
    ).all()
    counts: Counter[str] = Counter({outcome: count for outcome, count in images})
    row.imported, row.skipped, row.failed = counts["done"], counts["skipped"], counts["failed"]
    row.total = max(row.total, counts.total())
    marker = connection.execute(sa.select(job_items).where(mine, job_items.c.key == str(number))).first()
    if marker is None:
        return
    if marker.outcome == "failed":
        row.status, row.error_code, row.error = "error", marker.error_code, marker.error_message
        return
    row.status = "completed"
    row.dataset_id, row.total = marker.detail["dataset_id"], marker.detail["images"]
