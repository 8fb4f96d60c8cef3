"""Take an invite back."""

from __future__ import annotations

from tintype_studio.identity.invites import Invite
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.identity_shapes import InviteId, InviteShape, tried
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class RevokeInviteArgs(Args):
    """Which one."""

    invite_id: InviteId


class RevokeInviteResult(Result):
    """The invite as it is now."""

    invite: InviteShape


def _revoke(args: RevokeInviteArgs, call: Call) -> Invite:
    return call.studio.invites.revoke(call.principal, args.invite_id)


def handle(args: RevokeInviteArgs, call: Call) -> RevokeInviteResult:
    """Revoke."""
    return RevokeInviteResult(invite=InviteShape.of(_revoke(args, call)))


TOOL = ToolSpec(
    name="revoke_invite",
    title="Take an invite back",
    category=Category.ORGANIZATION,
    toolset="organization",
    core=False,
    description=(
        "Use when the user asks to take an invite back: its link stops working at once. Needs the user's "
        "confirmation; it cannot be undone, but the address can be invited again."
    ),
    args=RevokeInviteArgs,
    result=RevokeInviteResult,
    required_role=Role.ADMIN,
    idempotent=True,
    effect=Effect.DESTROY,
    plan=tried("invite.revoked", _revoke),
    handler=handle,
)
