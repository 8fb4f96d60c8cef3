"""The monthly allowance: what was spent of it comes back once a month.

Charges take from the allowance first, and granted credits stay until they are spent. A refill that is due
is booked by the next hold or grant; whoever only reads is shown the balance with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.ledger.calendar import next_month
from tintype_studio.storage.tables import accounts, ledger_entries


@dataclass(frozen=True, slots=True)
class Account:
    """An organization's credits, whole numbers."""

    balance: int
    held: int
    monthly_allowance: int
    allowance_left: int
    reset_at: datetime | None

    def is_due(self, now: datetime) -> bool:
        """Whether the month is over."""
        return self.reset_at is not None and self.reset_at <= now

    def due_refill(self, now: datetime) -> int:
        """Credits that a refill would add now; months that nobody noticed count once."""
        return max(0, self.monthly_allowance - self.allowance_left) if self.is_due(now) else 0

    def next_reset(self, now: datetime) -> datetime | None:
        """When the next refill is due."""
        reset = self.reset_at
        while reset is not None and reset <= now:
            reset = next_month(reset)
        return reset


def read(connection: sa.Connection, organization_id: int, *, lock: bool = False) -> Account:
    """An organization's account; ``lock`` it before writing what depends on it."""
    query = sa.select(
        accounts.c.balance,
        accounts.c.held,
        accounts.c.monthly_allowance,
        accounts.c.allowance_left,
        accounts.c.reset_at,
    ).where(accounts.c.organization_id == organization_id)
    return Account(*connection.execute(query.with_for_update() if lock else query).one())


def refill(connection: sa.Connection, organization_id: int) -> bool:
    """Book a refill that is due, once however many callers notice; whether there was one to book."""
    now = clock.now()
    account = read(connection, organization_id)
    if not account.is_due(now):
        return False
    added = account.due_refill(now)
    booked = connection.execute(
        sa.update(accounts)
        .where(accounts.c.organization_id == organization_id, accounts.c.reset_at == account.reset_at)
        .values(
            balance=accounts.c.balance + added,
            allowance_left=accounts.c.allowance_left + added,
            reset_at=account.next_reset(now),
        )
        .returning(accounts.c.balance)
    ).scalar()
    if booked is None:  # another caller booked it
        return True
    if added:
        connection.execute(
            sa.insert(ledger_entries).values(
                uuid=clock.new_id(),
                organization_id=organization_id,
                operation="monthly_allowance",
                amount=added,
                balance_after=booked,
                description="What was spent of the monthly allowance comes back",
                created_at=now,
            )
        )
    return True
