"""A process with a paid tool that can die or fail at every step of a call."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from tintype_server.dispatch.dispatcher import Dispatcher
from tintype_server.dispatch.running import Next, RunningCall
from tintype_server.runtime import Runtime
from tintype_server.settings import Settings
from tintype_studio.errors import Conflict
from tintype_studio.identity.roles import Role
from tintype_tools.call import Call, Outcome, Output, Plan
from tintype_tools.registry import Registry
from tintype_tools.spec import Args, Category, Effect, Quote, Result, ToolSpec

FAILS = {
    "fails": "conflict",
    "breaks": "internal",
    "is cancelled": "cancelled",
    "is left": "cancelled",
    "is late": "deadline_exceeded",
    "does not commit": "storage_failed",
}
"""Ways for a call to end without effect, and the code that its caller gets."""
DIES = ("before the hold", "after the hold", "after the write", "before the commit", "after the commit")
WORKS = ("works", "recovers", "costs less", "costs nothing", "costs more")


class Died(BaseException):
    """The process is gone."""


class ProbeArgs(Args):
    price: int
    text: str = ""


class ProbeResult(Result):
    made: str


class Process:
    """An open workspace, and the ways in which it can die or fail at a step."""

    def __init__(self, home: Path) -> None:
        self.runtime = Runtime.open(Settings(home=home, confirm_above_credits=10**9))
        self.studio = self.runtime.studio
        self.how = "works"
        self.dead = self.entered = False
        self._thread = threading.get_ident()
        registry = Registry([*self.runtime.registry, self._probe()])
        self.dispatch = Dispatcher(
            self.studio, registry, self.runtime.settings, around=[self._die_with_the_answer]
        )
        sa.event.listen(self.studio.database.engine, "begin", self._at_begin)
        sa.event.listen(self.studio.database.engine, "commit", self._at_commit)

    def die(self, *_args: object, **_kwargs: object) -> None:
        """What the kernel does: the lock that proves life is gone, what was committed is not, and no line
        of clean-up reaches the database.
        """
        self.dead = True
        self.studio.liveness.close()
        raise Died

    def close(self) -> None:
        self.dead = False
        self.runtime.close()

    def _at_begin(self, connection: sa.Connection) -> None:
        if self.dead and threading.get_ident() == self._thread:
            _take_back(connection)
            raise Died

    def _at_commit(self, connection: sa.Connection) -> None:
        if not self.entered or threading.get_ident() != self._thread:
            return
        self.entered = False  # the commit of the call's own work, and no other
        if self.how in {"before the commit", "does not commit"}:
            _take_back(connection)
        if self.how == "before the commit":
            self.die()
        if self.how == "does not commit":
            raise sa.exc.OperationalError("COMMIT", None, Exception("disk I/O error"))

    def _die_with_the_answer(self, call: RunningCall, proceed: Next) -> Outcome:
        outcome = proceed(call)
        if self.how == "after the commit":
            self.die()
        return outcome

    def _handle(self, args: ProbeArgs, call: Call) -> Result | Output:
        if self.how == "after the hold":
            self.die()
        self.entered = True
        made = call.studio.datasets.create(call.principal, name=call.id)
        if self.how == "recovers":
            with pytest.raises(Conflict):
                call.studio.datasets.create(call.principal, name=call.id)
        self._fail_after_the_write(call)
        worth = {"costs less": args.price // 2, "costs nothing": 0, "costs more": args.price + 5}
        return Output(ProbeResult(made=made.name), credits=worth.get(self.how))

    def _fail_after_the_write(self, call: Call) -> None:
        match self.how:
            case "after the write":
                self.die()
            case "fails":
                raise Conflict("not now")
            case "breaks":
                raise ZeroDivisionError
            case "is cancelled" | "is left":
                call.request.cancelled.set()  # type: ignore[attr-defined]
        if self.how == "is cancelled":
            call.check()

    def _probe(self) -> ToolSpec:
        return ToolSpec(
            name="run_probe",
            title="Run a probe",
            category=Category.RESULTS,
            toolset="probe",
            description="Use when testing.",
            args=ProbeArgs,
            result=ProbeResult,
            required_role=Role.MEMBER,
            credit_cost=5,
            quote=lambda args, _call: Quote("probe", args.price),
            idempotent=False,
            effect=Effect.SPEND,
            plan=lambda _args, _call: Plan(),
            handler=self._handle,
        )


def _take_back(connection: sa.Connection) -> None:
    """As the database does for a client that is gone, or whose commit failed for want of a disk."""
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.rollback()
