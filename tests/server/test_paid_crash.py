"""kill -9 at every step of a call that costs, writes, or destroys: it happened once and whole, or not at all.

The calls run in a process of their own that kills itself at the named step; this process then looks at the
books and sends the same call again. Run as a script, this file is that process: it loads everything once and
forks for each call.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.runtime import Runtime, everything
from tintype_server.settings import Settings
from tintype_studio.errors import ConfirmationRequired, Conflict, NotFound
from tintype_studio.identity.roles import Role
from tintype_studio.storage.database import rehearsing
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
from tintype_tools.call import Call, Outcome, Plan, Request
from tintype_tools.registry import Registry
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

pytestmark = pytest.mark.slow

PRICE = 7
FUNDS = 1_000
CAP = 10
"""Of the key that calls: a hold or a charge too many, and the second call is refused."""

BEFORE_COMMIT = (
    "before the claim",
    "after the claim",
    "before the hold",
    "after the hold",
    "before the write",
    "after the write",
    "before the charge",
    "after the charge",
    "after the answer is stored",
    "after the audit line",
    "before COMMIT",
)
AFTER_COMMIT = ("after COMMIT", "before the answer")


class MakeArgs(Args):
    name: str
    writes: bool = True


class MakeResult(Result):
    made: str


def reach(_point: str) -> None:
    """Called by the tool at its own steps; the process that is to die puts its own in place."""


def make(args: MakeArgs, call: Call) -> MakeResult:
    reach("before the write")
    if args.writes:
        call.studio.datasets.create(call.principal, name=args.name)
    reach("after the write")
    return MakeResult(made=args.name)


MAKE = ToolSpec(
    name="make_paid",
    title="Make something for money",
    category=Category.RESULTS,
    toolset="probe",
    description="Use when testing.",
    args=MakeArgs,
    result=MakeResult,
    required_role=Role.MEMBER,
    credit_cost=PRICE,
    quote=lambda _args, _call: Quote("make", PRICE),
    idempotent=False,
    effect=Effect.SPEND,
    plan=lambda _args, _call: Plan(),
    handler=make,
)


class Case(NamedTuple):
    """A call, as it is made here and there."""

    home: str
    key: str
    tool: str
    arguments: dict[str, Any]
    idempotency_key: str | None = None
    token: str | None = None

    def send(self, runtime: Runtime, **changed: Any) -> Outcome:
        values: dict[str, Any] = {
            "tool": self.tool,
            "arguments": self.arguments,
            "api_key": self.key,
            "door": "toolkit",
            "files": everything(runtime.settings),
            "idempotency_key": self.idempotency_key,
            "confirm_token": self.token,
        }
        registry = Registry([*runtime.registry, MAKE])
        return Dispatcher(runtime.studio, registry, runtime.settings)(Request(**{**values, **changed}))


# the process that dies


def die_in(case: Case, point: str) -> None:
    """Make the call and die at the point; come back if it is never reached."""
    global reach

    def reach(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(owner: Any, name: str, step: str) -> None:
        real = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            where = " in the rehearsal" if rehearsing() else ""
            reach(f"before {step}{where}")
            value = real(*args, **kwargs)
            reach(f"after {step}{where}")
            return value

        setattr(owner, name, watched)

    runtime = Runtime.open(Settings(home=Path(case.home)))
    studio = runtime.studio
    watch(studio.idempotency, "claim", "the claim")
    watch(studio.approvals, "claim", "the word is taken")
    watch(studio.ledger, "hold", "the hold")
    watch(studio.datasets, "delete", "the write")
    watch(studio.ledger, "capture_in", "the charge")
    watch(studio.idempotency, "store", "the answer is stored")
    write = studio.audit.write

    def write_and_watch_the_commit(*args: Any) -> None:
        write(*args)
        reach("after the audit line")
        watch(studio.database.engine.dialect, "do_commit", "COMMIT")

    studio.audit.write = write_and_watch_the_commit  # type: ignore[method-assign]
    case.send(runtime)
    reach("before the answer")


def serve_deaths() -> None:
    """Fork for each line of a case and its point; answer with how the child ended."""
    for line in sys.stdin:
        *case, point = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                die_in(Case(*case), point)
            finally:
                os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


@pytest.fixture(scope="module")
def kill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Case, str], int]]:
    """Makes a call in a process that dies at a point; returns how that process ended."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def run(case: Case, point: str) -> int:
        print(json.dumps([*case, point]), file=stdin, flush=True)
        return int(stdout.readline())

    yield run
    process.communicate()


# what must be left


class Left(NamedTuple):
    """What stands in the database, of all that a call writes."""

    charges: list[str]
    recorded: list[str]
    stored: list[str]
    changed: list[str]
    """Each by the call that it belongs to."""


def look(runtime: Runtime, tool: str) -> Left:
    """Check that the books are in order, and tell what came of the calls to a tool."""

    def of(column: sa.Column[Any], *where: Any) -> list[str]:
        return list(connection.execute(sa.select(column).where(*where)).scalars())

    runtime.studio.audit.flush()
    with runtime.studio.database.read() as connection:
        assert connection.execute(sa.select(holds.c.call_id)).all() == []
        account = connection.execute(sa.select(accounts)).one()
        entries = connection.execute(sa.select(ledger_entries)).all()
        assert (account.balance, account.held) == (sum(entry.amount for entry in entries), 0)
        for key in connection.execute(sa.select(api_keys)).all():
            mine = [entry.amount for entry in entries if entry.api_key_id == key.id]
            assert key.credits_used == -sum(mine)
        charges = [entry for entry in entries if entry.amount < 0]
        assert {entry.amount for entry in charges} <= {-PRICE}
        assert account.balance == FUNDS - PRICE * len(charges)
        return Left(
            charges=[entry.call_id for entry in charges],
            recorded=of(
                calls.c.uuid, calls.c.tool == tool, calls.c.outcome == "ok", calls.c.replayed.is_(False)
            ),
            stored=of(idempotency_records.c.call_id, idempotency_records.c.result.is_not(None)),
            changed=of(changes.c.call_id, changes.c.tool == tool),
        )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace with a dataset ``d``, and an admin's key of it with a cap; to be copied."""
    home = tmp_path_factory.mktemp("workspace") / "home"
    runtime = Runtime.open(Settings(home=home))
    owner = runtime.studio.keys.authenticate(runtime.local_api_key())
    key, _ = runtime.studio.keys.create(
        owner, name="k", role=Role.ADMIN, credit_cap=CAP, daily_credit_cap=CAP
    )
    runtime.studio.datasets.create(owner, name="d")
    runtime.close()
    return home, key


@pytest.fixture
def home(workspace: tuple[Path, str], tmp_path: Path) -> Path:
    return shutil.copytree(workspace[0], tmp_path / "home")


@pytest.fixture
def reopen(home: Path) -> Iterator[Callable[[], Runtime]]:
    """Opens the workspace as the next process would."""
    opened: list[Runtime] = []

    def run() -> Runtime:
        opened.append(Runtime.open(Settings(home=home)))
        return opened[-1]

    yield run
    for runtime in opened:
        runtime.close()


def alive(runtime: Runtime, name: str) -> int:
    with runtime.studio.database.read() as connection:
        return connection.execute(
            sa.select(sa.func.count())
            .select_from(datasets)
            .where(datasets.c.name == name, datasets.c.deleted_at.is_(None))
        ).scalar_one()


@pytest.mark.parametrize("writes", [True, False], ids=["writes", "only costs"])
@pytest.mark.parametrize("point", [*BEFORE_COMMIT, *AFTER_COMMIT])
def test_a_paid_call_that_dies_happens_once(
    home: Path,
    workspace: tuple[Path, str],
    kill: Callable[[Case, str], int],
    reopen: Callable[[], Runtime],
    point: str,
    writes: bool,
) -> None:
    case = Case(str(home), workspace[1], MAKE.name, {"name": "new", "writes": writes}, "once")
    assert kill(case, point) == -signal.SIGKILL
    runtime = reopen()
    after = look(runtime, MAKE.name)
    happened = point in AFTER_COMMIT
    assert [len(part) for part in after] == [happened, happened, happened, happened and writes]
    assert alive(runtime, "new") == (happened and writes)

    outcome = case.send(runtime)
    assert (outcome.replayed, outcome.value, outcome.credits) == (happened, {"made": "new"}, PRICE)
    once = Left(*([outcome.call_id] for _ in range(3)), changed=[outcome.call_id] if writes else [])
    assert look(runtime, MAKE.name) == once
    assert alive(runtime, "new") == writes

    assert case.send(runtime).replayed
    assert look(runtime, MAKE.name) == once


DESTROYS = (
    "after the write in the rehearsal",
    "before the word is taken",
    "after the word is taken",
    "before the write",
    "after the write",
    "after the audit line",
    "before COMMIT",
)


@pytest.mark.parametrize("key", [None, "once"], ids=["without a key", "with a key"])
@pytest.mark.parametrize("point", [*DESTROYS, *AFTER_COMMIT])
def test_a_confirmed_deletion_that_dies_happens_once(
    home: Path,
    workspace: tuple[Path, str],
    kill: Callable[[Case, str], int],
    reopen: Callable[[], Runtime],
    point: str,
    key: str | None,
) -> None:
    asking = reopen()
    case = Case(str(home), workspace[1], "delete_dataset", {"name": "d"}, key)
    with pytest.raises(ConfirmationRequired) as question:
        case.send(asking)
    asking.close()
    case = case._replace(token=question.value.details["confirm_token"])

    assert kill(case, point) == -signal.SIGKILL
    runtime = reopen()
    after = look(runtime, case.tool)
    happened = point in AFTER_COMMIT
    assert [len(part) for part in after] == [0, happened, happened and key is not None, happened]
    assert alive(runtime, "d") == (not happened)

    if happened and key is None:
        owner = runtime.studio.keys.authenticate(runtime.local_api_key())
        runtime.studio.datasets.create(owner, name="d")
        with pytest.raises(Conflict) as used:  # the word was for another dataset, and was used
            case.send(runtime)
        assert used.value.code == "confirmation_used"
        assert alive(runtime, "d") == 1
        assert look(runtime, case.tool) == after
        return

    outcome = send_again(case, runtime)
    assert outcome.replayed == happened
    assert outcome.value["deleted"] is True
    assert alive(runtime, "d") == 0
    once = look(runtime, case.tool)
    assert (once.recorded, once.changed) == ([outcome.call_id], [outcome.call_id])
    if key is None:
        with pytest.raises(NotFound):
            case.send(runtime)
    else:
        assert case.send(runtime).replayed
    assert look(runtime, case.tool) == once


def send_again(case: Case, runtime: Runtime) -> Outcome:
    """With the same word; or, where that died with its call, with a new one."""
    try:
        return case.send(runtime)
    except Conflict as refused:
        if refused.code != "confirmation_used":
            raise
    with pytest.raises(ConfirmationRequired) as question:
        case.send(runtime, confirm_token=None)
    return case.send(runtime, confirm_token=question.value.details["confirm_token"])


def test_every_step_is_reached(
    home: Path, workspace: tuple[Path, str], kill: Callable[[Case, str], int]
) -> None:
    """A point that nobody comes by leaves the call whole: the drill would prove nothing there."""
    case = Case(str(home), workspace[1], MAKE.name, {"name": "new"}, "once")
    assert kill(case, "nowhere") == 0


if __name__ == "__main__":
    serve_deaths()
