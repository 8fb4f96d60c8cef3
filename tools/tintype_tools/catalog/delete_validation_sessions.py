"""Delete validation sessions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import SessionId
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DeleteValidationSessionsArgs(Args):
    """Which ones."""

    session_ids: Annotated[
        list[SessionId], Field(min_length=1, max_length=1000, description="UUIDs, or v-….")
    ]


class DeleteValidationSessionsResult(Result):
    """Which were deleted; those that were already are left out."""

    deleted: list[str]


def handle(args: DeleteValidationSessionsArgs, call: Call) -> DeleteValidationSessionsResult:
    """Delete all, or none."""
    deleted = call.studio.experiments.validation.delete(call.principal, args.session_ids)
    return DeleteValidationSessionsResult(deleted=[session.id for session in deleted])


TOOL = ToolSpec(
    name="delete_validation_sessions",
    title="Delete validation sessions",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when the user wants validation sessions gone, with their metrics and data files. One that still "
        "measures is stopped. Needs confirmation; undo_call brings them back for 30 days."
    ),
    args=DeleteValidationSessionsArgs,
    result=DeleteValidationSessionsResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.DESTROY,
    handler=handle,
)
