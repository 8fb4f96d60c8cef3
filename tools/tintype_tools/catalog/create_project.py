"""Make a project."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog_shapes import ProjectShape
from tintype_tools.spec import Args, Category, Effect, ToolSpec


class CreateProjectArgs(Args):
    """Its name."""

    name: Annotated[str, Field(description="The project's name.", max_length=120)]
    description: Annotated[str | None, Field(description="What it is for.", max_length=2000)] = None


def handle(args: CreateProjectArgs, call: Call) -> ProjectShape:
    """Create."""
    made = call.studio.projects.create(call.principal, name=args.name, description=args.description)
    return ProjectShape.of(made)


TOOL = ToolSpec(
    name="create_project",
    title="Create a project",
    category=Category.DATASETS,
    toolset="samples",
    core=False,
    description=(
        "Use when the user wants a fresh project, which keeps the material and the experiments of one "
        "undertaking together."
    ),
    args=CreateProjectArgs,
    result=ProjectShape,
    required_role=Role.MEMBER,
    idempotent=False,
    effect=Effect.WRITE,
    handler=handle,
)
