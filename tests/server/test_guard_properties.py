"""Any order of paid calls, retries, failures, crashes, refunds, grants and clock moves, beside a model of the
truth: what a call did, what it cost, its stored answer and its audit line are there together or not at all.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.mortal import DIES, FAILS, WORKS, Died, Process

from tintype_server.runtime import everything
from tintype_studio import clock
from tintype_studio.errors import Conflict, TintypeError
from tintype_studio.identity.roles import Role
from tintype_studio.storage.tables import (
    accounts,
    api_keys,
    calls,
    changes,
    datasets,
    holds,
    idempotency_records,
    ledger_entries,
)
from tintype_tools.call import Outcome, Request

ALLOWANCE = 1_000
TOTAL_CAP, DAILY_CAP = 120, 60
BEGIN = datetime(2027, 5, 10, 12, tzinfo=UTC)
OWNER, CAPPED, DAILY = range(3)


@dataclass
class Kept:
    """What stands under an idempotency key: an answer, or the claim of a call that died."""

    arguments: tuple[int, str]
    expires: datetime
    call_id: str | None = None
    credits: int = 0


@dataclass
class Charge:
    """A charge of the model."""

    key: int
    amount: int
    at: datetime
    refunded: bool = False


class Guards(RuleBasedStateMachine):
    """The dispatcher beside its model."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.clock = mock.patch.object(clock, "now", side_effect=lambda: self.now)
        self.clock.start()
        self.folder = TemporaryDirectory()
        self.process = Process(Path(self.folder.name))
        studio = self.process.studio
        owner = self.process.runtime.local_api_key() or ""
        self.owner = studio.keys.authenticate(owner)

        def key(**caps: int) -> str:
            return studio.keys.create(self.owner, name="k", role=Role.MEMBER, **caps)[0]

        self.secrets = [owner, key(credit_cap=TOTAL_CAP), key(daily_credit_cap=DAILY_CAP)]
        self.balance = ALLOWANCE
        self.used = [0, 0, 0]
        self.done: dict[str, int] = {}
        """What each call that happened cost."""
        self.charges: dict[str, Charge] = {}
        self.day: dict[int, tuple[datetime, int]] = {}
        self.kept: dict[tuple[int, str], Kept] = {}
        self.references: dict[str, int] = {}
        self.outcomes: Counter[tuple[str, bool]] = Counter()
        """Code, and whether replayed, of every call whose process lived to write it down."""

    # what the model expects

    def refill(self) -> int:
        """What the monthly reset would add now."""
        with self.process.studio.database.read() as connection:
            account = connection.execute(sa.select(accounts)).one()
        due = account.reset_at <= self.now
        return ALLOWANCE - account.allowance_left if due else 0

    def spent_today(self, key: int) -> int:
        """A clock that is put back by a day finds the later day's charges counted; by more, none."""
        began, spent = self.day.get(key, (self.midnight(), 0))
        return spent if timedelta(0) <= began - self.midnight() <= timedelta(days=1) else 0

    def spend_today(self, key: int, amount: int) -> None:
        spent, (began, _) = self.spent_today(key), self.day.get(key, (self.midnight(), 0))
        counted = timedelta(0) <= began - self.midnight() <= timedelta(days=1)
        self.day[key] = (began if counted else self.midnight(), spent + amount)

    def midnight(self) -> datetime:
        return self.now.replace(hour=0, minute=0, second=0, microsecond=0)

    def within_key(self, key: int) -> int:
        """What the key's own cap leaves."""
        left = {CAPPED: TOTAL_CAP - self.used[CAPPED], DAILY: DAILY_CAP - self.spent_today(DAILY)}
        return left.get(key, 10**9)

    def available(self, key: int) -> int:
        return max(0, min(self.balance + self.refill(), self.within_key(key)))

    def expected(self, key: int, arguments: tuple[int, str], word: str | None, how: str) -> str:
        """``runs``, ``replay``, or the code of a refusal."""
        kept = self.kept.get((key, word)) if word else None
        # The claim of a call that died stands for nothing, whatever its arguments were.
        if kept is not None and kept.expires > self.now and kept.call_id is not None:
            return "replay" if kept.arguments == arguments else "idempotency_conflict"
        if how == "before the hold":
            return "runs"
        if arguments[0] > self.balance + self.refill():
            return "insufficient_credits"
        return "key_cap_reached" if arguments[0] > self.within_key(key) else "runs"

    # what happens

    @initialize(price=st.sampled_from([0, 700, 900]))
    def spend_most(self, price: int) -> None:
        """Start near the end of the funds, too, where the refusals are."""
        if price:
            self.call(OWNER, price, "", None, "works")

    @rule(
        key=st.integers(0, 2),
        price=st.sampled_from([1, 2, 20, 60, 61, 130]),
        text=st.sampled_from("ab"),
        word=st.sampled_from([None, "x", "y"]),
        how=st.sampled_from([*WORKS, *WORKS, *FAILS, *DIES]),
    )
    def call(self, key: int, price: int, text: str, word: str | None, how: str) -> None:
        arguments = (price, text)
        expected, refill = self.expected(key, arguments, word, how), self.refill()
        kept = self.kept.get((key, word)) if word else None
        got = self.send(key, arguments, word, how)
        if self.process.dead:
            self.reopen()
        match expected:
            case "replay" if how == "after the commit":  # the answer is lost, and still there
                assert got == "died"
                self.outcomes["ok", True] += 1
            case "replay":
                assert isinstance(got, Outcome)
                assert kept is not None
                assert (got.replayed, got.call_id, got.credits) == (True, kept.call_id, kept.credits)
                assert got.value == {"made": kept.call_id}
                self.outcomes["ok", True] += 1
            case "runs":
                self.ran(key, arguments, word, how, got, refill)
            case code:
                assert got == code
                self.outcomes[code, False] += 1
                if code != "idempotency_conflict":
                    self.kept.pop((key, word or ""), None)

    def send(self, key: int, arguments: tuple[int, str], word: str | None, how: str) -> Outcome | str:
        """Make the call: its outcome, the code of its refusal, or ``died``."""
        process = self.process
        process.how, process.entered = how, False
        request = Request(
            tool="run_probe",
            arguments={"price": arguments[0], "text": arguments[1]},
            api_key=self.secrets[key],
            door="toolkit",
            files=everything(process.runtime.settings),
            idempotency_key=word,
            deadline_seconds=1e-9 if how == "is late" else None,
        )
        before_the_hold = mock.patch.object(process.studio.ledger, "hold", side_effect=process.die)
        try:
            if how == "before the hold":
                with before_the_hold:
                    return process.dispatch(request)
            return process.dispatch(request)
        except TintypeError as error:
            return error.code
        except Died:
            return "died"
        finally:
            process.how = "works"

    def ran(
        self, key: int, arguments: tuple[int, str], word: str | None, how: str, got: Any, refill: int
    ) -> None:
        """The call came as far as its hold, or died on the way there."""
        kept = Kept(arguments, self.now + timedelta(hours=24))
        if how != "before the hold":
            self.balance += refill  # booked with the hold, however the call ends
        if how in FAILS:
            assert got == FAILS[how]
            self.outcomes[FAILS[how], False] += 1
            self.kept.pop((key, word or ""), None)
            return
        if how in DIES:
            assert got == "died"
        if how in WORKS or how == "after the commit":
            price = {"costs less": arguments[0] // 2, "costs nothing": 0}.get(how, arguments[0])
            kept.call_id, kept.credits = self.newest(), price
            if how in WORKS:
                assert (got.call_id, got.credits, got.replayed) == (kept.call_id, price, False)
            self.outcomes["ok", False] += 1
            self.done[kept.call_id] = price
            self.used[key] += price
            self.balance -= price
            if price:
                self.charges[kept.call_id] = Charge(key, price, self.now)
                self.spend_today(key, price)
        if word:
            self.kept[key, word] = kept

    def newest(self) -> str:
        """The call whose effect is new."""
        (name,) = self.names() - set(self.done)
        return name

    def names(self) -> set[str]:
        with self.process.studio.database.read() as connection:
            rows = connection.execute(sa.select(datasets.c.name)).scalars().all()
        assert len(rows) == len(set(rows))
        return set(rows)

    @rule(key=st.integers(0, 2), price=st.sampled_from([1, 60, 61]), word=st.sampled_from([None, "x"]))
    def dry_run(self, key: int, price: int, word: str | None) -> None:
        """Tells the truth, and is nothing but an audit line."""
        available = self.available(key)
        outcome = self.process.dispatch(
            Request(
                tool="run_probe",
                arguments={"price": price},
                api_key=self.secrets[key],
                door="toolkit",
                files=everything(self.process.runtime.settings),
                idempotency_key=word,
                dry_run=True,
            )
        )
        told = outcome.value["price"]
        assert (told["credits_remaining"], told["sufficient"]) == (available, price <= available)

    @rule(amount=st.sampled_from([5, 50]), reference=st.sampled_from([None, "r", "s"]))
    def grant(self, amount: int, reference: str | None) -> None:
        refill = self.refill()
        known = self.references.get(reference, amount) if reference else amount
        if known != amount:
            with pytest.raises(Conflict):
                self.process.studio.ledger.grant(self.owner, amount, reference=reference)
            return
        entry = self.process.studio.ledger.grant(self.owner, amount, reference=reference)
        assert entry.amount == amount
        self.balance += refill
        if reference not in self.references:
            self.balance += amount
        if reference:
            self.references[reference] = amount

    @precondition(lambda self: self.refundable())
    @rule(data=st.data(), part=st.booleans())
    def refund(self, data: st.DataObject, part: bool) -> None:
        """Of a charge that may have been refunded before; not of ``DAILY``, see ``test_ledger_more``."""
        call_id = data.draw(st.sampled_from(self.refundable()))
        charge = self.charges[call_id]
        amount = 1 if part else None
        given = self.process.studio.ledger.refund(self.owner, call_id, amount)
        assert given == (0 if charge.refunded else amount or charge.amount)
        charge.refunded = True
        self.balance += given
        self.used[charge.key] -= given

    def refundable(self) -> list[str]:
        return sorted(call_id for call_id, charge in self.charges.items() if charge.key != DAILY)

    @rule(hours=st.sampled_from([1, 11, 23, 25, 24 * 20, 24 * 32, 24 * 100, -1, -13, -25, -24 * 40]))
    def move_the_clock(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule()
    def restart(self) -> None:
        self.reopen()

    def reopen(self) -> None:
        with suppress(Died):
            self.process.close()
        self.process = Process(Path(self.folder.name))
        self.kept = {name: kept for name, kept in self.kept.items() if kept.expires > self.now}

    # what must be true

    @invariant()
    def the_books_are_right(self) -> None:
        with self.process.studio.database.read() as connection:
            entries = connection.execute(sa.select(ledger_entries).order_by(ledger_entries.c.id)).all()
            account = connection.execute(sa.select(accounts)).one()
            keys = connection.execute(sa.select(api_keys).order_by(api_keys.c.id)).all()
            assert connection.execute(sa.select(holds.c.call_id)).all() == []
        assert (account.balance, account.held) == (self.balance, 0)
        assert account.balance == sum(entry.amount for entry in entries)
        assert 0 <= account.allowance_left <= min(account.balance, ALLOWANCE)
        running = 0
        for entry in entries:
            running += entry.amount
            assert entry.balance_after == running >= 0
        assert [key.credits_used for key in keys] == self.used
        assert self.used[CAPPED] <= TOTAL_CAP
        days = Counter[Any]()
        for charge in self.charges.values():
            days[charge.at.date()] += charge.amount if charge.key == DAILY else 0
        assert max(days.values(), default=0) <= DAILY_CAP

    @invariant()
    def every_key_is_told_what_it_can_spend(self) -> None:
        ledger, keys = self.process.studio.ledger, self.process.studio.keys
        told = [ledger.available(keys.authenticate(secret)) for secret in self.secrets]
        assert told == [self.available(key) for key in range(3)]

    @invariant()
    def what_was_done_was_charged_stored_and_recorded_and_nothing_else(self) -> None:
        self.process.studio.audit.flush()
        with self.process.studio.database.read() as connection:

            def rows(*columns: sa.Column[Any]) -> list[Any]:
                return [tuple(row) for row in connection.execute(sa.select(*columns))]

            changed = rows(changes.c.call_id)
            charged = rows(ledger_entries.c.call_id, ledger_entries.c.amount)
            stored = rows(idempotency_records.c.call_id, idempotency_records.c.result)
            recorded = rows(calls.c.uuid, calls.c.outcome, calls.c.replayed, calls.c.credits, calls.c.dry_run)
        assert self.names() == set(self.done)
        assert sorted(changed) == sorted((call_id,) for call_id in self.done)
        assert {call_id: -amount for call_id, amount in charged if amount < 0} == {
            call_id: charge.amount for call_id, charge in self.charges.items()
        }
        assert {call_id for call_id, answer in stored if answer is not None} == {
            kept.call_id for kept in self.kept.values() if kept.call_id is not None
        }
        live = [row for row in recorded if not row[4]]
        assert {row[0]: row[3] for row in live if row[1:3] == ("ok", False)} == self.done
        assert Counter((row[1], row[2]) for row in live) == +self.outcomes

    def teardown(self) -> None:
        self.process.close()
        self.folder.cleanup()
        self.clock.stop()


TestGuards = Guards.TestCase
TestGuards.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
