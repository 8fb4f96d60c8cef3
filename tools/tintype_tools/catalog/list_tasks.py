"""See which tasks there are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import Before, Limit, TaskShape, next_before
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

Words = Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=50)]


class ListTasksArgs(Args):
    """Which of them."""

    types: Annotated[
        Words | None, Field(description="Only these: trainer, validation, export, import, auto-ann …")
    ] = None
    statuses: Annotated[Words | None, Field(description="Only these: running, complete, failed …")] = None
    managers: Annotated[Words | None, Field(description="Only these: cloud (here), user (elsewhere).")] = None
    name: Annotated[str | None, Field(description="A part of the name.", max_length=200)] = None
    limit: Limit = 50
    before: Before = None


class ListTasksResult(Result):
    """Tasks, newest first."""

    tasks: list[TaskShape]
    next_before: str | None = None


def handle(args: ListTasksArgs, call: Call) -> ListTasksResult:
    """List."""
    found = call.studio.tasks.list(
        call.principal,
        types=args.types,
        statuses=args.statuses,
        managers=args.managers,
        name=args.name,
        limit=args.limit,
        before=args.before,
    )
    return ListTasksResult(
        tasks=[TaskShape.of(each) for each in found], next_before=next_before(found, args.limit)
    )


TOOL = ToolSpec(
    name="list_tasks",
    title="List tasks",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when you want to see tasks of all kinds, those that run here and those that are done elsewhere, "
        "by type (trainer, validation …), status, manager or name. list_jobs has only jobs of this server."
    ),
    args=ListTasksArgs,
    result=ListTasksResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
