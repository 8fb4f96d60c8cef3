"""Make an experiment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import ExperimentShape, ProjectName
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class CreateExperimentArgs(Args):
    """How it is called, and where."""

    name: Annotated[str, Field(description="Its name, unique in the project.", max_length=120)]
    project: Annotated[ProjectName | None, Field(description="Left out: the default project.")] = None
    description: Annotated[str | None, Field(description="What is tried out.", max_length=2000)] = None


def handle(args: CreateExperimentArgs, call: Call) -> ExperimentShape:
    """Make it."""
    projects = call.studio.projects
    project = (
        projects.default(call.principal)
        if args.project is None
        else projects.get(call.principal, args.project)
    )
    made = call.studio.experiments.create(
        call.principal, project_row_id=project.row_id, name=args.name, description=args.description
    )
    return ExperimentShape.of(made)


TOOL = ToolSpec(
    name="create_experiment",
    title="Create an experiment",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when results of an outside trainer need an experiment to be kept in: makes an empty one in a "
        "project, for create_session."
    ),
    args=CreateExperimentArgs,
    result=ExperimentShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    handler=handle,
)
