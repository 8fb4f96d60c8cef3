"""What an approval is, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import api_keys, approvals


class Status(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    USED = "used"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that needs a word, as the guard describes it."""

    call_id: str
    tool: str
    required_role: Role
    fingerprint: str
    """Digest of tool, arguments and what they stand for."""
    arguments: dict[str, Any]
    credits: int
    summary: str
    agent: str | None = None
    idempotency_key: str | None = None
    by_human: bool = False
    """Whether the caller's own word is not enough."""


@dataclass(frozen=True, slots=True)
class Approval:
    """An approval as it may be shown."""

    row_id: int
    id: str
    call_id: str
    tool: str
    required_role: Role
    credits: int
    summary: str
    status: Status
    agent: str | None
    key_prefix: str
    created_at: datetime
    expires_at: datetime
    decided_by: str | None
    """UUID of the key that decided."""
    decided_at: datetime | None
    used_by: str | None
    """The call that went on with it."""
    key_id: int
    """Row id of the key that asked."""
    by_human: bool


def shown(*more: sa.Column[Any]) -> sa.Select[Any]:
    """Approvals without what is secret or long, and columns that are asked for besides."""
    columns = [c for c in approvals.c if c.name not in {"arguments", "token_hash", "idempotency_key"}]
    return sa.select(*columns, *more, api_keys.c.prefix).join(
        api_keys, api_keys.c.id == approvals.c.api_key_id
    )


def approval_of(row: sa.RowMapping) -> Approval:
    """One of ``shown``; what nobody used in time has expired."""
    status = Status(row["status"])
    if status in {Status.PENDING, Status.APPROVED} and row["expires_at"] <= clock.now():
        status = Status.EXPIRED
    return Approval(
        row_id=row["id"],
        id=row["uuid"],
        call_id=row["call_id"],
        tool=row["tool"],
        required_role=Role(row["required_role"]),
        credits=row["credits"],
        summary=row["summary"],
        status=status,
        agent=row["agent"],
        key_prefix=row["prefix"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        used_by=row["used_by"],
        key_id=row["api_key_id"],
        by_human=row["by_human"],
    )
