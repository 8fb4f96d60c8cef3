"""Grants, refunds, the monthly allowance, daily caps, the history, and amounts that are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound, PaymentRequired, TintypeError
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.ledger.calendar import next_month
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


# grants


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER, Role.ADMIN])
def test_only_an_owner_grants(books: Books, role: Role) -> None:
    key = books.key(role)
    with pytest.raises(Forbidden) as caught:
        books.ledger.grant(key, 5)
    assert caught.value.code == "role_required"
    assert books.left() == ALLOWANCE


def test_a_grant_is_an_entry_and_can_be_spent(books: Books) -> None:
    entry = books.ledger.grant(books.owner, 250, description="invoice 17")
    assert (entry.operation, entry.amount, entry.balance_after) == ("grant", 250, ALLOWANCE + 250)
    assert (entry.description, entry.created_at) == ("invoice 17", MAY)
    books.pay(ALLOWANCE + 250)
    assert books.left() == 0


def test_a_reference_grants_once(books: Books, at: At) -> None:
    first = books.ledger.grant(books.owner, 5, reference="invoice 17")
    books.pay(100)
    at(MAY + timedelta(days=1))
    assert books.ledger.grant(books.owner, 5, reference="invoice 17") == first
    assert books.left() == ALLOWANCE - 95


def test_a_reference_grants_once_from_sixteen_threads(books: Books) -> None:
    got = together(16, lambda _n: books.ledger.grant(books.owner, 5, reference="r"))
    assert len({entry.id for entry in got}) == 1
    assert books.left() == ALLOWANCE + 5


def test_a_reference_for_another_amount_is_a_conflict(books: Books) -> None:
    books.ledger.grant(books.owner, 5, reference="r")
    with pytest.raises(Conflict) as caught:
        books.ledger.grant(books.owner, 6, reference="r")
    assert caught.value.code == "reference_used"
    assert "5 credits" in caught.value.message
    assert books.left() == ALLOWANCE + 5


def test_a_reference_belongs_to_one_organization(books: Books, stranger: Principal) -> None:
    books.ledger.grant(books.owner, 5, reference="r")
    assert books.ledger.grant(stranger, 7, reference="r").amount == 7
    assert (books.left(), books.left(stranger)) == (ALLOWANCE + 5, 57)


@pytest.mark.parametrize(
    "reference", ["", "x" * 10_240, "a\nb", "a\x00", "\ud800"], ids=lambda r: ascii(r[:5])
)
def test_a_bad_reference_is_refused(books: Books, reference: str) -> None:
    """The column holds 80 characters; another database would not take more, nor a NUL."""
    with pytest.raises(InvalidInput):
        books.ledger.grant(books.owner, 5, reference=reference)
    assert books.left() == ALLOWANCE


# refunds


def test_a_refund_gives_back_what_was_charged_once(books: Books) -> None:
    call_id = books.hold(30)
    books.ledger.capture(call_id, 20)
    assert books.ledger.refund(books.owner, call_id, description="cancelled") == 20
    assert books.ledger.refund(books.owner, call_id) == 0
    assert books.left() == ALLOWANCE
    latest = books.ledger.history(books.owner)[0]
    assert (latest.operation, latest.amount, latest.description) == ("work_refund", 20, "cancelled")


def test_a_part_is_refunded_once_and_never_more_than_was_charged(books: Books) -> None:
    call_id = books.pay(20)
    assert code_of(lambda: books.ledger.refund(books.owner, call_id, 21)) == "invalid_amount"
    assert books.ledger.refund(books.owner, call_id, 5) == 5
    assert books.ledger.refund(books.owner, call_id, 15) == 0
    assert books.left() == ALLOWANCE - 15


def test_a_refund_from_sixteen_threads_is_given_once(books: Books) -> None:
    call_id = books.pay(20)
    got = together(16, lambda _n: books.ledger.refund(books.owner, call_id))
    assert sorted(got) == [0] * 15 + [20]
    assert books.left() == ALLOWANCE


def test_what_was_not_charged_is_not_refunded(books: Books) -> None:
    held = books.hold(20)
    free = books.hold(5)
    books.ledger.capture(free, 0)
    for call_id in (held, free, "nothing", ""):
        with pytest.raises(NotFound) as caught:
            books.ledger.refund(books.owner, call_id)
        assert caught.value.code == "charge_not_found"
    books.ledger.release(held)
    assert books.left() == ALLOWANCE


def test_a_refund_goes_to_who_paid(books: Books, stranger: Principal) -> None:
    """Another organization cannot take it, and a key of the same one gives it to the key that paid."""
    paying = books.key(credit_cap=50)
    call_id = books.pay(50, paying)
    with pytest.raises(NotFound):
        books.ledger.refund(stranger, call_id)
    assert books.left(paying) == 0
    books.ledger.refund(books.owner, call_id)
    assert (books.left(paying), books.left(stranger), books.left()) == (50, 50, ALLOWANCE)


def test_a_refund_gives_the_cap_back_for_what_it_is(books: Books) -> None:
    key = books.key(credit_cap=50, daily_credit_cap=40)
    call_id = books.pay(30, key)
    books.ledger.refund(books.owner, call_id, 10)
    assert books.left(key) == 20
    assert code_of(lambda: books.hold(21, key)) == "key_cap_reached"
    books.pay(20, key)


def test_a_refund_makes_no_money_at_the_next_reset(books: Books, at: At) -> None:
    """What was refunded was not spent: it does not come back a second time with the allowance."""
    books.ledger.refund(books.owner, books.pay(400))
    books.pay(100)
    assert books.left() == ALLOWANCE - 100
    at(next_month(MAY))
    assert books.left() == ALLOWANCE
    books.pay(1)
    assert books.left() == ALLOWANCE - 1


def test_a_refund_of_granted_credits_is_granted_credits(books: Books, at: At) -> None:
    books.ledger.grant(books.owner, 500)
    books.pay(ALLOWANCE)
    call_id = books.pay(500)
    books.ledger.refund(books.owner, call_id)
    at(next_month(MAY))
    assert books.left() == ALLOWANCE + 500


# the monthly allowance


def test_what_was_spent_comes_back_once_a_month(books: Books, at: At) -> None:
    books.pay(400)
    at(next_month(MAY) - timedelta(seconds=1))
    assert books.left() == 600
    at(next_month(MAY))
    books.pay(50)
    assert books.lines()[:2] == [("work", -50), ("monthly_allowance", 400)]
    books.pay(50)
    assert books.left() == ALLOWANCE - 100


def test_reads_show_a_refill_that_is_due_and_book_nothing(books: Books, at: At) -> None:
    books.pay(ALLOWANCE)
    at(next_month(MAY))
    balance = books.ledger.balance(books.owner)
    assert balance.credits_remaining == ALLOWANCE
    assert balance.credits_monthly_allowance == ALLOWANCE
    assert balance.credits_reset_at == next_month(next_month(MAY))
    assert [e.amount for e in balance.recent_history] == [-ALLOWANCE, ALLOWANCE]
    books.pay(ALLOWANCE)  # and what is shown can be spent
    assert books.left() == 0


def test_sixteen_threads_of_two_processes_book_one_refill(books: Books, at: At, open_studio: Any) -> None:
    other = Books(open_studio())
    books.pay(ALLOWANCE)
    at(next_month(MAY))
    got = together(16, lambda n: (books, other)[n % 2].hold(50))
    assert [type(g) for g in got] == [str] * 16
    assert books.lines().count(("monthly_allowance", ALLOWANCE)) == 2  # the first, and this one
    assert books.left() == other.left() == ALLOWANCE - 16 * 50


def test_a_grant_books_the_refill_first(books: Books, at: At) -> None:
    books.pay(400)
    at(next_month(MAY))
    entry = books.ledger.grant(books.owner, 7)
    assert books.lines()[:2] == [("grant", 7), ("monthly_allowance", 400)]
    assert entry.balance_after == books.left() == ALLOWANCE + 7


def test_months_that_nobody_noticed_count_once(books: Books, at: At) -> None:
    books.pay(400)
    at(MAY + timedelta(days=100))
    assert books.left() == ALLOWANCE
    books.pay(10)
    assert books.lines()[:2] == [("work", -10), ("monthly_allowance", 400)]
    assert books.ledger.balance(books.owner).credits_reset_at == MAY.replace(month=9)


def test_a_month_without_spending_adds_nothing(books: Books, at: At) -> None:
    moment = MAY
    for _ in range(3):
        moment = next_month(moment)
        at(moment)
        books.ledger.release(books.hold(1))
    assert books.lines() == [("monthly_allowance", ALLOWANCE)]
    assert books.left() == ALLOWANCE


def test_the_allowance_is_spent_first_and_grants_stay(books: Books, at: At) -> None:
    books.ledger.grant(books.owner, 500)
    books.pay(700)
    at(next_month(MAY))
    assert books.left() == ALLOWANCE + 500
    books.pay(1_200)  # the whole allowance, and 200 of what was granted
    at(MAY.replace(month=7))
    assert books.left() == ALLOWANCE + 300
    books.pay(1)


def test_a_hold_over_a_reset_is_charged_to_the_new_month(books: Books, at: At) -> None:
    running = books.hold(400)
    at(next_month(MAY))
    books.pay(100)
    books.ledger.capture(running, 400)
    assert books.left() == ALLOWANCE - 500


def test_a_refused_hold_leaves_the_refill_for_the_next(books: Books, at: At) -> None:
    books.pay(400)
    at(next_month(MAY))
    assert code_of(lambda: books.hold(ALLOWANCE + 1)) == "insufficient_credits"
    assert books.left() == ALLOWANCE
    books.pay(ALLOWANCE)


def test_a_clock_that_is_put_back_gives_no_second_refill(books: Books, at: At) -> None:
    for _ in range(3):
        at(next_month(MAY))
        books.pay(100)
        at(MAY - timedelta(days=40))
        books.pay(100)
    assert books.lines().count(("monthly_allowance", ALLOWANCE)) == 1
    assert books.left() == ALLOWANCE - 600
    at(MAY.replace(month=7))
    assert books.left() == ALLOWANCE


def test_a_clock_that_ran_years_ahead_gives_one_refill(books: Books, at: At) -> None:
    books.pay(400)
    at(MAY.replace(year=2037))
    books.pay(1)
    assert books.lines()[1] == ("monthly_allowance", 400)
    at(MAY)
    assert books.left() == ALLOWANCE - 1


def test_the_last_day_of_a_month_stands_for_the_thirty_first(at: At, open_studio: Any) -> None:
    begun = datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC)
    at(begun)
    books = Books(open_studio())
    assert books.ledger.balance(books.owner).credits_reset_at == begun.replace(month=2, day=28)
    books.pay(400)
    at(datetime(2027, 2, 28, 23, 59, 58, tzinfo=UTC))
    assert books.left() == 600
    at(datetime(2027, 2, 28, 23, 59, 59, tzinfo=UTC))
    assert books.left() == ALLOWANCE
    books.pay(1)
    refills = [e for e in books.ledger.history(books.owner) if e.operation == "monthly_allowance"]
    assert [e.amount for e in refills] == [400, ALLOWANCE]
    books.check()


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ((2027, 1, 31), (2027, 2, 28)),
        ((2028, 1, 31), (2028, 2, 29)),
        ((2027, 3, 31), (2027, 4, 30)),
        ((2027, 12, 31), (2028, 1, 31)),
        ((2027, 11, 1), (2027, 12, 1)),
        ((2028, 2, 29), (2028, 3, 29)),
    ],
)
def test_the_next_month(moment: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    assert next_month(datetime(*moment, 7, 8, tzinfo=UTC)) == datetime(*expected, 7, 8, tzinfo=UTC)


# daily caps

MIDNIGHT = MAY.replace(hour=0) + timedelta(days=1)


def test_a_daily_cap_begins_anew_at_midnight_utc(books: Books, at: At) -> None:
    key = books.key(daily_credit_cap=30)
    at(MIDNIGHT - timedelta(microseconds=1))
    books.pay(30, key)
    with pytest.raises(PaymentRequired) as caught:
        books.hold(1, key)
    assert (caught.value.code, caught.value.details) == ("key_cap_reached", {"required": 1, "remaining": 0})
    at(MIDNIGHT)
    assert books.left(key) == 30
    books.pay(30, key)
    assert books.left() == ALLOWANCE - 60


def test_a_daily_cap_counts_what_is_held(books: Books, at: At) -> None:
    """A hold that runs over midnight is charged to the day on which it is captured."""
    key = books.key(daily_credit_cap=30)
    running = books.hold(20, key)
    assert code_of(lambda: books.hold(11, key)) == "key_cap_reached"
    at(MIDNIGHT)
    assert books.left(key) == 10
    books.ledger.capture(running, 20)
    assert books.left(key) == 10
    at(MIDNIGHT + timedelta(days=1))
    assert books.left(key) == 30


def test_a_refund_of_yesterday_does_not_raise_todays_cap(books: Books, at: At) -> None:
    key = books.key(daily_credit_cap=30)
    call_id = books.pay(30, key)
    at(MIDNIGHT)
    books.ledger.refund(books.owner, call_id)
    assert books.left(key) == 30
    assert code_of(lambda: books.hold(31, key)) == "key_cap_reached"


def test_sixteen_threads_do_not_exceed_a_daily_cap(books: Books) -> None:
    key = books.key(daily_credit_cap=100)
    got = together(16, lambda _n: books.pay(9, key))
    assert sum(isinstance(g, str) for g in got) == 100 // 9
    assert {g.code for g in got if not isinstance(g, str)} == {"key_cap_reached"}
    assert books.left(key) == 1


# the history


def test_the_history_is_paged_newest_first(books: Books) -> None:
    for amount in range(1, 8):
        books.pay(amount)
    wanted = [-7, -6, -5, -4, -3, -2, -1, ALLOWANCE]
    for size in (1, 3, 8, 1000):
        pages = [books.ledger.history(books.owner, limit=size, offset=n) for n in range(0, 8, size)]
        assert [e.amount for page in pages for e in page] == wanted
    assert books.ledger.history(books.owner, offset=8) == []
    assert books.ledger.history(books.owner, limit=0) == []
    assert len(books.ledger.balance(books.owner, history=3).recent_history) == 3


@pytest.mark.parametrize(
    "page", [{"limit": -1}, {"limit": 1001}, {"offset": -1}, {"offset": 10**30}, {"limit": 10**30}], ids=str
)
def test_a_bad_page_is_refused(books: Books, page: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        books.ledger.history(books.owner, **page)


# amounts that are none

NOT_MONEY = [0, -1, 1.5, 5.0, True, float("nan"), float("inf"), 10**13, 10**30, "5"]


@pytest.mark.parametrize("amount", NOT_MONEY, ids=repr)
def test_only_whole_credits_are_held_granted_and_refunded(books: Books, amount: Any) -> None:
    paid = books.pay(20)
    for deed in (
        lambda: books.hold(amount),
        lambda: books.ledger.grant(books.owner, amount, reference="r"),
        lambda: books.ledger.refund(books.owner, paid, amount),
    ):
        assert code_of(deed) == "invalid_amount"
    assert books.lines() == [("work", -20), ("monthly_allowance", ALLOWANCE)]


@pytest.mark.parametrize("amount", [*NOT_MONEY, None], ids=repr)
def test_whatever_a_tool_says_it_cost_is_booked_whole(books: Books, amount: Any) -> None:
    """Refused or taken for something whole within the hold; ``books`` looks at every line afterwards."""
    call_id = books.hold(5)
    with suppress(Exception):
        books.ledger.capture(call_id, amount)
    books.check()
    assert ALLOWANCE - 5 <= books.left() <= ALLOWANCE


@pytest.mark.parametrize("verb", ["update", "delete"])
def test_an_entry_is_never_changed_or_removed(books: Books, verb: str) -> None:
    books.ledger.refund(books.owner, books.pay(20), 5)
    before = books.lines()
    update = sa.update(ledger_entries).values(amount=-1)
    statement: Any = update if verb == "update" else sa.delete(ledger_entries)
    write, refused = books.studio.database.write, pytest.raises(sa.exc.DBAPIError, match="append-only")
    with refused, write() as connection:
        connection.execute(statement.where(ledger_entries.c.amount == -20))
    assert books.lines() == before


def test_a_clock_that_was_days_ahead_does_not_shut_a_key_out(books: Books, at: At) -> None:
    key = books.key(daily_credit_cap=10)
    at(MAY + timedelta(days=400))
    books.pay(10, key)
    at(MAY)
    books.pay(10, key)
    with pytest.raises(PaymentRequired):
        books.pay(1, key)


def test_servers_whose_clocks_differ_around_midnight_share_one_daily_cap(books: Books, at: At) -> None:
    key = books.key(daily_credit_cap=10)
    for moment in (MIDNIGHT + timedelta(seconds=1), MIDNIGHT - timedelta(seconds=1)) * 2:
        at(moment)
        books.pay(2, key)
    at(MIDNIGHT + timedelta(hours=1))
    with pytest.raises(PaymentRequired):
        books.pay(3, key)
    books.pay(2, key)
