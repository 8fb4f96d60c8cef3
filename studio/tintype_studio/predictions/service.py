"""Prediction tasks: begun, started, looked at, forgotten. The work is a job (``jobs/media.py``).

A task needs no dataset: it is about an upload, a file of this machine, or a stored image. Its result is kept
for some days (``Workspace.prediction_days``) and so is its file, so that it can be drawn and become work.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tintype_studio import clock
from tintype_studio.errors import Conflict, InvalidInput, NotFound, PaymentRequired, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.job import Job
from tintype_studio.ledger.prices import price_of
from tintype_studio.names import printable
from tintype_studio.predictions.asking import (
    KINDS,
    MAX_MODEL_NAME,
    OPERATIONS,
    USUAL_FPS,
    PredictionRequest,
    Prepared,
    clean_file_name,
    fps_of,
    minutes_of,
    require_mime,
)
from tintype_studio.predictions.models import PredictionModels, objects_for
from tintype_studio.predictions.rows import TaskRows
from tintype_studio.predictions.shapes import Media, MediaPrediction
from tintype_studio.predictions.task import PredictionTask, Subject, listed, task_of
from tintype_studio.storage.prediction_tables import prediction_tasks
from tintype_studio.storage.uploads import Ticket, UploadKind
from tintype_studio.video.choice import MAX_FRAMES
from tintype_studio.video.probe import VideoInfo

if TYPE_CHECKING:
    from tintype_studio.studio import Studio

MAX_PAGE = 500
PROBES_KEPT = 64
SWEPT_AT_ONCE = 500


class PredictionTasks:
    """Tasks of every organization; each call sees only the principal's own."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._db = studio.database
        self.models = PredictionModels(studio.models, studio.detectors.settings)
        self.rows = TaskRows(self._db, studio.blobs, timedelta(days=studio.workspace.prediction_days))
        self._lock = threading.Lock()
        self._probed: OrderedDict[tuple[str, str], VideoInfo] = OrderedDict()

    # --- Begin ------------------------------------------------------------------------------------------

    def begin(
        self,
        principal: Principal,
        *,
        media: Media,
        mime_type: str | None = None,
        file_name: str | None = None,
        frames_per_second: int | None = None,
    ) -> tuple[PredictionTask, Ticket]:
        """A task that waits for its file, and leave to put it. Raises as ``require_begin``."""
        self.require_begin(principal, media=media, mime_type=mime_type, frames_per_second=frames_per_second)
        self._studio.uploads.require_room(principal)
        name = clean_file_name(file_name)
        ticket = self._studio.uploads.issue(principal, "media", UploadKind(media))
        uuid = clock.new_id()
        request = PredictionRequest(
            "",
            media=media,
            subject=Subject(upload=ticket.path),
            file_name=name,
            mime_type=mime_type,
            frames_per_second=fps_of(media, frames_per_second),
        )
        with self._db.write() as connection:
            self.rows.insert(connection, principal, uuid, request)
        return self.get(principal, uuid), ticket

    def require_begin(
        self, principal: Principal, *, media: Media, mime_type: str | None, frames_per_second: int | None
    ) -> None:
        """Refuse what no task could be made of, before a file is sent for nothing.

        Raises InvalidInput (``wrong_media``, ``invalid_fps``), PaymentRequired when not even a picture or
        the first minute of a video could be paid, and as ``Uploads.issue``.
        """
        require_mime(media, mime_type)
        fps_of(media, frames_per_second)
        least, left = price_of(OPERATIONS[media]).total(1), self._studio.ledger.available(principal)
        if left < least:
            raise PaymentRequired(
                f"A prediction costs {least} or more; {left} credits are left to this key.",
                required=least,
                remaining=left,
            )

    def prepare(
        self,
        principal: Principal,
        request: PredictionRequest,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> Prepared:
        """What a prediction would do and cost at most; refuses what would be refused.

        What is wrong with the file of a task is told by the task, which then fails: who uploads does not
        read the answer. Of all else it is refused here. Raises NotFound (``prediction_task_not_found``,
        ``model_not_found``), Conflict (``upload_missing``, ``prediction_started`` by another model),
        InvalidInput (``wrong_media`` …) and as ``Videos.probe``.
        """
        task = None
        if request.task is not None:
            task = self.get(principal, request.task)
            if task.media != request.media:
                raise InvalidInput(
                    f"This task is about {'a picture' if task.media == 'image' else 'a video'}.",
                    code="wrong_media",
                    fix=f"Call predict_{task.media}.",
                )
            if task.job_id is not None or task.ended:
                return _already(task, request)
            request = replace(
                request,
                media=task.media,
                subject=task.subject,
                file_name=task.file_name,
                mime_type=task.mime_type,
                frames_per_second=request.frames_per_second or task.frames_per_second,
            )
        fps = fps_of(request.media, request.frames_per_second)
        model = self.models.resolve(principal, request.model)
        objects = objects_for(model, request.objects)
        version = self._require_there(principal, request.subject, task)
        minutes, duration_us = 1, None
        if request.media == "video" and (info := self._probe(principal, request.subject, check, task)):
            minutes, duration_us = minutes_of(info.duration_seconds), round(info.duration_seconds * 1e6)
            _require_few(info.duration_seconds, fps or USUAL_FPS)
        operation = OPERATIONS[request.media]
        wanted = replace(
            request,
            model=request.model[:MAX_MODEL_NAME],
            file_name=clean_file_name(request.file_name),
            frames_per_second=fps,
            threshold=model.threshold if request.threshold is None else request.threshold,
            objects=objects,
            upload_version=version,
        )
        args = {**wanted.as_json(), "minutes": minutes, "duration_us": duration_us, "label": model.label}
        args["model_id"] = None if model.model is None else model.model.id
        return Prepared(args, operation, price_of(operation).total(minutes), minutes, model)

    def start(self, principal: Principal, prepared: Prepared) -> PredictionTask:
        """Start the job of a prediction; its task is made or claimed in the same transaction.

        In the caller's transaction, who hands the hold of the call over to the job in it
        (``Jobs.take_hold``, with ``PredictionTask.job_id``). Of a prediction that was asked for before, its
        task. Raises Conflict (``prediction_started``) when another call was faster.
        """
        if prepared.started is not None:
            return self.get(principal, prepared.started.id)
        args = {**prepared.args, "new": prepared.args["task"] is None}
        args["task"] = args["task"] or clock.new_id()
        self._studio.jobs.start(principal, KINDS[args["media"]], args)
        return self.get(principal, args["task"])

    def record(
        self, principal: Principal, request: PredictionRequest, prediction: MediaPrediction
    ) -> PredictionTask:
        """Keep the answer of a call that predicted by itself, as a task that is predicted."""
        uuid = clock.new_id()
        sha256 = self._studio.blobs.put(data := prediction.as_json())
        with self._db.write() as connection:
            self.rows.insert(connection, principal, uuid, request)
            self.rows.settle(connection, uuid, prediction, sha256, len(data))
        return self.get(principal, uuid)

    # --- Look -------------------------------------------------------------------------------------------

    def get(self, principal: Principal, task_id: str) -> PredictionTask:
        """A task by its UUID; NotFound (``prediction_task_not_found``) also for those that are forgotten."""
        return self._one(principal, prediction_tasks.c.uuid == task_id, task_id)

    def get_of_job(self, principal: Principal, job: Job) -> PredictionTask:
        """The task that a job works on."""
        return self._one(principal, prediction_tasks.c.job_id == job.row_id, job.id)

    def list(
        self, principal: Principal, *, limit: int = 50, before: str | None = None
    ) -> Sequence[PredictionTask]:
        """Tasks, newest first; ``before`` is the id of the last one of the page before."""
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is 1 to {MAX_PAGE}.")
        query = listed().where(prediction_tasks.c.organization_id == principal.organization_id)
        query = query.where(prediction_tasks.c.expires_at > clock.now())
        if before is not None:
            query = query.where(prediction_tasks.c.id < self.get(principal, before).row_id)
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(prediction_tasks.c.id.desc()).limit(limit)).mappings()
            return [task_of(row) for row in rows]

    def result(self, principal: Principal, task: PredictionTask) -> MediaPrediction:
        """What was predicted.

        Raises Conflict: ``prediction_not_ready`` before the end, and the failure's own code after a failure.
        """
        if task.result_sha256 is None:
            raise _no_result(task)
        return MediaPrediction.from_json(self._studio.blobs.get(task.result_sha256))

    @contextmanager
    def open_media(self, principal: Principal, task: PredictionTask) -> Iterator[Path]:
        """The picture or video as a file, for the time of the block; it must not be changed.

        NotFound (``upload_not_found``, ``file_not_found``, ``image_not_found``) when it is gone, Conflict
        (``media_changed``) when another was uploaded in its place: the link takes files for an hour.
        """
        if task.subject.image is None:
            upload, local = task.subject.upload, task.subject.local
            asked = task.facts.get("upload_version")
            if upload is not None and asked and asked != self._studio.uploads.version(principal, upload):
                raise Conflict(
                    "Another file was uploaded in the place of the one that the prediction is of.",
                    code="media_changed",
                    fix="Begin another task for the other file.",
                )
            with self._studio.videos.open(principal, upload, local) as file:
                yield file
            return
        sample = self._studio.samples.get(principal, task.subject.image)
        with NamedTemporaryFile(dir=self._studio.home / "tmp", prefix="image-") as copy:
            copy.write(self._studio.samples.image_bytes(sample))
            copy.flush()
            yield Path(copy.name)

    # --- Forget -------------------------------------------------------------------------------------------

    def kept_uploads(self) -> set[str]:
        """Paths of uploads that are kept for longer than others."""
        return self.rows.kept_uploads()

    def sweep(self) -> int:
        """Forget tasks whose time is over, with what they had; returns how many."""
        return self.rows.sweep()

    # --- Within -------------------------------------------------------------------------------------------

    def _one(self, principal: Principal, which: sa.ColumnElement[bool], called: str) -> PredictionTask:
        query = listed().where(
            which,
            prediction_tasks.c.organization_id == principal.organization_id,
            prediction_tasks.c.expires_at > clock.now(),
        )
        with self._db.read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            raise NotFound(
                f"No prediction task has the id {printable(called[:80])!r}.",
                code="prediction_task_not_found",
                fix="Use the id that the task was begun with; tasks are forgotten after some days.",
            )
        return task_of(row)

    def _require_there(
        self, principal: Principal, subject: Subject, task: PredictionTask | None
    ) -> str | None:
        """The version of the upload that is there; None of what is no upload."""
        if subject.image is not None:
            self._studio.samples.get(principal, subject.image)
        if subject.upload is None:
            return None
        try:
            return self._studio.uploads.version(principal, subject.upload)
        except NotFound:
            if task is None:
                raise
            raise Conflict(
                "The file of this task was not uploaded.",
                code="upload_missing",
                fix="Put the file to the address that the task came with, then ask for the prediction.",
            ) from None

    def _probe(
        self,
        principal: Principal,
        subject: Subject,
        check: Callable[[], None],
        task: PredictionTask | None,
    ) -> VideoInfo | None:
        """As ``Videos.probe``, but None for the file of a task that cannot be read: its job then fails.

        A call asks several times, and an upload may lie on another machine: what was found is kept.
        """
        key: tuple[str, str] | None = None
        if subject.upload is not None:
            key = (subject.upload, self._studio.uploads.version(principal, subject.upload))
            with self._lock:
                if key in self._probed:
                    return self._probed[key]
        try:
            info = self._studio.videos.probe(
                principal, upload=subject.upload, local=subject.local, check=check
            )
        except InvalidInput:
            if task is None:
                raise
            return None
        if key is not None:
            with self._lock:
                self._probed[key] = info
                while len(self._probed) > PROBES_KEPT:
                    self._probed.popitem(last=False)
        return info


def _require_few(seconds: float, frames_per_second: int) -> None:
    if seconds * frames_per_second > MAX_FRAMES:
        most = max(1, int(MAX_FRAMES / seconds))
        raise InvalidInput(
            f"At {frames_per_second} frames per second, this video has more than {MAX_FRAMES:,} frames.",
            code="too_many_frames",
            fix=f"Ask for up to {most} frames per second, or cut the video.",
        )


def _already(task: PredictionTask, request: PredictionRequest) -> Prepared:
    if request.model[:MAX_MODEL_NAME] != task.model:
        raise Conflict(
            f"This task was predicted with {task.model!r} already.",
            code="prediction_started",
            fix="Begin another task for another model.",
        )
    asked = {
        "frames_per_second": (request.frames_per_second, task.frames_per_second),
        "threshold": (request.threshold, task.facts.get("threshold")),
        "objects": (list(request.objects) or None, task.facts.get("objects")),
    }
    if others := [name for name, (now, then) in asked.items() if now is not None and now != then]:
        raise Conflict(
            f"This task was predicted with other values of {', '.join(others)} already.",
            code="prediction_started",
            fix="Begin another task for these.",
        )
    return Prepared({}, OPERATIONS[task.media], 0, 0, None, started=task)


def _no_result(task: PredictionTask) -> TintypeError:
    if task.error_code is not None:
        return Conflict(
            f"The prediction failed: {task.error_message}",
            code=task.error_code,
            fix="Mend the cause, then begin another task.",
        )
    return Conflict(
        f"The prediction is not there yet: the task is {task.word}.",
        code="prediction_not_ready",
        fix="Ask for the status until it is predicted, then for the results.",
        retryable=task.status != "awaiting_upload",
    )
