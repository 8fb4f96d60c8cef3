"""Make a task for work that is done elsewhere."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import ProjectName, TaskShape, project_row, tried
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class CreateTaskArgs(Args):
    """What is done."""

    name: Annotated[str, Field(description="Its name.", max_length=200)]
    type: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$", description="Such as convertor, upload, import.")
    ]
    project: Annotated[ProjectName | None, Field(description="Left out: the default project.")] = None
    status: Annotated[str, Field(description="Where it stands.", max_length=40)] = "created"
    instance: Annotated[str | None, Field(description="Machine that does it.", max_length=40)] = None


def handle(args: CreateTaskArgs, call: Call) -> TaskShape:
    """Make it."""
    made = call.studio.tasks.create(
        call.principal,
        type=args.type,
        name=args.name,
        project_row_id=project_row(call, args.project),
        status=args.status,
        instance=args.instance,
    )
    return TaskShape.of(made)


TOOL = ToolSpec(
    name="create_task",
    title="Create a task",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when work that a script does elsewhere is to be watched here: makes a task, which update_task "
        "then tells stages, progress and charts of. It starts nothing."
    ),
    args=CreateTaskArgs,
    result=TaskShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    plan=tried("task.created", handle),
    handler=handle,
)
