"""Stop a job."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.job_shapes import JobId, JobShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class CancelJobArgs(Args):
    """Which job."""

    job_id: JobId


class CancelJobResult(Result):
    """The job; ``cancelling`` until its worker has stopped it, within a second."""

    job: JobShape


def plan(args: CancelJobArgs, call: Call) -> Plan:
    """One job that stops; undo_call of the call that started it takes back what it has done."""
    job = call.studio.jobs.require_cancellable(call.principal, args.job_id)
    return Plan((Affected("job.cancelled", 1, job.dataset, job.title),), undoable=False)


def handle(args: CancelJobArgs, call: Call) -> CancelJobResult:
    """Ask it to stop."""
    return CancelJobResult(job=JobShape.of(call.studio.jobs.cancel(call.principal, args.job_id)))


TOOL = ToolSpec(
    name="cancel_job",
    title="Cancel a job",
    category=Category.JOBS,
    toolset="jobs",
    description=(
        "Use when the user wants a job stopped. Finished items stay and stay charged; the rest of what was "
        "set aside is free again. Members stop their own jobs, admins all."
    ),
    args=CancelJobArgs,
    result=CancelJobResult,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    plan=plan,
    handler=handle,
)
