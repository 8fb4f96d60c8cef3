"""Paid calls that come at once are held and settled at once, and each gets its own answer.

Run as a script, this file is a process that is killed while it writes for a crowd.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.crowds import all_wait

from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.dispatch.running import Settling
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import TintypeError
from tintype_studio.identity.roles import Role
from tintype_studio.ledger.crowd import NewHold
from tintype_studio.ledger.job_holds import hand_over
from tintype_studio.ledger.statements import OF_A_JOB
from tintype_studio.storage.tables import accounts, calls, holds, idempotency_records, ledger_entries
from tintype_tools.call import Call, Outcome, Output, Plan, Request
from tintype_tools.registry import Registry
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

FUNDS = 1_000
CALLERS = 12


class PaidArgs(Args):
    price: int
    cost: int


class PaidResult(Result):
    cost: int


class Crowd:
    """Callers with a key each, whose calls reach each step together."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.studio = runtime, runtime.studio
        self.owner = self.studio.keys.authenticate(runtime.local_api_key())
        self.ready = threading.Semaphore(0)
        self.go = threading.Event()
        self.starts_job: int | None = None
        """The cost of the call whose hold a job takes over."""
        spec = ToolSpec(
            name="pay_up",
            title="Pay",
            category=Category.RESULTS,
            toolset="probe",
            description="Use when testing.",
            args=PaidArgs,
            result=PaidResult,
            required_role=Role.MEMBER,
            credit_cost=5,
            quote=lambda args, _call: Quote("pay", args.price),
            idempotent=False,
            effect=Effect.SPEND,
            plan=lambda _args, _call: Plan(),
            handler=self.handle,
        )
        self.dispatch = Dispatcher(self.studio, Registry([*runtime.registry, spec]), runtime.settings)

    def handle(self, args: PaidArgs, _call: Call) -> Result | Output:
        self.ready.release()
        assert self.go.wait(30)
        job = "a job" if args.cost == self.starts_job else None
        return Output(PaidResult(cost=args.cost), credits=args.cost, job=job)

    def request(self, n: int, **caps: int) -> Request:
        secret, _ = self.studio.keys.create(self.owner, name=f"k{n}", role=Role.MEMBER, **caps)
        return Request(
            tool="pay_up",
            arguments={"price": n + 2, "cost": n + 1},
            api_key=secret,
            door="toolkit",
            files=everything(self.runtime.settings),
            idempotency_key=f"once {n}" if n % 2 else None,
        )

    def send(
        self, requests: Sequence[Request], held: int, meanwhile: Callable[[], None] = lambda: None
    ) -> list[Outcome | TintypeError]:
        """Send all; ``held`` of them get as far as the tool, and ``meanwhile`` happens then."""
        with ThreadPoolExecutor(len(requests)) as pool:
            with all_wait(self.studio.database) as until:
                sent: list[Future[Outcome]] = []
                for n, request in enumerate(requests, 1):  # in this order
                    sent.append(pool.submit(self.dispatch, request))
                    until(n)
            for _ in range(held):
                assert self.ready.acquire(timeout=30)
            # Else what is written of the refused ones would count among those that wait below.
            ends = time.monotonic() + 30
            while sum(one.done() for one in sent) < len(sent) - held:
                assert time.monotonic() < ends
                time.sleep(0.001)
            meanwhile()
            with all_wait(self.studio.database) as until:
                self.go.set()
                until(held)
            got: list[Outcome | TintypeError] = []
            for one in sent:
                error = one.exception(30)
                assert error is None or isinstance(error, TintypeError)
                got.append(error if error is not None else one.result())
        return got

    def lines(self, column: Any, *where: Any) -> list[Any]:
        with self.studio.database.read() as connection:
            return list(connection.execute(sa.select(column).where(*where)).scalars())


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[Crowd]:
    runtime = Runtime.open(Settings(home=tmp_path / "home", confirm_above_credits=10**9))
    yield Crowd(runtime)
    runtime.close()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Which pieces were written at once."""
    seen: list[tuple[str, int]] = []

    def watch(kind: Any) -> None:
        many = kind.many

        def watched(connection: sa.Connection, pieces: Sequence[Any]) -> Any:
            seen.append((kind.__name__, len(pieces)))
            return many(connection, pieces)

        monkeypatch.setattr(kind, "many", watched)

    watch(NewHold)
    watch(Settling)
    return seen


def check(crowd: Crowd, paid: list[Outcome]) -> None:
    """What was answered, booked, recorded and stored is the same."""
    charged = sorted(outcome.credits for outcome in paid)
    own = ledger_entries.c.operation == "pay"
    assert sorted(-amount for amount in crowd.lines(ledger_entries.c.amount, own)) == charged
    after = crowd.lines(ledger_entries.c.balance_after, own)
    amounts = crowd.lines(ledger_entries.c.amount, own)
    assert after == [FUNDS + sum(amounts[: n + 1]) for n in range(len(amounts))]
    assert crowd.lines(accounts.c.balance) == [FUNDS - sum(charged)]
    assert crowd.lines(accounts.c.held) == [0]
    assert crowd.lines(holds.c.call_id) == []
    ids = {outcome.call_id for outcome in paid}
    assert {outcome.value["cost"] for outcome in paid} == set(charged)
    assert set(crowd.lines(ledger_entries.c.call_id, own)) == ids
    crowd.studio.audit.flush()
    fine = sa.and_(calls.c.tool == "pay_up", calls.c.outcome == "ok")
    assert sorted(crowd.lines(calls.c.uuid, fine)) == sorted(ids)
    assert sorted(crowd.lines(calls.c.credits, fine)) == charged
    assert set(crowd.lines(idempotency_records.c.call_id)) == {o.call_id for o in paid if not o.credits % 2}


def test_a_crowd_is_held_and_settled_at_once(crowd: Crowd, batches: list[tuple[str, int]]) -> None:
    got = crowd.send([crowd.request(n) for n in range(CALLERS)], CALLERS)
    assert batches == [("NewHold", CALLERS), ("Settling", CALLERS)]
    paid = [outcome for outcome in got if isinstance(outcome, Outcome)]
    assert [outcome.credits for outcome in paid] == [n + 1 for n in range(CALLERS)]
    check(crowd, paid)


def test_refusals_in_a_crowd_are_each_callers_own(crowd: Crowd, batches: list[tuple[str, int]]) -> None:
    """One is over its cap, one wants more than there is, and one loses its hold."""
    requests = [crowd.request(n) for n in range(CALLERS)]
    requests[2] = crowd.request(2, credit_cap=3)
    requests[5].arguments["price"] = FUNDS

    def lose() -> None:
        (call_id,) = crowd.lines(holds.c.call_id, holds.c.amount == 9)
        crowd.studio.ledger.release(call_id)

    got = crowd.send(requests, CALLERS - 2, lose)
    assert batches == [("NewHold", CALLERS), ("Settling", CALLERS - 2)]
    codes = {n: error.code for n, error in enumerate(got) if isinstance(error, TintypeError)}
    assert codes == {2: "key_cap_reached", 5: "insufficient_credits", 7: "hold_lost"}
    check(crowd, [outcome for outcome in got if isinstance(outcome, Outcome)])
    failed = sa.and_(calls.c.tool == "pay_up", calls.c.outcome != "ok")
    assert sorted(crowd.lines(calls.c.outcome, failed)) == sorted(codes.values())


def test_a_job_takes_its_hold_out_of_a_crowd(
    crowd: Crowd, batches: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def take(connection: sa.Connection, _job: str, call_id: str) -> int:
        return hand_over(connection, call_id)

    monkeypatch.setattr(crowd.studio.jobs, "take_hold", take)
    crowd.starts_job = 4
    got = crowd.send([crowd.request(n) for n in range(CALLERS)], CALLERS)
    assert batches == [("NewHold", CALLERS), ("Settling", CALLERS)]
    assert all(isinstance(outcome, Outcome) for outcome in got)
    (left,) = crowd.lines(holds.c.amount, holds.c.instance == OF_A_JOB)
    assert (left, crowd.lines(accounts.c.held)) == (5, [5])
    charged = crowd.lines(ledger_entries.c.amount, ledger_entries.c.operation == "pay")
    assert sorted(-amount for amount in charged) == [n + 1 for n in range(CALLERS) if n + 1 != 4]


# kill -9


def die(home: str, point: str) -> None:
    """Send a crowd, and die with it at the point."""

    def kill(*_arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def after(kind: Any) -> None:
        many = kind.many

        def last(*arguments: Any) -> None:
            many(*arguments)
            kill()

        kind.many = last

    crowd = Crowd(Runtime.open(Settings(home=Path(home), confirm_above_credits=10**9)))
    requests = [crowd.request(n) for n in range(CALLERS)]
    if point == "held":
        after(NewHold)
    elif point == "charged":
        after(Settling)

    def meanwhile() -> None:  # the next commit is that of the settled calls
        if point == "before COMMIT":
            sa.event.listen(crowd.studio.database.engine, "commit", kill)

    crowd.send(requests, CALLERS, meanwhile)
    if point == "answered":
        kill()


@pytest.mark.parametrize("point", ["held", "charged", "before COMMIT", "answered"])
def test_a_crowd_that_dies_paid_together_or_not_at_all(tmp_path: Path, point: str) -> None:
    tests = str(Path(__file__).parents[1])
    died = subprocess.run(
        [sys.executable, __file__, str(tmp_path / "home"), point],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((tests, os.environ.get("PYTHONPATH", ""))),
        },
        timeout=60,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    runtime = Runtime.open(Settings(home=tmp_path / "home"))
    crowd = Crowd(runtime)
    own = ledger_entries.c.operation == "pay"
    paid = list(range(1, CALLERS + 1)) if point == "answered" else []
    amounts = crowd.lines(ledger_entries.c.amount, own)
    assert sorted(-amount for amount in amounts) == paid
    assert crowd.lines(accounts.c.balance) == [FUNDS - sum(paid)]
    assert (crowd.lines(accounts.c.held), crowd.lines(holds.c.call_id)) == ([0], [])
    recorded = crowd.lines(calls.c.credits, calls.c.tool == "pay_up")
    assert (sorted(recorded), len(crowd.lines(idempotency_records.c.id))) == (paid, len(paid) // 2)
    runtime.close()


if __name__ == "__main__":
    die(*sys.argv[1:])
