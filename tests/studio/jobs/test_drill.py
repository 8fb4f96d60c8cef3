"""kill -9 at every step of a paid job: every item happens once and is charged once, the books are exact at
every moment, and the job comes to its end.

The turns run in a process of their own that kills itself at the named step.
"""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import pytest
import sqlalchemy as sa
from support.jobs import PRICE, books, start, turn

from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import Job, JobStatus
from tintype_studio.jobs.pool import Pool
from tintype_studio.storage.tables import datasets
from tintype_studio.studio import Studio

pytestmark = pytest.mark.slow

KEYS = [f"{n:02}" for n in range(30)]

TURN = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from support import jobs as support
from tintype_studio.identity.bootstrap import saved_api_key
from tintype_studio.jobs import commits, run
from tintype_studio.jobs.pool import Pool
from tintype_studio.studio import Studio, Workspace

home, job_id, point, times = sys.argv[1:]
left = int(times)

def reach(here):
    global left
    if here == point:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

def around(module, name, before, after):
    real = getattr(module, name)
    def wrapped(*arguments, **named):
        reach(before)
        result = real(*arguments, **named)
        reach(after)
        return result
    setattr(module, name, wrapped)

run.COMMIT_ITEMS = 2
support.register_kinds()
support.reach = reach
around(commits, "capture_part", "before the charge", "after the charge")
around(commits, "release_rest", "before the release", "after the release")
around(commits.Commits, "items", "before the transaction", "after COMMIT")
around(commits.Commits, "finish", "before the end", "after the end")
studio = Studio(Workspace(Path(home)))
studio.jobs.supervisor.enabled = False
owner = studio.keys.authenticate(saved_api_key(studio.home))
sa.event.listen(studio.database.engine, "commit", lambda _c: reach("before COMMIT"))
support.turn(studio, studio.jobs.get(owner, job_id), Pool(2))
os._exit(0)
"""

POINTS = [
    ("an item is done", 4),
    ("before the transaction", 2),
    ("before the write", 3),
    ("after the write", 4),
    ("before the charge", 2),
    ("after the charge", 2),
    ("before COMMIT", 5),
    ("after COMMIT", 2),
]
"""Each comes after an item or two, so that the turns get on."""
LAST_POINTS = [
    ("before the end", 1),
    ("before the release", 1),
    ("after the release", 1),
    ("after the end", 1),
]


def check(studio: Studio, owner: Principal, job: Job, before: int) -> Job:
    """Items, what they made, and what they cost are one and the same."""
    job = studio.jobs.get(owner, job.id)
    items = studio.jobs.items(job, limit=500)
    with studio.database.read() as connection:
        made = set(connection.execute(sa.select(datasets.c.name)).scalars())
    assert made == {f"painted-{item.key}" for item in items if item.outcome == "done"}
    assert {item.outcome for item in items} <= {"done"}
    assert (job.done, job.failed, job.credits_charged) == (len(items), 0, PRICE * len(items))
    held = 0 if job.ended else PRICE * (len(KEYS) - len(items))
    assert books(studio, owner) == (before - PRICE * len(items), held)
    return job


def test_a_worker_killed_at_every_step_costs_no_item_and_no_credit(
    studio: Studio, owner: Principal, pool: Pool, spawn: Any, open_studio: Any
) -> None:
    before = books(studio, owner)[0]
    job = start(studio, owner, {"keys": KEYS, "concurrency": 1})
    done = 0
    for point, times in [*POINTS, *LAST_POINTS]:
        child = spawn(TURN, job.id, point, times)
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL, point
        studio.settle()  # as the next start would
        left = check(studio, owner, job, before)
        assert done <= left.done
        assert (left.done < len(KEYS)) == ((point, times) in POINTS), point
        done = left.done
        assert left.ended == (point == "after the end")
    turn(open_studio(), job, pool)
    assert check(studio, owner, job, before).status is JobStatus.COMPLETED


def test_a_worker_killed_at_random_moments_again_and_again(
    studio: Studio, owner: Principal, pool: Pool, spawn: Any
) -> None:
    chance = random.Random(1)
    before = books(studio, owner)[0]
    job = start(studio, owner, {"keys": KEYS, "work": "spin", "more": [0.1]})
    for _ in range(3):
        child = spawn(TURN, job.id, "never", 1)
        time.sleep(chance.uniform(1.0, 2.2))
        child.kill()
        child.communicate()
        check(studio, owner, job, before)
    turn(studio, job, pool)
    assert check(studio, owner, job, before).status is JobStatus.COMPLETED
