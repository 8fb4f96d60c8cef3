"""Kinds of jobs and item work for tests; importable by workers and their children.

``paint`` makes one dataset per item and charges for it, so that doing an item twice shows.
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import InvalidInput, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs import kind as kinds
from tintype_studio.jobs.commits import handed_back
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.job import Job
from tintype_studio.jobs.kind import Done, JobPlan, Kind
from tintype_studio.jobs.pool import Pool
from tintype_studio.jobs.run import Run
from tintype_studio.storage.job_tables import job_items, jobs
from tintype_studio.storage.tables import accounts, holds, ledger_entries
from tintype_studio.studio import Studio

PRICE = 3
OPERATION = "paint"


class Paint(Kind):
    """``args``: ``keys``, and ``work``, the function of this module that does an item in a child."""

    name = "paint"
    item_seconds = 20.0

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        return JobPlan("Paint", total=len(args["keys"]), credits=PRICE * len(args["keys"]))

    def run(self, run: Run) -> dict[str, Any]:
        run.stage("paint")
        work = run.args.get("work")

        def paint(key: str) -> Done:
            run.check()
            if work is not None:
                run.in_child(
                    f"{__name__}:{work}", key, *run.args.get("more", []), deadline=run.args.get("deadline")
                )
            reach("an item is done")
            return Done(run.args.get("price", PRICE), partial(self._make, run, key), {"key": key})

        run.each(run.args["keys"], paint, concurrency=run.args.get("concurrency"))
        return {"painted": len(run.finished)}

    def _make(self, run: Run, key: str, connection: sa.Connection) -> None:
        reach("before the write")
        run.studio.datasets.create(run.principal, name=f"painted-{key}")
        reach("after the write")


class Walk(Kind):
    """Steps one after the other, as a training has epochs."""

    name = "walk"

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        return JobPlan("Walk", total=args["steps"], credits=args["steps"])

    def run(self, run: Run) -> dict[str, Any]:
        for step in range(run.args["steps"]):
            run.check()
            run.progress(f"step {step}")
            run.log(f"step {step}")
            run.commit(f"{step:03}", credits=1)
            run.pause(run.args.get("seconds", 0))
        return {}


def reach(_point: str) -> None:
    """Called at the kind's own steps; a process that is to die puts its own in place."""


def register_kinds() -> None:
    for kind in (Paint(), Walk()):
        kinds.register(kind)


def quick(_key: str) -> None:
    """Item work that does nothing."""


def spin(_key: str, seconds: float) -> int:
    """Busy without a break, as a library is."""
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        count += 1
    return count


def spin_told(key: str, folder: str, seconds: float) -> None:
    """As ``spin``; leaves its process id."""
    (Path(folder) / key).write_text(str(os.getpid()))
    spin(key, seconds)


def hang_on_b(key: str) -> None:
    if key == "b":
        time.sleep(60)


def die_on_b(key: str, folder: str) -> None:
    """Ends its process, and counts how often."""
    if key == "b":
        with (Path(folder) / "deaths").open("a") as file:
            file.write("x")
        os._exit(7)


def refuse_on_b(key: str) -> None:
    if key == "b":
        raise InvalidInput("b is not fit.", code="not_fit", fix="Leave it out.")
    if key == "c":
        raise ValueError("secret")


def recover_on_b(key: str, folder: str) -> None:
    """Fails twice for a reason that passes."""
    marks = Path(folder) / "tries"
    if key == "b":
        with marks.open("a") as file:
            file.write("x")
        if marks.stat().st_size < 3:
            raise Unavailable("Not now.", code="upstream_busy", retryable=True)


def start(studio: Studio, principal: Principal, args: dict[str, Any], *, kind: str = "paint") -> Job:
    """Start a paid job as the dispatcher does: hold first, then job and hand-over in one transaction."""
    from dataclasses import replace

    call_id = clock.new_id()
    principal = replace(principal, call_id=call_id, tool=kind, session="tests")
    price = studio.jobs.plan(principal, kind, args).credits
    if price:
        studio.ledger.hold(principal, call_id=call_id, operation=OPERATION, amount=price)
    with studio.database.unit_of_work() as unit:
        job = studio.jobs.start(principal, kind, args)
        if price:
            studio.jobs.take_hold(unit.connection(), job.id, call_id)
    return studio.jobs.get(principal, job.id)


def turn(studio: Studio, job: Job, pool: Pool) -> None:
    """Run the job's next turn here, without queue and worker; takes it over if its worker is dead."""
    with studio.database.write() as connection:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job.row_id)).mappings().one()
        if row["status"] == "running" and studio.liveness.is_dead(row["instance"]):
            connection.execute(
                sa.update(jobs).where(jobs.c.id == row["id"]).values(**handed_back(row["turn"]))
            )
        now = connection.execute(sa.select(jobs.c.turn).where(jobs.c.id == job.row_id)).scalar_one()
    Executor(studio, pool).execute(job.id, now)


def books(studio: Studio, principal: Principal) -> tuple[int, int]:
    """``(balance, held)``, after making sure that they are what entries and holds add up to."""
    with studio.database.read() as connection:
        mine = accounts.c.organization_id == principal.organization_id
        account = connection.execute(sa.select(accounts).where(mine)).mappings().one()
        entries = connection.execute(
            sa.select(sa.func.coalesce(sa.func.sum(ledger_entries.c.amount), 0)).where(
                ledger_entries.c.organization_id == principal.organization_id
            )
        ).scalar_one()
        held = connection.execute(
            sa.select(sa.func.coalesce(sa.func.sum(holds.c.amount), 0)).where(
                holds.c.organization_id == principal.organization_id
            )
        ).scalar_one()
        for job in connection.execute(sa.select(jobs)).mappings():
            paid = connection.execute(
                sa.select(sa.func.coalesce(sa.func.sum(job_items.c.credits), 0)).where(
                    job_items.c.job_id == job["id"]
                )
            ).scalar_one()
            booked = connection.execute(
                sa.select(sa.func.coalesce(-sa.func.sum(ledger_entries.c.amount), 0)).where(
                    ledger_entries.c.reference.like(f"job:{job['uuid']}:%")
                )
            ).scalar_one()
            assert paid == booked == job["credits_charged"] <= job["credits_held"]
            if job["finished_at"] is not None:
                assert not connection.execute(
                    sa.select(holds.c.amount).where(holds.c.call_id == job["call_id"])
                ).first()
    assert account["balance"] == entries >= account["held"] == held >= 0
    return account["balance"], account["held"]


def is_there(pid: int) -> bool:
    """Whether a process lives; one that nobody has waited for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
