"""The organization of the caller and its members."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, Unpack

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.identity.key_rows import act, narrow_keys_of_member
from tintype_studio.identity.keys import Keys, Principal
from tintype_studio.identity.people import clean_email, clean_label
from tintype_studio.identity.permissions import require, require_role_within
from tintype_studio.identity.roles import Role, parse_role
from tintype_studio.identity.tiers import Tier, tier_of
from tintype_studio.names import printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.tables import invites, memberships, organizations, users


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization as its members see it."""

    id: str
    name: str
    slug: str
    tier: str
    billing_email: str | None
    member_count: int
    pending_invite_count: int
    limits: Tier
    created_at: datetime
    updated_at: datetime
    """When it, its members or its invites changed last."""


@dataclass(frozen=True, slots=True)
class Member:
    """A user in an organization. ``id`` names the membership, ``user_id`` the user."""

    id: str
    user_id: str
    email: str
    full_name: str | None
    role: Role
    joined_at: datetime


class OrganizationChanges(TypedDict, total=False):
    """What ``Organizations.update`` changes; a billing address of None is taken away."""

    name: str
    billing_email: str | None


class Organizations:
    """Organizations and memberships. A row of another organization is ``NotFound``."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._db = database
        self._keys = keys

    def me(self, principal: Principal) -> Organization:
        """The organization that the key belongs to."""
        require(principal, "organization.read")
        with self._db.read() as connection:
            return _organization(connection, principal.organization_id)

    def update(self, principal: Principal, **changes: Unpack[OrganizationChanges]) -> Organization:
        """Change the name or the billing address; what is not named stays.

        Raises ``InvalidInput`` for a bad name or address, or when nothing is named.
        """
        require(principal, "organization.update")
        values: dict[str, Any] = dict(changes)
        if not values:
            raise InvalidInput(
                "Nothing to change was named.",
                code="nothing_to_change",
                fix=f"Name one of: {', '.join(OrganizationChanges.__annotations__)}.",
            )
        if "name" in values:
            values["name"] = clean_label(values["name"], "The organization's name")
        if values.get("billing_email") is not None:
            values["billing_email"] = clean_email(values["billing_email"])
        with self._db.write() as connection:
            actor = act(connection, principal, "organization.update")
            connection.execute(
                sa.update(organizations)
                .where(organizations.c.id == actor.organization_id)
                .values(**values, updated_at=clock.now())
            )
            return _organization(connection, actor.organization_id)

    def list_members(self, principal: Principal) -> list[Member]:
        """The members, in the order in which they joined."""
        require(principal, "members.list")
        with self._db.read() as connection:
            rows = connection.execute(_members(principal.organization_id).order_by(memberships.c.id))
            return [_member(row) for row in rows.mappings()]

    def get_member(self, principal: Principal, member_id: str) -> Member:
        """One member by the membership's id."""
        require(principal, "members.get")
        with self._db.read() as connection:
            return _member(_find(connection, principal.organization_id, member_id))

    def update_member_role(self, principal: Principal, member_id: str, role: Role | str) -> Member:
        """Promote or demote a member. The member's keys come down with the member, and do not go up.

        Raises ``Forbidden`` when the member's old or new role lies above the principal's, ``Conflict`` for
        the last owner (``last_owner``) and for one whose key is the last owner key (``last_owner_key``).
        """
        require(principal, "members.update_role")
        role = parse_role(role)
        with self._db.write() as connection:
            actor = act(connection, principal, "members.update_role")
            row = _find(connection, actor.organization_id, member_id)
            member = _member(row)
            require_role_within(actor, member.role, "change a member")
            require_role_within(actor, role, "make a member")
            if member.role is Role.OWNER and role is not Role.OWNER:
                _require_another_owner(connection, actor.organization_id, row["id"])
            connection.execute(
                sa.update(memberships).where(memberships.c.id == row["id"]).values(role=role.value)
            )
            narrow_keys_of_member(
                connection, actor.organization_id, row["user_row"], role, before=member.role
            )
            mark_changed(connection, actor.organization_id)
            changed = _member(_find(connection, actor.organization_id, member_id))
        self._db.after_commit(self._keys.forget)
        return changed

    def remove_member(self, principal: Principal, member_id: str) -> Member:
        """End a membership and switch off all of the member's keys here; returns what it was.

        The user stays, and can be invited again. Pending invites that the member's keys made are revoked.
        Raises ``Forbidden`` for a role above the principal's, ``Conflict`` as ``update_member_role`` does.
        """
        require(principal, "members.remove")
        with self._db.write() as connection:
            actor = act(connection, principal, "members.remove")
            row = _find(connection, actor.organization_id, member_id)
            member = _member(row)
            require_role_within(actor, member.role, "remove a member")
            if member.role is Role.OWNER:
                _require_another_owner(connection, actor.organization_id, row["id"])
            connection.execute(
                sa.update(memberships).where(memberships.c.id == row["id"]).values(removed_at=clock.now())
            )
            narrow_keys_of_member(connection, actor.organization_id, row["user_row"], None)
            mark_changed(connection, actor.organization_id)
        self._db.after_commit(self._keys.forget)
        return member


def count_members(connection: sa.Connection, organization_id: int) -> int:
    """How many members the organization has now."""
    return int(
        connection.execute(
            sa.select(sa.func.count())
            .select_from(memberships)
            .where(memberships.c.organization_id == organization_id, memberships.c.removed_at.is_(None))
        ).scalar_one()
    )


def count_pending_invites(connection: sa.Connection, organization_id: int) -> int:
    """How many invites can still be accepted."""
    return int(
        connection.execute(
            sa.select(sa.func.count())
            .select_from(invites)
            .where(
                invites.c.organization_id == organization_id,
                invites.c.status == "pending",
                invites.c.expires_at > clock.now(),
            )
        ).scalar_one()
    )


def require_room(tier: str, taken: int) -> None:
    """Raise ``Conflict`` (``member_limit``) when as many places are taken as the tier has."""
    most = tier_of(tier).max_users
    if taken >= most:
        raise Conflict(
            f"The organization's tier allows {most} members, and all places are taken.",
            code="member_limit",
            fix="Remove a member or revoke an invite, or ask the operator for a larger tier.",
            details={"limit": most, "taken": taken},
        )


def _organization(connection: sa.Connection, organization_id: int) -> Organization:
    row = (
        connection.execute(sa.select(organizations).where(organizations.c.id == organization_id))
        .mappings()
        .one()
    )
    return Organization(
        id=row["uuid"],
        name=row["name"],
        slug=row["slug"],
        tier=row["tier"],
        billing_email=row["billing_email"],
        member_count=count_members(connection, organization_id),
        pending_invite_count=count_pending_invites(connection, organization_id),
        limits=tier_of(row["tier"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"] or row["created_at"],
    )


def mark_changed(connection: sa.Connection, organization_id: int) -> None:
    """Note that the organization's members or invites are others now."""
    connection.execute(
        sa.update(organizations).where(organizations.c.id == organization_id).values(updated_at=clock.now())
    )


def _require_another_owner(connection: sa.Connection, organization_id: int, row_id: int) -> None:
    others = connection.execute(
        sa.select(memberships.c.id)
        .where(
            memberships.c.organization_id == organization_id,
            memberships.c.role == Role.OWNER.value,
            memberships.c.removed_at.is_(None),
            memberships.c.id != row_id,
        )
        .limit(1)
    ).first()
    if others is None:
        raise Conflict(
            "The member is the organization's last owner.",
            code="last_owner",
            fix="Make another member an owner first (`tintype members set-role`).",
        )


def _members(organization_id: int) -> sa.Select[Any]:
    return (
        sa.select(
            memberships,
            users.c.id.label("user_row"),
            users.c.uuid.label("user_uuid"),
            users.c.email,
            users.c.full_name,
        )
        .join(users, users.c.id == memberships.c.user_id)
        .where(memberships.c.organization_id == organization_id, memberships.c.removed_at.is_(None))
    )


def _find(connection: sa.Connection, organization_id: int, member_id: str) -> sa.RowMapping:
    row = (
        connection.execute(_members(organization_id).where(memberships.c.uuid == printable(member_id)))
        .mappings()
        .first()
    )
    if row is None:
        raise NotFound(
            f"No member has the id {printable(member_id[:40])!r}.",
            code="member_not_found",
            fix="List the members with `tintype members list` and use the id.",
        )
    return row


def _member(row: sa.RowMapping) -> Member:
    return Member(
        id=row["uuid"],
        user_id=row["user_uuid"],
        email=row["email"],
        full_name=row["full_name"],
        role=Role(row["role"]),
        joined_at=row["created_at"],
    )
