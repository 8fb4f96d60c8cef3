"""What the connector tools share: arguments, and an import as agents see it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, SecretStr

from tintype_studio.connectors.progress import progress_of
from tintype_studio.connectors.protocol import RemoteDataset
from tintype_studio.jobs.job import Job, JobStatus
from tintype_tools.call import Call
from tintype_tools.job_shapes import JobShape
from tintype_tools.spec import Args, Result

TOOLSET = "imports"
MAX_LISTED = 100

Provider = Literal["v7", "roboflow"]
ProviderArg = Annotated[Provider, Field(description="v7 (Darwin) or roboflow.")]
ProviderKey = Annotated[
    SecretStr, Field(description="The provider's API key; it is used for this call and never kept.")
]
"""As a dump, a stored answer or a question shows it, it is stars."""

STATUS = {
    JobStatus.QUEUED: "processing",
    JobStatus.RUNNING: "processing",
    JobStatus.COMPLETED: "completed",
    JobStatus.CANCELLED: "cancelled",
    JobStatus.FAILED: "error",
}


class RemoteDatasetArg(Args):
    """A dataset of the provider, as validate_connector tells it. Its name becomes the name here."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: Annotated[str, Field(min_length=1, max_length=300, description="The provider's id.")]
    name: Annotated[str, Field(min_length=1, max_length=300, description="Name of the dataset here.")]
    slug: Annotated[str | None, Field(max_length=300, description="The provider's slug; the id will do.")] = (
        None
    )
    image_count: Annotated[int, Field(ge=0, description="Not needed.")] = 0
    version: Annotated[int | None, Field(ge=1, le=10**9, description="Of Roboflow; else the newest.")] = None

    def remote(self) -> RemoteDataset:
        """For the service."""
        return RemoteDataset(self.id, self.name, self.slug or self.id, self.image_count, self.version)


class RemoteDatasetShape(Result):
    """A dataset that the key can read."""

    id: str
    name: str
    slug: str
    image_count: int
    version: int | None = None


class ImportedDatasetShape(Result):
    """One dataset of an import. Counts are of images; ``project_id`` is the dataset's id here."""

    name: str
    project_id: str
    status: str
    imported: int
    skipped: int
    failed: int
    total_images: int
    error: str | None = None


class ImportFailure(Result):
    """An image or a dataset that was given up."""

    path: str
    code: str
    reason: str


class ImportResult(Result):
    """An import as it stands. ``notes``: what was left out or looked odd, by dataset."""

    import_id: str
    status: str
    progress: float
    total_images: int
    imported_images: int
    failed_images: int
    current_dataset: str
    datasets: list[ImportedDatasetShape]
    failures: list[ImportFailure]
    notes: dict[str, list[str]] | None = None
    job: JobShape


def report(job: Job, call: Call) -> ImportResult:
    """The import of a job."""
    told = progress_of(call.studio, call.principal, job)
    failed = call.studio.jobs.items(job, outcome="failed", limit=MAX_LISTED) if job.failed else []
    names = {str(number): dataset.name for number, dataset in enumerate(told.datasets)}
    return ImportResult(
        import_id=job.id,
        status=STATUS[job.status],
        progress=told.percent(completed=job.status is JobStatus.COMPLETED),
        total_images=told.total,
        imported_images=told.imported,
        failed_images=told.failed,
        current_dataset="" if job.ended else told.current,
        datasets=[
            ImportedDatasetShape(
                name=d.name,
                project_id=d.dataset_id,
                status=d.status,
                imported=d.imported,
                skipped=d.skipped,
                failed=d.failed,
                total_images=d.total,
                error=d.error,
            )
            for d in told.datasets
        ],
        failures=[
            ImportFailure(
                path=_path(item.key, names), code=item.error_code or "", reason=item.error_message or ""
            )
            for item in failed
        ],
        notes={n: lines for n, lines in (job.result or {}).get("notes", {}).items() if lines} or None,
        job=JobShape.of(job),
    )


def _path(key: str, names: dict[str, str]) -> str:
    number, slash, path = key.partition("/")
    return f"{names[number]}{slash}{path}"
