"""Training: planned, started, looked at, cancelled. The work is a job (``jobs/kinds/train.py``)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.names import lookup_name, printable
from tintype_studio.storage.job_tables import jobs
from tintype_studio.storage.tables import datasets
from tintype_studio.storage.training_tables import training_runs
from tintype_studio.training.plan import TrainPlan, TrainRequest, plan_training
from tintype_studio.training.run import ENDED, Epoch, TrainingRun, listed, read_epochs, run_of
from tintype_studio.training.status import run_status

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

KIND = "train"
MAX_PAGE = 500
FOLDER = "training"
"""Of the work folders of runs, under the workspace's home."""


def derived_prefix(run_id: str) -> str:
    """Where a run's checkpoints are kept, among what is derived."""
    return f"training/{run_id}"


class Training:
    """Runs of every organization; each call sees only the principal's own."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._db = studio.database
        self._folder = studio.home / FOLDER

    def plan(self, principal: Principal, request: TrainRequest) -> TrainPlan:
        """What a run would do and cost at most; refuses what would be refused (see ``plan_training``)."""
        return plan_training(self._studio, principal, request)

    def start(self, principal: Principal, request: TrainRequest) -> TrainingRun:
        """Start a run: its job, its row and that of its model become true together.

        In the caller's transaction, who hands the hold of the call over to the job in it
        (``Jobs.take_hold``, with ``TrainingRun.job_id``).
        """
        return self.get_of_job(principal, self._studio.jobs.start(principal, KIND, request.as_json()).id)

    def get(self, principal: Principal, run_id: str) -> TrainingRun:
        """A run by its UUID."""
        return self._one(principal, training_runs.c.uuid == run_id, f"id {printable(run_id[:80])!r}")

    def get_of_job(self, principal: Principal, job_id: str) -> TrainingRun:
        """The run that a job works on."""
        return self._one(principal, jobs.c.uuid == job_id, f"job {printable(job_id[:80])!r}")

    def _one(self, principal: Principal, which: sa.ColumnElement[bool], called: str) -> TrainingRun:
        query = listed().where(which, training_runs.c.organization_id == principal.organization_id)
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(
                f"No training run has the {called}.",
                code="training_run_not_found",
                fix="Use training_run.id of what train_pipeline answered; list_jobs shows the jobs of runs.",
            )
        return run_of(row)

    def epochs(self, run: TrainingRun, *, last: int | None = None) -> Sequence[Epoch]:
        """The finished epochs of a run in order, or the ``last`` of them."""
        with self._db.read() as connection:
            return read_epochs(connection, run.row_id, last=last)

    def cancel(self, principal: Principal, run_id: str) -> TrainingRun:
        """Stop a run: at once if it waits, otherwise within a second. Cancelling twice does nothing.

        Minutes that were trained stay charged, the rest is free again. Raises what ``Jobs.cancel`` raises,
        and ``Conflict`` (``training_ended``) for a run that is completed or has failed.
        """
        found = self.require_cancellable(principal, run_id)
        if found.status == "cancelled" or found.job_id is None:
            return found
        self._studio.jobs.cancel(principal, found.job_id)
        return self.get(principal, run_id)

    def require_cancellable(self, principal: Principal, run_id: str) -> TrainingRun:
        """The run, if ``cancel`` would take it; raises what that would raise."""
        found = self.get(principal, run_id)
        if found.status in {"completed", "failed"}:
            raise Conflict(
                f"The training run {found.name!r} is {found.status} already.",
                code="training_ended",
                fix="Nothing is left to cancel; delete_model deletes the model that came of it."
                if found.status == "completed"
                else "Nothing is left to cancel; get_training_status tells why it failed.",
            )
        if found.status != "cancelled" and found.job_id is not None:
            self._studio.jobs.require_cancellable(principal, found.job_id)
        return found

    def list(
        self,
        principal: Principal,
        *,
        limit: int = 50,
        offset: int = 0,
        dataset: str | None = None,
        status: str | None = None,
    ) -> list[TrainingRun]:
        """Runs, newest first."""
        if not 1 <= limit <= MAX_PAGE or offset < 0:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}, offset 0 or more.")
        query = listed().where(training_runs.c.organization_id == principal.organization_id)
        if status is not None:
            query = query.where(run_status() == status)
        if dataset is not None:
            named = sa.func.coalesce(datasets.c.name, training_runs.c.dataset_name)
            query = query.where(named == lookup_name(dataset))
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(training_runs.c.id.desc()).limit(limit).offset(offset))
            return [run_of(row) for row in rows.mappings()]

    def work_dir(self, run_id: str) -> Path:
        """The local folder of a run; a worker on another machine makes its own."""
        return self._folder / run_id

    def clear(self, job_id: str) -> None:
        """Remove the checkpoints and the work folder of a job's run, if that has ended."""
        self._clear_ended(jobs.c.uuid == job_id)

    def settle(self) -> None:
        """Clear the runs whose worker died before it could, and folders that belong to no run."""
        self._clear_ended(training_runs.c.cleared_at.is_(None))
        with suppress(FileNotFoundError):
            for folder in self._folder.iterdir():
                if not self._goes_on(folder.name):
                    shutil.rmtree(folder, ignore_errors=True)

    def _goes_on(self, run_id: str) -> bool:
        query = (
            sa.select(run_status())
            .select_from(training_runs)
            .outerjoin(jobs, jobs.c.id == training_runs.c.job_id)
            .where(training_runs.c.uuid == run_id)
        )
        with self._db.read() as connection:
            return connection.execute(query).scalar() in {"queued", "running"}

    def _clear_ended(self, which: sa.ColumnElement[bool]) -> None:
        query = (
            sa.select(training_runs.c.id, training_runs.c.uuid)
            .outerjoin(jobs, jobs.c.id == training_runs.c.job_id)
            .where(which, run_status().in_(ENDED))
        )
        with self._db.read() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            shutil.rmtree(self.work_dir(row.uuid), ignore_errors=True)
            self._studio.blobs.delete_derived_under(derived_prefix(row.uuid))
            with self._db.write(durable=False) as connection:
                connection.execute(
                    sa.update(training_runs)
                    .where(training_runs.c.id == row.id)
                    .values(cleared_at=clock.now())
                )
