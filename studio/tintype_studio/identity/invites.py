"""Invites: an e-mail address, a role, and a token that works once.

Whoever brings the token becomes a member and gets an API key of the invite's role. An invite is worth no
more than the key that made it: it is void once that key is revoked, expired or below the role, and the key
that comes of it works within the same limits (and spends nothing, where that key's credits are capped).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.identity.key_info import KeyInfo, key_by_hash
from tintype_studio.identity.key_limits import Limits, inherited
from tintype_studio.identity.key_rows import act, insert_key, lock_organization, member_role, works
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.organizations import (
    count_members,
    count_pending_invites,
    mark_changed,
    require_room,
)
from tintype_studio.identity.people import clean_email, clean_label
from tintype_studio.identity.permissions import require, require_role_within
from tintype_studio.identity.roles import Role, parse_role
from tintype_studio.names import printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.tables import api_keys, invites, memberships, organizations, users

TOKEN_PREFIX = "invite_"  # noqa: S105 - what tokens begin with
DEFAULT_DAYS = 7
MAX_DAYS = 365

InviteStatus = Literal["pending", "accepted", "revoked", "expired"]
"""``expired`` stands in no row: it is a pending invite whose time is over."""


@dataclass(frozen=True, slots=True)
class Invite:
    """What may be shown of an invite after it was made."""

    id: str
    organization_id: str
    email: str
    role: Role
    status: InviteStatus
    expires_at: datetime
    created_at: datetime
    accepted_at: datetime | None
    invited_by: str | None
    """The id of the API key that made it."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the one who brings a token may know before accepting."""

    organization: str
    role: Role
    email: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What comes of an accepted invite. ``api_key`` is the secret, shown this once."""

    api_key: str
    key: KeyInfo
    organization: str
    member_id: str
    user_id: str


class Invites:
    """Invites of every organization. A row of another organization is ``NotFound``."""

    def __init__(self, database: Database, signer: Signer) -> None:
        self._db = database
        self._signer = signer

    def create(
        self,
        principal: Principal,
        *,
        email: str,
        role: Role | str = Role.MEMBER,
        expires_in_days: int = DEFAULT_DAYS,
    ) -> tuple[str, Invite]:
        """Invite an address; returns ``(token, invite)``. The token is not kept.

        The invite lasts 1 to 365 days, and no longer than the principal's key. Raises ``Forbidden`` for a
        role above the principal's, ``Conflict`` for a member (``already_member``), for an address with a
        pending invite (``invite_pending``) and when the tier has no place left (``member_limit``), and
        ``InvalidInput`` for a malformed address, role or number of days.
        """
        require(principal, "invites.create")
        email, role = clean_email(email), parse_role(role)
        if (
            isinstance(expires_in_days, bool)
            or not isinstance(expires_in_days, int)
            or not 1 <= expires_in_days <= MAX_DAYS
        ):
            raise InvalidInput(
                f"An invite lasts a whole number of days from 1 to {MAX_DAYS}.",
                code="invalid_expiry",
                fix=f"Give a number from 1 to {MAX_DAYS}, or leave it out for {DEFAULT_DAYS}.",
            )
        now = clock.now()
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        with self._db.write() as connection:
            actor = act(connection, principal, "invites.create")
            require_role_within(actor, role, "invite somebody")
            _require_new(connection, actor.organization_id, email)
            require_room(
                actor.tier,
                count_members(connection, actor.organization_id)
                + count_pending_invites(connection, actor.organization_id),
            )
            expires_at = now + timedelta(days=expires_in_days)
            if actor.limits.expires_at is not None:
                expires_at = min(expires_at, actor.limits.expires_at)
            uuid = clock.new_id()
            connection.execute(
                sa.insert(invites).values(
                    uuid=uuid,
                    organization_id=actor.organization_id,
                    email=email,
                    role=role.value,
                    token_hash=self._signer.hash_key(token),
                    status="pending",
                    invited_by=actor.uuid,
                    created_at=now,
                    expires_at=expires_at,
                )
            )
            mark_changed(connection, actor.organization_id)
            return token, _invite(_find(connection, actor.organization_id, uuid))

    def list(self, principal: Principal, *, status: str | None = None) -> list[Invite]:
        """The organization's invites, newest first; those of one status, or all."""
        require(principal, "invites.list")
        query = _SHOWN.where(invites.c.organization_id == principal.organization_id)
        if status is not None:
            query = query.where(_has_status(status))
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(invites.c.id.desc())).mappings()
            return [_invite(row) for row in rows]

    def revoke(self, principal: Principal, invite_id: str) -> Invite:
        """Void an invite's token at once. Revoking twice does no harm.

        Raises ``Forbidden`` for a role above the principal's, ``Conflict`` for an invite that was accepted
        (``invite_accepted``).
        """
        require(principal, "invites.revoke")
        with self._db.write() as connection:
            actor = act(connection, principal, "invites.revoke")
            row = _find(connection, actor.organization_id, invite_id)
            require_role_within(actor, Role(row["role"]), "revoke an invite")
            revoked = connection.execute(
                sa.update(invites)
                .where(invites.c.id == row["id"], invites.c.status != "accepted")
                .values(status="revoked")
            ).rowcount
            if not revoked:
                raise Conflict(
                    "The invite was accepted already.",
                    code="invite_accepted",
                    fix="Remove the member instead (`tintype members remove`).",
                )
            mark_changed(connection, actor.organization_id)
            return _invite(_find(connection, actor.organization_id, invite_id))

    def show(self, token: str) -> Invitation:
        """What a token invites to. One and the same ``NotFound`` for every token that does not work."""
        with self._db.read() as connection:
            row = self._usable(connection, token)
            return Invitation(
                organization=row["organization"],
                role=Role(row["role"]),
                email=row["email"],
                expires_at=row["expires_at"],
            )

    def accept(self, token: str, *, full_name: str | None = None) -> Acceptance:
        """Become a member and get an API key. The token works once, however many bring it.

        Makes the user of the address if there is none; ``full_name`` names a user who has no name yet.
        Raises ``NotFound`` for a token that does not work (or no longer), ``Conflict`` (``member_limit``)
        when the tier has no place left, and ``InvalidInput`` for a bad name.
        """
        name = None if full_name is None else clean_label(full_name, "The name")
        with self._db.write() as connection:
            lock_organization(connection, self._usable(connection, token)["organization_id"])
            row = self._usable(connection, token)
            organization_id = row["organization_id"]
            claimed = connection.execute(
                sa.update(invites)
                .where(invites.c.id == row["id"], invites.c.status == "pending")
                .values(status="accepted", accepted_at=clock.now())
            ).rowcount
            if not claimed:
                raise _no_such_invite()
            require_room(row["tier"], count_members(connection, organization_id))
            user_id, user_uuid = self._user(connection, row["email"], name)
            if member_role(connection, organization_id, user_id) is not None:
                raise _already_member()
            member_id = clock.new_id()
            connection.execute(
                sa.insert(memberships).values(
                    uuid=member_id,
                    organization_id=organization_id,
                    user_id=user_id,
                    role=row["role"],
                    created_at=clock.now(),
                )
            )
            secret = self._first_key(connection, row, user_id)
            mark_changed(connection, organization_id)
            return Acceptance(
                api_key=secret,
                key=key_by_hash(connection, self._signer.hash_key(secret)),
                organization=row["organization"],
                member_id=member_id,
                user_id=user_uuid,
            )

    def _usable(self, connection: sa.Connection, token: str) -> sa.RowMapping:
        """The pending invite of a token, with the key that made it."""
        row = (
            connection.execute(
                sa.select(
                    invites,
                    organizations.c.name.label("organization"),
                    organizations.c.tier,
                )
                .join(organizations, organizations.c.id == invites.c.organization_id)
                .where(
                    invites.c.token_hash == self._signer.hash_key(token),
                    invites.c.status == "pending",
                    invites.c.expires_at > clock.now(),
                )
            )
            .mappings()
            .first()
        )
        if row is None:
            raise _no_such_invite()
        return row

    def _user(self, connection: sa.Connection, email: str, name: str | None) -> tuple[int, str]:
        """The row and the id of the user with this address, made if there is none."""
        connection.execute(
            self._db.insert_ignore(users).values(
                uuid=clock.new_id(), email=email, full_name=name, created_at=clock.now()
            )
        )
        if name is not None:
            connection.execute(
                sa.update(users)
                .where(users.c.email == email, users.c.full_name.is_(None))
                .values(full_name=name)
            )
        row = connection.execute(sa.select(users.c.id, users.c.uuid).where(users.c.email == email)).one()
        return row.id, row.uuid

    def _first_key(self, connection: sa.Connection, invite: sa.RowMapping, user_id: int) -> str:
        maker = (
            connection.execute(
                sa.select(api_keys).where(
                    api_keys.c.uuid == invite["invited_by"],
                    api_keys.c.organization_id == invite["organization_id"],
                )
            )
            .mappings()
            .first()
        )
        if maker is None or not works(maker):
            raise _no_such_invite()
        role = Role(invite["role"])
        return insert_key(
            connection,
            self._signer,
            organization_id=invite["organization_id"],
            name="from an invite",
            role=role,
            limits=inherited(Limits(role), Limits.of(maker)),
            user_id=user_id,
        )


_SHOWN = sa.select(invites, organizations.c.uuid.label("organization_uuid")).join(
    organizations, organizations.c.id == invites.c.organization_id
)


def _find(connection: sa.Connection, organization_id: int, invite_id: str) -> sa.RowMapping:
    row = (
        connection.execute(
            _SHOWN.where(invites.c.organization_id == organization_id, invites.c.uuid == printable(invite_id))
        )
        .mappings()
        .first()
    )
    if row is None:
        raise NotFound(
            f"No invite has the id {printable(invite_id[:40])!r}.",
            code="invite_not_found",
            fix="List the invites with `tintype invites list` and use the id.",
        )
    return row


def _require_new(connection: sa.Connection, organization_id: int, email: str) -> None:
    """Refuse an address that is a member's, or that has an invite that can still be accepted."""
    member = connection.execute(
        sa.select(memberships.c.id)
        .join(users, users.c.id == memberships.c.user_id)
        .where(
            memberships.c.organization_id == organization_id,
            memberships.c.removed_at.is_(None),
            users.c.email == email,
        )
    ).first()
    if member is not None:
        raise _already_member()
    pending = connection.execute(
        sa.select(invites.c.id).where(
            invites.c.organization_id == organization_id, invites.c.email == email, _has_status("pending")
        )
    ).first()
    if pending is not None:
        raise Conflict(
            "This address has an invite that is still pending.",
            code="invite_pending",
            fix="Send that one again, or revoke it first (`tintype invites revoke`).",
        )


def _has_status(status: str) -> sa.ColumnElement[bool]:
    if status not in get_args(InviteStatus):
        raise InvalidInput(
            f"There is no invite status {printable(str(status)[:40])!r}.",
            code="invalid_status",
            fix=f"Use one of: {', '.join(get_args(InviteStatus))}.",
        )
    if status == "expired":
        return sa.and_(invites.c.status == "pending", invites.c.expires_at <= clock.now())
    if status == "pending":
        return sa.and_(invites.c.status == "pending", invites.c.expires_at > clock.now())
    return invites.c.status == status


def _invite(row: sa.RowMapping) -> Invite:
    over = row["status"] == "pending" and row["expires_at"] <= clock.now()
    return Invite(
        id=row["uuid"],
        organization_id=row["organization_uuid"],
        email=row["email"],
        role=Role(row["role"]),
        status="expired" if over else row["status"],
        expires_at=row["expires_at"],
        created_at=row["created_at"],
        accepted_at=row["accepted_at"],
        invited_by=row["invited_by"],
    )


def _already_member() -> Conflict:
    return Conflict(
        "This address belongs to a member already.",
        code="already_member",
        fix="Change the member's role instead (`tintype members set-role`).",
    )


def _no_such_invite() -> NotFound:
    return NotFound(
        "This invite does not exist, or it was used, revoked or has expired.",
        code="invite_not_found",
        fix="Ask whoever invited you for a new one.",
    )
