"""What a kind is told of its jobs: once when one begins and once when it ends, in the same transactions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import books, start, turn

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs import kind as kinds
from tintype_studio.jobs.executor import Executor
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.kind import End, JobPlan, Kind
from tintype_studio.jobs.pool import Pool
from tintype_studio.jobs.run import Run
from tintype_studio.storage.job_tables import jobs
from tintype_studio.studio import Studio


class Told(Kind):
    """``args``: what to do in ``run`` and in ``begun``. Keeps what it is told."""

    name = "told"

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.executor: Executor | None = None

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        return JobPlan("Told", credits=2)

    def begun(
        self,
        studio: Studio,
        connection: sa.Connection,
        principal: Principal,
        job_row_id: int,
        args: dict[str, Any],
    ) -> None:
        assert connection.execute(sa.select(jobs.c.kind).where(jobs.c.id == job_row_id)).scalar() == "told"
        self.seen.append(("begun", job_row_id))
        if args.get("refuse"):
            raise InvalidInput("No.", code="no")

    def run(self, run: Run) -> dict[str, Any]:
        run.commit("one", credits=1)
        if run.args.get("fail"):
            raise InvalidInput("It failed.", code="failed", fix="Mend it.")
        if run.args.get("hand_back") and self.executor is not None:
            self.executor.stop(0)
            run.pause(5)
        return {}

    def ended(self, studio: Studio, connection: sa.Connection, end: End) -> None:
        row = connection.execute(sa.select(jobs).where(jobs.c.id == end.job_row_id)).mappings().one()
        assert row["finished_at"] is not None
        self.seen.append(("ended", end))

    def clear(self, studio: Studio, job_id: str) -> None:
        with studio.database.read() as connection:
            status = connection.execute(sa.select(jobs.c.status).where(jobs.c.uuid == job_id)).scalar_one()
        self.seen.append(("clear", status))


@pytest.fixture
def told() -> Told:
    kind = Told()
    kinds.register(kind)
    return kind


def test_a_job_that_comes_to_its_end(studio: Studio, owner: Principal, pool: Pool, told: Told) -> None:
    job = start(studio, owner, {}, kind="told")
    turn(studio, job, pool)
    [begun, (what, end), clear] = told.seen
    assert (begun, what, clear) == (("begun", job.row_id), "ended", ("clear", "completed"))
    assert (end.job_id, end.call_id, end.status, end.error) == (
        job.id,
        job.call_id,
        JobStatus.COMPLETED,
        None,
    )
    assert (end.credits_held, end.credits_charged) == (2, 1)
    assert end.started_at is not None


def test_a_job_that_fails_can_be_paid_back_in_the_same_transaction(
    studio: Studio, owner: Principal, pool: Pool, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = books(studio, owner)

    def ended(_self: Told, studio: Studio, connection: sa.Connection, end: End) -> None:
        assert end.error == {"code": "failed", "message": "It failed.", "fix": "Mend it."}
        assert studio.ledger.refund_in(connection, end.organization_id, end.call_id or "") == 1

    monkeypatch.setattr(Told, "ended", ended)
    turn(studio, start(studio, owner, {"fail": True}, kind="told"), pool)
    assert books(studio, owner) == before


def test_a_job_that_is_cancelled_while_it_waits(studio: Studio, owner: Principal, told: Told) -> None:
    job = start(studio, owner, {}, kind="told")
    studio.jobs.cancel(owner, job.id)
    assert [(what, getattr(it, "status", None)) for what, it in told.seen[1:]] == [("ended", "cancelled")]


def test_a_job_that_is_handed_back_has_not_ended(
    studio: Studio, owner: Principal, pool: Pool, told: Told
) -> None:
    job = start(studio, owner, {"hand_back": True}, kind="told")
    told.executor = Executor(studio, pool)
    told.executor.execute(job.id, 0)
    assert [what for what, _ in told.seen] == ["begun"]
    told.executor = None
    turn(studio, job, pool)
    assert [what for what, _ in told.seen] == ["begun", "ended", "clear"]


def test_a_job_whose_beginning_is_refused_is_not_there(studio: Studio, owner: Principal, told: Told) -> None:
    with pytest.raises(InvalidInput), studio.database.unit_of_work():
        studio.jobs.start(replace(owner, call_id="c"), "told", {"refuse": True})
    assert studio.jobs.list(owner) == []


def test_clearing_that_goes_wrong_does_not_spoil_the_end(
    studio: Studio, owner: Principal, pool: Pool, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clear(*_: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr(Told, "clear", clear)
    job = start(studio, owner, {}, kind="told")
    turn(studio, job, pool)
    assert studio.jobs.get(owner, job.id).status is JobStatus.COMPLETED
