"""Takes frames of a video into a dataset, as images that are no different from uploaded ones.

``args``: ``dataset``; ``upload`` (its path) or ``local`` (a file of this machine, on which the worker runs,
too); ``stem``, ``folder``, ``fps``, ``start_seconds``, ``end_seconds``, ``max_frames``.

Free; one item per frame, by its number in the extraction (``jobs/frames.py``). A frame that the dataset has
already is skipped.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.frames import FrameArrivals
from tintype_studio.jobs.kind import JobPlan, Kind
from tintype_studio.jobs.pool import Pool
from tintype_studio.names import clean_folder
from tintype_studio.video.choice import Choice, Span

if TYPE_CHECKING:
    from tintype_studio.jobs.run import Run
    from tintype_studio.studio import Studio

CHOOSE = "tintype_studio.video.choice:choose"
CHOOSE_SECONDS = 900.0
"""To read the packets of the largest file from a slow disk."""


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
        folder = clean_folder(args["folder"])
        span = Span(args["fps"], args["start_seconds"], args["end_seconds"], args["max_frames"])
        # The child keeps the file open between batches, so it must be the same one each time.
        with (
            studio.videos.open(run.principal, args["upload"], args["local"]) as file,
            closing(Pool(1)) as pool,
        ):
            run.stage("choose")
            choice: Choice = pool.call(CHOOSE, str(file), span, deadline=CHOOSE_SECONDS, check=run.check)
            run.stage("extract", total=len(choice.frames))
            arrivals = FrameArrivals(run, dataset, str(file), pool, stem=args["stem"], folder=folder)
            arrivals.take_all(choice.frames, choice.width, choice.height)
        arrivals.require_some(choice.frames)
        return {"folder": folder, "notes": choice.notes}


KIND = ExtractFrames()
