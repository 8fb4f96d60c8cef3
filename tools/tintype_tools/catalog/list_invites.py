"""List the organization's invites."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.invites import InviteStatus
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.identity_shapes import InviteShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListInvitesArgs(Args):
    """Which of them."""

    status: Annotated[InviteStatus | None, Field(description="Only those; all without it.")] = None


class ListInvitesResult(Result):
    """Invites, newest first."""

    invites: list[InviteShape]
    count: int


def handle(args: ListInvitesArgs, call: Call) -> ListInvitesResult:
    """List."""
    found = call.studio.invites.list(call.principal, status=args.status)
    return ListInvitesResult(invites=[InviteShape.of(invite) for invite in found], count=len(found))


TOOL = ToolSpec(
    name="list_invites",
    title="List invites",
    category=Category.ORGANIZATION,
    toolset="organization",
    core=False,
    description="Use when you need to know who was invited to the organization, and what became of it.",
    args=ListInvitesArgs,
    result=ListInvitesResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
