"""What the tools of versions share: a version, and a difference, as agents see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from tintype_studio.versions.rows import Version
from tintype_tools.spec import Result

VersionName = Annotated[str, Field(description="The version's name, such as v1.0.", max_length=120)]


class VersionShape(Result):
    """A version. ``serial`` is the newest change that it holds; the counts are those of its moment."""

    id: str
    name: str
    description: str | None = None
    serial: int
    created_by: str
    created_at: datetime
    current: bool
    """Whether it is the one that was made or restored last."""
    samples: int
    images: int
    annotations: dict[str, int]
    """By type, in all annotation sets."""
    files: dict[str, int]
    """Files of sensors by type, pictures left out."""
    labels: int
    annotation_sets: int

    @classmethod
    def of(cls, version: Version) -> VersionShape:
        """From the platform's version."""
        return cls(
            id=version.id,
            name=version.name,
            description=version.description,
            serial=version.serial,
            created_by=version.created_by,
            created_at=version.created_at,
            current=version.current,
            **version.summary.as_json(),
        )
