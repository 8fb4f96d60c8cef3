"""How API keys are shown, and how one is found by its id or its prefix."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from tintype_studio.errors import NotFound
from tintype_studio.identity.roles import Role
from tintype_studio.identity.tiers import tier_of
from tintype_studio.names import printable
from tintype_studio.storage.tables import api_keys, organizations, users


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key after it was made. Limits that are None are none of the key's own."""

    id: str
    organization_id: str
    user_id: str | None
    """The member that the key belongs to."""
    user_email: str | None
    name: str
    prefix: str
    role: Role
    is_active: bool
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    toolsets: tuple[str, ...] | None
    credit_cap: int | None
    """Whole credits, in total."""
    credits_used: int
    daily_credit_cap: int | None
    """Whole credits from midnight to midnight UTC."""
    rate_limit: int | None
    """Calls in an hour."""
    calls_per_hour: int
    """What holds: the key's own rate limit, else the tier's."""
    max_concurrent: int | None
    max_response_tokens: int | None
    confirm_by: str | None
    """``token`` or ``human``; None for the server's setting."""


_SHOWN = (
    sa.select(
        api_keys,
        organizations.c.uuid.label("organization_uuid"),
        organizations.c.tier,
        users.c.uuid.label("user_uuid"),
        users.c.email.label("user_email"),
    )
    .join(organizations, organizations.c.id == api_keys.c.organization_id)
    .outerjoin(users, users.c.id == api_keys.c.user_id)
)


def list_keys(connection: sa.Connection, organization_id: int) -> list[KeyInfo]:
    """An organization's keys, oldest first."""
    query = _SHOWN.where(api_keys.c.organization_id == organization_id).order_by(api_keys.c.id)
    return [key_info(row) for row in connection.execute(query).mappings()]


def find_key(connection: sa.Connection, organization_id: int, prefix: str) -> sa.RowMapping:
    """The row of the organization's one key with this id or 12-character prefix, else ``NotFound``."""
    wanted = printable(prefix)
    rows = (
        connection.execute(
            _SHOWN.where(
                api_keys.c.organization_id == organization_id,
                sa.or_(api_keys.c.uuid == wanted, api_keys.c.prefix == wanted),
            ).limit(2)
        )
        .mappings()
        .all()
    )
    if len(rows) != 1:
        raise NotFound(
            f"No single key has the id or prefix {printable(prefix[:40])!r}.",
            code="key_not_found",
            fix="List the keys with `tintype keys list` and use the id.",
        )
    return rows[0]


def key_by_hash(connection: sa.Connection, digest: str) -> KeyInfo:
    """A key that was made in this transaction."""
    return key_info(connection.execute(_SHOWN.where(api_keys.c.hash == digest)).mappings().one())


def key_info(row: sa.RowMapping) -> KeyInfo:
    """What may be shown of a row that ``find_key`` gave."""
    return KeyInfo(
        id=row["uuid"],
        organization_id=row["organization_uuid"],
        user_id=row["user_uuid"],
        user_email=row["user_email"],
        name=row["name"],
        prefix=row["prefix"],
        role=Role(row["role"]),
        is_active=row["is_active"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        expires_at=row["expires_at"],
        toolsets=None if row["toolsets"] is None else tuple(row["toolsets"]),
        credit_cap=row["credit_cap"],
        credits_used=row["credits_used"],
        daily_credit_cap=row["daily_credit_cap"],
        rate_limit=row["rate_limit"],
        calls_per_hour=row["rate_limit"] or tier_of(row["tier"]).calls_per_hour,
        max_concurrent=row["max_concurrent"],
        max_response_tokens=row["max_response_tokens"],
        confirm_by=row["confirm_by"],
    )
