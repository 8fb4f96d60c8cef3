"""Asks a model about one picture. One item; only an answer with objects in it costs something."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tintype_studio.jobs.kind import Done, Queue
from tintype_studio.jobs.media import PredictMedia, eye_of_job, finish, predicted
from tintype_studio.ledger.prices import price_of
from tintype_studio.predictions.asking import OPERATIONS
from tintype_studio.predictions.looking import Eye
from tintype_studio.predictions.shapes import MediaPrediction

if TYPE_CHECKING:
    from tintype_studio.jobs.run import Run

LOOK = "tintype_studio.predictions.looking:look_at_file"


class PredictPicture(PredictMedia):
    """``args`` as of ``PredictMedia``."""

    name = "predict_picture"
    queue = Queue.IO  # it is short, and someone waits for it
    item_seconds = 120.0

    def run(self, run: Run) -> dict[str, Any]:
        """Look once."""
        run.stage("predicting", total=1)
        finish(run, "picture", partial(_picture, run, eye_of_job(run)))
        return {"task": run.args["task"]}


def _picture(run: Run, eye: Eye, _key: str) -> Done:
    predictions = run.studio.predictions
    task = predictions.get(run.principal, run.args["task"])
    with predictions.open_media(run.principal, task) as file:
        data: bytes = run.in_child(LOOK, run.studio.detectors.blob_url, eye, str(file), run.args["threshold"])
    found = MediaPrediction.from_json(data)
    return predicted(run, data, credits=price_of(OPERATIONS["image"]).total(1) if found.objects else 0)


KIND = PredictPicture()
