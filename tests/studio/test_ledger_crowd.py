"""Holds and charges of a crowd: written at once, they are what they would be one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.crowds import in_one_batch

from tintype_studio import clock
from tintype_studio.errors import InvalidInput, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.ledger import job_holds, statements
from tintype_studio.ledger.crowd import Charge, NewHold, Refused, charge_all
from tintype_studio.ledger.ledger import Ledger
from tintype_studio.storage.failures import part
from tintype_studio.storage.tables import accounts, api_keys, holds, ledger_entries
from tintype_studio.studio import Studio

FUNDS = 1_000
"""The first start's allowance."""


class Pay:
    """A call's charge, as the dispatcher writes it: a ``Joint``."""

    def __init__(self, ledger: Ledger, call_id: str, amount: int) -> None:
        self.ledger, self.charge = ledger, Charge(call_id, amount, "paid")

    def __call__(self, connection: sa.Connection) -> int:
        call_id, amount, description = self.charge
        return self.ledger.capture_in(connection, call_id, amount, description=description)

    @classmethod
    def many(cls, connection: sa.Connection, pieces: Sequence[Pay]) -> list[int]:
        return pieces[0].ledger.capture_all_in(connection, [piece.charge for piece in pieces])


class Books:
    """A studio and short words for what a crowd does to its ledger."""

    def __init__(self, studio: Studio, owner: Principal) -> None:
        self.studio, self.ledger, self.owner = studio, studio.ledger, owner

    def key(self, **caps: int) -> Principal:
        secret, _ = self.studio.keys.create(self.owner, name="k", role=Role.MEMBER, **caps)
        return self.studio.keys.authenticate(secret)

    def new_hold(self, amount: int, by: Principal | None = None) -> NewHold:
        by = by or self.owner
        instance = self.ledger._liveness.instance
        return NewHold(by.organization_id, by.key_id, clock.new_id(), instance, "work", amount)

    def hold(self, amount: int, by: Principal | None = None) -> str:
        call_id = clock.new_id()
        self.ledger.hold(by or self.owner, call_id=call_id, operation="work", amount=amount)
        return call_id

    def crowd(self, *works: Callable[[sa.Connection], Any]) -> list[Any]:
        return in_one_batch(self.studio.database, *works)

    def pay(self, call_id: str, amount: int) -> Pay:
        return Pay(self.ledger, call_id, amount)

    def check(self) -> None:
        """Every line follows from the one before it, and the sums from the lines."""
        with self.studio.database.read() as connection:
            for account in connection.execute(sa.select(accounts)):
                mine = ledger_entries.c.organization_id == account.organization_id
                balance = 0
                for line in connection.execute(
                    sa.select(ledger_entries).where(mine).order_by(ledger_entries.c.id)
                ):
                    balance += line.amount
                    assert line.balance_after == balance >= 0
                assert account.balance == balance
                assert account.held == sum(
                    connection.execute(
                        sa.select(holds.c.amount).where(holds.c.organization_id == account.organization_id)
                    ).scalars()
                )
            for key in connection.execute(sa.select(api_keys)):
                used = connection.execute(
                    sa.select(sa.func.coalesce(sa.func.sum(ledger_entries.c.amount), 0)).where(
                        ledger_entries.c.api_key_id == key.id
                    )
                ).scalar_one()
                assert key.credits_used == key.spent_today == -used


@pytest.fixture
def books(studio: Studio, owner: Principal) -> Iterator[Books]:
    made = Books(studio, owner)
    yield made
    made.check()


@pytest.fixture
def at_once_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not written at once fails."""

    def refuse(*_arguments: object) -> Any:
        raise AssertionError("written by itself")

    monkeypatch.setattr(NewHold, "__call__", refuse)
    monkeypatch.setattr(Pay, "__call__", refuse)


@pytest.mark.usefixtures("at_once_only")
def test_a_crowd_is_held_and_charged_at_once(books: Books, stranger: Principal) -> None:
    keys = [books.key() for _ in range(3)] + [stranger]
    wanted = [books.new_hold(1 + n % 4, keys[n % 4]) for n in range(24)]
    assert books.crowd(*wanted) == [None] * 24
    books.check()
    before = {p.organization_id: books.ledger.balance(p).credits_remaining for p in (books.owner, stranger)}
    paid = books.crowd(*[books.pay(w.call_id, n % 3) for n, w in enumerate(wanted)])
    assert paid == [min(n % 3, w.amount) for n, w in enumerate(wanted)]
    for who, balance in before.items():
        mine = [(w, p) for w, p in zip(wanted, paid, strict=True) if w.organization_id == who]
        reader = books.owner if who == books.owner.organization_id else stranger
        assert books.ledger.balance(reader).credits_remaining == balance + sum(w.amount - p for w, p in mine)
        entries = [e for e in reversed(books.ledger.history(reader)) if e.amount < 0]
        assert [-e.amount for e in entries] == [p for _, p in mine if p]
        assert {(e.operation, e.description) for e in entries} == {("work", "paid")}


@pytest.mark.parametrize("cap", ["credit_cap", "daily_credit_cap"])
def test_one_caller_over_its_cap_is_refused_alone(books: Books, cap: str) -> None:
    """None of them is over it by itself."""
    capped = books.key(**{cap: 15})
    books.ledger.capture(books.hold(1, capped), 1)
    books.hold(4, capped)
    got = books.crowd(
        *[books.new_hold(n, capped) for n in (6, 5)], books.new_hold(5), books.new_hold(4, capped)
    )
    assert [got[n] for n in (0, 2, 3)] == [None] * 3
    assert isinstance(got[1], Refused)
    assert got[1].by_key
    assert books.ledger.available(capped) == 0


def test_the_last_credit_goes_to_who_came_first(books: Books) -> None:
    got = books.crowd(*[books.new_hold(FUNDS // 2) for _ in range(2)], books.new_hold(1))
    assert got[:2] == [None, None]
    assert isinstance(got[2], Refused)
    assert not got[2].by_key
    assert books.ledger.available(books.owner) == 0


def test_a_hold_that_is_gone_fails_its_own_call(books: Books) -> None:
    calls = [books.hold(5) for _ in range(4)]
    books.ledger.release(calls[1])
    got = books.crowd(*[books.pay(call, 5) for call in calls])
    assert (got[0], got[2], got[3]) == (5, 5, 5)
    assert isinstance(got[1], Unavailable)
    assert got[1].code == "hold_lost"
    assert books.ledger.available(books.owner) == FUNDS - 15


@pytest.mark.parametrize("amount", [5, 0])
def test_a_call_that_settles_twice_in_a_crowd_is_settled_once(books: Books, amount: int) -> None:
    call, _other = books.hold(5), books.hold(20)
    got = books.crowd(books.pay(call, amount), books.pay(call, amount), books.pay(books.hold(9), 2))
    assert (got[0], got[2]) == (amount, 2)
    assert isinstance(got[1], Unavailable)
    assert books.ledger.available(books.owner) == FUNDS - amount - 2 - 20


def test_a_crowd_leaves_a_jobs_hold_alone(books: Books) -> None:
    call, other = books.hold(5), books.hold(3)
    with books.studio.database.write() as connection:
        job_holds.hand_over(connection, call)
    got = books.crowd(books.pay(other, 3), books.pay(call, 5))
    assert got[0] == 3
    assert isinstance(got[1], Unavailable)
    with books.studio.database.read() as connection:
        assert job_holds.left(connection, call) == 5


@pytest.mark.parametrize("amount", [2.0, True, None, "2"])
def test_a_charge_that_is_no_whole_number_is_refused_alone(books: Books, amount: Any) -> None:
    calls = [books.hold(5) for _ in range(3)]
    got = books.crowd(*[books.pay(c, a) for c, a in zip(calls, (1, amount, 3), strict=True)])
    assert (got[0], got[2]) == (1, 3)
    assert isinstance(got[1], InvalidInput)
    books.ledger.release(calls[1])


def test_a_refill_that_is_due_comes_before_the_holds_of_a_crowd(books: Books) -> None:
    books.ledger.capture(books.hold(FUNDS), FUNDS)
    with books.studio.database.write() as connection:
        connection.execute(sa.update(accounts).values(reset_at=clock.now()))
    assert books.crowd(*[books.new_hold(10) for _ in range(5)]) == [None] * 5
    assert books.ledger.available(books.owner) == FUNDS - 50
    assert sum(e.operation == "monthly_allowance" for e in books.ledger.history(books.owner)) == 2


# at once and one by one, beside each other

NOON = datetime(2027, 5, 10, 12, tzinfo=UTC)
small = st.integers(1, 6)
cap = st.none() | st.integers(5, 30)


class Key(NamedTuple):
    credit_cap: int | None
    daily_credit_cap: int | None
    credits_used: int
    spent_today: int
    days_ago: int | None


class Case(NamedTuple):
    """Where the books stand, and what a crowd wants. Of the keys, the last is another organization's."""

    more: tuple[int, int]
    """Of the balances, than what is held before."""
    unspent: tuple[int, int]
    due: bool
    keys: list[Key]
    before: list[tuple[int, int]]
    wanted: list[tuple[int, int]]
    charges: list[int]
    order: list[int]
    gone: bool


keys = st.builds(Key, cap, cap, st.integers(0, 9), st.integers(0, 9), st.none() | st.integers(-1, 1))
rarely = st.sampled_from([False] * 5 + [True])
pairs = st.tuples(st.integers(0, 40), st.integers(0, 40))
cases = st.builds(
    Case,
    pairs,
    pairs,
    rarely,
    st.lists(keys, min_size=4, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), small), min_size=2, max_size=6),
    st.lists(st.tuples(st.integers(0, 3), small), min_size=2, max_size=8),
    st.lists(st.integers(-1, 8), min_size=6, max_size=6),
    st.permutations(range(6)),
    rarely,
)


class _TakenBack(Exception):
    pass


class Site:
    """Books that are set up anew for each example, in a transaction that is taken back."""

    def __init__(self, studio: Studio, principals: list[Principal]) -> None:
        self.studio, self.principals = studio, principals

    def new_hold(self, n: int, key: int, amount: int) -> NewHold:
        by = self.principals[key]
        return NewHold(by.organization_id, by.key_id, f"call-{n}", "here", "work", amount)

    def set_up(self, connection: sa.Connection, case: Case) -> None:
        for number, (more, unspent) in enumerate(zip(case.more, case.unspent, strict=True)):
            organization = self.principals[3 * number].organization_id
            balance = more + sum(amount for by, amount in case.before if (by == 3) == (number == 1))
            connection.execute(
                sa.update(accounts)
                .where(accounts.c.organization_id == organization)
                .values(
                    balance=balance,
                    allowance_left=min(balance, unspent),
                    monthly_allowance=40,
                    reset_at=NOON + timedelta(days=20),
                )
            )
        for n, (by, amount) in enumerate(case.before):
            self.new_hold(n, by, amount)(connection)
        for principal, key in zip(self.principals, case.keys, strict=True):
            values = key._asdict()
            ago = values.pop("days_ago")
            spent_on = None if ago is None else datetime(2027, 5, 10, tzinfo=UTC) - timedelta(days=ago)
            connection.execute(
                sa.update(api_keys)
                .where(api_keys.c.id == principal.key_id)
                .values(**values, spent_on=spent_on)
            )
        if case.due:
            connection.execute(sa.update(accounts).values(reset_at=NOON))

    def after(self, case: Case, do: Callable[[sa.Connection], Any]) -> tuple[Any, Any]:
        """What the deed gives, and the books after it."""
        got: list[Any] = []
        with suppress(_TakenBack), self.studio.database.transaction() as connection:
            self.set_up(connection, case)
            got += [do(connection), self.books(connection)]
            raise _TakenBack
        return got[0], got[1]

    def books(self, connection: sa.Connection) -> list[Any]:
        """All rows. Which of two organizations' entries was written first is nobody's business."""
        entries = connection.execute(
            sa.select(*(c for c in ledger_entries.c if c.name not in ("id", "uuid"))).order_by(
                ledger_entries.c.organization_id, ledger_entries.c.id
            )
        ).all()
        used = sa.select(api_keys.c.id, api_keys.c.credits_used, api_keys.c.spent_on, api_keys.c.spent_today)
        return [
            entries,
            connection.execute(sa.select(accounts).order_by(accounts.c.organization_id)).all(),
            connection.execute(used.order_by(api_keys.c.id)).all(),
            connection.execute(sa.select(holds).order_by(holds.c.call_id)).all(),
        ]


@pytest.fixture
def site(studio: Studio, books: Books, stranger: Principal, monkeypatch: pytest.MonkeyPatch) -> Site:
    principals = [*(books.key() for _ in range(3)), stranger]
    monkeypatch.setattr(clock, "now", lambda: NOON)
    return Site(studio, principals)


# Every example takes back what it did.
many_examples = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def each(connection: sa.Connection, works: Sequence[Callable[[sa.Connection], Any]]) -> list[Any]:
    """What the works give one by one, each undone alone when it is refused."""
    got: list[Any] = []
    for work in works:
        try:
            with part(connection):
                got.append(work(connection))
        except (Refused, Unavailable):
            got.append("refused")
    return got


@many_examples
@given(cases)
def test_holds_at_once_are_what_they_are_one_by_one(site: Site, case: Case) -> None:
    wanted = [site.new_hold(100 + n, by, amount) for n, (by, amount) in enumerate(case.wanted)]

    def at_once(connection: sa.Connection) -> Any:
        try:
            return NewHold.many(connection, wanted)
        except Refused:
            return "refused"

    together, books = site.after(case, at_once)
    apart, books_apart = site.after(case, lambda connection: each(connection, wanted))
    if together == "refused":
        assert case.due or "refused" in apart
    else:
        assert (together, books) == (apart, books_apart)


@many_examples
@given(cases)
def test_charges_at_once_are_what_they_are_one_by_one(site: Site, case: Case) -> None:
    calls = [f"call-{n}" for n in case.order if n < len(case.before)] + ["gone"] * case.gone
    charges = [Charge(call, amount, "paid") for call, amount in zip(calls, case.charges, strict=False)]
    ledger = site.studio.ledger

    def at_once(connection: sa.Connection) -> Any:
        try:
            return charge_all(connection, charges)
        except Refused:
            return "refused"

    together, books = site.after(case, at_once)
    apart, books_apart = site.after(
        case,
        lambda connection: each(connection, [Pay(ledger, call, amount) for call, amount, _ in charges]),
    )
    if together == "refused":
        assert "refused" in apart
    else:
        assert (together, books) == (apart, books_apart)


def test_a_crowd_looks_its_holds_up(studio: Studio) -> None:
    """By their key: a scan for every charge would cost a crowd what it saves."""
    with studio.database.read() as connection:
        text = str(statements.TAKE_HOLDS._statement.compile(connection.engine))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", ("[]",)).all()
    assert any(str(row[3]).startswith("SEARCH holds") for row in plan)
