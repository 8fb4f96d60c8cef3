"""Read the caller's organization."""

from __future__ import annotations

from datetime import datetime

from tintype_studio.identity.roles import Role
from tintype_tools.call import Call
from tintype_tools.spec import Args, Category, Effect, Result, ToolSpec


class GetOrganizationArgs(Args):
    """Nothing to say."""


class GetOrganizationResult(Result):
    """The organization. Limits are those of its tier: members, images, bytes. ``credits_remaining`` are the
    whole credits that this key can spend now.
    """

    id: str
    name: str
    slug: str
    subscription_tier: str
    billing_email: str | None = None
    credits_remaining: int
    credits_monthly_allowance: int
    credits_reset_at: datetime | None = None
    max_users: int
    max_images: int
    max_storage_bytes: int
    member_count: int
    pending_invite_count: int
    created_at: datetime
    updated_at: datetime


def handle(_args: GetOrganizationArgs, call: Call) -> GetOrganizationResult:
    """Read."""
    found = call.studio.organizations.me(call.principal)
    balance = call.studio.ledger.balance(call.principal, history=0)
    return GetOrganizationResult(
        id=found.id,
        name=found.name,
        slug=found.slug,
        subscription_tier=found.tier,
        billing_email=found.billing_email,
        credits_remaining=balance.credits_remaining,
        credits_monthly_allowance=balance.credits_monthly_allowance,
        credits_reset_at=balance.credits_reset_at,
        max_users=found.limits.max_users,
        max_images=found.limits.max_images,
        max_storage_bytes=found.limits.max_storage_bytes,
        member_count=found.member_count,
        pending_invite_count=found.pending_invite_count,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


TOOL = ToolSpec(
    name="get_organization",
    title="Get the organization",
    category=Category.ORGANIZATION,
    toolset="organization",
    core=False,
    description=(
        "Use when you need the organization that this key belongs to: its name, its tier with the limits, "
        "how many members and open invites it has, and its credits."
    ),
    args=GetOrganizationArgs,
    result=GetOrganizationResult,
    required_role=Role.VIEWER,
    idempotent=True,
    effect=Effect.READ,
    handler=handle,
)
