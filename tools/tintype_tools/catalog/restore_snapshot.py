"""Restore a snapshot into a new dataset."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tintype_studio.annotations.geometry import Label
from tintype_studio.catalog.datasets import DEFAULT_SET
from tintype_studio.errors import NotFound
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.kinds.auto_annotate import MAX_CLASSES, OPERATION
from tintype_studio.jobs.kinds.restore_snapshot import most_samples
from tintype_studio.ledger.prices import price_of
from tintype_studio.snapshots.messages import no_depth
from tintype_studio.snapshots.restoring import dataset_of, free_name
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, JobShape, WaitSeconds
from tintype_tools.snapshot_shapes import SnapshotRef
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

KIND = "restore_snapshot"
TYPICAL_IMAGES = 10


class RestoreSnapshotArgs(Args):
    """Which snapshot, into which new dataset, what of it."""

    snapshot: SnapshotRef
    dataset_name: Annotated[
        str | None, Field(description="Name of the new dataset; null: the snapshot's, numbered if taken.")
    ] = None
    description: Annotated[str | None, Field(description="Of the new dataset.", max_length=10_000)] = None
    project: Annotated[str | None, Field(description="Project of the new dataset.", max_length=120)] = None
    topics: Annotated[
        list[Annotated[str, Field(max_length=300)]] | None,
        Field(max_length=1000, description="Of a recording: only these; null: all."),
    ] = None
    fps: Annotated[
        float | None,
        Field(gt=0, le=1000, description="Of a recording: most frames per second; null: every frame."),
    ] = None
    labels: Annotated[
        list[Label] | None,
        Field(max_length=MAX_CLASSES, description="Find these objects in pictures without annotations."),
    ] = None
    confidence_threshold: Annotated[
        float, Field(ge=0, le=1, description="Found objects below it are left out.")
    ] = 0.5
    depth: Annotated[bool, Field(description="Make depth maps; needs a depth engine.")] = False
    wait_seconds: WaitSeconds = DEFAULT_WAIT


class RestoreSnapshotResult(Result):
    """The dataset, which stays only if the job completes. ``skipped``: frames that could not be read."""

    snapshot_id: str
    dataset_name: str
    dataset_id: str | None = None
    wire_id: str | None = None
    annotation_set: str = DEFAULT_SET
    job: JobShape
    samples: int | None = None
    skipped: int | None = None
    annotations: int | None = None
    labelled: int | None = None
    notes: list[str] | None = None


def job_args(args: RestoreSnapshotArgs, call: Call) -> dict[str, Any]:
    """The job's arguments."""
    studio, principal = call.studio, call.principal
    if args.depth:
        raise no_depth()
    snapshot = studio.snapshots.ready(principal, args.snapshot)
    project = None if args.project is None else studio.projects.get(principal, args.project).row_id
    return {
        "snapshot": snapshot.id,
        "dataset": args.dataset_name or free_name(studio, principal, snapshot.name),
        "description": args.description,
        "project": project,
        "topics": args.topics or [],
        "fps": args.fps,
        "labels": args.labels or [],
        "threshold": args.confidence_threshold,
        "overwrite": False,
    }


def quote(args: RestoreSnapshotArgs, call: Call) -> Quote:
    """Nothing, or with labels a price for each picture."""
    return Quote(OPERATION, call.studio.jobs.plan(call.principal, KIND, job_args(args, call)).credits)


def plan(args: RestoreSnapshotArgs, call: Call) -> Plan:
    """The dataset that would be made, and how many samples it would get at most."""
    asked = job_args(args, call)
    call.studio.jobs.plan(call.principal, KIND, asked)
    snapshot = call.studio.snapshots.get(call.principal, asked["snapshot"])
    samples = most_samples(snapshot, asked["topics"], asked["fps"])
    name = asked["dataset"]
    return Plan((Affected("dataset.created", 1, name), Affected("samples.added", samples, name)))


def handle(args: RestoreSnapshotArgs, call: Call) -> Output:
    """Start the job; the dataset is there from now on."""
    job = call.studio.jobs.start(call.principal, KIND, job_args(args, call))
    return Output(report(job, call), job=job.id)


def report(job: Job, call: Call) -> RestoreSnapshotResult:
    """What the job has restored."""
    result = job.result or {}
    try:
        dataset = dataset_of(call.studio, call.principal, job.row_id)
    except NotFound:  # it failed, and left nothing
        dataset = None
    return RestoreSnapshotResult(
        snapshot_id=job.args["snapshot"],
        dataset_name=job.args["dataset"] if dataset is None else dataset.name,
        dataset_id=None if dataset is None else dataset.id,
        wire_id=None if dataset is None else f"ds-{dataset.row_id:x}",
        job=JobShape.of(job),
        samples=result.get("samples"),
        skipped=result.get("skipped"),
        annotations=result.get("annotations"),
        labelled=result.get("labelled"),
        notes=result.get("notes") or None,
    )


TOOL = ToolSpec(
    name="restore_snapshot",
    title="Restore a snapshot",
    category=Category.SNAPSHOTS,
    toolset="snapshots",
    core=False,
    description=(
        "Use when a snapshot (frozen dataset, MCAP recording, EdgeFirst files) is to be a dataset, always "
        "a new one, and all or nothing: a restore that fails leaves none. A recording's cameras become "
        "sequences with the nearest point cloud, place and attitude. Free; labels cost 1 credit per picture."
    ),
    args=RestoreSnapshotArgs,
    result=RestoreSnapshotResult,
    required_role=Role.MEMBER,
    credit_cost=price_of(OPERATION).total(TYPICAL_IMAGES),
    quote=quote,
    plan=plan,
    idempotent=False,
    effect=Effect.SPEND,
    open_world=True,
    bulk=True,
    handler=handle,
    report=report,
)
