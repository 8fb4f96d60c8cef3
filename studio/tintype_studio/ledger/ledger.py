"""Quote → hold → capture or release, exactly once per call and never below zero.

``accounts.balance`` is the sum of the entries; ``held`` is the part promised to calls that run now. Each
step is one transaction whose conditions stand in the UPDATE itself, so concurrent callers cannot overdraw
on any database. A capture stands in the transaction of the work that it pays for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound, PaymentRequired, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.permissions import require
from tintype_studio.later import Later
from tintype_studio.ledger import allowance, statements
from tintype_studio.ledger.amounts import MOST, whole_credits
from tintype_studio.ledger.crowd import Charge, NewHold, Refused, charge_all, covered
from tintype_studio.ledger.job_holds import charge_of_job
from tintype_studio.storage.database import Database
from tintype_studio.storage.liveness import Liveness
from tintype_studio.storage.prepared import Row
from tintype_studio.storage.tables import accounts, api_keys, holds, ledger_entries

MAX_REFERENCE = 80


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
    credits_reset_at: datetime | None
    """When what was spent of the allowance comes back."""
    recent_history: list[Entry]


class Ledger:
    """The books of every organization."""

    def __init__(self, database: Database, liveness: Liveness, later: Later) -> None:
        self._db = database
        self._liveness = liveness
        self._later = later

    def available(self, principal: Principal) -> int:
        """Credits that this key can spend now: the balance less holds, within the key's own caps."""
        with self._db.read() as connection:
            return self._available(connection, principal)

    def _available(self, connection: sa.Connection, principal: Principal) -> int:
        account = allowance.read(connection, principal.organization_id)
        left = [account.balance + account.due_refill(clock.now()) - account.held]
        caps = connection.execute(
            sa.select(statements.LEFT_IN_TOTAL, statements.LEFT_TODAY).where(
                api_keys.c.id == principal.key_id
            ),
            statements.day_of(clock.now()),
        ).one()
        left += [cap for cap in caps if cap is not None]
        return max(0, min(int(part) for part in left))

    def balance(self, principal: Principal, *, history: int = 20) -> Balance:
        """The organization's balance as this key may spend it."""
        with self._db.read() as connection:
            account = allowance.read(connection, principal.organization_id)
            return Balance(
                credits_remaining=self._available(connection, principal),
                credits_monthly_allowance=account.monthly_allowance,
                credits_reset_at=account.next_reset(clock.now()),
                recent_history=_entries(connection, principal, limit=history, offset=0),
            )

    def history(self, principal: Principal, *, limit: int = 50, offset: int = 0) -> list[Entry]:
        """The organization's entries, newest first."""
        with self._db.read() as connection:
            return _entries(connection, principal, limit=limit, offset=offset)

    def grant(
        self, principal: Principal, amount: int, *, description: str = "", reference: str | None = None
    ) -> Entry:
        """Add credits to the organization. ``reference`` makes a repeated grant happen once.

        Needs the role owner. ``Conflict`` when the reference stands for another amount.
        """
        require(principal, "credits.grant")
        whole_credits(amount, "A grant", least=1)
        if reference is not None and not (
            1 <= len(reference) <= MAX_REFERENCE and reference.isascii() and reference.isprintable()
        ):
            raise InvalidInput(
                f"A reference is 1 to {MAX_REFERENCE} printable ASCII characters.", code="invalid_reference"
            )
        with self._db.write() as connection:
            allowance.refill(connection, principal.organization_id)
            row = self._add_entry(
                connection,
                principal.organization_id,
                amount,
                operation="grant",
                description=description[:200] or None,
                reference=reference,
            )
            if row is not None:
                return _entry(row)
            before = (
                connection.execute(
                    sa.select(ledger_entries).where(
                        ledger_entries.c.organization_id == principal.organization_id,
                        ledger_entries.c.reference == reference,
                    )
                )
                .mappings()
                .one()
            )
            if before["amount"] != amount:  # inside: a refill that was due is not booked by a refusal
                raise Conflict(
                    f"Reference {reference!r} stands for a grant of {before['amount']} credits.",
                    code="reference_used",
                    fix="Use a new reference for another grant.",
                )
        return _entry(before)

    def _add_entry(
        self,
        connection: sa.Connection,
        organization_id: int,
        amount: int,
        *,
        allowance_back: int = 0,
        **values: object,
    ) -> sa.RowMapping | None:
        """Book credits that come in; None, and nothing booked, when an entry that may stand once is there.

        ``allowance_back`` of the amount counts as unspent allowance again, which a reset does not bring
        back a second time.
        """
        account = allowance.read(connection, organization_id, lock=True)
        row = (
            connection.execute(
                self._db.insert_ignore(ledger_entries)
                .values(
                    uuid=clock.new_id(),
                    organization_id=organization_id,
                    amount=amount,
                    balance_after=account.balance + amount,
                    created_at=clock.now(),
                    **values,
                )
                .returning(ledger_entries)
            )
            .mappings()
            .first()
        )
        if row is not None:
            full = max(account.monthly_allowance, account.allowance_left)
            connection.execute(
                sa.update(accounts)
                .where(accounts.c.organization_id == organization_id)
                .values(
                    balance=account.balance + amount,
                    allowance_left=min(account.allowance_left + allowance_back, full),
                )
            )
        return row

    def hold(self, principal: Principal, *, call_id: str, operation: str, amount: int) -> None:
        """Set ``amount`` credits aside for a call, or raise ``PaymentRequired`` and change nothing."""
        whole_credits(amount, "A hold", least=1)
        self._later.catch_up()
        try:
            # Not durable: a hold means nothing without the process that made it.
            self._db.together(
                NewHold(
                    principal.organization_id,
                    principal.key_id,
                    call_id,
                    self._liveness.instance,
                    operation,
                    amount,
                ),
                durable=False,
            )
        except Refused as refused:
            remaining = self.available(principal)
            whose = "this key's cap leaves" if refused.by_key else "the organization has"
            raise PaymentRequired(
                f"This call costs {amount} {'credit' if amount == 1 else 'credits'} and {whose} {remaining}.",
                required=amount,
                remaining=remaining,
                code="key_cap_reached" if refused.by_key else None,
                fix="Ask an admin to raise the key's cap (`tintype keys update`), or choose a cheaper call."
                if refused.by_key
                else None,
            ) from None

    def capture(self, call_id: str, amount: int, *, description: str | None = None) -> int:
        """Charge the actual price against the hold; the rest of the hold is freed. Returns what was charged.

        A second capture of the same call charges nothing.
        """
        with self._db.write() as connection:
            hold = _take_hold(connection, call_id)
            return 0 if hold is None else _settle(connection, hold, amount, description)

    def capture_in(
        self, connection: sa.Connection, call_id: str, amount: int, *, description: str | None = None
    ) -> int:
        """Charge in the transaction of the work that is paid for; ``Unavailable`` when the hold is gone."""
        hold = _take_hold(connection, call_id)
        if hold is None:
            raise Unavailable(
                "The credits that were set aside for this call are gone; nothing was changed.",
                code="hold_lost",
                fix="Send the call again.",
            )
        return _settle(connection, hold, amount, description)

    def capture_all_in(self, connection: sa.Connection, charges: Sequence[Charge]) -> list[int]:
        """As ``capture_in`` for several calls, written by ``Joint.many``; raises when any of them would."""
        return charge_all(connection, charges)

    def release(self, call_id: str) -> None:
        """Free a hold without a charge. Freeing twice does nothing."""

        def free(connection: sa.Connection) -> None:
            hold = _take_hold(connection, call_id)
            if hold is not None:
                _settle(connection, hold, 0, None)

        self._db.together(free, durable=False)

    def refund(
        self, principal: Principal, call_id: str, amount: int | None = None, *, description: str = ""
    ) -> int:
        """Give back what a call or its job was charged, whole or a part, once; returns what was given back.

        A second refund of the same call gives nothing. ``NotFound`` when nothing was charged.
        """
        with self._db.write() as connection:
            return self.refund_in(
                connection, principal.organization_id, call_id, amount, description=description
            )

    def refund_in(
        self,
        connection: sa.Connection,
        organization_id: int,
        call_id: str,
        amount: int | None = None,
        *,
        description: str = "",
    ) -> int:
        """As ``refund``, in the transaction of what gives the reason for it."""
        row = (
            connection.execute(
                sa.select(ledger_entries).where(
                    ledger_entries.c.call_id == call_id,
                    ledger_entries.c.organization_id == organization_id,
                    ledger_entries.c.amount < 0,
                )
            )
            .mappings()
            .first()
        )
        charge: Mapping[str, Any] | None
        charge = dict(row) if row else charge_of_job(connection, organization_id, call_id)
        if charge is None:
            raise NotFound("This call was not charged.", code="charge_not_found")
        amount = -charge["amount"] if amount is None else amount
        whole_credits(amount, "A refund", least=1, most=-charge["amount"])
        made = self._add_entry(
            connection,
            organization_id,
            amount,
            allowance_back=min(amount, charge["from_allowance"] or 0),
            api_key_id=charge["api_key_id"],
            operation=f"{charge['operation']}_refund",
            description=description[:200] or None,
            refund_of=charge["id"],
        )
        if made is None:
            return 0
        today = statements.smaller(api_keys.c.spent_today, sa.literal(amount))
        back_today = sa.case((api_keys.c.spent_on <= charge["created_at"], today), else_=0)
        connection.execute(
            sa.update(api_keys)
            .where(api_keys.c.id == charge["api_key_id"])
            .values(
                credits_used=api_keys.c.credits_used - amount,
                spent_today=api_keys.c.spent_today - back_today,
            )
        )
        return amount

    def release_later(self, call_id: str) -> None:
        """Free a hold now, or at the next chance; never raises."""
        self._later.do(lambda: self.release(call_id))

    def release_dead(self) -> int:
        """Free the holds of processes that died; returns how many. Called at starts, and now and then."""
        with self._db.read() as connection:
            rows = connection.execute(
                # What a job holds is freed at its end, whatever process that is in.
                sa.select(holds.c.call_id, holds.c.instance).where(holds.c.instance != statements.OF_A_JOB)
            ).all()
        dead = [row.call_id for row in rows if self._liveness.is_dead(row.instance)]
        for call_id in dead:
            self.release(call_id)
        return len(dead)


def _take_hold(connection: sa.Connection, call_id: str) -> Row | None:
    return statements.TAKE_HOLD.run(connection, {"p_call": call_id}).first


def _settle(connection: sa.Connection, hold: Row, amount: int, description: str | None) -> int:
    """Free a hold that was taken, and charge ``amount`` of it. Returns what was charged."""
    held, charged = int(hold["amount"]), covered(hold, amount)
    values = {
        "p_organization": hold["organization_id"],
        "p_key": hold["api_key_id"],
        "p_call": hold["call_id"],
        "p_held": held,
        "p_amount": charged,
    }
    if charged:
        now = clock.now()
        values |= {
            "p_uuid": clock.new_id(),
            "p_operation": hold["operation"],
            "p_description": description,
            "p_now": now,
            **statements.day_of(now),
        }
        statements.INSERT_CHARGE.run(connection, values)
        statements.CHARGE_KEY.run(connection, values)
    statements.SETTLE_ACCOUNT.run(connection, values)
    return charged


def _entries(connection: sa.Connection, principal: Principal, *, limit: int, offset: int) -> list[Entry]:
    if not 0 <= limit <= 1000 or not 0 <= offset <= MOST:
        raise InvalidInput("limit is 0 to 1000, offset 0 or more.")
    rows = connection.execute(
        sa.select(ledger_entries)
        .where(ledger_entries.c.organization_id == principal.organization_id)
        .order_by(ledger_entries.c.id.desc())
        .limit(limit)
        .offset(offset)
    ).mappings()
    return [_entry(row) for row in rows]


def _entry(row: sa.RowMapping) -> Entry:
    return Entry(
        id=row["uuid"],
        operation=row["operation"],
        amount=row["amount"],
        balance_after=row["balance_after"],
        description=row["description"],
        created_at=row["created_at"],
    )
