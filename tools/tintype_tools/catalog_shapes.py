"""Results and arguments of the tools of projects, annotation sets, labels and groups."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tintype_studio.annotations.labels import MAX_INDEX, Label
from tintype_studio.annotations.sets import AnnotationSet
from tintype_studio.catalog.groups import Group
from tintype_studio.catalog.projects import Project
from tintype_tools.spec import Result

LabelName = Annotated[str, Field(min_length=1, max_length=120, description="Label, case-sensitive.")]
LabelIndex = Annotated[
    int | None,
    Field(ge=0, le=MAX_INDEX, description="What files and models call it; gaps are fine."),
]
Color = Annotated[str | None, Field(pattern=r"^#[0-9a-fA-F]{6}$", description="Drawing colour, #rrggbb.")]
GroupName = Annotated[str, Field(max_length=120, description="Such as train, val or test.")]
SetName = Annotated[str, Field(max_length=120, description="The annotation set's name.")]


class ProjectShape(Result):
    """A project. ``datasets`` are names, newest first, where one project was asked for."""

    id: str
    wire_id: str
    name: str
    description: str | None = None
    created_at: datetime
    dataset_count: int
    datasets: list[str] | None = None

    @classmethod
    def of(cls, project: Project) -> ProjectShape:
        """From the platform's project."""
        return cls(
            id=project.id,
            wire_id=f"p-{project.row_id:x}",
            name=project.name,
            description=project.description,
            created_at=project.created_at,
            dataset_count=project.dataset_count,
        )


class SetShape(Result):
    """An annotation set. ``image_count`` are the samples that have annotations in it."""

    id: str
    wire_id: str
    name: str
    description: str | None = None
    created_at: datetime
    image_count: int
    annotation_count: int

    @classmethod
    def of(cls, found: AnnotationSet) -> SetShape:
        """From the platform's set."""
        return cls(
            id=found.id,
            wire_id=f"as-{found.row_id:x}",
            name=found.name,
            description=found.description,
            created_at=found.created_at,
            image_count=found.sample_count,
            annotation_count=found.annotation_count,
        )


class LabelShape(Result):
    """A label. ``uses`` counts annotations of the default set."""

    name: str
    index: int
    color: str | None = None
    uses: int | None = None

    @classmethod
    def of(cls, label: Label) -> LabelShape:
        """From the platform's label."""
        return cls(name=label.name, index=label.index, color=label.color, uses=label.uses)


class GroupShape(Result):
    """A group of samples."""

    name: str
    sample_count: int

    @classmethod
    def of(cls, group: Group) -> GroupShape:
        """From the platform's group."""
        return cls(name=group.name, sample_count=group.sample_count)
