"""Check that a dataset's images are whole."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, JobShape, WaitSeconds
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

KIND = "verify_images"
MAX_LISTED = 100


class VerifyDatasetArgs(Args):
    """Which dataset."""

    dataset_name: DatasetName
    wait_seconds: WaitSeconds = DEFAULT_WAIT


class DamagedShape(Result):
    """An image that is not whole."""

    image_id: str
    code: str
    reason: str


class VerifyDatasetResult(Result):
    """What was found so far; ``job.status`` completed means that every image was read."""

    job: JobShape
    images_read: int
    images_damaged: int
    damaged: list[DamagedShape]


def plan(args: VerifyDatasetArgs, call: Call) -> Plan:
    """Every image is read, none changed."""
    dataset = call.studio.datasets.get(call.principal, args.dataset_name)
    return Plan((Affected("images.verified", dataset.image_count, dataset.name),), undoable=False)


def handle(args: VerifyDatasetArgs, call: Call) -> Output:
    """Start the job."""
    job = call.studio.jobs.start(call.principal, KIND, {"dataset": args.dataset_name})
    return Output(report(job, call), job=job.id)


def report(job: Job, call: Call) -> VerifyDatasetResult:
    """What the job has found."""
    failed = call.studio.jobs.items(job, outcome="failed", limit=MAX_LISTED) if job.failed else []
    return VerifyDatasetResult(
        job=JobShape.of(job),
        images_read=job.done,
        images_damaged=job.failed,
        damaged=[
            DamagedShape(image_id=i.key, code=i.error_code or "", reason=i.error_message or "")
            for i in failed
        ],
    )


TOOL = ToolSpec(
    name="verify_dataset",
    title="Verify a dataset",
    category=Category.JOBS,
    toolset="jobs",
    core=False,
    description=(
        "Use when images may be damaged, or before a training: reads every image again and reports those "
        "whose bytes are missing, altered or do not open. A free job: get_job lists all of them."
    ),
    args=VerifyDatasetArgs,
    result=VerifyDatasetResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    plan=plan,
    handler=handle,
    report=report,
)
