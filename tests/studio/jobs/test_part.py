"""A kind's work as a part of another kind's job."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest
from support.jobs import PRICE, Paint, books, start, turn

from tintype_studio.errors import InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs import kind as kinds
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.kind import Done, JobPlan, Kind, Queue
from tintype_studio.jobs.part import part_of
from tintype_studio.jobs.pool import Pool
from tintype_studio.jobs.run import Run
from tintype_studio.studio import Studio


class Gallery(Kind):
    """Paints, then hangs up the frames."""

    name = "gallery"
    queue = Queue.GPU

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        return JobPlan("Gallery", total=len(args["keys"]) + 1, credits=PRICE * len(args["keys"]) + 1)

    def run(self, run: Run) -> dict[str, Any]:
        part = part_of(run, paint, {"keys": run.args["keys"]}, total=len(run.args["keys"]))
        seen.append((part.args, part.job.total, part.job.kind, part.job.id, part.finished is run.finished))
        painted = paint.run(part)
        run.commit("frames", credits=1)
        return painted


class Slow(Paint):
    """Two of its items meet, or the job hangs."""

    def __init__(self) -> None:
        self.meeting = threading.Barrier(2, timeout=20)

    def run(self, run: Run) -> dict[str, Any]:
        def one(key: str) -> Done:
            self.meeting.wait()
            if key == "b":
                raise InvalidInput("b is not fit.", code="not_fit")
            return Done(PRICE, partial(self._make, run, key))

        run.each(run.args["keys"], one)
        return {"painted": len(run.finished)}


seen: list[Any] = []
paint = Slow()


@pytest.fixture(autouse=True)
def gallery() -> None:
    kinds.register(Gallery())
    seen.clear()


def test_it_has_its_own_arguments_and_the_jobs_items_and_money(
    studio: Studio, owner: Principal, pool: Pool
) -> None:
    before = books(studio, owner)[0]
    job = start(studio, owner, {"keys": ["a", "b"], "more": 1}, kind="gallery")
    turn(studio, job, pool)
    done = studio.jobs.get(owner, job.id)
    assert seen == [({"keys": ["a", "b"]}, 2, "paint", job.id, True)]
    assert (done.status, done.done, done.failed) == (JobStatus.COMPLETED, 3, 1)
    assert done.result == {"painted": 2}
    assert [(item.key, item.outcome) for item in studio.jobs.items(done)] == [
        ("a", "done"),
        ("b", "failed"),
        ("frames", "done"),
    ]
    assert books(studio, owner) == (before - PRICE - 1, 0)
