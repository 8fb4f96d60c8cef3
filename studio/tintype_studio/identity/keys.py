"""API keys: made, shown once, checked, revoked."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthorized
from tintype_studio.identity.roles import Role
from tintype_studio.names import clean_name, printable
from tintype_studio.storage.database import Database
from tintype_studio.storage.signing import Signer
from tintype_studio.storage.tables import api_keys, organizations

KEY_PREFIX = "pk_live_"
SHOWN_PREFIX_LENGTH = 12
CACHE_SECONDS = 0.5
"""A revoked key stops working within this time in every process."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: one API key of one organization."""

    organization_id: int
    organization_uuid: str
    key_id: int
    key_uuid: str
    key_name: str
    key_prefix: str
    role: Role
    toolsets: frozenset[str] | None = None
    """Toolsets that the key is limited to; None for all."""
    user_id: int | None = None
    """The member that the key was made for, if any; what one of a member's keys made is its own to all."""
    tier: str = "free"
    """The organization's tier: see ``identity.tiers``."""
    rate_limit: int | None = None
    """Calls per hour; None for the tier's."""
    max_concurrent: int | None = None
    """Calls at a time; None for the tier's."""
    max_response_tokens: int | None = None
    """Largest response budget of a call; None for no limit of its own."""
    confirm_by: str | None = None
    """``token`` or ``human``: how calls that need confirmation get it; None for the server's setting."""
    call_id: str | None = None
    """The call that this principal acts in; every change carries it."""
    session: str | None = None
    """What the call belongs to, for ``undo_session``."""
    tool: str | None = None
    """The tool that is called."""


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key after it was made."""

    id: str
    name: str
    prefix: str
    role: Role
    is_active: bool
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    credit_cap: int | None
    credits_used: int


class Keys:
    """API keys of every organization."""

    def __init__(self, database: Database, signer: Signer) -> None:
        self._db = database
        self._signer = signer
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[float, Principal]] = {}

    def authenticate(self, api_key: str | None) -> Principal:
        """The principal of a key. Unknown, revoked and expired keys fail alike."""
        if not api_key or not api_key.strip():
            raise Unauthorized("No API key was sent.", code="missing_key")
        cached = self.cached(api_key)
        if cached is not None:
            return cached
        api_key = api_key.strip()
        self._cache.pop(api_key, None)
        principal = self._load(self._signer.hash_key(api_key))
        with self._lock:
            if len(self._cache) > 10_000:
                self._cache.clear()
            self._cache[api_key] = (time.monotonic(), principal)
        return principal

    def cached(self, api_key: str | None) -> Principal | None:
        """The principal if the key was checked a moment ago; never touches the database."""
        entry = self._cache.get(api_key.strip()) if api_key else None
        fresh = entry is not None and time.monotonic() - entry[0] < CACHE_SECONDS
        return entry[1] if entry is not None and fresh else None

    def _load(self, digest: str) -> Principal:
        query = (
            sa.select(api_keys, organizations.c.uuid.label("organization_uuid"), organizations.c.tier)
            .join(organizations, organizations.c.id == api_keys.c.organization_id)
            .where(api_keys.c.hash == digest)
        )
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        now = clock.now()
        if row is None or not row["is_active"] or (row["expires_at"] and row["expires_at"] <= now):
            raise Unauthorized("The API key is unknown, revoked or expired.", code="invalid_key")
        return Principal(
            organization_id=row["organization_id"],
            organization_uuid=row["organization_uuid"],
            key_id=row["id"],
            key_uuid=row["uuid"],
            key_name=row["name"],
            key_prefix=row["prefix"],
            role=Role(row["role"]),
            toolsets=frozenset(row["toolsets"]) if row["toolsets"] is not None else None,
            user_id=row["user_id"],
            tier=row["tier"],
            rate_limit=row["rate_limit"],
            max_concurrent=row["max_concurrent"],
            max_response_tokens=row["max_response_tokens"],
            confirm_by=row["confirm_by"],
        )

    def create(
        self,
        principal: Principal,
        *,
        name: str,
        role: Role,
        credit_cap: int | None = None,
        toolsets: list[str] | None = None,
        expires_at: datetime | None = None,
    ) -> tuple[str, KeyInfo]:
        """Make a key of the principal's organization; returns ``(secret, info)``. The secret is not kept.

        Admins and owners make keys, and none grants a role above its own.
        """
        self._require_admin(principal)
        if not principal.role.covers(role):
            raise Forbidden(f"A key with role {principal.role} cannot make a key with role {role}.")
        if credit_cap is not None and credit_cap < 0:
            raise InvalidInput("The credit cap must be 0 or more whole credits.")
        if expires_at is not None and expires_at <= clock.now():
            raise InvalidInput("The expiry lies in the past.", code="invalid_expiry")
        with self._db.write() as connection:
            secret = insert_key(
                connection,
                self._signer,
                organization_id=principal.organization_id,
                name=clean_name(name, "Key name", max_length=100),
                role=role,
                credit_cap=credit_cap,
                toolsets=toolsets,
                expires_at=expires_at,
            )
            row = connection.execute(
                sa.select(api_keys).where(api_keys.c.hash == self._signer.hash_key(secret))
            ).mappings()
            return secret, _info(row.one())

    def list(self, principal: Principal) -> list[KeyInfo]:
        """The organization's keys, oldest first."""
        self._require_admin(principal)
        query = (
            sa.select(api_keys)
            .where(api_keys.c.organization_id == principal.organization_id)
            .order_by(api_keys.c.id)
        )
        with self._db.read() as connection:
            return [_info(row) for row in connection.execute(query).mappings()]

    def get(self, principal: Principal, *, prefix: str) -> KeyInfo:
        """One key by its id or its 12-character prefix."""
        found = [k for k in self.list(principal) if prefix in {k.id, k.prefix}]
        if len(found) != 1:
            raise NotFound(
                f"No single key has the id or prefix {printable(prefix[:40])!r}.",
                fix="List the keys with `tintype keys list` and use the id.",
            )
        return found[0]

    def revoke(self, principal: Principal, *, prefix: str) -> KeyInfo:
        """Switch a key off. Other processes follow within half a second.

        ``Conflict`` for the last owner key that works: without one, nobody could make another.
        """
        info = self.get(principal, prefix=prefix)
        if not principal.role.covers(info.role):
            raise Forbidden(f"A key with role {principal.role} cannot revoke a key with role {info.role}.")
        with self._db.write() as connection:
            owners = connection.execute(
                sa.select(api_keys.c.uuid)
                .where(
                    api_keys.c.organization_id == principal.organization_id,
                    api_keys.c.role == Role.OWNER.value,
                    api_keys.c.is_active,
                    sa.or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > clock.now()),
                )
                .order_by(api_keys.c.id)
                # Two owners who revoke each other's keys at once must not both find the other's at work.
                .with_for_update()
            ).scalars()
            if list(owners) == [info.id]:
                raise Conflict(
                    f"Key {info.prefix}… is the organization's last owner key.",
                    code="last_owner_key",
                    fix="Make another owner key first (`tintype keys create --role owner`).",
                )
            connection.execute(sa.update(api_keys).where(api_keys.c.uuid == info.id).values(is_active=False))
        with self._lock:
            self._cache.clear()
        return self.get(principal, prefix=info.id)

    @staticmethod
    def _require_admin(principal: Principal) -> None:
        if not principal.role.covers(Role.ADMIN):
            raise Forbidden("Managing API keys needs the role admin.")


def insert_key(
    connection: sa.Connection,
    signer: Signer,
    *,
    organization_id: int,
    name: str,
    role: Role,
    credit_cap: int | None = None,
    toolsets: list[str] | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Insert a key inside a transaction of the caller's; returns the secret."""
    secret = KEY_PREFIX + secrets.token_urlsafe(32)
    connection.execute(
        sa.insert(api_keys).values(
            uuid=clock.new_id(),
            organization_id=organization_id,
            name=name,
            prefix=secret[:SHOWN_PREFIX_LENGTH],
            hash=signer.hash_key(secret),
            role=role.value,
            credit_cap=credit_cap,
            toolsets=toolsets,
            expires_at=expires_at,
            created_at=clock.now(),
        )
    )
    return secret


def _info(row: sa.RowMapping) -> KeyInfo:
    return KeyInfo(
        id=row["uuid"],
        name=row["name"],
        prefix=row["prefix"],
        role=Role(row["role"]),
        is_active=row["is_active"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        expires_at=row["expires_at"],
        credit_cap=row["credit_cap"],
        credits_used=row["credits_used"],
    )
