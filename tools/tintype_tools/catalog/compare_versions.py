"""See what is other in one version of a dataset than in another."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec
from tintype_tools.version_shapes import VersionName


class CompareVersionsArgs(Args):
    """Which two."""

    dataset_name: DatasetName
    old: VersionName
    new: Annotated[
        str | None,
        Field(description="A later version; left out for the dataset as it is now.", max_length=120),
    ] = None


class CompareVersionsResult(Result):
    """What ``new`` has other than ``old``. Counts are whole; of each sort, at most 100 samples are named."""

    samples_added: int
    samples_removed: int
    samples_updated: int
    """Name, folder, status, group, sequence, frame or metadata."""
    annotations_changed: int
    """Samples whose annotations are others, in whatever set."""
    files_changed: int
    added: list[str]
    removed: list[str]
    updated: list[str]
    annotated: list[str]
    labels_added: list[str]
    labels_removed: list[str]
    labels_changed: list[str]
    sets_added: list[str]
    sets_removed: list[str]
    groups_added: list[str]
    groups_removed: list[str]


def handle(args: CompareVersionsArgs, call: Call) -> CompareVersionsResult:
    """Put them side by side."""
    found = call.studio.versions.compare(
        call.principal, args.dataset_name, args.old, args.new, check=call.check
    )
    return CompareVersionsResult(**asdict(found))


TOOL = ToolSpec(
    name="compare_versions",
    title="Compare dataset versions",
    category=Category.VERSIONS,
    toolset="versions",
    core=False,
    description=(
        "Use when the user asks what changed in a dataset between two named versions, or since one: "
        "samples added, removed, moved, relabelled; labels, groups and annotation sets. list_changes tells "
        "who did it."
    ),
    args=CompareVersionsArgs,
    result=CompareVersionsResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
