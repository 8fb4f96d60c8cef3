"""Members, invites and API keys as agents see them, and what dry runs of their changes tell."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from tintype_studio.identity.invites import Invite
from tintype_studio.identity.key_info import KeyInfo
from tintype_studio.identity.organizations import Member
from tintype_studio.identity.roles import Role
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.spec import Args, Result

MemberId = Annotated[str, Field(description="UUID of the membership, of list_members.", max_length=80)]
InviteId = Annotated[str, Field(description="UUID of the invite, of list_invites.", max_length=80)]
KeyId = Annotated[str, Field(description="UUID of the key, or its 12-character prefix.", max_length=80)]


class MemberShape(Result):
    """A member. ``id`` names the membership, ``user_id`` the person."""

    id: str
    user_id: str
    email: str
    full_name: str | None = None
    role: str
    joined_at: datetime

    @classmethod
    def of(cls, member: Member) -> MemberShape:
        """From the platform's member."""
        return cls(
            id=member.id,
            user_id=member.user_id,
            email=member.email,
            full_name=member.full_name,
            role=member.role.value,
            joined_at=member.joined_at,
        )


class InviteShape(Result):
    """An invite without its token. ``invited_by`` is the UUID of the API key that made it."""

    id: str
    organization_id: str
    email: str
    role: str
    status: str
    expires_at: datetime
    created_at: datetime
    accepted_at: datetime | None = None
    invited_by: str | None = None

    @classmethod
    def of(cls, invite: Invite, **more: Any) -> InviteShape:
        """From the platform's invite; ``more`` are fields of a class that has more."""
        return cls(
            id=invite.id,
            organization_id=invite.organization_id,
            email=invite.email,
            role=invite.role.value,
            status=invite.status,
            expires_at=invite.expires_at,
            created_at=invite.created_at,
            accepted_at=invite.accepted_at,
            invited_by=invite.invited_by,
            **more,
        )


class KeyShape(Result):
    """An API key without its secret. ``rate_limit`` is what holds, in calls per hour; caps in whole credits.
    What is absent is no limit.
    """

    id: str
    organization_id: str
    name: str
    key_prefix: str
    role: str
    rate_limit: int
    is_active: bool
    created_at: datetime
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    user_id: str | None = None
    user_email: str | None = None
    toolsets: list[str] | None = None
    credit_cap: int | None = None
    credits_used: int
    daily_credit_cap: int | None = None
    max_concurrent: int | None = None
    max_response_tokens: int | None = None
    confirm_by: str | None = None

    @classmethod
    def of(cls, key: KeyInfo) -> KeyShape:
        """From the platform's key."""
        return cls(
            id=key.id,
            organization_id=key.organization_id,
            name=key.name,
            key_prefix=key.prefix,
            role=key.role.value,
            rate_limit=key.calls_per_hour,
            is_active=key.is_active,
            created_at=key.created_at,
            last_used_at=key.last_used_at,
            expires_at=key.expires_at,
            user_id=key.user_id,
            user_email=key.user_email,
            toolsets=None if key.toolsets is None else list(key.toolsets),
            credit_cap=key.credit_cap,
            credits_used=key.credits_used,
            daily_credit_cap=key.daily_credit_cap,
            max_concurrent=key.max_concurrent,
            max_response_tokens=key.max_response_tokens,
            confirm_by=key.confirm_by,
        )


class KeyResult(Result):
    """One key."""

    api_key: KeyShape


def tried(kind: str, deed: Callable[[Any, Call], Member | Invite | KeyInfo]) -> Callable[[Args, Call], Plan]:
    """A plan that does the deed in a transaction that is taken back; it tells ``kind`` and whose it is.

    Who may do what is no data: the change history, and with it undo, does not know such changes.
    """

    def plan(args: Args, call: Call) -> Plan:
        with call.studio.database.unit_of_work(rehearsal=True):
            changed = deed(args, call)
        name = changed.name if isinstance(changed, KeyInfo) else changed.email
        made = kind.endswith(".created")
        affected = Affected(kind, 1, name=name, subject=None if made else changed.id)
        return Plan((affected,), undoable=False)

    return plan


ROLE_FIELD = Field(description="What it may do; never above your own role.")
AnyRole = Annotated[Role, ROLE_FIELD]
