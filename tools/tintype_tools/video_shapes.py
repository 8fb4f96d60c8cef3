"""What the video tools share: which video is meant, and an extraction as agents see it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated

from pydantic import Field

from tintype_studio.errors import InvalidInput
from tintype_studio.jobs.job import Job
from tintype_studio.names import FORBIDDEN_IN_NAMES, UNPRINTED
from tintype_tools.call import Call
from tintype_tools.job_shapes import JobShape
from tintype_tools.spec import Args, Result

TOOLSET = "video"
MAX_STEM = 200
"""Characters of a video's name that its frames carry."""
MAX_LISTED = 100


@dataclass(frozen=True, slots=True)
class Source:
    """A video: the path of an upload or a file of this machine, and its name without the ending."""

    upload: str | None
    local: str | None
    stem: str


class VideoArgs(Args):
    """A video that was uploaded, or one on the server's disk."""

    upload_path: Annotated[
        str | None, Field(description="upload_path of create_video_upload_url.", max_length=400)
    ] = None
    local_path: Annotated[str | None, Field(description="A video file on the server's machine.")] = None

    def source(self, call: Call) -> Source:
        """The video that is meant; ``InvalidInput`` unless it is named in one way."""
        if (self.upload_path is None) == (self.local_path is None):
            raise InvalidInput(
                "Say either upload_path or local_path.", code="invalid_selection", fix="Send one of the two."
            )
        if self.local_path is not None:
            file = call.files.file(self.local_path)
            return Source(None, str(file), clean_stem(file.stem))
        return Source(self.upload_path, None, clean_stem(PurePath(self.upload_path or "").stem))


def clean_stem(stem: str) -> str:
    """A file's name as images may carry it: a disk allows more than ``clean_name``."""
    stem = unicodedata.normalize("NFC", stem)
    kept = (
        "_" if char in FORBIDDEN_IN_NAMES or unicodedata.category(char) in UNPRINTED else char
        for char in stem
    )
    return "".join(kept).strip()[:MAX_STEM] or "video"


class FrameFailure(Result):
    """A frame that was not taken."""

    frame: int
    code: str
    reason: str


class ExtractionResult(Result):
    """An extraction: frames taken so far, those that the dataset had already, and those given up."""

    job: JobShape
    folder: str
    frames_extracted: int
    frames_skipped: int
    frames_failed: int
    total_frames: int | None = None
    failures: list[FrameFailure]
    notes: list[str] | None = None


def extraction(job: Job, call: Call) -> ExtractionResult:
    """What the job has extracted."""
    failed = call.studio.jobs.items(job, outcome="failed", limit=MAX_LISTED) if job.failed else []
    skipped = call.studio.jobs.count(job, outcome="skipped")
    return ExtractionResult(
        job=JobShape.of(job),
        folder=job.args["folder"],
        frames_extracted=job.done - job.failed - skipped,
        frames_skipped=skipped,
        frames_failed=job.failed,
        total_frames=job.total,
        failures=[
            FrameFailure(frame=int(i.key), code=i.error_code or "", reason=i.error_message or "")
            for i in failed
        ],
        notes=(job.result or {}).get("notes") or None,
    )
