"""Tasks: those of jobs tell themselves, those of others are told; charts, filters, stopping, forgetting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import register_kinds, start, turn
from support.sessions import told_session

from tintype_studio.errors import TintypeError
from tintype_studio.experiments.files import Incoming, Owner
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.session_tables import tasks
from tintype_studio.studio import Studio
from tintype_studio.tasks.own_jobs import type_of
from tintype_studio.tasks.task import Task


def code(deed: Callable[..., object], *args: Any, **given: Any) -> str:
    with pytest.raises(TintypeError) as refused:
        deed(*args, **given)
    assert refused.value.fix
    return refused.value.code


@pytest.fixture
def studio(studio: Studio) -> Studio:
    """No worker of its own: the tests run the turns."""
    register_kinds()
    studio.jobs.supervisor.enabled = False
    return studio


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(1)
    yield pool
    pool.close()


def told(studio: Studio, owner: Principal, **given: Any) -> Task:
    return studio.tasks.create(owner, **{"type": "convertor", "name": "convert"} | given)


# --- Jobs -----------------------------------------------------------------------------------------------


def test_a_job_has_a_task_from_its_start_to_its_end(
    studio: Studio, owner: Principal, dataset: Any, pool: Pool
) -> None:
    job = start(studio, owner, {"keys": ["a", "b"]})
    task = studio.tasks.of_job(owner, job.id)
    assert (task.name, task.type, task.status, task.manager) == (job.title, "paint", "queued", "cloud")
    assert (task.is_job, task.job_id, task.ended, task.finished_at) == (True, job.id, False, None)
    assert studio.tasks.get(owner, task.wire_id) == studio.tasks.get(owner, task.id) == task
    turn(studio, job, pool)
    ended = studio.tasks.get(owner, task.id)
    assert (ended.status, ended.ended) == ("completed", True)
    assert [(stage.status, stage.percentage) for stage in ended.stages] == [("completed", 100)]
    assert ended.finished_at is not None


def test_a_job_that_is_cancelled_ends_its_task(studio: Studio, owner: Principal) -> None:
    job = start(studio, owner, {"keys": ["a"]})
    task = studio.tasks.of_job(owner, job.id)
    assert studio.tasks.stop(owner, task.id).status == "cancelled"
    assert studio.jobs.get(owner, job.id).status == "cancelled"
    assert code(studio.tasks.stop, owner, task.id) == "task_ended"


def test_a_rehearsed_start_leaves_no_task(studio: Studio, owner: Principal) -> None:
    with studio.database.unit_of_work(rehearsal=True):
        studio.jobs.start(owner, "paint", {"keys": ["a"]})
        assert len(studio.tasks.list(owner)) == 1
    assert studio.tasks.list(owner) == []


def test_nobody_tells_a_job_how_it_is_doing(studio: Studio, owner: Principal) -> None:
    task = studio.tasks.of_job(owner, start(studio, owner, {"keys": ["a"]}).id)
    of = studio.tasks
    assert code(of.set_status, owner, task.id, "complete") == "task_of_job"
    assert code(of.set_stages, owner, task.id, [("a", "A")]) == "task_of_job"
    given = {"status": "running", "message": "", "percentage": 5}
    assert code(of.update_stage, owner, task.id, "a", **given) == "task_of_job"
    assert of.get(owner, task.id) == task
    assert of.rename(owner, task.id, "my job").name == "my job"


def test_a_forgotten_job_leaves_its_task_only_where_something_names_it(
    studio: Studio, owner: Principal, pool: Pool, move_clock: Any
) -> None:
    made = [start(studio, owner, {"keys": ["a"]}) for _ in range(4)]
    plain, charted, filed, young = (studio.tasks.of_job(owner, job.id) for job in made)
    for job in made[:3]:
        turn(studio, job, pool)
    studio.tasks.charts.put(charted, group="g", name="n", data=[1])
    studio.experiments.files.put(owner, Owner.TASK, filed.row_id, [Incoming("log", b"x")])
    move_clock(timedelta(days=91))
    studio.jobs.sweep()
    assert {task.id for task in studio.tasks.list(owner)} == {charted.id, filed.id, young.id}
    left = studio.tasks.get(owner, filed.id)
    assert (left.job_id, left.is_job, left.status) == (None, True, "completed")
    assert [(stage.status, stage.percentage) for stage in left.stages] == [("completed", 100)]
    assert code(studio.tasks.stop, owner, filed.id) == "task_ended"
    assert code(studio.tasks.get, owner, plain.id) == "task_not_found"


def test_kinds_have_types_that_clients_know() -> None:
    assert [type_of(kind) for kind in ("train", "evaluate", "auto_annotate", "verify_images")] == [
        "trainer",
        "validation",
        "auto-ann",
        "verify-images",
    ]


# --- Told from outside ----------------------------------------------------------------------------------


def test_stages_are_named_and_then_told(studio: Studio, owner: Principal) -> None:
    task = told(studio, owner)
    of = studio.tasks
    of.set_stages(owner, task.id, [("read", "Read it"), ("write", "")])
    of.update_stage(owner, task.id, "read", status="running", message="half", percentage=50)
    found = of.set_stages(owner, task.wire_id, [("check", "Check"), ("read", "Read all")])
    shown = [(s.name, s.description, s.status, s.message, s.percentage) for s in found.stages]
    assert shown == [("check", "Check", None, None, 0), ("read", "Read all", "running", "half", 50)]
    given = {"status": "running", "message": "", "percentage": 5}
    assert code(of.update_stage, owner, task.id, "write", **given) == "stage_not_found"
    for percentage in (-1, 101):
        wrong = given | {"percentage": percentage}
        assert code(of.update_stage, owner, task.id, "read", **wrong) == "invalid_percentage"
    assert code(of.set_stages, owner, task.id, [("a", ""), ("a", "")]) == "duplicate_stage"
    assert code(of.set_stages, owner, task.id, [("", "")]) == "invalid_stage"
    assert code(of.set_stages, owner, task.id, [(str(n), "") for n in range(101)]) == "too_many_stages"
    assert of.get(owner, task.id).stages == found.stages


def test_a_word_that_ends_it_ends_it_and_another_opens_it_again(studio: Studio, owner: Principal) -> None:
    task = told(studio, owner)
    for word in ("complete", "DONE", "failed", "canceled"):
        ended = studio.tasks.set_status(owner, task.id, word)
        assert (ended.status, ended.ended, ended.finished_at is not None) == (word, True, True)
        assert code(studio.tasks.stop, owner, task.id) == "task_ended"
    again = studio.tasks.set_status(owner, task.id, "running")
    assert (again.ended, again.finished_at) == (False, None)
    assert studio.tasks.stop(owner, task.id).status == "cancelled"
    for word in ("", " ", "x" * 41, "a\nb"):
        assert code(studio.tasks.set_status, owner, task.id, word) in {"invalid_status", "invalid_name"}


def test_tasks_are_found_by_type_status_manager_and_name(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    job = start(studio, owner, {"keys": ["a"]})
    turn(studio, job, pool)
    told(studio, owner, name="Convert 100%", status="complete")
    told(studio, owner, name="upload", type="upload", status="running")
    told_session(studio, owner)

    def found(**given: Any) -> list[str]:
        return [task.name for task in studio.tasks.list(owner, **given)]

    assert found() == ["run 1", "upload", "Convert 100%", job.title]
    assert found(types=["upload", "convertor"]) == ["upload", "Convert 100%"]
    assert found(statuses=["complete"]) == found(statuses=["Completed"]) == ["Convert 100%", job.title]
    assert found(managers=["user"]) == ["run 1", "upload", "Convert 100%"]
    assert found(managers=["cloud"]) == found(jobs_only=True) == [job.title]
    assert found(name="convert 100%") == ["Convert 100%"]
    assert found(name="%") == ["Convert 100%"]
    assert found(types=["nothing"]) == []
    first = studio.tasks.list(owner, limit=2)
    assert [t.name for t in studio.tasks.list(owner, before=first[-1].id)] == ["Convert 100%", job.title]
    for limit in (0, 501):
        assert code(studio.tasks.list, owner, limit=limit) == "invalid_input"


def test_charts_are_kept_by_group_and_name(
    studio: Studio, owner: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, charts = told(studio, owner), studio.tasks.charts
    charts.put(task, group="speed", name="rate", data={"y": [1, 2.5]}, params={"x": "epoch"})
    charts.put(task, group="speed", name="load", data=0)
    charts.put(task, group="acc", name="rate", data="x")
    charts.put(task, group="speed", name="rate", data=[])
    assert charts.names(task) == {"acc": ["rate"], "speed": ["load", "rate"]}
    assert charts.names(task, "acc") == {"acc": ["rate"]}
    kept = charts.get(task, "speed", "rate")
    assert (kept.data, kept.params, charts.get(task, "speed", "load").data) == ([], None, 0)
    assert code(charts.get, task, "speed", "x") == "chart_not_found"
    for name in ("", "x" * 121, "a\nb"):
        assert code(charts.put, task, group="g", name=name, data=1) == "invalid_name"
        assert code(charts.put, task, group=name, name="n", data=1) == "invalid_name"
    for wrong in (None, [None], float("nan"), {"a": 2**64}):
        assert code(charts.put, task, group="g", name="n", data=wrong) == "invalid_parameters"
    assert code(charts.put, task, group="g", name="n", data="x" * 5_000_000) == "parameters_too_large"
    monkeypatch.setattr("tintype_studio.tasks.charts.MAX_CHARTS", 3)
    assert code(charts.put, task, group="g", name="n", data=1) == "too_many_charts"
    assert charts.names(task) == {"acc": ["rate"], "speed": ["load", "rate"]}


def test_a_task_without_its_job_row_still_says_what_it_was(studio: Studio, owner: Principal) -> None:
    """A job that went before it could end its task, with its key, say."""
    job = start(studio, owner, {"keys": ["a"]})
    task = studio.tasks.of_job(owner, job.id)
    with studio.database.write() as connection:
        connection.execute(sa.delete(jobs).where(jobs.c.id == job.row_id))
        assert connection.execute(sa.select(tasks.c.job_id)).scalars().all() == [None]
    assert studio.tasks.get(owner, task.id).status == "unknown"
    assert code(studio.tasks.stop, owner, task.id) == "task_ended"
