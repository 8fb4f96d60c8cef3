"""kill -9 at any statement of a restore: nothing of it is there, or all; a job goes on with it."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.jobs import start, turn
from support.pictures import jpeg
from support.version_state import counters_are_true, state_of

from tintype_studio import clock
from tintype_studio.annotations.geometry import AnnotationList
from tintype_studio.catalog.datasets import Dataset
from tintype_studio.errors import TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.pool import Pool
from tintype_studio.studio import Studio

TESTS = Path(__file__).parents[2]

RESTORE = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.studio import Studio, Workspace

home, die_at, job, tests = sys.argv[1:]
sys.path.insert(0, tests)
studio = Studio(Workspace(Path(home)))
owner = studio.keys.authenticate(saved_api_key(studio.home))
count = 0

def step(*_):
    global count
    count += 1
    if count == int(die_at):
        os.kill(os.getpid(), signal.SIGKILL)

def commits(_connection):
    if int(die_at) == -1:
        os.kill(os.getpid(), signal.SIGKILL)

if job:
    from support.jobs import turn
    from tintype_studio.jobs.pool import Pool
    found = studio.jobs.get(owner, job)
    pool = Pool(1)
real = studio.versions.restore

def restore(*arguments, **named):
    sa.event.listen(studio.database.engine, "before_cursor_execute", step)
    sa.event.listen(studio.database.engine, "commit", commits)
    return real(*arguments, **named)

studio.versions.restore = restore
if job:
    turn(studio, found, pool)
else:
    from dataclasses import replace
    restore(replace(owner, call_id="the-call", tool="restore_version"), "signs", "v1")
print(count, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def boxes(count: int) -> list[Any]:
    raw = [
        {"id": f"{n}", "name": "car", "bounding_box": {"x": n, "y": 1, "w": 2, "h": 3}} for n in range(count)
    ]
    return AnnotationList.model_validate({"annotations": raw}).annotations


@pytest.fixture
def states(studio: Studio, owner: Principal, dataset: Dataset) -> tuple[Any, Any]:
    """The state of ``v1``, and the one of now, which differs in every way."""

    def act() -> Principal:
        return replace(owner, call_id=clock.new_id(), tool="a_tool")

    ids = [
        studio.ingest.add_image(act(), dataset, data=jpeg(16, 12, seed=n), filename=f"{n}.jpg").id
        for n in range(6)
    ]
    for image in ids:
        studio.documents.save(act(), image, boxes(2))
    studio.annotation_sets.create(act(), "signs", name="gt")
    studio.versions.create(act(), "signs", name="v1")
    then = state_of(studio, "signs")
    studio.batch.delete(act(), "signs", ids[:2])
    studio.documents.save(act(), ids[2], boxes(5))
    studio.batch.move(act(), "signs", ids[3:4], "/x")
    studio.groups.set_split(act(), "signs", "test", ids[4:])
    studio.annotation_sets.delete(act(), "signs", "gt")
    studio.ingest.add_image(act(), dataset, data=jpeg(16, 12, seed=9), filename="0.jpg")
    return then, state_of(studio, "signs")


def killed(child: Any) -> list[str]:
    said, _ = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    return str(said).split()


def test_a_restore_that_is_killed_leaves_nothing_or_all(
    studio: Studio, owner: Principal, states: tuple[Any, Any], spawn: Any, open_studio: Any
) -> None:
    then, now = states
    points = [1, 4, 9, 14, 19, 24, 29, 34, -1]
    for point in points:
        said = killed(spawn(RESTORE, point, "", TESTS))
        again = open_studio()
        assert said == [], "it lived through the restore: fewer points"
        assert state_of(again, "signs") == now
        counters_are_true(again, owner, "signs")
        assert again.changes.of_call(owner, "the-call") == []
        again.close()
    (count,) = killed(spawn(RESTORE, 100_000, "", TESTS))
    assert int(count) > max(points)
    assert state_of(studio, "signs") == then
    counters_are_true(studio, owner, "signs")
    studio.undo.call(replace(owner, call_id=clock.new_id()), "the-call")
    assert state_of(studio, "signs") == now


@pytest.mark.parametrize("point", [12, -1, 100_000])
def test_a_job_goes_on_with_the_restore_of_a_worker_that_died(
    studio: Studio, owner: Principal, states: tuple[Any, Any], spawn: Any, point: int
) -> None:
    then, now = states
    job = start(studio, owner, {"dataset": "signs", "version": "v1"}, kind="restore_version")
    killed(spawn(RESTORE, point, job.id, TESTS))
    assert state_of(studio, "signs") == (then if point == 100_000 else now)
    pool = Pool(1)
    try:
        if point != 100_000:
            turn(studio, job, pool)
    finally:
        pool.close()
    ended = studio.jobs.get(owner, job.id)
    assert ended.status == "completed"
    assert ended.result == {
        "deleted": 1,
        "brought_back": 2,
        "updated": 4,
        "annotated": 1,
        "sets": 1,
        "groups": 1,
    }
    assert state_of(studio, "signs") == then
    studio.undo.call(replace(owner, call_id=clock.new_id()), ended.call_id or "")
    assert state_of(studio, "signs") == now


def test_what_changes_after_the_look_is_seen(
    studio: Studio, owner: Principal, states: tuple[Any, Any], dataset: Dataset
) -> None:
    then, _ = states
    with studio.versions.restorer.look(dataset.row_id) as look:
        late = replace(owner, call_id=clock.new_id())
        studio.ingest.add_image(late, dataset, data=jpeg(16, 12, seed=77), filename="late.jpg")
        done = studio.versions.restore(replace(owner, call_id=clock.new_id()), "signs", "v1", look=look)
    assert done.deleted == 2
    assert state_of(studio, "signs") == then


def test_a_restore_that_is_stopped_is_taken_back(
    studio: Studio, owner: Principal, states: tuple[Any, Any]
) -> None:
    _, now = states
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise TintypeError("enough")

    with pytest.raises(TintypeError, match="enough"):
        studio.versions.restore(replace(owner, call_id=clock.new_id()), "signs", "v1", check=check)
    assert state_of(studio, "signs") == now
