"""A turn of a job: items, failures, retries, cancel, hand-back, money."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import PRICE, books, is_there, start, turn

from tintype_studio.errors import Conflict, Forbidden, NotFound, PaymentRequired, Unavailable
from tintype_studio.identity.keys import Principal
from tintype_studio.identity.roles import Role
from tintype_studio.jobs import commits, executor, run
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.tables import ledger_entries
from tintype_studio.studio import Studio

KEYS = ["a", "b", "c", "d"]


def made(studio: Studio, principal: Principal) -> set[str]:
    return {d.name.removeprefix("painted-") for d in studio.datasets.list(principal, limit=1000)}


def outcomes(studio: Studio, job: Any) -> dict[str, tuple[str, str | None, int]]:
    return {i.key: (i.outcome, i.error_code, i.credits) for i in studio.jobs.items(job, limit=500)}


def test_a_job_does_every_item_once_and_charges_for_each(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    before = books(studio, owner)[0]
    job = start(studio, owner, {"keys": KEYS, "work": "quick"})
    assert (job.status, job.total, job.credits_held) == (JobStatus.QUEUED, 4, 4 * PRICE)
    assert books(studio, owner) == (before, 4 * PRICE)
    turn(studio, job, pool)
    job = studio.jobs.get(owner, job.id)
    assert (job.status, job.stage, job.done, job.failed) == (JobStatus.COMPLETED, "paint", 4, 0)
    assert job.result == {"painted": 4}
    assert job.credits_charged == 4 * PRICE
    assert made(studio, owner) == set(KEYS)
    assert books(studio, owner) == (before - 4 * PRICE, 0)
    assert outcomes(studio, job) == {k: ("done", None, PRICE) for k in KEYS}


def test_what_a_job_changes_is_logged_under_the_call_that_started_it(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    job = start(studio, owner, {"keys": ["a"]})
    turn(studio, job, pool)
    assert job.call_id is not None
    [change] = studio.changes.of_call(owner, job.call_id)
    assert (change.kind, change.tool, change.session) == ("dataset.created", "paint", "tests")


def test_an_ended_turn_or_an_old_one_runs_nothing(studio: Studio, owner: Principal, pool: Pool) -> None:
    job = start(studio, owner, {"keys": ["a"]})
    turn(studio, job, pool)
    again = executor.Executor(studio, pool)
    again.execute(job.id, 0)
    again.execute(job.id, 1)
    again.execute("no such job", 0)
    assert studio.jobs.get(owner, job.id).done == 1


@pytest.mark.parametrize(
    ("work", "more", "failures"),
    [
        ("refuse_on_b", {}, {"b": "not_fit", "c": "internal"}),
        ("die_on_b", {"more": ["FOLDER"]}, {"b": "item_crashed"}),
        ("hang_on_b", {"deadline": 0.5}, {"b": "item_deadline"}),
    ],
)
def test_items_that_are_refused_crash_or_hang_are_reported_and_free_and_the_rest_goes_on(
    studio: Studio,
    owner: Principal,
    pool: Pool,
    tmp_path: Path,
    work: str,
    more: dict[str, Any],
    failures: dict[str, str],
) -> None:
    before = books(studio, owner)[0]
    if "more" in more:
        more = {"more": [str(tmp_path)]}
    job = start(studio, owner, {"keys": KEYS, "work": work, **more})
    turn(studio, job, pool)
    job = studio.jobs.get(owner, job.id)
    assert (job.status, job.done, job.failed) == (JobStatus.COMPLETED, 4, len(failures))
    found = outcomes(studio, job)
    assert {k: v[1] for k, v in found.items() if v[0] == "failed"} == failures
    assert made(studio, owner) == set(KEYS) - set(failures)
    assert books(studio, owner) == (before - PRICE * (4 - len(failures)), 0)
    if work == "die_on_b":
        assert (tmp_path / "deaths").read_text() == "xx"  # tried twice, no more


def test_a_reason_that_passes_is_tried_again(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FIRST_RETRY_SECONDS", 0.02)
    job = start(studio, owner, {"keys": KEYS, "work": "recover_on_b", "more": [str(tmp_path)]})
    turn(studio, job, pool)
    assert studio.jobs.get(owner, job.id).failed == 0
    assert (tmp_path / "tries").read_text() == "xxx"


def test_an_item_whose_own_writing_is_refused_undoes_only_itself(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    studio.datasets.create(owner, name="painted-b")
    before = books(studio, owner)[0]
    job = start(studio, owner, {"keys": KEYS})
    turn(studio, job, pool)
    found = outcomes(studio, job)
    assert found.pop("b") == ("failed", "dataset_exists", 0)
    assert set(found.values()) == {("done", None, PRICE)}
    assert books(studio, owner) == (before - 3 * PRICE, 0)


def test_a_job_never_charges_more_than_its_hold(studio: Studio, owner: Principal, pool: Pool) -> None:
    before = books(studio, owner)[0]
    job = start(studio, owner, {"keys": KEYS, "price": 2 * PRICE})
    turn(studio, job, pool)
    job = studio.jobs.get(owner, job.id)
    assert (job.done, job.failed, job.credits_charged) == (4, 2, 4 * PRICE)
    assert {v[1] for v in outcomes(studio, job).values()} == {None, "hold_spent"}
    assert len(made(studio, owner)) == 2
    assert books(studio, owner) == (before - 4 * PRICE, 0)


def test_cancelling_a_job_that_waits_ends_it_at_once_and_frees_its_hold(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    before = books(studio, owner)[0]
    job = start(studio, owner, {"keys": KEYS})
    assert studio.jobs.cancel(owner, job.id).status is JobStatus.CANCELLED
    assert books(studio, owner) == (before, 0)
    turn(studio, job, pool)
    assert made(studio, owner) == set()
    with pytest.raises(Conflict) as caught:
        studio.jobs.cancel(owner, job.id)
    assert caught.value.code == "job_ended"


def test_cancelling_stops_busy_children_within_a_second_and_keeps_what_is_finished(
    studio: Studio, owner: Principal, pool: Pool, tmp_path: Path
) -> None:
    before = books(studio, owner)[0]
    keys = [f"{n:02}" for n in range(20)]
    told = tmp_path / "told"
    told.mkdir()
    job = start(studio, owner, {"keys": keys, "work": "spin_told", "more": [str(told), 0.4]})
    runner = executor.Executor(studio, pool)
    thread = threading.Thread(target=runner.execute, args=(job.id, 0))
    thread.start()
    while not _done(studio, owner, job):
        time.sleep(0.02)
    busy = {int(p.read_text()) for p in told.iterdir()}
    assert all(is_there(pid) for pid in busy)
    assert studio.jobs.cancel(owner, job.id).cancelling
    asked = time.monotonic()
    while not studio.jobs.get(owner, job.id).ended:
        runner.watch()  # as the worker does, every fifth of a second
        time.sleep(0.02)
    assert time.monotonic() - asked < 1
    thread.join()
    job = studio.jobs.get(owner, job.id)
    assert job.status is JobStatus.CANCELLED
    assert 1 <= job.done < 20
    assert len(made(studio, owner)) == job.done
    assert books(studio, owner) == (before - PRICE * job.done, 0)
    assert not any(is_there(pid) for pid in busy)


def _done(studio: Studio, owner: Principal, job: Any) -> bool:
    return studio.jobs.get(owner, job.id).done > 0


def test_a_member_cancels_its_own_jobs_only_and_strangers_see_none(
    studio: Studio, owner: Principal, stranger: Principal
) -> None:
    def member(name: str) -> Principal:
        secret, _ = studio.keys.create(owner, name=name, role=Role.MEMBER)
        return studio.keys.authenticate(secret)

    mine, other = member("one"), member("two")
    job = start(studio, mine, {"keys": KEYS})
    with pytest.raises(Forbidden) as refused:
        studio.jobs.cancel(other, job.id)
    assert refused.value.code == "not_your_own"
    for act in (studio.jobs.get, studio.jobs.cancel):
        with pytest.raises(NotFound):
            act(stranger, job.id)
    assert studio.jobs.list(stranger) == []
    assert studio.jobs.cancel(mine, job.id).status is JobStatus.CANCELLED


def test_a_revoked_key_ends_its_jobs(studio: Studio, owner: Principal, pool: Pool) -> None:
    secret, info = studio.keys.create(owner, name="one", role=Role.MEMBER)
    member = studio.keys.authenticate(secret)
    job = start(studio, member, {"keys": KEYS, "work": "quick"})
    waiting = start(studio, member, {"keys": ["e"]})
    runner = executor.Executor(studio, pool)

    def revoke(e: executor.Executor) -> None:
        studio.keys.revoke(owner, prefix=info.prefix)

    revoke(runner)
    for one in (job, waiting):
        runner.execute(one.id, 0)
        ended = studio.jobs.get(owner, one.id)
        assert ended.status is JobStatus.FAILED
        assert ended.error is not None
        assert ended.error["code"] == "invalid_key"
    assert books(studio, owner)[1] == 0


def test_handing_back_keeps_what_is_finished_and_the_next_turn_does_the_rest(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    before = books(studio, owner)[0]
    keys = [f"{n:02}" for n in range(12)]
    job = start(studio, owner, {"keys": keys, "work": "spin", "more": [0.15]})
    runner = executor.Executor(studio, pool)
    thread = threading.Thread(target=runner.execute, args=(job.id, 0))
    thread.start()
    while not _done(studio, owner, job):
        time.sleep(0.02)
    runner.stop(2.0)
    thread.join()
    handed = studio.jobs.get(owner, job.id)
    assert handed.status is JobStatus.QUEUED
    assert 0 < handed.done < 12
    assert books(studio, owner) == (before - PRICE * handed.done, PRICE * (12 - handed.done))
    assert job.call_id is not None
    with pytest.raises(Conflict) as early:
        studio.undo.call(owner, job.call_id)
    assert early.value.details == {"job_id": job.id}
    turn(studio, job, pool)
    assert studio.jobs.get(owner, job.id).status is JobStatus.COMPLETED
    assert made(studio, owner) == set(keys)
    assert books(studio, owner) == (before - 12 * PRICE, 0)
    assert studio.undo.call(owner, job.call_id).counts == {"dataset.created": 12}
    assert made(studio, owner) == set()


def test_a_worker_that_lost_the_job_writes_nothing_more(
    studio: Studio, owner: Principal, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(studio, owner, {"keys": KEYS})

    def take_away(point: str) -> None:
        if point == "an item is done":
            with studio.database.write() as connection:
                connection.execute(sa.update(jobs).values(instance="another", turn=5))

    monkeypatch.setattr("support.jobs.reach", take_away)
    turn(studio, job, pool)
    assert made(studio, owner) == set()
    assert studio.jobs.get(owner, job.id).status is JobStatus.RUNNING


def test_a_full_disk_is_waited_for_and_nothing_is_lost(
    studio: Studio, owner: Principal, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = books(studio, owner)[0]
    job = start(studio, owner, {"keys": KEYS})
    full = {"times": 3}
    real = commits.Commits._note

    def note(self: Any, *arguments: Any) -> None:
        real(self, *arguments)
        if full["times"]:
            full["times"] -= 1
            raise Unavailable("full", code="storage_failed")

    monkeypatch.setattr(commits.Commits, "_note", note)
    turn(studio, job, pool)
    assert full["times"] == 0
    assert studio.jobs.get(owner, job.id).status is JobStatus.COMPLETED
    assert books(studio, owner) == (before - 4 * PRICE, 0)


def test_a_database_that_is_really_full_pauses_the_job_until_there_is_room(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    def allow(more_pages: int) -> None:
        """SQLite refuses to grow the file, as it does on a full disk."""
        with studio.database._writers:
            writer = studio.database._writer
            assert writer is not None
            cursor = writer.connection.cursor()
            pages = cursor.execute("PRAGMA page_count").fetchone()[0]
            cursor.execute(f"PRAGMA max_page_count={pages + more_pages}")

    before = books(studio, owner)[0]
    keys = [f"{n:03}-{'x' * 100}" for n in range(100)]
    job = start(studio, owner, {"keys": keys})
    allow(3)
    thread = threading.Thread(target=turn, args=(studio, job, pool))
    thread.start()
    thread.join(1.5)
    assert thread.is_alive()
    half = studio.jobs.get(owner, job.id)
    assert (half.status, len(made(studio, owner))) == (JobStatus.RUNNING, half.done)
    assert half.done < 100
    assert books(studio, owner) == (before - PRICE * half.done, PRICE * (100 - half.done))
    allow(100_000)
    thread.join(20)
    assert studio.jobs.get(owner, job.id).status is JobStatus.COMPLETED
    assert len(made(studio, owner)) == 100
    assert books(studio, owner) == (before - PRICE * 100, 0)


def test_a_disk_that_stays_full_fails_the_job_cleanly(
    studio: Studio, owner: Principal, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "PATIENCE_SECONDS", 0.3)
    before = books(studio, owner)[0]
    job = start(studio, owner, {"keys": KEYS})

    def refuse(*_: Any) -> None:
        raise Unavailable("full", code="storage_failed")

    monkeypatch.setattr(commits.Commits, "items", refuse)
    turn(studio, job, pool)
    ended = studio.jobs.get(owner, job.id)
    assert ended.status is JobStatus.FAILED
    assert ended.error is not None
    assert ended.error["code"] == "storage_failed"
    assert made(studio, owner) == set()
    assert books(studio, owner) == (before, 0)


def test_steps_are_committed_one_by_one_with_progress_and_logs(
    studio: Studio, owner: Principal, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "MAX_LOG_LINES", 5)
    before = books(studio, owner)[0]
    job = start(studio, owner, {"steps": 9}, kind="walk")
    turn(studio, job, pool)
    job = studio.jobs.get(owner, job.id)
    assert (job.status, job.done, job.credits_charged) == (JobStatus.COMPLETED, 9, 9)
    assert [line.text for line in studio.jobs.logs(job)] == [f"step {n}" for n in range(4, 9)]
    with studio.database.read() as connection:
        references = connection.execute(
            sa.select(ledger_entries.c.reference).where(ledger_entries.c.amount < 0)
        ).scalars()
        assert set(references) == {f"job:{job.id}:{n}" for n in range(9)}
    assert books(studio, owner) == (before - 9, 0)


def test_a_result_that_is_no_json_fails_the_job(
    studio: Studio, owner: Principal, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.jobs.Walk.run", lambda _self, _run: {"result": object()})
    job = start(studio, owner, {"steps": 1}, kind="walk")
    turn(studio, job, pool)
    ended = studio.jobs.get(owner, job.id)
    assert (ended.status, ended.error and ended.error["code"]) == (JobStatus.FAILED, "internal")
    assert books(studio, owner)[1] == 0


def test_an_unknown_kind_fails_and_frees_the_hold(studio: Studio, owner: Principal, pool: Pool) -> None:
    before = books(studio, owner)[0]
    job = start(studio, owner, {"keys": KEYS})
    with studio.database.write() as connection:
        connection.execute(sa.update(jobs).values(kind="of_the_future"))
    turn(studio, job, pool)
    ended = studio.jobs.get(owner, job.id)
    assert ended.error is not None
    assert ended.error["code"] == "unknown_job_kind"
    assert books(studio, owner) == (before, 0)


def test_a_job_that_kills_its_worker_again_and_again_is_given_up(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    before = books(studio, owner)[0]
    job = start(studio, owner, {"keys": KEYS})
    with studio.database.write() as connection:
        connection.execute(sa.update(jobs).values(attempts=executor.MAX_ATTEMPTS))
    turn(studio, job, pool)
    ended = studio.jobs.get(owner, job.id)
    assert ended.error is not None
    assert ended.error["code"] == "worker_lost"
    assert books(studio, owner) == (before, 0)


def test_a_start_that_is_rolled_back_leaves_nothing(studio: Studio, owner: Principal) -> None:
    acting = replace(owner, call_id="c" * 36)
    studio.ledger.hold(acting, call_id="c" * 36, operation="paint", amount=len(KEYS) * PRICE)

    class Stop(Exception):
        pass

    with pytest.raises(Stop), studio.database.unit_of_work() as unit:  # noqa: PT012
        job = studio.jobs.start(acting, "paint", {"keys": KEYS})
        studio.jobs.take_hold(unit.connection(), job.id, "c" * 36)
        raise Stop
    assert studio.jobs.list(owner) == []
    studio.ledger.release("c" * 36)
    assert books(studio, owner)[1] == 0


def test_a_hold_that_is_gone_starts_nothing(studio: Studio, owner: Principal) -> None:
    acting = replace(owner, call_id="c" * 36)
    with pytest.raises(Unavailable) as caught, studio.database.unit_of_work() as unit:  # noqa: PT012
        job = studio.jobs.start(acting, "paint", {"keys": KEYS})
        studio.jobs.take_hold(unit.connection(), job.id, "c" * 36)
    assert caught.value.code == "hold_lost"
    assert studio.jobs.list(owner) == []


def test_the_hold_of_a_job_counts_against_the_balance(studio: Studio, owner: Principal) -> None:
    available = studio.ledger.available(owner)
    keys = [str(n) for n in range(available // PRICE)]
    start(studio, owner, {"keys": keys})
    with pytest.raises(PaymentRequired):
        start(studio, owner, {"keys": ["one", "two"]})
