"""Asks a model about the frames of a video, and follows what it finds through them.

One item per begun minute of which frames are looked at, each at the price of a minute and kept in a part, so
that a crash loses one minute at most; then one that makes the answer of the parts. Which frames these are
follows from the times of the packets alone, so every turn finds the same ones. While a minute is written
down, the next one is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tintype_studio.errors import InvalidInput, Unavailable
from tintype_studio.jobs.kind import Done
from tintype_studio.jobs.media import PredictMedia, eye_of_job, finish, predicted
from tintype_studio.jobs.pool import Pool
from tintype_studio.ledger.prices import price_of
from tintype_studio.predictions.asking import MINUTE_SECONDS, OPERATIONS
from tintype_studio.predictions.looking import Eye
from tintype_studio.storage.prediction_tables import prediction_parts
from tintype_studio.video.choice import Choice, Span, Wanted

if TYPE_CHECKING:
    from tintype_studio.jobs.run import Run

CHOOSE = "tintype_studio.video.choice:choose"
DETECT = "tintype_studio.predictions.detecting:detect"
CHOOSE_SECONDS = 900.0
"""To read the packets of the largest file from a slow disk."""
MINUTE_DEADLINE_SECONDS = 3600.0
"""For one minute of video: sixty frames a second of a large model on one core."""
ASSEMBLE_SECONDS = 1800.0
SPILL_SECONDS = 1.0
"""By which frames may lie behind the length that a file tells: its header rounds, and counts otherwise."""
ANSWER = "answer"


class PredictVideo(PredictMedia):
    """``args`` as of ``PredictMedia``."""

    name = "predict_video"
    item_seconds = MINUTE_DEADLINE_SECONDS

    def run(self, run: Run) -> dict[str, Any]:
        """Choose, look minute by minute, follow."""
        predictions = run.studio.predictions
        task = predictions.get(run.principal, run.args["task"])
        # The child keeps the file open between minutes, so it must be the same one each time.
        with predictions.open_media(run.principal, task) as file, closing(Pool(1)) as pool:
            prediction = _Prediction(run, task.row_id, eye_of_job(run), file, pool)
            run.stage("choosing")
            choice = prediction.choose()
            for note in choice.notes:
                run.log(note, "warning")
            minutes = by_minute(choice.frames, run.args["minutes"])
            run.stage("predicting", total=len(minutes) + 1)
            prediction.look(minutes)
            run.stage("following")
            finish(run, ANSWER, partial(prediction.answer, choice.notes))
        return {"task": run.args["task"], "notes": choice.notes}


def by_minute(frames: Sequence[Wanted], quoted: int) -> dict[int, list[Wanted]]:
    """The frames of each minute, by its number from 0; minutes without any are missing.

    Raises InvalidInput (``wrong_length``) when there are frames behind the minutes that were quoted: the file
    tells a shorter length than it has, or was replaced since. What nobody agreed to pay is not looked at.
    """
    if frames and frames[-1].seconds >= quoted * MINUTE_SECONDS + SPILL_SECONDS:
        raise InvalidInput(
            f"The video goes on to {frames[-1].seconds:,.0f} s, and its header says that it ends within "
            f"{quoted * MINUTE_SECONDS:,} s.",
            code="wrong_length",
            fix="Write its header anew, as with ffmpeg -i in.mp4 -c copy out.mp4, and predict that file.",
        )
    minutes: dict[int, list[Wanted]] = {}
    for frame in frames:
        minute = min(int(frame.seconds // MINUTE_SECONDS), quoted - 1)
        minutes.setdefault(minute, []).append(frame)
    return minutes


def _key(minute: int) -> str:
    return f"minute {minute:05d}"


class _Prediction:
    def __init__(self, run: Run, task_row_id: int, eye: Eye, file: Path, pool: Pool) -> None:
        self._run = run
        self._task_row_id = task_row_id
        self._eye = eye
        self._path = str(file)
        self._pool = pool

    def choose(self) -> Choice:
        """The frames of the whole video at the rate that was asked for."""
        span = Span(float(self._run.args["frames_per_second"]))
        choice: Choice = self._pool.call(
            CHOOSE, self._path, span, deadline=CHOOSE_SECONDS, check=self._run.check
        )
        return choice

    def look(self, minutes: dict[int, list[Wanted]]) -> None:
        """Every minute that no earlier turn has finished."""
        left = [minute for minute in minutes if _key(minute) not in self._run.finished]
        with ThreadPoolExecutor(1, "detect") as ahead:
            try:
                pending = [ahead.submit(self._detect, minutes[minute]) for minute in left[:1]]
                for place, minute in enumerate(left):
                    current = pending.pop()
                    current.exception()  # it has ended, so that the next one can begin
                    pending = [
                        ahead.submit(self._detect, minutes[each]) for each in left[place + 1 : place + 2]
                    ]
                    finish(self._run, _key(minute), partial(self._part, current, minutes[minute], minute))
            except BaseException:
                self._pool.close()  # nobody waits for what is looked at ahead
                raise

    def answer(self, notes: list[str], _key: str) -> Done:
        """What is made of the parts."""
        run = self._run
        parts = sa.select(prediction_parts.c.data).where(prediction_parts.c.task_id == self._task_row_id)
        with run.studio.database.read() as connection:
            found = connection.execute(parts.order_by(prediction_parts.c.number)).scalars().all()
        data: bytes = self._pool.call(
            f"{__name__}:assembled",
            list(found),
            run.args["frames_per_second"],
            self._eye.label,
            run.args["threshold"],
            run.args["duration_us"],
            deadline=ASSEMBLE_SECONDS,
            check=run.check,
        )
        return predicted(run, data, notes=notes)

    def _detect(self, frames: Sequence[Wanted]) -> bytes:
        run = self._run
        part: bytes = self._pool.call(
            DETECT,
            self._path,
            list(frames),
            self._eye,
            run.studio.detectors.blob_url,
            run.args["threshold"],
            deadline=MINUTE_DEADLINE_SECONDS,
            check=run.check,
        )
        return part

    def _part(self, first: Future[bytes], frames: Sequence[Wanted], minute: int, _key: str) -> Done:
        """A minute as an item; where looking ahead has failed, it is looked at once more."""
        try:
            data = first.result()
        except Unavailable:
            data = self._detect(frames)

        def write(connection: sa.Connection) -> None:
            connection.execute(
                sa.insert(prediction_parts).values(task_id=self._task_row_id, number=minute, data=data)
            )

        return Done(price_of(OPERATIONS["video"]).total(1), write, {"frames": len(frames)})


def assembled(
    parts: Sequence[bytes], frames_per_second: int, label: str, threshold: float, duration_us: int | None
) -> bytes:
    """The answer that the parts of a video make, as ``MediaPrediction.as_json``. Runs in a child."""
    from tintype_studio.predictions.timeline import assemble

    return assemble(
        parts,
        frames_per_second=frames_per_second,
        model=label,
        threshold=threshold,
        duration_us=duration_us,
    )


KIND = PredictVideo()
