"""The ledger's statements for every paid call, compiled once.

The conditions that keep the books right stand in these texts: an update that changes no row is a refusal.
"""

from __future__ import annotations

import sqlalchemy as sa

from tintype_studio.storage.prepared import Prepared
from tintype_studio.storage.tables import UtcDateTime, accounts, api_keys, holds, ledger_entries

_organization = sa.bindparam("p_organization", type_=sa.BigInteger)
_key = sa.bindparam("p_key", type_=sa.BigInteger)
_call = sa.bindparam("p_call", type_=sa.String)
_amount = sa.bindparam("p_amount", type_=sa.BigInteger)
_held = sa.bindparam("p_held", type_=sa.BigInteger)
_now = sa.bindparam("p_now", type_=UtcDateTime)
_midnight = sa.bindparam("p_midnight", type_=UtcDateTime)

SPENT_TODAY = (
    sa.select(sa.func.coalesce(-sa.func.sum(ledger_entries.c.amount), 0))
    .where(ledger_entries.c.api_key_id == api_keys.c.id, ledger_entries.c.created_at >= _midnight)
    .correlate(api_keys)
    .scalar_subquery()
)
"""What the key of the surrounding statement was charged since ``p_midnight``, refunds taken off."""

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

HOLD_IN_KEY = Prepared(
    sa.update(api_keys)
    .where(
        api_keys.c.id == _key,
        sa.or_(
            api_keys.c.credit_cap.is_(None),
            api_keys.c.credit_cap - api_keys.c.credits_used - api_keys.c.credits_held >= _amount,
        ),
        sa.or_(
            api_keys.c.daily_credit_cap.is_(None),
            api_keys.c.daily_credit_cap - SPENT_TODAY - api_keys.c.credits_held >= _amount,
        ),
    )
    .values(credits_held=api_keys.c.credits_held + _amount)
)

INSERT_HOLD = Prepared(
    sa.insert(holds),
    columns=("organization_id", "api_key_id", "call_id", "instance", "operation", "amount", "created_at"),
)

TAKE_HOLD = Prepared(sa.delete(holds).where(holds.c.call_id == _call).returning(holds))

SETTLE_ACCOUNT = Prepared(
    sa.update(accounts)
    .where(accounts.c.organization_id == _organization)
    .values(
        held=accounts.c.held - _held,
        balance=accounts.c.balance - _amount,
        allowance_left=sa.case(
            (accounts.c.allowance_left > _amount, accounts.c.allowance_left - _amount), else_=0
        ),
    )
    .returning(accounts.c.balance)
)

SETTLE_KEY = Prepared(
    sa.update(api_keys)
    .where(api_keys.c.id == _key)
    .values(credits_held=api_keys.c.credits_held - _held, credits_used=api_keys.c.credits_used + _amount)
)

INSERT_CHARGE = Prepared(
    sa.insert(ledger_entries),
    columns=(
        "uuid",
        "organization_id",
        "api_key_id",
        "call_id",
        "operation",
        "amount",
        "balance_after",
        "description",
        "created_at",
    ),
)
