"""The ledger: hold, capture, release; never below zero, exactly once."""

from __future__ import annotations

import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from tintype_studio import clock
from tintype_studio.errors import InvalidInput, PaymentRequired
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.ledger.prices import PRICES, price_of
from tintype_studio.storage.tables import accounts, api_keys, holds, ledger_entries
from tintype_studio.studio import Studio, Workspace


@pytest.fixture
def funds(studio: Studio, owner: Principal) -> int:
    return studio.ledger.available(owner)


def hold(studio: Studio, principal: Principal, amount: int) -> str:
    call_id = clock.new_id()
    studio.ledger.hold(principal, call_id=call_id, operation="test", amount=amount)
    return call_id


def capped(studio: Studio, owner: Principal, cap: int) -> Principal:
    secret, _ = studio.keys.create(owner, name=f"cap {cap}", role=Role.MEMBER, credit_cap=cap)
    return studio.keys.authenticate(secret)


def assert_books_balance(studio: Studio) -> None:
    """Per organization and per key, what is summed up equals what is written line by line."""

    def total(connection: sa.Connection, column: Any, *where: Any) -> int:
        return connection.execute(
            sa.select(sa.func.coalesce(sa.func.sum(column), 0)).where(*where)
        ).scalar_one()

    with studio.database.read() as connection:
        for account in connection.execute(sa.select(accounts)).mappings():
            mine = account["organization_id"]
            assert account["balance"] == total(
                connection, ledger_entries.c.amount, ledger_entries.c.organization_id == mine
            )
            assert account["held"] == total(connection, holds.c.amount, holds.c.organization_id == mine)
            assert 0 <= account["held"] <= account["balance"]
        for key in connection.execute(sa.select(api_keys)).mappings():
            assert key["credits_used"] == -total(
                connection, ledger_entries.c.amount, ledger_entries.c.api_key_id == key["id"]
            )
            held = total(connection, holds.c.amount, holds.c.api_key_id == key["id"])
            if key["credit_cap"] is not None:
                assert key["credits_used"] + held <= key["credit_cap"]


def test_a_hold_takes_credits_off_what_can_be_spent(studio: Studio, owner: Principal, funds: int) -> None:
    hold(studio, owner, 30)
    assert studio.ledger.available(owner) == funds - 30
    assert len(studio.ledger.balance(owner).recent_history) == 1  # the allowance; a hold is no entry


def test_a_released_hold_leaves_no_trace(studio: Studio, owner: Principal, funds: int) -> None:
    call_id = hold(studio, owner, 30)
    studio.ledger.release(call_id)
    studio.ledger.release(call_id)
    assert studio.ledger.available(owner) == funds
    assert len(studio.ledger.balance(owner).recent_history) == 1


def test_a_capture_charges_the_actual_price_and_frees_the_rest(
    studio: Studio, owner: Principal, funds: int
) -> None:
    call_id = hold(studio, owner, 30)
    assert studio.ledger.capture(call_id, 12, description="twelve") == 12
    balance = studio.ledger.balance(owner)
    assert balance.credits_remaining == funds - 12
    entry = balance.recent_history[0]
    assert (entry.operation, entry.amount, entry.balance_after, entry.description) == (
        "test",
        -12,
        funds - 12,
        "twelve",
    )


def test_capturing_twice_charges_once(studio: Studio, owner: Principal, funds: int) -> None:
    call_id = hold(studio, owner, 30)
    assert [studio.ledger.capture(call_id, 30) for _ in range(2)] == [30, 0]
    assert studio.ledger.available(owner) == funds - 30


def test_capturing_from_many_threads_charges_once(studio: Studio, owner: Principal, funds: int) -> None:
    call_id = hold(studio, owner, 30)
    charged: list[int] = []
    threads = [
        threading.Thread(target=lambda: charged.append(studio.ledger.capture(call_id, 30))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(charged) == [0] * 7 + [30]
    assert studio.ledger.available(owner) == funds - 30


def test_never_more_than_the_hold_is_charged(studio: Studio, owner: Principal, funds: int) -> None:
    assert studio.ledger.capture(hold(studio, owner, 5), 500) == 5
    assert studio.ledger.available(owner) == funds - 5


@pytest.mark.parametrize("amount", [0, -7])
def test_a_capture_of_nothing_writes_no_entry(
    studio: Studio, owner: Principal, funds: int, amount: int
) -> None:
    assert studio.ledger.capture(hold(studio, owner, 5), amount) == 0
    assert studio.ledger.available(owner) == funds
    assert len(studio.ledger.balance(owner).recent_history) == 1


def test_a_capture_after_the_release_charges_nothing(studio: Studio, owner: Principal, funds: int) -> None:
    call_id = hold(studio, owner, 5)
    studio.ledger.release(call_id)
    assert studio.ledger.capture(call_id, 5) == 0
    assert studio.ledger.available(owner) == funds


def test_the_last_credit_can_be_spent_and_not_one_more(studio: Studio, owner: Principal, funds: int) -> None:
    studio.ledger.capture(hold(studio, owner, funds), funds)
    with pytest.raises(PaymentRequired) as caught:
        hold(studio, owner, 1)
    assert caught.value.details == {"required": 1, "remaining": 0}
    assert caught.value.code == "insufficient_credits"
    assert_books_balance(studio)


def test_a_refused_hold_changes_nothing(studio: Studio, owner: Principal, funds: int) -> None:
    with pytest.raises(PaymentRequired):
        hold(studio, owner, funds + 1)
    assert studio.ledger.available(owner) == funds
    assert_books_balance(studio)


@pytest.mark.parametrize("amount", [0, -1])
def test_a_hold_is_for_at_least_one_credit(studio: Studio, owner: Principal, amount: int) -> None:
    with pytest.raises(InvalidInput):
        hold(studio, owner, amount)


def test_a_keys_cap_counts_what_it_spent_and_holds(studio: Studio, owner: Principal, funds: int) -> None:
    key = capped(studio, owner, 10)
    studio.ledger.capture(hold(studio, key, 4), 4)
    hold(studio, key, 5)
    assert studio.ledger.available(key) == 1
    with pytest.raises(PaymentRequired) as caught:
        hold(studio, key, 2)
    assert caught.value.code == "key_cap_reached"
    assert caught.value.details == {"required": 2, "remaining": 1}
    assert studio.ledger.available(owner) == funds - 9


def test_a_released_hold_gives_the_cap_back(studio: Studio, owner: Principal) -> None:
    key = capped(studio, owner, 10)
    studio.ledger.release(hold(studio, key, 10))
    assert studio.ledger.available(key) == 10


def test_a_cap_of_nothing_lets_nothing_through(studio: Studio, owner: Principal) -> None:
    with pytest.raises(PaymentRequired):
        hold(studio, capped(studio, owner, 0), 1)


def test_organizations_do_not_pay_for_each_other(
    studio: Studio, owner: Principal, stranger: Principal, funds: int
) -> None:
    studio.ledger.capture(hold(studio, stranger, 50), 50)
    assert studio.ledger.available(stranger) == 0
    assert studio.ledger.available(owner) == funds
    assert [e.amount for e in studio.ledger.balance(stranger).recent_history] == [-50, 50]


def test_holds_from_sixteen_threads_cannot_overdraw(studio: Studio, owner: Principal, funds: int) -> None:
    granted: list[int] = []

    def spend() -> None:
        for _ in range(10):
            try:
                hold(studio, owner, 13)
                granted.append(13)
            except PaymentRequired:
                pass

    threads = [threading.Thread(target=spend) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == funds // 13 < 160
    assert studio.ledger.available(owner) == funds % 13
    assert_books_balance(studio)


SPENDS = """
import sys
from pathlib import Path
from tintype_studio import clock
from tintype_studio.errors import PaymentRequired
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

studio = Studio(Workspace(Path(sys.argv[1])))
owner = studio.keys.authenticate(saved_api_key(studio.home))
print("ready", flush=True)
sys.stdin.readline()
granted = 0
for _ in range(60):
    call_id = clock.new_id()
    try:
        studio.ledger.hold(owner, call_id=call_id, operation="test", amount=9)
        granted += studio.ledger.capture(call_id, 9)
    except PaymentRequired:
        pass
print(granted, flush=True)
studio.close()
"""


def test_three_processes_cannot_overdraw(studio: Studio, owner: Principal, funds: int, spawn: Any) -> None:
    children = [spawn(SPENDS) for _ in range(3)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    granted = sum(int(child.communicate(timeout=60)[0]) for child in children)
    assert granted == funds // 9 * 9
    assert studio.ledger.available(owner) == funds % 9
    assert_books_balance(studio)


HOLDS_AND_DIES = """
import os, signal, sys
from pathlib import Path
from tintype_studio import clock
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

studio = Studio(Workspace(Path(sys.argv[1])))
owner = studio.keys.authenticate(saved_api_key(studio.home))
for amount in (10, 20):
    studio.ledger.hold(owner, call_id=clock.new_id(), operation="test", amount=amount)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_holds_of_a_dead_process_are_freed_at_the_next_start(
    studio: Studio, owner: Principal, funds: int, spawn: Any, open_studio: Any
) -> None:
    mine = hold(studio, owner, 7)
    spawn(HOLDS_AND_DIES).wait(30)
    assert studio.ledger.available(owner) == funds - 37
    again = open_studio()
    assert again.ledger.available(owner) == funds - 7  # the living process keeps its own
    assert studio.ledger.capture(mine, 7) == 7
    assert_books_balance(again)


@pytest.mark.parametrize(
    ("operation", "quantity", "credits"),
    [
        ("sam3_per_minute", 1, 3),
        ("sam3_per_minute", 8, 8),
        ("image_generate_imagen_fast", 2, 10),
        ("training_h100_per_minute", 3, 360),
    ],
)
def test_a_price_is_per_unit_with_its_minimum(operation: str, quantity: int, credits: int) -> None:
    assert price_of(operation).total(quantity) == credits


@pytest.mark.parametrize("operation", ["", "sam4", "\ud800"], ids=ascii)
def test_an_unknown_operation_names_the_known_ones(operation: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        price_of(operation)
    assert caught.value.code == "unknown_operation"
    assert all(slug in caught.value.fix for slug in PRICES)


class Books(RuleBasedStateMachine):
    """Any order of holds, captures, releases and crashes, beside a model of what must be left."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.studio = Studio(Workspace(Path(self.folder.name)))
        owner = self.studio.keys.authenticate(saved_api_key(self.studio.home))
        self.keys = [owner, capped(self.studio, owner, 400), capped(self.studio, owner, 50)]
        self.left = self.studio.ledger.available(owner)
        self.held: dict[str, int] = {}

    @initialize()
    def spend_most(self) -> None:
        """Start near the end of the funds, where the refusals are."""
        call_id = hold(self.studio, self.keys[0], 700)
        self.left -= self.studio.ledger.capture(call_id, 700)

    @rule(target=calls, key=st.integers(0, 2), amount=st.integers(1, 200))
    def hold(self, key: int, amount: int) -> str:
        principal = self.keys[key]
        before = self.studio.ledger.available(principal)
        if amount > before:
            with pytest.raises(PaymentRequired) as refused:
                hold(self.studio, principal, amount)
            assert refused.value.details == {"required": amount, "remaining": before}
            return "refused"
        call_id = hold(self.studio, principal, amount)
        self.held[call_id] = amount
        return call_id

    @rule(call_id=calls, amount=st.integers(0, 250))
    def capture(self, call_id: str, amount: int) -> None:
        charged = self.studio.ledger.capture(call_id, amount)
        assert charged == min(amount, self.held.pop(call_id, 0))
        self.left -= charged

    @rule(call_id=consumes(calls))
    def release(self, call_id: str) -> None:
        self.studio.ledger.release(call_id)
        self.held.pop(call_id, None)

    @rule()
    def crash(self) -> None:
        """What the kernel does for a process that dies: its lock is gone, its rows are not."""
        self.studio.liveness.close()
        self.studio.database.close()
        self.studio = Studio(Workspace(Path(self.folder.name)))
        self.held.clear()

    @invariant()
    def nothing_is_lost_or_made(self) -> None:
        assert_books_balance(self.studio)
        assert self.studio.ledger.available(self.keys[0]) == self.left - sum(self.held.values())

    def teardown(self) -> None:
        self.studio.close()
        self.folder.cleanup()


TestBooks = Books.TestCase
TestBooks.settings = settings(
    max_examples=10,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
