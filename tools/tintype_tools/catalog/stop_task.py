"""Stop a task."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import TaskId, TaskShape, tried
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class StopTaskArgs(Args):
    """Which task."""

    task_id: TaskId


def handle(args: StopTaskArgs, call: Call) -> TaskShape:
    """Stop it."""
    return TaskShape.of(call.studio.tasks.stop(call.principal, args.task_id))


TOOL = ToolSpec(
    name="stop_task",
    title="Stop a task",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when the user wants a task-… stopped: a job of this server is cancelled, as cancel_job does by "
        "its job_id; work that is done elsewhere is marked as cancelled."
    ),
    args=StopTaskArgs,
    result=TaskShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    plan=tried("task.stopped", handle),
    handler=handle,
)
