"""A studio whose clock stands, and what is done to its ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import TintypeError
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import accounts, api_keys, holds, ledger_entries
from tintype_studio.studio import Studio

ALLOWANCE = 1_000
MAY = datetime(2027, 5, 10, 12, tzinfo=UTC)
"""When the organization of ``books`` began."""
At = Callable[[datetime], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Sets the platform's clock to a moment, where it stands still."""

    def set_clock(moment: datetime) -> None:
        monkeypatch.setattr(clock, "now", lambda: moment)

    return set_clock


class Books:
    """A studio whose clock stands, and short words for what is done to its ledger."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.ledger = studio, studio.ledger
        self.owner = studio.keys.authenticate(saved_api_key(studio.home))

    def key(self, role: Role = Role.MEMBER, **caps: int) -> Principal:
        secret, _ = self.studio.keys.create(self.owner, name="k", role=role, **caps)
        return self.studio.keys.authenticate(secret)

    def hold(self, amount: int, by: Principal | None = None) -> str:
        call_id = clock.new_id()
        self.ledger.hold(by or self.owner, call_id=call_id, operation="work", amount=amount)
        return call_id

    def pay(self, amount: int, by: Principal | None = None) -> str:
        call_id = self.hold(amount, by)
        assert self.ledger.capture(call_id, amount) == amount
        return call_id

    def left(self, of: Principal | None = None) -> int:
        return self.ledger.available(of or self.owner)

    def lines(self) -> list[tuple[str, int]]:
        return [(e.operation, e.amount) for e in self.ledger.history(self.owner, limit=1000)]

    def check(self) -> None:
        """What is summed up equals what is written line by line, and every line is a whole number."""
        with self.studio.database.read() as connection:
            entries = connection.execute(sa.select(ledger_entries).order_by(ledger_entries.c.id)).all()
            held = connection.execute(sa.select(holds)).all()
            for account in connection.execute(sa.select(accounts)).all():
                mine = [e for e in entries if e.organization_id == account.organization_id]
                assert account.balance == sum(e.amount for e in mine)
                theirs = [h.amount for h in held if h.organization_id == account.organization_id]
                assert account.held == sum(theirs)
                assert 0 <= account.held <= account.balance
                assert 0 <= account.allowance_left <= min(account.balance, account.monthly_allowance)
                running = 0
                for entry in mine:
                    running += entry.amount
                    assert (entry.balance_after, type(entry.amount)) == (running, int)
            for key in connection.execute(sa.select(api_keys)).all():
                assert key.credits_used == -sum(e.amount for e in entries if e.api_key_id == key.id)


@pytest.fixture
def books(at: At, open_studio: Any) -> Iterator[Books]:
    at(MAY)
    made = Books(open_studio())
    yield made
    made.check()


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(TintypeError) as caught:
        call()
    return caught.value.code


def together(count: int, work: Callable[[int], object]) -> list[Any]:
    """What ``count`` threads get, the n-th from ``work(n)``; the error, where one fails."""
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(work, n) for n in range(count)]
    return [future.exception() or future.result() for future in futures]
