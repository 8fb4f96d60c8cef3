"""What a full pipeline has come to, as agents see it."""

from __future__ import annotations

from typing import Any

from tintype_studio.catalog.ingest import UploadReport
from tintype_studio.jobs.job import Job
from tintype_studio.training.models import Model
from tintype_studio.training.pipeline import Begun, Phase, PipelineRequest
from tintype_studio.training.pipeline_state import PipelineState, is_image, state_of
from tintype_studio.training.run import TrainingRun
from tintype_studio.vision.train.drafts import UNREVIEWED
from tintype_tools.call import Call
from tintype_tools.catalog.upload_dataset_from_folder import UploadFailure
from tintype_tools.job_shapes import JobShape
from tintype_tools.labelling_shapes import MAX_FAILURES, AnnotationFailure
from tintype_tools.model_shapes import ModelShape, RunErrorShape, TrainingRunShape
from tintype_tools.spec import Result

_OTHERS = 10
"""Failed items that may be none of the images."""


class UploadPart(Result):
    """What became of the files. ``failures`` lists up to 100; ``files_ignored`` counts those that are no
    pictures, if any; ``success`` when none was refused and there are pictures, new or from before.
    """

    dataset_name: str
    images_attempted: int
    images_uploaded: int
    images_skipped: int
    images_failed: int
    files_ignored: int | None = None
    failures: list[UploadFailure]
    success: bool


class AnnotatePart(Result):
    """What the labelling has done so far. ``failures`` lists up to 100 images; get_job lists all."""

    dataset_name: str
    images_attempted: int
    images_processed: int
    images_skipped: int
    images_failed: int
    annotations_added: int
    failures: list[AnnotationFailure]
    job_id: str | None = None
    error: RunErrorShape | None = None
    success: bool | None = None


class FullPipelineResult(Result):
    """The report of each phase as far as it came. ``success`` when it is over: every phase did all that was
    asked for. ``stopped_at`` names the phase that ended it before.
    """

    dataset_name: str
    upload: UploadPart
    annotate: AnnotatePart | None = None
    training_run: TrainingRunShape | None = None
    model: ModelShape | None = None
    training_error: RunErrorShape | None = None
    credit_skip_reason: str | None = None
    success: bool | None = None
    stopped_at: Phase | None = None
    notes: list[str]
    job: JobShape | None = None


def upload_as_json(report: UploadReport) -> dict[str, Any]:
    """What the job keeps of an upload."""
    some = report.failures[:MAX_FAILURES]
    return {
        "images_attempted": report.images_attempted,
        "images_uploaded": report.images_uploaded,
        "images_skipped": report.images_skipped,
        "images_failed": len(report.failures),
        "files_ignored": report.files_ignored or None,
        "failures": [{"path": f.path, "code": f.code, "reason": f.reason} for f in some],
    }


def report_without_job(dataset_name: str, upload: dict[str, Any], begun: Begun) -> FullPipelineResult:
    """Of a pipeline that uploaded, and no more."""
    uploaded = _upload(dataset_name, upload)
    annotate = None
    if begun.annotate_error is not None:
        annotate = AnnotatePart(
            dataset_name=dataset_name,
            images_attempted=0,
            images_processed=0,
            images_skipped=0,
            images_failed=0,
            annotations_added=0,
            failures=[],
            error=RunErrorShape(**begun.annotate_error),
            success=False,
        )
    return FullPipelineResult(
        dataset_name=dataset_name,
        upload=uploaded,
        annotate=annotate,
        credit_skip_reason=begun.credit_skip_reason,
        success=uploaded.success and begun.stopped_at is None,
        stopped_at=begun.stopped_at,
        notes=_of_upload(uploaded),
    )


def report_of(job: Job, call: Call) -> FullPipelineResult:
    """Of a pipeline whose job stands so."""
    studio, request = call.studio, PipelineRequest.from_json(job.args["request"])
    name = job.dataset or request.dataset
    state = state_of(studio, job)
    run = None if state.run_id is None else studio.training.get(call.principal, state.run_id)
    model_id = None if run is None else run.model_id
    model = None if model_id is None else studio.models.get(call.principal, model_id)
    uploaded = _upload(name, job.args["upload"])
    annotate = _annotate(job, call, request, state, name)
    stopped_at = _stopped_at(job, request, state, run, model)
    whole = (
        uploaded.success
        and (annotate is None or annotate.success is True)
        and (not request.train or model is not None)
        and stopped_at is None
    )
    return FullPipelineResult(
        dataset_name=name,
        upload=uploaded,
        annotate=annotate,
        training_run=None if run is None else TrainingRunShape.of(run),
        model=None if model is None else ModelShape.of(model),
        training_error=None if state.train_error is None else RunErrorShape(**state.train_error),
        success=whole if job.ended else None,
        stopped_at=stopped_at,
        notes=[*_of_upload(uploaded), *_of_training(request, state, run)],
        job=JobShape.of(job),
    )


def _upload(dataset_name: str, upload: dict[str, Any]) -> UploadPart:
    there = upload["images_uploaded"] + upload["images_skipped"]
    return UploadPart(
        dataset_name=dataset_name,
        **{**upload, "failures": [UploadFailure(**each) for each in upload["failures"]]},
        success=there > 0 and not upload["images_failed"],
    )


def _annotate(
    job: Job, call: Call, request: PipelineRequest, state: PipelineState, dataset_name: str
) -> AnnotatePart | None:
    done = state.annotated
    if not request.annotate or done is None:
        return None
    failed = (
        call.studio.jobs.items(job, outcome="failed", limit=MAX_FAILURES + _OTHERS) if done.failed else []
    )
    success = done.over and done.error is None and not done.failed
    return AnnotatePart(
        dataset_name=dataset_name,
        images_attempted=done.processed + done.skipped + done.failed,
        images_processed=done.processed,
        images_skipped=done.skipped + job.args["images"] - job.args["meant"],
        images_failed=done.failed,
        annotations_added=done.added,
        failures=[AnnotationFailure.of(i) for i in failed if is_image(i.key)][:MAX_FAILURES],
        job_id=job.id,
        error=None if done.error is None else RunErrorShape(**done.error),
        success=success if done.over or job.ended else None,
    )


def _stopped_at(
    job: Job,
    request: PipelineRequest,
    state: PipelineState,
    run: TrainingRun | None,
    model: Model | None,
) -> Phase | None:
    if model is not None:
        return None
    if state.annotated is not None and state.annotated.error is not None:
        return "annotate"
    if request.train and state.nothing_to_train_on:
        return "annotate"
    if state.train_error is not None or (run is not None and run.status == "failed"):
        return "train"
    if job.status in {"failed", "cancelled"}:
        return "annotate" if request.annotate and state.labelled is None else "train"
    return None


def _of_upload(upload: UploadPart) -> list[str]:
    notes = []
    if upload.images_failed:
        files = "1 file was" if upload.images_failed == 1 else f"{upload.images_failed} files were"
        notes.append(f"{files} refused (upload.failures); the others are in the dataset.")
    if upload.files_ignored:
        files = (
            "1 file is no picture and was"
            if upload.files_ignored == 1
            else (f"{upload.files_ignored} files are no pictures and were")
        )
        notes.append(f"{files} passed over.")
    return notes


def _of_training(request: PipelineRequest, state: PipelineState, run: TrainingRun | None) -> list[str]:
    if not request.train or state.annotated is None:
        return []
    if state.nothing_to_train_on:
        return ["No image is labelled, so that there was nothing to train on."]
    told = run is not None and any(UNREVIEWED in note for note in run.notes)
    if state.annotated.added and not told and request.config.get("drafts") != "skip":
        drafts = "1 draft" if state.annotated.added == 1 else f"{state.annotated.added} drafts"
        return [
            f"The training takes {drafts} of this call as they are: nobody has reviewed them. Look at some "
            "(preview_image), correct and accept them, then train again."
        ]
    return []
