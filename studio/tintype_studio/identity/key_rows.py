"""Rows of API keys inside a transaction of the caller's: who acts, making, withdrawing, the last owner.

Every change of who may do what in an organization begins with ``act``. It lets one such change happen at a
time in each organization and reads the acting key anew, so that the rules hold between processes and a
key that was revoked a moment ago changes nothing more.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, Unauthorized
from tintype_studio.identity.key_limits import Limits
from tintype_studio.identity.permissions import require
from tintype_studio.identity.roles import Role, roles_above
from tintype_studio.storage.login_tables import logins
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.tables import api_keys, invites, memberships, organizations

if TYPE_CHECKING:
    from tintype_studio.identity.keys import Principal

KEY_PREFIX = "pk_live_"
SHOWN_PREFIX_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Actor:
    """The key that makes a change, as its row stands now."""

    id: int
    uuid: str
    organization_id: int
    organization_uuid: str
    tier: str
    user_id: int | None
    limits: Limits

    @property
    def role(self) -> Role:
        """The role that it acts in."""
        return self.limits.role


def invalid_key() -> Unauthorized:
    """The one refusal of keys that are unknown, revoked or expired."""
    return Unauthorized("The API key is unknown, revoked or expired.", code="invalid_key")


def works(row: sa.RowMapping) -> bool:
    """Whether a key is switched on and not expired."""
    return bool(row["is_active"]) and (row["expires_at"] is None or row["expires_at"] > clock.now())


def lock_organization(connection: sa.Connection, organization_id: int) -> None:
    """Let no other change of members, invites or keys of the organization happen until this one is done."""
    # On SQLite the write transaction is that lock. On PostgreSQL this one leaves alone whoever only
    # refers to the organization, such as calls that are charged now.
    connection.execute(
        sa.select(organizations.c.id)
        .where(organizations.c.id == organization_id)
        .with_for_update(key_share=True)
    )


def act(connection: sa.Connection, principal: Principal, action: str) -> Actor:
    """Begin a change: lock the organization, and check the acting key and its role as they are now.

    Where the principal acts in less than the key's role, so does the actor.

    Raises ``Unauthorized`` for a key that works no more and ``Forbidden`` for a role that is too low.
    """
    lock_organization(connection, principal.organization_id)
    row = (
        connection.execute(
            sa.select(api_keys, organizations.c.uuid.label("organization_uuid"), organizations.c.tier)
            .join(organizations, organizations.c.id == api_keys.c.organization_id)
            .where(
                api_keys.c.id == principal.key_id,
                api_keys.c.organization_id == principal.organization_id,
            )
        )
        .mappings()
        .first()
    )
    if row is None or not works(row):
        raise invalid_key()
    limits = Limits.of(row)
    actor = Actor(
        id=row["id"],
        uuid=row["uuid"],
        organization_id=row["organization_id"],
        organization_uuid=row["organization_uuid"],
        tier=row["tier"],
        user_id=row["user_id"],
        limits=replace(limits, role=limits.role.at_most(principal.role)),
    )
    require(actor, action)
    return actor


def insert_key(
    connection: sa.Connection,
    signer: Signer,
    *,
    organization_id: int,
    name: str,
    role: Role,
    limits: Limits | None = None,
    user_id: int | None = None,
    secret: str | None = None,
    membership_id: int | None = None,
) -> str:
    """Insert a key; returns the secret, which is not kept. ``limits`` says the role, too, if it is given.

    ``secret`` is a random one unless it can be told anew from whom the key is for. ``membership_id`` is
    given for keys that stand for access tokens.
    """
    secret = secret or KEY_PREFIX + secrets.token_urlsafe(32)
    connection.execute(
        sa.insert(api_keys).values(
            uuid=clock.new_id(),
            organization_id=organization_id,
            name=name,
            prefix=secret[:SHOWN_PREFIX_LENGTH],
            hash=signer.hash_key(secret),
            user_id=user_id,
            membership_id=membership_id,
            created_at=clock.now(),
            **(limits or Limits(role)).as_columns(),
        )
    )
    return secret


def member_role(connection: sa.Connection, organization_id: int, user_id: int) -> Role | None:
    """The role of a user in the organization; None for who is no member."""
    role = connection.execute(
        sa.select(memberships.c.role).where(
            memberships.c.organization_id == organization_id,
            memberships.c.user_id == user_id,
            memberships.c.removed_at.is_(None),
        )
    ).scalar()
    return None if role is None else Role(role)


def void_invites(connection: sa.Connection, key_uuids: Collection[str], *, above: Role | None = None) -> None:
    """Take back the pending invites that keys made, all or those ``above`` a role.

    An invite is worth no more than the key behind it.
    """
    pending = sa.update(invites).where(invites.c.invited_by.in_(key_uuids), invites.c.status == "pending")
    if above is not None:
        pending = pending.where(invites.c.role.in_([role.value for role in roles_above(above)]))
    connection.execute(pending.values(status="revoked"))


def shorten_invites(connection: sa.Connection, key_uuid: str, expires_at: datetime) -> None:
    """Let the pending invites that a key made end with it."""
    connection.execute(
        sa.update(invites)
        .where(
            invites.c.invited_by == key_uuid, invites.c.status == "pending", invites.c.expires_at > expires_at
        )
        .values(expires_at=expires_at)
    )


def narrow_keys_of_member(
    connection: sa.Connection,
    organization_id: int,
    user_id: int,
    role: Role | None,
    *,
    before: Role | None = None,
) -> None:
    """Bring the keys of a member down to the member's new role, or switch them off (None) for one who goes.

    Keys that stand for access tokens also go up with the member, unless they were below the role ``before``.
    ``Conflict`` when that takes the organization's last owner key.
    """
    theirs = sa.and_(
        api_keys.c.organization_id == organization_id,
        api_keys.c.user_id == user_id,
    )
    if role is None:
        affected = sa.and_(theirs, api_keys.c.is_active)
        change = sa.update(api_keys).values(is_active=False)
    else:
        affected = sa.and_(theirs, api_keys.c.role.in_([above.value for above in roles_above(role)]))
        change = sa.update(api_keys).values(role=role.value)
    rows = connection.execute(sa.select(api_keys).where(affected)).mappings().all()
    connection.execute(change.where(affected))
    if role is not None and before is not None:
        tokens = sa.and_(theirs, api_keys.c.membership_id.is_not(None), api_keys.c.role == before.value)
        connection.execute(sa.update(api_keys).values(role=role.value).where(tokens))
    void_invites(connection, [row["uuid"] for row in rows], above=role)
    for row in rows:
        require_owner_key_left(connection, row)


def require_owner_key_left(connection: sa.Connection, before: sa.RowMapping) -> None:
    """After a change of a key, make sure that the organization still has an owner key.

    ``before`` is the key's row before the change. Where it was an owner key for good, one without an expiry
    must be left; otherwise the organization would lock itself out when the last one expires. Keys that stand
    for access tokens do not count: they are worth what the authorization server is. Nor do those of logins,
    which open one dialect only. Raises ``Conflict`` (``last_owner_key``), which undoes the change.
    """
    if before["role"] != Role.OWNER or before["membership_id"] is not None or not works(before):
        return
    for_good = before["expires_at"] is None
    never = api_keys.c.expires_at.is_(None)
    still = never if for_good else sa.or_(never, api_keys.c.expires_at > clock.now())
    left = connection.execute(
        sa.select(api_keys.c.id)
        .where(
            api_keys.c.organization_id == before["organization_id"],
            api_keys.c.role == Role.OWNER.value,
            api_keys.c.membership_id.is_(None),
            api_keys.c.id.not_in(sa.select(logins.c.api_key_id)),
            api_keys.c.is_active,
            still,
        )
        .limit(1)
    ).first()
    if left is None:
        raise Conflict(
            f"Key {before['prefix']}… is the organization's last owner key"
            f"{' without an expiry' if for_good else ''}.",
            code="last_owner_key",
            fix="Make another owner key first (`tintype keys create --role owner`).",
        )
