"""Delete training or validation sessions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.experiments.deletion import delete_sessions
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.session_shapes import SessionId
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class DeleteSessionsArgs(Args):
    """Which ones."""

    session_ids: Annotated[
        list[SessionId], Field(min_length=1, max_length=1000, description="UUIDs, or t-… and v-….")
    ]


class DeleteSessionsResult(Result):
    """Which were deleted; those that were already are left out."""

    deleted: list[str]


def handle(args: DeleteSessionsArgs, call: Call) -> DeleteSessionsResult:
    """Delete all, or none."""
    deleted = delete_sessions(call.studio, call.principal, args.session_ids)
    return DeleteSessionsResult(deleted=[session.id for session in deleted])


TOOL = ToolSpec(
    name="delete_sessions",
    title="Delete sessions",
    category=Category.SESSIONS,
    toolset="sessions",
    core=False,
    description=(
        "Use when the user wants validation sessions gone, or training sessions that were filled from "
        "elsewhere (with their validations), and their metrics and files. One that still measures is "
        "stopped. Needs confirmation; undo_call brings them back for 30 days."
    ),
    args=DeleteSessionsArgs,
    result=DeleteSessionsResult,
    required_role=Role.MEMBER,
    idempotent=True,
    effect=Effect.DESTROY,
    handler=handle,
)
