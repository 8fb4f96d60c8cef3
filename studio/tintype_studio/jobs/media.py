"""What the two kinds of jobs share that predict about one picture or video.

``args``: a ``PredictionRequest`` as JSON, whose ``task`` is always set; ``new``: whether it is made with the
job; ``model_id`` or None, and ``label``, of the model; ``minutes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.errors import NotFound
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import JobStatus
from tintype_studio.jobs.kind import Done, End, JobPlan, Kind
from tintype_studio.ledger.prices import price_of
from tintype_studio.predictions.asking import OPERATIONS, PredictionRequest
from tintype_studio.predictions.looking import Eye
from tintype_studio.predictions.shapes import MediaPrediction
from tintype_studio.storage.job_tables import job_items

if TYPE_CHECKING:
    from tintype_studio.jobs.run import Run, Work
    from tintype_studio.studio import Studio

CANCELLED = "cancelled"


class PredictMedia(Kind):
    """Its task is made or claimed with the job, and has its outcome in the transaction of the last item."""

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """What ``PredictionTasks.prepare`` has found."""
        request = PredictionRequest.from_json(args)
        minutes: int = args["minutes"]
        return JobPlan(
            f"Predict {request.file_name or request.media} with {args['label']}",
            total=1 if request.media == "image" else minutes + 1,
            credits=price_of(OPERATIONS[request.media]).total(minutes),
        )

    def begun(
        self,
        studio: Studio,
        connection: sa.Connection,
        principal: Principal,
        job_row_id: int,
        args: dict[str, Any],
    ) -> None:
        """The row of the task."""
        request = PredictionRequest.from_json(args)
        if args["new"]:
            studio.predictions.rows.insert(connection, principal, args["task"], request, job_id=job_row_id)
        else:
            studio.predictions.rows.claim(connection, principal, request, job_row_id)

    def ended(self, studio: Studio, connection: sa.Connection, end: End) -> None:
        """The outcome of a task that has none; what a failed one was charged is given back."""
        error = end.error or _item_error(connection, end.job_row_id)
        if end.status is JobStatus.CANCELLED:
            error = {"code": CANCELLED, "message": "It was cancelled."}
        why = f"{error['message']} {error.get('fix') or ''}".strip()
        failed = studio.predictions.rows.fail(connection, end.job_row_id, error["code"] or "internal", why)
        given_back = failed and end.status is not JobStatus.CANCELLED
        if given_back and end.credits_charged and end.call_id is not None:
            studio.ledger.refund_in(
                connection, end.organization_id, end.call_id, description="The prediction failed."
            )


def _item_error(connection: sa.Connection, job_row_id: int) -> dict[str, str | None]:
    """Why an item could not be written down, of a job that came to its end without an answer."""
    query = sa.select(job_items.c.error_code, job_items.c.error_message).where(
        job_items.c.job_id == job_row_id, job_items.c.outcome == "failed"
    )
    row = connection.execute(query.limit(1)).first()
    if row is None:
        return {"code": "internal", "message": "The prediction failed."}
    return {"code": row.error_code, "message": row.error_message}


def eye_of_job(run: Run) -> Eye:
    """The model of a job. NotFound (``model_not_found``) when it is gone."""
    model_id: str | None = run.args["model_id"]
    label: str = run.args["label"]
    if model_id is None:
        return Eye(label, weights=run.studio.detectors.settings.model, objects=tuple(run.args["objects"]))
    model = run.studio.models.get(run.principal, model_id)
    if model.onnx_sha256 is None:
        raise NotFound("The model is gone.", code="model_not_found", fix="Use another model.")
    return Eye(label, model.onnx_sha256, model.heads_sha256)


def finish(run: Run, key: str, work: Work) -> None:
    """Do one item without which there is no answer, and finish it: its failure is the job's."""
    if key not in run.finished:
        done = run.attempt(key, work)
        if done.error is not None:
            raise done.error
        run.finish([done])


def predicted(run: Run, data: bytes, *, credits: int = 0, notes: list[str] | None = None) -> Done:
    """The last item: the answer, ``MediaPrediction.as_json``, becomes the task's."""
    prediction = MediaPrediction.from_json(data)
    sha256 = run.studio.blobs.put(data)

    def write(connection: sa.Connection) -> None:
        run.studio.predictions.rows.settle(
            connection, run.args["task"], prediction, sha256, len(data), notes or ()
        )

    return Done(credits, write, {"objects": len(prediction.objects)})
