"""Holds and charges of a crowd, written for all of it at once. On SQLite, in one transaction.

Whoever writes for a crowd (``Database.together``) holds the writers' lock, so what is read here stays true
until the commit. The conditions are those of the single statements, asked of the sums: what they refuse is
refused for all, and then each is written by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import InvalidInput
from tintype_studio.ledger import allowance, statements
from tintype_studio.storage.prepared import Row


class Refused(Exception):
    """Rolls back what the books do not cover."""

    def __init__(self, *, by_key: bool = False) -> None:
        super().__init__()
        self.by_key = by_key


@dataclass(frozen=True, slots=True)
class NewHold:
    """Credits to set aside for a call; a ``Joint`` piece of writing. Raises ``Refused``."""

    organization_id: int
    key_id: int
    call_id: str
    instance: str
    operation: str
    amount: int

    def __call__(self, connection: sa.Connection) -> None:
        """Write it by itself."""
        values = {
            "p_organization": self.organization_id,
            "p_key": self.key_id,
            "p_call": self.call_id,
            "p_instance": self.instance,
            "p_operation": self.operation,
            "p_amount": self.amount,
            **_moment(clock.now()),
        }
        account_ok = statements.HOLD_IN_ACCOUNT.run(connection, values).changed
        if not account_ok and allowance.refill(connection, self.organization_id):
            account_ok = statements.HOLD_IN_ACCOUNT.run(connection, values).changed
        if not account_ok or not statements.INSERT_HOLD.run(connection, values).changed:
            raise Refused(by_key=bool(account_ok))

    @classmethod
    def many(cls, connection: sa.Connection, pieces: Sequence[NewHold]) -> list[None]:
        """Write all of them, or raise ``Refused`` when one may not be covered."""
        of_organization: defaultdict[int, list[NewHold]] = defaultdict(list)
        of_key: defaultdict[int, int] = defaultdict(int)
        for hold in pieces:
            of_organization[hold.organization_id].append(hold)
            of_key[hold.key_id] += hold.amount
        moment = _moment(clock.now())
        for organization_id, holds in of_organization.items():
            rows = [(h.call_id, h.operation, h.amount, h.key_id, of_key[h.key_id], h.instance) for h in holds]
            values = {
                "p_organization": organization_id,
                "p_amount": sum(h.amount for h in holds),
                "p_rows": _json(rows),
                **moment,
            }
            if not statements.HOLD_IN_ACCOUNT.run(connection, values).changed:
                raise Refused
            if statements.INSERT_HOLDS.run(connection, values).changed != len(holds):
                raise Refused(by_key=True)
        return [None] * len(pieces)


class Charge(NamedTuple):
    """What a call costs in the end, to be taken from its hold."""

    call_id: str
    amount: int
    description: str | None = None


def charge_all(connection: sa.Connection, charges: Sequence[Charge]) -> list[int]:
    """Charge against the holds of several calls, free the rest of them, and return what each was charged.

    ``Refused`` when a hold is gone.
    """
    calls = _json([charge.call_id for charge in charges])
    taken = {hold["call_id"]: hold for hold in statements.TAKE_HOLDS.run(connection, {"p_rows": calls}).rows}
    of_organization: defaultdict[int, list[_Settled]] = defaultdict(list)
    charged: list[int] = []
    for charge in charges:
        hold = taken.pop(charge.call_id, None)
        if hold is None:
            raise Refused
        charged.append(covered(hold, charge.amount))
        of_organization[hold["organization_id"]].append(_Settled(hold, charged[-1], charge.description))
    moment = _moment(clock.now())
    for organization_id, settled in of_organization.items():
        _settle_all(connection, organization_id, settled, moment)
    return charged


def covered(hold: Row, amount: int) -> int:
    """How much of an amount a hold covers, and so is charged."""
    if type(amount) is not int:
        raise InvalidInput("A charge is a whole number of credits.", code="invalid_amount")
    return max(0, min(amount, int(hold["amount"])))


class _Settled(NamedTuple):
    hold: Row
    charged: int
    description: str | None


def _settle_all(
    connection: sa.Connection, organization_id: int, settled: Sequence[_Settled], moment: dict[str, datetime]
) -> None:
    values = {"p_organization": organization_id, **moment}
    account = statements.SELECT_ACCOUNT.run(connection, values).rows[0]
    balance, unspent = account["balance"], account["allowance_left"]
    of_key: defaultdict[int, int] = defaultdict(int)
    rows = []
    for hold, charged, description in settled:
        if not charged:
            continue
        from_allowance = min(unspent, charged)
        balance, unspent = balance - charged, unspent - from_allowance
        key_id = hold["api_key_id"]
        of_key[key_id] += charged
        rows.append(
            (
                clock.new_id(),
                hold["call_id"],
                hold["operation"],
                key_id,
                -charged,
                balance,
                from_allowance,
                description,
            )
        )
    if rows:
        statements.INSERT_CHARGES.run(connection, values | {"p_rows": _json(rows)})
        for key_id, spent in of_key.items():
            statements.CHARGE_KEY.run(connection, values | {"p_key": key_id, "p_amount": spent})
    statements.SETTLE_ACCOUNT.run(
        connection,
        values
        | {"p_held": sum(int(one.hold["amount"]) for one in settled), "p_amount": sum(of_key.values())},
    )


def _moment(now: datetime) -> dict[str, datetime]:
    return {"p_now": now, **statements.day_of(now)}


def _json(rows: Sequence[object]) -> str:
    return orjson.dumps(rows).decode()
