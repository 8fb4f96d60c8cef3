"""See which jobs there are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_studio.jobs.job import JobStatus
from tintype_tools.call import Call
from tintype_tools.job_shapes import JobShape
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListJobsArgs(Args):
    """Which of them."""

    status: Annotated[JobStatus | None, Field(description="Only these.")] = None
    kind: Annotated[str | None, Field(description="Only this kind.", max_length=40)] = None
    dataset_name: Annotated[DatasetName | None, Field(description="Only on this dataset.")] = None
    limit: Annotated[int, Field(ge=1, le=500, description="Jobs to list.")] = 20
    before: Annotated[str | None, Field(description="`next_before` of the page before.", max_length=80)] = (
        None
    )


class ListJobsResult(Result):
    """Jobs, newest first."""

    jobs: list[JobShape]
    next_before: str | None = None


def handle(args: ListJobsArgs, call: Call) -> ListJobsResult:
    """List."""
    found = call.studio.jobs.list(
        call.principal,
        limit=args.limit,
        before=args.before,
        status=args.status,
        kind=args.kind,
        dataset=args.dataset_name,
    )
    return ListJobsResult(
        jobs=[JobShape.of(job) for job in found],
        next_before=found[-1].id if len(found) == args.limit else None,
    )


TOOL = ToolSpec(
    name="list_jobs",
    title="List jobs",
    category=Category.JOBS,
    toolset="jobs",
    core=False,
    description="Use when you look for a job whose id you do not have, or want to see what is running.",
    args=ListJobsArgs,
    result=ListJobsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
