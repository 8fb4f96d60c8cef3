"""What a call would do, in words: a table of all kinds of effects, and one of what is counted beside them.

A dry run, the question before a confirmation and the approvals that wait are read by people; the kinds stand
in the JSON for programs.
"""

from __future__ import annotations

from dataclasses import dataclass

from tintype_studio.history.changes import Kind
from tintype_studio.units import counted, size_in_words
from tintype_tools.call import Affected


@dataclass(frozen=True, slots=True)
class Words:
    """A kind's sentence after "It would". ``named`` is for one thing with a name, else ``counted`` is used.

    Both may hold ``{name}``; ``{of}``, ``{to}``, ``{on}``, which stand for the preposition and the
    dataset, or for nothing; and ``{images}``, ``{files}`` and the like, which are the count with the noun.
    """

    counted: str
    named: str | None = None


DEEDS: dict[str, Words] = {
    Kind.DATASET_CREATED: Words("create the dataset {name}"),
    Kind.DATASET_DELETED: Words("delete the dataset {name}"),
    Kind.DATASET_RESTORED: Words("bring back the dataset {name}"),
    Kind.DATASET_UPDATED: Words("change name or description of the dataset {name}"),
    Kind.CLASSES_SET: Words("make {classes} the list{of}"),
    Kind.LABELS_CHANGED: Words("change {labels}{of}"),
    Kind.SET_CREATED: Words("add the annotation set {name}{to}"),
    Kind.SET_DELETED: Words("delete the annotation set {name}{of}"),
    Kind.GROUP_CREATED: Words("add the group {name}{to}"),
    Kind.GROUP_DELETED: Words("delete the group {name}{of}"),
    Kind.PROJECT_CREATED: Words("create the project {name}"),
    Kind.PROJECT_DELETED: Words("delete the project {name}"),
    Kind.IMAGES_ADDED: Words("add {images}{to}", "add the image {name}{to}"),
    Kind.IMAGES_DELETED: Words("delete {images}{of}", "delete the image {name}{of}"),
    Kind.IMAGES_RESTORED: Words("bring back {images}{of}", "bring back the image {name}{of}"),
    Kind.IMAGES_MOVED: Words("move {images}{of}", "move the image {name}{of}"),
    Kind.IMAGES_UPDATED: Words("change {images}{of}", "change the image {name}{of}"),
    Kind.ANNOTATIONS_SAVED: Words(
        "change the annotations of {images}{of}", "change the annotations of the image {name}{of}"
    ),
    Kind.SAMPLES_ADDED: Words("add {samples}{to}"),
    Kind.SAMPLES_UPDATED: Words("change what is known of {samples}{of}"),
    Kind.FILES_ADDED: Words("add {files} to samples{of}", "add the file {name}{to}"),
    Kind.FILES_REMOVED: Words("take {files} from samples{of}", "take the file {name} from a sample{of}"),
    Kind.VERSION_CREATED: Words("keep the version {name}{of}"),
    Kind.VERSION_DELETED: Words("delete the version {name}{of}"),
    Kind.VERSION_RESTORED: Words("bring back the version {name}{of}"),
    Kind.SNAPSHOT_CREATED: Words("make the snapshot {name}"),
    Kind.SNAPSHOT_DELETED: Words("delete the snapshot {name}"),
    Kind.EXPERIMENT_CREATED: Words("make the experiment {name}"),
    Kind.EXPERIMENT_DELETED: Words("delete the experiment {name}"),
    Kind.SESSION_CREATED: Words("make sessions", "make the session {name}"),
    Kind.SESSION_DELETED: Words("delete sessions", "delete the session {name}"),
    Kind.MODEL_TRAINED: Words("add {models}", "add the model {name}"),
    Kind.MODEL_ARCHIVED: Words("delete {models}", "delete the model {name}"),
    Kind.MODEL_RESTORED: Words("bring back {models}", "bring back the model {name}"),
    Kind.PURGED: Words("remove for good what lies in the recycle bin{of}"),
    "api_key.created": Words("make the API key {name}"),
    "api_key.revoked": Words("switch off the API key {name}"),
    "api_key.updated": Words("change the API key {name}"),
    "call.confirmed": Words("let a call of {name} go on"),
    "call.refused": Words("take back the question about a call of {name}"),
    "export.created": Words("make the export {name}{of}"),
    "export.deleted": Words("delete the export {name}{of} with its ZIP file"),
    "file.written": Words("write {files}", "write the file {name}"),
    "image.predicted": Words("run a model on the image {name}{of}"),
    "video.predicted": Words("run a model on the video {name}"),
    "images.evaluated": Words("try a model on {images}{of}"),
    "images.verified": Words("check {images}{of}"),
    "invite.created": Words("invite {name}"),
    "invite.revoked": Words("take back the invite of {name}"),
    "job.cancelled": Words("stop the job {name}{of}"),
    "member.removed": Words("remove the member {name} and switch off their keys"),
    "member.role_updated": Words("change the role of the member {name}"),
    "prediction_task.created": Words("begin a prediction", "begin a prediction of {name}"),
    "prompt.answered": Words("look for objects in the image {name}{of}"),
    "session.updated": Words("change what is told of a session", "change what is told of the session {name}"),
    "session_files.added": Words("keep {files} with a session or task"),
    "task.created": Words("make the task {name}"),
    "task.stopped": Words("stop the task {name}"),
    "task.updated": Words("change what is told of the task {name}"),
    "training.cancelled": Words("stop the training {name}{on}"),
    "training.started": Words("start a training{on}", "start the training {name}{on}"),
}
"""By kind. A kind that lacks here is told by its own words."""

DETAILS: dict[str, tuple[str, str]] = {
    "after": ("{n} after", "{n} after"),
    "annotated": ("annotations of {n} sample put back", "annotations of {n} samples put back"),
    "annotations": ("{n} annotation", "{n} annotations"),
    "annotations_removed": ("{n} annotation removed", "{n} annotations removed"),
    "before": ("{n} before", "{n} before"),
    "brought_back": ("{n} sample out of the recycle bin", "{n} samples out of the recycle bin"),
    "credits": ("for {n} credit", "for {n} credits"),
    "datasets": ("{n} dataset", "{n} datasets"),
    "deleted": ("{n} sample into the recycle bin", "{n} samples into the recycle bin"),
    "estimated": ("an estimate", "an estimate"),
    "existing": ("{n} of them there already", "{n} of them there already"),
    "files": ("{n} file", "{n} files"),
    "files_lost": ("{n} file purged since", "{n} files purged since"),
    "groups": ("{n} group", "{n} groups"),
    "images": ("{n} image", "{n} images"),
    "images_skipped": ("{n} image passed over", "{n} images passed over"),
    "labels": ("{n} label", "{n} labels"),
    "listed": ("{n} image listed", "{n} images listed"),
    "lost": ("{n} sample purged since", "{n} samples purged since"),
    "max_minutes": ("for {n} minute at most", "for {n} minutes at most"),
    "minutes": ("{n} begun minute", "{n} begun minutes"),
    "missing": ("{n} not found", "{n} not found"),
    "pictures": ("{n} picture in the folder", "{n} pictures in the folder"),
    "sets": ("{n} annotation set", "{n} annotation sets"),
    "size": ("{size}", "{size}"),
    "updated": ("{n} sample changed", "{n} samples changed"),
}
"""What is counted beside, for one and for any other number."""


def deed_in_words(affected: Affected) -> str:
    """What would be done, to follow "It would": ``delete the dataset 'signs' (3 images, 2 annotations)``."""
    words = DEEDS.get(affected.kind)
    if words is None:
        thing, _, verb = affected.kind.partition(".")
        words = Words(f"have {affected.count} {thing.replace('_', ' ')} {verb.replace('_', ' ')}{{of}}")
    template = words.counted if affected.name is None or affected.count != 1 else words.named or words.counted
    dataset = f" the dataset {affected.dataset!r}" if affected.dataset else None
    text = template.format(
        name=repr(affected.name or affected.dataset),
        images=counted(affected.count, "image", "images"),
        files=counted(affected.count, "file", "files"),
        classes=counted(affected.count, "class", "classes"),
        models=counted(affected.count, "model", "models"),
        samples=counted(affected.count, "sample", "samples"),
        labels=counted(affected.count, "label", "labels"),
        **{word: f" {word}{dataset}" if dataset else "" for word in ("of", "to", "on")},
    )
    details = [_detail(key, value) for key, value in affected.detail.items()]
    return f"{text} ({', '.join(details)})" if details else text


def _detail(key: str, value: int) -> str:
    one, other = DETAILS.get(key, (f"{key.replace('_', ' ')}: {{n}}",) * 2)
    return (one if value == 1 else other).format(n=f"{value:,}", size=size_in_words(value))
