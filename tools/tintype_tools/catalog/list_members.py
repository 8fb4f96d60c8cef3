"""List the organization's members."""

from __future__ import annotations

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.identity_shapes import MemberShape
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class ListMembersArgs(Args):
    """Nothing to say."""


class ListMembersResult(Result):
    """Members, in the order in which they joined."""

    members: list[MemberShape]
    count: int


def handle(_args: ListMembersArgs, call: Call) -> ListMembersResult:
    """List."""
    members = [MemberShape.of(member) for member in call.studio.organizations.list_members(call.principal)]
    return ListMembersResult(members=members, count=len(members))


TOOL = ToolSpec(
    name="list_members",
    title="List members",
    category=Category.ORGANIZATION,
    toolset="organization",
    core=False,
    description="Use when you need to know who belongs to the organization, and with which role.",
    args=ListMembersArgs,
    result=ListMembersResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
