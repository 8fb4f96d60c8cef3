"""Reading the audit trail: whose rows a key may see, filters, pages that stay put while rows are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.permissions import PERMISSIONS
from tintype_studio.storage.tables import api_keys, calls

MAX_PAGE = 1000
REFUSED = "refused"
"""As an outcome to look for: every call that did not end well."""


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls to read; what is None does not matter."""

    tool: str | None = None
    outcome: str | None = None
    """``ok``, ``refused`` (anything else) or an error's code."""
    key: str | None = None
    """An API key's id or 12-character prefix."""
    agent: str | None = None
    """A part of the agent's name, in any case."""
    session: str | None = None
    since: datetime | None = None
    """Calls that started at this time or later."""
    until: datetime | None = None
    """Calls that started before this time."""
    call_id: str | None = None


EVERY_CALL = CallFilter()


@dataclass(frozen=True, slots=True)
class CallEntry:
    """One row of the trail."""

    row: int
    """Position in the trail; a later row has a larger one. Not without gaps."""
    id: str
    """The call's id."""
    created_at: datetime
    """When the call started, UTC."""
    api_key_id: str | None
    key_prefix: str | None
    role: str | None
    door: str
    agent: str | None
    """Name and version that the client gave of itself: text of a stranger."""
    session: str | None
    tool: str
    arguments: str
    """JSON text, cut and without secrets."""
    outcome: str
    """``ok`` or the error's code."""
    replayed: bool
    dry_run: bool
    credits: int
    duration_us: int


def sees_all(principal: Principal) -> bool:
    """Whether the key reads the calls of its whole organization; a lower role reads its own."""
    return principal.role.covers(PERMISSIONS["audit.read"])


def page(
    connection: sa.Connection,
    principal: Principal,
    which: CallFilter,
    *,
    limit: int,
    before: int | None,
    after: int | None,
) -> list[CallEntry]:
    """The newest ``limit`` rows between ``after`` and ``before`` (both exclusive), newest first."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit is 1 to {MAX_PAGE}.", code="invalid_limit")
    conditions = [*_visible(principal), *_matching(which)]
    if before is not None:
        conditions.append(calls.c.id < before)
    if after is not None:
        conditions.append(calls.c.id > after)
    rows = connection.execute(
        sa.select(calls, api_keys.c.uuid.label("key_uuid"), api_keys.c.prefix.label("key_prefix"))
        .outerjoin(api_keys, api_keys.c.id == calls.c.api_key_id)
        .where(*conditions)
        .order_by(calls.c.id.desc())
        .limit(limit)
    ).mappings()
    return [_entry(row) for row in rows]


def _visible(principal: Principal) -> Sequence[sa.ColumnElement[bool]]:
    own_organization = calls.c.organization_id == principal.organization_id
    if sees_all(principal):
        return [own_organization]
    return [own_organization, calls.c.api_key_id == principal.key_id]


def _matching(which: CallFilter) -> list[sa.ColumnElement[bool]]:
    conditions = [
        column == value
        for column, value in (
            (calls.c.tool, which.tool),
            (calls.c.session, which.session),
            (calls.c.uuid, which.call_id),
        )
        if value is not None
    ]
    if which.outcome == REFUSED:
        conditions.append(calls.c.outcome != "ok")
    elif which.outcome is not None:
        conditions.append(calls.c.outcome == which.outcome)
    if which.key is not None:
        conditions.append(sa.or_(api_keys.c.uuid == which.key, api_keys.c.prefix == which.key))
    if which.agent is not None:
        conditions.append(calls.c.agent.icontains(which.agent, autoescape=True))
    if which.since is not None:
        conditions.append(calls.c.created_at >= _aware(which.since))
    if which.until is not None:
        conditions.append(calls.c.created_at < _aware(which.until))
    return conditions


def _aware(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise InvalidInput("A time needs its time zone.", code="invalid_time", fix="Add Z for UTC.")
    return time


def _entry(row: sa.RowMapping) -> CallEntry:
    return CallEntry(
        row=row["id"],
        id=row["uuid"],
        created_at=row["created_at"],
        api_key_id=row["key_uuid"],
        key_prefix=row["key_prefix"],
        role=row["role"],
        door=row["door"],
        agent=row["agent"],
        session=row["session"],
        tool=row["tool"],
        arguments=row["arguments"],
        outcome=row["outcome"],
        replayed=row["replayed"],
        dry_run=row["dry_run"],
        credits=row["credits"],
        duration_us=row["duration_us"],
    )
