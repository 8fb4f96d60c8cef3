"""What jobs share that take frames of a video into a dataset: decoded batch by batch, written behind it.

One item per frame, by its number. Which frames are taken follows from the times of the packets alone: every
turn finds the same ones, and one after a crash goes on behind what is written. While frames are decoded,
those before them are written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.importing import Arrival, Importing
from tintype_studio.errors import Conflict, DeadlineExceeded, InvalidInput, TintypeError
from tintype_studio.jobs.arrivals import Together
from tintype_studio.jobs.commits import Finished
from tintype_studio.jobs.kind import Done
from tintype_studio.jobs.pool import ChildCrashed, Pool
from tintype_studio.video.choice import Wanted
from tintype_studio.video.frames import Taken, batch_size
from tintype_studio.video.source import damaged

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.jobs.run import Run

BATCH_SECONDS = 600.0
"""For one batch: between two frames that are wanted there may be thousands to decode."""
WRITERS = 4
TAKE = "tintype_studio.video.frames:take"

Known = Callable[[Wanted], Sequence[dict[str, Any]]]
"""The annotations of a frame, in the form in which they are kept; none where nothing is known."""


def frame_name(stem: str, index: int) -> str:
    """The file name of a frame."""
    return f"{stem}_{index:06d}.jpg"


def frame_key(wanted: Wanted) -> str:
    """What names a frame in its job."""
    return f"{wanted.index:06d}"


def _nothing_known(_wanted: Wanted) -> Sequence[dict[str, Any]]:
    return ()


class FrameArrivals:
    """Frames of one file on their way into a folder of a dataset.

    A frame that the dataset has already is skipped, unless it is without annotations and ``known`` has some
    for it: then it gets them.
    """

    def __init__(
        self,
        run: Run,
        dataset: Dataset,
        path: str,
        pool: Pool,
        *,
        stem: str,
        folder: str,
        known: Known = _nothing_known,
    ) -> None:
        """``pool`` has one child, which keeps the file open between batches."""
        self._run = run
        self._dataset = dataset
        self._path = path
        self._pool = pool
        self._stem = stem
        self._folder = folder
        self._known = known
        self._importing = Importing(run.studio.database, run.studio.ingest, run.studio.documents)

    def take_all(self, frames: Sequence[Wanted], width: int, height: int) -> None:
        """Take what is not finished; sizes in pixels. Frames are in the order of time."""
        left = [wanted for wanted in frames if frame_key(wanted) not in self._run.finished]
        size = batch_size(width, height)
        batches = [left[start : start + size] for start in range(0, len(left), size)]
        with ThreadPoolExecutor(1, "decode") as decoding, ThreadPoolExecutor(WRITERS, "write") as writing:
            try:
                after = [*batches[1:], []]
                ahead = [decoding.submit(self._taken, batch, after[0]) for batch in batches[:1]]
                for number, batch in enumerate(batches):
                    taken = ahead.pop().result()
                    self._run.check()
                    ahead = [
                        decoding.submit(self._taken, each, after[number + 1])
                        for each in batches[number + 1 : number + 2]
                    ]
                    self._write(batch, taken, writing)
            except BaseException:
                self._pool.close()  # nobody waits for what was decoded ahead
                raise

    def require_some(self, frames: Sequence[Wanted]) -> None:
        """``InvalidInput`` when there were frames and all of them failed."""
        studio, job = self._run.studio, self._run.job
        if frames and studio.jobs.count(job, outcome="failed") == len(frames):
            (first,) = studio.jobs.items(job, outcome="failed", limit=1)
            raise InvalidInput(
                f"No frame was taken. {first.error_message}",
                code=first.error_code or "damaged_video",
                fix="get_job lists the failed frames; mend the cause and extract again.",
            )

    def _taken(
        self, batch: Sequence[Wanted], after: Sequence[Wanted] = (), tries: int = 2
    ) -> dict[int, Taken | TintypeError]:
        """Frames by their numbers; what cannot be read is missing, or an error if the reader died of it.

        ``after`` is the next batch, which the reader begins meanwhile.
        """
        try:
            found: list[Taken] = self._pool.call(
                TAKE,
                self._path,
                list(batch),
                list(after),
                deadline=BATCH_SECONDS,
                check=self._run.check,
            )
        except DeadlineExceeded as error:
            return {wanted.index: error for wanted in batch}
        except ChildCrashed as error:
            if len(batch) == 1:
                return self._taken(batch, tries=tries - 1) if tries > 1 else {batch[0].index: error}
            half = len(batch) // 2
            return self._taken(batch[:half]) | self._taken(batch[half:])
        return {taken.index: taken for taken in found}

    def _write(
        self, batch: Sequence[Wanted], taken: dict[int, Taken | TintypeError], writing: ThreadPoolExecutor
    ) -> None:
        run = self._run
        names = {wanted.index: frame_name(self._stem, wanted.index) for wanted in batch}
        here = self._importing.find(self._dataset, [(self._folder, name) for name in names.values()])
        together = Together(
            self._importing, run.principal, self._dataset, [frame_key(wanted) for wanted in batch]
        )

        def one(wanted: Wanted, key: str) -> Done:
            found = taken.get(wanted.index)
            if isinstance(found, TintypeError):
                raise found
            if found is None:
                raise damaged(f"The video is damaged at {wanted.seconds:.2f} s: no frame can be read there.")
            annotations = self._known(wanted)
            detail: dict[str, Any] = {"seconds": round(wanted.seconds, 3)}
            if annotations:
                detail["annotations"] = len(annotations)
            sample = here.get((self._folder, names[wanted.index]))
            if sample is not None:
                if sample.sha256 != hashlib.sha256(found.jpeg).hexdigest():
                    raise Conflict(
                        f"{self._folder.rstrip('/')}/{names[wanted.index]} is taken by another image.",
                        code="image_exists",
                        fix="Extract into another folder, or delete the existing image first.",
                    )
                if sample.annotation_count or not annotations:
                    return Done(skipped=True)
                together.arrivals[key] = Arrival(annotations, sample=sample)
                detail["attached"] = True
            else:
                stored = run.studio.ingest.stage(found.jpeg, names[wanted.index], self._folder)
                together.arrivals[key] = Arrival(annotations, stored)
            return Done(write=partial(together.write, key), detail=detail)

        def attempt(wanted: Wanted) -> Finished:
            return run.attempt(frame_key(wanted), partial(one, wanted))

        run.finish([*writing.map(attempt, batch)])
