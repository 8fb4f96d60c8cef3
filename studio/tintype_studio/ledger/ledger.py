"""Quote → hold → capture or release, exactly once per call and never below zero.

``accounts.balance`` is the sum of the entries; ``held`` is the part promised to calls that run now. Each
step is one transaction whose conditions stand in the UPDATE itself, so concurrent callers cannot overdraw
on any database.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import InvalidInput, PaymentRequired
from tintype_studio.identity.keys import Principal
from tintype_studio.storage.database import Database
from tintype_studio.storage.liveness import Liveness
from tintype_studio.storage.tables import accounts, api_keys, holds, ledger_entries


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger; ``amount`` is negative for a debit."""

    id: str
    operation: str
    amount: int
    balance_after: int
    description: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Balance:
    """Credits that can be spent now (holds taken off), the monthly allowance, and the latest entries."""

    credits_remaining: int
    credits_monthly_allowance: int
    recent_history: list[Entry]


class _Refused(Exception):
    """Rolls a hold back."""

    def __init__(self, *, by_key: bool) -> None:
        super().__init__()
        self.by_key = by_key


class Ledger:
    """The books of every organization."""

    def __init__(self, database: Database, liveness: Liveness) -> None:
        self._db = database
        self._liveness = liveness
        self._unreleased: queue.SimpleQueue[str] = queue.SimpleQueue()

    def available(self, principal: Principal) -> int:
        """Credits that this key can spend now: the balance less holds, within the key's own cap."""
        with self._db.read() as connection:
            return self._available(connection, principal)

    def _available(self, connection: sa.Connection, principal: Principal) -> int:
        account = connection.execute(
            sa.select(accounts.c.balance - accounts.c.held).where(
                accounts.c.organization_id == principal.organization_id
            )
        ).scalar_one()
        key = connection.execute(
            sa.select(api_keys.c.credit_cap - api_keys.c.credits_used - api_keys.c.credits_held).where(
                api_keys.c.id == principal.key_id
            )
        ).scalar()
        return max(0, int(account if key is None else min(account, key)))

    def balance(self, principal: Principal, *, history: int = 20) -> Balance:
        """The organization's balance as this key may spend it."""
        with self._db.read() as connection:
            allowance = connection.execute(
                sa.select(accounts.c.monthly_allowance).where(
                    accounts.c.organization_id == principal.organization_id
                )
            ).scalar_one()
            rows = connection.execute(
                sa.select(ledger_entries)
                .where(ledger_entries.c.organization_id == principal.organization_id)
                .order_by(ledger_entries.c.id.desc())
                .limit(history)
            ).mappings()
            return Balance(
                credits_remaining=self._available(connection, principal),
                credits_monthly_allowance=allowance,
                recent_history=[_entry(row) for row in rows],
            )

    def hold(self, principal: Principal, *, call_id: str, operation: str, amount: int) -> None:
        """Set ``amount`` credits aside for a call, or raise ``PaymentRequired`` and change nothing."""
        if amount <= 0:
            raise InvalidInput("A hold must be for at least one credit.")
        self._release_left_over()
        try:
            self._insert_hold(principal, call_id, operation, amount)
        except _Refused as refused:
            remaining = self.available(principal)
            whose = "this key's cap leaves" if refused.by_key else "the organization has"
            raise PaymentRequired(
                f"This call costs {amount} {'credit' if amount == 1 else 'credits'} and {whose} {remaining}.",
                required=amount,
                remaining=remaining,
                code="key_cap_reached" if refused.by_key else None,
            ) from None

    def _insert_hold(self, principal: Principal, call_id: str, operation: str, amount: int) -> None:
        with self._db.write() as connection:
            account_ok = connection.execute(
                sa.update(accounts)
                .where(
                    accounts.c.organization_id == principal.organization_id,
                    accounts.c.balance - accounts.c.held >= amount,
                )
                .values(held=accounts.c.held + amount)
            ).rowcount
            key_ok = connection.execute(
                sa.update(api_keys)
                .where(
                    api_keys.c.id == principal.key_id,
                    sa.or_(
                        api_keys.c.credit_cap.is_(None),
                        api_keys.c.credit_cap - api_keys.c.credits_used - api_keys.c.credits_held >= amount,
                    ),
                )
                .values(credits_held=api_keys.c.credits_held + amount)
            ).rowcount
            if not account_ok or not key_ok:
                raise _Refused(by_key=bool(account_ok))
            connection.execute(
                sa.insert(holds).values(
                    organization_id=principal.organization_id,
                    api_key_id=principal.key_id,
                    call_id=call_id,
                    instance=self._liveness.instance,
                    operation=operation,
                    amount=amount,
                    created_at=clock.now(),
                )
            )

    def capture(self, call_id: str, amount: int, *, description: str | None = None) -> int:
        """Charge the actual price against the hold; the rest of the hold is freed. Returns what was charged.

        A second capture of the same call charges nothing.
        """

        def charge(connection: sa.Connection, hold: sa.RowMapping) -> int:
            charged = min(amount, int(hold["amount"]))
            if charged <= 0:
                return 0
            balance = connection.execute(
                sa.update(accounts)
                .where(accounts.c.organization_id == hold["organization_id"])
                .values(balance=accounts.c.balance - charged)
                .returning(accounts.c.balance)
            ).scalar_one()
            connection.execute(
                sa.update(api_keys)
                .where(api_keys.c.id == hold["api_key_id"])
                .values(credits_used=api_keys.c.credits_used + charged)
            )
            connection.execute(
                sa.insert(ledger_entries).values(
                    uuid=clock.new_id(),
                    organization_id=hold["organization_id"],
                    api_key_id=hold["api_key_id"],
                    call_id=call_id,
                    operation=hold["operation"],
                    amount=-charged,
                    balance_after=balance,
                    description=description,
                    created_at=clock.now(),
                )
            )
            return charged

        return self._settle(call_id, charge)

    def release(self, call_id: str) -> None:
        """Free a hold without a charge. Freeing twice does nothing."""
        self._settle(call_id, lambda _connection, _hold: 0)

    def release_later(self, call_id: str) -> None:
        """Free a hold now, or, while the database does not take it, before this process's next hold."""
        try:
            self.release(call_id)
        except Exception:
            self._unreleased.put(call_id)

    def _release_left_over(self) -> None:
        for _ in range(self._unreleased.qsize()):
            with suppress(queue.Empty):
                self.release_later(self._unreleased.get_nowait())

    def _settle(self, call_id: str, charge: Callable[[sa.Connection, sa.RowMapping], int]) -> int:
        with self._db.write() as connection:
            hold = (
                connection.execute(sa.delete(holds).where(holds.c.call_id == call_id).returning(holds))
                .mappings()
                .first()
            )
            if hold is None:
                return 0
            # The hold goes first: a check constraint forbids a balance below what is held.
            connection.execute(
                sa.update(accounts)
                .where(accounts.c.organization_id == hold["organization_id"])
                .values(held=accounts.c.held - hold["amount"])
            )
            connection.execute(
                sa.update(api_keys)
                .where(api_keys.c.id == hold["api_key_id"])
                .values(credits_held=api_keys.c.credits_held - hold["amount"])
            )
            return charge(connection, hold)

    def release_dead(self) -> int:
        """Free the holds of processes that died; returns how many. Called at every start."""
        with self._db.read() as connection:
            rows = connection.execute(sa.select(holds.c.call_id, holds.c.instance)).all()
        dead = [row.call_id for row in rows if self._liveness.is_dead(row.instance)]
        for call_id in dead:
            self.release(call_id)
        return len(dead)


def _entry(row: sa.RowMapping) -> Entry:
    return Entry(
        id=row["uuid"],
        operation=row["operation"],
        amount=row["amount"],
        balance_after=row["balance_after"],
        description=row["description"],
        created_at=row["created_at"],
    )
