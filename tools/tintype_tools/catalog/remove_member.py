"""Remove a member."""

from __future__ import annotations

from typing import Literal

from tintype_studio.identity.organizations import Member
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.identity_shapes import MemberId, MemberShape, tried
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class RemoveMemberArgs(Args):
    """Who."""

    member_id: MemberId


class RemoveMemberResult(Result):
    """The member as it was."""

    removed: Literal[True] = True
    member: MemberShape


def _remove(args: RemoveMemberArgs, call: Call) -> Member:
    return call.studio.organizations.remove_member(call.principal, args.member_id)


def handle(args: RemoveMemberArgs, call: Call) -> RemoveMemberResult:
    """Remove."""
    return RemoveMemberResult(member=MemberShape.of(_remove(args, call)))


TOOL = ToolSpec(
    name="remove_member",
    title="Remove a member",
    category=Category.ORGANIZATION,
    toolset="organization",
    core=False,
    description=(
        "Use when the user asks to remove a member, such as somebody who left, and shut them out: all of "
        "their keys stop working at once. Needs the user's confirmation, and cannot be undone; the person "
        "can be invited again. The last owner stays."
    ),
    args=RemoveMemberArgs,
    result=RemoveMemberResult,
    required_role=Role.ADMIN,
    idempotent=False,
    effect=Effect.DESTROY,
    plan=tried("member.removed", _remove),
    handler=handle,
)
