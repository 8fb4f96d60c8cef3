"""List the projects."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog_shapes import ProjectShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

MOST_DATASETS = 1000
"""Names that one project is told with; ``dataset_count`` says how many there are."""


class ListProjectsArgs(Args):
    """Which ones."""

    name: Annotated[str | None, Field(description="Only this one, with its datasets.", max_length=120)] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most projects to return.")] = 100
    offset: Annotated[int, Field(ge=0, le=10**12, description="Skip so many.")] = 0


class ListProjectsResult(Result):
    """Projects in the order in which they were made."""

    projects: list[ProjectShape]
    count: int


def handle(args: ListProjectsArgs, call: Call) -> ListProjectsResult:
    """List."""
    studio, principal = call.studio, call.principal
    if args.name is None:
        found = studio.projects.list(principal, limit=args.limit, offset=args.offset)
        return ListProjectsResult(projects=[ProjectShape.of(p) for p in found], count=len(found))
    project = studio.projects.get(principal, args.name)
    shape = ProjectShape.of(project)
    inside = studio.datasets.list(principal, limit=MOST_DATASETS, project_row_id=project.row_id)
    shape.datasets = [dataset.name for dataset in inside]
    return ListProjectsResult(projects=[shape], count=1)


TOOL = ToolSpec(
    name="list_projects",
    title="List projects",
    category=Category.DATASETS,
    toolset="samples",
    core=False,
    description=(
        "Use when you need to know which projects there are, or which datasets lie in one of them. Every "
        "organization has the project named default."
    ),
    args=ListProjectsArgs,
    result=ListProjectsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
