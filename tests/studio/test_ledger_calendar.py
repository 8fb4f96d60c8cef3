"""The monthly allowance and daily caps, whatever the clock does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.books import ALLOWANCE, MAY, At, Books, at, books, code_of, together

from tintype_studio.errors import PaymentRequired
from tintype_studio.ledger.calendar import next_month

__all__ = ["at", "books"]


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
