"""Trains a model. What a turn does stands in ``training.turn``; here is how it is a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.kind import End, JobPlan, Kind, Queue
from tintype_studio.jobs.pool import Pool
from tintype_studio.training import progress
from tintype_studio.training.plan import TrainRequest
from tintype_studio.training.turn import OTHER_STEPS, Turn
from tintype_studio.vision.train.heads_plan import EPOCHS

if TYPE_CHECKING:
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio


class Train(Kind):
    """``args``: a ``TrainRequest`` as JSON."""

    name = "train"
    queue = Queue.GPU

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """One item per epoch and some around them; the price of all the minutes that it may take."""
        planned = studio.training.plan(principal, TrainRequest.from_json(args))
        return JobPlan(
            f"Train {planned.pipeline.name} on {planned.dataset.name}",
            total=planned.config.epochs + OTHER_STEPS + (EPOCHS if planned.attributes else 0),
            credits=planned.credits,
            dataset_row_id=planned.dataset.row_id,
        )

    def begun(
        self,
        studio: Studio,
        connection: sa.Connection,
        principal: Principal,
        job_row_id: int,
        args: dict[str, Any],
    ) -> None:
        """The rows of the run and of its model."""
        request = TrainRequest.from_json(args)
        planned = studio.training.plan(principal, request)
        progress.begin(connection, principal, job_row_id, planned, request)

    def run(self, run: Run) -> dict[str, Any]:
        """Train, or go on with it, in one child process that has all cores."""
        pool = Pool(1)
        try:
            return Turn(run, pool).run()
        finally:
            pool.close()

    def ended(self, studio: Studio, connection: sa.Connection, end: End) -> None:
        """The end of the run's row; what a failed run was charged is given back."""
        progress.end(studio, connection, end)

    def clear(self, studio: Studio, job_id: str) -> None:
        """Checkpoints and work folder."""
        studio.training.clear(job_id)


KIND = Train()
