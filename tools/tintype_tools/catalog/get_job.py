"""See how a job is doing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.job_shapes import JobId, JobShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class GetJobArgs(Args):
    """Which job, and how much of it."""

    job_id: JobId
    wait_seconds: Annotated[int, Field(ge=0, le=60, description="Wait so long for its end.")] = 0
    failures: Annotated[int, Field(ge=0, le=500, description="Failed items to list.")] = 20
    after: Annotated[str | None, Field(description="`next_after` of the page before.", max_length=200)] = None
    log_lines: Annotated[int, Field(ge=0, le=500, description="Last lines of its log.")] = 10


class FailureShape(Result):
    """An item that was given up; it was free."""

    item: str
    code: str
    reason: str


class LogShape(Result):
    """A line of the log."""

    at: datetime
    level: str
    text: str


class GetJobResult(Result):
    """The job, its result once it is completed, failed items and the end of its log."""

    job: JobShape
    result: dict[str, Any] | None = None
    failures: list[FailureShape]
    next_after: str | None = None
    log: list[LogShape]


def handle(args: GetJobArgs, call: Call) -> GetJobResult:
    """Look, or wait and look."""
    jobs = call.studio.jobs
    job = jobs.wait(call.principal, args.job_id, args.wait_seconds, progress=call.progress, check=call.check)
    failed = jobs.items(job, outcome="failed", limit=args.failures, after=args.after) if args.failures else ()
    lines = jobs.logs(job, limit=args.log_lines) if args.log_lines else ()
    return GetJobResult(
        job=JobShape.of(job),
        result=job.result,
        failures=[
            FailureShape(item=i.key, code=i.error_code or "", reason=i.error_message or "") for i in failed
        ],
        next_after=failed[-1].key if failed and len(failed) == args.failures else None,
        log=[LogShape(at=line.at, level=line.level, text=line.text) for line in lines],
    )


TOOL = ToolSpec(
    name="get_job",
    title="Get a job",
    category=Category.JOBS,
    toolset="jobs",
    description=(
        "Use when a tool answered with a job_id, to see whether the job is finished: tells status, progress, "
        "result, failed items and credits. With wait_seconds it waits for the end."
    ),
    args=GetJobArgs,
    result=GetJobResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
