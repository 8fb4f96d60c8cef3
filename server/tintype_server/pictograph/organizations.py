"""``/organizations``: the caller's organization, its members and invites."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from tintype_server.pictograph.door import API, RestDoor
from tintype_server.pictograph.schema import Wire, WireBody, answers

Role = Literal["owner", "admin", "member", "viewer"]
InviteRole = Literal["admin", "member", "viewer"]
InviteStatus = Literal["pending", "accepted", "expired", "revoked"]

TIERS = frozenset({"free", "core", "pro", "team", "enterprise"})
"""All that the wire knows; whatever else a workspace may call its tier is shown as the smallest."""


class Organization(Wire):
    """The organization. Limits are those of its tier, always finite; credits are whole ones."""

    id: str
    name: str
    slug: str
    subscription_tier: Literal["free", "core", "pro", "team", "enterprise"]
    billing_email: str | None
    credits_remaining: Annotated[int, Field(ge=0)]
    credits_monthly_allowance: Annotated[int, Field(ge=0)]
    credits_reset_at: datetime | None
    max_users: Annotated[int, Field(ge=1)]
    max_images: Annotated[int, Field(ge=0)]
    max_storage_bytes: Annotated[int, Field(ge=0)]
    member_count: int
    pending_invite_count: int
    created_at: datetime
    updated_at: datetime


class Member(Wire):
    """A member. ``id`` names the membership, ``user_id`` the person."""

    id: str
    user_id: str
    email: str | None
    full_name: str | None
    role: Role
    joined_at: datetime


class Invite(Wire):
    """An invite. One to the role owner, which only the command line makes, has ``role`` admin here and
    ``granted_role`` owner.
    """

    id: str
    organization_id: str
    email: str
    role: InviteRole
    granted_role: Role
    status: InviteStatus
    invited_by: str | None
    expires_at: datetime
    created_at: datetime


class NewInvite(Invite):
    """An invite with its link, which is shown only here."""

    invite_url: str


class OrganizationAnswer(Wire):
    """The organization."""

    organization: Organization


class MembersAnswer(Wire):
    """Members, in the order in which they joined."""

    members: list[Member]


class MemberAnswer(Wire):
    """One member."""

    member: Member


class InvitesAnswer(Wire):
    """Invites, newest first."""

    invites: list[Invite]


class InviteAnswer(Wire):
    """One invite."""

    invite: Invite


class NewInviteAnswer(Wire):
    """The new invite."""

    invite: NewInvite


class RoleBody(WireBody):
    """The new role."""

    role: Role


class InviteBody(WireBody):
    """Whom to invite."""

    email: Annotated[str, Field(max_length=500)]
    role: InviteRole = "member"
    expires_in_days: Annotated[int, Field(ge=1, le=365)] = 7


def routes(door: RestDoor) -> APIRouter:
    """The resource's routes."""
    router = door.router(f"{API}/organizations", "Organizations")

    @router.get("/me", responses=answers(OrganizationAnswer))
    async def me(request: Request) -> Response:
        """The organization that the key belongs to."""
        outcome = await door.call(request, "get_organization", {})
        return door.answer(request, {"organization": wire_organization(outcome.value)}, outcome)

    @router.get("/members", responses=answers(MembersAnswer))
    async def list_members(request: Request) -> Response:
        """All members."""
        outcome = await door.call(request, "list_members", {})
        members = [wire_member(member) for member in outcome.value["members"]]
        return door.answer(request, {"members": members}, outcome)

    @router.patch("/members/{member_id}", responses=answers(MemberAnswer))
    async def update_member_role(request: Request, member_id: str, body: RoleBody) -> Response:
        """Promote or demote a member; never above the caller's role, and never the last owner."""
        outcome = await door.call(request, "update_member_role", {"member_id": member_id, "role": body.role})
        return door.answer(request, {"member": wire_member(outcome.value["member"])}, outcome)

    @router.delete("/members/{member_id}", responses=answers(MemberAnswer))
    async def remove_member(request: Request, member_id: str) -> Response:
        """End a membership; the member's keys stop working at once."""
        outcome = await door.call(request, "remove_member", {"member_id": member_id})
        return door.answer(request, {"member": wire_member(outcome.value["member"])}, outcome)

    @router.get("/invites", responses=answers(InvitesAnswer))
    async def list_invites(
        request: Request, status: Annotated[InviteStatus | None, Query()] = None
    ) -> Response:
        """All invites, or those of one status."""
        outcome = await door.call(request, "list_invites", {"status": status})
        invites = [wire_invite(invite) for invite in outcome.value["invites"]]
        return door.answer(request, {"invites": invites}, outcome)

    @router.post("/invites", responses=answers(NewInviteAnswer))
    async def create_invite(request: Request, body: InviteBody) -> Response:
        """Invite an address. Nothing is mailed: ``invite_url`` is to be sent by whoever invites."""
        outcome = await door.call(request, "create_invite", body.model_dump())
        invite = wire_invite(outcome.value["invite"])
        invite["invite_url"] = f"{door.base_url(request)}/invites/{outcome.value['token']}"
        return door.answer(request, {"invite": invite}, outcome)

    @router.delete("/invites/{invite_id}", responses=answers(InviteAnswer))
    async def revoke_invite(request: Request, invite_id: str) -> Response:
        """Take an invite back; its link stops working at once."""
        outcome = await door.call(request, "revoke_invite", {"invite_id": invite_id})
        return door.answer(request, {"invite": wire_invite(outcome.value["invite"])}, outcome)

    return router


def wire_organization(found: dict[str, Any]) -> dict[str, Any]:
    """An organization on the wire, whose credits are never below zero."""
    tier = found["subscription_tier"]
    return found | {
        "subscription_tier": tier if tier in TIERS else "free",
        "billing_email": found.get("billing_email"),
        "credits_remaining": max(0, found["credits_remaining"]),
        "credits_reset_at": found.get("credits_reset_at"),
    }


def wire_member(member: dict[str, Any]) -> dict[str, Any]:
    """A member on the wire."""
    return member | {"full_name": member.get("full_name")}


def wire_invite(invite: dict[str, Any]) -> dict[str, Any]:
    """An invite on the wire, which knows none to the role owner."""
    role = invite["role"]
    return {
        "id": invite["id"],
        "organization_id": invite["organization_id"],
        "email": invite["email"],
        "role": "admin" if role == "owner" else role,
        "granted_role": role,
        "status": invite["status"],
        "invited_by": invite.get("invited_by"),
        "expires_at": invite["expires_at"],
        "created_at": invite["created_at"],
    }
