"""One turn of a run's job: export, split, epoch after epoch, evaluation and ONNX export, registration.

All heavy work is done in one child process of the run's own. Each epoch is an item of the job: its checkpoint
is stored before it is written down and charged, so that whoever goes on after a crash goes on from there.
"""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from tintype_studio.errors import Conflict, DeadlineExceeded, NotFound, TintypeError, Unavailable
from tintype_studio.jobs.commits import NOT_NOW, PATIENCE_SECONDS
from tintype_studio.jobs.kind import Write
from tintype_studio.jobs.pool import ChildCrashed
from tintype_studio.ledger.prices import price_of
from tintype_studio.storage.job_tables import job_items
from tintype_studio.storage.training_tables import training_runs
from tintype_studio.training import progress
from tintype_studio.training.card import card_of
from tintype_studio.training.heads import HeadsStage, TrainedHeads, detector_seconds
from tintype_studio.training.plan import operation_of, options_of
from tintype_studio.training.run import Epoch, curves_of
from tintype_studio.vision.train.config import TrainConfig
from tintype_studio.vision.train.session import EpochReport, Finished, HeadsReport, Order, Prepared
from tintype_studio.vision.train.weights import Weights

if TYPE_CHECKING:
    from tintype_studio.exports.service import Export, ExportOptions
    from tintype_studio.jobs.pool import Pool
    from tintype_studio.jobs.run import Run
    from tintype_studio.training.run import TrainingRun

SESSION = "tintype_studio.vision.train.session"
"""Module of what the child does."""
CURVES = "tintype_studio.vision.evaluate.plots:training_curves"

EXPORT, SPLIT, MODEL = "export", "split", "model"
OTHER_STEPS = 3
"""Items of the job that are no epochs."""
STEP_SECONDS = 3600.0
"""The longest that preparing the data, or making the model, may take."""
GRACE_SECONDS = 900.0
"""For the last step, validation and checkpoint of an epoch, beyond the time that is left for training."""
CURVES_SECONDS = 60.0
ROOM_PAUSE_SECONDS = 1.0
EXPORT_TRIES = 3
NO_ROOM = NOT_NOW | {"disk_full"}

T = TypeVar("T")


class Turn:
    """One turn of one run."""

    def __init__(self, run: Run, pool: Pool) -> None:
        self._run = run
        self._pool = pool
        self._studio = run.studio
        self._now = self._read()
        self._config = TrainConfig.from_json(self._now.config)
        weights = self._now.facts.get(progress.WEIGHTS)
        self._weights = None if weights is None else Weights.from_json(weights)

    def run(self) -> dict[str, Any]:
        """Do what is left; returns the job's result."""
        self._export()
        prepared = self._split()
        self._train(detector_seconds(self.most_seconds, prepared))
        self._finish(prepared)
        done = self._read()
        return {"training_run": done.id, "model": done.model_id, "metrics": done.metrics}

    @property
    def row_id(self) -> int:
        """Of the run."""
        return self._now.row_id

    @property
    def most_seconds(self) -> float:
        """What training may take in all."""
        return self._now.most_seconds

    def _read(self) -> TrainingRun:
        return self._studio.training.get_of_job(self._run.principal, self._run.job.id)

    # --- The data ---------------------------------------------------------------------------------------

    def _export(self) -> None:
        if EXPORT in self._run.finished:
            return
        self._run.stage("export")
        if self._now.export_id is not None:  # it was given one
            self.commit(EXPORT)
            return
        export = self._made_before() or self._make()
        self.commit(EXPORT, write=partial(progress.set_export, self._now.row_id, export.id))

    def _options(self) -> ExportOptions:
        return options_of(self._now.class_filter, self._now.status_filter or "complete")

    def _made_before(self) -> Export | None:
        """The export that an earlier turn has made, but not written down."""
        exports, mine = self._studio.exports, self._options()
        exports.fail_dead()
        try:
            export = exports.get(self._run.principal, self._now.dataset_name, self._now.export_name)
        except NotFound:
            return None
        same = (
            export.format == mine.format
            and export.include_images == mine.include_images
            and export.class_filter == mine.class_filter
            and export.status_filter == mine.status_filter
        )
        whole = export.status == "completed" and export.created_at >= self._run.job.created_at
        return export if same and whole else None

    def _make(self) -> Export:
        name, tries, taken = self._now.export_name, 0, [self._now.export_name]

        def told(done: int, total: int | None) -> None:
            self._run.check()
            self._run.progress(f"export: {done} of {total} images" if total else f"export: {done} images")

        def create() -> Export:
            with _disk_errors():
                return self._studio.exports.create(
                    self._run.principal,
                    dataset_name=self._now.dataset_name,
                    name=name,
                    options=self._options(),
                    progress=told,
                )

        while True:
            try:
                return self._patiently(create)
            except Conflict as error:
                if error.code != "export_exists":
                    raise
                name = progress.free_name(self._now.export_name, taken)
                taken.append(name)
            except NotFound as error:
                tries += 1
                # An image that was purged while its page was being written: the next try does not see it.
                if error.code != "blob_missing" or tries >= EXPORT_TRIES:
                    raise

    def _split(self) -> Prepared:
        """In every turn: the child, perhaps on another machine, has to have the data."""
        self._run.stage("split")
        crashes = 0
        while True:
            try:
                prepared: Prepared = self._in_child("prepare", self._order(), seconds=STEP_SECONDS)
                break
            except ChildCrashed as error:
                crashes += 1
                if crashes > 1:
                    raise _crashed("preparing the images") from error
        about = {key: value for key, value in prepared.as_json().items() if key != "notes"}
        write = partial(progress.add_facts, self._now.row_id, {"data": about}, prepared.notes)
        self.commit(SPLIT, write=write)
        return prepared

    def _order(self, epochs: list[Epoch] | None = None, batch_size: int | None = None) -> Order:
        config = self._config if batch_size is None else replace(self._config, batch_size=batch_size)
        sha256 = self._data_sha256()
        return Order(
            run_id=self._now.id,
            blob_url=self._studio.detectors.blob_url,
            export_sha256=sha256,
            pipeline=self._now.pipeline,
            config=config,
            work_dir=str(self._studio.training.work_dir(self._now.id)),
            class_filter=None if self._now.class_filter is None else tuple(self._now.class_filter),
            history=tuple(epoch.metrics for epoch in epochs or ()),
            weights=self._weights,
            attributes=self._now.facts.get(progress.ATTRIBUTES),
        )

    def _data_sha256(self) -> str:
        query = sa.select(training_runs.c.data_sha256).where(training_runs.c.id == self._now.row_id)
        with self._studio.database.read() as connection:
            return str(connection.execute(query).scalar_one())

    # --- Epochs -----------------------------------------------------------------------------------------

    def _train(self, most_seconds: float) -> None:
        self._run.stage("train")
        while not self._enough(epochs := list(self._studio.training.epochs(self._now)), most_seconds):
            self._run.check()
            self._epoch(epochs, most_seconds)

    def _enough(self, epochs: list[Epoch], most_seconds: float) -> bool:
        return bool(epochs) and (
            epochs[-1].stop
            or len(epochs) >= self._config.epochs
            or sum(epoch.seconds for epoch in epochs) >= most_seconds
        )

    def _epoch(self, epochs: list[Epoch], most_seconds: float) -> None:
        before = sum(epoch.seconds for epoch in epochs)
        last = epochs[-1] if epochs else None
        report, notes = self._trained(epochs, most_seconds - before)
        after = before + report.seconds
        out_of_time = after >= most_seconds and report.number < self._config.epochs
        if report.out_of_time or out_of_time:
            minutes = self._config.max_minutes
            spent = f"{minutes} minutes were" if minutes > 1 else "1 minute was"
            if most_seconds < self.most_seconds:
                spent = f"detector's share of the {minutes} minute{'s' if minutes > 1 else ''} was"
            notes.append(
                f"The {spent} over in epoch "
                f"{report.number} of {self._config.epochs}; the best weights until then became the model."
            )
        for note in notes:
            self._run.log(note, "warning")
        loss = report.metrics.get("train_loss")
        told = "" if loss is None else f", loss {loss:.3g}"
        self._run.progress(f"epoch {report.number} of {self._config.epochs}{told}")
        self.commit(
            f"epoch-{report.number:05}",
            credits=self.credits(before, after),
            write=partial(progress.add_epoch, self._now.row_id, report, after, notes),
        )
        if last is not None:
            self._studio.blobs.delete_derived(last.checkpoint)

    def credits(self, before: float, after: float) -> int:
        """What training costs from one second to another, both counted from its beginning."""
        price = price_of(operation_of(self._now.gpu)).credits_per_unit
        return (self._minutes(after) - self._minutes(before)) * price

    def _minutes(self, seconds: float) -> int:
        """Begun minutes, as they are charged."""
        return min(self._config.max_minutes, math.ceil(seconds / 60))

    def _trained(self, epochs: list[Epoch], seconds_left: float) -> tuple[EpochReport, list[str]]:
        """The next epoch; with smaller and smaller batches where the process ends or memory runs out."""
        number, notes = len(epochs) + 1, list[str]()
        checkpoint = epochs[-1].checkpoint if epochs else None
        batch = epochs[-1].batch_size if epochs else self._config.batch_size
        while True:
            try:
                report: EpochReport = self._in_child(
                    "epoch",
                    self._order(epochs),
                    number,
                    checkpoint,
                    seconds_left,
                    batch,
                    seconds=seconds_left + GRACE_SECONDS,
                )
            except Unavailable as error:
                batch = self.halved(error, batch, f"training epoch {number}", notes)
            else:
                return report, [*notes, *report.notes]

    def halved(self, error: Unavailable, batch: int, doing: str, notes: list[str]) -> int:
        """The batch size to go on with after the child died or ran out of memory; raises what is neither."""
        if not isinstance(error, ChildCrashed) and error.code != "out_of_memory":
            raise error
        if batch == 1:
            if error.code == "out_of_memory":
                raise error
            raise _crashed(doing) from error
        smaller = max(1, batch // 2)
        why = "its process ended" if isinstance(error, ChildCrashed) else "memory ran out"
        notes.append(f"While {doing} in batches of {batch}, {why}; it went on in batches of {smaller}.")
        return smaller

    def train_heads(
        self, number: int, checkpoint: str | None, seconds_left: float, batch: int
    ) -> HeadsReport:
        """An epoch of the attribute heads, as ``session.heads_epoch`` has it."""
        report: HeadsReport = self._in_child(
            "heads_epoch",
            self._order(),
            number,
            checkpoint,
            seconds_left,
            batch,
            seconds=seconds_left + GRACE_SECONDS,
        )
        return report

    # --- The model --------------------------------------------------------------------------------------

    def _finish(self, prepared: Prepared) -> None:
        if MODEL in self._run.finished:
            return
        epochs = list(self._studio.training.epochs(self._now))
        heads = HeadsStage(self._run, self, epochs).train() if prepared.attributes else None
        self._run.stage("evaluate and export ONNX", total=len(self._run.finished) + 1)
        finished, notes = self._finished(epochs, heads)
        pictures = {name: stored.sha256 for name, stored in finished.pictures.items()}
        pictures |= self._curves(epochs)
        self._run.stage("register")
        now = self._read()
        registration = progress.Registration(
            finished=finished,
            card=card_of(now, prepared, finished, [*notes, *finished.notes], self._weights, heads),
            pictures=pictures,
            images=prepared.images.get(finished.evaluated_on, 0),
            notes=(*notes, *finished.notes),
        )
        write = partial(progress.register, self._studio, self._run.principal, self._now.row_id, registration)
        self.commit(MODEL, write=write)

    def _finished(self, epochs: list[Epoch], heads: TrainedHeads | None) -> tuple[Finished, list[str]]:
        batch, notes = epochs[-1].batch_size, list[str]()
        checkpoints = [epochs[-1].checkpoint, *([] if heads is None else [heads.checkpoint])]
        while True:
            try:
                order = self._order(epochs, batch)
                finished: Finished = self._in_child("finish", order, *checkpoints, seconds=STEP_SECONDS)
            except Unavailable as error:
                batch = self.halved(error, batch, "making the model", notes)
            else:
                return finished, notes

    def _curves(self, epochs: list[Epoch]) -> dict[str, str]:
        """A picture of how training went; the model is not lost for want of it."""
        try:
            data = self._pool.call(
                CURVES, curves_of(epochs), self._now.name, deadline=CURVES_SECONDS, check=self._run.check
            )
        except TintypeError as error:
            self._run.log(f"The training curves could not be drawn: {error.message}", "warning")
            return {}
        if data is None:
            return {}
        return {"training_curves": self._patiently(lambda: self._studio.blobs.put(data))}

    # --- How --------------------------------------------------------------------------------------------

    def _in_child(self, function: str, *arguments: Any, seconds: float) -> Any:
        def call() -> Any:
            return self._pool.call(
                f"{SESSION}:{function}", *arguments, deadline=seconds, check=self._run.check
            )

        try:
            return self._patiently(call)
        except DeadlineExceeded as error:
            raise DeadlineExceeded(
                f"A step of the training ({function}) took longer than {seconds / 60:.0f} minutes.",
                code="training_deadline",
                fix="Train with a smaller image_size, or on fewer images.",
                retryable=False,
            ) from error

    def _patiently(self, work: Callable[[], T]) -> T:
        """Do a piece of work again while the disk is full."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return work()
            except Unavailable as error:
                if error.code not in NO_ROOM or time.monotonic() > until:
                    raise
            self._run.progress("The disk is full: waiting for room.")
            self._run.pause(ROOM_PAUSE_SECONDS)

    def commit(
        self,
        key: str,
        *,
        credits: int = 0,
        write: Write | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Finish a step, or raise what its writing was refused for: nothing goes on without it."""
        self._run.commit(key, credits=credits, write=write, detail=detail)
        query = sa.select(job_items.c.outcome, job_items.c.error_code, job_items.c.error_message).where(
            job_items.c.job_id == self._run.job.row_id, job_items.c.key == key
        )
        with self._studio.database.read() as connection:
            item = connection.execute(query).one()
        if item.outcome == "failed":
            raise Unavailable(item.error_message, code=item.error_code, fix="Start the training again.")


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise Unavailable(
            "The disk is full.",
            code="disk_full",
            fix="Ask the operator to free disk space, then start the training again.",
        ) from error


def _crashed(doing: str) -> Unavailable:
    return Unavailable(
        f"The process that was {doing} ended by itself, again and again; most often memory is what it lacks.",
        code="training_crashed",
        fix="Train with a smaller image_size, or on a machine with more memory.",
        retryable=False,
    )
