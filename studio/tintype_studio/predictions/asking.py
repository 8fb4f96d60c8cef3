"""What may be asked of a prediction: about what, by which model, at how many frames a second."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tintype_studio.errors import InvalidInput
from tintype_studio.names import printable
from tintype_studio.predictions.models import PredictionModel
from tintype_studio.predictions.shapes import Media
from tintype_studio.predictions.task import PredictionTask, Subject

KINDS: dict[Media, str] = {"image": "predict_picture", "video": "predict_video"}
"""Of the jobs. Two, so that a picture does not wait for videos."""
OPERATIONS: dict[Media, str] = {"image": "image_inference", "video": "video_inference_per_minute"}
"""In the price list."""
USUAL_FPS = 1
LEAST_FPS, MOST_FPS = 1, 60
MINUTE_SECONDS = 60
MAX_NAME = 255
MAX_MODEL_NAME = 200


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """What is to be predicted: about a task that was begun, or about something that becomes one."""

    model: str
    """As ``PredictionModels.resolve`` takes it."""
    task: str | None = None
    """UUID of a task; then the next five fields are its own."""
    media: Media = "image"
    subject: Subject = field(default_factory=Subject)
    file_name: str | None = None
    mime_type: str | None = None
    frames_per_second: int | None = None
    """Of a video; ``USUAL_FPS`` when nobody says."""
    threshold: float | None = None
    """None for the model's own best."""
    objects: tuple[str, ...] = ()
    """What a built-in engine is to find."""
    upload_version: str | None = None
    """Of the file that was there when the prediction was asked for (``Uploads.version``)."""

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "objects": list(self.objects)}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> PredictionRequest:
        """What ``as_json`` gave; further keys are left out."""
        own = {each.name: found[each.name] for each in fields(cls)}
        subject, objects = Subject(**own["subject"]), tuple(own["objects"])
        return cls(**{**own, "subject": subject, "objects": objects})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prediction that may be started."""

    args: dict[str, Any]
    """Of the job."""
    operation: str
    credits: int
    """The most that it may cost."""
    minutes: int
    """Of a video, begun ones; 1 for a picture."""
    model: PredictionModel | None
    """None when the task was started before."""
    started: PredictionTask | None = None
    """The task, when a prediction of the same model was asked for before: nothing is done again."""


def minutes_of(seconds: float) -> int:
    """Begun minutes; at least one."""
    return max(1, -int(-seconds // MINUTE_SECONDS))


def fps_of(media: Media, frames_per_second: int | None) -> int | None:
    """How many frames a second are looked at; None for a picture. InvalidInput (``invalid_fps``)."""
    if media == "image":
        return None
    if frames_per_second is None:
        return USUAL_FPS
    if not LEAST_FPS <= frames_per_second <= MOST_FPS:
        raise InvalidInput(
            f"frames_per_second is a whole number from {LEAST_FPS} to {MOST_FPS}.",
            code="invalid_fps",
            fix=f"Leave it out for {USUAL_FPS}, or choose from {LEAST_FPS} to {MOST_FPS}.",
        )
    return frames_per_second


def require_mime(media: Media, mime_type: str | None) -> None:
    """Refuse a type that is none of the media's; the file itself is judged when it is looked at."""
    if mime_type is not None and not mime_type.lower().startswith(f"{media}/"):
        raise InvalidInput(
            f"{printable(mime_type[:60])!r} is no type of {'a picture' if media == 'image' else 'a video'}.",
            code="wrong_media",
            fix="Send image/… for pictures and video/… for videos.",
        )


def media_of(mime_type: str) -> Media:
    """What a MIME type says that a file is; InvalidInput (``wrong_media``) for neither picture nor video."""
    kind = mime_type.lower().partition("/")[0]
    if kind == "image":
        return "image"
    if kind == "video":
        return "video"
    raise InvalidInput(
        f"{printable(mime_type[:60])!r} is no type of a picture or a video.",
        code="wrong_media",
        fix="Send image/… for pictures and video/… for videos.",
    )


def clean_file_name(name: str | None) -> str | None:
    """A file's name as it is kept: one line of printable text, cut to ``MAX_NAME`` characters."""
    if name is None:
        return None
    return printable("".join(char for char in name if char.isprintable())).strip()[:MAX_NAME] or None
