"""Turns a prediction about a picture or a video into drafts in a dataset.

``args``: ``task`` (UUID), ``dataset``, ``folder``, ``stem`` (of the images' names), ``threshold``, ``every``
(the n-th looked-at frame), ``empty`` (also frames in which nothing was seen), ``objects`` (numbers; None for
all).

Free. A picture is one item; of a video each frame is one, by its place in the timeline, so that frames that
``extract_frames`` took at the same rate into the same folder are met again. Images that are there and have no
annotations get the drafts; those that have some are passed over.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from tintype_studio.annotations.fitting import fitting
from tintype_studio.annotations.importing import Arrival, Importing
from tintype_studio.annotations.options import declared_by
from tintype_studio.catalog.image_files import read_image_file
from tintype_studio.errors import Conflict, InvalidInput
from tintype_studio.identity.keys import Principal
from tintype_studio.jobs.arrivals import Together
from tintype_studio.jobs.frames import FrameArrivals
from tintype_studio.jobs.kind import Done, JobPlan, Kind
from tintype_studio.jobs.pool import Pool
from tintype_studio.names import clean_folder
from tintype_studio.predictions.drafts import draft_of
from tintype_studio.predictions.moments import Sighting, is_about_the_whole, sightings

if TYPE_CHECKING:
    from tintype_studio.catalog.datasets import Dataset
    from tintype_studio.catalog.samples import Sample
    from tintype_studio.jobs.run import Run
    from tintype_studio.predictions.shapes import MediaPrediction
    from tintype_studio.predictions.task import PredictionTask
    from tintype_studio.studio import Studio
    from tintype_studio.video.choice import Wanted

WANTED = "tintype_studio.predictions.pictures:wanted_at"
CHOOSE_SECONDS = 900.0
"""To read the packets of the largest file from a slow disk."""
PICTURE = "picture"
"""Key of the one item of a picture."""
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif"}
)


class SavePredictions(Kind):
    """See above."""

    name = "save_predictions"

    def plan(self, studio: Studio, principal: Principal, args: dict[str, Any]) -> JobPlan:
        """One item per image; refuses a task without a result, and one whose classes the dataset lacks."""
        dataset = studio.datasets.get(principal, args["dataset"])
        clean_folder(args["folder"])
        task = studio.predictions.get(principal, args["task"])
        prediction = studio.predictions.result(principal, task)
        chosen = Chosen(prediction, dataset, args)
        chosen.require_some()
        return JobPlan(
            f"Save predictions of {task.file_name or task.media} into {dataset.name}",
            total=len(chosen.times),
            dataset_row_id=dataset.row_id,
        )

    def run(self, run: Run) -> dict[str, Any]:
        """Open the file, and write image by image."""
        studio = run.studio
        dataset = studio.datasets.get(run.principal, run.args["dataset"])
        task = studio.predictions.get(run.principal, run.args["task"])
        prediction = studio.predictions.result(run.principal, task)
        chosen = Chosen(prediction, dataset, run.args)
        chosen.require_some()
        if chosen.left_out:
            run.log(f"The dataset does not take {', '.join(chosen.left_out)[:300]}: left out.", "warning")
        run.stage("save", total=len(chosen.times))
        folder = clean_folder(run.args["folder"])
        if prediction.media == "image":
            _save_picture(run, dataset, task, chosen, folder)
        else:
            _save_frames(run, dataset, task, chosen, folder)
        return {"folder": folder, "left_out": chosen.left_out}


class Chosen:
    """What of a prediction is saved, by time."""

    def __init__(self, prediction: MediaPrediction, dataset: Dataset, args: dict[str, Any]) -> None:
        self.prediction = prediction
        self._task: str = args["task"]
        # A class of a whole picture has no place, which is what annotations are of.
        found = [each for each in prediction.objects if not is_about_the_whole(each)]
        known = {each.name for each in dataset.classes} if dataset.classes_declared else None
        self._declared = declared_by(dataset.classes)
        names = {each.categories[0].name for each in found if each.categories}
        self.left_out = sorted(names - known) if known is not None else []
        self.seen = {
            time: kept
            for time, all_seen in sightings(prediction, found).items()
            if (kept := [each for each in all_seen if _is_meant(each, args, known)])
        }
        timeline = prediction.frame_timestamps_us if prediction.media == "video" else [0]
        every = timeline[:: args["every"]]
        self.times = every if args["empty"] else [time for time in every if time in self.seen]

    def require_some(self) -> None:
        """InvalidInput (``nothing_to_save``) when there is nothing."""
        if self.times:
            return
        why = f" The dataset does not take {', '.join(self.left_out)[:200]}." if self.left_out else ""
        raise InvalidInput(
            f"The prediction holds no object that could be saved so.{why}",
            code="nothing_to_save",
            fix="Lower confidence_threshold, choose other object_ids, or extend the dataset's classes.",
        )

    def drafts(self, time: int, size: tuple[int, int]) -> list[dict[str, Any]]:
        """The drafts of an image of ``size`` (width, height), in the form in which they are kept."""
        task = self._task if self.prediction.media == "video" else None
        made = [
            draft_of(each, size, created_by=self.prediction.model, task=task)
            for each in self.seen.get(time, ())
        ]
        fit = fitting(made, self._declared)
        return [each.model_dump(mode="json", exclude_none=True) for each in fit]


def _is_meant(seen: Sighting, args: dict[str, Any], known: set[str] | None) -> bool:
    return (
        seen.score >= args["threshold"]
        and (known is None or seen.name in known)
        and (args["objects"] is None or seen.object_id in args["objects"])
    )


def _save_frames(run: Run, dataset: Dataset, task: PredictionTask, chosen: Chosen, folder: str) -> None:
    size = (chosen.prediction.width, chosen.prediction.height)
    with run.studio.predictions.open_media(run.principal, task) as file, closing(Pool(1)) as pool:
        # Both calls in one child, which keeps the file open between batches.
        wanted: dict[int, Wanted] = pool.call(
            WANTED,
            str(file),
            chosen.prediction.frames_per_second,
            chosen.times,
            deadline=CHOOSE_SECONDS,
            check=run.check,
        )
        if len(wanted) < len(chosen.times):
            raise _changed("The video is not the one that was predicted: it has no frames at these times.")
        times = {each.index: time for time, each in wanted.items()}
        frames = sorted(wanted.values(), key=lambda each: each.index)
        arrivals = FrameArrivals(
            run,
            dataset,
            str(file),
            pool,
            stem=run.args["stem"],
            folder=folder,
            known=lambda each: chosen.drafts(times[each.index], size),
        )
        arrivals.take_all(frames, *size)
    arrivals.require_some(frames)


def _save_picture(run: Run, dataset: Dataset, task: PredictionTask, chosen: Chosen, folder: str) -> None:
    studio = run.studio
    importing = Importing(studio.database, studio.ingest, studio.documents)
    together = Together(importing, run.principal, dataset, [PICTURE])
    name = image_name(task, run.args["stem"])

    def one(key: str) -> Done:
        sample = _image_of(run, dataset, task)
        if sample is None:
            with studio.predictions.open_media(run.principal, task) as file:
                stored = studio.ingest.stage(read_image_file(file), name, folder)
            if (stored.width, stored.height) != (chosen.prediction.width, chosen.prediction.height):
                raise _changed("The picture is not the one that was predicted: its size is another.")
            place = (folder, stored.filename)
            sample = importing.find(dataset, [place]).get(place)
            if sample is not None and sample.sha256 != stored.sha256:
                raise Conflict(
                    f"{folder.rstrip('/')}/{name} is taken by another image.",
                    code="image_exists",
                    fix="Save into another folder, or delete the existing image first.",
                )
        if sample is None:
            drafts = chosen.drafts(0, (stored.width, stored.height))
            together.arrivals[key] = Arrival(drafts, stored)
            detail: dict[str, Any] = {"annotations": len(drafts)}
        else:
            drafts = chosen.drafts(0, (sample.width, sample.height))
            if sample.annotation_count or not drafts:
                return Done(skipped=True)
            together.arrivals[key] = Arrival(drafts, sample=sample)
            detail = {"annotations": len(drafts), "attached": True}
        return Done(write=partial(together.write, key), detail=detail)

    if PICTURE not in run.finished:
        run.finish([run.attempt(PICTURE, one)])
    for failed in studio.jobs.items(run.job, outcome="failed", limit=1):
        raise InvalidInput(
            failed.error_message or "The picture could not be saved.",
            code=failed.error_code,
            fix="Mend the cause and save again.",
        )


def _changed(what: str) -> Conflict:
    return Conflict(what, code="media_changed", fix="Put the file back as it was, or predict it again.")


def _image_of(run: Run, dataset: Dataset, task: PredictionTask) -> Sample | None:
    """The image of this dataset that the task is about; None when it is about anything else."""
    if task.subject.image is None:
        return None
    sample = run.studio.samples.get(run.principal, task.subject.image)
    return sample if sample.dataset_row_id == dataset.row_id else None


def image_name(task: PredictionTask, stem: str) -> str:
    """The file name of a predicted picture in a dataset."""
    suffix = PurePath(task.file_name or "").suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        suffix = {"image/png": ".png", "image/webp": ".webp"}.get(task.mime_type or "", ".jpg")
    return f"{stem}{suffix}"


KIND = SavePredictions()
