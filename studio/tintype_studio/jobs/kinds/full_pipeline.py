"""Labels the images of a dataset and trains a model on them, as one job.

``args``: ``request``, a ``PipelineRequest`` as JSON; ``meant``, how many images are to be labelled; and
``upload``, which is for whoever reports on the job.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.errors import TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.commits import NOT_NOW
from tintype_studio.jobs.kind import End, JobPlan, Kind, Queue
from tintype_studio.jobs.kinds import auto_annotate, train
from tintype_studio.jobs.part import part_of
from tintype_studio.training import progress
from tintype_studio.training.pipeline import PipelineRequest, foresee
from tintype_studio.training.pipeline_state import (
    ANNOTATE_ERROR,
    ANNOTATED,
    BEGUN,
    TRAIN_ERROR,
    end_training,
    error_as_json,
    state_of,
    steps_of,
)
from tintype_studio.training.turn import OTHER_STEPS

if TYPE_CHECKING:
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio
    from tintype_studio.training.plan import TrainPlan, TrainRequest


class FullPipeline(Kind):
    """Two kinds, one after the other; an error of either ends the job and is told in its report."""

    name = "full_pipeline"
    queue = Queue.GPU
    item_seconds = auto_annotate.KIND.item_seconds

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """An item per image and per epoch; the price of all images and of all minutes."""
        request = PipelineRequest.from_json(args["request"])
        dataset = studio.datasets.get(principal, request.dataset)
        foreseen = replace(foresee(studio, principal, request), images=args["meant"])
        steps = foreseen.config.epochs + OTHER_STEPS + 1 if request.train else 0
        return JobPlan(
            f"{request.pipeline}: from the images of {dataset.name} to a model"
            if request.train
            else f"Label {', '.join(request.names)[:100]} in {dataset.name}",
            total=foreseen.images + int(request.annotate) + steps,
            credits=foreseen.credits,
            dataset_row_id=dataset.row_id,
        )

    def run(self, run: Run) -> dict[str, Any]:
        """Label, then train, or go on with either."""
        request = PipelineRequest.from_json(run.args["request"])
        if self._annotate(run, request) and request.train:
            self._train(run, request)
        state = state_of(run.studio, run.studio.jobs.get(run.principal, run.job.id))
        model = None
        if state.run_id is not None:
            model = run.studio.training.get(run.principal, state.run_id).model_id
        return {
            "annotations_added": state.annotated.added if state.annotated is not None else 0,
            "training_run": state.run_id,
            "model": model,
        }

    def _annotate(self, run: Run, request: PipelineRequest) -> bool:
        """Label what is to be labelled; whether there is something to train on."""
        if ANNOTATE_ERROR in run.finished:
            return False
        if not request.annotate:
            return True
        if ANNOTATED not in run.finished:
            part = part_of(run, auto_annotate.KIND, request.labelling(), total=run.args["meant"])
            try:
                done = auto_annotate.KIND.run(part)
            except TintypeError as error:
                return _stopped(run, ANNOTATE_ERROR, "Labelling", error)
            failed = run.studio.jobs.get(run.principal, run.job.id).failed
            dataset = run.studio.datasets.get(run.principal, request.dataset)
            told = {**done, "failed": failed, "labelled": dataset.completed_image_count}
            run.commit(ANNOTATED, detail=told)
        labelled: int = steps_of(run.studio, run.job.row_id, keys=[ANNOTATED])[ANNOTATED]["labelled"]
        if not labelled and request.train:
            run.log("Nothing is labelled, so that there is nothing to train on.", "warning")
        return labelled > 0

    def _train(self, run: Run, request: PipelineRequest) -> None:
        if TRAIN_ERROR in run.finished:
            return
        try:
            if BEGUN not in run.finished:
                dataset = run.studio.datasets.get(run.principal, request.dataset)
                asked = request.training(dataset)
                planned = run.studio.training.plan(run.principal, asked)
                total = len(run.finished) + 1 + planned.config.epochs + OTHER_STEPS
                run.progress("The training begins.", total=total)
                run.commit(BEGUN, write=partial(_begin, run, planned, asked))
            train.KIND.run(run)
        except TintypeError as error:
            _stopped(run, TRAIN_ERROR, "Training", error)

    def ended(self, studio: Studio, connection: sa.Connection, end: End) -> None:
        """The end of the run's row, if it came to a run; what a failed training was charged is given back."""
        end_training(studio, connection, end)

    def clear(self, studio: Studio, job_id: str) -> None:
        """Checkpoints and work folder."""
        train.KIND.clear(studio, job_id)


def _begin(run: Run, planned: TrainPlan, asked: TrainRequest, connection: sa.Connection) -> None:
    progress.begin(connection, run.principal, run.job.row_id, planned, asked)


def _stopped(run: Run, key: str, phase: str, error: TintypeError) -> bool:
    """Keep an error of a phase, which is the last of the job; a disk or database that fails is none."""
    if error.code in NOT_NOW:
        raise error
    run.log(f"{phase} stopped: {error.message}", "error")
    run.commit(key, detail={"error": error_as_json(error)})
    return False


KIND = FullPipeline()
