"""The money of jobs: hand-over, captures, release and refunds, in any order and beside other calls."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)
from support.jobs import PRICE, books, start, turn

from tintype_studio.errors import Conflict, PaymentRequired
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.pool import Pool
from tintype_studio.ledger.job_holds import capture_part, hand_over, left, release_rest
from tintype_studio.storage.tables import accounts, api_keys, holds, ledger_entries
from tintype_studio.studio import Studio, Workspace


def test_the_hold_of_a_job_outlives_its_process_and_its_call(studio: Studio, owner: Principal) -> None:
    held = books(studio, owner)[1]
    job = start(studio, owner, {"keys": ["a", "b"]})
    assert job.call_id is not None
    studio.ledger.release(job.call_id)  # as the guard would, were the call to fail after its commit
    with studio.database.write() as connection:
        connection.execute(
            sa.update(holds).values(instance=sa.case((holds.c.instance == "job", "job"), else_="x"))
        )
    studio.ledger.release_dead()
    assert books(studio, owner)[1] == held + 2 * PRICE


def test_a_job_is_refunded_once_and_as_a_whole_when_it_is_over(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    before = books(studio, owner)[0]
    job = start(studio, owner, {"steps": 3}, kind="walk")
    turn(studio, job, pool)
    assert job.call_id is not None
    assert books(studio, owner)[0] == before - 3
    assert studio.ledger.refund(owner, job.call_id) == 3
    assert studio.ledger.refund(owner, job.call_id) == 0
    with studio.database.read() as connection:
        balance = connection.execute(sa.select(accounts.c.balance)).scalar_one()
        used = connection.execute(sa.select(api_keys.c.credits_used, api_keys.c.spent_today)).one()
    assert (balance, *used) == (before, 0, 0)

    running = start(studio, owner, {"steps": 3}, kind="walk")
    assert running.call_id is not None
    with studio.database.write() as connection:
        capture_part(connection, running.call_id, 1, reference=f"job:{running.id}:0", description="x")
        connection.execute(
            sa.text("UPDATE jobs SET charges = 1, credits_charged = 1 WHERE id = :i"), {"i": running.row_id}
        )
    with pytest.raises(Conflict) as caught:
        studio.ledger.refund(owner, running.call_id)
    assert caught.value.code == "job_running"


def test_a_charge_cannot_be_booked_twice(studio: Studio, owner: Principal) -> None:
    job = start(studio, owner, {"keys": ["a", "b"]})
    call_id = job.call_id
    assert call_id is not None
    with studio.database.write() as connection:
        capture_part(connection, call_id, 1, reference="job:x:0", description="x")
    with pytest.raises(sa.exc.IntegrityError), studio.database.write() as connection:
        capture_part(connection, call_id, 1, reference="job:x:0", description="x")
    with studio.database.read() as connection:
        assert left(connection, call_id) == 2 * PRICE - 1


class JobMoney(RuleBasedStateMachine):
    """Calls and jobs that hold, charge and end in any order, beside a model of the books."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.studio = Studio(Workspace(Path(self.folder.name)))
        self.owner = self.studio.keys.authenticate(saved_api_key(self.studio.home))
        with self.studio.database.read() as connection:
            self.balance = connection.execute(sa.select(accounts.c.balance)).scalar_one()
        self.calls: dict[str, int] = {}
        self.jobs: dict[str, int] = {}
        self.captures = 0

    @rule(amount=st.integers(1, 400))
    def hold(self, amount: int) -> None:
        call_id = str(uuid.uuid4())
        acting = replace(self.owner, call_id=call_id)
        free = self.balance - sum(self.calls.values()) - sum(self.jobs.values())
        try:
            self.studio.ledger.hold(acting, call_id=call_id, operation="x", amount=amount)
        except PaymentRequired:
            assert amount > free
        else:
            assert amount <= free
            self.calls[call_id] = amount

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def become_job(self, data: Any) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.calls)))
        with self.studio.database.write() as connection:
            assert hand_over(connection, call_id) == self.calls[call_id]
        self.jobs[call_id] = self.calls.pop(call_id)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), amount=st.integers(1, 150))
    def capture(self, data: Any, amount: int) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.jobs)))
        self.captures += 1
        reference = f"{call_id}:{self.captures}"
        if amount > self.jobs[call_id]:
            with pytest.raises(PaymentRequired), self.studio.database.write() as connection:
                capture_part(connection, call_id, amount, reference=reference, description="x")
            return
        with self.studio.database.write() as connection:
            capture_part(connection, call_id, amount, reference=reference, description="x")
        self.jobs[call_id] -= amount
        self.balance -= amount

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def end(self, data: Any) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.jobs)))
        with self.studio.database.write() as connection:
            assert release_rest(connection, call_id) == self.jobs.pop(call_id)
            assert release_rest(connection, call_id) == 0

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), captured=st.booleans())
    def finish_call(self, data: Any, captured: bool) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.calls)))
        amount = self.calls.pop(call_id)
        if captured:
            self.balance -= self.studio.ledger.capture(call_id, amount)
        else:
            self.studio.ledger.release(call_id)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def mistake_a_job_for_a_call(self, data: Any) -> None:
        call_id = data.draw(st.sampled_from(sorted(self.jobs)))
        self.studio.ledger.release(call_id)
        assert self.studio.ledger.capture(call_id, 1) == 0

    @invariant()
    def the_books_are_exact(self) -> None:
        with self.studio.database.read() as connection:
            account = connection.execute(sa.select(accounts.c.balance, accounts.c.held)).one()
            entries = connection.execute(sa.select(sa.func.sum(ledger_entries.c.amount))).scalar_one()
            last = connection.execute(
                sa.select(ledger_entries.c.balance_after).order_by(ledger_entries.c.id.desc()).limit(1)
            ).scalar_one()
            used = connection.execute(sa.select(sa.func.sum(api_keys.c.credits_used))).scalar_one()
        promised = sum(self.calls.values()) + sum(self.jobs.values())
        assert tuple(account) == (self.balance, promised)
        assert entries == last == self.balance
        assert used == 1000 - self.balance

    @rule()
    def crash(self) -> None:
        """The process dies and another starts: what jobs hold stays, what calls hold is free."""
        self.studio.liveness.close()
        self.studio.database.close()
        self.studio = Studio(Workspace(Path(self.folder.name)))
        self.calls.clear()

    def teardown(self) -> None:
        self.studio.close()
        self.folder.cleanup()


TestJobMoney = JobMoney.TestCase
TestJobMoney.settings = settings(
    max_examples=4,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
