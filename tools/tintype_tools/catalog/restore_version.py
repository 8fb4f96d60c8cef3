"""Bring a dataset back to the state of a version."""

from __future__ import annotations

from tintype_studio.errors import NotFound
from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import Job
from tintype_studio.versions.restoring import Restored
from tintype_tools.call import Affected, Call, Output, Plan
from tintype_tools.job_shapes import DEFAULT_WAIT, JobShape, WaitSeconds
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec
from tintype_tools.version_shapes import VersionName

KIND = "restore_version"


class RestoreVersionArgs(Args):
    """Which version."""

    dataset_name: DatasetName
    name: VersionName
    wait_seconds: WaitSeconds = DEFAULT_WAIT


class RestoreVersionResult(Result):
    """What the restore did; ``job`` stands for a large one, whose counts are there when it is completed."""

    version: str
    serial: int | None = None
    """Of the dataset now, while it is there."""
    deleted: int = 0
    """Samples that came since then: they lie in the recycle bin."""
    brought_back: int = 0
    """Samples that came out of it."""
    updated: int = 0
    """Samples that have their name, folder, status, group, sequence, frame or metadata again."""
    annotated: int = 0
    """Samples that have their annotations again."""
    files: int = 0
    lost: int = 0
    """Samples that were purged since then: they stay away."""
    lost_names: list[str] = []
    files_lost: int = 0
    job: JobShape | None = None


def plan(args: RestoreVersionArgs, call: Call) -> Plan:
    """What is other now than it was then."""
    found = call.studio.versions.compare(call.principal, args.dataset_name, args.name, check=call.check)
    detail = {
        "deleted": found.samples_added,
        "brought_back": found.samples_removed,
        "updated": found.samples_updated,
        "annotated": found.annotations_changed,
    }
    touched = max(found.samples_updated, found.annotations_changed)
    return Plan(
        ()
        if found.nothing
        else (
            Affected(
                "version.restored",
                found.samples_added + found.samples_removed + touched,
                args.dataset_name,
                args.name,
                {name: count for name, count in detail.items() if count},
            ),
        )
    )


def handle(args: RestoreVersionArgs, call: Call) -> Output:
    """Restore a small dataset here; for a large one it is a job."""
    versions = call.studio.versions
    version = versions.get(call.principal, args.dataset_name, args.name)
    if versions.is_small(call.principal, args.dataset_name):
        done = versions.restore(call.principal, args.dataset_name, args.name, check=call.check)
        return Output(_result(args.dataset_name, version.name, done, call))
    job = call.studio.jobs.start(
        call.principal, KIND, {"dataset": args.dataset_name, "version": version.name}
    )
    return Output(report(job, call), job=job.id)


def report(job: Job, call: Call) -> RestoreVersionResult:
    """What the job has done."""
    done = Restored(**(job.result or {}))
    return _result(job.args["dataset"], job.args["version"], done, call, JobShape.of(job))


def _result(
    dataset: str, version: str, done: Restored, call: Call, job: JobShape | None = None
) -> RestoreVersionResult:
    try:
        serial = call.studio.versions.span(call.principal, dataset)[1]
    except NotFound:  # deleted since
        serial = None
    return RestoreVersionResult(
        version=version,
        serial=serial,
        deleted=done.deleted,
        brought_back=done.brought_back,
        updated=done.updated,
        annotated=done.annotated,
        files=done.files,
        lost=done.lost,
        lost_names=done.lost_names,
        files_lost=done.files_lost,
        job=job,
    )


TOOL = ToolSpec(
    name="restore_version",
    title="Restore a dataset version",
    category=Category.VERSIONS,
    toolset="versions",
    core=False,
    bulk=True,
    description=(
        "Use when a dataset shall be again what it was at a named version. What came since goes into the "
        "recycle bin, annotations, labels and groups become as they were; undo_call takes all of it back. "
        "With dry_run it tells what would change."
    ),
    args=RestoreVersionArgs,
    result=RestoreVersionResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.WRITE,
    plan=plan,
    handler=handle,
    report=report,
)
