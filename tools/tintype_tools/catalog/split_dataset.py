"""Divide a dataset among groups by shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.catalog.splitting import MAX_GROUPS, By
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.catalog_shapes import GroupName
from tintype_tools.shapes import DatasetName
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class SplitDatasetArgs(Args):
    """Shares, and what stays together."""

    dataset_name: DatasetName
    ratios: Annotated[
        dict[GroupName, Annotated[float, Field(ge=0, le=1)]],
        Field(
            min_length=1,
            max_length=MAX_GROUPS,
            description='Share of each group, together 1: {"train": 0.7, "val": 0.2, "test": 0.1}.',
        ),
    ]
    by: Annotated[By, Field(description="What is never divided: samples, whole sequences, or folders.")] = (
        By.SAMPLE
    )
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="Another seed, another division.")] = 0
    only_groups: Annotated[
        list[GroupName | None] | None,
        Field(
            min_length=1,
            max_length=100,
            description="Divide only the samples of these groups; null: those in none. Left out: all.",
        ),
    ] = None


class SplitDatasetResult(Result):
    """Samples by group, of those that were divided; how many changed their group; parts kept together."""

    counts: dict[str, int]
    changed: int
    units: int


def handle(args: SplitDatasetArgs, call: Call) -> SplitDatasetResult:
    """Divide."""
    done = call.studio.groups.split_dataset(
        call.principal,
        args.dataset_name,
        args.ratios,
        by=args.by,
        seed=args.seed,
        only=args.only_groups,
        check=call.check,
    )
    return SplitDatasetResult(counts=done.counts, changed=done.changed, units=done.units)


TOOL = ToolSpec(
    name="split_dataset",
    title="Split a dataset",
    category=Category.SAMPLES,
    toolset="samples",
    core=False,
    description=(
        "Use when the user wants a dataset divided at random into train, val and test or other groups, by "
        "shares such as 0.7, 0.2, 0.1, also so that whole sequences or folders stay together. "
        "The same seed gives the "
        "same split."
    ),
    args=SplitDatasetArgs,
    result=SplitDatasetResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.WRITE,
    bulk=True,
    handler=handle,
)
