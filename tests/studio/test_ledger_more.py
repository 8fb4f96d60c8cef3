"""Grants, refunds, the history, and amounts that are none."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from support.books import ALLOWANCE, MAY, At, Books, at, books, code_of, together

from tintype_studio.errors import Conflict, Forbidden, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.ledger.calendar import next_month
from tintype_studio.storage.tables import ledger_entries

__all__ = ["at", "books"]


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
