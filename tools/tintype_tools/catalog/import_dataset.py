"""Import a dataset that was annotated elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tintype_studio.formats.reading import open_reader
from tintype_studio.formats.reading.source import open_source
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.kinds.import_files import survey, totals
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, JobShape, WaitSeconds
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

KIND = "import_files"
MAX_LISTED = 100


class ImportDatasetArgs(Args):
    """What to import, and into which dataset."""

    dataset_name: DatasetName
    path: Annotated[str, Field(description="Local folder or .zip file; the server's machine reads it.")]
    format: Annotated[
        Literal[
            "auto",
            "pictograph",
            "coco",
            "yolo",
            "cvat",
            "pascal_voc",
            "labelme",
            "csv",
            "darwin",
            "edgefirst",
        ],
        Field(description="auto: told from the files; darwin: V7 JSON."),
    ] = "auto"
    create_if_missing: Annotated[bool, Field(description="Make the dataset when it does not exist.")] = True
    skip_existing: Annotated[
        bool, Field(description="Skip images that are annotated already; false reports them as failures.")
    ] = True
    wait_seconds: WaitSeconds = DEFAULT_WAIT


class ImportFailureShape(Result):
    """An image that was not taken; nothing of it was."""

    path: str
    code: str
    reason: str


class ImportDatasetResult(Result):
    """What was imported so far; all, once ``job.status`` is completed. ``notes``: what was left out."""

    job: JobShape
    images_added: int
    images_annotated: int
    images_skipped: int
    images_failed: int
    annotations_added: int
    failures: list[ImportFailureShape]
    format: str | None = None
    notes: list[str] | None = None


def job_args(args: ImportDatasetArgs, call: Call) -> dict[str, Any]:
    """For the job, whose worker runs on this machine."""
    return {
        "dataset": args.dataset_name,
        "path": str(call.files.existing(args.path)),
        "format": args.format,
        "create": args.create_if_missing,
        "skip_existing": args.skip_existing,
    }


def plan(args: ImportDatasetArgs, call: Call) -> Plan:
    """How many images would come in, and how many that are there would get annotations."""
    studio, asked = call.studio, job_args(args, call)
    studio.jobs.plan(call.principal, KIND, asked)  # refuses
    dataset = studio.datasets.find(call.principal, args.dataset_name)
    with open_source(asked["path"]) as source:
        found = survey(studio, dataset, open_reader(source, args.format), call.check)
    affected = [] if dataset is not None else [Affected("dataset.created", 1, args.dataset_name)]
    detail = {"listed": found.listed, "existing": found.existing}
    affected.append(Affected("images.added", found.listed - found.existing, args.dataset_name, detail=detail))
    return Plan(tuple(affected))


def handle(args: ImportDatasetArgs, call: Call) -> Output:
    """Start the job, once what is to be imported was opened and understood."""
    job = call.studio.jobs.start(call.principal, KIND, job_args(args, call))
    return Output(report(job, call), job=job.id)


def report(job: Job, call: Call) -> ImportDatasetResult:
    """What the job has imported."""
    done = totals(call.studio, job)
    failed = call.studio.jobs.items(job, outcome="failed", limit=MAX_LISTED) if job.failed else []
    result = job.result or {}
    return ImportDatasetResult(
        job=JobShape.of(job),
        images_added=done.added,
        images_annotated=done.attached,
        images_skipped=done.skipped,
        images_failed=job.failed,
        annotations_added=done.annotations,
        failures=[
            ImportFailureShape(path=i.key, code=i.error_code or "", reason=i.error_message or "")
            for i in failed
        ],
        format=result.get("format"),
        notes=result.get("notes") or None,
    )


TOOL = ToolSpec(
    name="import_dataset",
    title="Import an annotated dataset",
    category=Category.DATASETS,
    toolset="imports",
    core=False,
    description=(
        "Use when the user has images that are annotated elsewhere (COCO, YOLO, CVAT, Pascal VOC, LabelMe, "
        "CSV, V7 Darwin, EdgeFirst, or an export of ours) as a folder or ZIP. A free job; running it again "
        "goes on. "
        "Annotations without images go to images of the same name."
    ),
    args=ImportDatasetArgs,
    result=ImportDatasetResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    bulk=True,
    plan=plan,
    handler=handle,
    report=report,
)
