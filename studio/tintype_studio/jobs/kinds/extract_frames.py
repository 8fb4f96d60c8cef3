"""Takes frames of a video into a dataset, as images that are no different from uploaded ones.

``args``: ``dataset``; ``upload`` (its path) or ``local`` (a file of this machine, on which the worker runs,
too); ``stem``, ``folder``, ``fps``, ``start_seconds``, ``end_seconds``, ``max_frames``.

Free; one item per frame, by its number in the extraction. Which frames are taken follows from the times of
the packets alone: every turn finds the same ones, and one after a crash goes on behind what is written. A
frame that the dataset has already is skipped. While frames are decoded, those before them are written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.importing import Arrival, Importing
from tintype_studio.errors import Conflict, DeadlineExceeded, InvalidInput, TintypeError
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.arrivals import Together
from tintype_studio.jobs.commits import Finished
from tintype_studio.jobs.kind import Done, JobPlan, Kind
from tintype_studio.jobs.pool import ChildCrashed, Pool
from tintype_studio.names import clean_folder
from tintype_studio.video.choice import Choice, Span, Wanted
from tintype_studio.video.frames import Taken, batch_size
from tintype_studio.video.source import damaged

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio

CHOOSE_SECONDS = 900.0
"""To read the packets of the largest file from a slow disk."""
BATCH_SECONDS = 600.0
"""For one batch: between two frames that are wanted there may be thousands to decode."""
WRITERS = 4
TAKE = "tintype_studio.video.frames:take"


class ExtractFrames(Kind):
    """See above."""

    name = "extract_frames"

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """The frames are counted by the job."""
        dataset = studio.datasets.get(principal, args["dataset"])
        clean_folder(args["folder"])
        if args["upload"] is not None:
            studio.uploads.size(principal, args["upload"])
        return JobPlan(f"Extract frames into {dataset.name}", dataset_row_id=dataset.row_id)

    def run(self, run: Run) -> dict[str, Any]:
        """Choose, decode, write."""
        args, studio = run.args, run.studio
        dataset = studio.datasets.get(run.principal, args["dataset"])
        # The child keeps the file open between batches, so it must be the same one each time.
        with (
            studio.videos.open(run.principal, args["upload"], args["local"]) as file,
            closing(Pool(1)) as pool,
        ):
            extraction = _Extraction(run, dataset, str(file), pool)
            run.stage("choose")
            choice = extraction.choose()
            run.stage("extract", total=len(choice.frames))
            extraction.take_all(choice)
        if choice.frames and studio.jobs.count(run.job, outcome="failed") == len(choice.frames):
            (first,) = studio.jobs.items(run.job, outcome="failed", limit=1)
            raise InvalidInput(
                f"No frame was taken. {first.error_message}",
                code=first.error_code or "damaged_video",
                fix="get_job lists the failed frames; mend the cause and extract again.",
            )
        return {"folder": clean_folder(args["folder"]), "notes": choice.notes}


def frame_name(stem: str, index: int) -> str:
    """The file name of a frame."""
    return f"{stem}_{index:06d}.jpg"


def _key(wanted: Wanted) -> str:
    return f"{wanted.index:06d}"


class _Extraction:
    def __init__(self, run: Run, dataset: Dataset, path: str, pool: Pool) -> None:
        self._run = run
        self._dataset = dataset
        self._path = path
        self._pool = pool
        self._folder = clean_folder(run.args["folder"])
        self._importing = Importing(run.studio.database, run.studio.ingest, run.studio.documents)

    def choose(self) -> Choice:
        args = self._run.args
        span = Span(args["fps"], args["start_seconds"], args["end_seconds"], args["max_frames"])
        choice: Choice = self._pool.call(
            "tintype_studio.video.choice:choose",
            self._path,
            span,
            deadline=CHOOSE_SECONDS,
            check=self._run.check,
        )
        return choice

    def take_all(self, choice: Choice) -> None:
        left = [wanted for wanted in choice.frames if _key(wanted) not in self._run.finished]
        size = batch_size(choice.width, choice.height)
        batches = [left[start : start + size] for start in range(0, len(left), size)]
        with ThreadPoolExecutor(1, "decode") as decoding, ThreadPoolExecutor(WRITERS, "write") as writing:
            try:
                ahead = [decoding.submit(self._taken, batch) for batch in batches[:1]]
                for number, batch in enumerate(batches):
                    taken = ahead.pop().result()
                    self._run.check()
                    ahead = [decoding.submit(self._taken, each) for each in batches[number + 1 : number + 2]]
                    self._write(batch, taken, writing)
            except BaseException:
                self._pool.close()  # nobody waits for what was decoded ahead
                raise

    def _taken(self, batch: Sequence[Wanted], tries: int = 2) -> dict[int, Taken | TintypeError]:
        """Frames by their numbers; what cannot be read is missing, or an error if the reader died of it."""
        try:
            found: list[Taken] = self._pool.call(
                TAKE,
                self._path,
                list(batch),
                deadline=BATCH_SECONDS,
                check=self._run.check,
            )
        except DeadlineExceeded as error:
            return {wanted.index: error for wanted in batch}
        except ChildCrashed as error:
            if len(batch) == 1:
                return self._taken(batch, tries - 1) if tries > 1 else {batch[0].index: error}
            half = len(batch) // 2
            return self._taken(batch[:half]) | self._taken(batch[half:])
        return {taken.index: taken for taken in found}

    def _write(
        self, batch: Sequence[Wanted], taken: dict[int, Taken | TintypeError], writing: ThreadPoolExecutor
    ) -> None:
        run, stem = self._run, self._run.args["stem"]
        names = {wanted.index: frame_name(stem, wanted.index) for wanted in batch}
        here = self._importing.find(self._dataset, [(self._folder, name) for name in names.values()])
        together = Together(self._importing, run.principal, self._dataset, [_key(wanted) for wanted in batch])

        def one(wanted: Wanted, key: str) -> Done:
            found = taken.get(wanted.index)
            if isinstance(found, TintypeError):
                raise found
            if found is None:
                raise damaged(f"The video is damaged at {wanted.seconds:.2f} s: no frame can be read there.")
            sample = here.get((self._folder, names[wanted.index]))
            if sample is not None:
                if sample.sha256 == hashlib.sha256(found.jpeg).hexdigest():
                    return Done(skipped=True)
                raise Conflict(
                    f"{self._folder.rstrip('/')}/{names[wanted.index]} is taken by another image.",
                    code="image_exists",
                    fix="Extract into another folder, or delete the existing image first.",
                )
            stored = run.studio.ingest.stage(found.jpeg, names[wanted.index], self._folder)
            together.arrivals[key] = Arrival([], stored)
            detail = {"seconds": round(wanted.seconds, 3)}
            return Done(write=partial(together.write, key), detail=detail)

        def attempt(wanted: Wanted) -> Finished:
            return run.attempt(_key(wanted), partial(one, wanted))

        run.finish([*writing.map(attempt, batch)])


KIND = ExtractFrames()
