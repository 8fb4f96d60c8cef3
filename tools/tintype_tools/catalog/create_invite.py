"""Invite somebody."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tintype_studio.identity.invites import DEFAULT_DAYS, MAX_DAYS, Invite
from tintype_studio.identity.people import MAX_EMAIL_LENGTH
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.identity_shapes import AnyRole, InviteShape, tried
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class CreateInviteArgs(Args):
    """Whom, and as what."""

    email: Annotated[str, Field(description="Their e-mail address.", max_length=2 * MAX_EMAIL_LENGTH)]
    role: AnyRole = Role.MEMBER
    expires_in_days: Annotated[
        int, Field(ge=1, le=MAX_DAYS, description="How long the link works, in days.")
    ] = DEFAULT_DAYS


class CreateInviteResult(Result):
    """The invite. ``token`` accepts it, once, and is shown only here; ``invite_url`` is the link with it,
    where the server has an address.
    """

    invite: InviteShape
    token: str
    invite_url: str | None = None


def _create(args: CreateInviteArgs, call: Call) -> tuple[str, Invite]:
    return call.studio.invites.create(
        call.principal, email=args.email, role=args.role, expires_in_days=args.expires_in_days
    )


def handle(args: CreateInviteArgs, call: Call) -> CreateInviteResult:
    """Create."""
    token, invite = _create(args, call)
    base = call.base_url
    return CreateInviteResult(
        invite=InviteShape.of(invite),
        token=token,
        invite_url=None if base is None else f"{base}/invites/{token}",
    )


TOOL = ToolSpec(
    name="create_invite",
    title="Invite somebody",
    category=Category.ORGANIZATION,
    toolset="organization",
    core=False,
    description=(
        "Use when the user wants to add somebody to the organization, as a member or in another role. "
        "Nothing is mailed: give the user the link, which works once and is shown only here. revoke_invite "
        "takes it back."
    ),
    args=CreateInviteArgs,
    result=CreateInviteResult,
    required_role=Role.ADMIN,
    idempotent=False,
    effect=Effect.WRITE,
    confidential=True,
    plan=tried("invite.created", lambda args, call: _create(args, call)[1]),
    handler=handle,
)
