"""Promote or demote a member."""

from __future__ import annotations

from tintype_studio.identity.organizations import Member
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.identity_shapes import AnyRole, MemberId, MemberShape, tried
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class UpdateMemberRoleArgs(Args):
    """Who, and to what."""

    member_id: MemberId
    role: AnyRole


class UpdateMemberRoleResult(Result):
    """The member as it is now."""

    member: MemberShape


def _update(args: UpdateMemberRoleArgs, call: Call) -> Member:
    return call.studio.organizations.update_member_role(call.principal, args.member_id, args.role)


def handle(args: UpdateMemberRoleArgs, call: Call) -> UpdateMemberRoleResult:
    """Update."""
    return UpdateMemberRoleResult(member=MemberShape.of(_update(args, call)))


TOOL = ToolSpec(
    name="update_member_role",
    title="Change a member's role",
    category=Category.ORGANIZATION,
    toolset="organization",
    core=False,
    description=(
        "Use when the user wants a member to be allowed more or less: another role (viewer: only looks; "
        "admin: also manages members and keys). The member's keys come down with a lower role at once, and "
        "do not go up. The last owner stays one. undo_call does not bring it back."
    ),
    args=UpdateMemberRoleArgs,
    result=UpdateMemberRoleResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.WRITE,
    plan=tried("member.role_updated", _update),
    handler=handle,
)
