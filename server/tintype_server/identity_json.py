"""Organizations, members, invites and API keys as JSON, with the field names of the documented REST API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tintype_studio.identity.invites import Invite
from tintype_studio.identity.key_info import KeyInfo
from tintype_studio.identity.organizations import Member, Organization


def key_json(info: KeyInfo) -> dict[str, Any]:
    """An API key without its secret. ``rate_limit`` is what holds, in calls per hour."""
    return {
        "id": info.id,
        "organization_id": info.organization_id,
        "name": info.name,
        "key_prefix": info.prefix,
        "prefix": info.prefix,
        "role": info.role.value,
        "rate_limit": info.calls_per_hour,
        "is_active": info.is_active,
        "created_at": _time(info.created_at),
        "last_used_at": _time(info.last_used_at),
        "expires_at": _time(info.expires_at),
        "user_id": info.user_id,
        "user_email": info.user_email,
        "toolsets": None if info.toolsets is None else list(info.toolsets),
        "credit_cap": info.credit_cap,
        "credits_used": info.credits_used,
        "daily_credit_cap": info.daily_credit_cap,
        "max_concurrent": info.max_concurrent,
        "max_response_tokens": info.max_response_tokens,
        "confirm_by": info.confirm_by,
    }


def created_key_json(secret: str, info: KeyInfo) -> dict[str, Any]:
    """An API key that was made just now, with its secret."""
    return {"api_key": secret, "key_id": info.id, **key_json(info)}


def organization_json(organization: Organization) -> dict[str, Any]:
    """An organization; its credits are the ledger's to tell."""
    return {
        "id": organization.id,
        "name": organization.name,
        "slug": organization.slug,
        "subscription_tier": organization.tier,
        "billing_email": organization.billing_email,
        "member_count": organization.member_count,
        "pending_invite_count": organization.pending_invite_count,
        "max_users": organization.limits.max_users,
        "max_images": organization.limits.max_images,
        "max_storage_bytes": organization.limits.max_storage_bytes,
        "created_at": _time(organization.created_at),
        "updated_at": _time(organization.updated_at),
    }


def member_json(member: Member) -> dict[str, Any]:
    """A member."""
    return {
        "id": member.id,
        "user_id": member.user_id,
        "email": member.email,
        "full_name": member.full_name,
        "role": member.role.value,
        "joined_at": _time(member.joined_at),
    }


def invite_json(invite: Invite) -> dict[str, Any]:
    """An invite without its token."""
    return {
        "id": invite.id,
        "organization_id": invite.organization_id,
        "email": invite.email,
        "role": invite.role.value,
        "status": invite.status,
        "expires_at": _time(invite.expires_at),
        "created_at": _time(invite.created_at),
        "accepted_at": _time(invite.accepted_at),
        "invited_by": invite.invited_by,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
