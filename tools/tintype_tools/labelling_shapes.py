"""What the tools share that start a job which labels a dataset: its quote, its plan and its report."""

from __future__ import annotations

from typing import Any

from tintype_studio.jobs.job import Item, Job
from tintype_studio.jobs.labelling import totals
from tintype_tools.call import Affected, Call, Plan
from tintype_tools.job_shapes import JobShape
from tintype_tools.spec import Quote, Result

MAX_FAILURES = 100


class AnnotationFailure(Result):
    """An image that was given up; it was not charged."""

    image_uuid: str
    code: str
    reason: str

    @classmethod
    def of(cls, item: Item) -> AnnotationFailure:
        """From the job's item."""
        return cls(image_uuid=item.key, code=item.error_code or "", reason=item.error_message or "")


class LabellingResult(Result):
    """What the job has done so far. ``failures`` lists up to 100; get_job lists all."""

    dataset_name: str
    images_attempted: int
    images_processed: int
    images_skipped: int
    annotations_added: int
    failures: list[AnnotationFailure]
    job_id: str
    job: JobShape


def quoted(call: Call, kind: str, operation: str, job_args: dict[str, Any]) -> Quote:
    """One price per image."""
    return Quote(operation, call.studio.jobs.plan(call.principal, kind, job_args).credits)


def planned(call: Call, kind: str, job_args: dict[str, Any]) -> Plan:
    """How many images would be looked at, and how many passed over."""
    dataset = call.studio.datasets.get(call.principal, job_args["dataset"])
    total = call.studio.jobs.plan(call.principal, kind, job_args).total or 0
    passed_over = dataset.image_count - total
    return Plan((Affected("annotations.saved", total, dataset.name, detail={"images_skipped": passed_over}),))


def started(call: Call, kind: str, job_args: dict[str, Any]) -> Job:
    """The job, which remembers how many images there were."""
    dataset = call.studio.datasets.get(call.principal, job_args["dataset"])
    return call.studio.jobs.start(call.principal, kind, {**job_args, "images": dataset.image_count})


def so_far(job: Job, call: Call) -> dict[str, Any]:
    """The fields of ``LabellingResult``."""
    failed = call.studio.jobs.items(job, outcome="failed", limit=MAX_FAILURES) if job.failed else []
    done = totals(call.studio, job)
    return {
        "dataset_name": job.dataset or job.args["dataset"],
        "images_attempted": job.done,
        "images_processed": done.processed,
        "images_skipped": done.skipped + max(0, job.args["images"] - (job.total or 0)),
        "annotations_added": done.added,
        "failures": [AnnotationFailure.of(item) for item in failed],
        "job_id": job.id,
        "job": JobShape.of(job),
    }
