"""The ledger's statements for every paid call, compiled once.

The conditions that keep the books right stand in these texts: an update that changes no row is a refusal.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tintype_studio.ledger.calendar import midnight
from tintype_studio.storage.column_types import UtcDateTime
from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.tables import accounts, api_keys, holds, ledger_entries

_organization = sa.bindparam("p_organization", type_=sa.BigInteger)
_key = sa.bindparam("p_key", type_=sa.BigInteger)
_call = sa.bindparam("p_call", type_=sa.String)
_amount = sa.bindparam("p_amount", type_=sa.BigInteger)
_held = sa.bindparam("p_held", type_=sa.BigInteger)
_now = sa.bindparam("p_now", type_=UtcDateTime)
_midnight = sa.bindparam("p_midnight", type_=UtcDateTime)
_next_midnight = sa.bindparam("p_next_midnight", type_=UtcDateTime)


def day_of(moment: datetime) -> dict[str, datetime]:
    """Parameters of the day that a moment (aware, UTC) lies in."""
    began = midnight(moment)
    return {"p_midnight": began, "p_next_midnight": began + timedelta(days=1)}


def smaller(one: sa.ColumnElement[int], other: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """The smaller of two numbers, in words that every database knows."""
    return sa.case((one < other, one), else_=other)


_is_today = sa.and_(
    api_keys.c.spent_on.is_not(None), api_keys.c.spent_on >= _midnight, api_keys.c.spent_on <= _next_midnight
)

SPENT_TODAY = sa.case((_is_today, api_keys.c.spent_today), else_=0)
"""What a key was charged since ``p_midnight``, refunds of that taken off. Of servers whose clocks differ
around midnight the one that is behind counts to the day that the other has begun; a day further ahead came
from a clock that was wrong, and counts no more.
"""

HELD = (
    sa.select(sa.func.coalesce(sa.func.sum(holds.c.amount), 0))
    .where(holds.c.api_key_id == api_keys.c.id)
    .correlate(api_keys)
    .scalar_subquery()
)
"""What running calls of the key of the surrounding statement have set aside."""

LEFT_IN_TOTAL = api_keys.c.credit_cap - api_keys.c.credits_used - HELD
"""Credits that a key's total cap leaves; null for a key without one."""

LEFT_TODAY = api_keys.c.daily_credit_cap - SPENT_TODAY - HELD
"""Credits that a key's daily cap leaves; null for a key without one. Needs ``day_of``."""

HOLD_IN_ACCOUNT = Prepared(
    sa.update(accounts)
    .where(
        accounts.c.organization_id == _organization,
        accounts.c.balance - accounts.c.held >= _amount,
        # Not while a refill is due, which comes first.
        sa.or_(accounts.c.reset_at.is_(None), accounts.c.reset_at > _now),
    )
    .values(held=accounts.c.held + _amount)
)

INSERT_HOLD = Prepared(
    sa.insert(holds).from_select(
        ["organization_id", "api_key_id", "call_id", "instance", "operation", "amount", "created_at"],
        sa.select(
            _organization,
            api_keys.c.id,
            _call,
            sa.bindparam("p_instance", type_=sa.String),
            sa.bindparam("p_operation", type_=sa.String),
            _amount,
            _now,
        ).where(
            api_keys.c.id == _key,
            sa.or_(api_keys.c.credit_cap.is_(None), _amount <= LEFT_IN_TOTAL),
            sa.or_(api_keys.c.daily_credit_cap.is_(None), _amount <= LEFT_TODAY),
        ),
    )
)
"""Inserts nothing when the key's caps do not cover the amount. The account's row is locked by then, so that
no other hold of the organization comes between.
"""

_each = sa.func.json_each(sa.bindparam("p_rows", type_=sa.String)).table_valued("key", "value", name="each")


def _of_each(place: int, kind: sa.types.TypeEngine[Any]) -> sa.ColumnElement[Any]:
    """What stands at a place of every row of ``p_rows``, JSON text of an array of arrays; for SQLite."""
    return sa.func.json_extract(_each.c.value, sa.literal_column(f"'$[{place}]'"), type_=kind)


INSERT_HOLDS = Prepared(
    sa.insert(holds).from_select(
        ["call_id", "operation", "amount", "api_key_id", "organization_id", "instance", "created_at"],
        sa.select(
            _of_each(0, sa.String()),
            _of_each(1, sa.String()),
            _of_each(2, sa.BigInteger()),
            api_keys.c.id,
            _organization,
            _of_each(5, sa.String()),
            _now,
        )
        .select_from(_each.join(api_keys, api_keys.c.id == _of_each(3, sa.BigInteger())))
        .where(
            sa.or_(api_keys.c.credit_cap.is_(None), _of_each(4, sa.BigInteger()) <= LEFT_IN_TOTAL),
            sa.or_(api_keys.c.daily_credit_cap.is_(None), _of_each(4, sa.BigInteger()) <= LEFT_TODAY),
        ),
    )
)
"""As ``INSERT_HOLD`` for several of one organization. ``p_rows`` has call, operation, amount, key, what all
the rows of that key hold together (which its caps must cover), and the instance.
"""

OF_A_JOB = "job"
"""Stands in a hold's ``instance`` in place of a process: see ``job_holds``."""

TAKE_HOLD = Prepared(
    sa.delete(holds)
    # What was handed over to a job is no longer its call's to free.
    .where(holds.c.call_id == _call, holds.c.instance != sa.literal_column(f"'{OF_A_JOB}'"))
    .returning(holds)
)

TAKE_HOLDS = Prepared(
    sa.delete(holds)
    .where(
        holds.c.call_id.in_(sa.select(_each.c.value)), holds.c.instance != sa.literal_column(f"'{OF_A_JOB}'")
    )
    .returning(holds)
)
"""As ``TAKE_HOLD`` for several: ``p_rows`` has their calls. They come in any order."""

SELECT_ACCOUNT = Prepared(
    sa.select(accounts.c.balance, accounts.c.allowance_left).where(
        accounts.c.organization_id == _organization
    )
)

SETTLE_ACCOUNT = Prepared(
    sa.update(accounts)
    .where(accounts.c.organization_id == _organization)
    .values(
        held=accounts.c.held - _held,
        balance=accounts.c.balance - _amount,
        allowance_left=accounts.c.allowance_left - smaller(accounts.c.allowance_left, _amount),
    )
)

CHARGE_KEY = Prepared(
    sa.update(api_keys)
    .where(api_keys.c.id == _key)
    .values(
        credits_used=api_keys.c.credits_used + _amount,
        spent_today=SPENT_TODAY + _amount,
        spent_on=sa.case((_is_today, api_keys.c.spent_on), else_=_midnight),
    )
)

INSERT_CHARGE = Prepared(
    sa.insert(ledger_entries).from_select(
        [
            "uuid",
            "organization_id",
            "api_key_id",
            "call_id",
            "operation",
            "amount",
            "balance_after",
            "from_allowance",
            "description",
            "created_at",
        ],
        sa.select(
            sa.bindparam("p_uuid", type_=sa.String),
            accounts.c.organization_id,
            _key,
            _call,
            sa.bindparam("p_operation", type_=sa.String),
            -_amount,
            accounts.c.balance - _amount,
            smaller(accounts.c.allowance_left, _amount),
            sa.bindparam("p_description", type_=sa.String),
            _now,
        ).where(accounts.c.organization_id == _organization),
    )
)
"""Comes before ``SETTLE_ACCOUNT``, because it reads what that changes."""

INSERT_CHARGES = Prepared(
    sa.insert(ledger_entries).from_select(
        [
            "uuid",
            "call_id",
            "operation",
            "api_key_id",
            "amount",
            "balance_after",
            "from_allowance",
            "description",
            "organization_id",
            "created_at",
        ],
        sa.select(
            _of_each(0, sa.String()),
            _of_each(1, sa.String()),
            _of_each(2, sa.String()),
            _of_each(3, sa.BigInteger()),
            _of_each(4, sa.BigInteger()),
            _of_each(5, sa.BigInteger()),
            _of_each(6, sa.BigInteger()),
            _of_each(7, sa.String()),
            _organization,
            _now,
        )
        .select_from(_each)
        .order_by(_each.c.key),
    )
)
"""Several charges of one organization, in the order of ``p_rows``; comes before ``SETTLE_ACCOUNT``."""
