"""Create a snapshot."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.errors import InvalidInput
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.snapshots.paths import clean_paths
from tintype_studio.snapshots.receiving import MAX_FILE_BYTES, MAX_FILES
from tintype_studio.snapshots.snapshot import MAX_NAME, clean_snapshot_name
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, WaitSeconds
from tintype_tools.snapshot_shapes import SnapshotShape, local_snapshot_files
from tintype_tools.spec import Args, Category, Effect, ToolSpec

KIND = "create_snapshot"


class UploadArgs(Args):
    """A file that will be put."""

    path: Annotated[str, Field(description="Its name, such as drive.mcap.", max_length=1000)]
    size: Annotated[int, Field(ge=0, le=MAX_FILE_BYTES, description="Bytes.")]


class CreateSnapshotArgs(Args):
    """What to freeze: a dataset, local files, or files that will be put."""

    name: Annotated[str, Field(description="One line.", min_length=1, max_length=MAX_NAME)]
    description: Annotated[str | None, Field(description="What it is for.", max_length=10_000)] = None
    dataset_name: Annotated[str | None, Field(description="Freeze this dataset.")] = None
    annotation_set: Annotated[str, Field(description="Of the dataset.", max_length=120)] = DEFAULT_SET
    paths: Annotated[
        list[str] | None,
        Field(max_length=1000, description="Local .mcap, .arrow with .zip, or a folder of them."),
    ] = None
    uploads: Annotated[
        list[UploadArgs] | None, Field(max_length=MAX_FILES, description="Files to put over HTTP.")
    ] = None
    wait_seconds: WaitSeconds = DEFAULT_WAIT


def _require_one_source(args: CreateSnapshotArgs) -> None:
    if sum(each is not None for each in (args.dataset_name, args.paths, args.uploads)) != 1:
        raise InvalidInput(
            "Say one of dataset_name, paths and uploads.",
            code="invalid_selection",
            fix="A dataset, local files, or files that will be put: send exactly one.",
        )


def _job_args(args: CreateSnapshotArgs, call: Call) -> dict[str, Any]:
    shared = {"name": args.name, "description": args.description}
    if args.dataset_name is not None:
        return {**shared, "dataset": args.dataset_name, "annotation_set": args.annotation_set}
    return {**shared, "paths": local_snapshot_files(call, args.paths or [])}


def plan(args: CreateSnapshotArgs, call: Call) -> Plan:
    """The snapshot that would be made."""
    _require_one_source(args)
    if args.uploads is not None:
        clean_snapshot_name(args.name)
        clean_paths(file.path for file in args.uploads)
        detail = {"size": sum(file.size for file in args.uploads)}
    else:
        call.studio.jobs.plan(call.principal, KIND, _job_args(args, call))
        detail = {}
    return Plan((Affected("snapshot.created", 1, name=args.name, detail=detail),))


def handle(args: CreateSnapshotArgs, call: Call) -> Output:
    """Give links for files that will be put; all else is a job."""
    _require_one_source(args)
    if args.uploads is not None:
        files = [(file.path, file.size) for file in args.uploads]
        upload = call.studio.snapshots.receiving.begin(
            call.principal, args.name, files, description=args.description
        )
        return Output(SnapshotShape.begun(upload, call))
    job = call.studio.jobs.start(call.principal, KIND, _job_args(args, call))
    return Output(report(job, call), job=job.id)


def report(job: Job, call: Call) -> SnapshotShape:
    """The snapshot as it stands."""
    return SnapshotShape.of(call.studio.snapshots.of_job(call.principal, job.id))


TOOL = ToolSpec(
    name="create_snapshot",
    title="Create a snapshot",
    category=Category.SNAPSHOTS,
    toolset="snapshots",
    core=False,
    description=(
        "Use when the user wants to freeze a dataset with all its sensors as it is now, or to bring in an "
        "MCAP recording or EdgeFirst files (.arrow with .zip). For files on another machine name them in "
        "uploads: PUT their parts to the links, then complete_snapshot. restore_snapshot makes a dataset of "
        "it."
    ),
    args=CreateSnapshotArgs,
    result=SnapshotShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    plan=plan,
    handler=handle,
    report=report,
)
