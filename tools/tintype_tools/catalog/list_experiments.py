"""See which experiments there are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import Before, ExperimentShape, Limit, ProjectName, next_before, project_row
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListExperimentsArgs(Args):
    """Which of them."""

    project: Annotated[ProjectName | None, Field(description="Only those of this project.")] = None
    limit: Limit = 50
    before: Before = None


class ListExperimentsResult(Result):
    """Experiments, newest first."""

    experiments: list[ExperimentShape]
    next_before: str | None = None


def handle(args: ListExperimentsArgs, call: Call) -> ListExperimentsResult:
    """List."""
    found = call.studio.experiments.list(
        call.principal,
        project_row_id=project_row(call, args.project),
        limit=args.limit,
        before=args.before,
    )
    return ListExperimentsResult(
        experiments=[ExperimentShape.of(each) for each in found], next_before=next_before(found, args.limit)
    )


TOOL = ToolSpec(
    name="list_experiments",
    title="List experiments",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when you want to know which experiments group training and validation sessions, in a project or "
        "all of them, with how many sessions each has. What was trained here lies in 'Trainings'."
    ),
    args=ListExperimentsArgs,
    result=ListExperimentsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
