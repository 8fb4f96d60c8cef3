"""See whether an import fits into what the tier allows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.connectors import TOOLSET
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec

MOST = 10**18


class CheckImportLimitsArgs(Args):
    """How much would come in."""

    total_images: Annotated[int, Field(ge=0, le=MOST, description="Images of the import.")]
    estimated_size_bytes: Annotated[int, Field(ge=0, le=MOST, description="Their bytes together.")]


class CheckImportLimitsResult(Result):
    """Whether it fits; what is there, what may be, and what would be. ``exceeded``: images, storage, both."""

    allowed: bool
    current_images: int
    image_limit: int
    images_after_import: int
    current_storage_bytes: int
    storage_limit_bytes: int
    storage_after_import_bytes: int
    exceeded: str | None = None


def handle(args: CheckImportLimitsArgs, call: Call) -> CheckImportLimitsResult:
    """Compare."""
    limits = call.studio.connectors.limits(call.principal, args.total_images, args.estimated_size_bytes)
    return CheckImportLimitsResult(
        allowed=limits.exceeded is None, exceeded=limits.exceeded, **asdict(limits)
    )


TOOL = ToolSpec(
    name="check_import_limits",
    title="Check the room for an import",
    category=Category.CONNECTORS,
    toolset=TOOLSET,
    core=False,
    description=(
        "Use when a large import is planned: tells whether so many images and bytes fit into the limits of "
        "the organization's tier."
    ),
    args=CheckImportLimitsArgs,
    result=CheckImportLimitsResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
