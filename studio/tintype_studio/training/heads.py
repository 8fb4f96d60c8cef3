"""Attribute heads in a run: the stage of its turn that learns them.

Their epochs are items of the job as those of the detector are, and are charged by the same minutes. The
detector leaves a share of the run's time to them; what it does not need is theirs, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.errors import Unavailable
from tintype_studio.storage.job_tables import job_items
from tintype_studio.training import progress
from tintype_studio.vision.train.heads_plan import BATCH, EPOCHS, SHARE
from tintype_studio.vision.train.session import HeadsReport, Prepared

if TYPE_CHECKING:
    from tintype_studio.jobs.run import Run
    from tintype_studio.training.run import Epoch
    from tintype_studio.training.turn import Turn

STAGE = "train attributes"
_ITEM = "heads-"


@dataclass(frozen=True, slots=True)
class HeadsEpoch:
    """A finished epoch of the heads, as its item keeps it."""

    number: int
    seconds: float
    batch_size: int
    stop: bool
    checkpoint: str
    metrics: dict[str, float]

    @classmethod
    def of(cls, report: HeadsReport) -> HeadsEpoch:
        """What is kept of a report."""
        return cls(
            report.number,
            report.seconds,
            report.batch_size,
            report.stop,
            report.checkpoint,
            progress.finite(report.metrics),
        )

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> HeadsEpoch:
        """What ``as_json`` gave."""
        return cls(**found)


@dataclass(frozen=True, slots=True)
class TrainedHeads:
    """What the stage leaves behind."""

    checkpoint: str
    epochs: int
    seconds: float


def detector_seconds(most: float, prepared: Prepared) -> float:
    """What the detector may take of a run's seconds."""
    return most * (1 - SHARE) if prepared.attributes else most


class HeadsStage:
    """The stage of one turn, which has trained the detector in ``detector``."""

    def __init__(self, run: Run, turn: Turn, detector: list[Epoch]) -> None:
        self._run, self._turn = run, turn
        self._detector_seconds = sum(epoch.seconds for epoch in detector)
        most = turn.most_seconds
        self._most_seconds = max(SHARE * most, most - self._detector_seconds)

    def train(self) -> TrainedHeads:
        """Do what is left."""
        self._run.stage(STAGE)
        while not self._enough(done := self._read()):
            self._run.check()
            self._epoch(done)
        seconds = round(sum(epoch.seconds for epoch in done), 1)
        return TrainedHeads(done[-1].checkpoint, len(done), seconds)

    def _read(self) -> list[HeadsEpoch]:
        query = (
            sa.select(job_items.c.detail)
            .where(
                job_items.c.job_id == self._run.job.row_id,
                job_items.c.key.startswith(_ITEM),
                job_items.c.outcome == "done",
            )
            .order_by(job_items.c.key)
        )
        with self._run.studio.database.read() as connection:
            return [HeadsEpoch.from_json(found) for found in connection.execute(query).scalars()]

    def _enough(self, done: list[HeadsEpoch]) -> bool:
        return bool(done) and (
            done[-1].stop or len(done) >= EPOCHS or sum(epoch.seconds for epoch in done) >= self._most_seconds
        )

    def _epoch(self, done: list[HeadsEpoch]) -> None:
        turn = self._turn
        spent = sum(epoch.seconds for epoch in done)
        report, notes = self._trained(done, self._most_seconds - spent)
        for note in notes:
            self._run.log(note, "warning")
        accuracy = report.metrics.get("val_accuracy")
        told = "" if accuracy is None else f", accuracy {accuracy:.3g}"
        self._run.progress(f"attributes: epoch {report.number} of {EPOCHS} at most{told}")
        before = self._detector_seconds + spent
        after = before + report.seconds
        kept = HeadsEpoch.of(report)
        turn.commit(
            f"{_ITEM}{report.number:05}",
            credits=turn.credits(before, after),
            write=partial(progress.add_heads_epoch, turn.row_id, report, after, notes),
            detail=kept.as_json(),
        )
        if done:
            self._run.studio.blobs.delete_derived(done[-1].checkpoint)

    def _trained(self, done: list[HeadsEpoch], seconds_left: float) -> tuple[HeadsReport, list[str]]:
        number, notes = len(done) + 1, list[str]()
        checkpoint = done[-1].checkpoint if done else None
        batch = done[-1].batch_size if done else BATCH
        while True:
            try:
                report: HeadsReport = self._turn.train_heads(number, checkpoint, seconds_left, batch)
            except Unavailable as error:
                batch = self._turn.halved(error, batch, "learning attributes", notes)
            else:
                return report, notes
